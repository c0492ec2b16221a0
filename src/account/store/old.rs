//! What is over goes, so many rows in one transaction.

use diesel::prelude::*;

use crate::base::db::schema::{api_tokens, invitations, one_time_links, sessions, throttles};
use crate::base::db::{Conn, Timestamp};

/// Deletes sessions that have ended before a time, at most so many.
pub fn delete_old_sessions(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let over =
        sessions::expires_at.lt(before).or(sessions::revoked_at.assume_not_null().lt(before).and(sessions::revoked_at.is_not_null()));
    let old: Vec<String> = sessions::table.filter(over).limit(limit).select(sessions::token_hash).load(conn)?;
    diesel::delete(sessions::table.filter(sessions::token_hash.eq_any(old))).execute(conn)
}

/// Deletes invitations that have ended before a time, at most so many.
pub fn delete_old_invitations(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let old: Vec<String> = invitations::table.filter(invitations::expires_at.lt(before)).limit(limit).select(invitations::id).load(conn)?;
    diesel::delete(invitations::table.filter(invitations::id.eq_any(old))).execute(conn)
}

/// Deletes one-time links made before a time, at most so many.
pub fn delete_old_links(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let made = one_time_links::table.filter(one_time_links::created_at.lt(before));
    let old: Vec<String> = made.limit(limit).select(one_time_links::id).load(conn)?;
    diesel::delete(one_time_links::table.filter(one_time_links::id.eq_any(old))).execute(conn)
}

/// Deletes tokens that have ended before a time, at most so many.
pub fn delete_old_tokens(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let over =
        api_tokens::expires_at.lt(before).or(api_tokens::revoked_at.assume_not_null().lt(before).and(api_tokens::revoked_at.is_not_null()));
    let old: Vec<String> = api_tokens::table.filter(over).limit(limit).select(api_tokens::id).load(conn)?;
    diesel::delete(api_tokens::table.filter(api_tokens::id.eq_any(old))).execute(conn)
}

/// Deletes counts of attempts whose window began before a time, at most so many.
pub fn delete_old_attempts(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let old: Vec<String> =
        throttles::table.filter(throttles::window_started_at.lt(before)).limit(limit).select(throttles::subject).load(conn)?;
    let still = throttles::subject.eq_any(old).and(throttles::window_started_at.lt(before));
    diesel::delete(throttles::table.filter(still)).execute(conn)
}
