//! The OCI Distribution v1.1 API at `/v2/`, and `/token`, on both listeners. [`crate::registry`] stores the content.
//!
//! Invariants: rights are checked before content ([`access`]), in the database read that answers ([`token::RequestIdentity`]); a manifest
//! from [`cache`] is a second old at most, and never older than this process's last write that concerns it. Nothing here answers in HTML.

pub mod access;
mod answer;
pub mod cache;
pub mod claims;
mod conditions;
mod grant;
mod lists;
mod path;
mod pull;
mod range;
mod rights;
pub mod routes;
pub mod token;
mod upload;

#[cfg(test)]
mod tests;
