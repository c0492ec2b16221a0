//! /account/password: changing one's own password.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::passwords;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::extract::{Form, client_address};
use crate::http::page::{FormErrors, Page, PageResult, form_result, lang_of, see_other_with};
use crate::site::account::sign_in::browser;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account/password", web::get().to(form)).route("/account/password", web::post().to(change));
}

async fn form(req: HttpRequest, actor: Actor) -> PageResult {
    show(&req, &actor, None)
}

fn show(req: &HttpRequest, actor: &Actor, error: Option<&Error>) -> PageResult {
    let email = policy::require(actor, Action::ViewAccount)?.email.clone();
    let page = Page::of(req, "password-title");
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    page.clone().render_form(error, &PasswordPage { page, email, errors })
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    current_password: String,
    #[serde(default)]
    new_password: String,
}

async fn change(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<PasswordForm>) -> PageResult {
    let (address, device) = (client_address(&req, &app.settings.server), cookies::read(&req, cookies::DEVICE));
    let from = browser(&req, &address, device.as_deref());
    match form_result(passwords::change(&app, &actor, form.0.current_password, form.0.new_password, from, lang_of(&req)).await)? {
        Ok(n) => Ok(see_other_with("/account", "success", "password-changed", &[("n", &n.to_string())])),
        Err(e) => show(&req, &actor, Some(&e)),
    }
}

/// `/account/password`.
#[derive(Template)]
#[template(path = "account/password.html")]
pub struct PasswordPage {
    pub page: Page,
    /// For password managers.
    pub email: String,
    pub errors: FormErrors,
}
