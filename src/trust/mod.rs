//! Why a release can be trusted: the vendors' signing keys, what the signatures of a release prove, and the documents (SBOM,
//! provenance) that are attached to it.
//!
//! Nothing is concluded at push: pages verify what is stored each time they are shown, with the keys of that moment.

pub mod documents;
pub mod evidence;
pub mod model;
pub mod service;
mod store;

#[cfg(test)]
mod tests;
