//! Manifests, tags, referrers.

use std::collections::BTreeMap;
use std::sync::Arc;

use app_package::digest::Digest;
use app_package::oci::{ARTIFACT_TYPE, Descriptor, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE, OciError, SIGNATURE_TYPE};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha512};

use super::cache::Served;
use super::model::{Action, Reference, Repository, RepositoryName, StoredManifest, is_immutable, parse_digest};
use super::service::{self, Caller};
use super::token::Asking;
use super::{cache, store};
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::{audit, release};

/// Tags that one PUT may set.
pub const MAX_TAGS: usize = 10;
/// Names on one page of tags.
const TAG_PAGE: i64 = 1000;
/// Descriptors on one page of referrers.
const REFERRER_PAGE: i64 = 50;

/// What is in a manifest that the registry cares for.
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
fn is_foreign(media_type: &str) -> bool {
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

/// Stores a manifest's exact bytes in the caller's transaction; gives its digest. Its blobs (or, of an index, manifests) must be in
/// the repository; its subject need not.
///
/// # Errors
/// `manifest-invalid`, `manifest-too-large`, `manifest-blob-unknown`, `size-invalid`.
pub fn put_manifest_in(conn: &mut Conn, repository_id: &str, media_type: &str, bytes: &[u8], now: Timestamp) -> Result<Digest> {
    let digest = Digest::of(bytes);
    insert(conn, repository_id, media_type, bytes, &digest, now)?;
    Ok(digest)
}

fn insert(conn: &mut Conn, repository_id: &str, media_type: &str, bytes: &[u8], digest: &Digest, now: Timestamp) -> Result<Parsed> {
    let parsed = parse(media_type, bytes)?;
    let missing = |digest: &Digest| Error::invalid("manifest-blob-unknown").arg("digest", digest);
    let digests: Vec<&str> = parsed.blobs.iter().map(|d| d.digest.as_str()).collect();
    // Touched before looked at: what is there now stays until the manifest names it.
    store::touch(conn, &digests, now)?;
    let sizes = store::linked_sizes(conn, repository_id, &digests)?;
    for descriptor in &parsed.blobs {
        let size = sizes.get(descriptor.digest.as_str()).ok_or_else(|| missing(&descriptor.digest))?;
        if u64::try_from(*size) != Ok(descriptor.size) {
            return Err(Error::invalid("size-invalid").arg("digest", &descriptor.digest));
        }
    }
    let digests: Vec<&str> = parsed.manifests.iter().map(|d| d.digest.as_str()).collect();
    let known: std::collections::HashSet<String> = store::known_manifests(conn, repository_id, &digests)?.into_iter().collect();
    if let Some(descriptor) = parsed.manifests.iter().find(|d| !known.contains(d.digest.as_str())) {
        return Err(missing(&descriptor.digest));
    }
    if store::manifest(conn, repository_id, digest.as_str())?.is_none() {
        let row = StoredManifest {
            digest: digest.to_string(),
            media_type: media_type.to_owned(),
            artifact_type: parsed.artifact_type.clone(),
            subject: parsed.subject.clone(),
            annotations: parsed.annotations.as_ref().map(serde_json::to_string).transpose()?,
            content: bytes.to_vec(),
        };
        // Two pushes of the same at once: the second may try again.
        store::insert_manifest(conn, repository_id, &row, now).or_conflict("manifest-busy")?;
    }
    Ok(parsed)
}

/// Points a tag at a manifest; whether that changed anything.
///
/// # Errors
/// `tag-immutable`: the tag is a version and names something else already.
fn set_tag(conn: &mut Conn, repository_id: &str, tag: &str, digest: &Digest, now: Timestamp) -> Result<bool> {
    let taken = || Error::conflict("tag-immutable").arg("tag", tag);
    match store::tag(conn, repository_id, tag)? {
        Some(old) if old == digest.as_str() => return Ok(false),
        Some(_) if is_immutable(tag) => return Err(taken()),
        // A plain insert, so that of two pushes at once only one wins.
        None if is_immutable(tag) => {
            store::insert_tag(conn, repository_id, tag, digest.as_str(), now).or_conflict("tag-immutable").map(|_| ())?;
        }
        _ => dialect::put_tag(conn, repository_id, tag, digest.as_str(), now)?,
    }
    Ok(true)
}

/// A manifest as it came in.
#[derive(Debug)]
pub struct Pushed {
    /// `Content-Type` without parameters; empty where there was none.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Bytes,
    /// Tags of the query, with a push by digest.
    pub tags: Vec<String>,
}

/// What a push has made.
#[derive(Debug)]
pub struct Put {
    /// The manifest's digest.
    pub digest: Digest,
    /// The digest that it refers to.
    pub subject: Option<String>,
}

/// Takes a manifest, by tag or by digest. An app release that gets a tag is handed to the release slice.
///
/// # Errors
/// Those of [`put_manifest_in`]; `digest-invalid`, `tag-invalid`, `tag-immutable`, and what the release slice refuses: the tag is
/// taken back then.
pub async fn put(app: &App, caller: &Caller, name: &RepositoryName, reference: &str, pushed: Pushed) -> Result<Put> {
    let repository = service::authorize(app, caller, name, Action::Push).await?;
    let (digest, tags) = match Reference::parse(reference)? {
        Reference::Tag(tag) => (Digest::of(&pushed.bytes), vec![tag]),
        Reference::Digest(digest) => {
            if digest_in(digest.algorithm(), &pushed.bytes)? != digest {
                return Err(Error::invalid("digest-invalid").arg("digest", digest));
            }
            (digest, pushed.tags)
        }
    };
    let media_type = if pushed.media_type.is_empty() { MANIFEST_TYPE.to_owned() } else { pushed.media_type };
    let (row, asked, stored, bytes) = (repository.clone(), tags.clone(), digest.clone(), pushed.bytes);
    let (parsed, set) = audit::change(app, &caller.actor, move |c| {
        let now = c.now;
        let parsed = insert(c, &row.id, &media_type, &bytes, &stored, now)?;
        let mut set = Vec::new();
        for tag in &asked {
            if set_tag(c, &row.id, tag, &stored, now)? {
                set.push(tag.clone());
            }
        }
        let detail = json!({"repository": row.name, "digest": stored, "tags": set, "artifact_type": parsed.artifact_type});
        c.audit("manifest.pushed", &row.id, &detail);
        // Listings show it; those of other replicas follow with the next change of the catalogue.
        if parsed.artifact_type.as_deref() == Some(SIGNATURE_TYPE) && parsed.subject.is_some() {
            c.clear_pages();
        }
        Ok((parsed, set))
    })
    .await?;
    // A version's tag is the arrival of a release; a floating one (`latest`) only points at one.
    let tags: Vec<String> = tags.into_iter().filter(|tag| is_immutable(tag)).collect();
    if parsed.artifact_type.as_deref() == Some(ARTIFACT_TYPE) {
        for tag in &tags {
            if let Err(e) = release::service::receive(app, &caller.actor, repository.clone(), &digest, tag).await {
                take_back(app, &repository, &digest, set).await?;
                return Err(e);
            }
        }
    }
    Ok(Put { digest, subject: parsed.subject })
}

/// Removes tags that this push has set, so that a refused release does not use up its version.
async fn take_back(app: &App, repository: &Repository, digest: &Digest, tags: Vec<String>) -> Result<()> {
    let (repository_id, digest) = (repository.id.clone(), digest.clone());
    app.db
        .write(move |conn| {
            for tag in tags {
                store::delete_tag(conn, &repository_id, &tag, digest.as_str())?;
            }
            Ok(())
        })
        .await
}

/// A manifest that who asks may pull. Buyers see published releases and what refers to them. To the holder of a registry token the same
/// is given again for a second, unless something was written meanwhile ([`cache`]); all else is one read.
///
/// # Errors
/// `manifest-unknown`, and those of [`service::authorize`].
pub async fn get(app: &App, asking: &Asking, name: &RepositoryName, reference: &str) -> Result<Arc<Served>> {
    // Both before the read: what is written during it makes what was read too old.
    let (generation, now) = (app.db.generation(), app.clock.now());
    let key = asking.token().map(|token| cache::key(&[token, name.as_str().as_bytes(), reference.as_bytes()]));
    if let Some(known) = key.as_ref().and_then(|key| app.pulls.manifest(key, generation, now)) {
        return Ok(known);
    }
    let (asking, name, reference) = (asking.clone(), name.clone(), reference.to_owned());
    let found = app
        .db
        .read(move |conn| {
            let unknown = || Error::not_found("manifest-unknown");
            let caller = asking.caller(conn)?;
            let (repository, buyer) = service::open_in(conn, &caller, &name, now)?;
            let found = find_manifest(conn, &repository.id, &reference)?.ok_or_else(unknown)?;
            if buyer && !store::is_public(conn, &found.digest, found.subject.as_deref())? {
                return Err(unknown());
            }
            Ok(Arc::new(Served { digest: found.digest, media_type: found.media_type, content: found.content.into() }))
        })
        .await?;
    if let Some(key) = key {
        app.pulls.keep_manifest(key, generation, now, found.clone());
    }
    Ok(found)
}

/// Removes a tag, or by digest a manifest with its tags.
///
/// # Errors
/// `manifest-unknown`; `release-in-use` where it is a release that is or was public, or is being decided.
pub async fn delete(app: &App, caller: &Caller, name: &RepositoryName, reference: &str) -> Result<()> {
    let repository = service::authorize(app, caller, name, Action::Delete).await?;
    let reference = Reference::parse(reference)?;
    audit::change(app, &caller.actor, move |c| {
        // Held until the end: what becomes a release meanwhile finds that its manifest is gone.
        dialect::hold(c, dialect::Row::Repository(&repository.id))?;
        let unknown = || Error::not_found("manifest-unknown");
        let keep = |conn: &mut Conn, digest: &str| -> Result<()> {
            let subject = store::manifest(conn, &repository.id, digest)?.and_then(|m| m.subject);
            let kept = store::is_kept(conn, digest)? || subject.map_or(Ok(false), |s| store::is_kept(conn, &s))?;
            if kept { Err(Error::conflict("release-in-use")) } else { Ok(()) }
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

/// One page of a list, and whether more follow.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Names of tags after `last`, in ASCII order, at most `n`.
pub async fn tags(app: &App, caller: &Caller, name: &RepositoryName, n: Option<u32>, last: &str) -> Result<Page<String>> {
    let (repository, buyer) = service::open(app, caller, name).await?;
    let limit = n.map_or(TAG_PAGE, i64::from).min(TAG_PAGE);
    if limit == 0 {
        return Ok(Page { items: Vec::new(), next: None });
    }
    let last = last.to_owned();
    let mut items = app.db.read(move |conn| Ok(store::tags_after(conn, &repository.id, &last, limit + 1, buyer)?)).await?;
    Ok(Page { next: cut(&mut items, limit, Clone::clone), items })
}

/// Cuts a list to its page; gives the key of the last one where more follow.
pub fn cut<T>(items: &mut Vec<T>, limit: i64, key: impl Fn(&T) -> String) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if items.len() <= limit {
        return None;
    }
    items.truncate(limit);
    items.last().map(key)
}

/// Descriptors of the manifests that refer to a digest, after `last`. A repository without such, or that is not there yet, has none.
pub async fn referrers(
    app: &App,
    caller: &Caller,
    name: &RepositoryName,
    digest: &Digest,
    artifact_type: Option<String>,
    last: &str,
) -> Result<Page<Descriptor>> {
    let (found, rights) = service::permit(app, caller, name, Action::Pull).await?;
    let Some(repository) = found else { return Ok(Page { items: Vec::new(), next: None }) };
    let (subject, last) = (digest.to_string(), last.to_owned());
    let mut rows = app
        .db
        .read(move |conn| {
            if rights.buyer && !store::is_public(conn, &subject, None)? {
                return Ok(Vec::new());
            }
            Ok(store::referrers(conn, &repository.id, &subject, artifact_type.as_deref(), &last, REFERRER_PAGE + 1)?)
        })
        .await?;
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
    Ok(Page { items, next })
}
