//! Pages of the vendor console.

use app_package::fault::Fault;
use askama::Template;
use inference::check::{CheckReport, RunCard, STEPS, Step};
use serde_json::json;

use super::console::{AppLine, Figures, ReleaseDetail, ReleaseLine};
use super::model::{ReleaseState, address};
use crate::chain::ChainLink;
use crate::http::page::Page;
use crate::trust::evidence::Evidence;
use crate::trust::views::TrustView;

/// What `partials/upload.html` needs.
pub struct UploadTarget {
    pub repo: String,
    pub check_url: String,
    pub finish_url: String,
}

impl UploadTarget {
    /// Into a repository; `only` names the app whose page it is.
    pub fn new(repo: String, only: Option<&str>) -> Self {
        let query = only.map(|app| format!("?app={app}")).unwrap_or_default();
        Self { repo, check_url: format!("/vendor/upload/check{query}"), finish_url: format!("/vendor/upload/finish{query}") }
    }
}

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

/// One step of the check as shown.
pub struct CheckRow {
    /// `passed`, `failed`, `running` or `waiting`.
    pub state: &'static str,
    pub name: String,
    pub found: String,
    /// The engine's own words.
    pub detail: String,
}

/// One golden sample as shown.
pub struct SampleRow {
    pub name: String,
    pub ok: bool,
    pub difference: String,
    pub right: Option<bool>,
    pub latency: String,
    pub message: String,
}

/// Figures of the run card as shown.
pub struct CardView {
    pub accuracy: String,
    pub samples: String,
    pub median: String,
    pub p95: String,
    pub p99: String,
    /// Predictions in a second on one and on two threads; empty where it was not measured.
    pub throughput: String,
    /// Operator sets, and the operators with how often each stands in the model.
    pub opsets: String,
    pub operators: String,
    /// What the model did with odd input: word of the input, word of the outcome.
    pub odd_inputs: Vec<(String, String)>,
    pub memory: String,
    pub model: String,
    pub load: String,
    pub engine: String,
    pub hardware: String,
    pub input: String,
    pub confinement: String,
    /// Data of the latency plot, safe inside a script element.
    pub plot: String,
}

/// One metric that the developer claims.
pub struct MetricRow {
    pub name: String,
    pub value: String,
    pub baseline: String,
    pub dataset: String,
}

/// All of a release's page.
pub struct ReleaseView {
    pub id: String,
    pub app: String,
    pub title: String,
    pub version: String,
    pub state: ReleaseState,
    pub who: String,
    pub next: String,
    pub digest: String,
    pub repository: String,
    pub size: String,
    pub created: String,
    pub uploaded_by: String,
    pub changes: String,
    pub address: String,
    pub preview: String,
    pub chain: Vec<ChainLink>,
    /// Index of the current of the five steps upload, check, submit, review, published; 5 when all are done.
    pub progress: usize,
    pub checked_at: String,
    pub checks: Vec<CheckRow>,
    pub faults: Vec<(String, String, String)>,
    pub card: Option<CardView>,
    pub samples: Vec<SampleRow>,
    pub metrics: Vec<MetricRow>,
    pub may_submit: bool,
    pub may_recheck: bool,
    /// State and reason of the last decision, with its time.
    pub decision: Option<(String, String, String)>,
    pub trust: TrustView,
}

impl ReleaseView {
    pub fn of(page: &Page, detail: &ReleaseDetail, evidence: &Evidence) -> Self {
        let release = &detail.release;
        let state = release.state;
        let report = detail.report.as_ref().filter(|_| state != ReleaseState::Checking);
        let address = address(&detail.app, &release.version);
        let metric = |m: &app_package::manifest::Metric| MetricRow {
            name: m.name.clone(),
            value: figure(m.value),
            baseline: figure(m.baseline),
            dataset: m.dataset.get(page.lang).to_owned(),
        };
        Self {
            id: release.id.clone(),
            trust: TrustView::of(page, &format!("{}/{}", detail.vendor, detail.app), true, evidence),
            app: detail.app.clone(),
            title: release.manifest.title.get(page.lang).to_owned(),
            version: release.version.clone(),
            state,
            who: page.tk("release-who-", state),
            next: page.tk("release-next-", state),
            digest: release.digest.clone(),
            repository: format!("{}/{}", detail.vendor, detail.app),
            size: page.bytes(&release.size_bytes),
            created: page.datetime(&release.created_at),
            uploaded_by: detail.uploaded_by.clone(),
            changes: release.manifest.changes.get(page.lang).to_owned(),
            preview: format!("/apps/{}/{}?preview={}", detail.vendor, detail.app, release.id),
            address,
            chain: detail.chain.clone(),
            progress: progress(state),
            checked_at: report.map(|(_, at)| page.datetime(at)).unwrap_or_default(),
            checks: checks(page, report.map(|(r, _)| r), state),
            faults: report.map(|(r, _)| faults(page, r)).unwrap_or_default(),
            card: report.and_then(|(r, _)| Some(card(page, r.run_card.as_ref()?, r))),
            samples: report.map(|(r, _)| samples(r)).unwrap_or_default(),
            metrics: release.manifest.card.metrics.iter().map(metric).collect(),
            may_submit: matches!(state, ReleaseState::Ready | ReleaseState::ChangesRequested),
            may_recheck: state == ReleaseState::Failed,
            decision: detail
                .decision
                .as_ref()
                .map(|d| (d.state.clone(), d.reason.clone(), d.decided_at.map(|at| page.datetime(&at)).unwrap_or_default())),
        }
    }
}

fn progress(state: ReleaseState) -> usize {
    use ReleaseState as S;
    match state {
        S::Draft => 0,
        S::Checking | S::Failed => 1,
        S::Ready | S::ChangesRequested => 2,
        S::InReview | S::Rejected => 3,
        S::Approved => 4,
        S::Published | S::Deprecated | S::Recalled => 5,
    }
}

/// A figure with four significant digits at most.
fn figure(value: f64) -> String {
    let text = if value != 0.0 && value.abs() < 0.001 { format!("{value:.2e}") } else { format!("{value:.4}") };
    if text.contains('.') && !text.contains('e') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
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

/// A reason in words; crashes carry a number.
fn reason(page: &Page, code: &str) -> String {
    let key = format!("check-reason-{code}");
    if page.locale().has(&key) {
        return page.t(&key);
    }
    match code.strip_prefix("crashed") {
        Some(rest) => page.t1("check-reason-crashed", "detail", rest.trim_start_matches('-')),
        None => page.t1("check-reason-other", "code", code),
    }
}

fn checks(page: &Page, report: Option<&CheckReport>, state: ReleaseState) -> Vec<CheckRow> {
    let done = report.map_or(&[][..], |r| r.steps.as_slice());
    let passed = report.is_some_and(|r| r.passed);
    let row = |(at, code): (usize, &&str)| {
        let name = page.tk("check-step-", code);
        match done.iter().find(|step| step.code == **code) {
            Some(step) if step.ok => Some(CheckRow { state: "passed", name, found: found(page, step, report), detail: String::new() }),
            Some(step) => {
                let found = step.reason.as_deref().map(|code| reason(page, code)).unwrap_or_default();
                Some(CheckRow { state: "failed", name, found, detail: step.detail.clone().unwrap_or_default() })
            }
            None if state == ReleaseState::Checking && at == 0 => {
                Some(CheckRow { state: "running", name, found: page.t("check-running"), detail: String::new() })
            }
            // Not part of the check when this report was made.
            None if passed => None,
            // A report ends at its first failure.
            None => {
                let found = if report.is_some() { page.t("check-not-run") } else { String::new() };
                Some(CheckRow { state: "waiting", name, found, detail: String::new() })
            }
        }
    };
    STEPS.iter().enumerate().filter_map(row).collect()
}

/// What a passed step found.
fn found(page: &Page, step: &Step, report: Option<&CheckReport>) -> String {
    let card = report.and_then(|r| r.run_card.as_ref());
    match (step.code.as_str(), card, report.and_then(|r| r.golden.as_ref())) {
        ("files", Some(card), _) => page.t1("check-found-files", "size", bytes(page, card.model_bytes)),
        ("onnx-load", Some(card), _) => page.t1("check-found-load", "time", millis(card.load_ms)),
        ("tensors-match", Some(card), _) => page.t1("check-found-tensors", "shape", &card.input),
        ("golden", _, Some(golden)) => page.t2("check-found-golden", "n", golden.reproduced, "total", golden.total),
        ("latency", Some(card), _) => {
            page.t2("check-found-latency", "median", millis(card.latency_ms.median), "p", millis(card.latency_ms.p95))
        }
        ("odd-input", Some(card), _) => page.t1("check-found-odd-input", "n", card.odd_inputs.len()),
        ("throughput", Some(card), _) => card.throughput.map_or_else(String::new, |t| {
            page.t2("check-found-throughput", "one", format!("{:.0}", t.one_thread), "two", format!("{:.0}", t.two_threads))
        }),
        ("memory", Some(card), _) => page.t1("check-found-memory", "size", bytes(page, card.peak_memory_bytes)),
        _ => page.t1("check-found-time", "time", millis(step.duration_ms)),
    }
}

fn bytes(page: &Page, n: u64) -> String {
    page.bytes(&i64::try_from(n).unwrap_or(i64::MAX))
}

/// Line, place and text of each fault of app.yaml.
fn faults(page: &Page, report: &CheckReport) -> Vec<(String, String, String)> {
    let read = report.faults.iter().filter_map(|fault| serde_json::from_value::<Fault>(fault.clone()).ok());
    read.map(|f| (f.line.map(|l| page.t1("upload-line", "n", l)).unwrap_or_default(), f.key.clone(), f.message(page.lang))).collect()
}

fn samples(report: &CheckReport) -> Vec<SampleRow> {
    let golden = report.golden.as_ref().map_or(&[][..], |g| g.samples.as_slice());
    let row = |s: &inference::golden::SampleReport| SampleRow {
        name: s.name.clone(),
        ok: s.ok,
        difference: figure(s.worst_difference),
        right: s.right,
        latency: millis(s.latency_ms),
        message: s.message.clone().unwrap_or_default(),
    };
    golden.iter().map(row).collect()
}

fn card(page: &Page, card: &RunCard, report: &CheckReport) -> CardView {
    let golden = report.golden.as_ref().map_or(&[][..], |g| g.samples.as_slice());
    let plot = json!({
        "kind": "bar", "unit": "ms", "x": "category",
        "categories": golden.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        "series": [{"name": page.t("card-latency-sample"), "tone": "steel", "data": golden.iter().map(|s| s.latency_ms).collect::<Vec<_>>()}],
        "marks": [{"y": card.latency_ms.median, "name": page.t("card-median")}, {"y": card.latency_ms.p95, "name": page.t("card-p95")}],
    });
    let confinement = report.confinement.as_ref();
    let listed = |pairs: Vec<String>| pairs.join(", ");
    let structure = card.structure.clone().unwrap_or_default();
    CardView {
        p99: if card.latency_ms.p99 > 0.0 { millis(card.latency_ms.p99) } else { String::new() },
        throughput: card.throughput.map_or_else(String::new, |t| {
            page.t2("card-throughput-value", "one", format!("{:.0}", t.one_thread), "two", format!("{:.0}", t.two_threads))
        }),
        opsets: listed(structure.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect()),
        operators: listed(structure.operators.iter().map(|(name, count)| format!("{name} × {count}")).collect()),
        odd_inputs: card.odd_inputs.iter().map(|odd| (page.tk("card-odd-", &odd.input), page.tk("card-outcome-", &odd.outcome))).collect(),
        accuracy: card.accuracy.map_or_else(|| page.t("card-no-truth"), |share| format!("{:.1} %", share * 100.0)),
        samples: card.golden_total.to_string(),
        median: millis(card.latency_ms.median),
        p95: millis(card.latency_ms.p95),
        memory: bytes(page, card.peak_memory_bytes),
        model: bytes(page, card.model_bytes),
        load: millis(card.load_ms),
        engine: format!("{} {}", card.engine, card.engine_version),
        hardware: page.t2("card-hardware-value", "cpu", &card.hardware.cpu, "cores", card.hardware.cores)
            + " · "
            + &card.hardware.architecture,
        input: card.input.clone(),
        confinement: confinement
            .map(|c| {
                let (files, calls) = (page.tk("card-landlock-", &c.landlock), page.tk("card-seccomp-", c.seccomp));
                page.t2("card-confinement-value", "files", files, "calls", calls)
            })
            .unwrap_or_default(),
        plot: plot.to_string().replace('<', "\\u003c"),
    }
}

/// `/vendor`.
#[derive(Template)]
#[template(path = "release/overview.html")]
pub struct OverviewPage {
    pub page: Page,
    pub figures: Figures,
    pub waiting: Vec<ReleaseRow>,
}

/// The live part of `/vendor`.
#[derive(Template)]
#[template(path = "release/overview_live.html")]
pub struct OverviewFragment {
    pub page: Page,
    pub figures: Figures,
    pub waiting: Vec<ReleaseRow>,
}

/// `/vendor/apps`.
#[derive(Template)]
#[template(path = "release/apps.html")]
pub struct AppsPage {
    pub page: Page,
    pub apps: Vec<AppRow>,
    pub next: Option<String>,
}

/// `/vendor/apps/new`.
#[derive(Template)]
#[template(path = "release/new.html")]
pub struct NewAppPage {
    pub page: Page,
    pub upload: UploadTarget,
}

/// `/vendor/apps/{slug}`.
#[derive(Template)]
#[template(path = "release/app.html")]
pub struct AppPage {
    pub page: Page,
    pub app: AppRow,
    pub vendor: String,
    pub releases: Vec<ReleaseRow>,
    pub next: Option<String>,
    pub upload: UploadTarget,
}

/// `/vendor/apps/{slug}/releases/{version}`.
#[derive(Template)]
#[template(path = "release/release.html")]
pub struct ReleasePage {
    pub page: Page,
    pub view: ReleaseView,
}

/// The live part of a release's page.
#[derive(Template)]
#[template(path = "release/live.html")]
pub struct ReleaseFragment {
    pub page: Page,
    pub view: ReleaseView,
}
