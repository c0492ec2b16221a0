//! One-time links: to choose a new password, to prove an address. The secret is in the link only, the row has its hash. A person has one
//! open link of a purpose at most (an index says so), and it is used by a conditional update.

use chrono::TimeDelta;

use super::model::{LinkPurpose, OneTimeLink};
use super::store;
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::base::ids;
use crate::base::notify::NoticeKind;

/// How long a link is good.
pub(super) fn life(purpose: LinkPurpose) -> TimeDelta {
    match purpose {
        LinkPurpose::ResetPassword | LinkPurpose::ResetByHand => NoticeKind::RESET_LIFE,
        LinkPurpose::ProveAddress => TimeDelta::hours(48),
    }
}

/// Makes a link in place of an older one; gives its secret.
pub(super) fn issue_in(conn: &mut Conn, purpose: LinkPurpose, user_id: &str, email: &str, now: Timestamp) -> Result<String> {
    let secret = ids::secret();
    store::revoke_links(conn, user_id, &[purpose], now)?;
    let link = OneTimeLink {
        id: ids::new("otl"),
        purpose,
        user_id: user_id.to_owned(),
        email: email.to_owned(),
        token_hash: ids::hash_secret(&secret),
        created_at: now,
        expires_at: now.plus(life(purpose)),
        used_at: None,
        revoked_at: None,
    };
    store::insert_link(conn, &link).or_conflict("link-just-made")?;
    Ok(secret)
}

/// The link of a secret, if it is for one of some purposes.
///
/// # Errors
/// `link-over`: unknown, used, replaced or too old; which of them is not told.
pub(super) fn find_in(conn: &mut Conn, purposes: &[LinkPurpose], secret: &str, now: Timestamp) -> Result<OneTimeLink> {
    store::find_link(conn, purposes, &ids::hash_secret(secret), now)?.ok_or_else(|| Error::gone("link-over"))
}

/// Uses a link up.
///
/// # Errors
/// `link-over`.
pub(super) fn use_in(conn: &mut Conn, purposes: &[LinkPurpose], secret: &str, now: Timestamp) -> Result<OneTimeLink> {
    let link = find_in(conn, purposes, secret, now)?;
    if store::use_link(conn, &link.id, now)? == 0 {
        return Err(Error::gone("link-over"));
    }
    Ok(link)
}

/// The address that a link is about, while it can be used.
pub async fn address_of(app: &App, purposes: &'static [LinkPurpose], secret: &str) -> Result<String> {
    let (secret, now) = (secret.to_owned(), app.clock.now());
    app.db.read(move |conn| Ok(find_in(conn, purposes, &secret, now)?.email)).await
}
