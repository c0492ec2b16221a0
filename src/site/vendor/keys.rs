//! /vendor/keys: signing keys.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::http::api::ApiResult;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::trust::model::VendorKey;
use crate::trust::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendors/{slug}/keys.json", web::get().to(key_set))
        .route("/vendor/keys", web::get().to(keys))
        .route("/vendor/keys", web::post().to(add))
        .route("/vendor/keys/revoke", web::post().to(revoke));
}

/// A key as listed.
pub struct KeyRow {
    pub id: String,
    pub name: String,
    pub kid: String,
    pub created: String,
    /// When it was revoked, if it was.
    pub revoked: Option<String>,
}

impl KeyRow {
    pub fn of(page: &Page, key: &VendorKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            kid: key.kid.clone(),
            created: page.date(&key.created_at),
            revoked: key.revoked_at.map(|at| page.date(&at)),
        }
    }
}

/// `/vendor/keys`.
#[derive(Template)]
#[template(path = "vendor/keys.html")]
pub struct KeysPage {
    pub page: Page,
    pub keys: Vec<KeyRow>,
    /// Public address of the vendor's key set.
    pub address: String,
    pub name: String,
    pub public_key: String,
    pub errors: FormErrors,
}

/// The keys in use of a vendor, as a JWK set, for everyone.
async fn key_set(app: Data<App>, slug: Path<String>) -> ApiResult {
    let set = service::public_set(&app, slug.into_inner()).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, format!("public, max-age={KEEP_KEYS}"))).json(set.to_jwks()))
}

#[derive(Default, Deserialize)]
struct KeyForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    public_key: String,
}

async fn keys(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    show(&req, &app, &actor, KeyForm::default(), None).await
}

async fn show(req: &HttpRequest, app: &App, actor: &Actor, form: KeyForm, error: Option<Error>) -> PageResult {
    let found = service::list(app, actor).await?;
    let page = Page::of(req, "keys-title");
    let keys = found.iter().map(|key| KeyRow::of(&page, key)).collect();
    let address = format!("{}/vendors/{}/keys.json", app.settings.server.public_url, actor.person()?.organization_slug);
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    let KeyForm { name, public_key } = form;
    // Do not send back a private key that was pasted by mistake.
    let public_key = if public_key.contains("PRIVATE") || public_key.contains("\"d\"") { String::new() } else { public_key };
    page.clone().render_with(status, &KeysPage { page, keys, address, name, public_key, errors })
}

async fn add(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<KeyForm>) -> PageResult {
    match form_result(service::add(&app, &actor, &form.0.name, &form.0.public_key).await)? {
        Ok(_) => Ok(see_other_with("/vendor/keys", "success", "keys-added", &[("name", form.0.name.trim())])),
        Err(e) => show(&req, &app, &actor, form.0, Some(e)).await,
    }
}

#[derive(Deserialize)]
struct IdForm {
    pub id: String,
}

async fn revoke(app: Data<App>, actor: Actor, form: Form<IdForm>) -> PageResult {
    service::revoke(&app, &actor, form.0.id).await?;
    Ok(see_other_with("/vendor/keys", "success", "keys-revoked", &[]))
}

/// Seconds for which caches may keep a vendor's key set: a revoked key is gone from all of them afterwards.
const KEEP_KEYS: u32 = 60;
