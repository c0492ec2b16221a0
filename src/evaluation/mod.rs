//! Hidden test sets: an administrator keeps them per scenario, every release of the scenario that is submitted is scored on them, and the
//! figure is shown as it is kept, rounded.
//! Owns `evaluation_sets` and `evaluation_scores`.
//!
//! Invariants: what is in a set leaves the platform in no form: its archive is a blob that no repository links, only the confined
//! child reads it, and what is stored of a run is one figure and two counts, never a sample; a set never changes, it is retired, and
//! its scores are shown no more then; a figure, once there, stays.

pub mod jobs;
pub mod model;
pub mod service;
mod store;
mod upload;

#[cfg(test)]
pub(crate) mod tests;
