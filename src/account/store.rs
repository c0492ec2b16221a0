//! Queries of accounts.

mod directory;
mod links;
mod old;
mod places;
mod standing;

use std::collections::HashMap;

use diesel::dsl::exists;
use diesel::prelude::*;

use super::model::{AlarmPictures, ApiToken, Credential, Invitation, Membership, Organization, Session, TeamMember, User, person};
use crate::base::auth::{OrgKind, Person, Role};
use crate::base::db::schema::{api_tokens, invitations, memberships, organization_names, organizations, sessions, users};
use crate::base::db::{Conn, Timestamp};

pub use directory::*;
pub use links::*;
pub use old::*;
pub use places::*;
pub use standing::*;

/// A person by user and organisation, if they are (still) a member and neither they nor the organisation are stopped.
pub fn find_person(conn: &mut Conn, user_id: &str, organization_id: &str) -> QueryResult<Option<Person>> {
    find_holder(conn, user_id, organization_id, None)
}

/// As [`find_person`], while what they proved themselves with is not over: sessions last used before the first time are, and what ends before
/// the second.
pub fn find_holder(
    conn: &mut Conn,
    user_id: &str,
    organization_id: &str,
    proof: Option<(&Credential, Timestamp, Timestamp)>,
) -> QueryResult<Option<Person>> {
    let mut query = users::table
        .inner_join(memberships::table.on(memberships::user_id.eq(users::id)))
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .filter(users::id.eq(user_id).and(organizations::id.eq(organization_id)))
        .filter(users::disabled_at.is_null().and(organizations::suspended_at.is_null()))
        .select((User::as_select(), Organization::as_select(), memberships::role))
        .into_boxed();
    match proof {
        None => {}
        Some((Credential::ApiToken(id), _, now)) => {
            let live = api_tokens::expires_at.gt(now).and(api_tokens::revoked_at.is_null());
            query = query.filter(exists(api_tokens::table.filter(api_tokens::id.eq(id).and(live))));
        }
        Some((Credential::Session(token_hash), idle, now)) => {
            let live = sessions::expires_at.gt(now).and(sessions::seen_at.gt(idle)).and(sessions::revoked_at.is_null());
            query = query.filter(exists(sessions::table.filter(sessions::token_hash.eq(token_hash).and(live))));
        }
    }
    let row: Option<(User, Organization, Role)> = query.first(conn).optional()?;
    Ok(row.map(|(user, organization, role)| person(user, organization, role)))
}

/// A session that is not over: not ended, within its hours, and used since `idle`.
pub fn find_session(conn: &mut Conn, token_hash: &str, idle: Timestamp, now: Timestamp) -> QueryResult<Option<Session>> {
    sessions::table
        .find(token_hash)
        .filter(sessions::expires_at.gt(now).and(sessions::seen_at.gt(idle)).and(sessions::revoked_at.is_null()))
        .select(Session::as_select())
        .first(conn)
        .optional()
}

pub fn insert_session(conn: &mut Conn, session: &Session) -> QueryResult<usize> {
    diesel::insert_into(sessions::table).values(session).execute(conn)
}

/// Notes when a session was used, if the last note is older than `before`.
pub fn note_session(conn: &mut Conn, token_hash: &str, before: Timestamp, now: Timestamp) -> QueryResult<usize> {
    diesel::update(sessions::table.find(token_hash).filter(sessions::seen_at.le(before))).set(sessions::seen_at.eq(now)).execute(conn)
}

/// A token that is not over.
pub fn find_token(conn: &mut Conn, token_hash: &str, now: Timestamp) -> QueryResult<Option<ApiToken>> {
    api_tokens::table
        .filter(api_tokens::token_hash.eq(token_hash).and(api_tokens::expires_at.gt(now)).and(api_tokens::revoked_at.is_null()))
        .select(ApiToken::as_select())
        .first(conn)
        .optional()
}

/// A token that is not over, by its id.
pub fn find_token_by_id(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<Option<ApiToken>> {
    let live = api_tokens::expires_at.gt(now).and(api_tokens::revoked_at.is_null());
    api_tokens::table.find(id).filter(live).select(ApiToken::as_select()).first(conn).optional()
}

/// Notes when a token was used, if the last note is older than `before`.
pub fn note_token(conn: &mut Conn, id: &str, before: Timestamp, now: Timestamp) -> QueryResult<usize> {
    let long_ago = api_tokens::used_at.is_null().or(api_tokens::used_at.le(before));
    diesel::update(api_tokens::table.find(id).filter(long_ago)).set(api_tokens::used_at.eq(now)).execute(conn)
}

/// Inserts an organisation.
pub fn insert_organization(conn: &mut Conn, organization: &Organization) -> QueryResult<usize> {
    diesel::insert_into(organizations::table).values(organization).execute(conn)
}

/// Inserts a person.
pub fn insert_user(conn: &mut Conn, user: &User) -> QueryResult<usize> {
    diesel::insert_into(users::table).values(user).execute(conn)
}

pub fn insert_membership(conn: &mut Conn, membership: &Membership) -> QueryResult<usize> {
    diesel::insert_into(memberships::table).values(membership).execute(conn)
}

/// A person by address.
pub fn find_user_by_email(conn: &mut Conn, email: &str) -> QueryResult<Option<User>> {
    users::table.filter(users::email.eq(email)).select(User::as_select()).first(conn).optional()
}

/// A person by id.
pub fn get_user(conn: &mut Conn, id: &str) -> QueryResult<User> {
    users::table.find(id).select(User::as_select()).first(conn)
}

/// Replaces a person's password; 0 rows where it is not `old` any more.
pub fn set_password(conn: &mut Conn, user_id: &str, old: &str, new: &str) -> QueryResult<usize> {
    let unchanged = users::password_hash.eq(old);
    diesel::update(users::table.find(user_id).filter(unchanged)).set(users::password_hash.eq(new)).execute(conn)
}

/// Gives a person an address, proved at a time or not; 0 rows where theirs is not `old` any more.
pub fn set_email(conn: &mut Conn, user_id: &str, old: &str, new: &str, verified_at: Option<Timestamp>) -> QueryResult<usize> {
    let unchanged = users::email.eq(old);
    diesel::update(users::table.find(user_id).filter(unchanged))
        .set((users::email.eq(new), users::email_verified_at.eq(verified_at)))
        .execute(conn)
}

/// Address of a person.
pub fn email_of(conn: &mut Conn, user_id: &str) -> QueryResult<Option<String>> {
    users::table.find(user_id).select(users::email).first(conn).optional()
}

/// An organisation by slug.
pub fn find_organization_by_slug(conn: &mut Conn, slug: &str) -> QueryResult<Option<Organization>> {
    organizations::table.filter(organizations::slug.eq(slug)).select(Organization::as_select()).first(conn).optional()
}

/// The platform's own organisation, once there is one.
pub fn find_platform(conn: &mut Conn) -> QueryResult<Option<Organization>> {
    let platform = organizations::table.filter(organizations::kind.eq(OrgKind::Platform)).order(organizations::id);
    platform.select(Organization::as_select()).first(conn).optional()
}

/// An organisation by id.
pub fn get_organization(conn: &mut Conn, id: &str) -> QueryResult<Organization> {
    organizations::table.find(id).select(Organization::as_select()).first(conn)
}

pub fn alarm_pictures(conn: &mut Conn, organization_id: &str) -> QueryResult<AlarmPictures> {
    organizations::table.find(organization_id).select(organizations::alarm_pictures).first(conn)
}

/// Sets what an organisation wants of pictures of its alarms; 0 rows where it is that already.
pub fn set_alarm_pictures(conn: &mut Conn, organization_id: &str, wanted: AlarmPictures) -> QueryResult<usize> {
    let other = organizations::id.eq(organization_id).and(organizations::alarm_pictures.ne(wanted));
    diesel::update(organizations::table.filter(other)).set(organizations::alarm_pictures.eq(wanted)).execute(conn)
}

/// The organisation whose name has a look.
pub fn holder_of_look(conn: &mut Conn, look: &str) -> QueryResult<Option<String>> {
    organization_names::table.find(look).select(organization_names::organization_id).first(conn).optional()
}

/// Short name of another organisation with a name of this gist.
pub fn slug_with_gist(conn: &mut Conn, gist: &str, except: &str) -> QueryResult<Option<String>> {
    organization_names::table
        .inner_join(organizations::table.on(organizations::id.eq(organization_names::organization_id)))
        .filter(organization_names::gist.eq(gist).and(organizations::id.ne(except)))
        .order(organizations::id)
        .select(organizations::slug)
        .first(conn)
        .optional()
}

pub fn insert_look(conn: &mut Conn, look: &str, gist: &str, organization_id: &str) -> QueryResult<usize> {
    use organization_names as names;
    diesel::insert_into(organization_names::table)
        .values((names::look.eq(look), names::gist.eq(gist), names::organization_id.eq(organization_id)))
        .execute(conn)
}

/// Organisations whose names have no look yet, the oldest first.
pub fn organizations_without_look(conn: &mut Conn, limit: i64) -> QueryResult<Vec<Organization>> {
    let named = organization_names::table.filter(organization_names::organization_id.eq(organizations::id));
    organizations::table
        .filter(diesel::dsl::not(diesel::dsl::exists(named)))
        .order(organizations::id)
        .limit(limit)
        .select(Organization::as_select())
        .load(conn)
}

/// Notes what the name of an organisation looks like.
pub fn set_resembles(conn: &mut Conn, id: &str, other: &str) -> QueryResult<usize> {
    diesel::update(organizations::table.find(id)).set(organizations::resembles.eq(other)).execute(conn)
}

/// Organisations of a person: id, name zh, name en.
pub fn organizations_of(conn: &mut Conn, user_id: &str) -> QueryResult<Vec<(String, String, String)>> {
    memberships::table
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .filter(memberships::user_id.eq(user_id))
        .order(organizations::id)
        .limit(20)
        .select((organizations::id, organizations::name_zh, organizations::name_en))
        .load(conn)
}

/// The organisation that a person acts for after signing in: of those that are not suspended the one of the session they used last, so that
/// who signs in anew goes on where they were; else the one they joined first.
pub fn organization_to_open(conn: &mut Conn, user_id: &str) -> QueryResult<Option<String>> {
    let going: Vec<String> = memberships::table
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .filter(memberships::user_id.eq(user_id).and(organizations::suspended_at.is_null()))
        .order((memberships::created_at, memberships::organization_id))
        .select(memberships::organization_id)
        .load(conn)?;
    let last: Option<String> = sessions::table
        .filter(sessions::user_id.eq(user_id).and(sessions::organization_id.eq_any(&going)))
        .order((sessions::seen_at.desc(), sessions::created_at.desc(), sessions::token_hash))
        .select(sessions::organization_id)
        .first(conn)
        .optional()?;
    Ok(last.or_else(|| going.into_iter().next()))
}

/// Of a person's organisations that are not suspended the one they joined first.
pub fn first_organization_of(conn: &mut Conn, user_id: &str) -> QueryResult<Option<String>> {
    memberships::table
        .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)))
        .filter(memberships::user_id.eq(user_id).and(organizations::suspended_at.is_null()))
        .order((memberships::created_at, memberships::organization_id))
        .select(memberships::organization_id)
        .first(conn)
        .optional()
}

/// Ends a person's session; 0 rows where it is ended or another's.
pub fn revoke_session(conn: &mut Conn, token_hash: &str, user_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = sessions::user_id.eq(user_id).and(sessions::revoked_at.is_null());
    diesel::update(sessions::table.find(token_hash).filter(open)).set(sessions::revoked_at.eq(now)).execute(conn)
}

/// Ends a person's open sessions but those that were used last, so many; at most 500 of them. Gives how many ended.
pub fn revoke_sessions_over(conn: &mut Conn, user_id: &str, keep: i64, idle: Timestamp, now: Timestamp) -> QueryResult<usize> {
    let open = sessions::expires_at.gt(now).and(sessions::seen_at.gt(idle)).and(sessions::revoked_at.is_null());
    let over: Vec<String> = sessions::table
        .filter(sessions::user_id.eq(user_id).and(open))
        .order((sessions::seen_at.desc(), sessions::created_at.desc(), sessions::token_hash))
        .offset(keep)
        .limit(500)
        .select(sessions::token_hash)
        .load(conn)?;
    let still = sessions::token_hash.eq_any(over).and(sessions::revoked_at.is_null());
    diesel::update(sessions::table.filter(still)).set(sessions::revoked_at.eq(now)).execute(conn)
}

/// Ends a person's sessions but one.
pub fn revoke_other_sessions(conn: &mut Conn, user_id: &str, keep: &str, now: Timestamp) -> QueryResult<usize> {
    let others = sessions::user_id.eq(user_id).and(sessions::token_hash.ne(keep)).and(sessions::revoked_at.is_null());
    diesel::update(sessions::table.filter(others)).set(sessions::revoked_at.eq(now)).execute(conn)
}

/// Deletes a person's sessions but one, and with them what is known of their browsers and addresses.
pub fn delete_other_sessions(conn: &mut Conn, user_id: &str, keep: &str) -> QueryResult<usize> {
    let others = sessions::user_id.eq(user_id).and(sessions::token_hash.ne(keep));
    diesel::delete(sessions::table.filter(others)).execute(conn)
}

/// Ends a person's sessions in an organisation.
pub fn revoke_sessions_for(conn: &mut Conn, user_id: &str, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    let theirs = sessions::user_id.eq(user_id).and(sessions::organization_id.eq(organization_id));
    diesel::update(sessions::table.filter(theirs)).set(sessions::revoked_at.eq(now)).execute(conn)
}

/// A person's sessions that are not over, newest first.
pub fn list_sessions(conn: &mut Conn, user_id: &str, idle: Timestamp, now: Timestamp) -> QueryResult<Vec<Session>> {
    sessions::table
        .filter(sessions::user_id.eq(user_id).and(sessions::expires_at.gt(now)))
        .filter(sessions::seen_at.gt(idle).and(sessions::revoked_at.is_null()))
        .order((sessions::created_at.desc(), sessions::token_hash))
        .limit(50)
        .select(Session::as_select())
        .load(conn)
}

/// Changes the organisation that a session acts for.
pub fn set_session_organization(conn: &mut Conn, token_hash: &str, organization_id: &str) -> QueryResult<usize> {
    diesel::update(sessions::table.find(token_hash)).set(sessions::organization_id.eq(organization_id)).execute(conn)
}

/// Members of an organisation, by name.
pub fn list_members(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<TeamMember>> {
    memberships::table
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .filter(memberships::organization_id.eq(organization_id))
        .order((users::name, users::id))
        .limit(500)
        .select((users::id, users::name, users::email, memberships::role, memberships::created_at))
        .load(conn)
}

/// Removes a membership.
pub fn delete_membership(conn: &mut Conn, organization_id: &str, user_id: &str) -> QueryResult<usize> {
    diesel::delete(memberships::table.find((organization_id, user_id))).execute(conn)
}

pub fn insert_invitation(conn: &mut Conn, invitation: &Invitation) -> QueryResult<usize> {
    diesel::insert_into(invitations::table).values(invitation).execute(conn)
}

/// Whether a person belongs to an organisation, disabled or not.
pub fn is_member(conn: &mut Conn, organization_id: &str, user_id: &str) -> QueryResult<bool> {
    let member = memberships::organization_id.eq(organization_id).and(memberships::user_id.eq(user_id));
    diesel::select(exists(memberships::table.filter(member))).get_result(conn)
}

/// How many people belong to an organisation or are invited to it now.
pub fn count_team(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<i64> {
    let members: i64 = memberships::table.filter(memberships::organization_id.eq(organization_id)).count().get_result(conn)?;
    let open = invitations::accepted_at.is_null().and(invitations::revoked_at.is_null()).and(invitations::expires_at.gt(now));
    let invited: i64 = invitations::table.filter(invitations::organization_id.eq(organization_id).and(open)).count().get_result(conn)?;
    Ok(members + invited)
}

/// An invitation by the hash of its secret.
pub fn get_invitation(conn: &mut Conn, token_hash: &str) -> QueryResult<Invitation> {
    invitations::table.filter(invitations::token_hash.eq(token_hash)).select(Invitation::as_select()).first(conn)
}

/// Open invitations of an organisation, newest first.
pub fn list_invitations(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<Vec<Invitation>> {
    invitations::table
        .filter(invitations::organization_id.eq(organization_id).and(invitations::expires_at.gt(now)))
        .filter(invitations::accepted_at.is_null().and(invitations::revoked_at.is_null()))
        .order(invitations::id.desc())
        .limit(100)
        .select(Invitation::as_select())
        .load(conn)
}

/// Marks an open invitation as used; 0 rows where it is over.
pub fn accept_invitation(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = invitations::accepted_at.is_null().and(invitations::revoked_at.is_null()).and(invitations::expires_at.gt(now));
    diesel::update(invitations::table.find(id).filter(open)).set(invitations::accepted_at.eq(now)).execute(conn)
}

/// Takes an invitation of an organisation back; 0 rows where it was used or taken back before.
pub fn revoke_invitation(conn: &mut Conn, id: &str, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open =
        invitations::organization_id.eq(organization_id).and(invitations::accepted_at.is_null()).and(invitations::revoked_at.is_null());
    diesel::update(invitations::table.find(id).filter(open)).set(invitations::revoked_at.eq(now)).execute(conn)
}

/// Takes the open invitations of an organisation to an address back, but one; gives how many.
pub fn revoke_invitations_to(conn: &mut Conn, organization_id: &str, email: &str, keep: &str, now: Timestamp) -> QueryResult<usize> {
    let to = invitations::organization_id.eq(organization_id).and(invitations::email.eq(email)).and(invitations::id.ne(keep));
    let open = invitations::accepted_at.is_null().and(invitations::revoked_at.is_null());
    diesel::update(invitations::table.filter(to.and(open))).set(invitations::revoked_at.eq(now)).execute(conn)
}

pub fn insert_token(conn: &mut Conn, token: &ApiToken) -> QueryResult<usize> {
    diesel::insert_into(api_tokens::table).values(token).execute(conn)
}

/// How many tokens of a person in an organisation are in force.
pub fn count_tokens(conn: &mut Conn, user_id: &str, organization_id: &str, now: Timestamp) -> QueryResult<i64> {
    let theirs = api_tokens::user_id.eq(user_id).and(api_tokens::organization_id.eq(organization_id));
    let open = api_tokens::revoked_at.is_null().and(api_tokens::expires_at.gt(now));
    api_tokens::table.filter(theirs.and(open)).count().get_result(conn)
}

/// A person's tokens in an organisation, newest first.
pub fn list_tokens(conn: &mut Conn, user_id: &str, organization_id: &str) -> QueryResult<Vec<ApiToken>> {
    api_tokens::table
        .filter(api_tokens::user_id.eq(user_id).and(api_tokens::organization_id.eq(organization_id)))
        .order(api_tokens::id.desc())
        .limit(100)
        .select(ApiToken::as_select())
        .load(conn)
}

/// Ends a person's token; 0 rows where it is over or another's.
pub fn revoke_token(conn: &mut Conn, id: &str, user_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = api_tokens::user_id.eq(user_id).and(api_tokens::revoked_at.is_null());
    diesel::update(api_tokens::table.find(id).filter(open)).set(api_tokens::revoked_at.eq(now)).execute(conn)
}

/// Ends a person's tokens in an organisation.
pub fn revoke_tokens_for(conn: &mut Conn, user_id: &str, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    let theirs = api_tokens::user_id.eq(user_id).and(api_tokens::organization_id.eq(organization_id));
    let open = theirs.and(api_tokens::revoked_at.is_null());
    diesel::update(api_tokens::table.filter(open)).set(api_tokens::revoked_at.eq(now)).execute(conn)
}

/// Ids of the platform's organisations (there is one).
pub fn platform_ids(conn: &mut Conn) -> QueryResult<Vec<String>> {
    organizations::table.filter(organizations::kind.eq(OrgKind::Platform)).select(organizations::id).load(conn)
}

/// Names of people by id.
pub fn names_of(conn: &mut Conn, ids: &[&str]) -> QueryResult<HashMap<String, String>> {
    let rows: Vec<(String, String)> = users::table.filter(users::id.eq_any(ids)).select((users::id, users::name)).load(conn)?;
    Ok(rows.into_iter().collect())
}
