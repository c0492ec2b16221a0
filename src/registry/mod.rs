//! The OCI Distribution v1.1 registry at `/v2/`, embedded: uploads, blobs, manifests, tags, referrers, and the tokens to reach them.
//!
//! Invariants:
//! - Who asks decides first ([`service::authorize`]); a blob is given out only through a repository that links it
//!   (`repository_blobs`), never for knowing its digest.
//! - A blob is in the store whole and verified before the database knows it; an upload's committed offset never runs ahead of what
//!   is durable on disk.
//! - Manifests keep the exact bytes. A tag that is a semantic version never moves; other tags (`latest`) float.

pub mod blobs;
pub mod jobs;
pub mod manifests;
pub mod model;
pub mod path;
pub mod range;
pub mod routes;
pub mod service;
mod store;
pub mod token;
pub mod uploads;

#[cfg(test)]
mod tests;
