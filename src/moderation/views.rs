//! Pages of moderation.

use askama::Template;

use super::model::CaseState;
use super::model::Line;
use super::service::{CaseDetail, Overview};
use crate::catalog::views::{alarm_level, alarm_text};
use crate::evaluation::views::ScoreView;
use crate::http::page::{FormErrors, Page};
use crate::release::difference::Flag;
use crate::release::model::Channel;
use crate::release::report::{ComparisonView, ReportView, figure};
use crate::site::parts::chain::ChainLink;
use crate::trade::views::AwaitingRow;
use crate::trust::views::TrustView;

/// A case in a list.
pub struct CaseRow {
    pub href: String,
    pub app: String,
    pub version: String,
    pub vendor: String,
    pub state: CaseState,
    pub opened: String,
    pub waits: String,
    pub decided: String,
    pub reason: String,
    /// Why a moderator should look twice.
    pub flags: Vec<Flag>,
}

impl CaseRow {
    /// Of a line.
    pub fn of(page: &Page, (case, version, app, vendor): &Line) -> Self {
        Self {
            href: format!("/admin/cases/{}", case.id),
            app: page.pick(&app.1, &app.2).to_owned(),
            version: version.clone(),
            vendor: page.pick(&vendor.1, &vendor.2).to_owned(),
            state: case.state,
            opened: page.datetime(&case.opened_at),
            waits: page.ago(&case.opened_at),
            decided: case.decided_at.map(|at| page.datetime(&at)).unwrap_or_default(),
            reason: case.reason.clone(),
            flags: (*case.flags).clone(),
        }
    }
}

/// `/admin`.
#[derive(Template)]
#[template(path = "moderation/overview.html")]
pub struct OverviewPage {
    pub page: Page,
    /// Number of open cases and the oldest.
    pub cases: Option<(String, Vec<CaseRow>)>,
    /// Number of orders that wait for payment and the oldest.
    pub payments: Option<(String, Vec<AwaitingRow>)>,
    pub vendors: String,
    pub listings: String,
    pub mines: String,
    pub nodes: String,
}

impl OverviewPage {
    /// What the reader may see.
    pub fn of(page: Page, overview: &Overview) -> Self {
        let (vendors, listings, mines, nodes) = overview.figures;
        Self {
            cases: overview.cases.as_ref().map(|(n, lines)| (page.count(n), lines.iter().map(|l| CaseRow::of(&page, l)).collect())),
            payments: overview
                .payments
                .as_ref()
                .map(|(n, lines)| (page.count(n), lines.iter().map(|l| AwaitingRow::of(&page, l)).collect())),
            vendors: page.count(&vendors),
            listings: page.count(&listings),
            mines: page.count(&mines),
            nodes: page.count(&nodes),
            page,
        }
    }
}

/// `/admin/queue`.
#[derive(Template)]
#[template(path = "moderation/queue.html")]
pub struct QueuePage {
    pub page: Page,
    pub decided: bool,
    pub open: String,
    pub rows: Vec<CaseRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// An earlier decision on the app.
pub struct DecisionRow {
    pub tone: &'static str,
    pub at: String,
    pub version: String,
    pub state: CaseState,
    pub reason: String,
    pub by: String,
}

/// Everything on a case's page.
pub struct CaseView {
    pub id: String,
    pub state: CaseState,
    pub title: String,
    pub title_other: String,
    pub summary: String,
    pub summary_other: String,
    pub paragraphs: Vec<String>,
    pub changes: String,
    pub vendor: String,
    pub vendor_href: String,
    pub version: String,
    pub specialty: String,
    pub scenario: String,
    pub input: String,
    pub safety: bool,
    pub license: String,
    pub digest: String,
    pub size: String,
    pub opened: String,
    pub opened_by: String,
    pub waits: String,
    pub preview: String,
    pub pictures: Vec<(String, String)>,
    pub alarms: Vec<(&'static str, String)>,
    pub report: ReportView,
    /// What differs from the version before.
    pub comparison: Option<ComparisonView>,
    pub channel: Channel,
    pub scores: Vec<ScoreView>,
    pub metrics: Vec<(String, String, String, String)>,
    pub training: String,
    pub limits: String,
    pub versions: Vec<(String, String, String)>,
    pub decisions: Vec<DecisionRow>,
    pub chain: Vec<ChainLink>,
    /// Decided already: when, by whom, why.
    pub decided: Option<(String, String, String)>,
    pub own: bool,
    pub trust: TrustView,
}

impl CaseView {
    /// In the page's language, with titles of the other beside it.
    pub fn of(page: &Page, detail: &CaseDetail) -> Self {
        let (listing, case) = (&detail.listing, &detail.case);
        let manifest = &listing.release.manifest;
        let (vendor_slug, slug) = &detail.place;
        let other = if page.lang == "en" { "zh-CN" } else { "en" };
        Self {
            id: case.id.clone(),
            state: case.state,
            title: manifest.title.get(page.lang).to_owned(),
            title_other: manifest.title.get(other).to_owned(),
            summary: manifest.summary.get(page.lang).to_owned(),
            summary_other: manifest.summary.get(other).to_owned(),
            paragraphs: manifest.description.get(page.lang).split("\n\n").map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect(),
            changes: manifest.changes.get(page.lang).to_owned(),
            vendor: page.pick(&listing.vendor.2, &listing.vendor.3).to_owned(),
            vendor_href: format!("/vendors/{vendor_slug}"),
            version: listing.release.version.clone(),
            specialty: page.pick(&listing.words.0.0, &listing.words.0.1).to_owned(),
            scenario: page.pick(&listing.words.1.0, &listing.words.1.1).to_owned(),
            input: page.tk("input-", manifest.input.as_str()),
            safety: manifest.safety,
            license: manifest.license.clone(),
            digest: listing.release.digest.clone(),
            size: page.bytes(&detail.size_bytes),
            opened: page.datetime(&case.opened_at),
            opened_by: detail.opened_by.clone(),
            waits: page.ago(&case.opened_at),
            preview: format!("/apps/{vendor_slug}/{slug}?preview={}", case.release_id),
            pictures: listing
                .gallery
                .iter()
                .map(|(digest, alt)| (format!("/media/{vendor_slug}/{slug}/{digest}"), alt.get(page.lang).to_owned()))
                .collect(),
            alarms: manifest
                .pipeline
                .alarms
                .iter()
                .map(|rule| (alarm_level(rule.level), alarm_text(page, manifest, rule.text.get(page.lang))))
                .collect(),
            report: ReportView::of(page, manifest, listing.report.as_ref(), false),
            comparison: listing.previous.as_ref().map(|(from, d)| ComparisonView::of(page, from, &listing.release.version, d)),
            channel: listing.release.channel,
            scores: listing.scores.iter().map(|score| ScoreView::of(page, score)).collect(),
            metrics: manifest
                .card
                .metrics
                .iter()
                .map(|m| (m.name.clone(), figure(m.value), figure(m.baseline), m.dataset.get(page.lang).to_owned()))
                .collect(),
            training: manifest.card.training_data.get(page.lang).to_owned(),
            limits: manifest.card.limits.get(page.lang).to_owned(),
            versions: detail.versions.iter().map(|(v, state, at)| (v.clone(), state.clone(), page.date(at))).collect(),
            decisions: detail
                .decisions
                .iter()
                .map(|(case, version, by)| DecisionRow {
                    tone: tone(case.state),
                    at: case.decided_at.map(|at| page.datetime(&at)).unwrap_or_default(),
                    version: version.clone(),
                    state: case.state,
                    reason: case.reason.clone(),
                    by: by.clone().unwrap_or_default(),
                })
                .collect(),
            chain: listing.chain.clone(),
            decided: case.decided_at.map(|at| (page.datetime(&at), detail.decided_by.clone().unwrap_or_default(), case.reason.clone())),
            own: detail.own,
            trust: TrustView::of(page, &format!("{vendor_slug}/{slug}"), true, &detail.evidence),
        }
    }
}

fn tone(state: CaseState) -> &'static str {
    match state {
        CaseState::Approved => "green",
        CaseState::Rejected => "red",
        CaseState::Open | CaseState::ChangesRequested => "amber",
    }
}

/// `/admin/cases/{id}`.
#[derive(Template)]
#[template(path = "moderation/case.html")]
pub struct CasePage {
    pub page: Page,
    pub case: CaseView,
    /// The form is shown: the case is open and the reader may decide it.
    pub may_decide: bool,
    /// What was typed.
    pub reason: String,
    pub errors: FormErrors,
}
