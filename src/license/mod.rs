//! Licences: issued when an order is paid, bound to nodes by activation, judged by [`app_package::license::evaluate`]. Owns the tables
//! `licenses` and `activations`.
//!
//! Invariants: `nodes_active` is the number of activations and never passes `node_limit`, also when many activate at once (one
//! conditional update takes a seat); a node holds at most one seat of a licence; every change of a licence is in the audit log and
//! rebuilds the desired state of its nodes. Apps, releases and nodes are only read here, for names.

pub mod model;
pub mod service;
mod store;
pub mod tell;

#[cfg(test)]
mod tests;
