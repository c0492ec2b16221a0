//! One release: check report, submission, channels.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::moderation;
use crate::release::lifecycle::DeprecationForm;
use crate::release::measuring::{Figures, Outcome};
use crate::release::model::{Channel, ReleaseState, address};
use crate::release::{lifecycle, measuring, model, service};
use crate::site::parts::chain::ChainLink;
use crate::site::parts::comparison::ComparisonView;
use crate::site::parts::release::MetricRow;
use crate::site::parts::report::{ReportView, reason};
use crate::site::parts::scores::ScoreView;
use crate::site::parts::trust::TrustView;
use crate::site::vendor::console;
use crate::site::vendor::console::ReleaseDetail;
use crate::trust::evidence::Evidence;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor/apps/{slug}/releases/{version}", web::get().to(release))
        .route("/vendor/apps/{slug}/releases/{version}/fragment", web::get().to(fragment))
        .route("/vendor/apps/{slug}/releases/{version}/submit", web::post().to(submit))
        .route("/vendor/apps/{slug}/releases/{version}/recheck", web::post().to(recheck))
        .route("/vendor/apps/{slug}/releases/{version}/measure", web::post().to(measure))
        .route("/vendor/apps/{slug}/releases/{version}/promote", web::post().to(promote))
        .route("/vendor/apps/{slug}/releases/{version}/deprecate", web::post().to(deprecate));
}

async fn view(req: &HttpRequest, app: &App, actor: &Actor, path: &(String, String)) -> Result<(Page, ReleaseDetail), Error> {
    let mut page = Page::of(req, "");
    let detail = console::release_detail(app, actor, page.locale(), &path.0, &path.1).await?;
    page.title = format!("{} {}", detail.release.manifest.title.get(page.lang), detail.release.version);
    Ok((page, detail))
}

#[derive(Deserialize)]
struct Against {
    #[serde(default)]
    against: Option<String>,
}

async fn release(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, query: Query<Against>) -> PageResult {
    let against = query.into_inner().against.filter(|version| !version.is_empty());
    show_release(&req, &app, &actor, &path, against, StatusCode::OK, DeprecationForm::default(), None).await
}

#[expect(clippy::too_many_arguments, reason = "what a page with a comparison and a form depends on")]
async fn show_release(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    path: &(String, String),
    against: Option<String>,
    status: StatusCode,
    form: DeprecationForm,
    error: Option<Error>,
) -> PageResult {
    let (page, detail) = view(req, app, actor, path).await?;
    let shown = console::comparison(app, actor, &detail, against).await?;
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    let comparison = shown.difference.as_ref().map(|(from, d)| ComparisonView::of(&page, from, &detail.release.version, d));
    let evidence = console::evidence(app, &detail).await?;
    let view = ReleaseView::of(&page, &detail, &evidence);
    let view = ReleasePage { view, comparison, others: shown.others, successors: shown.successors, form, errors, page: page.clone() };
    page.render_with(status, &view)
}

async fn fragment(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (page, detail) = view(&req, &app, &actor, &path).await?;
    let evidence = console::evidence(&app, &detail).await?;
    let view = ReleaseView::of(&page, &detail, &evidence);
    page.clone().render(&ReleaseFragment { page, view })
}

#[derive(Deserialize)]
struct Submission {
    #[serde(default)]
    channel: String,
}

async fn submit(app: Data<App>, actor: Actor, path: Path<(String, String)>, form: Form<Submission>) -> PageResult {
    let (id, channel) = console::own_release(&app, &actor, &path).await?;
    let channel = match form.0.channel.as_str() {
        "" => channel,
        word => word.parse().map_err(|_| Error::field("channel", "release-channel"))?,
    };
    moderation::submission::submit(&app, &actor, &id, channel).await?;
    Ok(see_other_with(&model::address(&path.0, &path.1), "success", "release-submitted", &[("version", &path.1)]))
}

async fn recheck(app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (id, _) = console::own_release(&app, &actor, &path).await?;
    service::recheck(&app, &actor, &id).await?;
    Ok(see_other_with(&model::address(&path.0, &path.1), "info", "release-rechecked", &[("version", &path.1)]))
}

async fn measure(app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (id, _) = console::own_release(&app, &actor, &path).await?;
    measuring::ask(&app, &actor, &id).await?;
    Ok(see_other_with(&model::address(&path.0, &path.1), "info", "release-measuring", &[("version", &path.1)]))
}

async fn promote(app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (id, _) = console::own_release(&app, &actor, &path).await?;
    lifecycle::promote(&app, &actor, &id).await?;
    Ok(see_other_with(&model::address(&path.0, &path.1), "success", "release-promoted", &[("version", &path.1)]))
}

async fn deprecate(
    req: HttpRequest,
    app: Data<App>,
    actor: Actor,
    path: Path<(String, String)>,
    form: Form<DeprecationForm>,
) -> PageResult {
    let (id, _) = console::own_release(&app, &actor, &path).await?;
    match form_result(lifecycle::deprecate(&app, &actor, &id, &form.0).await)? {
        Ok(()) => Ok(see_other_with(&model::address(&path.0, &path.1), "success", "release-now-deprecated", &[("version", &path.1)])),
        Err(e) => show_release(&req, &app, &actor, &path, None, StatusCode::UNPROCESSABLE_ENTITY, form.0, Some(e)).await,
    }
}

/// The values of a release's page.
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
    /// It can be measured again, and is not about to be.
    pub may_measure: bool,
    /// It is about to be measured again.
    pub measuring: bool,
    /// What came of it the last time, in words; empty where it never was.
    pub measured: String,
    pub may_promote: bool,
    /// The vendor's message on a deprecated version, and its successor.
    pub deprecation: Option<(String, Option<String>)>,
    /// The platform's reason, where the version is recalled, and the date.
    pub recalled: Option<(String, String)>,
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
            report: ReportView::of(
                page,
                &release.manifest,
                report.map(|(r, _)| r),
                &detail.scores,
                &detail.history,
                state == ReleaseState::Checking,
            ),
            scores: detail.scores.iter().map(|score| ScoreView::of(page, score)).collect(),
            metrics: release.manifest.card.metrics.iter().map(|metric| MetricRow::of(page, metric)).collect(),
            channel: release.channel,
            prerelease: !release.manifest.version.pre.is_empty(),
            may_promote: state == ReleaseState::Published && release.channel == Channel::Beta && release.manifest.version.pre.is_empty(),
            deprecation: release.deprecation.as_ref().map(|d| (d.message.get(page.lang).to_owned(), d.successor.clone())),
            recalled: release.recall.as_ref().map(|r| (r.reason.clone(), page.date(&r.at))),
            may_submit: matches!(state, ReleaseState::Ready | ReleaseState::ChangesRequested),
            may_recheck: state == ReleaseState::Failed,
            may_measure: measuring::is_measurable(state) && !detail.measuring,
            measuring: detail.measuring,
            measured: detail.measured.as_ref().map(|outcome| measured(page, outcome)).unwrap_or_default(),
            decision: detail
                .decision
                .as_ref()
                .map(|d| (d.state.clone(), d.reason.clone(), d.decided_at.map(|at| page.datetime(&at)).unwrap_or_default())),
        }
    }
}

/// What came of measuring a release again, in words.
fn measured(page: &Page, outcome: &Outcome) -> String {
    let at = page.datetime(&outcome.at);
    match outcome.figures {
        Figures::Shown => page.t1("release-measured", "at", at),
        Figures::Uncertain => page.t1("release-measured-uncertain", "at", at),
        Figures::None => {
            let why = outcome.reason.as_deref().map(|code| reason(page, code)).unwrap_or_default();
            page.t2("release-measured-not", "at", at, "reason", why)
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
        S::Published | S::Deprecated | S::Recalled => 5,
    }
}

/// `/vendor/apps/{slug}/releases/{version}`.
#[derive(Template)]
#[template(path = "vendor/release.html")]
pub struct ReleasePage {
    pub page: Page,
    pub view: ReleaseView,
    /// Differences from another version.
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
#[template(path = "vendor/release_live.html")]
pub struct ReleaseFragment {
    pub page: Page,
    pub view: ReleaseView,
}
