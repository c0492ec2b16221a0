//! /forgotten-password: asking for a link to choose a new password.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::passwords;
use crate::base::app::App;
use crate::base::error::Error;
use crate::http::extract::{Form, client_address};
use crate::http::page::{FormErrors, Page, PageResult, form_result, lang_of, see_other_with};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/forgotten-password", web::get().to(form)).route("/forgotten-password", web::post().to(ask));
}

async fn form(req: HttpRequest) -> PageResult {
    show(&req, String::new(), None)
}

fn show(req: &HttpRequest, email: String, error: Option<&Error>) -> PageResult {
    let page = Page::of(req, "forgotten-title").with_form();
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    page.clone().render_form(error, &ForgottenPasswordPage { page, email, errors })
}

#[derive(Deserialize)]
struct EmailForm {
    #[serde(default)]
    email: String,
}

/// The answer is the same for every address that looks like one.
async fn ask(req: HttpRequest, app: Data<App>, form: Form<EmailForm>) -> PageResult {
    let address = client_address(&req, &app.settings.server);
    match form_result(passwords::forgotten(&app, &form.0.email, &address, lang_of(&req)).await)? {
        Ok(()) => {
            let key = if app.settings.mail.is_on() { "forgotten-sent" } else { "forgotten-no-mail" };
            Ok(see_other_with("/forgotten-password", "info", key, &[]))
        }
        Err(e) => show(&req, form.0.email, Some(&e)),
    }
}

/// `/forgotten-password`.
#[derive(Template)]
#[template(path = "account/forgotten_password.html")]
pub struct ForgottenPasswordPage {
    pub page: Page,
    pub email: String,
    pub errors: FormErrors,
}
