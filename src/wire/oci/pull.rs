//! Reads, each with its check of rights in the same database read. Buyers see published releases that they may have ([`super::access`]),
//! what refers to those, and the blobs that either names.

use std::sync::Arc;

use app_package::digest::Digest;
use app_package::oci::Descriptor;

use super::access::{catalog_in, open_in, permit_in};
use super::cache::{self, Cache, CachedManifest};
use super::rights::Action;
use super::token::RequestIdentity;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::{Error, Result};
use crate::registry::model::{Listed, Repository, RepositoryName, Visibility, cut};
use crate::registry::{blobs, links, lists, service};

/// Names on one page of the catalogue.
const CATALOG_PAGE: i64 = 1000;

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

/// A manifest. The holder of a registry token gets the same one again for a second, unless a write meanwhile touches them or the
/// repository ([`cache`]).
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
    let (mark, now) = (app.db.marks().now(), app.clock.now());
    let key = asking.token().map(|token| cache::key(&[token, name.as_str().as_bytes(), reference.as_bytes()]));
    if let Some(known) = key.as_ref().and_then(|key| cache.manifest(key, app.db.marks(), now)) {
        return Ok(known);
    }
    let (name, reference) = (name.clone(), reference.to_owned());
    let (found, of) = app
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
            let manifest = CachedManifest { digest: found.digest, media_type: found.media_type, content: found.content.into() };
            Ok((Arc::new(manifest), concerned(&repository, &caller.actor)))
        })
        .await?;
    if let Some(key) = key {
        cache.keep_manifest(key, mark, now, of, found.clone());
    }
    Ok(found)
}

/// Whom the answer of a pull concerns, by the names that writes touch ([`crate::base::db::Touched`]): who owns the repository, who asks, and
/// for which organisation.
fn concerned(repository: &Repository, actor: &Actor) -> Vec<String> {
    let mut names = vec![repository.organization_id.clone(), actor.label()];
    names.extend(actor.organization_id().map(ToOwned::to_owned));
    match actor {
        Actor::Person(person, _) => names.push(person.user_id.clone()),
        Actor::Node { node_id, .. } => names.push(node_id.clone()),
        Actor::System | Actor::Anonymous => {}
    }
    names
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
            lists::tags_in(conn, &repository.id, n, &last, buyer.is_some())
        })
        .await
}

/// A page of the repositories that the caller may read, after `last`, at most `n`.
///
/// # Errors
/// Those of [`catalog_in`].
pub async fn catalog(app: &App, asking: RequestIdentity, n: Option<u32>, last: &str) -> Result<Listed<String>> {
    let (last, now) = (last.to_owned(), app.clock.now());
    let limit = n.map_or(CATALOG_PAGE, i64::from).min(CATALOG_PAGE);
    app.db
        .read(move |conn| {
            let caller = asking.caller(conn, now)?;
            let mut items = catalog_in(conn, &caller, &last, limit + 1, now)?;
            if limit == 0 {
                return Ok(Listed { items: Vec::new(), next: None });
            }
            Ok(Listed { next: cut(&mut items, limit, Clone::clone), items })
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
            lists::referrers_in(conn, &repository.id, &subject, artifact_type.as_deref(), &last)
        })
        .await
}
