//! Appending and reading records.

use diesel::prelude::*;
use serde_json::Value;

use crate::audit::model::Sought;
use crate::audit::model::{Filter, GENESIS, Record};
use crate::base::auth::Actor;
use crate::base::db::schema::audit_records::dsl;
use crate::base::db::schema::users;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::Result;

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

/// Records before a sequence number that fit a filter, newest first; where something is sought, those on it or by it.
pub fn list_before(conn: &mut Conn, before: i64, filter: &Filter, sought: Option<&Sought>, limit: i64) -> QueryResult<Vec<Record>> {
    let mut query = dsl::audit_records
        .filter(dsl::sequence.lt(before))
        .order(dsl::sequence.desc())
        .limit(limit)
        .select(Record::as_select())
        .into_boxed();
    if let Some(Sought { subjects, actors }) = sought {
        query = query.filter(dsl::subject.eq_any(subjects.clone()).or(dsl::actor.eq_any(actors.clone())));
    }
    if !filter.action.is_empty() {
        query = query.filter(dsl::action.eq(filter.action.clone()));
    }
    let (from, to) = filter.span();
    if let Some(from) = from {
        query = query.filter(dsl::at.ge(from));
    }
    if let Some(to) = to {
        query = query.filter(dsl::at.lt(to));
    }
    query.load(conn)
}

/// Records of a subject with one of some actions, newest first, with the name of the person who acted.
pub fn list_told(conn: &mut Conn, subject: &str, actions: &[&str], limit: i64) -> QueryResult<Vec<(Record, Option<String>)>> {
    let records: Vec<Record> = dsl::audit_records
        .filter(dsl::subject.eq(subject).and(dsl::action.eq_any(actions.iter().copied())))
        .order(dsl::sequence.desc())
        .limit(limit)
        .select(Record::as_select())
        .load(conn)?;
    let ids: Vec<&str> = records.iter().filter_map(|record| record.actor.strip_prefix("user:")).collect();
    let names: Vec<(String, String)> = users::table.filter(users::id.eq_any(ids)).select((users::id, users::name)).load(conn)?;
    let name = |actor: &str| names.iter().find(|(id, _)| Some(id.as_str()) == actor.strip_prefix("user:")).map(|(_, name)| name.clone());
    Ok(records
        .into_iter()
        .map(|record| {
            let by = name(&record.actor);
            (record, by)
        })
        .collect())
}
