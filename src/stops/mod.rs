//! Stopping things by the platform: recalling a release, suspending a listing or an organisation, disabling a person, ending sessions and
//! tokens of others. Owns no table: each thing is stopped by its slice, which lies below; what a stop touches is counted here, over all
//! of them.
//!
//! Invariants: a stop has a reason and one audit record, with what it touched, in the same transaction; what a preview tells is counted by
//! the same queries as what the record holds.

pub mod model;
pub mod service;
mod store;
pub mod tell;

#[cfg(test)]
mod tests;
