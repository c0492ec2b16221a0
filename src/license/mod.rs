//! Licences.

pub mod routes;
