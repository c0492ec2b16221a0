//! Queries of licences.

use chrono::TimeDelta;
use diesel::prelude::*;

use super::model::{Activation, License, LicenseState};
use crate::base::db::schema::{activations, apps, licenses, organizations};
use crate::base::db::{Conn, Timestamp};
use crate::base::i18n::Names;

pub fn insert(conn: &mut Conn, license: &License) -> QueryResult<usize> {
    diesel::insert_into(licenses::table).values(license).execute(conn)
}

pub fn get(conn: &mut Conn, id: &str) -> QueryResult<License> {
    licenses::table.find(id).select(License::as_select()).first(conn)
}

/// A licence of an organisation.
pub fn get_own(conn: &mut Conn, id: &str, organization_id: &str) -> QueryResult<License> {
    licenses::table.find(id).filter(licenses::organization_id.eq(organization_id)).select(License::as_select()).first(conn)
}

/// Licences before an id, newest first, of one organisation or of all, with the names of app and operator.
pub fn list(conn: &mut Conn, organization_id: Option<&str>, before: Option<&str>, limit: i64) -> QueryResult<Vec<(License, Names)>> {
    let mut query = licenses::table
        .inner_join(organizations::table.on(organizations::id.eq(licenses::organization_id)))
        .order(licenses::id.desc())
        .limit(limit)
        .select((License::as_select(), (organizations::name_zh, organizations::name_en)))
        .into_boxed();
    if let Some(organization_id) = organization_id {
        query = query.filter(licenses::organization_id.eq(organization_id.to_owned()));
    }
    if let Some(before) = before {
        query = query.filter(licenses::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// Names of an organisation, zh and en.
pub fn organization_name(conn: &mut Conn, id: &str) -> QueryResult<Names> {
    organizations::table.find(id).select((organizations::name_zh, organizations::name_en)).first(conn)
}

/// Whether the node holds a seat.
pub fn is_active(conn: &mut Conn, license_id: &str, node_id: &str) -> QueryResult<bool> {
    let found: i64 =
        activations::table.filter(activations::license_id.eq(license_id).and(activations::node_id.eq(node_id))).count().get_result(conn)?;
    Ok(found > 0)
}

/// Takes a seat where one is free and the licence is active. Gives the number of rows: 1, or 0.
pub fn take_seat(conn: &mut Conn, license_id: &str) -> QueryResult<usize> {
    let free =
        licenses::id.eq(license_id).and(licenses::state.eq(LicenseState::Active)).and(licenses::nodes_active.lt(licenses::node_limit));
    diesel::update(licenses::table.filter(free)).set(licenses::nodes_active.eq(licenses::nodes_active + 1)).execute(conn)
}

/// Counts one seat of a licence as free again.
pub fn give_seat(conn: &mut Conn, license_id: &str) -> QueryResult<usize> {
    let used = licenses::id.eq(license_id).and(licenses::nodes_active.gt(0));
    diesel::update(licenses::table.filter(used)).set(licenses::nodes_active.eq(licenses::nodes_active - 1)).execute(conn)
}

pub fn insert_activation(conn: &mut Conn, activation: &Activation) -> QueryResult<usize> {
    diesel::insert_into(activations::table).values(activation).execute(conn)
}

/// Deletes an activation; gives the number of rows.
pub fn delete_activation(conn: &mut Conn, license_id: &str, node_id: &str) -> QueryResult<usize> {
    diesel::delete(activations::table.filter(activations::license_id.eq(license_id).and(activations::node_id.eq(node_id)))).execute(conn)
}

/// Nodes that hold a seat, in order.
pub fn active_nodes(conn: &mut Conn, license_id: &str) -> QueryResult<Vec<String>> {
    activations::table.filter(activations::license_id.eq(license_id)).order(activations::node_id).select(activations::node_id).load(conn)
}

/// Licences of which a node holds a seat.
pub fn licenses_of_node(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<String>> {
    activations::table.filter(activations::node_id.eq(node_id)).order(activations::license_id).select(activations::license_id).load(conn)
}

/// Moves a licence from one of the states to another; gives the number of rows.
pub fn move_state(conn: &mut Conn, id: &str, from: &[LicenseState], to: LicenseState, now: Timestamp) -> QueryResult<usize> {
    diesel::update(licenses::table.filter(licenses::id.eq(id).and(licenses::state.eq_any(from))))
        .set((licenses::state.eq(to), licenses::updated_at.eq(now)))
        .execute(conn)
}

/// An organisation's licences for the app of a repository.
pub fn for_repository(conn: &mut Conn, organization_id: &str, vendor: &str, app: &str) -> QueryResult<Vec<License>> {
    licenses::table
        .inner_join(apps::table.on(apps::id.eq(licenses::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(licenses::organization_id.eq(organization_id).and(organizations::slug.eq(vendor)).and(apps::slug.eq(app)))
        .order(licenses::id)
        .select(License::as_select())
        .load(conn)
}

/// An organisation's licences, other than revoked ones, newest first, with the slugs of the app's vendor and of the app.
pub fn with_repositories(conn: &mut Conn, organization_id: &str, limit: i64) -> QueryResult<Vec<(String, String, License)>> {
    licenses::table
        .inner_join(apps::table.on(apps::id.eq(licenses::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(licenses::organization_id.eq(organization_id).and(licenses::state.ne(LicenseState::Revoked)))
        .order(licenses::id.desc())
        .limit(limit)
        .select((organizations::slug, apps::slug, License::as_select()))
        .load(conn)
}

/// An organisation's licences, other than revoked ones, that end before a time, latest end first.
pub fn ending(conn: &mut Conn, organization_id: &str, before: Timestamp, limit: i64) -> QueryResult<Vec<License>> {
    licenses::table
        .filter(
            licenses::organization_id.eq(organization_id).and(licenses::state.ne(LicenseState::Revoked)).and(licenses::ends_at.lt(before)),
        )
        .order((licenses::ends_at.desc(), licenses::id))
        .limit(limit)
        .select(License::as_select())
        .load(conn)
}

/// Licences in force behind an id that end in a span, and began, or came into it, a short time before now at most; in the order of their ids.
pub fn ending_after(
    conn: &mut Conn,
    after: &str,
    (now, until): (Timestamp, Timestamp),
    lately: TimeDelta,
    limit: i64,
) -> QueryResult<Vec<License>> {
    let ends = licenses::ends_at.gt(now).and(licenses::ends_at.le(until)).and(licenses::state.eq(LicenseState::Active));
    let fresh = licenses::ends_at.gt(until.minus(lately)).or(licenses::created_at.nullable().gt(now.minus(lately)));
    licenses::table
        .filter(licenses::id.gt(after).and(ends).and(fresh))
        .order(licenses::id)
        .limit(limit)
        .select(License::as_select())
        .load(conn)
}

/// Whether an organisation has, or had, a licence for an app.
pub fn has_any(conn: &mut Conn, organization_id: &str, app_id: &str) -> QueryResult<bool> {
    let own = licenses::table.filter(licenses::app_id.eq(app_id).and(licenses::organization_id.eq(organization_id)));
    diesel::select(diesel::dsl::exists(own)).get_result(conn)
}
