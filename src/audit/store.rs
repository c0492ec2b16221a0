//! Appending and reading records.

use std::collections::BTreeSet;

use diesel::prelude::*;

use crate::audit::model::{AuditSearch, DraftRecord, Filter, GENESIS, Leaf, LogPosition, Record};
use crate::audit::seal::Seal;
use crate::base::db::schema::audit_records::dsl;
use crate::base::db::schema::{audit_heads, audit_seal_leaves, audit_seals};
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::Result;

/// Appends records to their chains, chain by chain in the order of the names. The transaction does nothing after that but commit.
pub fn append(conn: &mut Conn, now: Timestamp, mut entries: Vec<DraftRecord>) -> Result<()> {
    // Stable: records of one chain stay in the order in which they were made.
    entries.sort_by(|a, b| a.chain.cmp(&b.chain));
    let mut entries = entries.into_iter().peekable();
    while let Some(first) = entries.next() {
        let chain = first.chain.clone();
        let head = dialect::lock_audit_head(conn, &chain, GENESIS)?;
        let mut last = first.following(head, now);
        diesel::insert_into(dsl::audit_records).values(&last).execute(conn)?;
        while let Some(next) = entries.next_if(|entry| entry.chain == chain) {
            last = next.following((last.sequence, last.hash), now);
            diesel::insert_into(dsl::audit_records).values(&last).execute(conn)?;
        }
        diesel::update(audit_heads::table.find(&chain))
            .set((audit_heads::sequence.eq(last.sequence), audit_heads::hash.eq(&last.hash)))
            .execute(conn)?;
    }
    Ok(())
}

/// Names of all chains that have a head, a sealed head or a record.
pub fn chains(conn: &mut Conn) -> QueryResult<BTreeSet<String>> {
    let mut chains: BTreeSet<String> = audit_heads::table.select(audit_heads::chain).load(conn)?.into_iter().collect();
    let sealed: Vec<String> = audit_seal_leaves::table.select(audit_seal_leaves::chain).distinct().load(conn)?;
    let recorded: Vec<String> = dsl::audit_records.select(dsl::chain).distinct().load(conn)?;
    chains.extend(sealed);
    chains.extend(recorded);
    Ok(chains)
}

/// Number and hash of the newest record of a chain, as its head says.
pub fn head(conn: &mut Conn, chain: &str) -> QueryResult<Option<(i64, String)>> {
    audit_heads::table.find(chain).select((audit_heads::sequence, audit_heads::hash)).first(conn).optional()
}

/// Number and hash of the newest record of a chain that was removed; 0 where none was.
pub fn base(conn: &mut Conn, chain: &str) -> QueryResult<(i64, String)> {
    let base = audit_heads::table.find(chain).select((audit_heads::base_sequence, audit_heads::base_hash));
    Ok(base.first(conn).optional()?.unwrap_or_default())
}

/// Moves the base of a chain on; 0 rows where it is not the one that was read.
pub fn set_base(conn: &mut Conn, chain: &str, before: i64, sequence: i64, hash: &str) -> QueryResult<usize> {
    diesel::update(audit_heads::table.find(chain).filter(audit_heads::base_sequence.eq(before)))
        .set((audit_heads::base_sequence.eq(sequence), audit_heads::base_hash.eq(hash)))
        .execute(conn)
}

/// The sealed head up to which a chain may be cut behind its base: the last within `batch` records, or the next, sealed before a time.
pub fn cut_of(conn: &mut Conn, chain: &str, base: i64, batch: i64, before: Timestamp) -> QueryResult<Option<Leaf>> {
    let old = || {
        audit_seal_leaves::table
            .inner_join(audit_seals::table.on(audit_seals::number.eq(audit_seal_leaves::number)))
            .filter(audit_seal_leaves::chain.eq(chain).and(audit_seal_leaves::sequence.gt(base)).and(audit_seals::at.lt(before)))
            .select(Leaf::as_select())
    };
    let near = old().filter(audit_seal_leaves::sequence.le(base + batch)).order(audit_seal_leaves::sequence.desc());
    match near.first(conn).optional()? {
        Some(leaf) => Ok(Some(leaf)),
        None => old().order(audit_seal_leaves::sequence).first(conn).optional(),
    }
}

/// The leaf of a seal that holds a record.
pub fn leaf_of(conn: &mut Conn, chain: &str, sequence: i64) -> QueryResult<Option<Leaf>> {
    audit_seal_leaves::table.find((chain, sequence)).select(Leaf::as_select()).first(conn).optional()
}

/// Removes the records of a chain up to a number.
pub fn delete_records(conn: &mut Conn, chain: &str, until: i64) -> QueryResult<usize> {
    diesel::delete(dsl::audit_records.filter(dsl::chain.eq(chain).and(dsl::sequence.le(until)))).execute(conn)
}

/// The newest seal.
pub fn last_seal(conn: &mut Conn) -> QueryResult<Option<Seal>> {
    audit_seals::table.order(audit_seals::number.desc()).select(Seal::as_select()).first(conn).optional()
}

/// The latest time of a seal, which is not that of the newest where a clock was ahead.
pub fn latest_seal_at(conn: &mut Conn) -> QueryResult<Option<Timestamp>> {
    audit_seals::table.select(diesel::dsl::max(audit_seals::at)).first(conn)
}

/// A seal by its number.
pub fn seal_of(conn: &mut Conn, number: i64) -> QueryResult<Option<Seal>> {
    audit_seals::table.find(number).select(Seal::as_select()).first(conn).optional()
}

/// Heads that no seal holds: chain, number and hash.
pub fn moved_heads(conn: &mut Conn) -> QueryResult<Vec<(String, i64, String)>> {
    let sealed = audit_seal_leaves::table
        .filter(audit_seal_leaves::chain.eq(audit_heads::chain).and(audit_seal_leaves::sequence.eq(audit_heads::sequence)));
    audit_heads::table
        .filter(diesel::dsl::not(diesel::dsl::exists(sealed)))
        .select((audit_heads::chain, audit_heads::sequence, audit_heads::hash))
        .load(conn)
}

/// Inserts a leaf of a seal.
pub fn insert_leaf(conn: &mut Conn, leaf: &Leaf) -> QueryResult<usize> {
    diesel::insert_into(audit_seal_leaves::table).values(leaf).execute(conn)
}

/// The seals after one, in order.
pub fn seals_after(conn: &mut Conn, number: i64, limit: i64) -> QueryResult<Vec<Seal>> {
    audit_seals::table.filter(audit_seals::number.gt(number)).order(audit_seals::number).limit(limit).select(Seal::as_select()).load(conn)
}

/// The leaves of a seal.
pub fn leaves_of(conn: &mut Conn, number: i64) -> QueryResult<Vec<Leaf>> {
    audit_seal_leaves::table.filter(audit_seal_leaves::number.eq(number)).select(Leaf::as_select()).load(conn)
}

/// The leaves of a chain after a sequence number, in order.
pub fn leaves_of_chain(conn: &mut Conn, chain: &str, sequence: i64, limit: i64) -> QueryResult<Vec<Leaf>> {
    audit_seal_leaves::table
        .filter(audit_seal_leaves::chain.eq(chain).and(audit_seal_leaves::sequence.gt(sequence)))
        .order(audit_seal_leaves::sequence)
        .limit(limit)
        .select(Leaf::as_select())
        .load(conn)
}

/// Records of a chain after a sequence number, oldest first.
pub fn list_after(conn: &mut Conn, chain: &str, sequence: i64, limit: i64) -> QueryResult<Vec<Record>> {
    dsl::audit_records
        .filter(dsl::chain.eq(chain).and(dsl::sequence.gt(sequence)))
        .order(dsl::sequence)
        .limit(limit)
        .select(Record::as_select())
        .load(conn)
}

/// Records before a position that fit a filter, newest first; with `sought` only those on its subjects or by its actors.
pub fn list_before(
    conn: &mut Conn,
    before: Option<&LogPosition>,
    filter: &Filter,
    sought: Option<&AuditSearch>,
    limit: i64,
) -> QueryResult<Vec<Record>> {
    let mut query = dsl::audit_records
        .order((dsl::at.desc(), dsl::chain.desc(), dsl::sequence.desc()))
        .limit(limit)
        .select(Record::as_select())
        .into_boxed();
    if let Some(LogPosition { at, chain, sequence }) = before.cloned() {
        let same_time = dsl::chain.lt(chain.clone()).or(dsl::chain.eq(chain).and(dsl::sequence.lt(sequence)));
        query = query.filter(dsl::at.lt(at).or(dsl::at.eq(at).and(same_time)));
    }
    if let Some(AuditSearch { subjects, actors }) = sought {
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

/// Records of a subject with one of some actions, newest first.
pub fn records_on(conn: &mut Conn, subject: &str, actions: &[&str], limit: i64) -> QueryResult<Vec<Record>> {
    dsl::audit_records
        .filter(dsl::subject.eq(subject).and(dsl::action.eq_any(actions.iter().copied())))
        .order((dsl::at.desc(), dsl::chain.desc(), dsl::sequence.desc()))
        .limit(limit)
        .select(Record::as_select())
        .load(conn)
}
