//! Organisations, people, sessions, invitations, API tokens. Owns those tables.
//!
//! Invariants: a session or token is stored only as a hash; a person acts for exactly one organisation at a time; an e-mail address is
//! lower-case and belongs to one person.

pub mod access;
pub mod jobs;
pub mod model;
pub mod names;
pub mod service;
pub mod sessions;
mod store;
pub mod team;
#[cfg(test)]
mod tests;
pub mod throttle;
pub mod tokens;
