//! /admin/evaluation: hidden test sets and their scores.

use actix_web::web::{Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use inference::evaluate::archive::Fault;
use serde::Serialize;
use serde_json::json;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::i18n::Lang;
use crate::evaluation::model::{Metric, ScoreLine, SetForm, TestSet};
use crate::evaluation::service;
use crate::evaluation::service::{PAGE, ScenarioGroup, SetDetail, SetLine};
use crate::http::api::ApiResult;
use crate::http::page::{Page, PageResult, form_result, lang_of, see_other_with};
use crate::http::paging::{Before, paging};
use crate::site::parts::report::reason;
use crate::site::parts::scores::figure;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/evaluation", web::get().to(list))
        .route("/admin/evaluation/new", web::get().to(new))
        .route("/admin/evaluation/new", web::post().to(create))
        .route("/admin/evaluation/{id}", web::get().to(detail))
        .route("/admin/evaluation/{id}/retire", web::post().to(retire))
        .route("/admin/evaluation/{id}/score", web::post().to(score));
}

/// A set in a list.
pub struct SetRow {
    pub href: String,
    pub name: String,
    pub scenario: String,
    pub metric: String,
    pub samples: String,
    pub scored: String,
    pub state: &'static str,
    pub created: String,
}

fn state(set: &TestSet) -> &'static str {
    if set.retired_at.is_some() { "retired" } else { "active" }
}

impl SetRow {
    pub fn of(page: &Page, line: &SetLine) -> Self {
        let set = &line.set;
        Self {
            href: format!("/admin/evaluation/{}", set.id),
            name: page.pick(&set.name_zh, &set.name_en).to_owned(),
            scenario: page.name(&line.scenario).to_owned(),
            metric: page.tk("evaluation-metric-", set.metric),
            samples: page.count(&set.samples),
            scored: page.count(&line.scored),
            state: state(set),
            created: page.date(&set.created_at),
        }
    }
}

/// `/admin/evaluation`.
#[derive(Template)]
#[template(path = "admin/evaluation.html")]
pub struct SetsPage {
    pub page: Page,
    pub rows: Vec<SetRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// `/admin/evaluation/new`.
#[derive(Template)]
#[template(path = "admin/evaluation_new.html")]
pub struct NewSetPage {
    pub page: Page,
    /// Specialties with their scenarios (slug, name).
    pub groups: Vec<(String, Vec<(String, String)>)>,
    /// Words of the metrics to choose from.
    pub metrics: Vec<&'static str>,
}

impl NewSetPage {
    pub fn of(page: Page, choices: &[ScenarioGroup]) -> Self {
        let groups = choices
            .iter()
            .map(|ScenarioGroup { specialty, scenarios }| {
                let scenarios = scenarios.iter().map(|s| (s.slug.clone(), page.name(&s.name).to_owned())).collect();
                (page.name(specialty).to_owned(), scenarios)
            })
            .collect();
        Self { groups, metrics: Metric::ALL.iter().map(|metric| metric.as_str()).collect(), page }
    }
}

/// The outcome of one release, on the page of its set.
pub struct ScoreRow {
    pub app: String,
    pub href: String,
    pub version: String,
    pub vendor: String,
    pub value: String,
    pub reason: String,
    pub failures: String,
    pub ran_on: String,
    pub at: String,
}

impl ScoreRow {
    fn of(page: &Page, set: &TestSet, ScoreLine { score, version, app, vendor }: &ScoreLine) -> Self {
        Self {
            app: page.name(&app.name).to_owned(),
            href: format!("/apps/{}/{}?preview={}", vendor.slug, app.slug, score.release_id),
            version: version.clone(),
            vendor: page.name(&vendor.name).to_owned(),
            value: score.value.map(|value| figure(set.metric, value, &set.unit)).unwrap_or_default(),
            reason: score.reason.as_deref().map(|code| reason(page, code)).unwrap_or_default(),
            failures: page.count(&score.failures),
            ran_on: [score.engine.as_str(), score.hardware.as_str()].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" · "),
            at: page.datetime(&score.scored_at),
        }
    }
}

/// `/admin/evaluation/{id}`.
#[derive(Template)]
#[template(path = "admin/evaluation_set.html")]
pub struct SetPage {
    pub page: Page,
    pub id: String,
    pub set: SetRow,
    pub input: String,
    pub size: String,
    pub digest: String,
    pub created_by: String,
    pub retired: Option<String>,
    pub metric_text: String,
    pub confirm: String,
    pub rows: Vec<ScoreRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

impl SetPage {
    /// With the outcomes of one page.
    pub fn of(page: Page, detail: &SetDetail, previous: Option<String>, next: Option<String>) -> Self {
        let set = &detail.line.set;
        let row = SetRow::of(&page, &detail.line);
        Self {
            id: set.id.clone(),
            input: page.tk("input-", &set.input),
            size: page.bytes(&set.size_bytes),
            digest: set.digest.clone(),
            created_by: detail.created_by.clone(),
            retired: set.retired_at.map(|at| page.datetime(&at)),
            metric_text: page.tk("evaluation-metric-text-", set.metric),
            confirm: page.t2("evaluation-retire-confirm", "name", &row.name, "n", detail.line.scored),
            rows: detail.scores.iter().map(|line| ScoreRow::of(&page, set, line)).collect(),
            set: row,
            previous,
            next,
            page,
        }
    }
}

/// A fault of an archive for `js/evaluation.js`.
#[derive(Debug, Serialize)]
pub struct FaultView {
    /// Path in the archive, or place in its index.
    pub place: String,
    /// Stable word.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl FaultView {
    pub fn of(lang: Lang, fault: &Fault) -> Self {
        let message = lang.format(&format!("evaluation-fault-{}", fault.code), &[("detail", &fault.detail)]);
        Self { place: fault.place.clone(), code: fault.code, message }
    }
}

async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, PAGE, "/admin/evaluation", "before", query.before.as_deref(), |l| l.set.id.clone());
    let page = Page::of(&req, "evaluation-title");
    let rows = lines.iter().map(|line| SetRow::of(&page, line)).collect();
    page.clone().render(&SetsPage { page, rows, previous, next })
}

async fn new(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let choices = service::choices(&app, &actor).await?;
    let page = Page::of(&req, "evaluation-new-title");
    page.clone().render(&NewSetPage::of(page, &choices))
}

/// The body is the archive itself, streamed to disk; the form's other values are in the query.
async fn create(req: HttpRequest, app: Data<App>, actor: Actor, form: Query<SetForm>, body: Payload) -> ApiResult {
    Ok(match service::create(&app, &actor, &form, body).await? {
        Ok(id) => HttpResponse::Ok().json(json!({"location": format!("/admin/evaluation/{id}")})),
        Err(faults) => {
            let faults: Vec<FaultView> = faults.iter().map(|fault| FaultView::of(lang_of(&req), fault)).collect();
            HttpResponse::UnprocessableEntity().json(json!({"faults": faults}))
        }
    })
}

async fn detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, query: Query<Before>) -> PageResult {
    let id = id.into_inner();
    let mut detail = service::detail(&app, &actor, id.clone(), query.before.clone()).await?;
    let path = format!("/admin/evaluation/{id}");
    let (previous, next) = paging(&mut detail.scores, PAGE, &path, "before", query.before.as_deref(), |line| line.score.release_id.clone());
    let mut page = Page::of(&req, "");
    page.title = page.pick(&detail.line.set.name_zh, &detail.line.set.name_en).into();
    page.clone().render(&SetPage::of(page, &detail, previous, next))
}

async fn retire(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let back = format!("/admin/evaluation/{id}");
    Ok(match form_result(service::retire(&app, &actor, id.into_inner()).await)? {
        Ok(()) => see_other_with(&back, "success", "evaluation-retired", &[]),
        Err(_) => see_other_with(&back, "danger", "error-evaluation-set-retired", &[]),
    })
}

async fn score(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let back = format!("/admin/evaluation/{id}");
    Ok(match form_result(service::score_again(&app, &actor, id.into_inner()).await)? {
        Ok(()) => see_other_with(&back, "info", "evaluation-scoring", &[]),
        Err(_) => see_other_with(&back, "danger", "error-evaluation-set-retired", &[]),
    })
}
