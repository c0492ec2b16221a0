//! /vendor/apps/new: uploading a release in a browser.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::json;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::draft;
use crate::http::api::ApiResult;
use crate::http::extract::ApiJson;
use crate::http::page::{Page, PageResult};
use crate::release::upload::{INBOX, Upload, check_upload, finish_upload};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor/apps/new", web::get().to(new_app))
        .route("/vendor/upload/target", web::get().to(target))
        .route("/vendor/upload/check", web::post().to(check))
        .route("/vendor/upload/finish", web::post().to(finish));
}

async fn new_app(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let person = policy::require(&actor, Action::PublishApps)?;
    let page = Page::of(&req, "vendor-new-title");
    let upload = UploadTarget::new(format!("{}/{INBOX}", person.organization_slug), None);
    let drafts = draft::service::list(&app, &actor).await?;
    let drafts = drafts.into_iter().map(|(id, name, since)| (format!("/vendor/drafts/{id}"), name, page.datetime(&since))).collect();
    page.clone().render(&NewAppPage { page, upload, drafts, server: app.settings.server.public_url.clone() })
}

/// `{"vendor"}`: the slug under which the caller publishes, for `pithead push`.
async fn target(actor: Actor) -> ApiResult {
    let person = policy::require(&actor, Action::PublishApps)?;
    Ok(HttpResponse::Ok().json(json!({"vendor": person.organization_slug})))
}

#[derive(Deserialize)]
struct Only {
    app: Option<String>,
}

async fn check(app: Data<App>, actor: Actor, only: Query<Only>, upload: ApiJson<Upload>) -> ApiResult {
    let checked = check_upload(&app, &actor, upload.0, only.into_inner().app).await?;
    let mut answer = if checked.faults.is_empty() { HttpResponse::Ok() } else { HttpResponse::UnprocessableEntity() };
    Ok(answer.json(checked))
}

async fn finish(app: Data<App>, actor: Actor, only: Query<Only>, upload: ApiJson<Upload>) -> ApiResult {
    Ok(match finish_upload(&app, &actor, upload.0, only.into_inner().app).await? {
        Ok(location) => HttpResponse::Ok().json(json!({"location": location})),
        Err(faults) => HttpResponse::UnprocessableEntity().json(json!({"faults": faults})),
    })
}

/// Values of `parts/upload.html`.
pub struct UploadTarget {
    pub repo: String,
    pub check_url: String,
    pub finish_url: String,
    /// Whether a bare model may be dropped, which begins a draft.
    pub drafts: bool,
}

impl UploadTarget {
    /// An upload into a repository; `only` names the app on whose page the form is.
    pub fn new(repo: String, only: Option<&str>) -> Self {
        let query = only.map(|app| format!("?app={app}")).unwrap_or_default();
        Self {
            repo,
            check_url: format!("/vendor/upload/check{query}"),
            finish_url: format!("/vendor/upload/finish{query}"),
            drafts: only.is_none(),
        }
    }
}

/// `/vendor/apps/new`.
#[derive(Template)]
#[template(path = "vendor/app_new.html")]
pub struct NewAppPage {
    pub page: Page,
    pub upload: UploadTarget,
    /// Apps that were begun with a model: address, name, since when.
    pub drafts: Vec<(String, String, String)>,
    /// Address of this site, for the command line.
    pub server: String,
}
