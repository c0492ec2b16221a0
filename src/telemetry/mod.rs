//! Reports of nodes: heartbeats become samples, alarms are kept; plots and the alarm list show them. Owns the tables `node_samples`,
//! `app_samples` and `alarms`.
//!
//! Invariants: a report is taken once, recognised by its bytes and never by its number, since a node that lost its disk counts from one
//! again and its alarms must not be taken for old ones; a node reports only about its own deployments and about releases of their apps;
//! one wrong report never holds back the others, and each is read by itself ([`reading`]); what a node may add has a rate ([`limits`]) and an age ([`upkeep`]). Samples are kept for
//! seven days.

mod limits;
pub mod model;
pub mod plots;
pub mod reading;
pub mod service;
mod store;
pub mod upkeep;

#[cfg(test)]
mod tests;
