//! Uploads in chunks, resumable.
//!
//! The durable offset of an upload is the row's, committed after the bytes were made durable; what lies beyond it in the staged file is
//! cut off before the next append. One writer at a time: a per-upload lock in this process, and the conditional update of the offset
//! against others. The writer (`writer.rs`) runs as a task of its own and owns the lock, so a request that is dropped when its client
//! goes away neither tears a write nor loses what had arrived. The running hash of the committed bytes lives in memory beside the lock;
//! after a restart the staged file is hashed once, at the end.

use std::time::Duration;

use app_package::digest::Digest;
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::blobs::{self, link_blob_in};
use super::model::{MAX_BLOB, Repository, Upload};
use super::offset::{Guard, LIFE, advance, live, require_room};
use super::writer::{PIECE, Piece, Writer};
use super::{jobs, quota, store};
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids;

pub use super::offset::{Chunk, forget};

/// Open uploads of one person.
const MAX_OPEN: i64 = 256;
/// A client that sends nothing for this long counts as gone.
const STALL: Duration = Duration::from_mins(1);
/// How long a request waits for another one on the same upload.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Starts an upload into a repository.
///
/// # Errors
/// `quota-exceeded`, `disk-full`, `too-many-uploads`.
pub async fn start(app: &App, user_id: &str, repository: &Repository) -> Result<Upload> {
    quota::require(app, &repository.organization_id, 0).await?;
    app.room.require(0)?;
    let now = app.clock.now();
    let upload = Upload {
        id: ids::new("upl"),
        repository_id: repository.id.clone(),
        user_id: user_id.to_owned(),
        offset_bytes: 0,
        created_at: now,
        expires_at: now.plus(LIFE),
    };
    let row = upload.clone();
    app.db
        .write_aside(move |conn| {
            if store::count_uploads(conn, &row.user_id)? >= MAX_OPEN {
                return Err(Error::rate_limited("too-many-uploads").arg("max", MAX_OPEN).retry_after(TimeDelta::minutes(1)));
            }
            store::insert_upload(conn, &row)?;
            jobs::plan_expiry(conn, row.expires_at, now)
        })
        .await?;
    Ok(upload)
}

/// Files that a person has begun to upload into one repository and not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Name of the repository.
    pub repository: String,
    pub files: i64,
    /// Bytes that have arrived.
    pub bytes: i64,
    /// When the first of them was begun.
    pub since: Timestamp,
    /// When the first of them will be thrown away.
    pub until: Timestamp,
}

/// What a person has not finished, by repository, the one begun last first.
pub fn unfinished_in(conn: &mut Conn, user_id: &str, now: Timestamp) -> Result<Vec<Unfinished>> {
    let mut all: Vec<Unfinished> = Vec::new();
    for (repository, upload) in store::open_uploads(conn, user_id, now, MAX_OPEN)? {
        if let Some(known) = all.iter_mut().find(|u| u.repository == repository) {
            known.files += 1;
            known.bytes += upload.offset_bytes;
            known.since = known.since.min(upload.created_at);
            known.until = known.until.min(upload.expires_at);
        } else {
            all.push(Unfinished { repository, files: 1, bytes: upload.offset_bytes, since: upload.created_at, until: upload.expires_at });
        }
    }
    Ok(all)
}

/// Links a blob of `from`, or without it of any repository of the same organisation; false where there is none.
///
/// # Errors
/// `quota-exceeded`, `disk-full`, `too-many-blobs`.
pub async fn mount(app: &App, into: &Repository, digest: &Digest, from: Option<&Repository>) -> Result<bool> {
    let (source, organization_id) = (from.map(|r| r.id.clone()), into.organization_id.clone());
    let (wanted, of, owner, own) = (digest.clone(), source.clone(), organization_id.clone(), into.id.clone());
    // Nobody learns of a blob that is not theirs: the store is asked for what is linked alone.
    let looked = app.db.read(move |conn| {
        let is_linked = store::linked(conn, &own, wanted.as_str())?.is_some();
        Ok(size_at(conn, of.as_deref(), &owner, &wanted)?.map(|size| (size, is_linked)))
    });
    let Some((size, is_linked)) = looked.await? else { return Ok(false) };
    // A blob whose bytes are gone is uploaded anew, which mends it.
    if app.blobs.size(digest).await?.is_none() {
        return Ok(false);
    }
    // What is linked here already adds nothing; of the same organisation it counts already, but for the link.
    if !is_linked {
        let more = if from.is_none_or(|from| from.organization_id == into.organization_id) { quota::LINK } else { size };
        quota::require(app, &organization_id, more).await?;
        app.room.require(0)?;
    }
    let (into, digest, now) = (into.id.clone(), digest.clone(), app.clock.now());
    app.db
        .write_aside(move |conn| {
            // Touch before looking: a blob that is there now stays until it is linked.
            store::touch(conn, &[digest.as_str()], now)?;
            let Some(size) = size_at(conn, source.as_deref(), &organization_id, &digest)? else { return Ok(false) };
            link_blob_in(conn, &into, &digest, size, now)?;
            Ok(true)
        })
        .await
}

/// Size of a blob that a repository links, or without one any of an organisation.
fn size_at(conn: &mut Conn, repository_id: Option<&str>, organization_id: &str, digest: &Digest) -> Result<Option<u64>> {
    let size = match repository_id {
        Some(id) => store::linked(conn, id, digest.as_str())?.map(|(size, _)| size),
        None => store::linked_in_organization(conn, organization_id, digest.as_str())?,
    };
    size.map(u64::try_from).transpose().map_err(Error::internal)
}

/// An upload that a person may go on with.
///
/// # Errors
/// `upload-unknown`: no such upload here, over, or somebody else's.
pub async fn find(app: &App, user_id: &str, repository_id: &str, id: &str) -> Result<Upload> {
    let (wanted, now) = (id.to_owned(), app.clock.now());
    let upload = app.db.read(move |conn| Ok(store::upload(conn, &wanted)?)).await?;
    upload
        .filter(|u| u.repository_id == repository_id && u.user_id == user_id && u.expires_at > now)
        .ok_or_else(|| Error::not_found("upload-unknown"))
}

/// Locks an upload; gives it with its offset, cut to the staged file's length.
async fn locked(app: &App, known: &Upload) -> Result<(Upload, Guard)> {
    let id = known.id.as_str();
    let entry = live().entry(id.to_owned()).or_default().clone();
    let guard = tokio::time::timeout(LOCK_WAIT, entry.lock_owned()).await.map_err(|_| Error::conflict("upload-busy"))?;
    let mut upload = match find(app, &known.user_id, &known.repository_id, id).await {
        Ok(upload) => upload,
        Err(e) => {
            forget(id);
            return Err(e);
        }
    };
    let on_disk = tokio::fs::metadata(app.blobs.staged(id)).await.map_or(0, |meta| meta.len());
    if on_disk < upload.offset() {
        // The file has lost bytes that the row counts (a disk that lied, a restored folder): believe the file.
        tracing::error!(upload = id, on_disk, offset = upload.offset(), "staged file is shorter than its offset");
        advance(app, &upload, upload.offset(), on_disk).await?;
        upload.offset_bytes = i64::try_from(on_disk).map_err(Error::internal)?;
    }
    Ok((upload, guard))
}

/// Appends a chunk; gives the upload with its new offset.
///
/// # Errors
/// `range-invalid` where the chunk does not begin at the offset (the upload stays usable), `size-invalid` where the body is not as
/// long as announced, `blob-too-large`, `body-broken` where the client went away (what had come is kept), `upload-busy`.
pub async fn append<E>(
    app: &App,
    known: &Upload,
    chunk: Chunk,
    body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
) -> Result<Upload> {
    let appended = async {
        let (upload, guard) = locked(app, known).await?;
        require_room(app, &upload, chunk).await?;
        append_locked(app, guard, upload, chunk, body).await
    };
    let (_, upload) = or_freed(app, known, appended.await).await?;
    Ok(upload)
}

/// On a full disk an upload is given up and its bytes are freed at once: others need the room, and nobody can go on with it now.
async fn or_freed<T>(app: &App, upload: &Upload, outcome: Result<T>) -> Result<T> {
    if let Err(e) = &outcome
        && e.kind == Kind::Full
    {
        // Bytes first: the row may not go where the database has no room either, and then expires.
        let freed = app.blobs.discard(&upload.id).await;
        let gone = drop_upload(app, &upload.id).await;
        if let Err(e) = freed.and(gone) {
            tracing::warn!(upload = upload.id, error = %e, "an upload on a full disk stays");
        }
    }
    outcome
}

async fn append_locked<E>(
    app: &App,
    guard: Guard,
    upload: Upload,
    chunk: Chunk,
    mut body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
) -> Result<(Guard, Upload)> {
    let announced = match chunk.range {
        Some((first, _)) if first != upload.offset() => return Err(Error::invalid("range-invalid").arg("offset", upload.offset())),
        Some((first, last)) => {
            let length = (last - first).saturating_add(1);
            if chunk.length.is_some_and(|l| l != length) {
                return Err(Error::invalid("size-invalid"));
            }
            Some(length)
        }
        None => chunk.length,
    };
    if upload.offset().saturating_add(announced.unwrap_or(0)) > MAX_BLOB {
        return Err(Error::too_large("blob-too-large").arg("bytes", MAX_BLOB));
    }
    let (sender, receiver) = mpsc::channel(8);
    let writer = Writer { app: app.clone(), upload, announced };
    let task = tokio::spawn(writer.run(guard, receiver).instrument(tracing::Span::current()));
    loop {
        let piece = match tokio::time::timeout(STALL, body.next()).await {
            Ok(Some(Ok(bytes))) => Piece::Data(bytes),
            Ok(None) => Piece::End,
            // The body broke off or went silent: the writer sees the channel close without an end.
            Ok(Some(Err(_))) | Err(_) => break,
        };
        let end = matches!(piece, Piece::End);
        // A closed channel means that the writer has refused; the task's result below says why.
        if sender.send(piece).await.is_err() || end {
            break;
        }
    }
    drop(sender);
    task.await.map_err(Error::internal)?
}

/// Ends an upload: appends the last chunk, if there is one, checks the digest, publishes the blob and links it.
///
/// # Errors
/// As [`append`]; `digest-invalid` where the bytes are not those of the digest: the upload is gone then, nothing is stored.
pub async fn finish<E>(
    app: &App,
    known: &Upload,
    digest: &Digest,
    chunk: Chunk,
    body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
) -> Result<()> {
    or_freed(app, known, finish_now(app, known, digest, chunk, body).await).await
}

async fn finish_now<E>(
    app: &App,
    known: &Upload,
    digest: &Digest,
    chunk: Chunk,
    body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
) -> Result<()> {
    let (upload, guard) = locked(app, known).await?;
    if chunk.length != Some(0) {
        require_room(app, &upload, chunk).await?;
    }
    let (guard, upload) = append_locked(app, guard, upload, chunk, body).await?;
    let actual = match (&guard.running, digest.algorithm()) {
        (Some((at, hash)), "sha256") if *at == upload.offset() => hex::encode(hash.clone().finalize()),
        _ => rehash(app, &upload.id, digest.algorithm()).await?,
    };
    if actual != digest.hex() {
        drop_upload(app, &upload.id).await?;
        return Err(Error::invalid("digest-invalid").arg("digest", digest));
    }
    publish(app, &upload, digest).await?;
    forget(&upload.id);
    drop(guard);
    // The blob is stored; the staged file only costs space until garbage is collected.
    if let Err(e) = app.blobs.discard(&upload.id).await {
        tracing::warn!(upload = upload.id, error = %e, "staged file stays");
    }
    Ok(())
}

/// Publishes the bytes and links the blob.
async fn publish(app: &App, upload: &Upload, digest: &Digest) -> Result<()> {
    blobs::publish(app, &upload.id, digest, upload.offset()).await?;
    let (row, wanted, now) = (upload.clone(), digest.clone(), app.clock.now());
    app.db
        .write_aside(move |conn| {
            link_blob_in(conn, &row.repository_id, &wanted, row.offset(), now)?;
            store::delete_upload(conn, &row.id)?;
            Ok(())
        })
        .await
}

async fn rehash(app: &App, id: &str, algorithm: &str) -> Result<String> {
    let (path, long) = (app.blobs.staged(id), algorithm == "sha512");
    tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        if long {
            let mut hash = Sha512::new();
            feed(&mut file, |bytes| hash.update(bytes))?;
            Ok(hex::encode(hash.finalize()))
        } else {
            let mut hash = Sha256::new();
            feed(&mut file, |bytes| hash.update(bytes))?;
            Ok(hex::encode(hash.finalize()))
        }
    })
    .await
    .map_err(Error::internal)?
}

fn feed(file: &mut std::fs::File, mut take: impl FnMut(&[u8])) -> Result<()> {
    use std::io::BufRead as _;
    let mut reader = std::io::BufReader::with_capacity(PIECE, file);
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        take(bytes);
        let n = bytes.len();
        reader.consume(n);
    }
}

/// Cancels an upload.
pub async fn cancel(app: &App, known: &Upload) -> Result<()> {
    let (upload, guard) = locked(app, known).await?;
    drop_upload(app, &upload.id).await?;
    drop(guard);
    Ok(())
}

async fn drop_upload(app: &App, id: &str) -> Result<()> {
    let gone = id.to_owned();
    app.db.write_aside(move |conn| Ok(store::delete_upload(conn, &gone)?)).await?;
    app.blobs.discard(id).await?;
    forget(id);
    Ok(())
}
