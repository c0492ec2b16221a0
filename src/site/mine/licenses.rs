//! /mine/licenses: a mine’s licences and their seats.

use actix_web::http::header;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::fleet;
use crate::fleet::service::deployment;
use crate::http::page::{Page, PageResult, form_result, see_other_with};
use crate::http::paging::{Before, paging};
use crate::license::service;
use crate::site::mine::today::RecalledItem;
use crate::site::parts::chain::ChainLink;
use crate::site::parts::license::{LicenseFacts, LicenseRow, read};

/// Deployments of recalled versions that a licence's page lists.
const MAX_RECALLED: i64 = 50;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/licenses", web::get().to(list))
        .route("/mine/licenses/{id}", web::get().to(detail))
        .route("/mine/licenses/{id}/file", web::get().to(file))
        .route("/mine/licenses/{id}/seats/{node}/release", web::post().to(release_seat));
}

async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::PAGE, "/mine/licenses", "before", query.before.as_deref(), |l| l.license.id.clone());
    let page = Page::of(&req, "license-list-title");
    let rows = lines.iter().map(|l| LicenseRow::of(&page, l, "/mine/licenses", app.clock.now())).collect();
    page.clone().render(&ListPage { page, rows, previous, next })
}

async fn detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let page = Page::of(&req, "license-title");
    let may_deploy = policy::require(&actor, Action::Deploy).is_ok();
    let owner = policy::require(&actor, Action::ViewLicenses)?.organization_id.clone();
    let id = id.into_inner();
    let view = read(&app, actor, page.locale(), id.clone(), service::detail_in).await?;
    let recalled = app.db.read(move |conn| deployment::recalled(conn, &owner, Some(&id), MAX_RECALLED)).await?;
    let facts = LicenseFacts::of(&page, &view, app.clock.now());
    let recalled = recalled.iter().map(|line| RecalledItem::of(&page, line)).collect();
    page.clone().render(&DetailPage { page, facts, links: view.links, recalled, may_deploy })
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
    match form_result(fleet::service::release_seat(&app, &actor, id, node).await)? {
        Ok(()) => Ok(see_other_with(&back, "success", "license-seat-freed", &[])),
        Err(_) => Ok(see_other_with(&back, "danger", "error-seat-in-use", &[])),
    }
}

/// `/mine/licenses`.
#[derive(Template)]
#[template(path = "mine/licenses.html")]
pub struct ListPage {
    pub page: Page,
    pub rows: Vec<LicenseRow>,
    /// Address of the page with newer rows.
    pub previous: Option<String>,
    /// Address of the page with older rows.
    pub next: Option<String>,
}

/// `/mine/licenses/{id}`.
#[derive(Template)]
#[template(path = "mine/license.html")]
pub struct DetailPage {
    pub page: Page,
    pub facts: LicenseFacts,
    /// The chain line.
    pub links: Vec<ChainLink>,
    /// Deployments by the licence whose version the platform has recalled.
    pub recalled: Vec<RecalledItem>,
    /// Whether the reader may deploy and free seats.
    pub may_deploy: bool,
}
