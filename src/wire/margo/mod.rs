//! Margo Workload Management API 1.0.0-rc.2 on the node listener: the six endpoints. What a node shall run is written by
//! [`crate::fleet::margo::desired`].

mod negotiate;
mod routes;

pub use routes::configure;

#[cfg(test)]
mod tests;
