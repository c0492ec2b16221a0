//! Use cases of licences. Functions that end in `_in` run inside the caller's transaction.
//!
//! A function that changes the seats of a licence, or reads them to change something else, holds the licence's row first.

use std::collections::BTreeMap;

use app_package::digest::Digest;
use app_package::license as terms;
use app_package::license::{Context, Purpose, Verdict};
use serde_json::json;

use crate::account::model::DecisionNote;
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::dialect::Row;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Names;
use crate::base::jobs::Job;
use crate::base::{config, ids};
use crate::catalog::model::{AppName, PlanKind};
use crate::license::model::{Activation, IssueInput, License, LicenseDecision, LicenseState, PullTerms};
use crate::license::{model, store, tell};
use crate::webhook::model::EventKind;
use crate::{account, audit, catalog, release};

pub use super::store::{active_nodes, get_own};

/// Licences on one page.
pub const PAGE: i64 = 50;
/// Licences that are looked at for a list of repositories, the newest.
const MAX_LISTED: i64 = 5000;
/// Longest reason of a decision, in characters.
const MAX_REASON: usize = 500;

/// Issues the licence of a paid order. Called by trade, which has checked the order; the actor is the person who confirmed the payment.
///
/// # Errors
/// `license-exists` where the order has one already, `app-without-release` where nothing is published, `license-nodes`.
pub fn issue_in(c: &mut Change<'_>, settings: &config::License, input: IssueInput) -> Result<License> {
    let now = c.now;
    if !(1..=100_000).contains(&input.nodes) {
        return Err(Error::field("nodes", "license-nodes"));
    }
    let app = catalog::service::app_name(c, &input.app_id)?;
    let latest = release::service::latest_sold(c, &input.app_id)?.ok_or_else(|| Error::conflict("app-without-release"))?;
    let license = License {
        id: ids::new("lic"),
        order_id: input.order_id,
        organization_id: input.organization_id,
        vendor_id: input.vendor_id,
        app_id: input.app_id,
        plan_kind: input.plan_kind,
        versions: model::versions(input.plan_kind, &latest.manifest.version),
        node_limit: input.nodes,
        nodes_active: 0,
        starts_at: now,
        ends_at: model::ends_at(input.plan_kind, input.trial_days, now, model::offset(settings)),
        // A trial has no grace: it is for evaluation, not for production.
        grace_days: if input.plan_kind == PlanKind::Trial { 0 } else { settings.grace_days.clamp(0, 365) },
        enforcement: if app.safety { model::Enforcement::Advisory } else { model::Enforcement::Block },
        safety: app.safety,
        state: LicenseState::Active,
        created_at: now,
        updated_at: now,
    };
    store::insert(c, &license).or_conflict("license-exists")?;
    let detail = json!({
        "order": license.order_id, "operator": license.organization_id, "app": app.repository(), "plan": license.plan_kind, "versions": license.versions,
        "nodes": license.node_limit, "ends_at": license.ends_at,
    });
    c.audit("license.issued", &license.id, &detail);
    tell::told(c, &license, EventKind::LicenseIssued, None, now)?;
    Ok(license)
}

/// Binds a licence to a node: takes a seat, one per node however often this is called.
///
/// # Errors
/// `too-many-nodes` where every seat is taken, `license-suspended`, `license-revoked`, `license` where it does not exist.
pub fn activate_in(c: &mut Change<'_>, license_id: &str, node_id: &str) -> Result<()> {
    let person = c.actor.person()?;
    dialect::hold(c, Row::License(license_id))?;
    if store::is_active(c, license_id, node_id)? {
        return Ok(());
    }
    // The conditional update decides whether a seat is free, not an earlier read.
    if store::take_seat(c, license_id)? == 0 {
        let license = store::get(c, license_id).or_not_found("license")?;
        return Err(match license.state {
            LicenseState::Suspended => model::refusal(Verdict::Suspended),
            LicenseState::Revoked => model::refusal(Verdict::Revoked),
            LicenseState::Active => Error::conflict("too-many-nodes").arg("limit", license.node_limit),
        });
    }
    let activation = Activation {
        id: ids::new("act"),
        license_id: license_id.to_owned(),
        node_id: node_id.to_owned(),
        activated_by: person.user_id.clone(),
        activated_at: c.now,
    };
    store::insert_activation(c, &activation).or_conflict("license-changed")?;
    c.audit("license.activated", license_id, &json!({"node": node_id}));
    Ok(())
}

/// Locks a licence until the transaction ends: its state, its seats and the deployments by it stay as they are seen now.
pub fn hold_in(conn: &mut Conn, license_id: &str) -> Result<()> {
    Ok(dialect::hold(conn, Row::License(license_id))?)
}

/// Takes the licence off a node and frees the seat. Gives whether the node held one.
pub fn deactivate_in(c: &mut Change<'_>, license_id: &str, node_id: &str) -> Result<bool> {
    dialect::hold(c, Row::License(license_id))?;
    if store::delete_activation(c, license_id, node_id)? == 0 {
        return Ok(false);
    }
    exactly_one(store::give_seat(c, license_id)?, "license-changed")?;
    c.audit("license.deactivated", license_id, &json!({"node": node_id}));
    Ok(true)
}

/// Takes every licence off a node that is removed.
pub fn deactivate_node_in(c: &mut Change<'_>, node_id: &str) -> Result<()> {
    for license_id in store::licenses_of_node(c, node_id)? {
        deactivate_in(c, &license_id, node_id)?;
    }
    Ok(())
}

/// A licence by id, whoever owns it; for other slices.
pub fn get(conn: &mut Conn, id: &str) -> Result<License> {
    store::get(conn, id).or_not_found("license")
}

/// Administrators' decisions on a licence, oldest first.
pub fn decisions(conn: &mut Conn, license_id: &str) -> Result<Vec<DecisionNote>> {
    let actions: Vec<&str> = LicenseDecision::ALL.iter().map(|decision| decision.action()).collect();
    account::service::decision_notes(conn, license_id, &actions)
}

/// The decision by which a licence is suspended or revoked now.
pub fn held(conn: &mut Conn, license_id: &str) -> Result<Option<DecisionNote>> {
    if get(conn, license_id)?.state == LicenseState::Active { Ok(None) } else { Ok(decisions(conn, license_id)?.pop()) }
}

/// A use of a licence that is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct LicenseUse<'a> {
    /// Node id; none where no node is chosen yet.
    pub node_id: Option<&'a str>,
    /// `vendor/app`.
    pub app: &'a str,
    pub version: &'a semver::Version,
    /// Digest of the release.
    pub digest: &'a Digest,
    pub purpose: Purpose,
}

/// Judges a use of a licence by the platform's record.
pub fn verdict_for(conn: &mut Conn, app: &App, license: &License, asked: LicenseUse<'_>, now: Timestamp) -> Result<Verdict> {
    let name = catalog::service::app_name(conn, &license.app_id)?;
    let nodes: Vec<String> = store::active_nodes(conn, &license.id)?.iter().map(|id| app.ca.node_id(id)).collect();
    let active_nodes = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let terms = license.terms(name.repository(), nodes)?;
    let node = asked.node_id.map(|id| app.ca.node_id(id));
    let context = Context {
        now: now.utc(),
        node: node.as_deref(),
        app: asked.app,
        version: asked.version,
        digest: asked.digest,
        purpose: asked.purpose,
        active_nodes: if asked.node_id.is_some() { active_nodes } else { 0 },
    };
    Ok(terms::evaluate(&terms, &context))
}

/// The licence as a signed token for one node and one release digest. The same licence, node and digest give the same token.
pub fn token_for(conn: &mut Conn, app: &App, license: &License, node_id: &str, digest: &str) -> Result<String> {
    let name = catalog::service::app_name(conn, &license.app_id)?;
    let claims = license.claims(&app.settings.server.public_url, name.repository(), vec![app.ca.node_id(node_id)], vec![digest.to_owned()]);
    sign(app, &claims)
}

fn sign(app: &App, claims: &terms::Claims) -> Result<String> {
    let keys = app.keys.get();
    terms::sign(claims, &keys.license.key, &keys.license.kid).map_err(Error::internal)
}

/// What an operator's licences of the app of a repository let it pull now.
pub fn pull_terms(conn: &mut Conn, organization_id: &str, repository_name: &str, now: Timestamp) -> Result<PullTerms> {
    let Some((vendor, app)) = repository_name.split_once('/') else { return Ok(PullTerms::default()) };
    Ok(PullTerms::of(&store::for_repository(conn, organization_id, vendor, app)?, now))
}

/// Names of the repositories `<vendor>/<app>` of the apps for which an organisation has licences, with their terms, in ASCII order.
pub fn licensed_repositories(conn: &mut Conn, organization_id: &str, now: Timestamp) -> Result<BTreeMap<String, PullTerms>> {
    let mut by_name: BTreeMap<String, Vec<License>> = BTreeMap::new();
    for (vendor, app, license) in store::with_repositories(conn, organization_id, MAX_LISTED)? {
        by_name.entry(format!("{vendor}/{app}")).or_default().push(license);
    }
    Ok(by_name.into_iter().map(|(name, licenses)| (name, PullTerms::of(&licenses, now))).collect())
}

/// Whether an organisation has, or had, a licence for an app.
pub fn has_any(conn: &mut Conn, organization_id: &str, app_id: &str) -> Result<bool> {
    Ok(store::has_any(conn, organization_id, app_id)?)
}

/// A licence with the names that a page shows.
#[derive(Debug, Clone)]
pub struct LicenseLine {
    pub license: License,
    pub app: AppName,
    pub operator: Names,
}

/// The content of a licence's page.
#[derive(Debug, Clone)]
pub struct LicenseDetail {
    pub line: LicenseLine,
    /// The developer.
    pub vendor: Names,
    /// Administrators' decisions on the licence, oldest first.
    pub decisions: Vec<DecisionNote>,
}

/// The operator's licences before an id, newest first; one more than a page where there are more.
pub async fn list(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<LicenseLine>> {
    let owner = policy::require(actor, Action::ViewLicenses)?.organization_id.clone();
    app.db.read(move |conn| lines(conn, Some(&owner), before.as_deref(), PAGE + 1)).await
}

/// All licences, for administrators.
pub async fn list_all(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<LicenseLine>> {
    policy::require(actor, Action::RevokeLicenses)?;
    app.db.read(move |conn| lines(conn, None, before.as_deref(), PAGE + 1)).await
}

/// Licences of an organisation with names, newest first.
pub fn lines(conn: &mut Conn, organization_id: Option<&str>, before: Option<&str>, limit: i64) -> Result<Vec<LicenseLine>> {
    let rows = store::list(conn, organization_id, before, limit)?;
    let app_ids: Vec<String> = rows.iter().map(|(license, _)| license.app_id.clone()).collect();
    let apps: BTreeMap<String, AppName> = catalog::service::app_names(conn, &app_ids)?.into_iter().collect();
    let line = |(license, operator): (License, Names)| {
        let app = apps.get(&license.app_id)?.clone();
        Some(LicenseLine { license, app, operator })
    };
    Ok(rows.into_iter().filter_map(line).collect())
}

/// The operator's licences that end within 30 days or have ended, without revoked ones, latest end first, at most ten.
pub fn ending(conn: &mut Conn, organization_id: &str, now: Timestamp) -> Result<Vec<(License, AppName)>> {
    let rows = store::ending(conn, organization_id, now.plus(model::ENDING_SOON), 10)?;
    let app_ids: Vec<String> = rows.iter().map(|l| l.app_id.clone()).collect();
    let apps: BTreeMap<String, AppName> = catalog::service::app_names(conn, &app_ids)?.into_iter().collect();
    Ok(rows.into_iter().filter_map(|l| apps.get(&l.app_id).cloned().map(|app| (l, app))).collect())
}

/// One licence of the operator.
///
/// # Errors
/// `license`: not there, or not the operator's.
pub fn detail_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<LicenseDetail> {
    let owner = &policy::require(actor, Action::ViewLicenses)?.organization_id;
    let license = store::get_own(conn, id, owner).or_not_found("license")?;
    read_detail(conn, license)
}

/// One licence of any operator, for administrators.
///
/// # Errors
/// `license`: not there.
pub fn detail_any_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<LicenseDetail> {
    policy::require(actor, Action::RevokeLicenses)?;
    let license = get(conn, id)?;
    read_detail(conn, license)
}

fn read_detail(conn: &mut Conn, license: License) -> Result<LicenseDetail> {
    let name = catalog::service::app_name(conn, &license.app_id)?;
    let operator = store::organization_name(conn, &license.organization_id)?;
    let vendor = store::organization_name(conn, &license.vendor_id)?;
    let decisions = decisions(conn, &license.id)?;
    Ok(LicenseDetail { line: LicenseLine { license, app: name, operator }, vendor, decisions })
}

/// The licence file: a token bound to all nodes that hold a seat, with a name to save it under.
pub async fn file(app: &App, actor: &Actor, id: String) -> Result<(String, String)> {
    let owner = policy::require(actor, Action::ViewLicenses)?.organization_id.clone();
    let handle = app.clone();
    app.db
        .read(move |conn| {
            let license = store::get_own(conn, &id, &owner).or_not_found("license")?;
            if license.state == LicenseState::Revoked {
                return Err(model::refusal(Verdict::Revoked));
            }
            let name = catalog::service::app_name(conn, &license.app_id)?;
            let nodes = store::active_nodes(conn, &license.id)?.iter().map(|id| handle.ca.node_id(id)).collect();
            let claims = license.claims(&handle.settings.server.public_url, name.repository(), nodes, Vec::new());
            let token = sign(&handle, &claims)?;
            Ok((format!("{}-{}.jwt", name.slug, license.id), token))
        })
        .await
}

/// An administrator suspends, reinstates or revokes a licence. The desired state of its nodes is rebuilt.
///
/// # Errors
/// `license-state` where the licence is not in a state for it; a wrong reason.
pub async fn decide(app: &App, actor: &Actor, id: String, decision: LicenseDecision, reason: &str) -> Result<()> {
    policy::require(actor, Action::RevokeLicenses)?;
    let mut faults = crate::base::error::Faults::default();
    let reason = faults.text("reason", reason, 3, MAX_REASON);
    faults.check()?;
    audit::change(app, actor, move |c| {
        let now = c.now;
        let license = get(c, &id)?;
        let (from, to) = decision.transition();
        exactly_one(store::move_state(c, &id, from, to, now)?, "license-state")?;
        let nodes = store::active_nodes(c, &id)?;
        for node_id in &nodes {
            c.enqueue_for(&license.organization_id, &Job::RebuildNode { node_id: node_id.clone() })?;
            c.poke(&license.organization_id, format!("node:{node_id}"));
        }
        let detail = json!({"reason": reason, "operator": license.organization_id, "nodes": nodes.len()});
        c.audit(decision.action(), &id, &detail);
        tell::told(c, &License { state: to, ..license }, EventKind::LicenseChanged, Some(&reason), now)
    })
    .await
}
