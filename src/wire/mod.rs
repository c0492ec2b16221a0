//! What programs call: registry clients, nodes, monitoring.

pub mod ops;
