//! Margo Workload Management API 1.0.0-rc.2 and 1.0.0-rc.3 on the node listener: the six endpoints. [`crate::fleet::margo::desired`] writes the desired
//! state.

mod negotiate;
mod routes;

pub use routes::configure;

#[cfg(test)]
mod tests;
