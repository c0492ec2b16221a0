//! Queries of where attempts with a password come from: their counts, and the browsers and addresses that are known.

use chrono::TimeDelta;
use diesel::prelude::*;

use crate::base::db::schema::{sessions, throttles, users};
use crate::base::db::{Conn, Timestamp};

/// Attempts of a subject and the begin of their window, if it lasts still. One that begins further ahead than it is long was begun before the
/// clock was set back.
pub fn attempts(conn: &mut Conn, subject: &str, window: TimeDelta, now: Timestamp) -> QueryResult<Option<(i64, Timestamp)>> {
    throttles::table
        .find(subject)
        .filter(throttles::window_started_at.between(now.minus(window), now.plus(window)))
        .select((throttles::failures, throttles::window_started_at))
        .first(conn)
        .optional()
}

/// Forgets the attempts of a subject.
pub fn forget_attempts(conn: &mut Conn, subject: &str) -> QueryResult<usize> {
    diesel::delete(throttles::table.find(subject)).execute(conn)
}

/// Addresses from which a person has signed in since a time, the latest first.
pub fn addresses_of(conn: &mut Conn, email: &str, since: Timestamp, limit: i64) -> QueryResult<Vec<String>> {
    use diesel::dsl::max;
    sessions::table
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(users::email.eq(email).and(sessions::created_at.gt(since)))
        .group_by(sessions::address)
        .order(max(sessions::created_at).desc())
        .limit(limit)
        .select(sessions::address)
        .load(conn)
}

/// Whether a person has signed in with a browser since a time.
pub fn knows_device(conn: &mut Conn, email: &str, device_hash: &str, since: Timestamp) -> QueryResult<bool> {
    let known = sessions::table
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(users::email.eq(email).and(sessions::device_hash.eq(device_hash)).and(sessions::created_at.gt(since)));
    diesel::select(diesel::dsl::exists(known)).get_result(conn)
}
