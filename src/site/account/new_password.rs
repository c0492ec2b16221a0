//! /new-password: choosing a new password by a one-time link.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use super::link_cookie::{self, Secret};
use crate::account::model::LinkPurpose;
use crate::account::{links, passwords};
use crate::base::app::App;
use crate::base::error::Error;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, lang_of, see_other_with, status_of};

const PURPOSE: LinkPurpose = LinkPurpose::ResetPassword;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/new-password", web::get().to(form)).route("/new-password", web::post().to(choose));
}

async fn form(req: HttpRequest, app: Data<App>, query: Query<Secret>) -> PageResult {
    if let Some(secret) = &query.secret {
        return Ok(link_cookie::keep("/new-password", PURPOSE, secret)?);
    }
    let email = links::address_of(&app, PURPOSE, &link_cookie::read(&req, PURPOSE)?).await?;
    show(&req, email, StatusCode::OK, None)
}

fn show(req: &HttpRequest, email: String, status: StatusCode, error: Option<&Error>) -> PageResult {
    let page = Page::of(req, "new-password-title").with_form();
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    page.clone().render_with(status, &NewPasswordPage { page, email, errors })
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    password: String,
}

async fn choose(req: HttpRequest, app: Data<App>, form: Form<PasswordForm>) -> PageResult {
    let secret = link_cookie::read(&req, PURPOSE)?;
    match form_result(passwords::reset(&app, &secret, form.0.password, lang_of(&req)).await)? {
        Ok(()) => Ok(link_cookie::used(see_other_with("/sign-in", "success", "new-password-done", &[]))?),
        Err(e) if e.code == "link-over" => Err(e.into()),
        Err(e) => {
            let email = links::address_of(&app, PURPOSE, &secret).await?;
            show(&req, email, status_of(e.kind), Some(&e))
        }
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
