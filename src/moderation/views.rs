//! Pages of moderation.

use app_package::fault::Fault;
use app_package::manifest::{AlarmLevel, AppManifest};
use askama::Template;
use inference::check::{CheckReport, STEPS};

use super::model::CaseState;
use super::service::{CaseDetail, Overview};
use super::store::Line;
use crate::catalog::views::{alarm_text, share_right};
use crate::chain::ChainLink;
use crate::evaluation::views::ScoreView;
use crate::http::page::{FormErrors, Page};
use crate::trade::views::AwaitingRow;

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

/// A step of the check.
pub struct CheckRow {
    /// `passed`, `failed` or `waiting`.
    pub state: &'static str,
    pub name: String,
    pub found: String,
    /// What the engine says, where it failed.
    pub detail: String,
}

/// Figures of the run card.
pub struct CardView {
    pub accuracy: Option<String>,
    pub golden: u32,
    pub median: String,
    pub p95: String,
    pub memory: String,
    pub size: String,
    pub load: String,
    pub engine: String,
    pub hardware: String,
    pub input: String,
}

/// A golden sample.
pub struct SampleRow {
    pub name: String,
    pub ok: bool,
    pub difference: String,
    pub right: Option<bool>,
    pub latency: String,
    pub message: String,
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
    pub checked: bool,
    pub passed: bool,
    pub checks: Vec<CheckRow>,
    /// Line, place and text of each fault of app.yaml.
    pub faults: Vec<(String, String, String)>,
    pub card: Option<CardView>,
    pub scores: Vec<ScoreView>,
    pub samples: Vec<SampleRow>,
    pub metrics: Vec<(String, String, String, String)>,
    pub training: String,
    pub limits: String,
    pub versions: Vec<(String, String, String)>,
    pub decisions: Vec<DecisionRow>,
    pub chain: Vec<ChainLink>,
    /// Decided already: when, by whom, why.
    pub decided: Option<(String, String, String)>,
    pub own: bool,
}

impl CaseView {
    /// In the page's language, with titles of the other beside it.
    pub fn of(page: &Page, detail: &CaseDetail) -> Self {
        let (listing, case) = (&detail.listing, &detail.case);
        let manifest = &listing.release.manifest;
        let (vendor_slug, slug) = &detail.place;
        let other = if page.lang == "en" { "zh-CN" } else { "en" };
        let report = listing.report.as_ref();
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
                .map(|rule| (level(rule.level), alarm_text(page, manifest, rule.text.get(page.lang))))
                .collect(),
            checked: report.is_some(),
            passed: report.is_some_and(|r| r.passed),
            checks: checks(page, report),
            faults: faults(page, report),
            card: report.and_then(|r| r.run_card.as_ref()).map(|card| card_view(page, manifest, card)),
            scores: listing.scores.iter().map(|score| ScoreView::of(page, score)).collect(),
            samples: samples(report),
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
        }
    }
}

fn level(level: AlarmLevel) -> &'static str {
    match level {
        AlarmLevel::Notice => "notice",
        AlarmLevel::Warning => "warning",
        AlarmLevel::Critical => "critical",
    }
}

fn tone(state: CaseState) -> &'static str {
    match state {
        CaseState::Approved => "green",
        CaseState::Rejected => "red",
        CaseState::Open | CaseState::ChangesRequested => "amber",
    }
}

fn checks(page: &Page, report: Option<&CheckReport>) -> Vec<CheckRow> {
    let steps = report.map_or(&[][..], |r| r.steps.as_slice());
    STEPS
        .iter()
        .map(|code| {
            let name = page.tk("case-step-", code);
            match steps.iter().find(|step| step.code == *code) {
                Some(step) if step.ok => {
                    let found = page.t1("check-found-time", "time", millis(step.duration_ms));
                    CheckRow { state: "passed", name, found, detail: String::new() }
                }
                Some(step) => {
                    let found = step.reason.as_deref().map(|code| reason(page, code)).unwrap_or_default();
                    CheckRow { state: "failed", name, found, detail: step.detail.clone().unwrap_or_default() }
                }
                None => CheckRow { state: "waiting", name, found: String::new(), detail: String::new() },
            }
        })
        .collect()
}

/// Why a step failed, in the words that the developer reads.
fn reason(page: &Page, code: &str) -> String {
    let key = format!("check-reason-{code}");
    match code.strip_prefix("crashed") {
        _ if page.locale().has(&key) => page.t(&key),
        Some(number) => page.t1("check-reason-crashed", "detail", number.trim_start_matches('-')),
        None => page.t1("check-reason-other", "code", code),
    }
}

/// Line, place and text of each fault of app.yaml.
fn faults(page: &Page, report: Option<&CheckReport>) -> Vec<(String, String, String)> {
    let faults = report.map_or(&[][..], |r| r.faults.as_slice());
    let read = faults.iter().filter_map(|fault| serde_json::from_value::<Fault>(fault.clone()).ok());
    read.map(|f| (f.line.map(|l| l.to_string()).unwrap_or_default(), f.key.clone(), f.message(page.lang))).collect()
}

fn card_view(page: &Page, manifest: &AppManifest, card: &inference::check::RunCard) -> CardView {
    let bytes = |n: u64| page.bytes(&i64::try_from(n).unwrap_or(i64::MAX));
    CardView {
        accuracy: share_right(manifest, card),
        golden: card.golden_total,
        median: millis(card.latency_ms.median),
        p95: millis(card.latency_ms.p95),
        memory: bytes(card.peak_memory_bytes),
        size: bytes(card.model_bytes),
        load: millis(card.load_ms),
        engine: format!("{} {}", card.engine, card.engine_version),
        hardware: format!("{} × {} · {}", card.hardware.cpu, card.hardware.cores, card.hardware.architecture),
        input: card.input.clone(),
    }
}

fn samples(report: Option<&CheckReport>) -> Vec<SampleRow> {
    let golden = report.and_then(|r| r.golden.as_ref()).map_or(&[][..], |g| g.samples.as_slice());
    golden
        .iter()
        .map(|s| SampleRow {
            name: s.name.clone(),
            ok: s.ok,
            difference: figure(s.worst_difference),
            right: s.right,
            latency: millis(s.latency_ms),
            message: s.message.clone().unwrap_or_default(),
        })
        .collect()
}

/// A figure with four digits after the point at most.
fn figure(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        format!("{value:.2e}")
    } else {
        format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn millis(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2} ms")
    } else if value < 1000.0 {
        format!("{value:.0} ms")
    } else {
        format!("{:.1} s", value / 1000.0)
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
