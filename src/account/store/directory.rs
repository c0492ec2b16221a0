//! Queries of all organisations and people, for administrators.

use std::collections::HashMap;

use diesel::dsl::count_star;
use diesel::prelude::*;

use crate::account::model::{ApiToken, FoundPerson, Organization};
use crate::base::auth::Role;
use crate::base::db::schema::{api_tokens, memberships, organizations, users};
use crate::base::db::text::{ESCAPE, containing, lower};
use crate::base::db::{Conn, Timestamp};
use crate::base::i18n::Names;

/// Organisations whose name or slug contains a text, before an id, newest first, each with when it was suspended.
pub fn search_organizations(conn: &mut Conn, q: &str, before: &str, limit: i64) -> QueryResult<Vec<(Organization, Option<Timestamp>)>> {
    let pattern = || lower(containing(q));
    let called = lower(organizations::slug).like(pattern()).escape(ESCAPE);
    let called = called.or(lower(organizations::name_zh).like(pattern()).escape(ESCAPE));
    let called = called.or(lower(organizations::name_en).like(pattern()).escape(ESCAPE));
    organizations::table
        .filter(organizations::id.lt(before).and(called))
        .order(organizations::id.desc())
        .limit(limit)
        .select((Organization::as_select(), organizations::suspended_at))
        .load(conn)
}

/// Numbers of members of some organisations.
pub fn member_counts(conn: &mut Conn, ids: &[&str]) -> QueryResult<HashMap<String, i64>> {
    let rows: Vec<(String, i64)> = memberships::table
        .filter(memberships::organization_id.eq_any(ids))
        .group_by(memberships::organization_id)
        .select((memberships::organization_id, count_star()))
        .load(conn)?;
    Ok(rows.into_iter().collect())
}

/// People whose name or address contains a text, before an id, newest first.
pub fn search_people(conn: &mut Conn, q: &str, before: &str, limit: i64) -> QueryResult<Vec<FoundPerson>> {
    let pattern = || lower(containing(q));
    let called = lower(users::name).like(pattern()).escape(ESCAPE).or(users::email.like(pattern()).escape(ESCAPE));
    users::table.filter(users::id.lt(before).and(called)).order(users::id.desc()).limit(limit).select(FoundPerson::as_select()).load(conn)
}

/// A person by id.
pub fn found_person(conn: &mut Conn, id: &str) -> QueryResult<FoundPerson> {
    users::table.find(id).select(FoundPerson::as_select()).first(conn)
}

/// Organisations of a person with the role in each, the first joined first.
pub fn memberships_of(conn: &mut Conn, user_id: &str) -> QueryResult<Vec<(String, Names, Role)>> {
    memberships::table
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .filter(memberships::user_id.eq(user_id))
        .order((memberships::created_at, organizations::id))
        .limit(50)
        .select((organizations::id, (organizations::name_zh, organizations::name_en), memberships::role))
        .load(conn)
}

/// Tokens of a person that are not over, newest first.
pub fn tokens_of(conn: &mut Conn, user_id: &str, now: Timestamp) -> QueryResult<Vec<ApiToken>> {
    let open = api_tokens::user_id.eq(user_id).and(api_tokens::revoked_at.is_null()).and(api_tokens::expires_at.gt(now));
    api_tokens::table.filter(open).order(api_tokens::id.desc()).limit(100).select(ApiToken::as_select()).load(conn)
}
