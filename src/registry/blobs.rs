//! Blobs as a repository sees them.

use app_package::digest::Digest;
use chrono::TimeDelta;
use serde_json::json;

use super::model::{Action, RepositoryName};
use super::service::{self, Caller};
use super::store;
use super::token::Asking;
use crate::audit;
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Result, exactly_one};
use crate::base::storage::BlobStore;

/// A look at a blob counts as a touch when the last one is older; keeps looks from being writes.
const TOUCH_EVERY: TimeDelta = TimeDelta::hours(1);

/// Size in bytes of a blob that the repository links and who asks may pull.
///
/// # Errors
/// `blob-unknown`, and those of [`service::authorize`].
pub async fn find(app: &App, asking: &Asking, name: &RepositoryName, digest: &Digest) -> Result<u64> {
    let (asking, name, wanted, now) = (asking.clone(), name.clone(), digest.clone(), app.clock.now());
    let unknown = || Error::not_found("blob-unknown");
    let (repository, size, touched) = app
        .db
        .read(move |conn| {
            let caller = asking.caller(conn)?;
            let (repository, _) = service::open_in(conn, &caller, &name, now)?;
            let (size, touched) = store::linked(conn, &repository.id, wanted.as_str())?.ok_or_else(unknown)?;
            Ok((repository, size, touched))
        })
        .await?;
    if touched.plus(TOUCH_EVERY) < now {
        // Whoever saw it may leave it out of an upload and name it in a manifest: it must not be collected meanwhile.
        let digest = digest.clone();
        app.db
            .write(move |conn| {
                store::touch(conn, &[digest.as_str()], now)?;
                store::linked(conn, &repository.id, digest.as_str())?.map(|_| ()).ok_or_else(unknown)
            })
            .await?;
    }
    u64::try_from(size).map_err(Error::internal)
}

/// Takes a blob out of a repository. The bytes stay for the other repositories that link them.
///
/// # Errors
/// `blob-unknown`; `release-in-use` where a manifest that must stay names it.
pub async fn delete(app: &App, caller: &Caller, name: &RepositoryName, digest: &Digest) -> Result<()> {
    let repository = service::authorize(app, caller, name, Action::Delete).await?;
    let digest = digest.clone();
    audit::change(app, &caller.actor, move |c| {
        dialect::hold(c, dialect::Row::Repository(&repository.id))?;
        let needle = digest.as_str().as_bytes();
        if store::kept_contents(c, &repository.id)?.iter().any(|content| content.windows(needle.len()).any(|w| w == needle)) {
            return Err(Error::conflict("release-in-use"));
        }
        exactly_one(store::unlink(c, &repository.id, digest.as_str())?, "blob-unknown").map_err(|_| Error::not_found("blob-unknown"))?;
        c.audit("blob.deleted", &repository.id, &json!({"repository": repository.name, "digest": digest}));
        Ok(())
    })
    .await
}

/// Keeps blobs from being collected until the caller's transaction has linked them. Before it looks whether they are there.
pub fn touch_blobs_in(conn: &mut Conn, digests: &[&str], now: Timestamp) -> Result<()> {
    Ok(store::touch(conn, digests, now)?)
}

/// Notes in the caller's transaction that a repository holds a blob whose bytes are in the store. The caller looks after that whether
/// they are, unless it knows that the blob's row was there before.
pub fn link_blob_in(conn: &mut Conn, repository_id: &str, digest: &Digest, size_bytes: u64, now: Timestamp) -> Result<()> {
    dialect::touch_blob(conn, digest.as_str(), i64::try_from(size_bytes).map_err(Error::internal)?, now)?;
    dialect::link_blob(conn, repository_id, digest.as_str(), now)?;
    Ok(())
}

/// Notes in the caller's transaction a blob whose bytes are in the store and that no repository links, so that nobody can pull it: the
/// archive of a hidden test set. The caller looks after that whether the bytes are there, and names the blob in a row of its own.
pub fn keep_blob_in(conn: &mut Conn, digest: &Digest, size_bytes: u64, now: Timestamp) -> Result<()> {
    Ok(dialect::touch_blob(conn, digest.as_str(), i64::try_from(size_bytes).map_err(Error::internal)?, now)?)
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
    app.db.write(move |conn| store_blob_in(conn, &blobs, &repository_id, &bytes, now)).await
}
