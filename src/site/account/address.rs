//! /account/address: proving one's e-mail address, and changing it.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::addresses;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::extract::{Form, client_address};
use crate::http::page::{FormErrors, Page, PageResult, form_result, lang_of, see_other_with};
use crate::site::account::sign_in::browser;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account/address", web::get().to(form))
        .route("/account/address", web::post().to(change))
        .route("/account/address/proof", web::post().to(send_proof));
}

async fn form(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    show(&req, &app, &actor, String::new(), None)
}

fn show(req: &HttpRequest, app: &App, actor: &Actor, new: String, error: Option<&Error>) -> PageResult {
    let person = policy::require(actor, Action::ViewAccount)?;
    let page = Page::of(req, "address-title");
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    let view = AddressPage {
        email: person.email.clone(),
        verified: person.email_verified,
        by_mail: app.settings.mail.is_on(),
        new,
        errors,
        page: page.clone(),
    };
    page.render_form(error, &view)
}

#[derive(Deserialize)]
struct AddressForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    current_password: String,
}

async fn change(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<AddressForm>) -> PageResult {
    let (address, device) = (client_address(&req, &app.settings.server), cookies::read(&req, cookies::DEVICE));
    let from = browser(&req, &address, device.as_deref());
    let AddressForm { email, current_password } = form.0;
    match form_result(addresses::change(&app, &actor, &email, current_password, from, lang_of(&req)).await)? {
        Ok(true) => Ok(see_other_with("/account/address", "success", "address-changed", &[("email", &email)])),
        Ok(false) => Ok(see_other_with("/account/address", "info", "address-link-sent", &[("email", &email)])),
        Err(e) => {
            let e = if e.code == "email-taken" { Error::field("email", e.code) } else { e };
            show(&req, &app, &actor, email, Some(&e))
        }
    }
}

async fn send_proof(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    match form_result(addresses::send_proof(&app, &actor, lang_of(&req)).await)? {
        Ok(()) => {
            let email = actor.person()?.email.clone();
            let key = if app.settings.mail.is_on() { "address-link-sent" } else { "address-asked" };
            Ok(see_other_with("/account/address", "info", key, &[("email", &email)]))
        }
        Err(e) => show(&req, &app, &actor, String::new(), Some(&e)),
    }
}

/// `/account/address`.
#[derive(Template)]
#[template(path = "account/address.html")]
pub struct AddressPage {
    pub page: Page,
    pub email: String,
    pub verified: bool,
    /// Whether this server sends mail.
    pub by_mail: bool,
    /// New address as typed.
    pub new: String,
    pub errors: FormErrors,
}
