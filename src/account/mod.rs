//! Organisations, people, sessions, invitations, API tokens, one-time links. Owns those tables.
//!
//! Invariants: a session, token or link is stored only as a hash; a person acts for exactly one organisation at a time; an e-mail address is
//! lower-case and belongs to one person; a new password ends the sessions that the old one opened.

pub mod access;
pub mod addresses;
pub mod directory;
pub mod links;
pub mod model;
pub mod names;
pub mod passwords;
pub mod pictures;
pub mod service;
pub mod sessions;
pub mod sign_in;
pub mod standing;
mod store;
pub mod team;
#[cfg(test)]
mod tests;
pub mod throttle;
pub mod tokens;
pub mod upkeep;
