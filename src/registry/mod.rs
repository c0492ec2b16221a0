//! The OCI registry.

pub mod jobs;
pub mod routes;
