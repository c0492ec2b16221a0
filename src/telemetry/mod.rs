//! What nodes report: heartbeats become samples, alarms are kept; plots and the alarm list show them. Owns the tables `node_samples`,
//! `app_samples`, `alarms` and the column `nodes.last_sequence`.
//!
//! Invariants: a report is taken once, by its sequence number, in the transaction that moves `last_sequence`; a node reports only about
//! its own deployments and about releases of their apps; one wrong report never holds back the others. Samples live for seven days.

pub mod model;
pub mod plots;
pub mod routes;
pub mod service;
pub mod store;
mod views;

#[cfg(test)]
mod tests;
