//! Stopping organisations and people, and ending sessions and tokens of others. Each function runs in the caller's transaction; the caller
//! has asked for the right and audits the decision.
//!
//! A stop shows at the next request: who acts is read from the database each time ([`super::store::find_person`]).

use super::store;
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::dialect::{self, Row};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};

/// What ended with a stop, or when it was lifted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    pub sessions: usize,
    pub tokens: usize,
}

/// # Errors
/// `person-disabled`, with the platform's reason.
pub fn require_enabled(conn: &mut Conn, user_id: &str) -> Result<()> {
    match store::disabled_reason(conn, user_id)? {
        Some(reason) => Err(Error::forbidden("person-disabled").arg("reason", reason)),
        None => Ok(()),
    }
}

/// # Errors
/// `organization-suspended`, with the platform's reason.
pub fn require_going(conn: &mut Conn, organization_id: &str) -> Result<()> {
    match store::suspended_reason(conn, organization_id)? {
        Some(reason) => Err(Error::forbidden("organization-suspended").arg("reason", reason)),
        None => Ok(()),
    }
}

/// Why an organisation is suspended; none where it is not.
pub fn suspension(conn: &mut Conn, organization_id: &str) -> Result<Option<String>> {
    Ok(store::suspended_reason(conn, organization_id)?)
}

/// Why a person is disabled; none where they are not.
pub fn disabling(conn: &mut Conn, user_id: &str) -> Result<Option<String>> {
    Ok(store::disabled_reason(conn, user_id)?)
}

/// Suspends an organisation: nobody acts for it, and its sessions and tokens end for good. Its nodes go on.
///
/// # Errors
/// `organization`; `platform-not-suspended`; `standing-unchanged`.
pub fn suspend_in(conn: &mut Conn, id: &str, reason: &str, now: Timestamp) -> Result<Ended> {
    dialect::hold(conn, Row::Organization(id))?;
    if store::get_organization(conn, id).or_not_found("organization")?.kind == OrgKind::Platform {
        return Err(Error::conflict("platform-not-suspended"));
    }
    exactly_one(store::suspend(conn, id, reason, now)?, "standing-unchanged")?;
    end_all_in(conn, id, now)
}

/// Lets a suspended organisation go on. Its people sign in again and make new tokens: what was made while the suspension came ends now.
///
/// # Errors
/// `organization`; `standing-unchanged`.
pub fn resume_in(conn: &mut Conn, id: &str, now: Timestamp) -> Result<Ended> {
    dialect::hold(conn, Row::Organization(id))?;
    store::get_organization(conn, id).or_not_found("organization")?;
    exactly_one(store::resume(conn, id)?, "standing-unchanged")?;
    end_all_in(conn, id, now)
}

fn end_all_in(conn: &mut Conn, organization_id: &str, now: Timestamp) -> Result<Ended> {
    Ok(Ended { sessions: store::end_sessions_in(conn, organization_id, now)?, tokens: store::end_tokens_in(conn, organization_id, now)? })
}

/// Disables a person everywhere: they do not sign in, and their sessions and tokens end.
///
/// Whoever disables a person of the platform holds the platform's organisation first, so that of administrators who disable each other at
/// once the second sees the first: one always remains.
///
/// # Errors
/// `person`; `last-administrator`; `not-permitted` where the actor was just disabled; `standing-unchanged`.
pub fn disable_in(conn: &mut Conn, actor: &Actor, user_id: &str, reason: &str, now: Timestamp) -> Result<Ended> {
    if let Some(platform) = store::find_platform(conn)? {
        dialect::hold(conn, Row::Organization(&platform.id))?;
        if let Some(person) = actor.as_person()
            && store::find_person(conn, &person.user_id, &person.organization_id)?.is_none()
        {
            return Err(Error::forbidden("not-permitted"));
        }
        if store::is_administrator(conn, &platform.id, user_id)? && store::count_other_administrators(conn, user_id)? == 0 {
            return Err(Error::conflict("last-administrator"));
        }
    }
    require_person(conn, user_id)?;
    exactly_one(store::disable(conn, user_id, reason, now)?, "standing-unchanged")?;
    end_all_of(conn, user_id, now)
}

/// Lets a disabled person sign in again: sessions and tokens that were made while they were disabled end now.
///
/// # Errors
/// `person`; `standing-unchanged`.
pub fn enable_in(conn: &mut Conn, user_id: &str, now: Timestamp) -> Result<Ended> {
    require_person(conn, user_id)?;
    exactly_one(store::enable(conn, user_id)?, "standing-unchanged")?;
    end_all_of(conn, user_id, now)
}

fn end_all_of(conn: &mut Conn, user_id: &str, now: Timestamp) -> Result<Ended> {
    Ok(Ended { sessions: store::end_sessions_of(conn, user_id, now)?, tokens: store::end_tokens_of(conn, user_id, now)? })
}

/// Ends all sessions of a person, who may sign in again; gives how many.
///
/// # Errors
/// `person`.
pub fn end_sessions_in(conn: &mut Conn, user_id: &str, now: Timestamp) -> Result<usize> {
    require_person(conn, user_id)?;
    Ok(store::end_sessions_of(conn, user_id, now)?)
}

/// Ends a session, whosever it is.
///
/// # Errors
/// `session-over`: there is none that is not over.
pub fn end_session_in(conn: &mut Conn, token_hash: &str, now: Timestamp) -> Result<()> {
    exactly_one(store::end_session(conn, token_hash, now)?, "session-over")
}

/// Ends a token, whosever it is; registry tokens that were asked for with it end too.
///
/// # Errors
/// `token-over`: there is none that is not over.
pub fn end_token_in(conn: &mut Conn, id: &str, now: Timestamp) -> Result<()> {
    exactly_one(store::end_token(conn, id, now)?, "token-over")
}

fn require_person(conn: &mut Conn, user_id: &str) -> Result<()> {
    store::email_of(conn, user_id)?.map(|_| ()).ok_or_else(|| Error::not_found("person"))
}
