//! Queries of sites, nodes and deployments. Every query of a tenant's rows names the organisation.

use std::collections::BTreeMap;

use diesel::dsl::{count_star, exists, max};
use diesel::prelude::*;

use crate::base::db::schema::{activations, deployment_events, deployments, licenses, nodes, orders, releases, sites};
use crate::base::db::{Conn, Timestamp, dialect};
use crate::fleet::model::{Deployment, DeploymentEvent, DeploymentRow, DeploymentState, ReleaseInfo, ReleaseName, Seat, Site, up_between};
use crate::license::model::License;
use crate::release::model::ReleaseState;

mod node;

pub use node::*;

/// Most sites and choices that one page holds.
const MANY: i64 = 500;
/// Most versions of an app to choose from.
const VERSIONS: i64 = 200;

pub fn insert_site(conn: &mut Conn, site: &Site) -> QueryResult<usize> {
    diesel::insert_into(sites::table).values(site).execute(conn)
}

/// Sites of an organisation by name.
pub fn sites_of(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<Site>> {
    sites::table
        .filter(sites::organization_id.eq(organization_id))
        .order((sites::name, sites::id))
        .limit(MANY)
        .select(Site::as_select())
        .load(conn)
}

/// A site of an organisation.
pub fn get_site(conn: &mut Conn, organization_id: &str, id: &str) -> QueryResult<Site> {
    sites::table.find(id).filter(sites::organization_id.eq(organization_id)).select(Site::as_select()).first(conn)
}

/// The part of a release that deploying needs.
pub fn release(conn: &mut Conn, id: &str) -> QueryResult<ReleaseInfo> {
    releases::table
        .find(id)
        .select((releases::id, releases::app_id, releases::version, releases::digest, releases::state, releases::manifest))
        .first(conn)
}

/// Published releases of apps, of each stable ones first, then the newest first, at most so many.
pub fn published(conn: &mut Conn, app_ids: &[String]) -> QueryResult<Vec<ReleaseName>> {
    dialect::newest_releases(conn, ReleaseState::Published.as_str(), app_ids, VERSIONS)
}

/// Versions that an organisation wants to run, at most so many: app, version, and the licence that says which may follow.
pub fn wanted_versions(conn: &mut Conn, organization_id: &str, limit: i64) -> QueryResult<Vec<(String, String, License)>> {
    deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .inner_join(licenses::table.on(licenses::id.eq(deployments::license_id)))
        .filter(deployments::organization_id.eq(organization_id).and(deployments::wanted.eq(true)))
        .order(deployments::id)
        .limit(limit)
        .select((deployments::app_id, releases::version, License::as_select()))
        .load(conn)
}

/// Numbers of orders, by id.
pub fn order_numbers(conn: &mut Conn, ids: &[String]) -> QueryResult<BTreeMap<String, String>> {
    let rows: Vec<(String, String)> = orders::table.filter(orders::id.eq_any(ids)).select((orders::id, orders::number)).load(conn)?;
    Ok(rows.into_iter().collect())
}

/// Deployments of an app on nodes, with the version of their release.
pub fn deployments_on(conn: &mut Conn, app_id: &str, node_ids: &[String]) -> QueryResult<Vec<(Deployment, String)>> {
    deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .filter(deployments::app_id.eq(app_id).and(deployments::node_id.eq_any(node_ids)))
        .order(deployments::id)
        .select((Deployment::as_select(), releases::version))
        .load(conn)
}

pub fn insert_deployment(conn: &mut Conn, deployment: &Deployment) -> QueryResult<usize> {
    diesel::insert_into(deployments::table).values(deployment).execute(conn)
}

/// Changes the operator's wish for a deployment that is still as it was read. Gives the number of rows.
pub fn change_deployment(conn: &mut Conn, was: &Deployment, new: &Deployment) -> QueryResult<usize> {
    let same = deployments::id.eq(&was.id).and(deployments::updated_at.eq(was.updated_at)).and(deployments::release_id.eq(&was.release_id));
    diesel::update(deployments::table.filter(same))
        .set((
            deployments::release_id.eq(&new.release_id),
            deployments::license_id.eq(&new.license_id),
            deployments::parameters.eq(&new.parameters),
            deployments::wanted.eq(true),
            deployments::state.eq(DeploymentState::Pending),
            deployments::error.eq(None::<String>),
            deployments::updated_at.eq(new.updated_at),
        ))
        .execute(conn)
}

/// Marks a deployment as to be removed. Gives the number of rows.
pub fn unwant_deployment(conn: &mut Conn, organization_id: &str, id: &str, state: DeploymentState, now: Timestamp) -> QueryResult<usize> {
    let own = deployments::id.eq(id).and(deployments::organization_id.eq(organization_id)).and(deployments::wanted.eq(true));
    diesel::update(deployments::table.filter(own))
        .set((
            deployments::wanted.eq(false),
            deployments::state.eq(state),
            deployments::error.eq(None::<String>),
            deployments::updated_at.eq(now),
        ))
        .execute(conn)
}

/// Which of these licences have a deployment that is wanted.
pub fn licenses_in_use(conn: &mut Conn, license_ids: &[&str]) -> QueryResult<Vec<String>> {
    let wanted = deployments::license_id.eq_any(license_ids).and(deployments::wanted.eq(true));
    deployments::table.filter(wanted).select(deployments::license_id).distinct().load(conn)
}

/// Marks a deployment that was to be removed as gone. Gives the number of rows.
pub fn mark_removed(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(
        deployments::table
            .filter(deployments::id.eq(id).and(deployments::wanted.eq(false)).and(deployments::state.ne(DeploymentState::Removed))),
    )
    .set((deployments::state.eq(DeploymentState::Removed), deployments::updated_at.eq(now)))
    .execute(conn)
}

/// A deployment of an organisation with the version of its release.
pub fn get_deployment(conn: &mut Conn, organization_id: &str, id: &str) -> QueryResult<(Deployment, String)> {
    deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .filter(deployments::id.eq(id).and(deployments::organization_id.eq(organization_id)))
        .select((Deployment::as_select(), releases::version))
        .first(conn)
}

/// A deployment by id alone, with the version of its release: for the node's reports.
pub fn find_deployment(conn: &mut Conn, id: &str) -> QueryResult<Option<(Deployment, String)>> {
    deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .filter(deployments::id.eq(id))
        .select((Deployment::as_select(), releases::version))
        .first(conn)
        .optional()
}

/// Whether one of some releases, by their digests, is wanted on a node.
pub fn runs(conn: &mut Conn, node_id: &str, digests: &[&str]) -> QueryResult<bool> {
    let found: Option<String> = deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .filter(deployments::node_id.eq(node_id).and(deployments::wanted.eq(true)).and(releases::digest.eq_any(digests)))
        .select(deployments::id)
        .first(conn)
        .optional()?;
    Ok(found.is_some())
}

/// Deployments of an organisation that are not gone, newest first.
pub fn list_deployments(conn: &mut Conn, organization_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<DeploymentRow>> {
    let mut query = deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .inner_join(nodes::table.on(nodes::id.eq(deployments::node_id)))
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(deployments::organization_id.eq(organization_id.to_owned()).and(deployments::state.ne(DeploymentState::Removed)))
        .order(deployments::id.desc())
        .limit(limit)
        .select((Deployment::as_select(), releases::version, nodes::name, sites::name, nodes::seen_at))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(deployments::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// Wanted deployments of an organisation, by one licence or by all, whose release is recalled, newest first.
pub fn recalled_deployments(
    conn: &mut Conn,
    organization_id: &str,
    license_id: Option<&str>,
    limit: i64,
) -> QueryResult<Vec<DeploymentRow>> {
    let mut query = deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .inner_join(nodes::table.on(nodes::id.eq(deployments::node_id)))
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(deployments::organization_id.eq(organization_id.to_owned()).and(deployments::wanted.eq(true)))
        .filter(releases::state.eq(ReleaseState::Recalled))
        .order(deployments::id.desc())
        .limit(limit)
        .select((Deployment::as_select(), releases::version, nodes::name, sites::name, nodes::seen_at))
        .into_boxed();
    if let Some(license_id) = license_id {
        query = query.filter(deployments::license_id.eq(license_id.to_owned()));
    }
    query.load(conn)
}

/// Deployments on a node that are not gone, newest first, with their versions.
pub fn deployments_of_node(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<(Deployment, String)>> {
    deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .filter(deployments::node_id.eq(node_id).and(deployments::state.ne(DeploymentState::Removed)))
        .order(deployments::id.desc())
        .limit(MANY)
        .select((Deployment::as_select(), releases::version))
        .load(conn)
}

/// How many deployments of an organisation are in each state.
pub fn deployment_counts(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<(DeploymentState, i64)>> {
    deployments::table
        .filter(deployments::organization_id.eq(organization_id))
        .group_by(deployments::state)
        .select((deployments::state, count_star()))
        .load(conn)
}

/// How many of an organisation's deployments are installed on nodes that do not count as up.
pub fn unheard_deployments(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<i64> {
    let (first, last) = up_between(now);
    let own = deployments::organization_id.eq(organization_id).and(deployments::state.eq(DeploymentState::Installed));
    deployments::table
        .inner_join(nodes::table.on(nodes::id.eq(deployments::node_id)))
        .filter(own)
        .filter(nodes::seen_at.is_null().or(nodes::seen_at.lt(first)).or(nodes::seen_at.gt(last)))
        .select(count_star())
        .first(conn)
}

/// Node and state of each deployment on these nodes that is not gone.
pub fn deployment_states(conn: &mut Conn, node_ids: &[String]) -> QueryResult<Vec<(String, DeploymentState)>> {
    deployments::table
        .filter(deployments::node_id.eq_any(node_ids).and(deployments::state.ne(DeploymentState::Removed)))
        .select((deployments::node_id, deployments::state))
        .load(conn)
}

pub fn insert_event(conn: &mut Conn, event: &DeploymentEvent) -> QueryResult<usize> {
    diesel::insert_into(deployment_events::table).values(event).execute(conn)
}

/// Last events of deployments, newest first.
pub fn events(conn: &mut Conn, deployment_ids: &[String], limit: i64) -> QueryResult<Vec<DeploymentEvent>> {
    deployment_events::table
        .filter(deployment_events::deployment_id.eq_any(deployment_ids))
        .order(deployment_events::id.desc())
        .limit(limit)
        .select(DeploymentEvent::as_select())
        .load(conn)
}

/// Time of the latest event of a deployment.
pub fn last_event(conn: &mut Conn, deployment_id: &str) -> QueryResult<Option<Timestamp>> {
    deployment_events::table.filter(deployment_events::deployment_id.eq(deployment_id)).select(max(deployment_events::at)).first(conn)
}

/// Deletes events from before a time of deployments that are gone, the oldest first, at most so many.
pub fn delete_events_of_removed(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let old: Vec<String> = deployment_events::table
        .inner_join(deployments::table.on(deployments::id.eq(deployment_events::deployment_id)))
        .filter(deployment_events::at.lt(before).and(deployments::state.eq(DeploymentState::Removed)))
        .order(deployment_events::at)
        .limit(limit)
        .select(deployment_events::id)
        .load(conn)?;
    diesel::delete(deployment_events::table.filter(deployment_events::id.eq_any(old))).execute(conn)
}

/// Deployments with more events than a number, with how many they have.
pub fn with_events_over(conn: &mut Conn, most: i64, limit: i64) -> QueryResult<Vec<(String, i64)>> {
    deployment_events::table
        .group_by(deployment_events::deployment_id)
        .having(count_star().gt(most))
        .select((deployment_events::deployment_id, count_star()))
        .limit(limit)
        .load(conn)
}

/// Deletes the oldest events of a deployment, at most so many.
pub fn delete_oldest_events(conn: &mut Conn, deployment_id: &str, limit: i64) -> QueryResult<usize> {
    let of = deployment_events::table.filter(deployment_events::deployment_id.eq(deployment_id));
    let oldest: Vec<String> = of.order(deployment_events::id).limit(limit).select(deployment_events::id).load(conn)?;
    diesel::delete(deployment_events::table.filter(deployment_events::id.eq_any(oldest))).execute(conn)
}

/// Seats of a licence, by site and node, as many as one page holds. The caller has checked that the reader may see the licence.
pub fn seats_of(conn: &mut Conn, license_id: &str) -> QueryResult<Vec<Seat>> {
    // At most one: a node has one deployment of an app.
    let deployed = deployments::node_id
        .eq(activations::node_id)
        .and(deployments::license_id.eq(activations::license_id))
        .and(deployments::state.ne(DeploymentState::Removed));
    activations::table
        .inner_join(nodes::table.on(nodes::id.eq(activations::node_id)))
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .left_join(deployments::table.on(deployed))
        .filter(activations::license_id.eq(license_id))
        .order((sites::name, nodes::name, activations::id))
        .limit(MANY)
        .select((nodes::id, nodes::name, sites::name, activations::activated_at, deployments::id.nullable()))
        .load(conn)
}

/// Whether a deployment by a licence is on a node, or not yet gone from it.
pub fn is_deployed(conn: &mut Conn, license_id: &str, node_id: &str) -> QueryResult<bool> {
    let by = deployments::license_id.eq(license_id).and(deployments::node_id.eq(node_id));
    diesel::select(exists(deployments::table.filter(by.and(deployments::state.ne(DeploymentState::Removed))))).get_result(conn)
}
