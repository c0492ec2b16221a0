//! Queries of accounts.

use diesel::prelude::*;

use super::model::{Membership, Organization, Session, User, person};
use crate::auth::{Person, Role};
use crate::db::schema::{api_tokens, memberships, organizations, sessions, users};
use crate::db::{Conn, Timestamp};

/// A person by user and organisation, if they are (still) a member and not disabled.
pub fn find_person(conn: &mut Conn, user_id: &str, organization_id: &str) -> QueryResult<Option<Person>> {
    let row: Option<(User, Organization, Role)> = users::table
        .inner_join(memberships::table.on(memberships::user_id.eq(users::id)))
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .filter(users::id.eq(user_id).and(organizations::id.eq(organization_id)).and(users::disabled_at.is_null()))
        .select((User::as_select(), Organization::as_select(), memberships::role))
        .first(conn)
        .optional()?;
    Ok(row.map(|(user, organization, role)| person(user, organization, role)))
}

/// A session that is not over.
pub fn find_session(conn: &mut Conn, token_hash: &str, now: Timestamp) -> QueryResult<Option<Session>> {
    sessions::table
        .find(token_hash)
        .filter(sessions::expires_at.gt(now).and(sessions::revoked_at.is_null()))
        .select(Session::as_select())
        .first(conn)
        .optional()
}

/// Inserts a session.
pub fn insert_session(conn: &mut Conn, session: &Session) -> QueryResult<usize> {
    diesel::insert_into(sessions::table).values(session).execute(conn)
}

/// User, organisation and scopes of a token that is not over.
pub fn find_token(conn: &mut Conn, token_hash: &str, now: Timestamp) -> QueryResult<Option<(String, String, String)>> {
    api_tokens::table
        .filter(api_tokens::token_hash.eq(token_hash).and(api_tokens::expires_at.gt(now)).and(api_tokens::revoked_at.is_null()))
        .select((api_tokens::user_id, api_tokens::organization_id, api_tokens::scopes))
        .first(conn)
        .optional()
}

/// Inserts an organisation.
pub fn insert_organization(conn: &mut Conn, organization: &Organization) -> QueryResult<usize> {
    diesel::insert_into(organizations::table).values(organization).execute(conn)
}

/// Inserts a person.
pub fn insert_user(conn: &mut Conn, user: &User) -> QueryResult<usize> {
    diesel::insert_into(users::table).values(user).execute(conn)
}

/// Inserts a membership.
pub fn insert_membership(conn: &mut Conn, membership: &Membership) -> QueryResult<usize> {
    diesel::insert_into(memberships::table).values(membership).execute(conn)
}

/// A person by address.
pub fn find_user_by_email(conn: &mut Conn, email: &str) -> QueryResult<Option<User>> {
    users::table.filter(users::email.eq(email)).select(User::as_select()).first(conn).optional()
}

/// An organisation by slug.
pub fn find_organization_by_slug(conn: &mut Conn, slug: &str) -> QueryResult<Option<Organization>> {
    organizations::table.filter(organizations::slug.eq(slug)).select(Organization::as_select()).first(conn).optional()
}

/// An organisation by id.
pub fn get_organization(conn: &mut Conn, id: &str) -> QueryResult<Organization> {
    organizations::table.find(id).select(Organization::as_select()).first(conn)
}
