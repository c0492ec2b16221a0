//! Manifests, tags, referrers.

use std::collections::{BTreeMap, HashSet};

use app_package::digest::Digest;
use app_package::oci::{Descriptor, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE, OciError, SIGNATURE_TYPE};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha512};

use super::model::{Listed, Reference, Repository, StoredManifest, Visibility, cut, is_immutable, parse_digest};
use super::store;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, QueryResultExt as _, Result};

/// Names on one page of tags.
const TAG_PAGE: i64 = 1000;
/// Descriptors on one page of referrers.
const REFERRER_PAGE: i64 = 50;

/// The parts of a manifest that the registry uses.
#[derive(Debug)]
struct Parsed {
    artifact_type: Option<String>,
    subject: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    blobs: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

fn parse(media_type: &str, bytes: &[u8]) -> Result<Parsed> {
    let refuse = |e: OciError| match e {
        OciError::TooLarge => Error::too_large("manifest-too-large"),
        other => Error::invalid("manifest-invalid").arg("reason", other),
    };
    match media_type {
        MANIFEST_TYPE => {
            let m = ImageManifest::parse(bytes).map_err(refuse)?;
            let artifact_type = Some(m.effective_artifact_type().to_owned());
            let blobs = m.layers.into_iter().filter(|layer| !is_foreign(&layer.media_type)).chain([m.config]).collect();
            Ok(Parsed {
                artifact_type,
                subject: m.subject.map(|s| s.digest.to_string()),
                annotations: m.annotations,
                blobs,
                manifests: Vec::new(),
            })
        }
        INDEX_TYPE => {
            let i = Index::parse(bytes).map_err(refuse)?;
            let artifact_type = i.artifact_type.filter(|t| !t.is_empty());
            Ok(Parsed {
                artifact_type,
                subject: i.subject.map(|s| s.digest.to_string()),
                annotations: i.annotations,
                blobs: Vec::new(),
                manifests: i.manifests,
            })
        }
        _ => Err(Error::invalid("manifest-invalid").arg("reason", "media type")),
    }
}

/// Layers that are fetched from elsewhere and never pushed here (image-spec, "non-distributable layers").
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

/// Digest of bytes in an algorithm.
fn digest_in(algorithm: &str, bytes: &[u8]) -> Result<Digest> {
    if algorithm == "sha512" { parse_digest(&format!("sha512:{}", hex::encode(Sha512::digest(bytes)))) } else { Ok(Digest::of(bytes)) }
}

/// A manifest by digest or tag.
pub fn find_manifest(conn: &mut Conn, repository_id: &str, reference: &str) -> Result<Option<StoredManifest>> {
    Ok(match Reference::parse(reference) {
        Ok(Reference::Digest(digest)) => store::manifest(conn, repository_id, digest.as_str())?,
        Ok(Reference::Tag(tag)) => store::tagged(conn, repository_id, &tag)?,
        Err(_) => None,
    })
}

/// Stores an image manifest's exact bytes in the caller's transaction; gives its digest. Its blobs must be in the repository; its
/// subject need not.
///
/// # Errors
/// `manifest-invalid`, `manifest-too-large`, `manifest-blob-unknown`, `size-invalid`.
pub fn put_manifest_in(conn: &mut Conn, repository_id: &str, bytes: Bytes, now: Timestamp) -> Result<Digest> {
    let push = Push {
        parsed: parse(MANIFEST_TYPE, &bytes)?,
        media_type: MANIFEST_TYPE.to_owned(),
        digest: Digest::of(&bytes),
        bytes,
        tags: Vec::new(),
    };
    insert(conn, repository_id, &push, now)?;
    Ok(push.digest)
}

/// Stores a manifest without its tags; does nothing where it is there already.
fn insert(conn: &mut Conn, repository_id: &str, push: &Push, now: Timestamp) -> Result<()> {
    let digests: Vec<&str> = push.parsed.blobs.iter().map(|d| d.digest.as_str()).collect();
    // Touch before looking: a blob that is there now stays until the manifest names it.
    store::touch(conn, &digests, now)?;
    push.require_parts(conn, repository_id)?;
    if store::manifest(conn, repository_id, push.digest.as_str())?.is_none() {
        let row = StoredManifest {
            digest: push.digest.to_string(),
            media_type: push.media_type.clone(),
            artifact_type: push.parsed.artifact_type.clone(),
            subject: push.parsed.subject.clone(),
            annotations: push.parsed.annotations.as_ref().map(serde_json::to_string).transpose()?,
            content: push.bytes.to_vec(),
            visibility: Visibility::Private,
        };
        // Of two pushes of one manifest at once the second is refused, and may try again.
        store::insert_manifest(conn, repository_id, &row, now).or_conflict("manifest-busy")?;
    }
    Ok(())
}

/// Who may see a manifest: one with a subject is shown and kept together with that.
///
/// # Errors
/// Of the database.
pub fn visibility_in(conn: &mut Conn, repository_id: &str, stored: &StoredManifest) -> Result<Visibility> {
    match &stored.subject {
        Some(subject) if stored.visibility == Visibility::Private => {
            Ok(store::visibility(conn, repository_id, subject)?.unwrap_or(Visibility::Private))
        }
        _ => Ok(stored.visibility),
    }
}

/// Points a tag at a manifest; false where it does already.
///
/// # Errors
/// `tag-immutable`: the tag is a version and names something else already.
fn set_tag(conn: &mut Conn, repository_id: &str, tag: &str, digest: &Digest, now: Timestamp) -> Result<bool> {
    let taken = || Error::conflict("tag-immutable").arg("tag", tag);
    match store::tag(conn, repository_id, tag)? {
        Some(old) if old == digest.as_str() => return Ok(false),
        Some(_) if is_immutable(tag) => return Err(taken()),
        // Insert, never update: of two pushes at once only one gets the version's tag.
        None if is_immutable(tag) => {
            store::insert_tag(conn, repository_id, tag, digest.as_str(), now).or_conflict("tag-immutable").map(|_| ())?;
        }
        _ => dialect::put_tag(conn, repository_id, tag, digest.as_str(), now)?,
    }
    Ok(true)
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
    parsed: Parsed,
}

impl Push {
    /// Reads what was put at a tag, or at a digest with the tags of the query. Without a media type it is an image manifest.
    ///
    /// # Errors
    /// `digest-invalid` where the bytes are not those of the reference; `manifest-invalid`, `manifest-too-large`.
    pub fn read(reference: Reference, tags: Vec<String>, media_type: &str, bytes: Bytes) -> Result<Self> {
        let (digest, tags) = match reference {
            Reference::Tag(tag) => (Digest::of(&bytes), vec![tag]),
            Reference::Digest(digest) => {
                if digest_in(digest.algorithm(), &bytes)? != digest {
                    return Err(Error::invalid("digest-invalid").arg("digest", digest));
                }
                (digest, tags)
            }
        };
        let media_type = if media_type.is_empty() { MANIFEST_TYPE } else { media_type };
        Ok(Self { parsed: parse(media_type, &bytes)?, media_type: media_type.to_owned(), bytes, digest, tags })
    }

    /// What the artifact is: `artifactType`, else the config's media type.
    pub fn artifact_type(&self) -> Option<&str> {
        self.parsed.artifact_type.as_deref()
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
        let digests: Vec<&str> = blobs.iter().map(|d| d.digest.as_str()).collect();
        let sizes = store::linked_sizes(conn, repository_id, &digests)?;
        for descriptor in blobs {
            let size = sizes.get(descriptor.digest.as_str()).ok_or_else(|| missing(&descriptor.digest))?;
            if u64::try_from(*size) != Ok(descriptor.size) {
                return Err(Error::invalid("size-invalid").arg("digest", &descriptor.digest));
            }
        }
        let digests: Vec<&str> = manifests.iter().map(|d| d.digest.as_str()).collect();
        let known: HashSet<String> = store::known_manifests(conn, repository_id, &digests)?.into_iter().collect();
        match manifests.iter().find(|d| !known.contains(d.digest.as_str())) {
            Some(descriptor) => Err(missing(&descriptor.digest)),
            None => Ok(()),
        }
    }
}

/// Takes a manifest with its tags into a repository.
///
/// # Errors
/// `manifest-blob-unknown`, `size-invalid`, `tag-immutable`.
pub fn push_in(c: &mut Change<'_>, repository: &Repository, push: &Push) -> Result<()> {
    let now = c.now;
    insert(c, &repository.id, push, now)?;
    let mut set = Vec::new();
    for tag in &push.tags {
        if set_tag(c, &repository.id, tag, &push.digest, now)? {
            set.push(tag);
        }
    }
    let detail = json!({"repository": repository.name, "digest": push.digest, "tags": set, "artifact_type": push.artifact_type()});
    c.audit("manifest.pushed", &repository.id, &detail);
    // Listings show signatures: clear the page cache. Other replicas clear theirs at the next change of the catalogue.
    if push.artifact_type() == Some(SIGNATURE_TYPE) && push.subject().is_some() {
        c.clear_pages();
    }
    Ok(())
}

/// Removes a tag, or by digest a manifest with its tags.
///
/// # Errors
/// `manifest-unknown`; `release-in-use` where the manifest must stay: its release is or was public, or is on its way there.
pub async fn delete(app: &App, actor: &Actor, repository: Repository, reference: Reference) -> Result<()> {
    audit::change(app, actor, move |c| {
        // Hold the repository until the end: a push that turns the manifest into a release meanwhile finds it gone.
        dialect::hold(c, dialect::Row::Repository(&repository.id))?;
        let unknown = || Error::not_found("manifest-unknown");
        let keep = |conn: &mut Conn, digest: &str| -> Result<()> {
            let stored = store::manifest(conn, &repository.id, digest)?;
            match stored.map(|stored| visibility_in(conn, &repository.id, &stored)).transpose()? {
                Some(Visibility::Kept | Visibility::Public) => Err(Error::conflict("release-in-use")),
                Some(Visibility::Private) | None => Ok(()),
            }
        };
        let (rows, action, detail) = match &reference {
            Reference::Tag(tag) => {
                let digest = store::tag(c, &repository.id, tag)?.ok_or_else(unknown)?;
                if is_immutable(tag) {
                    keep(c, &digest)?;
                }
                (
                    store::delete_tag(c, &repository.id, tag, &digest)?,
                    "tag.deleted",
                    json!({"repository": repository.name, "tag": tag, "digest": digest}),
                )
            }
            Reference::Digest(digest) => {
                keep(c, digest.as_str())?;
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

/// Names of tags after `last`, in ASCII order, at most `n`; for buyers only those of published releases.
pub fn tags_in(conn: &mut Conn, repository_id: &str, n: Option<u32>, last: &str, buyer: bool) -> Result<Listed<String>> {
    let limit = n.map_or(TAG_PAGE, i64::from).min(TAG_PAGE);
    if limit == 0 {
        return Ok(Listed { items: Vec::new(), next: None });
    }
    let mut items = store::tags_after(conn, repository_id, last, limit + 1, buyer)?;
    Ok(Listed { next: cut(&mut items, limit, Clone::clone), items })
}

/// Descriptors of the manifests that refer to a digest, after `last`.
pub fn referrers_in(
    conn: &mut Conn,
    repository_id: &str,
    subject: &Digest,
    artifact_type: Option<&str>,
    last: &str,
) -> Result<Listed<Descriptor>> {
    let mut rows = store::referrers(conn, repository_id, subject.as_str(), artifact_type, last, REFERRER_PAGE + 1)?;
    let next = cut(&mut rows, REFERRER_PAGE, |row| row.0.clone());
    let items = rows
        .into_iter()
        .map(|(digest, media_type, artifact_type, annotations, size)| {
            Ok(Descriptor {
                media_type,
                digest: parse_digest(&digest)?,
                size: u64::try_from(size).map_err(Error::internal)?,
                annotations: annotations.as_deref().map(serde_json::from_str).transpose()?,
                artifact_type,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Listed { items, next })
}
