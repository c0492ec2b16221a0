//! Which manifest names which blob (`manifest_blobs`). Rows come with a manifest and go with it, in its own transaction, so the use of a
//! blob is a look-up.
//!
//! A manifest that is not `linked` was stored by a version before there were links. [`complete`] mends that before the server listens; one
//! that it cannot read stays so, and no blob of its repository goes meanwhile.

use super::{parsed, store};
use crate::base::app::App;
use crate::base::db::{Conn, dialect};
use crate::base::error::{Error, Result};

/// Manifests of one transaction, of at most 4 MiB each.
const BATCH: i64 = 8;
/// Published releases that name one blob and are looked at.
const MAX_NAMING: i64 = 1000;

/// Notes the blobs of all manifests that are not linked yet; gives how many were.
pub async fn complete(app: &App) -> Result<u64> {
    let (mut done, mut last) = (0, (String::new(), String::new()));
    loop {
        let (repository_id, digest) = last.clone();
        let (end, linked) = app
            .db
            .write(move |conn| {
                let rows = store::unlinked(conn, (&repository_id, &digest), BATCH)?;
                let mut linked = 0;
                for (repository_id, digest, media_type, content) in &rows {
                    match parsed::blobs_of(media_type, content) {
                        Ok(blobs) => {
                            let blobs: Vec<&str> = blobs.iter().map(String::as_str).collect();
                            dialect::link_manifest(conn, repository_id, digest, &blobs)?;
                            store::set_linked(conn, repository_id, digest)?;
                            linked += 1;
                        }
                        Err(e) => tracing::error!(repository_id, digest, error = %e, "a stored manifest cannot be read"),
                    }
                }
                Ok((rows.last().map(|(repository_id, digest, ..)| (repository_id.clone(), digest.clone())), linked))
            })
            .await?;
        done += linked;
        match end {
            Some(end) => last = end,
            None => return Ok(done),
        }
    }
}

/// Refuses where it is unknown what a manifest of the repository names.
///
/// # Errors
/// `internal`.
pub(super) fn require_complete(conn: &mut Conn, repository_id: &str) -> Result<()> {
    let unread = || Error::internal(anyhow::anyhow!("a manifest of {repository_id} is not linked"));
    if store::has_unlinked(conn, repository_id)? { Err(unread()) } else { Ok(()) }
}

/// Digests of the published manifests that name a blob themselves or by what refers to them; the first, where there are very many.
///
/// # Errors
/// Of the database.
pub fn published_naming(conn: &mut Conn, repository_id: &str, digest: &str) -> Result<Vec<String>> {
    Ok(store::published_naming(conn, repository_id, digest, MAX_NAMING)?)
}
