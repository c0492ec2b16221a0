//! Routes of licences.

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::model::Decision;
use super::service;
use super::views::{AdminDetailPage, AdminListPage, DetailPage, Facts, ListPage, Row};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::paging;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/licenses", web::get().to(list))
        .route("/mine/licenses/{id}", web::get().to(detail))
        .route("/mine/licenses/{id}/file", web::get().to(file))
        .route("/mine/licenses/{id}/seats/{node}/release", web::post().to(release_seat))
        .route("/admin/licenses", web::get().to(admin_list))
        .route("/admin/licenses/{id}", web::get().to(admin_detail))
        .route("/admin/licenses/{id}/{decision}", web::post().to(decide));
}

/// Keyset of a list.
#[derive(Debug, Deserialize)]
pub struct Before {
    before: Option<String>,
}

async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::PAGE, "/mine/licenses", "before", query.before.as_deref(), |l| l.license.id.clone());
    let page = Page::of(&req, "license-list-title");
    let rows = lines.iter().map(|l| Row::of(&page, l, "/mine/licenses", app.clock.now())).collect();
    page.clone().render(&ListPage { page, rows, previous, next })
}

async fn detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let page = Page::of(&req, "license-title");
    let detail = service::detail(&app, &actor, page.locale(), id.into_inner()).await?;
    let facts = Facts::of(&page, &detail, app.clock.now());
    let may_deploy = policy::require(&actor, Action::Deploy).is_ok();
    page.clone().render(&DetailPage { page, facts, links: detail.chain, may_deploy })
}

async fn file(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let (name, token) = service::file(&app, &actor, id.into_inner()).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/jwt")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .body(token))
}

async fn release_seat(app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (id, node) = path.into_inner();
    let back = format!("/mine/licenses/{id}");
    match form_result(service::release_seat(&app, &actor, id, node).await)? {
        Ok(()) => Ok(see_other_with(&back, "success", "license-seat-freed", &[])),
        Err(_) => Ok(see_other_with(&back, "danger", "error-seat-in-use", &[])),
    }
}

async fn admin_list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list_all(&app, &actor, query.before.clone()).await?;
    let (previous, next) =
        paging(&mut lines, service::PAGE, "/admin/licenses", "before", query.before.as_deref(), |l| l.license.id.clone());
    let page = Page::of(&req, "license-admin-title");
    let rows = lines.iter().map(|l| Row::of(&page, l, "/admin/licenses", app.clock.now())).collect();
    page.clone().render(&AdminListPage { page, rows, previous, next })
}

async fn admin_detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    admin_page(&req, &app, &actor, id.into_inner(), String::new(), None).await
}

async fn admin_page(req: &HttpRequest, app: &App, actor: &Actor, id: String, reason: String, error: Option<Error>) -> PageResult {
    let page = Page::of(req, "license-title");
    let detail = service::detail_any(app, actor, page.locale(), id).await?;
    let facts = Facts::of(&page, &detail, app.clock.now());
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map(|e| FormErrors::of(&page, &e)).unwrap_or_default();
    page.clone().render_with(status, &AdminDetailPage { page, facts, links: detail.chain, reason, errors })
}

#[derive(Debug, Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

async fn decide(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, form: Form<Reason>) -> PageResult {
    let (id, word) = path.into_inner();
    let decision: Decision = word.parse().map_err(|_| Error::not_found("page"))?;
    match form_result(service::decide(&app, &actor, id.clone(), decision, &form.0.reason).await)? {
        Ok(()) => Ok(see_other_with(&format!("/admin/licenses/{id}"), "success", &format!("license-done-{decision}"), &[])),
        Err(error) => admin_page(&req, &app, &actor, id, form.0.reason, Some(error)).await,
    }
}
