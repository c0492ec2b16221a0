//! Rights of callers in repositories.
//!
//! Rights come from the database at each request: a vendor's publishers hold their own `<slug>/…`, moderators read everything, buyers read
//! published releases of the versions that a licence in force covers, and their nodes besides what they run. A registry token only ever
//! narrows these rights.

use std::sync::Arc;

use super::claims::{Access, Claims};
use super::rights::{Action, Rights};
use super::token::CATALOG;
use crate::account::model::Credential;
use crate::base::app::App;
use crate::base::auth::policy::{self, Scope};
use crate::base::auth::{Actor, OrgKind, Via};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::license::model::PullTerms;
use crate::registry::model::{Repository, RepositoryName};
use crate::{account, fleet, license, registry, release};

/// The caller of the registry: an actor, narrowed to the access of a registry token if one was sent.
#[derive(Debug, Clone)]
pub struct Caller {
    pub actor: Actor,
    /// Claims of the token that was sent; only their access is granted.
    pub claims: Option<Arc<Claims>>,
}

impl From<Actor> for Caller {
    fn from(actor: Actor) -> Self {
        Self { actor, claims: None }
    }
}

impl Caller {
    /// The caller as the database has them now: since the request began a person may have left the organisation or have another role, and
    /// what they proved themselves with may be over.
    ///
    /// # Errors
    /// `token-invalid`: the person is no member any more, their API token was revoked, their session has ended.
    pub async fn confirmed(&self, app: &App) -> Result<Self> {
        let Actor::Person(known, via) = &self.actor else { return Ok(self.clone()) };
        let (user_id, organization_id, now) = (known.user_id.clone(), known.organization_id.clone(), app.clock.now());
        let credential = self.claims.as_ref().map_or_else(|| Credential::of(via), |claims| claims.via.clone());
        let idle = account::service::idle_since(app, now);
        let read = move |conn: &mut Conn| account::service::holder_in(conn, &user_id, &organization_id, credential.as_ref(), idle, now);
        let person = app.db.read(read).await?;
        let person = person.ok_or_else(|| Error::unauthenticated("token-invalid"))?;
        Ok(Self { actor: Actor::Person(Box::new(person), via.clone()), claims: self.claims.clone() })
    }

    /// Checks that the caller may see which repositories there are; the list itself holds those that they may read.
    ///
    /// # Errors
    /// `sign-in-required`; `token-scope` as [`permit_in`] gives it.
    fn permit_list(&self) -> Result<()> {
        let narrower = |claims: &Arc<Claims>| !claims.access.contains(&Access::catalog());
        let scope = |error: Error| error.arg("scope", CATALOG);
        match self.actor {
            Actor::Anonymous => Err(Error::unauthenticated("sign-in-required")),
            _ if !may_list(&self.actor) => Err(scope(Error::forbidden("token-scope"))),
            _ if self.claims.as_ref().is_some_and(narrower) => Err(scope(Error::unauthenticated("token-scope"))),
            _ => Ok(()),
        }
    }

    fn narrowed(&self, name: &RepositoryName) -> Rights {
        let Some(claims) = &self.claims else { return Rights::ALL };
        let granted = |action: Action| {
            claims
                .access
                .iter()
                .any(|a| a.kind == "repository" && a.name == name.as_str() && a.actions.iter().any(|w| w == action.as_str()))
        };
        Rights { pull: granted(Action::Pull), push: granted(Action::Push), delete: granted(Action::Delete) }
    }
}

/// A caller who reads as a buyer: published releases, and what refers to them.
#[derive(Debug)]
pub struct Buyer {
    terms: PullTerms,
    /// The node, if it is one.
    node_id: Option<String>,
}

impl Buyer {
    /// Whether the buyer may have one of some published releases, by their digests.
    ///
    /// # Errors
    /// Of the database.
    pub fn may_have(&self, conn: &mut Conn, published: &[String]) -> Result<bool> {
        if published.is_empty() {
            return Ok(false);
        }
        if self.terms.cover_all() {
            return Ok(true);
        }
        let digests: Vec<&str> = published.iter().map(String::as_str).collect();
        let versions = release::service::by_digest(conn, &digests)?;
        if versions.values().filter_map(|(version, _)| semver::Version::parse(version).ok()).any(|version| self.terms.cover(&version)) {
            return Ok(true);
        }
        match &self.node_id {
            Some(node_id) if self.terms.may_run => fleet::service::identity::runs(conn, node_id, &digests),
            _ => Ok(false),
        }
    }
}

/// An actor's rights, before scopes and tokens narrow them, and the buyer where it is one.
fn held(conn: &mut Conn, actor: &Actor, name: &RepositoryName, now: Timestamp) -> Result<(Rights, Option<Buyer>)> {
    let person = match actor {
        Actor::System => return Ok((Rights::ALL, None)),
        Actor::Anonymous => return Ok((Rights::default(), None)),
        Actor::Node { organization_id, node_id } => {
            let terms = license::service::pull_terms(conn, organization_id, name.as_str(), now)?;
            let rights = Rights::reading(terms.may_run || terms.cover_any());
            return Ok((rights, Some(Buyer { terms, node_id: Some(node_id.clone()) })));
        }
        Actor::Person(person, _) => person,
    };
    Ok(match person.kind {
        OrgKind::Vendor
            if person.organization_slug == name.owner() && policy::permits(person.kind, person.role, policy::Action::PublishApps) =>
        {
            (Rights::ALL, None)
        }
        OrgKind::Vendor => (Rights::default(), None),
        OrgKind::Operator => {
            let terms = license::service::pull_terms(conn, &person.organization_id, name.as_str(), now)?;
            (Rights::reading(terms.cover_any()), Some(Buyer { terms, node_id: None }))
        }
        OrgKind::Platform => (Rights::reading(policy::permits(person.kind, person.role, policy::Action::DecideCases)), None),
    })
}

/// The rights that an API token's scopes leave; all for other actors.
fn scoped(actor: &Actor) -> Rights {
    match actor {
        Actor::Person(_, Via::Token { scopes, .. }) => {
            let publish = scopes.contains(&Scope::Publish);
            Rights { pull: publish || scopes.contains(&Scope::Pull), push: publish, delete: publish }
        }
        _ => Rights::ALL,
    }
}

/// An actor's rights in a repository, whether it exists or not, as the token endpoint grants them.
pub fn rights(conn: &mut Conn, actor: &Actor, name: &RepositoryName, now: Timestamp) -> Result<Rights> {
    Ok(held(conn, actor, name, now)?.0.and(scoped(actor)))
}

/// Checks that a caller may act on a name; gives the repository if it exists, and the buyer where the caller is one.
///
/// # Errors
/// `sign-in-required` (anonymous), `name-unknown` (no right at all), `not-permitted` (may read only), `token-scope` (the token is
/// narrower than its owner: 403 for an API token, 401 for a registry token, since a wider one can be had).
pub fn permit_in(
    conn: &mut Conn,
    caller: &Caller,
    name: &RepositoryName,
    action: Action,
    now: Timestamp,
) -> Result<(Option<Repository>, Option<Buyer>)> {
    let (held, buyer) = held(conn, &caller.actor, name, now)?;
    let scoped = held.and(scoped(&caller.actor));
    if scoped.and(caller.narrowed(name)).permit(action) {
        Ok((registry::service::repository(conn, name.as_str())?, buyer))
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

/// Checks that a caller may act on a name; gives the repository if it exists.
///
/// # Errors
/// As [`permit_in`].
pub async fn find(app: &App, caller: &Caller, name: &RepositoryName, action: Action) -> Result<Option<Repository>> {
    let (asking, wanted, now) = (caller.clone(), name.clone(), app.clock.now());
    let (found, _) = app.db.read(move |conn| permit_in(conn, &asking, &wanted, action, now)).await?;
    Ok(found)
}

/// Checks that a caller may act on a repository and gives it; a push to a new name of the caller's own creates it, so what only looks, or may
/// yet be refused, asks [`find`].
///
/// # Errors
/// As [`permit_in`]; `name-unknown` where there is no such repository.
pub async fn authorize(app: &App, caller: &Caller, name: &RepositoryName, action: Action) -> Result<Repository> {
    match (find(app, caller, name, action).await?, action) {
        (Some(repository), _) => Ok(repository),
        (None, Action::Push) => registry::service::create_repository(app, &caller.actor, name).await,
        (None, _) => Err(Error::not_found("name-unknown")),
    }
}

/// The repository for reading, and the buyer where the caller is one.
///
/// # Errors
/// As [`permit_in`]; `name-unknown` where there is no such repository.
pub fn open_in(conn: &mut Conn, caller: &Caller, name: &RepositoryName, now: Timestamp) -> Result<(Repository, Option<Buyer>)> {
    let (found, buyer) = permit_in(conn, caller, name, Action::Pull, now)?;
    Ok((found.ok_or_else(|| Error::not_found("name-unknown"))?, buyer))
}

/// Whether an actor may ask which repositories there are.
pub fn may_list(actor: &Actor) -> bool {
    !matches!(actor, Actor::Anonymous) && scoped(actor).pull
}

/// Names of the repositories that a caller may read, after a name, in ASCII order. A new name, to which they might push, is none.
///
/// # Errors
/// `sign-in-required`, `token-scope`.
pub fn catalog_in(conn: &mut Conn, caller: &Caller, after: &str, limit: i64, now: Timestamp) -> Result<Vec<String>> {
    caller.permit_list()?;
    let (organization_id, node) = match &caller.actor {
        Actor::Anonymous => return Ok(Vec::new()),
        Actor::System => return registry::service::names_after(conn, None, after, limit),
        Actor::Node { organization_id, .. } => (organization_id, true),
        Actor::Person(person, _) => match person.kind {
            OrgKind::Operator => (&person.organization_id, false),
            OrgKind::Vendor if policy::permits(person.kind, person.role, policy::Action::PublishApps) => {
                return registry::service::names_after(conn, Some(&person.organization_id), after, limit);
            }
            OrgKind::Platform if policy::permits(person.kind, person.role, policy::Action::DecideCases) => {
                return registry::service::names_after(conn, None, after, limit);
            }
            OrgKind::Vendor | OrgKind::Platform => return Ok(Vec::new()),
        },
    };
    let licensed = license::service::licensed_repositories(conn, organization_id, now)?;
    // As `held` has it: a node may also read what it runs.
    let readable = licensed.into_iter().filter(|(_, terms)| terms.cover_any() || node && terms.may_run).map(|(name, _)| name);
    registry::service::existing(conn, readable.filter(|name| name.as_str() > after), limit)
}

/// The repository to mount from: one that the caller may read, or one of the target's organisation, whatever the caller's token says of
/// it (clients ask for a token of the target only). None where there is no such right or repository.
pub async fn source_of_mount(app: &App, caller: &Caller, into: &Repository, from: &RepositoryName) -> Result<Option<Repository>> {
    let (caller, from, now, organization_id) = (caller.clone(), from.clone(), app.clock.now(), into.organization_id.clone());
    app.db
        .read(move |conn| {
            let found = registry::service::repository(conn, from.as_str())?;
            let readable = match &found {
                Some(source) if source.organization_id == organization_id => true,
                Some(_) => permit_in(conn, &caller, &from, Action::Pull, now).is_ok(),
                None => false,
            };
            Ok(found.filter(|_| readable))
        })
        .await
}
