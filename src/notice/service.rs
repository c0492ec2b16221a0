//! Reads of messages.

use super::model::{Message, MessageState};
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Result;

/// Messages on one page.
pub const PAGE: i64 = 50;

/// The person's messages before an id, newest first, one more than [`PAGE`]; without links to addresses that are not theirs. For a browser
/// session: a token is made for other work.
pub async fn inbox(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<Message>> {
    let (person, before) = (actor.person_themselves()?.clone(), before.unwrap_or_else(|| "~".into()));
    app.db.read(move |conn| Ok(store::list_of(conn, &person.user_id, &person.email, &before, PAGE + 1)?)).await
}

/// Messages of all people before an id, newest first, one more than [`PAGE`].
pub async fn list(app: &App, actor: &Actor, state: Option<MessageState>, before: Option<String>) -> Result<Vec<Message>> {
    policy::require(actor, Action::ViewMessages)?;
    let before = before.unwrap_or_else(|| "~".into());
    app.db.read(move |conn| Ok(store::list(conn, state, &before, PAGE + 1)?)).await
}
