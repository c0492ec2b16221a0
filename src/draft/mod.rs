//! Apps that begin in the browser with a bare model: what was uploaded, what the confined child has read of it, and what its developer says,
//! until it is a release or over. Owns `drafts`.
//!
//! Invariants:
//! - No file of a draft is looked at in this process: a child reads the models once, another one follows each answer, a third makes the
//!   expected results. What they print is kept, bounded, and shown as a stranger's text.
//! - The files are blobs of the developer's own repository, so that they count against its quota. Nothing else holds them: a draft touches
//!   them with each answer and ends before they are collected.
//! - An answer is stored where the draft is as the page showed it (`revision`); another tab's answer is never written over unseen.

pub mod jobs;
pub mod model;
pub mod service;
mod store;

#[cfg(test)]
mod tests;
