//! Who may do what with a repository ([`authorize`]), and what other slices use of the registry.
//!
//! Rights come from the database at each request: a vendor's people hold their own `<slug>/…`, buyers and their nodes read what an
//! active licence covers, moderators read everything. A registry token only ever narrows that.

use std::sync::Arc;

use app_package::oci::SIGNATURE_TYPE;
use serde_json::json;

pub use super::blobs::{keep_blob_in, link_blob_in, store_blob_in, store_blob_small, touch_blobs_in};
pub use super::manifests::{find_manifest, put_manifest_in};
pub use super::model::Action;
pub use super::model::Artifact;
use super::model::{Repository, RepositoryName, Rights};
use super::store;
use super::token::Claims;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::policy::{self, Scope};
use crate::base::auth::{Actor, OrgKind, Via};
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Result};
use crate::base::ids;
use crate::license;

pub use super::store::{artifacts, referrers_of, repository_lines, tags_of};

/// Longest manifest of a signature in bytes: one config and a few layers.
const MAX_SIGNATURE_MANIFEST: i64 = 16 * 1024;
/// Repositories of one organisation.
const MAX_REPOSITORIES: i64 = 1000;

/// Who asks the registry: an actor, narrowed to the access of a registry token where one was shown.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// Of the token that was shown; its access is all that it grants.
    pub claims: Option<Arc<Claims>>,
}

impl From<Actor> for Caller {
    fn from(actor: Actor) -> Self {
        Self { actor, claims: None }
    }
}

impl Caller {
    fn narrowed(&self, name: &RepositoryName) -> Rights {
        let Some(claims) = &self.claims else { return Rights::ALL };
        let granted = |action: Action| {
            claims
                .access
                .iter()
                .any(|a| a.kind == "repository" && a.name == name.as_str() && a.actions.iter().any(|w| w == action.as_str()))
        };
        Rights { pull: granted(Action::Pull), push: granted(Action::Push), delete: granted(Action::Delete), buyer: false }
    }
}

/// A repository by name.
pub fn repository(conn: &mut Conn, name: &str) -> Result<Option<Repository>> {
    Ok(store::repository(conn, name)?)
}

/// Signatures that refer to a manifest: when each came, and its manifest's bytes; the newest, at most `limit`. Longer manifests than a
/// signature needs are left out.
pub fn signatures_in(conn: &mut Conn, repository_id: &str, digest: &str, limit: i64) -> Result<Vec<(Timestamp, Vec<u8>)>> {
    Ok(store::referring(conn, repository_id, digest, SIGNATURE_TYPE, MAX_SIGNATURE_MANIFEST, limit)?)
}

/// What of some artifact types refers to a manifest; the newest, at most `limit`.
pub fn attached_in(conn: &mut Conn, repository_id: &str, digest: &str, artifact_types: &[&str], limit: i64) -> Result<Vec<Artifact>> {
    Ok(store::referrers_of_types(conn, repository_id, digest, artifact_types, limit)?)
}

/// The id of an organisation's repository, making it where absent.
///
/// # Errors
/// `name-invalid`; `name-unknown` where the name belongs to another organisation; `too-many-repositories`.
pub fn ensure_repository(conn: &mut Conn, organization_id: &str, name: &str, now: Timestamp) -> Result<String> {
    let name = RepositoryName::parse(name)?;
    if let Some(found) = store::repository(conn, name.as_str())? {
        return owned(found, organization_id).map(|r| r.id);
    }
    if store::count_repositories(conn, organization_id)? >= MAX_REPOSITORIES {
        return Err(Error::conflict("too-many-repositories").arg("max", MAX_REPOSITORIES));
    }
    dialect::insert_repository(conn, &ids::new("rep"), name.as_str(), organization_id, now)?;
    let found = store::repository(conn, name.as_str())?.ok_or_else(|| Error::not_found("name-unknown"))?;
    owned(found, organization_id).map(|r| r.id)
}

fn owned(repository: Repository, organization_id: &str) -> Result<Repository> {
    if repository.organization_id == organization_id { Ok(repository) } else { Err(Error::not_found("name-unknown")) }
}

/// What an actor may do, before scopes and tokens narrow it.
fn held(conn: &mut Conn, actor: &Actor, name: &RepositoryName, now: Timestamp) -> Result<Rights> {
    let buyer = |may: bool| Rights { pull: may, buyer: true, ..Rights::default() };
    Ok(match actor {
        Actor::System => Rights::ALL,
        Actor::Anonymous => Rights::default(),
        Actor::Node { organization_id, .. } => buyer(license::service::may_pull(conn, organization_id, name.as_str(), now)?),
        Actor::Person(person, _) => match person.kind {
            OrgKind::Vendor
                if person.organization_slug == name.owner() && policy::permits(person.kind, person.role, policy::Action::PublishApps) =>
            {
                Rights::ALL
            }
            OrgKind::Vendor => Rights::default(),
            OrgKind::Operator => buyer(license::service::may_pull(conn, &person.organization_id, name.as_str(), now)?),
            OrgKind::Platform => {
                Rights { pull: policy::permits(person.kind, person.role, policy::Action::DecideCases), ..Rights::default() }
            }
        },
    })
}

/// What an API token's scopes leave.
fn scoped(actor: &Actor) -> Rights {
    match actor {
        Actor::Person(_, Via::Token(scopes)) => {
            let publish = scopes.contains(&Scope::Publish);
            Rights { pull: publish || scopes.contains(&Scope::Pull), push: publish, delete: publish, buyer: false }
        }
        _ => Rights::ALL,
    }
}

/// All that an actor may do with a repository, whether it exists or not: what the token endpoint grants.
pub(super) fn rights(conn: &mut Conn, actor: &Actor, name: &RepositoryName, now: Timestamp) -> Result<Rights> {
    Ok(held(conn, actor, name, now)?.and(scoped(actor)))
}

/// Checks that a caller may act on a name; gives the repository if it exists, and the caller's rights.
///
/// # Errors
/// `sign-in-required` (anonymous), `name-unknown` (no right at all), `not-permitted` (may read only), `token-scope` (the token is
/// narrower than its owner: 403 for an API token, 401 for a registry token, since a wider one can be had).
pub(super) async fn permit(app: &App, caller: &Caller, name: &RepositoryName, action: Action) -> Result<(Option<Repository>, Rights)> {
    let (caller, name, now) = (caller.clone(), name.clone(), app.clock.now());
    app.db.read(move |conn| permit_in(conn, &caller, &name, action, now)).await
}

/// As [`permit`], within a read.
fn permit_in(
    conn: &mut Conn,
    caller: &Caller,
    name: &RepositoryName,
    action: Action,
    now: Timestamp,
) -> Result<(Option<Repository>, Rights)> {
    let held = held(conn, &caller.actor, name, now)?;
    let scoped = held.and(scoped(&caller.actor));
    let effective = scoped.and(caller.narrowed(name));
    if effective.permit(action) {
        Ok((store::repository(conn, name.as_str())?, effective))
    } else if matches!(caller.actor, Actor::Anonymous) {
        Err(Error::unauthenticated("sign-in-required"))
    } else if scoped.permit(action) {
        Err(Error::unauthenticated("token-scope").arg("scope", action.as_str()))
    } else if held.permit(action) {
        Err(Error::forbidden("token-scope").arg("scope", action.as_str()))
    } else if held.pull {
        Err(Error::forbidden("not-permitted"))
    } else {
        Err(Error::not_found("name-unknown"))
    }
}

/// Checks that a caller may act on a repository and gives it; a push to a new name of one's own makes it.
///
/// # Errors
/// As [`permit`]; `name-unknown` where there is no such repository.
pub async fn authorize(app: &App, caller: &Caller, name: &RepositoryName, action: Action) -> Result<Repository> {
    let (found, _) = permit(app, caller, name, action).await?;
    match (found, action) {
        (Some(repository), _) => Ok(repository),
        (None, Action::Push) => create(app, &caller.actor, name).await,
        (None, _) => Err(Error::not_found("name-unknown")),
    }
}

/// The repository for reading, and whether the caller reads as a buyer.
pub(super) async fn open(app: &App, caller: &Caller, name: &RepositoryName) -> Result<(Repository, bool)> {
    let (caller, name, now) = (caller.clone(), name.clone(), app.clock.now());
    app.db.read(move |conn| open_in(conn, &caller, &name, now)).await
}

/// As [`open`], within a read.
pub(super) fn open_in(conn: &mut Conn, caller: &Caller, name: &RepositoryName, now: Timestamp) -> Result<(Repository, bool)> {
    let (found, rights) = permit_in(conn, caller, name, Action::Pull, now)?;
    Ok((found.ok_or_else(|| Error::not_found("name-unknown"))?, rights.buyer))
}

/// The repository to mount from: one that the caller may read, or one of the organisation that it pushes for, whatever its token says of
/// that one (clients ask for a token of the target only). None where there is no such right or repository.
pub(super) async fn source_of_mount(app: &App, caller: &Caller, into: &Repository, from: &RepositoryName) -> Result<Option<Repository>> {
    let name = from.clone();
    let found = app.db.read(move |conn| Ok(store::repository(conn, name.as_str())?)).await?;
    match found {
        Some(own) if own.organization_id == into.organization_id => Ok(Some(own)),
        Some(_) => Ok(open(app, caller, from).await.ok().map(|(repository, _)| repository)),
        None => Ok(None),
    }
}

async fn create(app: &App, actor: &Actor, name: &RepositoryName) -> Result<Repository> {
    let organization_id = actor.person()?.organization_id.clone();
    let name = name.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        let id = ensure_repository(c, &organization_id, name.as_str(), now)?;
        c.audit("repository.created", &id, &json!({"name": name.as_str()}));
        store::repository(c, name.as_str())?.ok_or_else(|| Error::not_found("name-unknown"))
    })
    .await
}
