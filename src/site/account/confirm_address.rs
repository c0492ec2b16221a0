//! /confirm-address: proving an address by a one-time link. The link only shows a button: mail servers open links to look at them.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use super::link_cookie::{self, Secret};
use crate::account::model::LinkPurpose;
use crate::account::{addresses, links};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::page::{Page, PageResult, lang_of, see_other_with};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/confirm-address", web::get().to(form)).route("/confirm-address", web::post().to(confirm));
}

async fn form(req: HttpRequest, app: Data<App>, query: Query<Secret>) -> PageResult {
    if let Some(secret) = &query.secret {
        return Ok(link_cookie::keep(&req, secret)?);
    }
    let email = links::address_of(&app, LinkPurpose::PROOFS, &link_cookie::read(&req)?).await?;
    let page = Page::of(&req, "confirm-address-title").with_form();
    page.clone().render(&ConfirmAddressPage { page, email })
}

async fn confirm(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let secret = link_cookie::read(&req)?;
    let email = addresses::prove(&app, &secret, lang_of(&req)).await?;
    let target = if actor.as_person().is_some() { "/account" } else { "/sign-in" };
    Ok(link_cookie::used(see_other_with(target, "success", "confirm-address-done", &[("email", &email)]))?)
}

/// `/confirm-address`.
#[derive(Template)]
#[template(path = "account/confirm_address.html")]
pub struct ConfirmAddressPage {
    pub page: Page,
    pub email: String,
}
