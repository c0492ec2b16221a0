//! Manifests and tags: taken, named, removed.

use std::collections::HashSet;

use app_package::digest::Digest;
use app_package::oci::{MANIFEST_TYPE, SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE};
use bytes::Bytes;
use serde_json::json;

use super::model::{Expected, Reference, Repository, StoredManifest, Visibility, is_immutable};
use super::parsed::{Parsed, digest_in, is_whole, parse};
use super::store;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::base::open::{Entry, Whose};
use crate::base::turns::{Queue, QueueTurn};

/// Manifests longer than this are read one at a time: JSON of many short members takes more than ten times its length in memory. Those that
/// wait are in memory too, with at most 4 MiB each.
const LARGE: usize = 256 * 1024;
static READING: Queue = Queue::new(1, 16);
/// Such manifests of one organisation that have a turn or wait, so that none fills the queue.
const OF_AN_ORGANIZATION: usize = 4;
/// Most manifests of a repository.
const MAX_MANIFESTS: i64 = 10_000;
/// Most manifests that refer to one manifest; the platform's signature comes on top.
const MAX_REFERRERS: i64 = 200;
/// Most tags of a repository, with the versions that were deleted.
const MAX_TAGS: i64 = 10_000;

/// A manifest by digest or tag; none also where its bytes were changed in the database, so that a client pushes it again, which mends it.
pub fn find_manifest(conn: &mut Conn, repository_id: &str, reference: &str) -> Result<Option<StoredManifest>> {
    let found = match Reference::parse(reference) {
        Ok(Reference::Digest(digest)) => store::manifest(conn, repository_id, digest.as_str())?,
        Ok(Reference::Tag(tag)) => store::tagged(conn, repository_id, &tag)?,
        Err(_) => None,
    };
    Ok(found.filter(|stored| {
        let whole = is_whole(&stored.digest, &stored.content);
        if !whole {
            tracing::error!(repository_id, digest = stored.digest, "a stored manifest is damaged");
        }
        whole
    }))
}

/// Stores an image manifest's exact bytes in the caller's transaction; gives its digest. Its blobs must be in the repository; its
/// subject need not. The platform's own: no limit of a repository keeps it out.
///
/// # Errors
/// `manifest-invalid`, `manifest-too-large`, `manifest-too-many-parts`, `manifest-blob-unknown`, `size-invalid`.
pub fn put_manifest_in(conn: &mut Conn, repository_id: &str, bytes: Bytes, visibility: Visibility, now: Timestamp) -> Result<Digest> {
    let push = Push {
        parsed: parse(MANIFEST_TYPE, &bytes)?,
        media_type: MANIFEST_TYPE.to_owned(),
        reference: Reference::Digest(Digest::of(&bytes)),
        expected: Expected::default(),
        digest: Digest::of(&bytes),
        bytes,
        tags: Vec::new(),
    };
    let damaged = is_damaged(conn, repository_id, &push.digest)?;
    insert(conn, repository_id, &push, visibility, damaged, now)?;
    Ok(push.digest)
}

/// Whether the database has other bytes for a manifest than those of its digest. Reads them, up to 4 MiB: ask before a transaction.
pub fn is_damaged(conn: &mut Conn, repository_id: &str, digest: &Digest) -> Result<bool> {
    Ok(store::manifest(conn, repository_id, digest.as_str())?.is_some_and(|stored| !is_whole(&stored.digest, &stored.content)))
}

/// Stores a manifest without its tags, also over `damaged` bytes; false where it is there already.
fn insert(conn: &mut Conn, repository_id: &str, push: &Push, visibility: Visibility, damaged: bool, now: Timestamp) -> Result<bool> {
    let digests: Vec<&str> = push.parsed.blobs.iter().map(|(digest, _)| digest.as_str()).collect();
    // Touch before looking: a blob that is there now stays until the manifest names it.
    store::touch(conn, &digests, now)?;
    push.require_parts(conn, repository_id)?;
    match store::visibility(conn, repository_id, push.digest.as_str())? {
        None => {
            let row = StoredManifest {
                digest: push.digest.to_string(),
                media_type: push.media_type.clone(),
                artifact_type: push.parsed.artifact_type.clone(),
                subject: push.parsed.subject.clone(),
                annotations: push.parsed.annotations.clone(),
                content: push.bytes.to_vec(),
                visibility,
            };
            // Of two pushes of one manifest at once the second is refused, and may try again.
            store::insert_manifest(conn, repository_id, &row, now).or_conflict("manifest-busy")?;
        }
        // These bytes have the digest.
        Some(_) if damaged => {
            store::mend_manifest(conn, repository_id, push.digest.as_str(), &push.bytes)?;
            store::delete_links(conn, repository_id, push.digest.as_str())?;
        }
        Some(_) => return Ok(false),
    }
    dialect::link_manifest(conn, repository_id, push.digest.as_str(), &digests)?;
    Ok(true)
}

/// Digest of the published manifest that a stored one is, or refers to.
///
/// # Errors
/// Of the database.
pub fn published_in(conn: &mut Conn, repository_id: &str, stored: &StoredManifest) -> Result<Option<String>> {
    if stored.visibility == Visibility::Public {
        return Ok(Some(stored.digest.clone()));
    }
    let Some(subject) = &stored.subject else { return Ok(None) };
    let public = store::visibility(conn, repository_id, subject)? == Some(Visibility::Public);
    Ok(public.then(|| subject.clone()))
}

/// Points a tag at a manifest; false where it does already.
///
/// # Errors
/// `tag-immutable`: the tag is a version and names something else, or did before it was deleted; `too-many-tags`.
fn set_tag(conn: &mut Conn, repository_id: &str, tag: &str, digest: &Digest, now: Timestamp) -> Result<bool> {
    let taken = || Error::conflict("tag-immutable").arg("tag", tag);
    match store::tag(conn, repository_id, tag)? {
        Some(old) if old == digest.as_str() => return Ok(false),
        Some(_) if is_immutable(tag) => return Err(taken()),
        Some(_) => dialect::put_tag(conn, repository_id, tag, digest.as_str(), now)?,
        None => {
            if store::count_tags(conn, repository_id)? >= MAX_TAGS {
                return Err(Error::conflict("too-many-tags").arg("max", MAX_TAGS));
            }
            if !is_immutable(tag) {
                dialect::put_tag(conn, repository_id, tag, digest.as_str(), now)?;
            } else if store::retired(conn, repository_id, tag)?.is_some_and(|old| old != digest.as_str()) {
                return Err(taken());
            } else {
                // Insert, never update: of two pushes at once only one gets the version's tag.
                store::insert_tag(conn, repository_id, tag, digest.as_str(), now).or_conflict("tag-immutable")?;
            }
        }
    }
    Ok(true)
}

/// Frees the tag of a version whose manifest nobody but its owner has seen, for other bytes, in the caller's transaction: the repository is
/// held until it ends. A manifest that others see, or that must stay, keeps its tag.
pub fn free_version_in(conn: &mut Conn, repository_id: &str, tag: &str, digest: &str) -> Result<()> {
    dialect::hold(conn, dialect::Row::Repository(repository_id))?;
    if !matches!(store::visibility(conn, repository_id, digest)?, Some(Visibility::Kept | Visibility::Public)) {
        store::delete_tag(conn, repository_id, tag, digest)?;
        store::forget_retired(conn, repository_id, tag, digest)?;
    }
    Ok(())
}

/// A turn to read and store a manifest of so many bytes in an organisation's repository; usual ones need none.
///
/// # Errors
/// `too-many-connections`: the organisation has more of them under way; `server-busy`: too many wait for theirs.
pub async fn turn(app: &App, organization_id: &str, bytes: usize) -> Result<Option<(QueueTurn<'static>, Entry)>> {
    if bytes <= LARGE {
        return Ok(None);
    }
    let entry = app.open.enter(Whose::Manifests(organization_id.to_owned()), OF_AN_ORGANIZATION)?;
    Ok(Some((READING.turn().await?, entry)))
}

/// A pushed manifest: parsed, with its digest and the tags that it shall get.
#[derive(Debug)]
pub struct Push {
    /// `Content-Type` without parameters.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Bytes,
    /// Their digest, in the algorithm that was asked for.
    pub digest: Digest,
    /// Tags to point at it.
    pub tags: Vec<String>,
    /// Where it was put.
    reference: Reference,
    /// What that must name until then.
    expected: Expected,
    parsed: Parsed,
}

impl Push {
    /// Reads what was put at a tag, or at a digest with the tags of the query. Without a media type it is an image manifest.
    ///
    /// # Errors
    /// `digest-invalid` where the bytes are not those of the reference; `manifest-invalid`, `manifest-too-large`.
    pub fn read(reference: Reference, tags: Vec<String>, media_type: &str, bytes: Bytes) -> Result<Self> {
        let (digest, tags) = match &reference {
            Reference::Tag(tag) => (Digest::of(&bytes), vec![tag.clone()]),
            Reference::Digest(digest) => {
                if digest_in(digest.algorithm(), &bytes)? != *digest {
                    return Err(Error::invalid("digest-invalid").arg("digest", digest));
                }
                (digest.clone(), tags)
            }
        };
        let media_type = if media_type.is_empty() { MANIFEST_TYPE } else { media_type };
        let (parsed, media_type) = (parse(media_type, &bytes)?, media_type.to_owned());
        Ok(Self { media_type, bytes, digest, tags, reference, expected: Expected::default(), parsed })
    }

    /// The same, to be taken only while the reference names what is expected.
    #[must_use]
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// What the artifact is: `artifactType`, else the config's media type.
    pub fn artifact_type(&self) -> Option<&str> {
        self.parsed.artifact_type.as_deref()
    }

    /// Bytes that the database stores of it.
    pub fn stored_bytes(&self) -> u64 {
        (self.bytes.len() + self.parsed.annotations.as_ref().map_or(0, String::len)) as u64
    }

    /// Digest of the manifest that it refers to.
    pub fn subject(&self) -> Option<&str> {
        self.parsed.subject.as_deref()
    }

    /// The tags that are versions: they name this manifest for good.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str).filter(|tag| is_immutable(tag))
    }

    /// Checks that the repository holds what the manifest names.
    ///
    /// # Errors
    /// `manifest-blob-unknown`, `size-invalid`.
    pub fn require_parts(&self, conn: &mut Conn, repository_id: &str) -> Result<()> {
        let missing = |digest: &Digest| Error::invalid("manifest-blob-unknown").arg("digest", digest);
        let Parsed { blobs, manifests, .. } = &self.parsed;
        let digests: Vec<&str> = blobs.iter().map(|(digest, _)| digest.as_str()).collect();
        let sizes = store::linked_sizes(conn, repository_id, &digests)?;
        for (digest, announced) in blobs {
            let size = sizes.get(digest.as_str()).ok_or_else(|| missing(digest))?;
            if u64::try_from(*size) != Ok(*announced) {
                return Err(Error::invalid("size-invalid").arg("digest", digest));
            }
        }
        let digests: Vec<&str> = manifests.iter().map(Digest::as_str).collect();
        let known: HashSet<String> = store::known_manifests(conn, repository_id, &digests)?.into_iter().collect();
        match manifests.iter().find(|digest| !known.contains(digest.as_str())) {
            Some(digest) => Err(missing(digest)),
            None => Ok(()),
        }
    }
}

/// Takes a manifest with its tags into a repository, which is held until the transaction ends. The caller has looked at the quota, and
/// whether the manifest [`is_damaged`].
///
/// # Errors
/// `artifact-type-reserved`: a signature that only the platform makes; `manifest-blob-unknown`, `precondition-failed`, `size-invalid`,
/// `tag-immutable`, `too-many-manifests`, `too-many-referrers`, `too-many-tags`.
pub fn push_in(c: &mut Change<'_>, repository: &Repository, push: &Push, damaged: bool) -> Result<()> {
    let now = c.now;
    // Hold the repository: what is counted below is all there is, and nobody deletes the manifest while it becomes a release.
    dialect::hold(c, dialect::Row::Repository(&repository.id))?;
    push.expected.check(named_in(c, &repository.id, &push.reference)?.as_deref())?;
    if store::known_manifests(c, &repository.id, &[push.digest.as_str()])?.is_empty() {
        if push.artifact_type() == Some(SIGNATURE_TYPE) {
            return Err(Error::forbidden("artifact-type-reserved").arg("type", SIGNATURE_TYPE));
        }
        require_room(c, &repository.id, push.subject())?;
    }
    let stored = insert(c, &repository.id, push, Visibility::Private, damaged, now)?;
    let mut set = Vec::new();
    for tag in &push.tags {
        if set_tag(c, &repository.id, tag, &push.digest, now)? {
            set.push(tag);
        }
    }
    if !stored && set.is_empty() {
        return Ok(());
    }
    let detail = json!({"repository": repository.name, "digest": push.digest, "tags": set, "artifact_type": push.artifact_type()});
    c.audit("manifest.pushed", &repository.id, &detail);
    // Listings show signatures: clear the page cache. Other replicas clear theirs at the next change of the catalogue.
    if push.artifact_type() == Some(VENDOR_SIGNATURE_TYPE) && push.subject().is_some() {
        c.clear_pages();
    }
    Ok(())
}

/// The digest that a reference names.
fn named_in(conn: &mut Conn, repository_id: &str, reference: &Reference) -> Result<Option<String>> {
    Ok(match reference {
        Reference::Tag(tag) => store::tag(conn, repository_id, tag)?,
        Reference::Digest(digest) => store::known_manifests(conn, repository_id, &[digest.as_str()])?.pop(),
    })
}

/// Checks that one more manifest may come.
///
/// # Errors
/// `too-many-manifests`, `too-many-referrers`.
fn require_room(conn: &mut Conn, repository_id: &str, subject: Option<&str>) -> Result<()> {
    if store::count_manifests(conn, repository_id)? >= MAX_MANIFESTS {
        return Err(Error::conflict("too-many-manifests").arg("max", MAX_MANIFESTS));
    }
    if let Some(subject) = subject
        && store::count_referrers(conn, repository_id, subject)? >= MAX_REFERRERS
    {
        return Err(Error::conflict("too-many-referrers").arg("max", MAX_REFERRERS));
    }
    Ok(())
}

/// Removes a tag, or by digest a manifest with its tags.
///
/// # Errors
/// `manifest-unknown`; `precondition-failed` where the reference names something else than is expected; `release-in-use` where the manifest must stay in this repository: its release is or was public, or is on its way
/// there, or it is the platform's signature of one. What the owner has attached to a release may go.
pub async fn delete(app: &App, actor: &Actor, repository: Repository, reference: Reference, expected: Expected) -> Result<()> {
    audit::change(app, actor, move |c| {
        // Hold the repository until the end: a push that turns the manifest into a release meanwhile finds it gone.
        dialect::hold(c, dialect::Row::Repository(&repository.id))?;
        let unknown = || Error::not_found("manifest-unknown");
        let named = named_in(c, &repository.id, &reference)?.ok_or_else(unknown)?;
        expected.check(Some(&named))?;
        let keep = |conn: &mut Conn, digest: &str| -> Result<()> {
            match store::visibility(conn, &repository.id, digest)? {
                Some(Visibility::Kept | Visibility::Public) => Err(Error::conflict("release-in-use")),
                Some(Visibility::Private) | None => Ok(()),
            }
        };
        let (rows, action, detail) = match &reference {
            Reference::Tag(tag) => {
                if is_immutable(tag) {
                    keep(c, &named)?;
                    dialect::retire_tags(c, &repository.id, &named, &[tag])?;
                }
                (
                    store::delete_tag(c, &repository.id, tag, &named)?,
                    "tag.deleted",
                    json!({"repository": repository.name, "tag": tag, "digest": named}),
                )
            }
            Reference::Digest(digest) => {
                keep(c, digest.as_str())?;
                let tags = dialect::tags_of(c, &repository.id, &[digest.as_str()], MAX_TAGS)?;
                let versions: Vec<&str> = tags.iter().map(|(_, tag)| tag.as_str()).filter(|tag| is_immutable(tag)).collect();
                dialect::retire_tags(c, &repository.id, digest.as_str(), &versions)?;
                (
                    store::delete_manifest(c, &repository.id, digest.as_str())?,
                    "manifest.deleted",
                    json!({"repository": repository.name, "digest": digest}),
                )
            }
        };
        if rows == 0 {
            return Err(unknown());
        }
        c.audit(action, &repository.id, &detail);
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_organisation_fills_the_queue() {
        crate::testing::each_backend(|app| async move {
            let mut held = Vec::new();
            for _ in 0..OF_AN_ORGANIZATION {
                held.push(app.open.enter(Whose::Manifests("org_a".into()), OF_AN_ORGANIZATION).unwrap());
            }
            assert!(turn(&app, "org_a", LARGE).await.unwrap().is_none());
            assert_eq!(turn(&app, "org_a", LARGE + 1).await.unwrap_err().code, "too-many-connections");
            assert!(turn(&app, "org_b", LARGE + 1).await.unwrap().is_some());
            held.pop();
            assert!(turn(&app, "org_a", LARGE + 1).await.unwrap().is_some());
        })
        .await;
    }
}
