//! Queries of which manifest names which blob.

use diesel::dsl::not;
use diesel::prelude::*;

use crate::base::db::Conn;
use crate::base::db::schema::{manifest_blobs, manifests};
use crate::registry::model::Visibility;

/// A manifest whose blobs are not noted yet: repository, digest, media type, content.
pub type Unlinked = (String, String, String, Vec<u8>);

/// Manifests after one whose blobs are not noted yet, in order.
pub fn unlinked(conn: &mut Conn, (repository_id, digest): (&str, &str), limit: i64) -> QueryResult<Vec<Unlinked>> {
    let further = manifests::repository_id.eq(repository_id).and(manifests::digest.gt(digest));
    manifests::table
        .filter(not(manifests::linked).and(manifests::repository_id.gt(repository_id).or(further)))
        .order((manifests::repository_id, manifests::digest))
        .limit(limit)
        .select((manifests::repository_id, manifests::digest, manifests::media_type, manifests::content))
        .load(conn)
}

/// Whether the blobs of a manifest of a repository are not noted yet.
pub fn has_unlinked(conn: &mut Conn, repository_id: &str) -> QueryResult<bool> {
    let found: Option<String> = manifests::table
        .filter(manifests::repository_id.eq(repository_id).and(not(manifests::linked)))
        .select(manifests::repository_id)
        .first(conn)
        .optional()?;
    Ok(found.is_some())
}

pub fn set_linked(conn: &mut Conn, repository_id: &str, digest: &str) -> QueryResult<usize> {
    diesel::update(manifests::table.find((repository_id, digest))).set(manifests::linked.eq(true)).execute(conn)
}

/// Forgets the blobs that a manifest names.
pub fn delete_links(conn: &mut Conn, repository_id: &str, manifest: &str) -> QueryResult<usize> {
    let of = manifest_blobs::repository_id.eq(repository_id).and(manifest_blobs::manifest.eq(manifest));
    diesel::delete(manifest_blobs::table.filter(of)).execute(conn)
}

/// Whether a manifest that must stay names a blob.
pub fn is_kept(conn: &mut Conn, repository_id: &str, digest: &str) -> QueryResult<bool> {
    let found: Option<String> = manifest_blobs::table
        .inner_join(manifests::table.on(manifests::repository_id.eq(repository_id).and(manifests::digest.eq(manifest_blobs::manifest))))
        .filter(manifest_blobs::repository_id.eq(repository_id).and(manifest_blobs::digest.eq(digest)))
        .filter(manifests::visibility.ne(Visibility::Private))
        .select(manifest_blobs::manifest)
        .first(conn)
        .optional()?;
    Ok(found.is_some())
}

/// Digests of the public manifests that name a blob, or to which a manifest refers that names it, at most `limit` of each kind.
pub fn published_naming(conn: &mut Conn, repository_id: &str, digest: &str, limit: i64) -> QueryResult<Vec<String>> {
    let mut found: Vec<String> = manifest_blobs::table
        .inner_join(manifests::table.on(manifests::repository_id.eq(repository_id).and(manifests::digest.eq(manifest_blobs::manifest))))
        .filter(manifest_blobs::repository_id.eq(repository_id).and(manifest_blobs::digest.eq(digest)))
        .filter(manifests::visibility.eq(Visibility::Public))
        .select(manifests::digest)
        .limit(limit)
        .load(conn)?;
    let subjects = diesel::alias!(manifests as subjects);
    let naming = manifests::repository_id.eq(manifest_blobs::repository_id).and(manifests::digest.eq(manifest_blobs::manifest));
    let of = subjects
        .field(manifests::repository_id)
        .eq(manifests::repository_id)
        .and(subjects.field(manifests::digest).nullable().eq(manifests::subject));
    let referred: Vec<String> = manifest_blobs::table
        .inner_join(manifests::table.on(naming))
        .inner_join(subjects.on(of))
        .filter(manifest_blobs::repository_id.eq(repository_id).and(manifest_blobs::digest.eq(digest)))
        .filter(subjects.field(manifests::visibility).eq(Visibility::Public))
        .select(subjects.field(manifests::digest))
        .distinct()
        .limit(limit)
        .load(conn)?;
    found.extend(referred);
    Ok(found)
}
