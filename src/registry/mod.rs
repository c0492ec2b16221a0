//! What the OCI registry stores: repositories, uploads, blobs, manifests, tags, referrers. The protocol is [`crate::wire::oci`]'s, and
//! so is who may do what.
//!
//! Invariants:
//! - A blob is given out only through a repository that links it (`repository_blobs`), never for knowing its digest.
//! - A blob is in the store whole and verified before the database knows it; an upload's committed offset never runs ahead of what
//!   is durable on disk.
//! - A blob lies in the store once, however many repositories link it. [`collect`] removes what nothing has referred to for the grace
//!   time and never what somebody just saw or sent: whoever relies on a blob touches it first.
//! - Manifests keep the exact bytes, count against the quota, and are given out only while the bytes have their digest. What blobs they
//!   name is in a table of its own ([`links`]).
//! - A tag that is a semantic version never moves, also not by deleting it first; other tags (`latest`) float.

pub mod blobs;
pub mod collect;
pub mod jobs;
pub mod links;
pub mod lists;
pub mod manifests;
pub mod model;
mod offset;
mod parsed;
pub mod quota;
pub mod scrub;
pub mod service;
mod store;
pub mod uploads;
mod writer;
