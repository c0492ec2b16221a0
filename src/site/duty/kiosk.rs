//! /duty/kiosk: signs a screen in with a token that shows the wall and does nothing else, for as long as the token lasts.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::service as account;
use crate::base::app::App;
use crate::base::auth::{Actor, token};
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, see_other};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/duty/kiosk", web::get().to(form)).route("/duty/kiosk", web::post().to(enter));
}

/// Seconds that the browser keeps the token: as long as one can last.
const KEEP: i64 = 366 * 24 * 3600;

async fn form(req: HttpRequest) -> PageResult {
    shown(&req, None)
}

fn shown(req: &HttpRequest, error: Option<&Error>) -> PageResult {
    let page = Page::of(req, "duty-kiosk-title").with_form();
    let errors = error.map(|e| FormErrors::of(&page, e)).unwrap_or_default();
    page.clone().render_form(error, &KioskPage { page, errors })
}

#[derive(Deserialize)]
struct KioskForm {
    #[serde(default)]
    token: String,
}

async fn enter(req: HttpRequest, app: Data<App>, form: Form<KioskForm>) -> PageResult {
    let text = form.0.token.trim();
    let actor = if text.starts_with(token::PREFIX) { account::authenticate_screen(&app, text).await? } else { Actor::Anonymous };
    if matches!(actor, Actor::Anonymous) {
        return shown(&req, Some(&Error::field("token", "kiosk-token")));
    }
    let mut response = see_other("/duty/wall");
    let cookie = cookies::private(cookies::SESSION, text.to_owned(), KEEP);
    response.add_cookie(&cookie).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    Ok(response)
}

/// `/duty/kiosk`.
#[derive(Template)]
#[template(path = "duty/kiosk.html")]
pub struct KioskPage {
    pub page: Page,
    pub errors: FormErrors,
}
