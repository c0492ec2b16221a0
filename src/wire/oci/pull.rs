//! Reads, each with its check of rights in the same database read. Buyers see published releases that they may have ([`super::access`]),
//! what refers to those, and the blobs that either names.

use std::sync::Arc;

use app_package::digest::Digest;
use app_package::oci::Descriptor;

use super::access::{open_in, permit_in};
use super::cache::{self, Cache, CachedManifest};
use super::rights::Action;
use super::token::RequestIdentity;
use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::registry::model::{Listed, RepositoryName, Visibility};
use crate::registry::{blobs, links, manifests, service};

/// Size in bytes of a blob that the repository links.
///
/// # Errors
/// `blob-unknown`, and those of [`open_in`].
pub async fn blob(app: &App, asking: RequestIdentity, name: &RepositoryName, digest: &Digest) -> Result<u64> {
    let (name, wanted, now) = (name.clone(), digest.clone(), app.clock.now());
    let (repository, held) = app
        .db
        .read(move |conn| {
            let caller = asking.caller(conn, now)?;
            let (repository, buyer) = open_in(conn, &caller, &name, now)?;
            let held = blobs::held_in(conn, &repository.id, &wanted, now)?;
            if let Some(buyer) = buyer {
                let published = links::published_naming(conn, &repository.id, wanted.as_str())?;
                if !buyer.may_have(conn, &published)? {
                    return Err(Error::not_found("blob-unknown"));
                }
            }
            Ok((repository, held))
        })
        .await?;
    if held.stale {
        blobs::touch_seen(app, repository.id, digest.clone()).await?;
    }
    Ok(held.size)
}

/// A manifest. The holder of a registry token gets the same one again for a second, unless the database was written meanwhile
/// ([`cache`]).
///
/// # Errors
/// `manifest-unknown`, and those of [`open_in`].
pub async fn manifest(
    app: &App,
    cache: &Cache,
    asking: RequestIdentity,
    name: &RepositoryName,
    reference: &str,
) -> Result<Arc<CachedManifest>> {
    // Take both before the read: a write during the read then makes the kept manifest stale.
    let (generation, now) = (app.db.generation(), app.clock.now());
    let key = asking.token().map(|token| cache::key(&[token, name.as_str().as_bytes(), reference.as_bytes()]));
    if let Some(known) = key.as_ref().and_then(|key| cache.manifest(key, generation, now)) {
        return Ok(known);
    }
    let (name, reference) = (name.clone(), reference.to_owned());
    let found = app
        .db
        .read(move |conn| {
            let unknown = || Error::not_found("manifest-unknown");
            let caller = asking.caller(conn, now)?;
            let (repository, buyer) = open_in(conn, &caller, &name, now)?;
            let found = service::find_manifest(conn, &repository.id, &reference)?.ok_or_else(unknown)?;
            if let Some(buyer) = buyer {
                let published = service::published_in(conn, &repository.id, &found)?;
                if !buyer.may_have(conn, published.as_slice())? {
                    return Err(unknown());
                }
            }
            Ok(Arc::new(CachedManifest { digest: found.digest, media_type: found.media_type, content: found.content.into() }))
        })
        .await?;
    if let Some(key) = key {
        cache.keep_manifest(key, generation, now, found.clone());
    }
    Ok(found)
}

/// A page of tags after `last`, at most `n`.
///
/// # Errors
/// Those of [`open_in`].
pub async fn tags(app: &App, asking: RequestIdentity, name: &RepositoryName, n: Option<u32>, last: &str) -> Result<Listed<String>> {
    let (name, last, now) = (name.clone(), last.to_owned(), app.clock.now());
    app.db
        .read(move |conn| {
            let caller = asking.caller(conn, now)?;
            let (repository, buyer) = open_in(conn, &caller, &name, now)?;
            manifests::tags_in(conn, &repository.id, n, &last, buyer.is_some())
        })
        .await
}

/// A page of the manifests that refer to a digest, after `last`; empty also where the repository does not exist yet.
///
/// # Errors
/// Those of [`permit_in`].
pub async fn referrers(
    app: &App,
    asking: RequestIdentity,
    name: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<String>,
    last: &str,
) -> Result<Listed<Descriptor>> {
    let (name, subject, last, now) = (name.clone(), subject.clone(), last.to_owned(), app.clock.now());
    app.db
        .read(move |conn| {
            let caller = asking.caller(conn, now)?;
            let (found, buyer) = permit_in(conn, &caller, &name, Action::Pull, now)?;
            let none = Listed { items: Vec::new(), next: None };
            let Some(repository) = found else { return Ok(none) };
            if let Some(buyer) = buyer {
                let public = service::visibility(conn, &repository.id, subject.as_str())? == Some(Visibility::Public);
                if !public || !buyer.may_have(conn, &[subject.to_string()])? {
                    return Ok(none);
                }
            }
            manifests::referrers_in(conn, &repository.id, &subject, artifact_type.as_deref(), &last)
        })
        .await
}
