//! Cases.

pub mod routes;
