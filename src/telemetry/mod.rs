//! Reports.

pub mod routes;
