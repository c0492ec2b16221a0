//! Queries of messages.

use diesel::prelude::*;

use super::model::{Message, MessageState};
use crate::base::db::schema::messages;
use crate::base::db::{Conn, Timestamp};
use crate::base::notify::NoticeKind;

pub fn insert(conn: &mut Conn, message: &Message) -> QueryResult<usize> {
    diesel::insert_into(messages::table).values(message).execute(conn)
}

pub fn exists(conn: &mut Conn, id: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(messages::table.find(id))).get_result(conn)
}

/// A message that has yet to be sent.
pub fn find_waiting(conn: &mut Conn, id: &str) -> QueryResult<Option<Message>> {
    let waiting = messages::table.find(id).filter(messages::state.eq(MessageState::Waiting));
    waiting.select(Message::as_select()).first(conn).optional()
}

/// The mail server took it.
pub fn mark_sent(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(messages::table.find(id))
        .set((
            messages::state.eq(MessageState::Sent),
            messages::sent_at.eq(now),
            messages::mail.eq(None::<String>),
            messages::last_error.eq(None::<String>),
        ))
        .execute(conn)
}

/// It will not be sent; `error` says why, where that is not noted yet.
pub fn mark_failed(conn: &mut Conn, id: &str, error: Option<&str>) -> QueryResult<usize> {
    if let Some(error) = error {
        note_error(conn, id, error)?;
    }
    diesel::update(messages::table.find(id).filter(messages::state.eq(MessageState::Waiting)))
        .set((messages::state.eq(MessageState::Failed), messages::mail.eq(None::<String>)))
        .execute(conn)
}

pub fn note_error(conn: &mut Conn, id: &str, error: &str) -> QueryResult<usize> {
    diesel::update(messages::table.find(id)).set(messages::last_error.eq(error)).execute(conn)
}

/// A person's messages before an id, newest first. Links to prove an address are left out where that is not, or not yet, the person's
/// `address`: that one was sent would tell the person that nobody has an account of that address.
pub fn list_of(conn: &mut Conn, user_id: &str, address: &str, before: &str, limit: i64) -> QueryResult<Vec<Message>> {
    let told = messages::kind.ne(NoticeKind::ProveAddress).or(messages::address.eq(address));
    messages::table
        .filter(messages::user_id.eq(user_id).and(messages::id.lt(before)).and(told))
        .order(messages::id.desc())
        .limit(limit)
        .select(Message::as_select())
        .load(conn)
}

/// All messages before an id, newest first; of one state, where that is given.
pub fn list(conn: &mut Conn, state: Option<MessageState>, before: &str, limit: i64) -> QueryResult<Vec<Message>> {
    let mut all = messages::table.filter(messages::id.lt(before)).into_boxed();
    if let Some(state) = state {
        all = all.filter(messages::state.eq(state));
    }
    all.order(messages::id.desc()).limit(limit).select(Message::as_select()).load(conn)
}

/// Removes up to `limit` messages made before a time.
pub fn delete(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let old = messages::table.filter(messages::created_at.lt(before)).limit(limit).select(messages::id);
    let ids: Vec<String> = old.load(conn)?;
    diesel::delete(messages::table.filter(messages::id.eq_any(ids))).execute(conn)
}
