//! Queries of stops: of organisations and people, of their sessions and tokens.

use diesel::dsl::exists;
use diesel::prelude::*;

use crate::base::auth::{OrgKind, Role};
use crate::base::db::schema::{api_tokens, memberships, organizations, sessions, users};
use crate::base::db::{Conn, Timestamp};

/// Why a person is disabled; none where they are not.
pub fn disabled_reason(conn: &mut Conn, user_id: &str) -> QueryResult<Option<String>> {
    let disabled = users::table.find(user_id).filter(users::disabled_at.is_not_null());
    let reason: Option<Option<String>> = disabled.select(users::disabled_reason).first(conn).optional()?;
    Ok(reason.map(Option::unwrap_or_default))
}

/// Disables a person; 0 rows where they are.
pub fn disable(conn: &mut Conn, user_id: &str, reason: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(users::table.find(user_id).filter(users::disabled_at.is_null()))
        .set((users::disabled_at.eq(now), users::disabled_reason.eq(reason)))
        .execute(conn)
}

/// Lets a disabled person in again; 0 rows where they are not disabled.
pub fn enable(conn: &mut Conn, user_id: &str) -> QueryResult<usize> {
    diesel::update(users::table.find(user_id).filter(users::disabled_at.is_not_null()))
        .set((users::disabled_at.eq(None::<Timestamp>), users::disabled_reason.eq(None::<String>)))
        .execute(conn)
}

/// Why an organisation is suspended; none where it is not.
pub fn suspended_reason(conn: &mut Conn, organization_id: &str) -> QueryResult<Option<String>> {
    let suspended = organizations::table.find(organization_id).filter(organizations::suspended_at.is_not_null());
    let reason: Option<Option<String>> = suspended.select(organizations::suspended_reason).first(conn).optional()?;
    Ok(reason.map(Option::unwrap_or_default))
}

/// Why the organisation that a person joined first is suspended; none where none of theirs is.
pub fn suspended_reason_for(conn: &mut Conn, user_id: &str) -> QueryResult<Option<String>> {
    let reason: Option<Option<String>> = memberships::table
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .filter(memberships::user_id.eq(user_id).and(organizations::suspended_at.is_not_null()))
        .order((memberships::created_at, memberships::organization_id))
        .select(organizations::suspended_reason)
        .first(conn)
        .optional()?;
    Ok(reason.map(Option::unwrap_or_default))
}

/// Suspends an organisation that is not the platform; 0 rows where it is suspended.
pub fn suspend(conn: &mut Conn, id: &str, reason: &str, now: Timestamp) -> QueryResult<usize> {
    let going = organizations::id.eq(id).and(organizations::suspended_at.is_null()).and(organizations::kind.ne(OrgKind::Platform));
    diesel::update(organizations::table.filter(going))
        .set((organizations::suspended_at.eq(now), organizations::suspended_reason.eq(reason)))
        .execute(conn)
}

/// Lets a suspended organisation go on; 0 rows where it is not suspended.
pub fn resume(conn: &mut Conn, id: &str) -> QueryResult<usize> {
    diesel::update(organizations::table.find(id).filter(organizations::suspended_at.is_not_null()))
        .set((organizations::suspended_at.eq(None::<Timestamp>), organizations::suspended_reason.eq(None::<String>)))
        .execute(conn)
}

/// Ends all sessions of a person.
pub fn end_sessions_of(conn: &mut Conn, user_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = sessions::user_id.eq(user_id).and(sessions::revoked_at.is_null()).and(sessions::expires_at.gt(now));
    diesel::update(sessions::table.filter(open)).set(sessions::revoked_at.eq(now)).execute(conn)
}

/// Ends all tokens of a person.
pub fn end_tokens_of(conn: &mut Conn, user_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = api_tokens::user_id.eq(user_id).and(api_tokens::revoked_at.is_null()).and(api_tokens::expires_at.gt(now));
    diesel::update(api_tokens::table.filter(open)).set(api_tokens::revoked_at.eq(now)).execute(conn)
}

/// Ends all sessions that act for an organisation.
pub fn end_sessions_in(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = sessions::organization_id.eq(organization_id).and(sessions::revoked_at.is_null()).and(sessions::expires_at.gt(now));
    diesel::update(sessions::table.filter(open)).set(sessions::revoked_at.eq(now)).execute(conn)
}

/// Ends all tokens that act for an organisation.
pub fn end_tokens_in(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = api_tokens::organization_id.eq(organization_id).and(api_tokens::revoked_at.is_null()).and(api_tokens::expires_at.gt(now));
    diesel::update(api_tokens::table.filter(open)).set(api_tokens::revoked_at.eq(now)).execute(conn)
}

/// Ends a session, whosever it is; 0 rows where it is over.
pub fn end_session(conn: &mut Conn, token_hash: &str, now: Timestamp) -> QueryResult<usize> {
    let open = sessions::revoked_at.is_null().and(sessions::expires_at.gt(now));
    diesel::update(sessions::table.find(token_hash).filter(open)).set(sessions::revoked_at.eq(now)).execute(conn)
}

/// Ends a token, whosever it is; 0 rows where it is over.
pub fn end_token(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = api_tokens::revoked_at.is_null().and(api_tokens::expires_at.gt(now));
    diesel::update(api_tokens::table.find(id).filter(open)).set(api_tokens::revoked_at.eq(now)).execute(conn)
}

/// Administrators of the platform who are not disabled, but for one person.
pub fn count_other_administrators(conn: &mut Conn, user_id: &str) -> QueryResult<i64> {
    memberships::table
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .filter(organizations::kind.eq(OrgKind::Platform).and(memberships::role.eq(Role::Administrator)))
        .filter(users::disabled_at.is_null().and(users::id.ne(user_id)))
        .count()
        .get_result(conn)
}

/// Whether a person is an administrator of the platform.
pub fn is_administrator(conn: &mut Conn, platform_id: &str, user_id: &str) -> QueryResult<bool> {
    let administers = memberships::table.find((platform_id, user_id)).filter(memberships::role.eq(Role::Administrator));
    diesel::select(exists(administers)).get_result(conn)
}
