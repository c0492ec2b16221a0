//! Queries of garbage collection and scrub.

use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::BATCH;
use crate::base::db::schema::{blob_pins, blobs, manifest_blobs, manifests, repositories, repository_blobs, uploads};
use crate::base::db::{Conn, Timestamp};

/// Ids of repositories after one, in order.
pub fn repositories_after(conn: &mut Conn, after: &str, limit: i64) -> QueryResult<Vec<String>> {
    repositories::table.filter(repositories::id.gt(after)).order(repositories::id).limit(limit).select(repositories::id).load(conn)
}

/// Digests after one that a repository has linked since before a time, that nobody has touched since then and no manifest of it names, in
/// order.
pub fn idle_links(conn: &mut Conn, repository_id: &str, before: Timestamp, after: &str, limit: i64) -> QueryResult<Vec<String>> {
    let naming = manifest_blobs::table
        .filter(manifest_blobs::repository_id.eq(repository_blobs::repository_id).and(manifest_blobs::digest.eq(repository_blobs::digest)));
    repository_blobs::table
        .inner_join(blobs::table.on(blobs::digest.eq(repository_blobs::digest)))
        .filter(repository_blobs::repository_id.eq(repository_id).and(repository_blobs::digest.gt(after)))
        .filter(repository_blobs::created_at.lt(before).and(blobs::touched_at.lt(before)))
        .filter(not(exists(naming)))
        .order(repository_blobs::digest)
        .limit(limit)
        .select(repository_blobs::digest)
        .load(conn)
}

/// Takes links away whose blobs nobody has touched since a time; how many. Holds the blobs' rows, so that a touch waits and then finds
/// the link gone.
pub fn unlink_idle(conn: &mut Conn, repository_id: &str, digests: &[String], before: Timestamp) -> QueryResult<usize> {
    let idle = || blobs::digest.eq_any(digests).and(blobs::touched_at.lt(before));
    diesel::update(blobs::table.filter(idle())).set(blobs::touched_at.eq(blobs::touched_at)).execute(conn)?;
    diesel::delete(
        repository_blobs::table
            .filter(repository_blobs::repository_id.eq(repository_id).and(repository_blobs::created_at.lt(before)))
            .filter(repository_blobs::digest.eq_any(blobs::table.filter(idle()).select(blobs::digest))),
    )
    .execute(conn)
}

/// Digests and sizes of blobs that no repository links, nobody has pinned, and nobody has touched since a time, after a digest, in order.
pub fn loose_blobs(conn: &mut Conn, before: Timestamp, after: &str, limit: i64) -> QueryResult<Vec<(String, i64)>> {
    let pinned = blob_pins::table.filter(blob_pins::digest.eq(blobs::digest));
    blobs::table
        .left_join(repository_blobs::table.on(repository_blobs::digest.eq(blobs::digest)))
        .filter(repository_blobs::digest.is_null().and(blobs::touched_at.lt(before)).and(blobs::digest.gt(after)))
        .filter(not(exists(pinned)))
        .order(blobs::digest)
        .limit(limit)
        .select((blobs::digest, blobs::size_bytes))
        .load(conn)
}

/// Removes the row of a blob, if it is still loose; holds it until the transaction ends.
pub fn delete_loose(conn: &mut Conn, digest: &str, before: Timestamp) -> QueryResult<usize> {
    let linked = repository_blobs::table.filter(repository_blobs::digest.eq(digest));
    let pinned = blob_pins::table.filter(blob_pins::digest.eq(digest));
    let needed = exists(linked).or(exists(pinned));
    diesel::delete(blobs::table.find(digest).filter(blobs::touched_at.lt(before).and(not(needed)))).execute(conn)
}

/// Removes the row that [`crate::base::db::dialect::claim_blob`] has made in this transaction.
pub fn delete_claim(conn: &mut Conn, digest: &str) -> QueryResult<usize> {
    diesel::delete(blobs::table.find(digest)).execute(conn)
}

/// Those of the digests that have a row.
pub fn known_blobs(conn: &mut Conn, digests: &[String]) -> QueryResult<Vec<String>> {
    let mut known = Vec::new();
    for batch in digests.chunks(BATCH) {
        known.extend(blobs::table.filter(blobs::digest.eq_any(batch)).select(blobs::digest).load::<String>(conn)?);
    }
    Ok(known)
}

/// Those of the ids that are open uploads.
pub fn known_uploads(conn: &mut Conn, ids: &[String]) -> QueryResult<Vec<String>> {
    let mut known = Vec::new();
    for batch in ids.chunks(BATCH) {
        known.extend(uploads::table.filter(uploads::id.eq_any(batch)).select(uploads::id).load::<String>(conn)?);
    }
    Ok(known)
}

/// Digests and sizes of blobs after a digest, in order.
pub fn blobs_after(conn: &mut Conn, after: &str, limit: i64) -> QueryResult<Vec<(String, i64)>> {
    blobs::table.filter(blobs::digest.gt(after)).order(blobs::digest).limit(limit).select((blobs::digest, blobs::size_bytes)).load(conn)
}

/// Names of the repositories that link a blob, in order, at most `limit`.
pub fn linking(conn: &mut Conn, digest: &str, limit: i64) -> QueryResult<Vec<String>> {
    repositories::table
        .inner_join(repository_blobs::table.on(repository_blobs::repository_id.eq(repositories::id)))
        .filter(repository_blobs::digest.eq(digest))
        .order(repositories::name)
        .limit(limit)
        .select(repositories::name)
        .load(conn)
}

/// Repository, digest and content of manifests after one, in order.
pub fn contents_after(conn: &mut Conn, (repository_id, digest): (&str, &str), limit: i64) -> QueryResult<Vec<(String, String, Vec<u8>)>> {
    let further = manifests::repository_id.eq(repository_id).and(manifests::digest.gt(digest));
    manifests::table
        .filter(manifests::repository_id.gt(repository_id).or(further))
        .order((manifests::repository_id, manifests::digest))
        .limit(limit)
        .select((manifests::repository_id, manifests::digest, manifests::content))
        .load(conn)
}

/// Name of a repository.
pub fn name_of(conn: &mut Conn, repository_id: &str) -> QueryResult<String> {
    repositories::table.find(repository_id).select(repositories::name).first(conn)
}
