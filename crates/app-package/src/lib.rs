//! The app format of Pithead, shared by server, command line and edge node.
//!
//! Pure: no IO beyond the bytes passed in, no clock, no randomness. Everything read here is hostile until it has been
//! validated; all inputs are bounded and no input makes this crate panic.

#![warn(missing_docs, reason = "other crates read this one")]

pub mod digest;
pub mod dsse;
pub mod evidence;
pub mod fault;
pub mod file_kind;
pub mod keys;
pub mod license;
pub mod manifest;
pub mod margo;
pub mod oci;
pub mod orders;
pub mod path;
pub mod pipeline;
pub mod public_key;
pub mod root;
pub mod span;
pub mod stream;
pub mod text;
pub mod validate;

pub use fault::Fault;
