//! Queries of the platform's own alarms, and of what they are about.

use diesel::prelude::*;

use crate::alarm_management::model::{EquipmentAlarm, EquipmentKind};
use crate::base::db::schema::{deployments, equipment_alarms, licenses, node_sources, nodes};
use crate::base::db::{Conn, Timestamp};
use crate::fleet::model::{DeploymentState, NodeState, up_between};
use crate::license::model::LicenseState;

/// Alarms of the platform that are present, of all organisations.
pub fn equipment_present(conn: &mut Conn) -> QueryResult<Vec<EquipmentAlarm>> {
    equipment_alarms::table.filter(equipment_alarms::ended_at.is_null()).select(EquipmentAlarm::as_select()).load(conn)
}

pub fn insert_equipment_alarm(conn: &mut Conn, alarm: &EquipmentAlarm) -> QueryResult<usize> {
    diesel::insert_into(equipment_alarms::table).values(alarm).execute(conn)
}

/// Whether the platform has raised this alarm, and it is present.
pub fn is_present(conn: &mut Conn, owner: &str, kind: EquipmentKind, subject: &str) -> QueryResult<bool> {
    let same = equipment_alarms::organization_id.eq(owner).and(equipment_alarms::kind.eq(kind)).and(equipment_alarms::subject.eq(subject));
    let found: i64 = equipment_alarms::table.filter(same.and(equipment_alarms::ended_at.is_null())).count().get_result(conn)?;
    Ok(found > 0)
}

pub fn end_equipment_alarms(conn: &mut Conn, ids: &[String], now: Timestamp) -> QueryResult<usize> {
    diesel::update(equipment_alarms::table.filter(equipment_alarms::id.eq_any(ids).and(equipment_alarms::ended_at.is_null())))
        .set(equipment_alarms::ended_at.eq(now))
        .execute(conn)
}

/// Owner, node, last call, and the trouble of its agent.
pub type TroubledNode = (String, String, Option<Timestamp>, Option<String>);

/// Enrolled nodes that have called before and are not up, or whose agent has trouble of its own.
pub fn troubled_nodes(conn: &mut Conn, now: Timestamp) -> QueryResult<Vec<TroubledNode>> {
    let (first, last) = up_between(now);
    nodes::table
        .filter(nodes::state.eq(NodeState::Enrolled).and(nodes::seen_at.is_not_null()))
        .filter(nodes::seen_at.lt(first).or(nodes::seen_at.gt(last)).or(nodes::trouble.is_not_null()))
        .select((nodes::organization_id, nodes::id, nodes::seen_at, nodes::trouble))
        .load(conn)
}

/// Deployments that should run and have failed: owner, deployment.
pub fn failed_apps(conn: &mut Conn) -> QueryResult<Vec<(String, String)>> {
    deployments::table
        .filter(deployments::wanted.eq(true).and(deployments::state.eq(DeploymentState::Failed)))
        .select((deployments::organization_id, deployments::id))
        .load(conn)
}

/// A source that shows nothing: owner, node, the node's name of it, since when, and when the node was heard.
pub type LostSource = (String, String, String, Option<Timestamp>, Option<Timestamp>);

/// Sources of enrolled nodes by which nobody has seen anything since before a moment.
pub fn lost_sources(conn: &mut Conn, before: Timestamp) -> QueryResult<Vec<LostSource>> {
    node_sources::table
        .inner_join(nodes::table.on(nodes::id.eq(node_sources::node_id)))
        .filter(nodes::state.eq(NodeState::Enrolled))
        .filter(node_sources::lost_since.le(before))
        .select((nodes::organization_id, nodes::id, node_sources::source_id, node_sources::lost_since, nodes::seen_at))
        .load(conn)
}

/// Licences in force that end between two moments: owner, licence.
pub fn ending_licenses(conn: &mut Conn, now: Timestamp, until: Timestamp) -> QueryResult<Vec<(String, String)>> {
    licenses::table
        .filter(licenses::ends_at.gt(now).and(licenses::ends_at.le(until)).and(licenses::state.eq(LicenseState::Active)))
        .select((licenses::organization_id, licenses::id))
        .load(conn)
}
