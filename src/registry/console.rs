//! What a developer's repositories hold, for people: repositories, their tags and manifests, and what refers to them.

use std::collections::HashMap;

use super::manifests::Page;
use super::model::Artifact;
use super::model::RepositoryLine;
use super::model::{Repository, RepositoryName};
use super::quota::{self, Usage};
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::{Error, Result};
use crate::release;
use crate::release::model::ReleaseState;

/// Lines of one page.
const PAGE: i64 = 50;
/// Referrers shown with one page of artifacts.
const REFERRERS: i64 = 500;

/// One page of a developer's repositories, by name, and how full its store is.
pub async fn repositories(app: &App, actor: &Actor, after: &str) -> Result<(Usage, Page<RepositoryLine>)> {
    let organization_id = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    let (parts, after) = (app.clone(), after.to_owned());
    app.db
        .read(move |conn| {
            let usage = quota::usage_in(conn, &parts, &organization_id)?;
            let mut items = store::repository_lines(conn, &organization_id, &after, PAGE + 1)?;
            let next = super::manifests::cut(&mut items, PAGE, |line| line.name.clone());
            Ok((usage, Page { items, next }))
        })
        .await
}

/// What is on the page of a repository.
pub struct Contents {
    /// The repository.
    pub repository: Repository,
    /// Manifests that are no referrers of another one, newest first.
    pub artifacts: Page<Artifact>,
    /// Names of tags by digest.
    pub tags: HashMap<String, Vec<String>>,
    /// What refers to an artifact, by the artifact's digest.
    pub referrers: HashMap<String, Vec<Artifact>>,
    /// Version and state of those that are releases, by digest.
    pub releases: HashMap<String, (String, ReleaseState)>,
}

/// One page of a repository of one's own organisation; `before` is where the last page ended.
///
/// # Errors
/// `name-unknown`: there is none, or it is another organisation's.
pub async fn contents(app: &App, actor: &Actor, name: &str, before: Option<String>) -> Result<Contents> {
    let organization_id = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    let unknown = || Error::not_found("name-unknown");
    let name = RepositoryName::parse(name).map_err(|_| unknown())?;
    app.db
        .read(move |conn| {
            let repository =
                store::repository(conn, name.as_str())?.filter(|r| r.organization_id == organization_id).ok_or_else(unknown)?;
            let mut items = store::artifacts(conn, &repository.id, before.as_deref(), PAGE + 1)?;
            let next = super::manifests::cut(&mut items, PAGE, Artifact::place);
            let digests: Vec<&str> = items.iter().map(|a| a.digest.as_str()).collect();
            let mut tags: HashMap<String, Vec<String>> = HashMap::new();
            for (digest, tag) in store::tags_of(conn, &repository.id, &digests)? {
                tags.entry(digest).or_default().push(tag);
            }
            let mut referrers: HashMap<String, Vec<Artifact>> = HashMap::new();
            for (subject, artifact) in store::referrers_of(conn, &repository.id, &digests, REFERRERS)? {
                referrers.entry(subject).or_default().push(artifact);
            }
            let releases = release::service::by_digest(conn, &digests)?;
            Ok(Contents { artifacts: Page { items, next }, tags, referrers, releases, repository })
        })
        .await
}
