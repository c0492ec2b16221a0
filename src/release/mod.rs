//! Releases.

pub mod jobs;
pub mod routes;
