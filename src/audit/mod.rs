//! The append-only record of every decision, in one chain per organisation, one of the platform and one per node. Each record carries the
//! hash of the one before in its chain, so that a change, a gap or a swap shows; a seal ([`seal`]) holds the heads of all chains that
//! moved, so that cutting the newest records off shows, and is signed by a key outside the database, so that chains that were hashed anew show.
//! Old records are removed by [`retention`].
//!
//! Invariants: a record is written in the transaction of the decision it records, by [`change()`]; triggers refuse to change what is written.

mod change;
pub mod model;
mod note;
pub mod retention;
pub mod seal;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod verify;

pub use change::{Change, change, change_in};
