//! Appending and reading records.

use diesel::prelude::*;
use serde_json::Value;

use super::model::{GENESIS, Record};
use crate::auth::Actor;
use crate::db::{Conn, Timestamp, dialect, schema::audit_records::dsl};
use crate::error::Result;

/// Appends a record to the chain, in the caller's transaction. `detail` is a JSON object; it holds no secrets.
pub fn record(conn: &mut Conn, now: Timestamp, actor: &Actor, action: &str, subject: &str, detail: &Value) -> Result<()> {
    dialect::lock_audit_chain(conn)?;
    let last: Option<(i64, String)> =
        dsl::audit_records.order(dsl::sequence.desc()).select((dsl::sequence, dsl::hash)).first(conn).optional()?;
    let (sequence, previous_hash) = last.unwrap_or((0, GENESIS.to_owned()));
    let mut record = Record {
        sequence: sequence + 1,
        at: now,
        actor: actor.label(),
        organization_id: actor.organization_id().map(ToOwned::to_owned),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_string(),
        previous_hash,
        hash: String::new(),
    };
    record.hash = record.expected_hash();
    diesel::insert_into(dsl::audit_records).values(&record).execute(conn)?;
    Ok(())
}

/// Records after a sequence number, oldest first.
pub fn list_after(conn: &mut Conn, sequence: i64, limit: i64) -> QueryResult<Vec<Record>> {
    dsl::audit_records.filter(dsl::sequence.gt(sequence)).order(dsl::sequence).limit(limit).select(Record::as_select()).load(conn)
}

/// Records before a sequence number, newest first, optionally of one subject.
pub fn list_before(conn: &mut Conn, before: i64, subject: Option<&str>, limit: i64) -> QueryResult<Vec<Record>> {
    let query = dsl::audit_records.filter(dsl::sequence.lt(before)).order(dsl::sequence.desc()).limit(limit).select(Record::as_select());
    match subject {
        Some(subject) => query.filter(dsl::subject.eq(subject)).load(conn),
        None => query.load(conn),
    }
}
