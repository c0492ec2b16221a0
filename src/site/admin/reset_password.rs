//! /admin/people/{id}/reset-password: a link to choose a new password, for somebody who gets no mail; and confirming their address.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::{addresses, passwords};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::extract::Form;
use crate::http::page::{Page, PageResult, see_other_with};
use crate::site::parts::once;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/people/{id}/reset-password", web::get().to(form))
        .route("/admin/people/{id}/reset-password", web::post().to(issue))
        .route("/admin/people/{id}/confirm-address", web::post().to(confirm_address));
}

/// What the cookie with the fresh secret is called: a link is shown on the page of its person only.
fn what(id: &str) -> String {
    format!("reset-{id}")
}

async fn form(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let (name, email) = passwords::whose(&app, &actor, &id).await?;
    let link = once::read(&req, &what(&id), &actor).map(|secret| passwords::link(&app, &secret));
    let page = Page::of(&req, "reset-title");
    let view = ResetPasswordPage { page: page.clone(), id: id.into_inner(), name, email, link };
    Ok(once::shown(page.render(&view)?, view.link.is_some())?)
}

async fn issue(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let secret = passwords::issue_reset(&app, &actor, &id).await?;
    Ok(once::see(&format!("/admin/people/{id}/reset-password"), &what(&id), &actor, &secret)?)
}

#[derive(Deserialize)]
struct AddressForm {
    email: String,
}

async fn confirm_address(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AddressForm>) -> PageResult {
    addresses::confirm(&app, &actor, &id, &form.0.email).await?;
    Ok(see_other_with(&format!("/admin/people/{id}"), "success", "confirm-address-done", &[("email", &form.0.email)]))
}

/// `/admin/people/{id}/reset-password`.
#[derive(Template)]
#[template(path = "admin/reset_password.html")]
pub struct ResetPasswordPage {
    pub page: Page,
    pub id: String,
    pub name: String,
    pub email: String,
    /// The link that was just made; shown once.
    pub link: Option<String>,
}
