//! /new-password: choosing a new password by a one-time link.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use super::link_cookie::{self, Secret};
use super::sign_in::{browser, console, not_in, with_session};
use crate::account::model::LinkPurpose;
use crate::account::{links, passwords, service};
use crate::base::app::App;
use crate::base::error::Error;
use crate::http::extract::{Form, client_address};
use crate::http::page::{FormErrors, Page, PageResult, form_result, lang_of, see_other_with};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/new-password", web::get().to(form)).route("/new-password", web::post().to(choose));
}

async fn form(req: HttpRequest, app: Data<App>, query: Query<Secret>) -> PageResult {
    if let Some(secret) = &query.secret {
        return Ok(link_cookie::keep(&req, secret)?);
    }
    let email = links::address_of(&app, LinkPurpose::RESETS, &link_cookie::read(&req)?).await?;
    show(&req, email, None)
}

fn show(req: &HttpRequest, email: String, error: Option<&Error>) -> PageResult {
    let page = Page::of(req, "new-password-title").with_form();
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    page.clone().render_form(error, &NewPasswordPage { page, email, errors })
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    password: String,
}

async fn choose(req: HttpRequest, app: Data<App>, form: Form<PasswordForm>) -> PageResult {
    let secret = link_cookie::read(&req)?;
    let email = links::address_of(&app, LinkPurpose::RESETS, &secret).await?;
    let address = client_address(&req, &app.settings.server);
    match form_result(passwords::reset(&app, &secret, form.0.password, browser(&req, &address, None), lang_of(&req)).await)? {
        Ok(Ok(signed_in)) => {
            let actor = service::authenticate_session(&app, &signed_in.session).await?;
            let target = actor.as_person().map_or("/", |person| console(person.kind));
            with_session(link_cookie::used(see_other_with(target, "success", "new-password-done", &[]))?, &app, signed_in)
        }
        Ok(Err(e)) => Ok(link_cookie::used(not_in(&req, email, String::new(), Some("new-password-not-in"), &e)?)?),
        Err(e) if e.code == "link-over" => Err(e.into()),
        Err(e) => show(&req, email, Some(&e)),
    }
}

/// `/new-password`.
#[derive(Template)]
#[template(path = "account/new_password.html")]
pub struct NewPasswordPage {
    pub page: Page,
    pub email: String,
    pub errors: FormErrors,
}
