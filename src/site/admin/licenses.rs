//! /admin/licenses: all licences; suspending, reinstating, ending them.

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
use crate::http::paging::{Before, paging};
use crate::license::model::LicenseDecision;
use crate::license::service;
use crate::site::parts::chain::ChainLink;
use crate::site::parts::license::{LicenseFacts, LicenseRow, read};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/licenses/{id}/{decision}", web::post().to(decide))
        .route("/admin/licenses", web::get().to(admin_list))
        .route("/admin/licenses/{id}", web::get().to(admin_detail));
}

async fn admin_list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list_all(&app, &actor, query.before.clone()).await?;
    let (previous, next) =
        paging(&mut lines, service::PAGE, "/admin/licenses", "before", query.before.as_deref(), |l| l.license.id.clone());
    let page = Page::of(&req, "license-admin-title");
    let rows = lines.iter().map(|l| LicenseRow::of(&page, l, "/admin/licenses", app.clock.now())).collect();
    page.clone().render(&AdminListPage { page, rows, previous, next })
}

async fn admin_detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    admin_page(&req, &app, &actor, id.into_inner(), String::new(), None).await
}

async fn admin_page(req: &HttpRequest, app: &App, actor: &Actor, id: String, reason: String, error: Option<Error>) -> PageResult {
    let page = Page::of(req, "license-title");
    let view = read(app, actor.clone(), page.locale(), id, service::detail_any_in).await?;
    let facts = LicenseFacts::of(&page, &view, app.clock.now());
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map(|e| FormErrors::of(&page, &e)).unwrap_or_default();
    page.clone().render_with(status, &AdminDetailPage { page, facts, links: view.links, reason, errors })
}

#[derive(Debug, Deserialize)]
struct Reason {
    #[serde(default)]
    pub reason: String,
}

async fn decide(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, form: Form<Reason>) -> PageResult {
    let (id, word) = path.into_inner();
    let decision: LicenseDecision = word.parse().map_err(|_| Error::not_found("page"))?;
    match form_result(service::decide(&app, &actor, id.clone(), decision, &form.0.reason).await)? {
        Ok(()) => Ok(see_other_with(&format!("/admin/licenses/{id}"), "success", &format!("license-done-{decision}"), &[])),
        Err(error) => admin_page(&req, &app, &actor, id, form.0.reason, Some(error)).await,
    }
}

/// `/admin/licenses`.
#[derive(Template)]
#[template(path = "admin/licenses.html")]
pub struct AdminListPage {
    pub page: Page,
    pub rows: Vec<LicenseRow>,
    /// Address of the page with newer rows.
    pub previous: Option<String>,
    /// Address of the page with older rows.
    pub next: Option<String>,
}

/// `/admin/licenses/{id}`.
#[derive(Template)]
#[template(path = "admin/license.html")]
pub struct AdminDetailPage {
    pub page: Page,
    pub facts: LicenseFacts,
    /// The chain line.
    pub links: Vec<ChainLink>,
    /// Reason as typed.
    pub reason: String,
    pub errors: FormErrors,
}
