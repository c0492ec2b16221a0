//! The chain line that pages show: listed (before that: uploaded) → checked → approved → bought → licensed → deployed → running → proven.
//!
//! The chain is built from the rows at each reading, so it cannot disagree with them. An address that the reader may not open is left
//! out.

use diesel::prelude::*;

use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::schema::{
    app_samples, apps, cases, check_reports, deployments, licenses, nodes, orders, organizations, proofs, releases,
};
use crate::base::db::{Conn, Timestamp};
use crate::base::i18n::Lang;
use crate::catalog::model::ListingState;
use crate::fleet::model::{DeploymentState, heard_lately};
use crate::license::model::LicenseState;
use crate::moderation::model::CaseState;
use crate::release::model::ReleaseState;
use crate::telemetry::service::usage_of;
use crate::trade::model::OrderState;

/// One link, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLink {
    /// Locale key after `chain-`; the first link is `uploaded` until it is `listed`.
    pub key: &'static str,
    /// `done`, `current`, `failed`, `todo`, or `unknown` where nothing was heard lately.
    pub state: &'static str,
    /// Address that the link leads to.
    pub href: Option<String>,
    /// Date or number below the word.
    pub note: String,
}

/// The reader of a chain, with language and time.
#[derive(Debug, Clone)]
pub struct Reader {
    kind: Option<OrgKind>,
    organization_id: Option<String>,
    /// Whether they may open cases.
    cases: bool,
    lang: Lang,
    now: Timestamp,
}

impl Reader {
    pub fn of(actor: &Actor, lang: Lang, now: Timestamp) -> Self {
        let person = actor.as_person();
        let cases = policy::require(actor, Action::ViewCases).is_ok();
        Self { kind: person.map(|p| p.kind), organization_id: person.map(|p| p.organization_id.clone()), cases, lang, now }
    }
}

#[derive(Default)]
struct Ids {
    release: Option<String>,
    order: Option<String>,
    license: Option<String>,
    deployment: Option<String>,
}

/// The chain of an app's release as the reader sees it: with the reader's own latest order, licence and deployment, if any.
pub fn of_release(conn: &mut Conn, reader: &Reader, release_id: &str) -> QueryResult<Vec<ChainLink>> {
    let app_id: String = releases::table.find(release_id).select(releases::app_id).first(conn)?;
    let mut ids = Ids { release: Some(release_id.to_owned()), ..Ids::default() };
    if let (Some(OrgKind::Operator), Some(operator)) = (reader.kind, &reader.organization_id) {
        let of_app = orders::app_id.eq(&app_id).and(orders::organization_id.eq(operator));
        let own: Vec<(String, OrderState)> =
            orders::table.filter(of_app).order(orders::id.desc()).select((orders::id, orders::state)).load(conn)?;
        let good = licenses::app_id.eq(&app_id).and(licenses::organization_id.eq(operator)).and(licenses::state.eq(LicenseState::Active));
        let good = good.and(licenses::ends_at.is_null().or(licenses::ends_at.gt(reader.now)));
        let licensed: Vec<String> = licenses::table.filter(good).select(licenses::order_id).load(conn)?;
        ids.order = preferred(own, &licensed);
        let of_app = deployments::app_id.eq(&app_id).and(deployments::organization_id.eq(operator)).and(deployments::wanted.eq(true));
        ids.deployment = deployments::table.filter(of_app).order(deployments::id.desc()).select(deployments::id).first(conn).optional()?;
    }
    build(conn, reader, ids)
}

/// The chain of an order, through its licence to the latest deployment.
pub fn of_order(conn: &mut Conn, reader: &Reader, order_id: &str) -> QueryResult<Vec<ChainLink>> {
    build(conn, reader, Ids { order: Some(order_id.to_owned()), ..Ids::default() })
}

/// The chain of a licence.
pub fn of_license(conn: &mut Conn, reader: &Reader, license_id: &str) -> QueryResult<Vec<ChainLink>> {
    build(conn, reader, Ids { license: Some(license_id.to_owned()), ..Ids::default() })
}

/// The chain of a deployment.
pub fn of_deployment(conn: &mut Conn, reader: &Reader, deployment_id: &str) -> QueryResult<Vec<ChainLink>> {
    build(conn, reader, Ids { deployment: Some(deployment_id.to_owned()), ..Ids::default() })
}

/// The one of an operator's orders of an app, newest first, that the chain shows: one with a licence in force, else a paid one, else one
/// under way, else a cancelled, refunded or disputed one.
fn preferred(orders: Vec<(String, OrderState)>, licensed: &[String]) -> Option<String> {
    let rank = |(id, state): &(String, OrderState)| match shown_order(*state) {
        _ if licensed.contains(id) => 0,
        "done" => 1,
        "current" => 2,
        _ => 3,
    };
    // `min_by_key` gives the first of equal ones: the newest.
    orders.into_iter().min_by_key(rank).map(|(id, _)| id)
}

/// How an order's state is shown.
fn shown_order(state: OrderState) -> &'static str {
    match state {
        OrderState::Cancelled | OrderState::Refunded | OrderState::Disputed => "failed",
        state if OrderState::SOLD.contains(&state) => "done",
        _ => "current",
    }
}

/// Completes the ids in both directions, then reads each row once.
fn build(conn: &mut Conn, reader: &Reader, mut ids: Ids) -> QueryResult<Vec<ChainLink>> {
    if let Some(id) = &ids.deployment {
        let (release, license): (String, String) =
            deployments::table.find(id).select((deployments::release_id, deployments::license_id)).first(conn)?;
        ids.release = ids.release.or(Some(release));
        ids.license = Some(license);
    }
    if ids.license.is_none()
        && let Some(order) = &ids.order
    {
        ids.license = licenses::table.filter(licenses::order_id.eq(order)).select(licenses::id).first(conn).optional()?;
    }
    if ids.order.is_none()
        && let Some(license) = &ids.license
    {
        ids.order = licenses::table.find(license).select(licenses::order_id).first(conn).optional()?;
    }
    if ids.deployment.is_none()
        && let Some(license) = &ids.license
    {
        let of_license = deployments::license_id.eq(license).and(deployments::wanted.eq(true));
        ids.deployment =
            deployments::table.filter(of_license).order(deployments::updated_at.desc()).select(deployments::id).first(conn).optional()?;
    }
    if ids.release.is_none() {
        if let Some(deployment) = &ids.deployment {
            ids.release = deployments::table.find(deployment).select(deployments::release_id).first(conn).optional()?;
        } else if let Some(order) = &ids.order {
            let app: String = orders::table.find(order).select(orders::app_id).first(conn)?;
            ids.release = apps::table.find(app).select(apps::release_id).first::<Option<String>>(conn)?;
        }
    }
    // What nobody can find in the market is uploaded, not listed.
    let mut listed = true;
    let mut links = vec![
        link("listed"),
        link("checked"),
        link("approved"),
        link("bought"),
        link("licensed"),
        link("deployed"),
        link("running"),
        link("proven"),
    ];
    let mut set = |key: &'static str, state: &'static str, href: Option<String>, note: String| {
        if let Some(link) = links.iter_mut().find(|l| l.key == key) {
            *link = ChainLink { key, state, href, note };
        }
    };
    if let Some(id) = &ids.release {
        type Row = (String, String, String, String, ReleaseState, Timestamp, ListingState);
        let (owner, vendor, app, version, state, created, listing): Row = releases::table
            .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
            .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
            .filter(releases::id.eq(id))
            .select((
                organizations::id,
                organizations::slug,
                apps::slug,
                releases::version,
                releases::state,
                releases::created_at,
                apps::state,
            ))
            .first(conn)?;
        listed = listing == ListingState::Listed && matches!(state, ReleaseState::Published | ReleaseState::Deprecated);
        let release = match reader.kind {
            Some(OrgKind::Vendor) if reader.organization_id.as_ref() == Some(&owner) => format!("/vendor/apps/{app}/releases/{version}"),
            _ => format!("/apps/{vendor}/{app}"),
        };
        set("listed", "done", Some(release.clone()), reader.lang.date(created));
        let report: Option<(bool, Timestamp)> = check_reports::table
            .filter(check_reports::release_id.eq(id))
            .order(check_reports::id.desc())
            .select((check_reports::passed, check_reports::created_at))
            .first(conn)
            .optional()?;
        match report {
            Some((passed, at)) => {
                set("checked", if passed { "done" } else { "failed" }, Some(format!("{release}#checks")), reader.lang.date(at));
            }
            None if state == ReleaseState::Checking => set("checked", "current", Some(format!("{release}#checks")), String::new()),
            None => {}
        }
        let case: Option<(String, CaseState, Timestamp, Option<Timestamp>)> = cases::table
            .filter(cases::release_id.eq(id))
            .order(cases::id.desc())
            .select((cases::id, cases::state, cases::opened_at, cases::decided_at))
            .first(conn)
            .optional()?;
        if let Some((case, decision, opened, decided)) = case {
            let href = if reader.cases { Some(format!("/admin/cases/{case}")) } else { Some(release) };
            let shown = match decision {
                CaseState::Approved if state == ReleaseState::Recalled => "failed",
                CaseState::Approved => "done",
                CaseState::Open => "current",
                CaseState::ChangesRequested | CaseState::Rejected => "failed",
            };
            let recalled = (state == ReleaseState::Recalled).then(|| reader.lang.t("state-recalled"));
            set("approved", shown, href, recalled.unwrap_or_else(|| reader.lang.date(decided.unwrap_or(opened))));
        }
    }
    let base = match reader.kind {
        Some(OrgKind::Operator) => Some("/mine"),
        Some(OrgKind::Vendor) => Some("/vendor"),
        Some(OrgKind::Platform) => Some("/admin"),
        None => None,
    };
    if let Some(id) = &ids.order {
        let (number, state): (String, OrderState) = orders::table.find(id).select((orders::number, orders::state)).first(conn)?;
        let href = base.filter(|b| *b != "/admin").map(|b| format!("{b}/orders/{id}"));
        set("bought", shown_order(state), href, number);
    }
    let operator = reader.kind == Some(OrgKind::Operator);
    if let Some(id) = &ids.license {
        let (state, ends): (LicenseState, Option<Timestamp>) =
            licenses::table.find(id).select((licenses::state, licenses::ends_at)).first(conn)?;
        let over = ends.is_some_and(|e| e < reader.now);
        // Show the last valid day: the end is the first moment after it.
        let last = ends.map(|e| reader.lang.date(e.minus(chrono::TimeDelta::seconds(1))));
        let note = last.map(|day| reader.lang.format("chain-until", &[("date", &day)])).unwrap_or_default();
        set(
            "licensed",
            if state == LicenseState::Active && !over { "done" } else { "failed" },
            operator.then(|| format!("/mine/licenses/{id}")),
            note,
        );
    }
    if let Some(id) = &ids.deployment {
        let (state, node_id, name, seen, release): (DeploymentState, String, String, Option<Timestamp>, String) = deployments::table
            .inner_join(nodes::table.on(nodes::id.eq(deployments::node_id)))
            .filter(deployments::id.eq(id))
            .select((deployments::state, nodes::id, nodes::name, nodes::seen_at, deployments::release_id))
            .first(conn)?;
        let node = crate::fleet::model::shown_name(&name, &node_id).to_owned();
        let href = operator.then(|| format!("/mine/deployments/{id}"));
        let installed = state == DeploymentState::Installed;
        let (shown, note) = match state {
            DeploymentState::Installed => ("done", node),
            DeploymentState::Failed => ("failed", node),
            // A removed app was deployed once: `todo` would read as "not yet".
            DeploymentState::Removed => ("failed", reader.lang.t("chain-removed")),
            _ => ("current", node),
        };
        set("deployed", shown, href.clone(), note);
        if installed {
            let heard = heard_lately(seen, reader.now);
            let (shown, note) = if heard { ("done", String::new()) } else { ("unknown", reader.lang.t("chain-unheard")) };
            set("running", shown, href.clone(), note);
        }
        // A deployment is proven by its first inferences, and stays so; "installed" alone means that it reproduced the golden samples.
        let proof = href.map(|h| format!("{h}#proof"));
        let proven: Option<Timestamp> = proofs::table.find((id, release)).select(proofs::proven_at).first(conn).optional()?;
        match proven {
            Some(at) => {
                let inferences: Option<i64> = app_samples::table
                    .filter(app_samples::deployment_id.eq(id))
                    .order(app_samples::at.desc())
                    .select(app_samples::inferences)
                    .first(conn)
                    .optional()?;
                // An agent from before there were counters counts from 0 after each start: without a count, show the date of the proof.
                let used = usage_of(conn, &[id.to_owned()])?;
                let used = used.get(&(id.to_owned(), "inferences".to_owned())).copied();
                let note = match inferences.max(used).filter(|n| *n > 0 && installed) {
                    Some(n) => reader.lang.format("chain-inferences", &[("n", &n.to_string())]),
                    None => reader.lang.format("chain-since", &[("date", &reader.lang.date(at))]),
                };
                set("proven", "done", proof, note);
            }
            None if installed => set("proven", "todo", proof, String::new()),
            None => {}
        }
    }
    if let Some(first) = links.first_mut().filter(|_| !listed) {
        first.key = "uploaded";
    }
    Ok(links)
}

fn link(key: &'static str) -> ChainLink {
    ChainLink { key, state: "todo", href: None, note: String::new() }
}

#[cfg(test)]
mod tests {
    use super::preferred;

    #[test]
    fn an_order_that_came_to_nothing_hides_no_better_one() {
        let orders = |rows: &[(&str, &str)]| rows.iter().map(|(id, state)| ((*id).to_owned(), state.parse().unwrap())).collect::<Vec<_>>();
        let pick = |rows: &[(&str, &str)], licensed: &[&str]| {
            preferred(orders(rows), &licensed.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>())
        };
        // Newest first.
        let all = [("d", "cancelled"), ("c", "awaiting_payment"), ("b", "paid"), ("a", "settled")];
        assert_eq!(pick(&all, &["a"]).as_deref(), Some("a"), "a licence in force");
        assert_eq!(pick(&all, &[]).as_deref(), Some("b"), "paid, the newest");
        assert_eq!(pick(&all[..2], &[]).as_deref(), Some("c"), "under way");
        assert_eq!(pick(&all[..1], &[]).as_deref(), Some("d"), "nothing else");
        assert_eq!(pick(&[], &[]), None);
    }
}
