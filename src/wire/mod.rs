//! Endpoints for programs: registry clients, nodes, monitoring.

pub mod edge;
pub mod margo;
pub mod oci;
pub mod ops;
