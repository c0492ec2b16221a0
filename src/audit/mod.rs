//! The append-only record of every decision. Each record carries the hash of the one before, so that a change, a gap or a swap shows.
//!
//! Invariant: [`record`] is called in the same transaction as the decision it records.

pub mod model;
pub mod service;
mod store;
#[cfg(test)]
mod tests;

pub use store::record;
