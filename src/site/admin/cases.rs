//! /admin/queue and /admin/cases: the cases that wait for a moderator, and one case.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::error::{Error, Kind, Result};
use crate::base::i18n::Lang;
use crate::http::extract::Form;
use crate::http::page::{Ago, FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::paging;
use crate::moderation::model::{CaseLine, CaseState, ModerationDecision};
use crate::moderation::service::{self, CaseDetail};
use crate::release::difference::{Flag, share_right};
use crate::release::model::{Channel, Release};
use crate::site::parts::card::{alarm_level, alarm_text, required_zones};
use crate::site::parts::chain::ChainLink;
use crate::site::parts::comparison::ComparisonView;
use crate::site::parts::listing::{Listing, read_listing};
use crate::site::parts::pipeline::StepRow;
use crate::site::parts::release::MetricRow;
use crate::site::parts::report::ReportView;
use crate::site::parts::scores::{self, ScoreView, own_share};
use crate::site::parts::trust::TrustView;
use crate::trust::evidence::Evidence;
use crate::{evaluation, release, trust};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/queue", web::get().to(queue))
        .route("/admin/cases/{id}", web::get().to(case))
        .route("/admin/cases/{id}", web::post().to(decide));
}

/// The content of a case's page.
#[derive(Debug)]
pub struct CasePageDetail {
    pub detail: CaseDetail,
    /// The release as a buyer would see it: texts, pictures, check report, chain.
    pub listing: Listing,
    /// Signatures and documents attached to the release.
    pub evidence: Evidence,
}

/// One case.
///
/// # Errors
/// `case`: there is none.
pub async fn detail(app: &App, actor: &Actor, lang: Lang, case_id: String) -> Result<CasePageDetail> {
    let reader = actor.clone();
    let detail = app.db.read(move |conn| service::detail_in(conn, &reader, &case_id)).await?;
    let CaseLine { case, app: slug, vendor, .. } = &detail.line;
    let listing = read_listing(app, actor, lang, vendor.slug.clone(), slug.slug.clone(), Some(case.release_id.clone())).await?;
    let evidence = trust::evidence::of_release(app, &listing.subject()).await?;
    Ok(CasePageDetail { detail, listing, evidence })
}

/// A case in a list.
pub struct CaseRow {
    pub href: String,
    pub app: String,
    pub version: String,
    pub vendor: String,
    pub state: CaseState,
    pub opened: String,
    pub waits: Ago,
    pub decided: String,
    pub reason: String,
    /// Why a moderator should look twice.
    pub flags: Vec<Flag>,
    /// How right it is; empty where nothing can say so.
    pub accuracy: String,
}

/// How right each of some releases is, in words, by release.
async fn accuracies(app: &App, page: &Page, lines: &[CaseLine]) -> Result<HashMap<String, String>> {
    let ids: Vec<String> = lines.iter().map(|line| line.case.release_id.clone()).collect();
    let (releases, reports, sets) = app
        .db
        .read(move |conn| {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let releases = release::service::get_all(conn, &ids)?;
            Ok((releases, release::service::check_reports(conn, &ids)?, evaluation::service::outcomes_of(conn, &ids)?))
        })
        .await?;
    let on_platform = |id: &str| {
        sets.iter().find_map(|of| {
            let value = of.scores.iter().find(|score| score.release_id == *id)?.value?;
            Some(format!("{} {}", page.tk("evaluation-metric-", of.set.metric), scores::figure(of.set.metric, value, &of.set.unit)))
        })
    };
    let own = |release: &Release| {
        let card = reports.get(&release.id)?.run_card.as_ref()?;
        Some(own_share(page, &release.manifest, share_right(&release.manifest, card)?))
    };
    let told = |release: &Release| Some((release.id.clone(), on_platform(&release.id).or_else(|| own(release))?));
    Ok(releases.iter().filter_map(told).collect())
}

impl CaseRow {
    pub fn of(page: &Page, CaseLine { case, version, app, vendor }: &CaseLine, accuracy: Option<&String>) -> Self {
        Self {
            href: format!("/admin/cases/{}", case.id),
            app: page.name(&app.name).to_owned(),
            version: version.clone(),
            vendor: page.name(&vendor.name).to_owned(),
            state: case.state,
            opened: page.datetime(&case.opened_at),
            waits: page.ago(&case.opened_at),
            decided: case.decided_at.map(|at| page.datetime(&at)).unwrap_or_default(),
            reason: case.reason.clone(),
            flags: (*case.flags).clone(),
            accuracy: accuracy.cloned().unwrap_or_default(),
        }
    }
}

/// `/admin/queue`.
#[derive(Template)]
#[template(path = "admin/queue.html")]
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

/// The values on a case's page.
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
    pub waits: Ago,
    pub preview: String,
    /// Page of the release for those who may recall it.
    pub release_href: String,
    pub pictures: Vec<(String, String)>,
    pub alarms: Vec<(&'static str, String)>,
    /// What the app does with an input.
    pub steps: Vec<StepRow>,
    /// Titles of the zones that it does not work without.
    pub zones: String,
    pub report: ReportView,
    /// Differences from the version before.
    pub comparison: Option<ComparisonView>,
    pub channel: Channel,
    pub scores: Vec<ScoreView>,
    pub metrics: Vec<MetricRow>,
    pub training: String,
    pub limits: String,
    pub versions: Vec<(String, String, String)>,
    pub decisions: Vec<DecisionRow>,
    pub chain: Vec<ChainLink>,
    /// Time, moderator and reason of the decision, once there is one.
    pub decided: Option<(String, String, String)>,
    pub own: bool,
    pub trust: TrustView,
}

impl CaseView {
    /// In the page's language; titles also in the other one.
    pub fn of(page: &Page, CasePageDetail { detail, listing, evidence }: &CasePageDetail) -> Self {
        let CaseLine { case, app, vendor, .. } = &detail.line;
        let manifest = &listing.release.manifest;
        let (vendor_slug, slug) = (&vendor.slug, &app.slug);
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
            vendor: page.pick(&listing.vendor.name_zh, &listing.vendor.name_en).to_owned(),
            vendor_href: format!("/vendors/{vendor_slug}"),
            version: listing.release.version.clone(),
            specialty: page.name(&listing.specialty).to_owned(),
            scenario: page.name(&listing.scenario).to_owned(),
            input: page.tk("input-", manifest.input.as_str()),
            safety: manifest.safety,
            license: manifest.license.clone(),
            digest: listing.release.digest.clone(),
            size: page.bytes(&listing.release.size_bytes),
            opened: page.datetime(&case.opened_at),
            opened_by: detail.opened_by.clone(),
            waits: page.ago(&case.opened_at),
            preview: format!("/apps/{vendor_slug}/{slug}?preview={}", case.release_id),
            release_href: format!("/admin/releases/{}", case.release_id),
            pictures: listing
                .gallery
                .iter()
                .map(|(digest, alt)| (format!("/media/{vendor_slug}/{slug}/{digest}"), alt.get(page.lang).to_owned()))
                .collect(),
            alarms: manifest
                .alarms()
                .iter()
                .map(|rule| (alarm_level(rule.level), alarm_text(page, manifest, rule.text.get(page.lang))))
                .collect(),
            steps: StepRow::all(page, manifest),
            zones: required_zones(page, manifest),
            report: ReportView::of(page, manifest, listing.report.as_ref(), &listing.scores, &listing.history, false),
            comparison: listing.previous.as_ref().map(|(from, d)| ComparisonView::of(page, from, &listing.release.version, d)),
            channel: listing.release.channel,
            scores: listing.scores.iter().map(|score| ScoreView::of(page, score)).collect(),
            metrics: manifest.card.metrics.iter().map(|metric| MetricRow::of(page, metric)).collect(),
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
            trust: TrustView::of(page, &format!("{vendor_slug}/{slug}"), true, evidence),
        }
    }

    /// Whether a step is the developer's own code.
    pub fn has_own_code(&self) -> bool {
        self.steps.iter().any(|step| step.own)
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
#[template(path = "admin/case.html")]
pub struct CasePage {
    pub page: Page,
    pub case: CaseView,
    /// Whether the decision form is shown: the case is open and the reader may decide it.
    pub may_decide: bool,
    /// Reason as typed.
    pub reason: String,
    pub errors: FormErrors,
}

#[derive(Deserialize)]
struct QueueQuery {
    #[serde(default)]
    state: String,
    after: Option<String>,
    before: Option<String>,
}

async fn queue(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<QueueQuery>) -> PageResult {
    let QueueQuery { state, after, before } = query.into_inner();
    let decided = state == "decided";
    let (open, mut lines) = if decided {
        service::list_decided(&app, &actor, before.clone()).await?
    } else {
        service::list_open(&app, &actor, after.clone()).await?
    };
    let (path, key, at) = if decided { ("/admin/queue?state=decided", "before", before) } else { ("/admin/queue", "after", after) };
    let (previous, next) = paging(&mut lines, service::PAGE, path, key, at.as_deref(), |l| l.case.id.clone());
    let page = Page::of(&req, "queue-title");
    let accuracies = accuracies(&app, &page, &lines).await?;
    let rows = lines.iter().map(|line| CaseRow::of(&page, line, accuracies.get(&line.case.release_id))).collect();
    let open = page.count(&open);
    page.clone().render(&QueuePage { page, decided, open, rows, previous, next })
}

async fn case(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    show_case(&req, &app, &actor, id.into_inner(), String::new(), None).await
}

async fn show_case(req: &HttpRequest, app: &App, actor: &Actor, id: String, reason: String, error: Option<Error>) -> PageResult {
    let mut page = Page::of(req, "case-title");
    let detail = detail(app, actor, page.locale(), id).await?;
    let case = CaseView::of(&page, &detail);
    let error = error.map(|e| if case.state == CaseState::Open { e } else { Error::conflict("case-decided") });
    let may_decide = case.state == CaseState::Open && !case.own && policy::require(actor, Action::DecideCases).is_ok();
    let status = match &error {
        Some(e) if e.kind == Kind::Conflict => StatusCode::CONFLICT,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    page.title = format!("{} {}", case.title, case.version);
    page.clone().render_with(status, &CasePage { page, case, may_decide, reason, errors })
}

#[derive(Deserialize)]
struct DecisionForm {
    #[serde(default)]
    decision: String,
    #[serde(default)]
    reason: String,
}

async fn decide(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, form: Form<DecisionForm>) -> PageResult {
    let (id, form) = (id.into_inner(), form.0);
    // Check the right before the form's values.
    policy::require(&actor, Action::DecideCases)?;
    let Ok(decision) = form.decision.parse::<ModerationDecision>() else {
        return show_case(&req, &app, &actor, id, form.reason, Some(Error::field("decision", "choose-one"))).await;
    };
    match form_result(service::decide(&app, &actor, &id, decision, &form.reason).await)? {
        Ok(()) => Ok(see_other_with("/admin/queue", "success", &format!("case-done-{decision}"), &[])),
        Err(error) => show_case(&req, &app, &actor, id, form.reason, Some(error)).await,
    }
}
