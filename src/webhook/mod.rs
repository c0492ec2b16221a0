//! Addresses outside that an organisation has told of what happens, by messages signed as the specification Standard Webhooks 1.0 has it. Owns
//! `webhooks`, `webhook_deliveries` and `webhook_attempts`.
//!
//! Invariants: a message is a row of the transaction of its cause ([`service::tell`]) and is sent after that, at least once, until it is taken
//! or [`model::TRIES`] are over. No private address is called, whatever a name resolves to ([`address`]). Webhooks take turns, alarms go
//! first, critical ones before all others. A secret is shown when it is made, and never again.

pub mod address;
pub mod model;
pub mod send;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
