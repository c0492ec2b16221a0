//! /account/messages: what the person was told.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::catalog::follows;
use crate::http::page::{Page, PageResult};
use crate::http::paging::{Before, paging};
use crate::notice::model::Message;
use crate::notice::service;
use crate::site::parts::scenario::ScenarioLine;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account/messages", web::get().to(messages));
}

async fn messages(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut messages = service::inbox(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut messages, service::PAGE, "/account/messages", "before", query.before.as_deref(), |m| m.id.clone());
    let page = Page::of(&req, "messages-title");
    let followed = follows::list(&app, &actor).await?;
    let followed = followed.iter().map(|scenario| ScenarioLine { followed: true, ..ScenarioLine::of(&page, scenario, 0, &[]) }).collect();
    page.clone().render(&MessagesPage { page, messages, followed, previous, next })
}

/// `/account/messages`.
#[derive(Template)]
#[template(path = "account/messages.html")]
pub struct MessagesPage {
    pub page: Page,
    pub messages: Vec<Message>,
    /// Scenarios of whose first app the person will be told.
    pub followed: Vec<ScenarioLine>,
    pub previous: Option<String>,
    pub next: Option<String>,
}
