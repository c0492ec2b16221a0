//! Queries of kept answers.

use diesel::dsl::{count_star, min};
use diesel::prelude::*;

use super::model::Kept;
use crate::base::auth::Person;
use crate::base::db::schema::kept_answers;
use crate::base::db::{Conn, Timestamp};

pub fn find(conn: &mut Conn, person: &Person, key: &str) -> QueryResult<Option<Kept>> {
    kept_answers::table.find((&person.organization_id, &person.user_id, key)).select(Kept::as_select()).first(conn).optional()
}

pub fn insert(conn: &mut Conn, kept: &Kept) -> QueryResult<usize> {
    diesel::insert_into(kept_answers::table).values(kept).execute(conn)
}

/// Keeps the answer of a change that is under way.
pub fn keep(conn: &mut Conn, person: &Person, key: &str, status: i64, body: &str) -> QueryResult<usize> {
    diesel::update(kept_answers::table.find((&person.organization_id, &person.user_id, key)))
        .set((kept_answers::status.eq(status), kept_answers::body.eq(body)))
        .execute(conn)
}

pub fn delete(conn: &mut Conn, organization_id: &str, user_id: &str, key: &str) -> QueryResult<usize> {
    diesel::delete(kept_answers::table.find((organization_id, user_id, key))).execute(conn)
}

/// How many answers a person has that were made since a time, for an organisation, and when the oldest of them was made.
pub fn kept_since(conn: &mut Conn, person: &Person, since: Timestamp) -> QueryResult<(i64, Option<Timestamp>)> {
    let own = kept_answers::organization_id.eq(&person.organization_id).and(kept_answers::user_id.eq(&person.user_id));
    kept_answers::table
        .filter(own.and(kept_answers::created_at.gt(since)))
        .select((count_star(), min(kept_answers::created_at)))
        .first(conn)
}

/// Removes up to `limit` answers from before a time.
pub fn prune(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let old: Vec<(String, String, String)> = kept_answers::table
        .filter(kept_answers::created_at.le(before))
        .limit(limit)
        .select((kept_answers::organization_id, kept_answers::user_id, kept_answers::idempotency_key))
        .load(conn)?;
    let mut removed = 0;
    for (organization_id, user_id, key) in old {
        removed += delete(conn, &organization_id, &user_id, &key)?;
    }
    Ok(removed)
}
