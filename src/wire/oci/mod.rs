//! The OCI Distribution v1.1 API at `/v2/`, and `/token`, on both listeners. What is stored is [`crate::registry`]'s.
//!
//! Invariants: who asks decides first ([`access`]); rights are looked up in the read that answers ([`token::Asking`]); what [`cache`]
//! gives again is a second old at most, and never older than what this process wrote last.

pub mod access;
pub mod cache;
pub mod claims;
mod path;
mod pull;
mod range;
mod rights;
pub mod routes;
pub mod token;
mod upload;

#[cfg(test)]
mod tests;
