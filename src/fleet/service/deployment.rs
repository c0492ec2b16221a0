//! Deployments: deploy by a plan, remove, list.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, Person, policy};
use crate::base::db::dialect::Row;
use crate::base::db::{Conn, Json, Timestamp, dialect};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;
use crate::base::jobs::Job;
use crate::catalog::model::AppName;
use crate::fleet::model::{Change, Deployment, DeploymentEvent, DeploymentRow, DeploymentState, Node, ReleaseInfo, ReleaseName, changes};
use crate::fleet::service::TOPIC;
use crate::fleet::service::deployment_plan::{DeployInput, DeployPlan, MAX_NODES, PlanLine, judge, parse, plan_in, purpose};
use crate::fleet::store;
use crate::license::model::License;
use crate::license::service as licenses;
use crate::license::service::LicenseUse;
use crate::release::model::{Channel, Deprecation, Recall};
use crate::webhook::model::{Event, EventKind};
use crate::{audit, catalog, webhook};

/// Deployments on one page.
pub const PAGE: i64 = 50;

/// Deploys a release to nodes as they are now: [`deploy_seen`] for programs, which have seen no plan.
pub async fn deploy(app: &App, actor: &Actor, input: DeployInput) -> Result<Vec<String>> {
    deploy_seen(app, actor, input, None).await
}

/// Deploys a release to nodes: all of them, or none. Gives the deployments, also of nodes on which nothing changes. `seen` is the
/// [`DeployPlan::basis`] of the plan that a person has agreed to.
///
/// # Errors
/// As [`super::deployment_plan::plan`]; `deployment-changed` where somebody has changed one of the deployments since that plan, or at the
/// same moment.
pub async fn deploy_seen(app: &App, actor: &Actor, input: DeployInput, seen: Option<String>) -> Result<Vec<String>> {
    policy::require(actor, Action::Deploy)?;
    let handle = app.clone();
    audit::change(app, actor, move |c| deploy_in(c, &handle, &input, seen.as_deref())).await
}

/// As [`deploy_seen`], in the caller's transaction.
pub fn deploy_in(c: &mut audit::Change<'_>, app: &App, input: &DeployInput, seen: Option<&str>) -> Result<Vec<String>> {
    let person = policy::require(c.actor, Action::Deploy)?;
    let (owner, now) = (&person.organization_id, c.now);
    hold(c, input)?;
    let plan = plan_in(c, app, person, input, now)?;
    if seen.is_some_and(|seen| *seen != plan.basis()) {
        return Err(Error::conflict("deployment-changed"));
    }
    let (mut done, mut told) = (Vec::new(), Vec::new());
    for line in &plan.lines {
        let deployment = deploy_one(c, app, person, &plan, line, &mut told)?;
        c.poke(owner, format!("deployment:{deployment}"));
        c.poke(owner, format!("node:{}", line.node.id));
        done.push(deployment);
    }
    webhook::service::tell_all(c, owner, &told, now)?;
    c.poke(owner, TOPIC);
    Ok(done)
}

/// Holds the nodes in the order of their ids, then the licence, then the app: until the deployments are written no node is removed, the
/// licence is not suspended and gives no seat away, and the release is not recalled.
fn hold(conn: &mut Conn, input: &DeployInput) -> Result<()> {
    let nodes: BTreeSet<&String> = input.node_ids.iter().take(MAX_NODES).collect();
    for node_id in nodes {
        dialect::hold(conn, Row::Node(node_id))?;
    }
    licenses::hold_in(conn, &input.license_id)?;
    let release = store::release(conn, &input.release_id).or_not_found("deploy-release")?;
    dialect::hold(conn, Row::App(&release.app_id))?;
    Ok(())
}

/// Deploys to one node; adds what the operator's webhooks are told to `told`.
fn deploy_one(
    c: &mut audit::Change<'_>,
    app: &App,
    person: &Person,
    plan: &DeployPlan,
    line: &PlanLine,
    told: &mut Vec<Event>,
) -> Result<String> {
    let now = c.now;
    if let (Change::Same, Some(deployment)) = (&line.change, &line.existing) {
        return Ok(deployment.id.clone());
    }
    let (version, digest) = parse(&plan.release)?;
    let (node, license, release) = (&line.node, &plan.license, &plan.release);
    licenses::activate_in(c, &license.id, &node.id)?;
    let repository = plan.app.repository();
    let asked =
        LicenseUse { node_id: Some(&node.id), app: &repository, version: &version, digest: &digest, purpose: purpose(line, license) };
    judge(c, app, license, asked, now)?;
    // The deployment changes its licence: free the seat of the former one.
    if let Some(before) = line.existing.as_ref().filter(|d| d.license_id != license.id) {
        licenses::deactivate_in(c, &before.license_id, &node.id)?;
    }
    let fresh = Deployment {
        id: line.existing.as_ref().map_or_else(|| ids::new("dep"), |d| d.id.clone()),
        organization_id: person.organization_id.clone(),
        node_id: node.id.clone(),
        app_id: release.app_id.clone(),
        release_id: release.id.clone(),
        license_id: license.id.clone(),
        parameters: Json::new(line.parameters.clone()),
        wanted: true,
        digest: String::new(),
        target_version: 0,
        adopted_version: 0,
        state: DeploymentState::Pending,
        error: None,
        created_by: person.user_id.clone(),
        created_at: now,
        updated_at: now,
    };
    if let Some(was) = &line.existing {
        exactly_one(store::change_deployment(c, was, &fresh)?, "deployment-changed")?;
    } else {
        store::insert_deployment(c, &fresh).or_conflict("deployment-changed")?;
        crate::catalog::service::count_deployment(c, &release.app_id)?;
    }
    // A deployment that was removed begins anew: its former settings are no change to note.
    let note = line.existing.as_ref().filter(|was| was.wanted).and_then(|was| changes(was, &license.id, &line.parameters));
    let event = noted(&fresh.id, DeploymentState::Pending, &release.version, note, Some(&person.name), now);
    store::insert_event(c, &event)?;
    told.push(changed(&fresh, &event));
    c.enqueue_for(&person.organization_id, &Job::RebuildNode { node_id: node.id.clone() })?;
    let from = if let Change::Update { from } = &line.change { Some(from) } else { None };
    let detail = json!({
        "change": line.change.as_str(), "from": from, "app": repository, "version": release.version, "digest": release.digest, "license": license.id,
        "node": node.id, "node_name": node.name, "parameters": line.parameters,
    });
    c.audit("deployment.requested", &fresh.id, &detail);
    Ok(fresh.id)
}

/// Notes a state of a deployment in its history.
pub fn event(conn: &mut Conn, deployment_id: &str, state: DeploymentState, version: &str, now: Timestamp) -> Result<()> {
    happened(conn, &noted(deployment_id, state, version, None, None, now))
}

fn noted(
    deployment_id: &str,
    state: DeploymentState,
    version: &str,
    note: Option<String>,
    made_by: Option<&str>,
    now: Timestamp,
) -> DeploymentEvent {
    DeploymentEvent {
        id: ids::new("dev"),
        deployment_id: deployment_id.to_owned(),
        state: state.as_str().to_owned(),
        version: version.to_owned(),
        error: None,
        at: now,
        note,
        made_by: made_by.map(ToOwned::to_owned),
    }
}

/// Writes an event into the history of its deployment, and tells the operator's webhooks.
pub fn happened(conn: &mut Conn, event: &DeploymentEvent) -> Result<()> {
    store::insert_event(conn, event)?;
    let Some((deployment, _)) = store::find_deployment(conn, &event.deployment_id)? else { return Ok(()) };
    webhook::service::tell(conn, &deployment.organization_id, &changed(&deployment, event), event.at)
}

/// What webhooks are told of an event of a deployment.
fn changed(deployment: &Deployment, event: &DeploymentEvent) -> Event {
    let data = json!({
        "deployment": event.deployment_id, "node": deployment.node_id, "release": deployment.release_id, "version": event.version,
        "state": event.state, "error": event.error,
    });
    Event::new(EventKind::DeploymentChanged, data)
}

/// Takes an app off a node. The seat of its licence is free once the node reports the app gone ([`removed_in`]).
///
/// # Errors
/// `deployment-not-wanted` where its removal was asked for already.
pub async fn remove_deployment(app: &App, actor: &Actor, id: &str) -> Result<()> {
    policy::require(actor, Action::Deploy)?;
    let id = id.to_owned();
    audit::change(app, actor, move |c| remove_deployment_in(c, &id)).await
}

/// As [`remove_deployment`], in the caller's transaction.
pub fn remove_deployment_in(c: &mut audit::Change<'_>, id: &str) -> Result<()> {
    let person = policy::require(c.actor, Action::Deploy)?;
    let (owner, now) = (&person.organization_id, c.now);
    c.uncounted();
    let (deployment, version) = store::get_deployment(c, owner, id).or_not_found("deployment")?;
    exactly_one(store::unwant_deployment(c, owner, id, DeploymentState::Removing, now)?, "deployment-not-wanted")?;
    happened(c, &noted(id, DeploymentState::Removing, &version, None, Some(&person.name), now))?;
    c.enqueue_for(owner, &Job::RebuildNode { node_id: deployment.node_id.clone() })?;
    c.audit("deployment.removal-requested", id, &json!({"node": deployment.node_id, "version": version}));
    c.poke(owner, format!("deployment:{id}"));
    c.poke(owner, format!("node:{}", deployment.node_id));
    c.poke(owner, TOPIC);
    Ok(())
}

/// Marks a deployment as gone and frees the licence's seat. Does nothing to a deployment that is wanted. Called when the node reports
/// it gone (the node is the actor) or never had it; the caller holds the node.
pub fn removed_in(c: &mut audit::Change<'_>, deployment_id: &str) -> Result<()> {
    let now = c.now;
    let Some((deployment, version)) = store::find_deployment(c, deployment_id)?.filter(|(d, _)| !d.wanted) else { return Ok(()) };
    if store::mark_removed(c, deployment_id, now)? == 1 {
        event(c, deployment_id, DeploymentState::Removed, &version, now)?;
    }
    licenses::deactivate_in(c, &deployment.license_id, &deployment.node_id)?;
    Ok(())
}

/// A deployment in a list.
#[derive(Debug, Clone)]
pub struct DeploymentLine {
    pub deployment: Deployment,
    /// Version wanted.
    pub version: String,
    pub node: String,
    pub site: String,
    pub app: AppName,
    /// Last call of the node.
    pub seen_at: Option<Timestamp>,
    /// Why the platform has recalled the version.
    pub recall: Option<Recall>,
}

/// Deployments of the operator before an id, newest first; one more than a page where there are more.
pub async fn list_deployments(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<DeploymentLine>> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let rows = store::list_deployments(conn, &owner, before.as_deref(), PAGE + 1)?;
            lines(conn, rows)
        })
        .await
}

fn lines(conn: &mut Conn, rows: Vec<DeploymentRow>) -> Result<Vec<DeploymentLine>> {
    let app_ids: Vec<String> = rows.iter().map(|(d, ..)| d.app_id.clone()).collect();
    let apps: BTreeMap<String, AppName> = catalog::service::app_names(conn, &app_ids)?.into_iter().collect();
    let release_ids: Vec<&str> = rows.iter().map(|(d, ..)| d.release_id.as_str()).collect();
    let recalls = crate::release::recall::recalls(conn, &release_ids)?;
    let line = |(deployment, version, node, site, seen_at): DeploymentRow| {
        let (app, recall) = (apps.get(&deployment.app_id)?.clone(), recalls.get(&deployment.release_id).cloned());
        Some(DeploymentLine { deployment, version, node, site, app, seen_at, recall })
    };
    Ok(rows.into_iter().filter_map(line).collect())
}

/// Deployments of an operator whose version the platform has recalled and that are still wanted, newest first; `license_id` narrows them to
/// those by one licence. The caller has checked that the reader may see them.
pub fn recalled(conn: &mut Conn, organization_id: &str, license_id: Option<&str>, limit: i64) -> Result<Vec<DeploymentLine>> {
    let rows = store::recalled_deployments(conn, organization_id, license_id, limit)?;
    lines(conn, rows)
}

/// Most deployments that are looked through for updates.
const MOST_FOR_UPDATES: i64 = 2_000;

/// How many of an operator's deployments could run a newer stable version that their licence covers. The caller has checked that the reader may
/// see them.
pub fn updates(conn: &mut Conn, organization_id: &str) -> Result<usize> {
    let wanted = store::wanted_versions(conn, organization_id, MOST_FOR_UPDATES)?;
    let apps: BTreeSet<String> = wanted.iter().map(|(app_id, ..)| app_id.clone()).collect();
    let mut offered: BTreeMap<String, Vec<semver::Version>> = BTreeMap::new();
    for release in store::published(conn, &Vec::from_iter(apps))?.into_iter().filter(|release| release.channel == Channel::Stable) {
        offered.entry(release.app_id).or_default().extend(semver::Version::parse(&release.version).ok());
    }
    let has_newer = |(app_id, version, license): &&(String, String, License)| {
        let Ok(runs) = semver::Version::parse(version) else { return false };
        offered.get(app_id).is_some_and(|offered| offered.iter().any(|version| *version > runs && license.covers(version)))
    };
    Ok(wanted.iter().filter(has_newer).count())
}

/// The content of a deployment's page.
#[derive(Debug, Clone)]
pub struct DeploymentDetail {
    /// The deployment with its names.
    pub line: DeploymentLine,
    /// Release wanted.
    pub release: ReleaseInfo,
    pub license: License,
    pub node: Node,
    /// The vendor's message on the release, where it is deprecated.
    pub deprecation: Option<Deprecation>,
    /// Other published releases that the licence covers.
    pub others: Vec<ReleaseName>,
    /// Events of the deployment, newest first.
    pub events: Vec<DeploymentEvent>,
}

/// One deployment of the operator.
///
/// # Errors
/// `deployment`: not there, or not the operator's.
pub fn detail_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<DeploymentDetail> {
    let owner = &policy::require(actor, Action::ViewFleet)?.organization_id;
    let (deployment, version) = store::get_deployment(conn, owner, id).or_not_found("deployment")?;
    let (node, site) = store::get_node(conn, owner, &deployment.node_id).or_not_found("node")?;
    let name = catalog::service::app_name(conn, &deployment.app_id)?;
    let release = store::release(conn, &deployment.release_id).or_not_found("deploy-release")?;
    let license = licenses::get(conn, &deployment.license_id)?;
    let covered = |r: &ReleaseName| r.id != release.id && semver::Version::parse(&r.version).is_ok_and(|v| license.covers(&v));
    let others = store::published(conn, std::slice::from_ref(&deployment.app_id))?.into_iter().filter(covered).collect();
    let deprecation = crate::release::lifecycle::deprecation(conn, &release.id)?;
    let recall = crate::release::recall::of(conn, &release.id)?;
    let events = store::events(conn, &[id.to_owned()], 30)?;
    let line = DeploymentLine { version, node: node.name.clone(), site, app: name, deployment, seen_at: node.seen_at, recall };
    Ok(DeploymentDetail { line, release, license, node, deprecation, others, events })
}
