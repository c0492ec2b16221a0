//! /account/messages: what the person was told.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::page::{Page, PageResult};
use crate::http::paging::{Before, paging};
use crate::notice::model::Message;
use crate::notice::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account/messages", web::get().to(messages));
}

async fn messages(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut messages = service::inbox(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut messages, service::PAGE, "/account/messages", "before", query.before.as_deref(), |m| m.id.clone());
    let page = Page::of(&req, "messages-title");
    page.clone().render(&MessagesPage { page, messages, previous, next })
}

/// `/account/messages`.
#[derive(Template)]
#[template(path = "account/messages.html")]
pub struct MessagesPage {
    pub page: Page,
    pub messages: Vec<Message>,
    pub previous: Option<String>,
    pub next: Option<String>,
}
