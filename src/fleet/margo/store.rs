//! Queries of what nodes get: their documents, and what their deployments are made of.

use diesel::prelude::*;

use crate::base::db::schema::{deployments, node_documents, nodes, organizations, releases};
use crate::base::db::{Conn, Json, Timestamp};
use crate::fleet::model::{Deployment, DeploymentState, NodeState};
use crate::release::model::Recall;

/// State, version and digest of a node's desired state, and its last call.
pub type Head = (NodeState, i64, Option<String>, Option<Timestamp>);

/// The [`Head`] of a node; none where there is no such node.
pub fn head(conn: &mut Conn, node_id: &str) -> QueryResult<Option<Head>> {
    nodes::table
        .find(node_id)
        .select((nodes::state, nodes::manifest_version, nodes::manifest_digest, nodes::seen_at))
        .first(conn)
        .optional()
}

/// Locks a node's row (PostgreSQL) by an update without a change. Gives the number of rows.
pub fn lock(conn: &mut Conn, node_id: &str) -> QueryResult<usize> {
    diesel::update(nodes::table.find(node_id)).set(nodes::manifest_version.eq(nodes::manifest_version)).execute(conn)
}

/// Capabilities as stored.
pub fn capabilities(conn: &mut Conn, node_id: &str) -> QueryResult<Option<String>> {
    nodes::table.find(node_id).select(nodes::capabilities).first(conn)
}

/// Stores or forgets capabilities.
pub fn set_capabilities(conn: &mut Conn, node_id: &str, json: Option<&str>) -> QueryResult<usize> {
    diesel::update(nodes::table.find(node_id)).set(nodes::capabilities.eq(json)).execute(conn)
}

/// Sets a node's new manifest, if the node still is at the version that was read. Gives the number of rows.
pub fn advance(conn: &mut Conn, node_id: &str, from: i64, to: i64, digest: &str) -> QueryResult<usize> {
    diesel::update(nodes::table.filter(nodes::id.eq(node_id).and(nodes::manifest_version.eq(from))))
        .set((nodes::manifest_version.eq(to), nodes::manifest_digest.eq(digest)))
        .execute(conn)
}

/// Forgets all documents of a node.
pub fn drop_documents(conn: &mut Conn, node_id: &str) -> QueryResult<usize> {
    diesel::update(nodes::table.find(node_id)).set(nodes::manifest_digest.eq(None::<String>)).execute(conn)?;
    diesel::delete(node_documents::table.filter(node_documents::node_id.eq(node_id))).execute(conn)
}

/// A document of a node.
pub fn document(conn: &mut Conn, node_id: &str, digest: &str, kind: &str) -> QueryResult<Option<Vec<u8>>> {
    node_documents::table
        .find((node_id, digest))
        .filter(node_documents::kind.eq(kind))
        .select(node_documents::content)
        .first(conn)
        .optional()
}

/// Digests of a node's documents.
pub fn digests(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<String>> {
    node_documents::table.filter(node_documents::node_id.eq(node_id)).select(node_documents::digest).load(conn)
}

/// The manifests that are kept of a node.
pub fn manifests(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<(String, Vec<u8>)>> {
    node_documents::table
        .filter(node_documents::node_id.eq(node_id).and(node_documents::kind.eq("manifest")))
        .select((node_documents::digest, node_documents::content))
        .load(conn)
}

pub fn insert_document(conn: &mut Conn, node_id: &str, digest: &str, kind: &str, content: &[u8], now: Timestamp) -> QueryResult<usize> {
    diesel::insert_into(node_documents::table)
        .values((
            node_documents::node_id.eq(node_id),
            node_documents::digest.eq(digest),
            node_documents::kind.eq(kind),
            node_documents::content.eq(content),
            node_documents::created_at.eq(now),
        ))
        .execute(conn)
}

pub fn delete_documents(conn: &mut Conn, node_id: &str, digests: &[String]) -> QueryResult<usize> {
    diesel::delete(node_documents::table.filter(node_documents::node_id.eq(node_id).and(node_documents::digest.eq_any(digests))))
        .execute(conn)
}

/// The release of a deployment, as its document names it.
#[derive(Debug, Queryable)]
pub struct Target {
    pub version: String,
    /// Digest of the OCI manifest.
    pub digest: String,
    /// Why the platform has recalled it.
    pub recall: Option<Json<Recall>>,
}

/// Deployments of a node that are not gone, with their releases, in order of their ids.
pub fn deployments(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<(Deployment, Target)>> {
    deployments::table
        .inner_join(releases::table.on(releases::id.eq(deployments::release_id)))
        .filter(deployments::node_id.eq(node_id).and(deployments::state.ne(DeploymentState::Removed).or(deployments::wanted.eq(true))))
        .order(deployments::id)
        .select((Deployment::as_select(), (releases::version, releases::digest, releases::recall)))
        .load(conn)
}

/// Ids of deployments by which a release is wanted, and of their nodes, after a deployment id.
pub fn wanted_after(conn: &mut Conn, release_id: &str, after: &str, limit: i64) -> QueryResult<Vec<(String, String)>> {
    deployments::table
        .filter(deployments::release_id.eq(release_id).and(deployments::wanted.eq(true)).and(deployments::id.gt(after)))
        .order(deployments::id)
        .limit(limit)
        .select((deployments::id, deployments::node_id))
        .load(conn)
}

/// Writes a deployment's document digest, and the version of the desired state that holds the change.
pub fn aim(conn: &mut Conn, id: &str, digest: &str, version: i64) -> QueryResult<usize> {
    diesel::update(deployments::table.find(id)).set((deployments::digest.eq(digest), deployments::target_version.eq(version))).execute(conn)
}

/// Writes the state of a deployment, if the operator has not changed it since it was read. Gives the number of rows.
pub fn set_state(conn: &mut Conn, was: &Deployment, state: DeploymentState, error: Option<&str>) -> QueryResult<usize> {
    let same = deployments::id.eq(&was.id).and(deployments::updated_at.eq(was.updated_at)).and(deployments::wanted.eq(was.wanted));
    diesel::update(deployments::table.filter(same)).set((deployments::state.eq(state), deployments::error.eq(error))).execute(conn)
}

/// Writes the version that the node has adopted; it never goes back.
pub fn set_adopted(conn: &mut Conn, id: &str, version: i64) -> QueryResult<usize> {
    diesel::update(deployments::table.filter(deployments::id.eq(id).and(deployments::adopted_version.lt(version))))
        .set(deployments::adopted_version.eq(version))
        .execute(conn)
}

/// Slug of an organisation.
pub fn slug(conn: &mut Conn, organization_id: &str) -> QueryResult<String> {
    organizations::table.find(organization_id).select(organizations::slug).first(conn)
}
