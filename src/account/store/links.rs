//! Queries of one-time links.

use diesel::prelude::*;

use crate::account::model::{LinkPurpose, OneTimeLink};
use crate::base::db::schema::one_time_links;
use crate::base::db::{Conn, Timestamp};

pub fn insert_link(conn: &mut Conn, link: &OneTimeLink) -> QueryResult<usize> {
    diesel::insert_into(one_time_links::table).values(link).execute(conn)
}

/// A link of some purposes by the hash of its secret, if it can be used.
pub fn find_link(conn: &mut Conn, purposes: &[LinkPurpose], token_hash: &str, now: Timestamp) -> QueryResult<Option<OneTimeLink>> {
    one_time_links::table
        .filter(one_time_links::token_hash.eq(token_hash).and(one_time_links::purpose.eq_any(purposes)))
        .filter(one_time_links::used_at.is_null().and(one_time_links::revoked_at.is_null()).and(one_time_links::expires_at.gt(now)))
        .select(OneTimeLink::as_select())
        .first(conn)
        .optional()
}

/// Marks a link as used; 0 rows where it was used, replaced or is too old.
pub fn use_link(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = one_time_links::used_at.is_null().and(one_time_links::revoked_at.is_null()).and(one_time_links::expires_at.gt(now));
    diesel::update(one_time_links::table.find(id).filter(open)).set(one_time_links::used_at.eq(now)).execute(conn)
}

/// Ends a person's open links of some purposes.
pub fn revoke_links(conn: &mut Conn, user_id: &str, purposes: &[LinkPurpose], now: Timestamp) -> QueryResult<usize> {
    let theirs = one_time_links::user_id.eq(user_id).and(one_time_links::purpose.eq_any(purposes));
    let open = theirs.and(one_time_links::used_at.is_null()).and(one_time_links::revoked_at.is_null());
    diesel::update(one_time_links::table.filter(open)).set(one_time_links::revoked_at.eq(now)).execute(conn)
}
