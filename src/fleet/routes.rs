//! Routes of the operator's console. Live parts have a fragment route of their own.

mod deploy;
mod node;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use serde::Deserialize;

use super::service;
use super::views::{SitesPage, Today, TodayFragment, TodayPage};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine", web::get().to(today))
        .route("/mine/fragment", web::get().to(today_fragment))
        .route("/mine/sites", web::get().to(sites))
        .route("/mine/sites", web::post().to(create_site))
        .configure(node::configure)
        .configure(deploy::configure);
}

async fn today(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let overview = service::overview(&app, &actor).await?;
    let page = Page::of(&req, "fleet-today-title");
    let today = Today::of(&page, &overview, app.clock.now());
    page.clone().render(&TodayPage { page, today })
}

async fn today_fragment(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let overview = service::overview(&app, &actor).await?;
    let page = Page::of(&req, "fleet-today-title");
    let today = Today::of(&page, &overview, app.clock.now());
    page.clone().render(&TodayFragment { page, today })
}

async fn sites(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    sites_page(&req, &app, &actor, String::new(), None).await
}

async fn sites_page(req: &HttpRequest, app: &App, actor: &Actor, name: String, error: Option<Error>) -> PageResult {
    let sites = service::node::list_sites(app, actor).await?;
    let page = Page::of(req, "fleet-sites-title");
    let may_manage = policy::require(actor, Action::ManageNodes).is_ok();
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map(|e| FormErrors::of(&page, &e)).unwrap_or_default();
    page.clone().render_with(status, &SitesPage { page, sites, may_manage, name, errors })
}

#[derive(Debug, Deserialize)]
struct SiteForm {
    #[serde(default)]
    name: String,
}

async fn create_site(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<SiteForm>) -> PageResult {
    match form_result(service::create_site(&app, &actor, &form.0.name).await)? {
        Ok(_) => Ok(see_other_with("/mine/sites", "success", "fleet-site-added", &[("name", form.0.name.trim())])),
        Err(error) => sites_page(&req, &app, &actor, form.0.name, Some(error)).await,
    }
}
