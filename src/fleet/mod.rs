//! Sites, nodes and deployments of mine operators. Owns the tables `sites`, `nodes`, `deployments`, `deployment_events`;
//! [`margo`] holds the documents that nodes fetch and the reports that they post.
//!
//! Invariants: a node acts only by a certificate whose serial is on its row and while its state is `enrolled` (the accepted list); an
//! enrolment code is used once; a node has at most one deployment of an app; everything that changes what a node shall run is one
//! transaction with its audit record and a [`crate::base::jobs::Job::RebuildNode`]. Another operator's rows read as not found.

pub mod margo;
pub mod model;
pub mod parameters;
pub mod service;
pub mod silence;
mod store;
pub mod upkeep;

#[cfg(test)]
mod tests;
