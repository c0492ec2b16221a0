//! Queries of uploads.

use diesel::prelude::*;

use crate::base::db::schema::{repositories, uploads};
use crate::base::db::{Conn, Timestamp};
use crate::registry::model::Upload;

pub fn insert_upload(conn: &mut Conn, upload: &Upload) -> QueryResult<usize> {
    diesel::insert_into(uploads::table).values(upload).execute(conn)
}

pub fn upload(conn: &mut Conn, id: &str) -> QueryResult<Option<Upload>> {
    uploads::table.find(id).select(Upload::as_select()).first(conn).optional()
}

pub fn count_uploads(conn: &mut Conn, user_id: &str) -> QueryResult<i64> {
    uploads::table.filter(uploads::user_id.eq(user_id)).count().get_result(conn)
}

/// A person's open uploads that are not over, each with its repository's name, newest first.
pub fn open_uploads(conn: &mut Conn, user_id: &str, now: Timestamp, limit: i64) -> QueryResult<Vec<(String, Upload)>> {
    uploads::table
        .inner_join(repositories::table.on(repositories::id.eq(uploads::repository_id)))
        .filter(uploads::user_id.eq(user_id).and(uploads::expires_at.gt(now)))
        .order(uploads::id.desc())
        .limit(limit)
        .select((repositories::name, Upload::as_select()))
        .load(conn)
}

/// Moves the durable offset, if it is still where the caller believes.
pub fn advance(conn: &mut Conn, id: &str, from: i64, to: i64, expires_at: Timestamp) -> QueryResult<usize> {
    diesel::update(uploads::table.find(id).filter(uploads::offset_bytes.eq(from)))
        .set((uploads::offset_bytes.eq(to), uploads::expires_at.eq(expires_at)))
        .execute(conn)
}

pub fn delete_upload(conn: &mut Conn, id: &str) -> QueryResult<usize> {
    diesel::delete(uploads::table.find(id)).execute(conn)
}

/// Ids of expired uploads, at most `limit`.
pub fn expired_uploads(conn: &mut Conn, now: Timestamp, limit: i64) -> QueryResult<Vec<String>> {
    uploads::table.filter(uploads::expires_at.le(now)).order(uploads::expires_at).limit(limit).select(uploads::id).load(conn)
}

/// When the next upload will be over.
pub fn next_expiry(conn: &mut Conn) -> QueryResult<Option<Timestamp>> {
    uploads::table.order(uploads::expires_at).select(uploads::expires_at).first(conn).optional()
}
