//! Pages of the vendor console.

use askama::Template;

use super::console::{AppLine, Figures, ReleaseDetail, ReleaseLine};
use super::lifecycle::DeprecationForm;
use super::model::{Channel, ReleaseState, address};
use super::report::{ComparisonView, ReportView, figure};
use crate::evaluation::views::ScoreView;
use crate::http::page::{FormErrors, Page};
use crate::site::parts::chain::ChainLink;
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
    pub report: ReportView,
    pub scores: Vec<ScoreView>,
    pub metrics: Vec<MetricRow>,
    pub channel: Channel,
    /// A pre-release, which is never for everybody.
    pub prerelease: bool,
    pub may_submit: bool,
    pub may_recheck: bool,
    pub may_promote: bool,
    /// What the vendor says of a deprecated version: message and successor.
    pub deprecation: Option<(String, Option<String>)>,
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
            report: ReportView::of(page, &release.manifest, report.map(|(r, _)| r), state == ReleaseState::Checking),
            scores: detail.scores.iter().map(|score| ScoreView::of(page, score)).collect(),
            metrics: release.manifest.card.metrics.iter().map(metric).collect(),
            channel: release.channel,
            prerelease: !release.manifest.version.pre.is_empty(),
            may_promote: state == ReleaseState::Published && release.channel == Channel::Beta && release.manifest.version.pre.is_empty(),
            deprecation: release.deprecation.as_ref().map(|d| (d.message.get(page.lang).to_owned(), d.successor.clone())),
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
    pub offered: bool,
    pub upload: UploadTarget,
}

/// `/vendor/apps/{slug}/releases/{version}`.
#[derive(Template)]
#[template(path = "release/release.html")]
pub struct ReleasePage {
    pub page: Page,
    pub view: ReleaseView,
    /// What differs from another version.
    pub comparison: Option<ComparisonView>,
    /// Versions to compare with.
    pub others: Vec<String>,
    /// Versions that may be named as successor; none where the reader cannot deprecate this one.
    pub successors: Option<Vec<String>>,
    pub form: DeprecationForm,
    pub errors: FormErrors,
}

/// The live part of a release's page.
#[derive(Template)]
#[template(path = "release/live.html")]
pub struct ReleaseFragment {
    pub page: Page,
    pub view: ReleaseView,
}
