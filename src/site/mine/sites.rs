//! /mine/sites: the places where nodes stand, and what the mine wants of pictures of alarms.

use actix_web::http::StatusCode;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::model::AlarmPictures;
use crate::account::pictures;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::error::Error;
use crate::fleet::service;
use crate::fleet::service::node::SiteLine;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/sites", web::get().to(sites))
        .route("/mine/sites", web::post().to(create_site))
        .route("/mine/pictures", web::post().to(choose_pictures));
}

async fn sites(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    sites_page(&req, &app, &actor, String::new(), None).await
}

async fn sites_page(req: &HttpRequest, app: &App, actor: &Actor, name: String, error: Option<Error>) -> PageResult {
    let sites = service::node::list_sites(app, actor).await?;
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let pictures = app.db.read(move |conn| pictures::chosen(conn, &owner)).await?;
    let page = Page::of(req, "fleet-sites-title");
    let may_manage = policy::require(actor, Action::ManageNodes).is_ok();
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map(|e| FormErrors::of(&page, &e)).unwrap_or_default();
    page.clone().render_with(status, &SitesPage { page, sites, pictures, may_manage, name, errors })
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

#[derive(Debug, Deserialize)]
struct PicturesForm {
    #[serde(default)]
    pictures: String,
}

async fn choose_pictures(app: Data<App>, actor: Actor, form: Form<PicturesForm>) -> PageResult {
    policy::require(&actor, Action::ManageNodes)?;
    let wanted: AlarmPictures = form.0.pictures.parse().map_err(|_| Error::field("pictures", "choose-one"))?;
    pictures::choose(&app, &actor, wanted).await?;
    Ok(see_other_with("/mine/sites", "success", "fleet-pictures-chosen", &[]))
}

/// `/mine/sites`.
#[derive(Template)]
#[template(path = "mine/sites.html")]
pub struct SitesPage {
    pub page: Page,
    pub sites: Vec<SiteLine>,
    /// What the mine wants of pictures of alarms.
    pub pictures: AlarmPictures,
    /// Whether the reader may add sites and choose.
    pub may_manage: bool,
    /// Name as typed.
    pub name: String,
    pub errors: FormErrors,
}
