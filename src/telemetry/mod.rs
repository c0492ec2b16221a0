//! What nodes tell: heartbeats become samples, records of streams become alarms, states and counters; plots and the alarm list show them.
//! Owns the tables `alarm_pictures`, `node_samples`, `node_sources`, `app_samples`, `alarms`, `proofs`, `streams` and `usage_counters`.
//!
//! Invariants: a record is taken once, by its stream and number, and only where it follows on those before ([`streams`]); an alarm is one row
//! from its beginning to its end ([`episodes`]); a counter only grows.
//!
//! A report, as agents until 2026-11-30 send them, is taken once, recognised by its bytes and never by its number, since such a node that lost
//! its disk counts from one again and its alarms must not be taken for old ones; a node reports only about its own deployments and about releases of their apps;
//! one wrong report never holds back the others, and each is read by itself ([`reading`]); what a node may add has a rate ([`limits`]) and an age ([`upkeep`]). Samples are kept for
//! seven days.

mod episodes;
mod limits;
pub mod model;
pub mod pictures;
pub mod plots;
pub mod reading;
pub mod service;
pub mod sources;
mod store;
pub mod streams;
pub mod taking;
pub mod upkeep;

#[cfg(test)]
mod tests;
