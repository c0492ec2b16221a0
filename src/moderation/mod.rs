//! Cases: a release that waits for a moderator, and what was decided and why. Owns the table `cases`; the platform's overview.
//!
//! Invariants: a release has one open case at most; a case is decided once, by someone who neither opened it nor belongs to the
//! organisation whose release it is; the decision, what it does to the release, and the audit record are one transaction.

pub mod model;
pub mod service;
mod store;
pub mod submission;

#[cfg(test)]
pub(crate) mod tests;
