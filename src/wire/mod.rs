//! Endpoints for programs: those of buyers and developers, registry clients, nodes, monitoring.

pub mod api;
pub mod edge;
pub mod margo;
pub mod oci;
pub mod ops;
