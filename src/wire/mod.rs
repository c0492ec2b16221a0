//! What programs call: registry clients, nodes, monitoring.

pub mod edge;
pub mod ops;
