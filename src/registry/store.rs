//! Queries of the registry.

use std::collections::{HashMap, HashSet};

use app_package::oci::SIGNATURE_TYPE;
use diesel::prelude::*;

use crate::base::db::schema::{blob_pins, blobs, manifests, repositories, repository_blobs, retired_tags, storage_quotas, tags};
use crate::base::db::{Conn, Timestamp, dialect};
use crate::registry::model::{Artifact, Content, ReferrerRow, Repository, RepositoryLine, StoredManifest, Visibility};

mod links;
mod upkeep;
mod uploads;

pub use links::*;
pub use upkeep::*;
pub use uploads::*;

/// Values of one `IN (…)`.
const BATCH: usize = 500;

pub fn repository(conn: &mut Conn, name: &str) -> QueryResult<Option<Repository>> {
    repositories::table.filter(repositories::name.eq(name)).select(Repository::as_select()).first(conn).optional()
}

/// Those of some names that are repositories.
pub fn known_repositories(conn: &mut Conn, names: &[String]) -> QueryResult<HashSet<String>> {
    let mut known = HashSet::new();
    for batch in names.chunks(BATCH) {
        known.extend(repositories::table.filter(repositories::name.eq_any(batch)).select(repositories::name).load::<String>(conn)?);
    }
    Ok(known)
}

pub fn count_repositories(conn: &mut Conn, organization_id: &str) -> QueryResult<i64> {
    repositories::table.filter(repositories::organization_id.eq(organization_id)).count().get_result(conn)
}

/// Sizes of those digests that any repository of an organisation holds.
pub fn sizes_in_organization(conn: &mut Conn, organization_id: &str, digests: &[&str]) -> QueryResult<HashMap<String, i64>> {
    let mut sizes = HashMap::new();
    for batch in digests.chunks(BATCH) {
        let rows: Vec<(String, i64)> = repository_blobs::table
            .inner_join(blobs::table.on(blobs::digest.eq(repository_blobs::digest)))
            .inner_join(repositories::table.on(repositories::id.eq(repository_blobs::repository_id)))
            .filter(repositories::organization_id.eq(organization_id).and(repository_blobs::digest.eq_any(batch)))
            .select((blobs::digest, blobs::size_bytes))
            .load(conn)?;
        sizes.extend(rows);
    }
    Ok(sizes)
}

/// The organisation that a repository belongs to.
pub fn owner_of(conn: &mut Conn, repository_id: &str) -> QueryResult<String> {
    repositories::table.find(repository_id).select(repositories::organization_id).first(conn)
}

/// Pins a blob for a holder, so that it stays although no repository links it.
pub fn pin(conn: &mut Conn, digest: &str, holder: &str) -> QueryResult<usize> {
    diesel::insert_into(blob_pins::table).values((blob_pins::digest.eq(digest), blob_pins::holder.eq(holder))).execute(conn)
}

/// An organisation's own storage limit in bytes, if it has one.
pub fn quota(conn: &mut Conn, organization_id: &str) -> QueryResult<Option<i64>> {
    storage_quotas::table.find(organization_id).select(storage_quotas::limit_bytes).first(conn).optional()
}

pub fn delete_quota(conn: &mut Conn, organization_id: &str) -> QueryResult<usize> {
    diesel::delete(storage_quotas::table.find(organization_id)).execute(conn)
}

/// Size and last touch of a blob that a repository links.
pub fn linked(conn: &mut Conn, repository_id: &str, digest: &str) -> QueryResult<Option<(i64, Timestamp)>> {
    repository_blobs::table
        .inner_join(blobs::table.on(blobs::digest.eq(repository_blobs::digest)))
        .filter(repository_blobs::repository_id.eq(repository_id).and(repository_blobs::digest.eq(digest)))
        .select((blobs::size_bytes, blobs::touched_at))
        .first(conn)
        .optional()
}

/// How many blobs a repository links.
pub fn count_links(conn: &mut Conn, repository_id: &str) -> QueryResult<i64> {
    repository_blobs::table.filter(repository_blobs::repository_id.eq(repository_id)).count().get_result(conn)
}

/// Size of a blob that any repository of an organisation links.
pub fn linked_in_organization(conn: &mut Conn, organization_id: &str, digest: &str) -> QueryResult<Option<i64>> {
    repository_blobs::table
        .inner_join(blobs::table.on(blobs::digest.eq(repository_blobs::digest)))
        .inner_join(repositories::table.on(repositories::id.eq(repository_blobs::repository_id)))
        .filter(repositories::organization_id.eq(organization_id).and(repository_blobs::digest.eq(digest)))
        .select(blobs::size_bytes)
        .first(conn)
        .optional()
}

/// Marks blobs as just touched, which keeps them from being collected; holds their rows until the transaction ends.
pub fn touch(conn: &mut Conn, digests: &[&str], now: Timestamp) -> QueryResult<()> {
    for batch in digests.chunks(BATCH) {
        diesel::update(blobs::table.filter(blobs::digest.eq_any(batch))).set(blobs::touched_at.eq(now)).execute(conn)?;
    }
    Ok(())
}

/// Sizes of those digests that a repository links.
pub fn linked_sizes(conn: &mut Conn, repository_id: &str, digests: &[&str]) -> QueryResult<HashMap<String, i64>> {
    let mut sizes = HashMap::new();
    for batch in digests.chunks(BATCH) {
        let rows: Vec<(String, i64)> = repository_blobs::table
            .inner_join(blobs::table.on(blobs::digest.eq(repository_blobs::digest)))
            .filter(repository_blobs::repository_id.eq(repository_id).and(repository_blobs::digest.eq_any(batch)))
            .select((blobs::digest, blobs::size_bytes))
            .load(conn)?;
        sizes.extend(rows);
    }
    Ok(sizes)
}

pub fn unlink(conn: &mut Conn, repository_id: &str, digest: &str) -> QueryResult<usize> {
    diesel::delete(repository_blobs::table.find((repository_id, digest))).execute(conn)
}

pub fn manifest(conn: &mut Conn, repository_id: &str, digest: &str) -> QueryResult<Option<StoredManifest>> {
    manifests::table.find((repository_id, digest)).select(StoredManifest::as_select()).first(conn).optional()
}

/// Those of the digests that are manifests of a repository.
pub fn known_manifests(conn: &mut Conn, repository_id: &str, digests: &[&str]) -> QueryResult<Vec<String>> {
    let mut known = Vec::new();
    for batch in digests.chunks(BATCH) {
        let rows: Vec<String> = manifests::table
            .filter(manifests::repository_id.eq(repository_id).and(manifests::digest.eq_any(batch)))
            .select(manifests::digest)
            .load(conn)?;
        known.extend(rows);
    }
    Ok(known)
}

pub fn insert_manifest(conn: &mut Conn, repository_id: &str, manifest: &StoredManifest, now: Timestamp) -> QueryResult<usize> {
    diesel::insert_into(manifests::table)
        .values((
            manifests::repository_id.eq(repository_id),
            manifests::digest.eq(&manifest.digest),
            manifests::media_type.eq(&manifest.media_type),
            manifests::artifact_type.eq(manifest.artifact_type.as_deref()),
            manifests::subject.eq(manifest.subject.as_deref()),
            manifests::annotations.eq(manifest.annotations.as_deref()),
            manifests::content.eq(&manifest.content),
            manifests::visibility.eq(manifest.visibility),
            manifests::created_at.eq(now),
            // The caller notes the blobs in the same transaction.
            manifests::linked.eq(true),
        ))
        .execute(conn)
}

/// Writes the right bytes over damaged ones. The caller notes the blobs anew.
pub fn mend_manifest(conn: &mut Conn, repository_id: &str, digest: &str, content: &[u8]) -> QueryResult<usize> {
    diesel::update(manifests::table.find((repository_id, digest)))
        .set((manifests::content.eq(content), manifests::linked.eq(true)))
        .execute(conn)
}

pub fn count_manifests(conn: &mut Conn, repository_id: &str) -> QueryResult<i64> {
    manifests::table.filter(manifests::repository_id.eq(repository_id)).count().get_result(conn)
}

/// How many manifests refer to a subject.
pub fn count_referrers(conn: &mut Conn, repository_id: &str, subject: &str) -> QueryResult<i64> {
    manifests::table.filter(manifests::repository_id.eq(repository_id).and(manifests::subject.eq(subject))).count().get_result(conn)
}

/// Tags of a repository, with the versions that were deleted; one that came back counts twice.
pub fn count_tags(conn: &mut Conn, repository_id: &str) -> QueryResult<i64> {
    let there: i64 = tags::table.filter(tags::repository_id.eq(repository_id)).count().get_result(conn)?;
    let gone: i64 = retired_tags::table.filter(retired_tags::repository_id.eq(repository_id)).count().get_result(conn)?;
    Ok(there.saturating_add(gone))
}

/// What a version's tag named before it was deleted.
pub fn retired(conn: &mut Conn, repository_id: &str, name: &str) -> QueryResult<Option<String>> {
    retired_tags::table.find((repository_id, name)).select(retired_tags::digest).first(conn).optional()
}

/// Forgets that a tag named a manifest before it was deleted.
pub fn forget_retired(conn: &mut Conn, repository_id: &str, name: &str, digest: &str) -> QueryResult<usize> {
    diesel::delete(retired_tags::table.find((repository_id, name)).filter(retired_tags::digest.eq(digest))).execute(conn)
}

/// Removes a manifest, the tags that point at it, and what is noted of its blobs.
pub fn delete_manifest(conn: &mut Conn, repository_id: &str, digest: &str) -> QueryResult<usize> {
    delete_links(conn, repository_id, digest)?;
    diesel::delete(tags::table.filter(tags::repository_id.eq(repository_id).and(tags::digest.eq(digest)))).execute(conn)?;
    diesel::delete(manifests::table.find((repository_id, digest))).execute(conn)
}

pub fn tag(conn: &mut Conn, repository_id: &str, name: &str) -> QueryResult<Option<String>> {
    tags::table.find((repository_id, name)).select(tags::digest).first(conn).optional()
}

/// The manifest that a tag points at.
pub fn tagged(conn: &mut Conn, repository_id: &str, name: &str) -> QueryResult<Option<StoredManifest>> {
    tags::table
        .inner_join(manifests::table.on(manifests::repository_id.eq(tags::repository_id).and(manifests::digest.eq(tags::digest))))
        .filter(tags::repository_id.eq(repository_id).and(tags::name.eq(name)))
        .select(StoredManifest::as_select())
        .first(conn)
        .optional()
}

/// Inserts a tag that must not exist.
pub fn insert_tag(conn: &mut Conn, repository_id: &str, name: &str, digest: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::insert_into(tags::table)
        .values((tags::repository_id.eq(repository_id), tags::name.eq(name), tags::digest.eq(digest), tags::updated_at.eq(now)))
        .execute(conn)
}

pub fn delete_tag(conn: &mut Conn, repository_id: &str, name: &str, digest: &str) -> QueryResult<usize> {
    diesel::delete(tags::table.find((repository_id, name)).filter(tags::digest.eq(digest))).execute(conn)
}

/// Who may see a manifest, and whether it must stay.
pub fn visibility(conn: &mut Conn, repository_id: &str, digest: &str) -> QueryResult<Option<Visibility>> {
    manifests::table.find((repository_id, digest)).select(manifests::visibility).first(conn).optional()
}

pub fn set_visibility(conn: &mut Conn, repository_id: &str, digest: &str, visibility: Visibility) -> QueryResult<usize> {
    diesel::update(manifests::table.find((repository_id, digest))).set(manifests::visibility.eq(visibility)).execute(conn)
}

/// Manifests of a repository that refer to a subject, of one artifact type where it says one.
pub struct Referrers<'a> {
    pub repository_id: &'a str,
    pub subject: &'a str,
    pub artifact_type: Option<&'a str>,
}

type ReferrerColumns = (
    manifests::digest,
    manifests::media_type,
    manifests::artifact_type,
    manifests::annotations,
    diesel::expression::SqlLiteral<diesel::sql_types::BigInt>,
);

impl Referrers<'_> {
    fn columns() -> ReferrerColumns {
        (manifests::digest, manifests::media_type, manifests::artifact_type, manifests::annotations, dialect::content_length())
    }

    /// The platform's signatures, newest first.
    pub fn kept(&self, conn: &mut Conn, limit: i64) -> QueryResult<Vec<ReferrerRow>> {
        if self.artifact_type.is_some_and(|wanted| wanted != SIGNATURE_TYPE) {
            return Ok(Vec::new());
        }
        manifests::table
            .filter(manifests::repository_id.eq(self.repository_id).and(manifests::subject.eq(self.subject)))
            .filter(manifests::artifact_type.eq(SIGNATURE_TYPE).and(manifests::visibility.eq(Visibility::Kept)))
            .order((manifests::created_at.desc(), manifests::digest.desc()))
            .limit(limit)
            .select(Self::columns())
            .load(conn)
    }

    /// All others, after a digest, in order of digests.
    pub fn others(&self, conn: &mut Conn, after: &str, limit: i64) -> QueryResult<Vec<ReferrerRow>> {
        let other = manifests::artifact_type.is_null().or(manifests::artifact_type.ne(SIGNATURE_TYPE));
        let mut query = manifests::table
            .filter(manifests::repository_id.eq(self.repository_id).and(manifests::subject.eq(self.subject)))
            .filter(manifests::digest.gt(after).and(other.or(manifests::visibility.ne(Visibility::Kept))))
            .order(manifests::digest)
            .limit(limit)
            .select(Self::columns())
            .into_boxed();
        if let Some(artifact_type) = self.artifact_type {
            query = query.filter(manifests::artifact_type.eq(artifact_type));
        }
        query.load(conn)
    }
}

/// Digest of the newest signature of the platform of a manifest, by the name of its repository.
pub fn platform_signature(conn: &mut Conn, repository_name: &str, subject: &str) -> QueryResult<Option<String>> {
    manifests::table
        .inner_join(repositories::table.on(repositories::id.eq(manifests::repository_id)))
        .filter(repositories::name.eq(repository_name).and(manifests::subject.eq(subject)))
        .filter(manifests::artifact_type.eq(SIGNATURE_TYPE).and(manifests::visibility.eq(Visibility::Kept)))
        .order((manifests::created_at.desc(), manifests::digest.desc()))
        .select(manifests::digest)
        .first(conn)
        .optional()
}

/// Manifests of some artifact types that refer to a subject and are at most `max_bytes` long: those that must stay, then the newest.
pub fn referring(
    conn: &mut Conn,
    repository_id: &str,
    subject: &str,
    artifact_types: &[&str],
    max_bytes: i64,
    limit: i64,
) -> QueryResult<Vec<Content>> {
    manifests::table
        .filter(manifests::repository_id.eq(repository_id).and(manifests::subject.eq(subject)))
        .filter(manifests::artifact_type.eq_any(artifact_types).and(dialect::content_length().le(max_bytes)))
        .order((manifests::visibility.eq(Visibility::Kept).desc(), manifests::created_at.desc(), manifests::digest.desc()))
        .limit(limit)
        .select((manifests::created_at, manifests::content))
        .load(conn)
}

/// Manifests of some artifact types that refer to a subject, newest first.
pub fn referrers_of_types(
    conn: &mut Conn,
    repository_id: &str,
    subject: &str,
    artifact_types: &[&str],
    limit: i64,
) -> QueryResult<Vec<Artifact>> {
    manifests::table
        .filter(manifests::repository_id.eq(repository_id).and(manifests::subject.eq(subject)))
        .filter(manifests::artifact_type.eq_any(artifact_types))
        .order((manifests::created_at.desc(), manifests::digest.desc()))
        .limit(limit)
        .select(artifact_columns())
        .load(conn)
}

/// Names of tags after a name, in ASCII order; for buyers only those of published releases.
pub fn tags_after(conn: &mut Conn, repository_id: &str, after: &str, limit: i64, buyer: bool) -> QueryResult<Vec<String>> {
    dialect::tags_after(conn, repository_id, after, limit, buyer.then_some(Visibility::Public.as_str()))
}

/// Repositories of an organisation after a name, in order.
pub fn repository_lines(conn: &mut Conn, organization_id: &str, after: &str, limit: i64) -> QueryResult<Vec<RepositoryLine>> {
    repositories::table
        .filter(repositories::organization_id.eq(organization_id).and(repositories::name.gt(after)))
        .order(repositories::name)
        .limit(limit)
        .select((repositories::name, repositories::created_at))
        .load(conn)
}

type ArtifactColumns = (
    manifests::digest,
    manifests::media_type,
    manifests::artifact_type,
    diesel::expression::SqlLiteral<diesel::sql_types::BigInt>,
    manifests::created_at,
);

fn artifact_columns() -> ArtifactColumns {
    (manifests::digest, manifests::media_type, manifests::artifact_type, dialect::content_length(), manifests::created_at)
}

/// Manifests of a repository that refer to no other one, newest first, from [`Artifact::place`] on.
pub fn artifacts(conn: &mut Conn, repository_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<Artifact>> {
    let mut query = manifests::table
        .filter(manifests::repository_id.eq(repository_id).and(manifests::subject.is_null()))
        .order((manifests::created_at.desc(), manifests::digest.desc()))
        .limit(limit)
        .select(artifact_columns())
        .into_boxed();
    // A malformed position means the beginning.
    let place = before.and_then(|b| b.split_once('~')).and_then(|(at, digest)| Some((at.parse::<i64>().ok()?, digest)));
    if let Some((at, digest)) = place.and_then(|(at, digest)| Some((chrono::DateTime::from_timestamp_micros(at)?, digest))) {
        let at = Timestamp::new(at);
        query = query.filter(manifests::created_at.lt(at).or(manifests::created_at.eq(at).and(manifests::digest.lt(digest.to_owned()))));
    }
    query.load(conn)
}

/// Referrers of some manifests, each with its subject's digest, oldest first.
pub fn referrers_of(conn: &mut Conn, repository_id: &str, digests: &[&str], limit: i64) -> QueryResult<Vec<(String, Artifact)>> {
    manifests::table
        .filter(manifests::repository_id.eq(repository_id).and(manifests::subject.assume_not_null().eq_any(digests)))
        .order((manifests::created_at, manifests::digest))
        .limit(limit)
        .select((manifests::subject.assume_not_null(), artifact_columns()))
        .load(conn)
}
