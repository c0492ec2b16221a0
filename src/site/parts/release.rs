//! Releases and apps as rows.

use crate::http::page::Page;
use crate::release::model::{ReleaseState, address};
use crate::site::vendor::console::{AppLine, ReleaseLine};

/// A release in a list.
pub struct ReleaseRow {
    pub href: String,
    pub title: String,
    pub version: String,
    pub state: ReleaseState,
    pub size: String,
    pub created: String,
    pub since: String,
    /// Who must act, and what happens next.
    pub who: String,
    pub next: String,
}

impl ReleaseRow {
    pub fn of(page: &Page, line: &ReleaseLine) -> Self {
        Self {
            href: address(&line.app, &line.version),
            title: page.pick(&line.title_zh, &line.title_en).to_owned(),
            version: line.version.clone(),
            state: line.state,
            size: page.bytes(&line.size_bytes),
            created: page.datetime(&line.created_at),
            since: page.ago(&line.updated_at),
            who: page.tk("release-who-", line.state),
            next: page.tk("release-next-", line.state),
        }
    }
}

/// An app in a list.
pub struct AppRow {
    pub slug: String,
    pub title: String,
    pub specialty: String,
    pub state: String,
    pub latest: Option<(String, ReleaseState, String)>,
}

impl AppRow {
    pub fn of(page: &Page, line: &AppLine) -> Self {
        Self {
            slug: line.slug.clone(),
            title: page.pick(&line.title_zh, &line.title_en).to_owned(),
            specialty: page.pick(&line.specialty_zh, &line.specialty_en).to_owned(),
            state: line.state.clone(),
            latest: line.latest.as_ref().map(|(version, state)| (version.clone(), *state, address(&line.slug, version))),
        }
    }
}

/// One metric that the developer claims.
pub struct MetricRow {
    pub name: String,
    pub value: String,
    pub baseline: String,
    pub dataset: String,
}
