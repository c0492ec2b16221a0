//! /admin/messages: what people were told, and what could not be sent to them.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::notify::NoticeKind;
use crate::http::page::{Page, PageResult};
use crate::http::paging::paging;
use crate::notice::model::{Message, MessageState};
use crate::notice::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/messages", web::get().to(messages));
}

#[derive(Deserialize)]
struct Narrowed {
    #[serde(default)]
    state: String,
    before: Option<String>,
}

async fn messages(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Narrowed>) -> PageResult {
    let state = query.state.parse::<MessageState>().ok();
    let mut rows = service::list(&app, &actor, state, query.before.clone()).await?;
    let path = state.map_or_else(|| "/admin/messages".to_owned(), |state| format!("/admin/messages?state={state}"));
    let (previous, next) = paging(&mut rows, service::PAGE, &path, "before", query.before.as_deref(), |m| m.id.clone());
    let page = Page::of(&req, "messages-admin-title");
    let on = app.settings.mail.is_on();
    let rows = rows.into_iter().map(Row::of).collect();
    page.clone().render(&AdminMessagesPage { page, rows, state, on, previous, next })
}

/// One message as listed to administrators.
pub struct Row {
    pub message: Message,
    /// The person asked for a new password and got no mail: somebody has to help them.
    pub wants_password: bool,
    /// The person has an address to prove and got no mail.
    pub wants_proof: bool,
}

impl Row {
    fn of(message: Message) -> Self {
        let unsent = !matches!(message.state, MessageState::Sent | MessageState::Waiting);
        Self {
            wants_password: unsent && message.kind == NoticeKind::ResetPassword,
            wants_proof: unsent && message.kind == NoticeKind::ProveAddress,
            message,
        }
    }
}

/// `/admin/messages`.
#[derive(Template)]
#[template(path = "admin/messages.html")]
pub struct AdminMessagesPage {
    pub page: Page,
    pub rows: Vec<Row>,
    /// The state that is shown; none for all.
    pub state: Option<MessageState>,
    /// Whether this server sends mail.
    pub on: bool,
    pub previous: Option<String>,
    pub next: Option<String>,
}

impl AdminMessagesPage {
    /// States to choose from.
    pub fn states(&self) -> &'static [MessageState] {
        MessageState::ALL
    }

    /// Whether only messages of this state are shown.
    pub fn is_shown(&self, state: &MessageState) -> bool {
        self.state == Some(*state)
    }
}
