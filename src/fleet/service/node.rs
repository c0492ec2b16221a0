//! Sites and nodes: add, show, give a new enrolment code, remove.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;

use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::dialect::Row;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;
use crate::base::jobs::Job;
use crate::catalog::model::AppName;
use crate::fleet::model::{Deployment, DeploymentEvent, DeploymentState, Node, NodeState, Site};
use crate::fleet::service::TOPIC;
use crate::fleet::{model, store};
use crate::{catalog, license};

/// Nodes on one page.
pub const PAGE: i64 = 50;
/// Longest name of a site or node, in characters.
const MAX_NAME: usize = 60;
/// Most sites of an operator: a bound against scripts, far above any mine.
const MAX_SITES: i64 = 500;
/// Runs the agent on the node, in the data folder that enrolling uses.
pub const RUN_COMMAND: &str = "pithead-edge run --ort-lib /path/to/libonnxruntime.so";

/// A site with the counts of its nodes.
#[derive(Debug, Clone)]
pub struct SiteLine {
    pub site: Site,
    /// Nodes that are up.
    pub online: i64,
    pub nodes: i64,
}

/// A node in a list.
#[derive(Debug, Clone)]
pub struct NodeLine {
    pub node: Node,
    /// Name of its site.
    pub site: String,
    /// Apps that run on it, by its last word.
    pub installed: i64,
    /// Apps that failed on it.
    pub failed: i64,
}

/// The content of a node's page.
#[derive(Debug, Clone)]
pub struct NodeDetail {
    pub node: Node,
    /// Name of its site.
    pub site: String,
    /// Deployments on the node: deployment, version, app.
    pub deployments: Vec<(Deployment, String, AppName)>,
    /// Events of these deployments, newest first.
    pub events: Vec<(DeploymentEvent, AppName)>,
}

/// An enrolment code, which is shown once.
#[derive(Debug, Clone)]
pub struct IssuedCode {
    pub node_id: String,
    /// As [`new_code`](crate::fleet::model::new_code) makes it.
    pub code: String,
    /// End of the code's validity.
    pub expires_at: Timestamp,
}

/// Adds a site; gives its id.
///
/// # Errors
/// `site-name-taken`; a wrong name.
pub async fn create_site(app: &App, actor: &Actor, name: &str) -> Result<String> {
    policy::require(actor, Action::ManageNodes)?;
    let name = name.to_owned();
    audit::change(app, actor, move |c| create_site_in(c, &name)).await
}

/// As [`create_site`], in the caller's transaction.
pub fn create_site_in(c: &mut Change<'_>, name: &str) -> Result<String> {
    let owner = &policy::require(c.actor, Action::ManageNodes)?.organization_id;
    let mut faults = Faults::default();
    let name = faults.line("name", name, 1, MAX_NAME);
    faults.check()?;
    // The organisation is locked until the end, so the second of two new sites at once counts the first.
    dialect::hold(c, Row::Organization(owner))?;
    if i64::try_from(store::sites_of(c, owner)?.len()).unwrap_or(i64::MAX) >= MAX_SITES {
        return Err(Error::conflict("too-many-sites").arg("max", MAX_SITES));
    }
    let site = Site { id: ids::new("sit"), organization_id: owner.clone(), name, created_at: c.now };
    store::insert_site(c, &site).or_conflict("site-name-taken")?;
    c.audit("site.created", &site.id, &json!({"name": site.name}));
    Ok(site.id)
}

/// Sites of the operator with the counts of their nodes.
pub async fn list_sites(app: &App, actor: &Actor) -> Result<Vec<SiteLine>> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            let mut lines: Vec<SiteLine> =
                store::sites_of(conn, &owner)?.into_iter().map(|site| SiteLine { site, online: 0, nodes: 0 }).collect();
            let mut counts: BTreeMap<String, (i64, i64)> = BTreeMap::new();
            for (site, state, seen) in store::node_pulses(conn, &owner)? {
                let count = counts.entry(site).or_default();
                count.1 += 1;
                if state == NodeState::Enrolled && model::heard_lately(seen, now) {
                    count.0 += 1;
                }
            }
            for line in &mut lines {
                (line.online, line.nodes) = counts.get(&line.site.id).copied().unwrap_or_default();
            }
            Ok(lines)
        })
        .await
}

/// Adds a node that waits for its enrolment; gives its code, which is shown once.
///
/// # Errors
/// `site` where it is not the operator's, `node-name-taken`, `too-many-fleet-nodes`; a wrong name.
pub async fn create_node(app: &App, actor: &Actor, site_id: &str, name: &str) -> Result<IssuedCode> {
    policy::require(actor, Action::ManageNodes)?;
    let (handle, site_id, name) = (app.clone(), site_id.to_owned(), name.to_owned());
    audit::change(app, actor, move |c| create_node_in(c, &handle, &site_id, &name)).await
}

/// As [`create_node`], in the caller's transaction.
pub fn create_node_in(c: &mut Change<'_>, app: &App, site_id: &str, name: &str) -> Result<IssuedCode> {
    let owner = &policy::require(c.actor, Action::ManageNodes)?.organization_id;
    let mut faults = Faults::default();
    let name = faults.line("name", name, 1, MAX_NAME);
    if site_id.is_empty() {
        faults.add("site_id", "required");
    }
    faults.check()?;
    let code = model::new_code();
    let (expires_at, most) = (code_end(app, c.now), app.settings.fleet.max_nodes);
    // As with sites: the second of two at once counts the first.
    dialect::hold(c, Row::Organization(owner))?;
    if store::count_nodes(c, owner)? >= most {
        return Err(Error::conflict("too-many-fleet-nodes").arg("max", most));
    }
    let site = store::get_site(c, owner, site_id).or_not_found("site")?;
    let node = Node {
        id: ids::new("nod"),
        organization_id: owner.clone(),
        site_id: site.id,
        name,
        state: NodeState::Waiting,
        code_hash: model::code_hash(&code),
        code_expires_at: Some(expires_at),
        code_used_at: None,
        certificate_serial: None,
        certificate_previous_serial: None,
        certificate_expires_at: None,
        capabilities: None,
        agent_version: None,
        seen_at: None,
        manifest_version: 0,
        manifest_digest: None,
        created_at: c.now,
        trouble: None,
        alarms_dropped: 0,
        alarms_suppressed: 0,
    };
    store::insert_node(c, &node).or_conflict("node-name-taken")?;
    c.audit("node.created", &node.id, &json!({"name": node.name, "site": site.name, "code_expires_at": expires_at}));
    c.poke(owner, TOPIC);
    Ok(IssuedCode { node_id: node.id, code, expires_at })
}

fn code_end(app: &App, now: Timestamp) -> Timestamp {
    now.plus(TimeDelta::hours(app.settings.fleet.code_hours.clamp(1, 24 * 30)))
}

/// The command that enrols a node by its code: it names the node endpoint, and the pin by which the node knows it before it has a
/// certificate.
pub fn enroll_command(app: &App, code: &str) -> String {
    format!("pithead-edge enroll --server {} --code {code} --ca-pin {}", app.settings.server.edge_url, app.ca.pin())
}

/// Gives a node a new code, where it never enrolled or must be set up anew. The old code is void at once; a certificate in force stays
/// so until the new code is used.
///
/// # Errors
/// `node` where it is not the operator's, `node-removed`.
pub async fn new_code(app: &App, actor: &Actor, node_id: &str) -> Result<IssuedCode> {
    policy::require(actor, Action::ManageNodes)?;
    let (handle, id) = (app.clone(), node_id.to_owned());
    audit::change(app, actor, move |c| new_code_in(c, &handle, &id)).await
}

/// As [`new_code`], in the caller's transaction.
pub fn new_code_in(c: &mut Change<'_>, app: &App, node_id: &str) -> Result<IssuedCode> {
    let owner = &policy::require(c.actor, Action::ManageNodes)?.organization_id;
    let code = model::new_code();
    let hash = model::code_hash(&code).unwrap_or_default();
    let expires_at = code_end(app, c.now);
    store::get_node(c, owner, node_id).or_not_found("node")?;
    exactly_one(store::set_code(c, owner, node_id, &hash, expires_at)?, "node-removed")?;
    c.audit("node.code-issued", node_id, &json!({"expires_at": expires_at}));
    Ok(IssuedCode { node_id: node_id.to_owned(), code, expires_at })
}

/// The operator's nodes with the names of their sites, the newest first, before an id; one more than a page.
pub async fn list_bare(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<(Node, String)>> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    app.db.read(move |conn| Ok(store::list_nodes(conn, &owner, before.as_deref(), PAGE + 1)?)).await
}

/// Nodes of the operator before an id, newest first; one more than a page where there are more.
pub async fn list_nodes(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<NodeLine>> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let rows = store::list_nodes(conn, &owner, before.as_deref(), PAGE + 1)?;
            let ids: Vec<String> = rows.iter().map(|(n, _)| n.id.clone()).collect();
            let mut counts: BTreeMap<String, (i64, i64)> = BTreeMap::new();
            for (node, state) in store::deployment_states(conn, &ids)? {
                let count = counts.entry(node).or_default();
                match state {
                    DeploymentState::Installed => count.0 += 1,
                    DeploymentState::Failed => count.1 += 1,
                    _ => {}
                }
            }
            let line = |(node, site): (Node, String)| {
                let (installed, failed) = counts.get(&node.id).copied().unwrap_or_default();
                NodeLine { node, site, installed, failed }
            };
            Ok(rows.into_iter().map(line).collect())
        })
        .await
}

/// One node of the operator.
///
/// # Errors
/// `node`: not there, or not the operator's.
pub fn detail_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<NodeDetail> {
    let owner = &policy::require(actor, Action::ViewFleet)?.organization_id;
    let (node, site) = store::get_node(conn, owner, id).or_not_found("node")?;
    let rows = store::deployments_of_node(conn, &node.id)?;
    let app_ids: Vec<String> = rows.iter().map(|(d, _)| d.app_id.clone()).collect();
    let apps: BTreeMap<String, AppName> = catalog::service::app_names(conn, &app_ids)?.into_iter().collect();
    let deployments: Vec<(Deployment, String, AppName)> =
        rows.into_iter().filter_map(|(d, version)| apps.get(&d.app_id).cloned().map(|app| (d, version, app))).collect();
    let ids: Vec<String> = deployments.iter().map(|(d, _, _)| d.id.clone()).collect();
    let events = store::events(conn, &ids, 20)?
        .into_iter()
        .filter_map(|event| {
            let app = deployments.iter().find(|(d, _, _)| d.id == event.deployment_id).map(|(_, _, app)| app.clone())?;
            Some((event, app))
        })
        .collect();
    Ok(NodeDetail { node, site, deployments, events })
}

/// Takes a node off the accepted list at once: its next call is refused. Its deployments end, its seats are free.
///
/// # Errors
/// `node-removed` where that has happened already.
pub async fn remove_node(app: &App, actor: &Actor, node_id: &str) -> Result<()> {
    policy::require(actor, Action::ManageNodes)?;
    let id = node_id.to_owned();
    audit::change(app, actor, move |c| remove_node_in(c, &id)).await
}

/// As [`remove_node`], in the caller's transaction.
pub fn remove_node_in(c: &mut audit::Change<'_>, id: &str) -> Result<()> {
    let owner = &policy::require(c.actor, Action::ManageNodes)?.organization_id;
    c.uncounted();
    let now = c.now;
    let (node, _) = store::get_node(c, owner, id).or_not_found("node")?;
    // The row gets a name with a suffix, so that the node that replaces this one can have the name.
    let kept = format!("{}{}", node.name, model::removed_suffix(id));
    exactly_one(store::remove_node(c, owner, id, &kept)?, "node-removed")?;
    let deployments = store::deployments_of_node(c, id)?;
    for (deployment, version) in &deployments {
        if deployment.wanted {
            store::unwant_deployment(c, owner, &deployment.id, DeploymentState::Removed, now)?;
        } else {
            store::mark_removed(c, &deployment.id, now)?;
        }
        super::deployment::event(c, &deployment.id, DeploymentState::Removed, version, now)?;
    }
    license::service::deactivate_node_in(c, id)?;
    // The rebuild of a removed node drops its documents.
    c.enqueue_for(owner, &Job::RebuildNode { node_id: id.to_owned() })?;
    c.audit("node.removed", id, &json!({"name": node.name, "deployments": deployments.len()}));
    c.poke(owner, format!("node:{id}"));
    c.poke(owner, TOPIC);
    Ok(())
}
