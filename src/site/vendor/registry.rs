//! /vendor/registry: repositories and their content.

use std::collections::HashMap;

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::error::{Error, Result};
use crate::http::page::{Page, PageResult};
use crate::registry::model::{Artifact, Listed as List, Repository, RepositoryLine, RepositoryName, cut, type_word};
use crate::registry::quota;
use crate::registry::quota::Usage;
use crate::release::model::{ReleaseState, address};
use crate::{registry, release, trust};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor/registry", web::get().to(repositories)).route("/vendor/registry/{name:.+}", web::get().to(repository));
}

#[derive(Deserialize)]
struct Place {
    after: Option<String>,
}

async fn repositories(req: HttpRequest, app: Data<App>, actor: Actor, place: Query<Place>) -> PageResult {
    let (usage, found) = list_repositories(&app, &actor, place.after.as_deref().unwrap_or_default()).await?;
    let page = Page::of(&req, "registry-title");
    page.clone().render(&RepositoriesPage::of(page, usage, found))
}

async fn repository(req: HttpRequest, app: Data<App>, actor: Actor, name: Path<String>, place: Query<Place>) -> PageResult {
    let contents = contents(&app, &actor, &name, place.into_inner().after).await?;
    let mut page = Page::of(&req, "");
    page.title.clone_from(&contents.repository.name);
    page.clone().render(&RepositoryPage::of(page, contents))
}

/// `/vendor/registry`.
#[derive(Template)]
#[template(path = "vendor/registry.html")]
pub struct RepositoriesPage {
    pub page: Page,
    /// Used part of the storage quota, in whole percent.
    pub used_percent: u64,
    pub used: String,
    /// Name and since when.
    pub repositories: Vec<(String, String)>,
    pub next: Option<String>,
}

impl RepositoriesPage {
    pub fn of(page: Page, usage: Usage, found: List<RepositoryLine>) -> Self {
        let bytes = |n: u64| page.bytes(&i64::try_from(n).unwrap_or(i64::MAX));
        Self {
            used_percent: usage.used.saturating_mul(100).checked_div(usage.limit).unwrap_or(100).min(100),
            used: page.t2("registry-used-of", "used", bytes(usage.used), "limit", bytes(usage.limit)),
            repositories: found.items.iter().map(|line| (line.name.clone(), page.date(&line.created_at))).collect(),
            next: found.next.map(|name| format!("/vendor/registry?after={name}")),
            page,
        }
    }
}

/// A manifest as shown.
pub struct ArtifactRow {
    pub tags: Vec<String>,
    pub kind: String,
    /// The media type itself, where `kind` is less exact.
    pub media_type: String,
    pub digest: String,
    pub pushed: String,
    pub release: Option<(String, ReleaseState, String)>,
    pub referrers: Vec<ArtifactRow>,
    /// Page of the artifact's content, where it is a document that can be shown.
    pub href: Option<String>,
}

/// `/vendor/registry/{name}`.
#[derive(Template)]
#[template(path = "vendor/repository.html")]
pub struct RepositoryPage {
    pub page: Page,
    pub artifacts: Vec<ArtifactRow>,
    pub next: Option<String>,
}

impl RepositoryPage {
    pub fn of(page: Page, mut contents: Contents) -> Self {
        let name = contents.repository.name.clone();
        let app = name.split_once('/').map_or("", |(_, app)| app);
        let artifacts = contents
            .artifacts
            .items
            .iter()
            .map(|artifact| {
                let mut row = row(&page, &name, artifact);
                row.tags = contents.tags.remove(&artifact.digest).unwrap_or_default();
                row.release = contents.releases.remove(&artifact.digest).map(|(version, state)| {
                    let href = address(app, &version);
                    (version, state, href)
                });
                row.referrers = contents
                    .referrers
                    .remove(&artifact.digest)
                    .unwrap_or_default()
                    .iter()
                    .map(|referrer| self::row(&page, &name, referrer))
                    .collect();
                row
            })
            .collect();
        let next = contents.artifacts.next.map(|place| format!("/vendor/registry/{name}?after={place}"));
        Self { page, artifacts, next }
    }
}

fn row(page: &Page, repository: &str, artifact: &Artifact) -> ArtifactRow {
    let own = artifact.kind.as_deref().unwrap_or(&artifact.media_type);
    let word = type_word(own);
    ArtifactRow {
        tags: Vec::new(),
        kind: page.tk("registry-type-", word),
        media_type: own.to_owned(),
        digest: artifact.digest.clone(),
        pushed: page.datetime(&artifact.created_at),
        release: None,
        referrers: Vec::new(),
        href: trust::documents::TYPES.contains(&own).then(|| crate::site::parts::trust::document_address(repository, &artifact.digest)),
    }
}

/// Lines of one page.
const PAGE: i64 = 50;

/// Tags shown of one artifact.
const TAGS: i64 = 50;
/// Referrers shown with one page of artifacts.
const REFERRERS: i64 = 500;

/// One page of a developer's repositories, by name, and how full its store is.
async fn list_repositories(app: &App, actor: &Actor, after: &str) -> Result<(Usage, List<RepositoryLine>)> {
    let organization_id = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    let (parts, after) = (app.clone(), after.to_owned());
    app.db
        .read(move |conn| {
            let usage = quota::usage_in(conn, &parts, &organization_id)?;
            let mut items = registry::service::repository_lines(conn, &organization_id, &after, PAGE + 1)?;
            let next = cut(&mut items, PAGE, |line| line.name.clone());
            Ok((usage, List { items, next }))
        })
        .await
}

/// The data of a repository's page.
pub struct Contents {
    pub repository: Repository,
    /// Manifests that are no referrers of another one, newest first.
    pub artifacts: List<Artifact>,
    /// Names of tags by digest.
    pub tags: HashMap<String, Vec<String>>,
    /// Referrers of artifacts, by the artifact's digest.
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
                registry::service::repository(conn, name.as_str())?.filter(|r| r.organization_id == organization_id).ok_or_else(unknown)?;
            let mut items = registry::service::artifacts(conn, &repository.id, before.as_deref(), PAGE + 1)?;
            let next = cut(&mut items, PAGE, Artifact::place);
            let digests: Vec<&str> = items.iter().map(|a| a.digest.as_str()).collect();
            let mut tags: HashMap<String, Vec<String>> = HashMap::new();
            for (digest, tag) in registry::service::tags_of(conn, &repository.id, &digests, TAGS)? {
                tags.entry(digest).or_default().push(tag);
            }
            let mut referrers: HashMap<String, Vec<Artifact>> = HashMap::new();
            for (subject, artifact) in registry::service::referrers_of(conn, &repository.id, &digests, REFERRERS)? {
                referrers.entry(subject).or_default().push(artifact);
            }
            let releases = release::service::by_digest(conn, &digests)?;
            Ok(Contents { artifacts: List { items, next }, tags, referrers, releases, repository })
        })
        .await
}
