//! Releases: taking an upload, checking it, submitting it, publishing it. Owns `releases`, `check_reports` and
//! `measurements`.
//!
//! Invariants: one version of an app is one digest for ever, from when its bytes have passed the check; a state changes only by [`model::next`], in one transaction with its audit
//! record; what a package says of itself is read again from its own bytes, never taken from a client; a release is published only
//! together with the platform's signature over its digest.

pub mod arrival;
pub mod comparison;
pub mod difference;
pub mod jobs;
pub mod lifecycle;
pub mod limits;
pub mod malware;
pub mod measuring;
pub mod model;
pub mod package;
pub mod recall;
pub mod rules;
pub mod service;
pub mod signing;
mod store;
pub mod upload;

#[cfg(test)]
mod tests;
