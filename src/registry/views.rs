//! Pages of repositories in the developer console.

use askama::Template;

use super::console::Contents;
use super::manifests::Page as List;
use super::model::Artifact;
use super::model::RepositoryLine;
use super::model::type_word;
use super::quota::Usage;
use crate::http::page::Page;
use crate::release::model::{ReleaseState, address};
use crate::trust;

/// `/vendor/registry`.
#[derive(Template)]
#[template(path = "registry/repositories.html")]
pub struct RepositoriesPage {
    pub page: Page,
    /// Whole percent.
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
    /// The type's own name, where our word does not say it all.
    pub media_type: String,
    pub digest: String,
    pub pushed: String,
    pub release: Option<(String, ReleaseState, String)>,
    pub referrers: Vec<ArtifactRow>,
    /// Page of its contents, where it is a document that can be shown.
    pub href: Option<String>,
}

/// `/vendor/registry/{name}`.
#[derive(Template)]
#[template(path = "registry/repository.html")]
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
        href: trust::documents::TYPES.contains(&own).then(|| trust::views::document_address(repository, &artifact.digest)),
    }
}
