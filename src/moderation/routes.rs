//! Routes of moderation.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use serde::Deserialize;

use super::model::{CaseState, Decision};
use super::service;
use super::views::{CasePage, CaseRow, CaseView, OverviewPage, QueuePage};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::{Error, Kind};
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::paging;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin", web::get().to(overview))
        .route("/admin/queue", web::get().to(queue))
        .route("/admin/cases/{id}", web::get().to(case))
        .route("/admin/cases/{id}", web::post().to(decide));
}

async fn overview(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let overview = service::overview(&app, &actor).await?;
    let page = Page::of(&req, "admin-title");
    page.clone().render(&OverviewPage::of(page, &overview))
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
    let (previous, next) = paging(&mut lines, service::PAGE, path, key, at.as_deref(), |l| l.0.id.clone());
    let page = Page::of(&req, "queue-title");
    let rows = lines.iter().map(|line| CaseRow::of(&page, line)).collect();
    let open = page.count(&open);
    page.clone().render(&QueuePage { page, decided, open, rows, previous, next })
}

async fn case(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    show_case(&req, &app, &actor, id.into_inner(), String::new(), None).await
}

async fn show_case(req: &HttpRequest, app: &App, actor: &Actor, id: String, reason: String, error: Option<Error>) -> PageResult {
    let mut page = Page::of(req, "case-title");
    let detail = service::detail(app, actor, page.locale(), id).await?;
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
    // Before what was typed is looked at.
    policy::require(&actor, Action::DecideCases)?;
    let Ok(decision) = form.decision.parse::<Decision>() else {
        return show_case(&req, &app, &actor, id, form.reason, Some(Error::field("decision", "choose-one"))).await;
    };
    match form_result(service::decide(&app, &actor, &id, decision, &form.reason).await)? {
        Ok(()) => Ok(see_other_with("/admin/queue", "success", &format!("case-done-{decision}"), &[])),
        Err(error) => show_case(&req, &app, &actor, id, form.reason, Some(error)).await,
    }
}
