//! Queries of nodes.

use diesel::prelude::*;

use super::MANY;
use crate::base::db::schema::{nodes, sites};
use crate::base::db::{Conn, Timestamp};
use crate::fleet::model::{DOUBLED, Node, NodeState, runs_before, takes_turns};

pub fn insert_node(conn: &mut Conn, node: &Node) -> QueryResult<usize> {
    diesel::insert_into(nodes::table).values(node).execute(conn)
}

/// How many nodes of an organisation are not removed.
pub fn count_nodes(conn: &mut Conn, organization_id: &str) -> QueryResult<i64> {
    let of = nodes::organization_id.eq(organization_id).and(nodes::state.ne(NodeState::Removed));
    nodes::table.filter(of).count().get_result(conn)
}

/// A node of an organisation with the name of its site.
pub fn get_node(conn: &mut Conn, organization_id: &str, id: &str) -> QueryResult<(Node, String)> {
    nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::id.eq(id).and(nodes::organization_id.eq(organization_id)))
        .select((Node::as_select(), sites::name))
        .first(conn)
}

/// A node by id alone, for calls of the node itself, which its certificate identifies.
pub fn find_node(conn: &mut Conn, id: &str) -> QueryResult<Option<(Node, String)>> {
    nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::id.eq(id))
        .select((Node::as_select(), sites::name))
        .first(conn)
        .optional()
}

/// What a call of a node needs of its row.
#[derive(Debug, Queryable)]
pub struct CallerRow {
    pub organization_id: String,
    pub state: NodeState,
    pub serial: Option<String>,
    pub previous_serial: Option<String>,
    pub digest: Option<String>,
    pub seen_at: Option<Timestamp>,
}

/// The node that calls, by id alone: its certificate identifies it.
pub fn caller(conn: &mut Conn, id: &str) -> QueryResult<Option<CallerRow>> {
    nodes::table
        .find(id)
        .select((
            nodes::organization_id,
            nodes::state,
            nodes::certificate_serial,
            nodes::certificate_previous_serial,
            nodes::manifest_digest,
            nodes::seen_at,
        ))
        .first(conn)
        .optional()
}

/// The node of an enrolment code.
pub fn find_node_by_code(conn: &mut Conn, code_hash: &str) -> QueryResult<Option<(Node, String)>> {
    nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::code_hash.eq(code_hash))
        .select((Node::as_select(), sites::name))
        .first(conn)
        .optional()
}

/// Nodes of an organisation that are not removed, newest first.
pub fn list_nodes(conn: &mut Conn, organization_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<(Node, String)>> {
    let mut query = nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::organization_id.eq(organization_id.to_owned()).and(nodes::state.ne(NodeState::Removed)))
        .order(nodes::id.desc())
        .limit(limit)
        .select((Node::as_select(), sites::name))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(nodes::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// Enrolled nodes of an organisation by site and name, to choose from.
pub fn choosable_nodes(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<(Node, String)>> {
    nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::organization_id.eq(organization_id).and(nodes::state.eq(NodeState::Enrolled)))
        .order((sites::name, nodes::name, nodes::id))
        .limit(MANY)
        .select((Node::as_select(), sites::name))
        .load(conn)
}

/// Some nodes of an organisation, by id.
pub fn some_nodes(conn: &mut Conn, organization_id: &str, ids: &[String]) -> QueryResult<Vec<(Node, String)>> {
    nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::organization_id.eq(organization_id).and(nodes::id.eq_any(ids)))
        .order(nodes::id)
        .select((Node::as_select(), sites::name))
        .load(conn)
}

/// Site, state and last call of every node that is not removed, for the counts on pages.
pub fn node_pulses(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<(String, NodeState, Option<Timestamp>)>> {
    nodes::table
        .filter(nodes::organization_id.eq(organization_id).and(nodes::state.ne(NodeState::Removed)))
        .select((nodes::site_id, nodes::state, nodes::seen_at))
        .load(conn)
}

/// Sets a new code; the node must not be removed. Gives the number of rows.
pub fn set_code(conn: &mut Conn, organization_id: &str, id: &str, code_hash: &str, expires_at: Timestamp) -> QueryResult<usize> {
    let own = nodes::id.eq(id).and(nodes::organization_id.eq(organization_id)).and(nodes::state.ne(NodeState::Removed));
    diesel::update(nodes::table.filter(own))
        .set((nodes::code_hash.eq(code_hash), nodes::code_expires_at.eq(expires_at), nodes::code_used_at.eq(None::<Timestamp>)))
        .execute(conn)
}

/// Uses a code: the node is enrolled with this certificate. Gives the number of rows: 0 where another caller was faster.
pub fn use_code(
    conn: &mut Conn,
    id: &str,
    code_hash: &str,
    serial: &str,
    expires_at: Timestamp,
    agent_version: &str,
    now: Timestamp,
) -> QueryResult<usize> {
    let open = nodes::id
        .eq(id)
        .and(nodes::code_hash.eq(code_hash))
        .and(nodes::code_used_at.is_null())
        .and(nodes::code_expires_at.gt(now))
        .and(nodes::state.ne(NodeState::Removed));
    diesel::update(nodes::table.filter(open))
        .set((
            nodes::state.eq(NodeState::Enrolled),
            nodes::code_used_at.eq(now),
            nodes::certificate_serial.eq(serial),
            nodes::certificate_previous_serial.eq(None::<String>),
            nodes::certificate_expires_at.eq(expires_at),
            nodes::agent_version.eq(agent_version),
            // The node counts as up when its agent calls, not because it has a certificate.
            nodes::seen_at.eq(None::<Timestamp>),
        ))
        .execute(conn)
}

/// Sets a renewed certificate of an enrolled node. Gives the number of rows.
pub fn renew_certificate(conn: &mut Conn, id: &str, serial: &str, previous: Option<&str>, expires_at: Timestamp) -> QueryResult<usize> {
    diesel::update(nodes::table.filter(nodes::id.eq(id).and(nodes::state.eq(NodeState::Enrolled))))
        .set((
            nodes::certificate_serial.eq(serial),
            nodes::certificate_previous_serial.eq(previous),
            nodes::certificate_expires_at.eq(expires_at),
        ))
        .execute(conn)
}

/// Forgets the certificate before the one in force.
pub fn forget_previous_certificate(conn: &mut Conn, id: &str, serial: &str) -> QueryResult<usize> {
    diesel::update(nodes::table.filter(nodes::id.eq(id).and(nodes::certificate_serial.eq(serial))))
        .set(nodes::certificate_previous_serial.eq(None::<String>))
        .execute(conn)
}

/// Takes a node off the accepted list and frees its name. Gives the number of rows.
pub fn remove_node(conn: &mut Conn, organization_id: &str, id: &str, name: &str) -> QueryResult<usize> {
    let own = nodes::id.eq(id).and(nodes::organization_id.eq(organization_id)).and(nodes::state.ne(NodeState::Removed));
    diesel::update(nodes::table.filter(own))
        .set((
            nodes::state.eq(NodeState::Removed),
            nodes::name.eq(name),
            nodes::code_hash.eq(None::<String>),
            nodes::certificate_serial.eq(None::<String>),
            nodes::certificate_previous_serial.eq(None::<String>),
        ))
        .execute(conn)
}

/// Owner, id and last call of the enrolled nodes that called last in `[from, until)`, the earliest first, at most so many.
pub fn called_between(
    conn: &mut Conn,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> QueryResult<Vec<(String, String, Option<Timestamp>)>> {
    nodes::table
        .filter(nodes::state.eq(NodeState::Enrolled).and(nodes::seen_at.ge(from)).and(nodes::seen_at.lt(until)))
        .order(nodes::seen_at)
        .limit(limit)
        .select((nodes::organization_id, nodes::id, nodes::seen_at))
        .load(conn)
}

/// Notes that an enrolled node has called. Gives the number of rows; the row is locked from here on (PostgreSQL).
pub fn note_call(conn: &mut Conn, node_id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(nodes::table.filter(nodes::id.eq(node_id).and(nodes::state.eq(NodeState::Enrolled))))
        .set(nodes::seen_at.eq(now))
        .execute(conn)
}

/// The same of one that did not call last in `[from, until]`: of a node that does not count as up.
pub fn note_call_of_down(conn: &mut Conn, node_id: &str, (from, until): (Timestamp, Timestamp), now: Timestamp) -> QueryResult<usize> {
    let down = nodes::seen_at.is_null().or(nodes::seen_at.lt(from)).or(nodes::seen_at.gt(until));
    let enrolled = nodes::id.eq(node_id).and(nodes::state.eq(NodeState::Enrolled));
    diesel::update(nodes::table.filter(enrolled).filter(down)).set(nodes::seen_at.eq(now)).execute(conn)
}

/// The same of one that called last in `[from, until]`: of a node that counts as up.
pub fn note_call_of_up(conn: &mut Conn, node_id: &str, (from, until): (Timestamp, Timestamp), now: Timestamp) -> QueryResult<usize> {
    let up = nodes::id.eq(node_id).and(nodes::state.eq(NodeState::Enrolled)).and(nodes::seen_at.ge(from)).and(nodes::seen_at.le(until));
    diesel::update(nodes::table.filter(up)).set(nodes::seen_at.eq(now)).execute(conn)
}

/// Stores what a node's agent reports of itself: its fault, if it has one, and how many alarms were dropped and suppressed.
pub fn set_trouble(conn: &mut Conn, node_id: &str, trouble: Option<&str>, (dropped, suppressed): (i64, i64)) -> QueryResult<usize> {
    diesel::update(nodes::table.find(node_id))
        .set((nodes::trouble.eq(trouble), nodes::alarms_dropped.eq(dropped), nodes::alarms_suppressed.eq(suppressed)))
        .execute(conn)
}

/// Notes the run of the agent that reports under a node's identity. Gives whether two runs have taken turns of late.
pub fn note_instance(conn: &mut Conn, node_id: &str, instance: &str, now: Timestamp) -> QueryResult<bool> {
    let (present, before, doubled): (Option<String>, Option<String>, Option<Timestamp>) =
        nodes::table.find(node_id).select((nodes::instance, nodes::instance_before, nodes::doubled_at)).first(conn)?;
    let turns = takes_turns(present.as_deref(), before.as_deref(), instance);
    let doubled = if turns { Some(now) } else { doubled };
    if present.as_deref() != Some(instance) {
        let before = runs_before(present.as_deref(), before.as_deref());
        let runs = (nodes::instance.eq(instance), nodes::instance_before.eq(before), nodes::doubled_at.eq(doubled));
        diesel::update(nodes::table.find(node_id)).set(runs).execute(conn)?;
    }
    Ok(doubled.is_some_and(|at| at.plus(DOUBLED) >= now))
}
