//! Blobs as a repository sees them.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use app_package::digest::Digest;
use chrono::TimeDelta;
use serde_json::json;

use super::model::Repository;
use super::{links, store};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Result, exactly_one};
use crate::base::storage::BlobStore;

/// A look at a blob touches it only if the last touch is older than this, so that most looks write nothing.
const TOUCH_EVERY: TimeDelta = TimeDelta::hours(1);

/// Most blobs of a repository: however small, each takes rows and a file.
const MAX_BLOBS: i64 = 100_000;
/// A repository's links are counted anew when this part of the room that the last count left is used: a count walks all of them, inside the
/// only writer of SQLite. Several servers together pass the bound by a few parts at most.
const PART: i64 = 8;
/// Links that may come uncounted, by repository. An entry is made by a link, so there are no more than repositories.
static UNCOUNTED: LazyLock<Mutex<HashMap<String, i64>>> = LazyLock::new(Mutex::default);

/// A blob that a repository holds.
#[derive(Debug, Clone, Copy)]
pub struct LinkedBlob {
    /// Its size in bytes.
    pub size: u64,
    /// Whether the last touch is so old that a look at it must touch it again: [`touch_seen`].
    pub stale: bool,
}

/// A blob that a repository links.
///
/// # Errors
/// `blob-unknown`.
pub fn held_in(conn: &mut Conn, repository_id: &str, digest: &Digest, now: Timestamp) -> Result<LinkedBlob> {
    let (size, touched) = store::linked(conn, repository_id, digest.as_str())?.ok_or_else(unknown)?;
    Ok(LinkedBlob { size: u64::try_from(size).map_err(Error::internal)?, stale: touched.plus(TOUCH_EVERY) < now })
}

/// Touches a blob that somebody was shown: they may leave it out of an upload and name it in a manifest, so it must not be collected
/// meanwhile.
///
/// # Errors
/// `blob-unknown` where it has just been collected.
pub async fn touch_seen(app: &App, repository_id: String, digest: Digest) -> Result<()> {
    let now = app.clock.now();
    app.db
        .write_aside(move |conn| {
            store::touch(conn, &[digest.as_str()], now)?;
            store::linked(conn, &repository_id, digest.as_str())?.map(|_| ()).ok_or_else(unknown)
        })
        .await
}

fn unknown() -> Error {
    Error::not_found("blob-unknown")
}

/// Takes a blob out of a repository. The bytes stay for the other repositories that link them.
///
/// # Errors
/// `blob-unknown`; `release-in-use` where a manifest that must stay names it.
pub async fn delete(app: &App, actor: &Actor, repository: Repository, digest: Digest) -> Result<()> {
    audit::change(app, actor, move |c| {
        dialect::hold(c, dialect::Row::Repository(&repository.id))?;
        links::require_complete(c, &repository.id)?;
        if store::is_kept(c, &repository.id, digest.as_str())? {
            return Err(Error::conflict("release-in-use"));
        }
        exactly_one(store::unlink(c, &repository.id, digest.as_str())?, "blob-unknown").map_err(|_| unknown())?;
        c.audit("blob.deleted", &repository.id, &json!({"repository": repository.name, "digest": digest}));
        Ok(())
    })
    .await
}

/// Keeps blobs from being collected until the caller's transaction has linked them. Call it before looking whether they are there.
pub fn touch_blobs_in(conn: &mut Conn, digests: &[&str], now: Timestamp) -> Result<()> {
    Ok(store::touch(conn, digests, now)?)
}

/// Notes in the caller's transaction that a repository holds a blob. The caller has made sure of the bytes ([`publish`]), knows that the
/// blob's row was there before, or stores them now. The repository is not held, so those who come at once may each
/// add one over the bound.
///
/// # Errors
/// `too-many-blobs`.
pub fn link_blob_in(conn: &mut Conn, repository_id: &str, digest: &Digest, size_bytes: u64, now: Timestamp) -> Result<()> {
    dialect::touch_blob(conn, digest.as_str(), i64::try_from(size_bytes).map_err(Error::internal)?, now)?;
    if dialect::link_blob(conn, repository_id, digest.as_str(), now)? { require_room(conn, repository_id) } else { Ok(()) }
}

/// Checks that a repository has no more links than it may, with the one that was just added.
fn require_room(conn: &mut Conn, repository_id: &str) -> Result<()> {
    // The map is whole after each single operation, also after a panic elsewhere.
    let uncounted = || UNCOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(left) = uncounted().get_mut(repository_id).filter(|left| **left > 0) {
        *left -= 1;
        return Ok(());
    }
    let count = store::count_links(conn, repository_id)?;
    if count > MAX_BLOBS {
        return Err(Error::conflict("too-many-blobs").arg("max", MAX_BLOBS));
    }
    uncounted().insert(repository_id.to_owned(), (MAX_BLOBS - count) / PART);
    Ok(())
}

/// Stores a staged file as a blob and makes sure of its bytes: garbage collection may remove the same blob's in between, so its row is
/// touched after them, and they are looked for after that. Where they are, they stay until a transaction links or pins the blob, which need
/// not ask the store then.
///
/// # Errors
/// `blob-collected`: the bytes were removed after each of three tries.
pub async fn publish(app: &App, staged: &str, digest: &Digest, size_bytes: u64) -> Result<()> {
    let size_bytes = i64::try_from(size_bytes).map_err(Error::internal)?;
    for _ in 0..3 {
        app.blobs.publish(staged, digest).await?;
        let (wanted, now) = (digest.to_string(), app.clock.now());
        app.db.write_aside(move |conn| Ok(dialect::touch_blob(conn, &wanted, size_bytes, now)?)).await?;
        if app.blobs.size(digest).await?.is_some() {
            return Ok(());
        }
    }
    Err(Error::unavailable("blob-collected"))
}

/// Notes in the caller's transaction a blob whose bytes are in the store and that no repository links, so that nobody can pull it: the
/// archive of a hidden test set. It stays for `holder`. The caller has made sure of the bytes ([`publish`]).
pub fn pin_blob_in(conn: &mut Conn, digest: &Digest, size_bytes: u64, holder: &str, now: Timestamp) -> Result<()> {
    dialect::touch_blob(conn, digest.as_str(), i64::try_from(size_bytes).map_err(Error::internal)?, now)?;
    store::pin(conn, digest.as_str(), holder)?;
    Ok(())
}

/// Stores bytes that are in memory anyway (an envelope, a configuration) as a blob of a repository, in the caller's transaction.
pub fn store_blob_in(conn: &mut Conn, blobs: &BlobStore, repository_id: &str, bytes: &[u8], now: Timestamp) -> Result<Digest> {
    let digest = Digest::of(bytes);
    link_blob_in(conn, repository_id, &digest, bytes.len() as u64, now)?;
    blobs.put_blocking(&digest, bytes)?;
    Ok(digest)
}

/// As [`store_blob_in`], in a transaction of its own.
pub async fn store_blob_small(app: &App, repository_id: &str, bytes: &[u8]) -> Result<Digest> {
    let (blobs, repository_id, bytes, now) = (app.blobs.clone(), repository_id.to_owned(), bytes.to_vec(), app.clock.now());
    app.db.write_aside(move |conn| store_blob_in(conn, &blobs, &repository_id, &bytes, now)).await
}
