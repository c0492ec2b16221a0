//! What deploying would do: licences to choose from, nodes that fit, and the plan, which is checked whole before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use app_package::digest::Digest;
use app_package::license::Purpose;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, Person, policy};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::catalog;
use crate::catalog::model::AppName;
use crate::fleet::model::{Change, Deployment, Fit, Node, NodeState, ReleaseInfo, ReleaseName, fit};
use crate::fleet::{parameters, store};
use crate::license::model::{License, refusal};
use crate::license::service as licenses;
use crate::license::service::{LicenseLine, LicenseUse};
use crate::release::model::ReleaseState;

/// Most nodes of one deployment run.
pub(super) const MAX_NODES: usize = 200;
/// Most licences offered to choose from.
const MAX_OFFERS: i64 = 200;

/// What to deploy where.
#[derive(Debug, Clone)]
pub struct DeployInput {
    pub release_id: String,
    pub license_id: String,
    pub node_ids: Vec<String>,
    /// Values by parameter name; a missing one stays on each node as it is, or has the app's default where the app is new.
    pub parameters: Map<String, Value>,
}

/// A licence with the releases that can be deployed by it.
#[derive(Debug, Clone)]
pub struct LicenseOffer {
    /// Licence and app.
    pub line: LicenseLine,
    /// Published releases that the licence covers, stable ones first, then newest first.
    pub releases: Vec<ReleaseName>,
    /// Why nothing can be deployed by it: code of the refusal.
    pub refused: Option<&'static str>,
    /// Number of the licence's order: it tells two licences of one app apart.
    pub order: String,
}

/// A node to choose.
#[derive(Debug, Clone)]
pub struct NodeChoice {
    pub node: Node,
    /// Name of its site.
    pub site: String,
    /// Whether the app fits it.
    pub fit: Fit,
    /// Version of the app on the node, if the app is there.
    pub present: Option<String>,
    /// Values of the app's parameters on the node.
    pub parameters: Option<Map<String, Value>>,
    /// Whether it holds a seat of the licence.
    pub seat: bool,
}

/// The chosen licence and release, with the nodes that can be chosen.
#[derive(Debug, Clone)]
pub struct DeployChoices {
    pub release: ReleaseInfo,
    pub license: License,
    pub app: AppName,
    pub nodes: Vec<NodeChoice>,
}

/// A fault of the node choice; the wizard shows it on the step of the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeProblem {
    /// No node is chosen.
    None,
    /// A chosen node is unknown, or not enrolled (any more).
    Missing,
    /// The app does not fit the node of this name.
    Unfit(String),
    /// More chosen nodes need a seat than seats are free.
    Seats {
        /// Chosen nodes that hold no seat.
        chosen: usize,
        free: i64,
    },
}

impl DeployChoices {
    /// The fault of a choice of nodes, if any; [`plan`] checks the same again on the rows of that moment.
    pub fn problem(&self, node_ids: &[String]) -> Option<NodeProblem> {
        let ids: BTreeSet<&String> = node_ids.iter().collect();
        let chosen: Vec<&NodeChoice> = self.nodes.iter().filter(|c| ids.contains(&c.node.id)).collect();
        if ids.is_empty() {
            return Some(NodeProblem::None);
        }
        if chosen.len() != ids.len() {
            return Some(NodeProblem::Missing);
        }
        if let Some(choice) = chosen.iter().find(|c| !c.fit.possible()) {
            return Some(NodeProblem::Unfit(choice.node.name.clone()));
        }
        let seatless = chosen.iter().filter(|c| !c.seat).count();
        let free = (self.license.node_limit - self.license.nodes_active).max(0);
        (i64::try_from(seatless).unwrap_or(i64::MAX) > free).then_some(NodeProblem::Seats { chosen: seatless, free })
    }
}

/// The effect of deploying on one node.
#[derive(Debug, Clone)]
pub struct PlanLine {
    pub node: Node,
    /// Name of its site.
    pub site: String,
    pub change: Change,
    /// Every parameter with its value.
    pub parameters: Map<String, Value>,
    pub(super) existing: Option<Deployment>,
}

impl PlanLine {
    /// The parameters that change: name, value in force, new value. None where the app is new on the node.
    pub fn changed(&self) -> Vec<(&str, Option<&Value>, &Value)> {
        let Some(was) = self.existing.as_ref().filter(|d| d.wanted) else { return Vec::new() };
        let pairs = self.parameters.iter().map(|(name, value)| (name.as_str(), was.parameters.get(name), value));
        pairs.filter(|(_, was, value)| *was != Some(*value)).collect()
    }
}

/// The effect of deploying: everything is checked, nothing is written.
#[derive(Debug, Clone)]
pub struct DeployPlan {
    pub release: ReleaseInfo,
    pub license: License,
    pub app: AppName,
    pub lines: Vec<PlanLine>,
    /// Seats that deploying takes.
    pub new_seats: i64,
}

impl DeployPlan {
    /// A word for what the plan was made of: it changes when anybody changes what is wanted on one of the nodes.
    pub fn basis(&self) -> String {
        let mut hash = Sha256::new();
        for line in &self.lines {
            let wanted = line.existing.as_ref().filter(|d| d.wanted);
            let wanted = wanted.map(|d| (&d.release_id, &d.license_id, &*d.parameters));
            hash.update(serde_json::to_vec(&(&line.node.id, wanted)).unwrap_or_default());
        }
        hex::encode(hash.finalize()).chars().take(32).collect()
    }
}

/// Licences of the operator, each with the releases that it covers.
pub async fn offers(app: &App, actor: &Actor) -> Result<Vec<LicenseOffer>> {
    let owner = policy::require(actor, Action::Deploy)?.organization_id.clone();
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            let lines = licenses::lines(conn, Some(&owner), None, MAX_OFFERS)?;
            let app_ids: Vec<String> = lines.iter().map(|l| l.license.app_id.clone()).collect();
            let published = store::published(conn, &app_ids)?;
            let order_ids: Vec<String> = lines.iter().map(|l| l.license.order_id.clone()).collect();
            let numbers = store::order_numbers(conn, &order_ids)?;
            let offer = |line: LicenseLine| {
                let covered = |r: &&ReleaseName| {
                    r.app_id == line.license.app_id && semver::Version::parse(&r.version).is_ok_and(|v| line.license.covers(&v))
                };
                let releases: Vec<ReleaseName> = published.iter().filter(covered).cloned().collect();
                let verdict = line.license.verdict_at(now);
                let refused = if verdict.allows(Purpose::Deploy, line.license.safety, line.license.enforcement.into()) {
                    releases.is_empty().then_some("app-without-release")
                } else {
                    Some(refusal(verdict).code)
                };
                let order = numbers.get(&line.license.order_id).cloned().unwrap_or_default();
                LicenseOffer { line, releases, refused, order }
            };
            Ok(lines.into_iter().map(offer).collect())
        })
        .await
}

/// The nodes of the operator, each with whether the release fits.
pub async fn choices(app: &App, actor: &Actor, license_id: String, release_id: String) -> Result<DeployChoices> {
    let owner = policy::require(actor, Action::Deploy)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let (release, license, name) = chosen(conn, &owner, &license_id, &release_id)?;
            let nodes = store::choosable_nodes(conn, &owner)?;
            let ids: Vec<String> = nodes.iter().map(|(n, _)| n.id.clone()).collect();
            let mut present = existing(conn, &release.app_id, &ids)?;
            let seats = crate::license::service::active_nodes(conn, &license.id)?;
            let refused = refused_release(release.state);
            let choice = |(node, site): (Node, String)| {
                let there = present.remove(&node.id).filter(|(d, _)| d.wanted);
                // A release that is offered no more is only configured anew, where it is.
                if refused.is_some() && there.as_ref().is_none_or(|(d, _)| d.release_id != release.id) {
                    return None;
                }
                Some(NodeChoice {
                    fit: fit(&release.manifest, node.hardware().as_ref()),
                    seat: seats.contains(&node.id),
                    parameters: there.as_ref().map(|(d, _)| (*d.parameters).clone()),
                    present: there.map(|(_, version)| version),
                    node,
                    site,
                })
            };
            let nodes: Vec<NodeChoice> = nodes.into_iter().filter_map(choice).collect();
            if let Some(refused) = refused.filter(|_| nodes.is_empty()) {
                return Err(refused);
            }
            Ok(DeployChoices { release, license, app: name, nodes })
        })
        .await
}

fn existing(conn: &mut Conn, app_id: &str, node_ids: &[String]) -> Result<BTreeMap<String, (Deployment, String)>> {
    Ok(store::deployments_on(conn, app_id, node_ids)?.into_iter().map(|(d, version)| (d.node_id.clone(), (d, version))).collect())
}

/// The release, the operator's licence and the app's name; checks that licence and release are of one app.
fn chosen(conn: &mut Conn, owner: &str, license_id: &str, release_id: &str) -> Result<(ReleaseInfo, License, AppName)> {
    let license = crate::license::service::get_own(conn, license_id, owner).or_not_found("license")?;
    let release = store::release(conn, release_id).or_not_found("deploy-release")?;
    if release.app_id != license.app_id {
        return Err(Error::conflict("license-scope-mismatch"));
    }
    // An unpublished release cannot be deployed, not even by an operator who may buy it later.
    if !ReleaseState::SHOWN.contains(&release.state) {
        return Err(Error::conflict("release-not-published"));
    }
    let name = catalog::service::app_name(conn, &release.app_id)?;
    Ok((release, license, name))
}

/// Why a release comes to no further node; none where it does. Where it is, its settings stay adjustable.
fn refused_release(state: ReleaseState) -> Option<Error> {
    match state {
        ReleaseState::Published => None,
        ReleaseState::Recalled => Some(Error::conflict("release-recalled")),
        _ => Some(Error::conflict("release-not-published")),
    }
}

/// Previews a deployment with the same checks as [`super::deploy`].
pub async fn plan(app: &App, actor: &Actor, input: DeployInput) -> Result<DeployPlan> {
    let person = policy::require(actor, Action::Deploy)?.clone();
    let (handle, now) = (app.clone(), app.clock.now());
    app.db.read(move |conn| plan_in(conn, &handle, &person, &input, now)).await
}

/// # Errors
/// `no-nodes`, `too-many-nodes-chosen`, `node`, `node-not-enrolled`, `node-does-not-fit`, `license`, `license-…`, `too-many-nodes`,
/// `deploy-release`, `release-not-published`, `release-recalled`, and wrong parameters as fields.
pub(super) fn plan_in(conn: &mut Conn, app: &App, person: &Person, input: &DeployInput, now: Timestamp) -> Result<DeployPlan> {
    let mut node_ids = input.node_ids.clone();
    node_ids.sort();
    node_ids.dedup();
    if node_ids.is_empty() {
        return Err(Error::field("node", "no-nodes"));
    }
    if node_ids.len() > MAX_NODES {
        return Err(Error::field("node", "too-many-nodes-chosen").arg("max", MAX_NODES));
    }
    let (release, license, name) = chosen(conn, &person.organization_id, &input.license_id, &input.release_id)?;
    let (version, digest) = parse(&release)?;

    let nodes = store::some_nodes(conn, &person.organization_id, &node_ids)?;
    if nodes.len() != node_ids.len() {
        return Err(Error::not_found("node"));
    }
    let mut present = existing(conn, &release.app_id, &node_ids)?;
    let seats = crate::license::service::active_nodes(conn, &license.id)?;
    let repository = name.repository();
    let mut lines = Vec::new();
    let mut new_seats = 0;
    for (node, site) in nodes {
        if node.state != NodeState::Enrolled {
            return Err(Error::conflict("node-not-enrolled").arg("node", &node.name));
        }
        if !fit(&release.manifest, node.hardware().as_ref()).possible() {
            return Err(Error::conflict("node-does-not-fit").arg("node", &node.name));
        }
        let there = present.remove(&node.id);
        let in_force = there.as_ref().filter(|(d, _)| d.wanted).map(|(d, _)| &*d.parameters);
        let parameters = parameters::check(&release.manifest.parameters, &input.parameters, in_force)?;
        let change = Change::of(there.as_ref().map(|(d, v)| (d, v.as_str())), &release.id, &license.id, &parameters);
        if change != Change::Same && !seats.contains(&node.id) {
            new_seats += 1;
        }
        lines.push(PlanLine { node, site, change, parameters, existing: there.map(|(d, _)| d) });
    }
    let arrives = |line: &PlanLine| matches!(line.change, Change::Install | Change::Update { .. });
    if let Some(refused) = refused_release(release.state).filter(|_| lines.iter().any(arrives)) {
        return Err(refused);
    }
    // Standing, time and version are judged once per purpose, not per node. Node and seats are judged when the seat is taken.
    let mut purposes: Vec<Purpose> = Vec::new();
    for line in lines.iter().filter(|l| l.change != Change::Same) {
        let purpose = purpose(line, &license);
        if !purposes.contains(&purpose) {
            purposes.push(purpose);
        }
    }
    for purpose in purposes {
        let asked = LicenseUse { node_id: None, app: &repository, version: &version, digest: &digest, purpose };
        judge(conn, app, &license, asked, now)?;
    }
    if license.nodes_active + new_seats > license.node_limit {
        return Err(Error::conflict("too-many-nodes").arg("limit", license.node_limit));
    }
    Ok(DeployPlan { release, license, app: name, lines, new_seats })
}

/// The purpose by which a change is judged. New parameters for a running app are neither a deployment nor an update: a safety app whose
/// licence has ended keeps its thresholds adjustable.
pub(super) fn purpose(line: &PlanLine, license: &License) -> Purpose {
    match (&line.change, &line.existing) {
        (Change::Reconfigure, Some(d)) if d.license_id == license.id => Purpose::Run,
        (Change::Update { .. }, _) => Purpose::Update,
        _ => Purpose::Deploy,
    }
}

/// Refuses what the licence does not let a node do.
pub(super) fn judge(conn: &mut Conn, app: &App, license: &License, asked: LicenseUse<'_>, now: Timestamp) -> Result<()> {
    let verdict = licenses::verdict_for(conn, app, license, asked, now)?;
    if verdict.allows(asked.purpose, license.safety, license.enforcement.into()) { Ok(()) } else { Err(refusal(verdict)) }
}

/// Version and digest of a release, as a licence is asked about them.
pub(super) fn parse(release: &ReleaseInfo) -> Result<(semver::Version, Digest)> {
    let version = semver::Version::parse(&release.version).map_err(Error::internal)?;
    let digest = Digest::parse(&release.digest).map_err(|e| Error::internal(anyhow::anyhow!("release {}: {e:?}", release.id)))?;
    Ok((version, digest))
}
