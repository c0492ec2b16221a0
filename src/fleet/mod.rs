//! Nodes.

pub mod jobs;
pub mod margo;
pub mod routes;
pub mod service;
