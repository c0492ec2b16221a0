//! The OCI Distribution v1.1 registry at `/v2/`, embedded: uploads, blobs, manifests, tags, referrers, and the tokens to reach them.
//!
//! Invariants:
//! - Who asks decides first ([`service::authorize`]); a blob is given out only through a repository that links it
//!   (`repository_blobs`), never for knowing its digest.
//! - A blob is in the store whole and verified before the database knows it; an upload's committed offset never runs ahead of what
//!   is durable on disk.
//! - A blob lies in the store once, however many repositories link it. [`collect`] removes what nothing has referred to for the grace
//!   time and never what somebody just saw or sent: whoever relies on a blob touches it first.
//! - Rights are looked up in the read that answers ([`token::Asking`]); what [`cache`] gives again is a second old at most, and never older
//!   than what this process wrote last.
//! - Manifests keep the exact bytes. A tag that is a semantic version never moves; other tags (`latest`) float.

pub mod blobs;
pub mod cache;
pub mod collect;
pub mod jobs;
pub mod manifests;
pub mod model;
pub mod path;
pub mod quota;
pub mod range;
pub mod routes;
pub mod scrub;
pub mod service;
mod store;
pub mod token;
pub mod uploads;
mod writer;

#[cfg(test)]
mod tests;
