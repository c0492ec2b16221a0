//! Queries of drafts.

use diesel::prelude::*;

use super::model::Draft;
use crate::base::db::schema::drafts;
use crate::base::db::{Conn, Timestamp};

pub fn insert(conn: &mut Conn, draft: &Draft) -> QueryResult<usize> {
    diesel::insert_into(drafts::table).values(draft).execute(conn)
}

pub fn find(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<Option<Draft>> {
    drafts::table.find(id).filter(drafts::expires_at.gt(now)).select(Draft::as_select()).first(conn).optional()
}

/// Drafts of an organisation, the newest first.
pub fn list(conn: &mut Conn, organization_id: &str, now: Timestamp, limit: i64) -> QueryResult<Vec<(String, String, Timestamp)>> {
    drafts::table
        .filter(drafts::organization_id.eq(organization_id).and(drafts::expires_at.gt(now)))
        .order(drafts::id.desc())
        .limit(limit)
        .select((drafts::id, drafts::form, drafts::created_at))
        .load(conn)
}

pub fn count(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<i64> {
    drafts::table.filter(drafts::organization_id.eq(organization_id).and(drafts::expires_at.gt(now))).count().get_result(conn)
}

/// Writes what may change of a draft that is still at its revision, and sets the next one; gives the number of rows.
pub fn update(conn: &mut Conn, draft: &Draft) -> QueryResult<usize> {
    diesel::update(drafts::table.find(&draft.id).filter(drafts::revision.eq(draft.revision)))
        .set((
            drafts::state.eq(draft.state),
            drafts::revision.eq(draft.revision + 1),
            drafts::facts.eq(&draft.facts),
            drafts::form.eq(&draft.form),
            drafts::reading.eq(&draft.reading),
            drafts::results.eq(&draft.results),
            drafts::expires_at.eq(draft.expires_at),
        ))
        .execute(conn)
}

pub fn delete(conn: &mut Conn, id: &str) -> QueryResult<usize> {
    diesel::delete(drafts::table.find(id)).execute(conn)
}

/// Removes drafts that are over, at most so many.
pub fn prune(conn: &mut Conn, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let over: Vec<String> =
        drafts::table.filter(drafts::expires_at.le(now)).order(drafts::expires_at).limit(limit).select(drafts::id).load(conn)?;
    diesel::delete(drafts::table.filter(drafts::id.eq_any(over))).execute(conn)
}
