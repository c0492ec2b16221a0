//! What people are told: in their inbox, and by mail where a server is set. Owns `messages`.
//!
//! Invariants: a notice ([`crate::base::notify`]) becomes one message, however often its job runs; a secret link is in the column `mail`
//! until the message was sent or given up, and on no page; how many mails one address gets and one organisation causes is bounded; a mail is
//! sent at least once, always with the same Message-ID.

pub mod jobs;
pub mod model;
pub mod service;
mod smtp;
mod store;
#[cfg(test)]
mod tests;
