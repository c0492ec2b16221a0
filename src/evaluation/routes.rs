//! Routes of hidden test sets.

use actix_web::web::{self, Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::model::SetForm;
use super::service::{self, PAGE};
use super::views::{FaultView, NewSetPage, SetPage, SetRow, SetsPage};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::api::ApiResult;
use crate::http::page::{Page, PageResult, form_result, lang_of, see_other_with};
use crate::http::paging::paging;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/evaluation", web::get().to(list))
        .route("/admin/evaluation/new", web::get().to(new))
        .route("/admin/evaluation/new", web::post().to(create))
        .route("/admin/evaluation/{id}", web::get().to(detail))
        .route("/admin/evaluation/{id}/retire", web::post().to(retire))
        .route("/admin/evaluation/{id}/score", web::post().to(score));
}

#[derive(Debug, Deserialize)]
struct Before {
    before: Option<String>,
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

/// The body is the archive itself, taken to disk as it comes; what else is to be said stands in the query.
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
    let (previous, next) =
        paging(&mut detail.scores, PAGE, &path, "before", query.before.as_deref(), |(score, ..)| score.release_id.clone());
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
