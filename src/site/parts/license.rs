//! A licence: state, seats, notices.

use app_package::license::Verdict;

use crate::account::model::DecisionNote;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::catalog::model::PlanKind;
use crate::fleet::model::Seat;
use crate::fleet::service::seats_of;
use crate::http::page::Page;
use crate::license::model::{Enforcement, License, LicenseDecision, LicenseState};
use crate::license::service::{LicenseDetail, LicenseLine};
use crate::site::parts::chain::{self, ChainLink, Reader};

/// The data of a licence's pages.
pub struct LicenseView {
    /// The licence with its names and decisions.
    pub detail: LicenseDetail,
    pub seats: Vec<Seat>,
    /// The chain line.
    pub links: Vec<ChainLink>,
}

/// Reads a licence as `detail` gives it, with its seats and its chain, in one read.
pub async fn read(
    app: &App,
    actor: Actor,
    lang: Lang,
    id: String,
    detail: fn(&mut Conn, &Actor, &str) -> Result<LicenseDetail>,
) -> Result<LicenseView> {
    let reader = Reader::of(&actor, lang, app.clock.now());
    app.db
        .read(move |conn| {
            let detail = detail(conn, &actor, &id)?;
            let seats = seats_of(conn, &id)?;
            let links = chain::of_license(conn, &reader, &id)?;
            Ok(LicenseView { detail, seats, links })
        })
        .await
}

/// One row of a list.
pub struct LicenseRow {
    /// Address of its page.
    pub href: String,
    /// Title of the app.
    pub app: String,
    pub operator: String,
    /// What was bought.
    pub plan: String,
    /// `3 / 5`.
    pub seats: String,
    /// Seats used.
    pub used: i64,
    /// Seats owned.
    pub owned: i64,
    /// Last day, or that there is none.
    pub until: String,
    /// Word of the badge.
    pub state: &'static str,
}

impl LicenseRow {
    pub fn of(page: &Page, line: &LicenseLine, base: &str, now: Timestamp) -> Self {
        let license = &line.license;
        Self {
            href: format!("{base}/{}", license.id),
            app: page.pick(&line.app.title_zh, &line.app.title_en).to_owned(),
            operator: page.name(&line.operator).to_owned(),
            plan: plan(page, license.plan_kind),
            seats: format!("{} / {}", license.nodes_active, license.node_limit),
            used: license.nodes_active,
            owned: license.node_limit,
            until: until(page, license),
            state: license.shown_state(now),
        }
    }
}

/// Words of a plan.
pub fn plan(page: &Page, kind: PlanKind) -> String {
    page.tk("license-plan-", kind)
}

/// The last day, or that there is none.
pub fn until(page: &Page, license: &License) -> String {
    license.last_day().map_or_else(|| page.t("license-no-end"), |day| page.date(&day))
}

/// The verdict in a sentence.
pub fn verdict_text(page: &Page, license: &License, now: Timestamp) -> String {
    let date = |at: chrono::DateTime<chrono::Utc>| page.date(&Timestamp::new(at).minus(chrono::TimeDelta::seconds(1)));
    match license.verdict_at(now) {
        Verdict::Valid { until: None } => page.t("license-verdict-perpetual"),
        Verdict::Valid { until: Some(until) } => page.t1("license-verdict-valid", "date", date(until)),
        Verdict::NotYetValid => page.t1("license-verdict-not-yet-valid", "date", page.date(&license.starts_at)),
        Verdict::Expired { .. } if license.safety => page.t("license-verdict-expired-safety"),
        Verdict::Expired { grace_until: Some(until) } => page.t1("license-verdict-grace", "date", date(until)),
        Verdict::Expired { grace_until: None } => page.t("license-verdict-expired"),
        // A suspended licence is described by its effect on running apps, as nodes judge it.
        Verdict::Suspended if license.safety => page.t("license-verdict-suspended-safety"),
        Verdict::Suspended if license.enforcement == Enforcement::Advisory => page.t("license-verdict-suspended-advisory"),
        Verdict::Suspended => page.t("license-verdict-suspended"),
        Verdict::Revoked if license.safety => page.t("license-verdict-revoked-safety"),
        Verdict::Revoked => page.t("license-verdict-revoked"),
        other => page.tk("state-", other.code()),
    }
}

/// The notice on a licence that is suspended or revoked: what happened, why, what can be done.
pub fn notice(page: &Page, told: &DecisionNote) -> (String, String, String) {
    let revoked = told.action == LicenseDecision::Revoke.action();
    let (what, next) =
        if revoked { ("license-notice-revoked", "license-next-revoked") } else { ("license-notice-suspended", "license-next-suspended") };
    (page.t1(what, "date", page.datetime(&told.at)), page.t1("license-notice-reason", "reason", &told.reason), page.t(next))
}

/// A decision in the history.
pub struct DecisionRow {
    pub tone: &'static str,
    pub at: String,
    pub what: String,
    pub by: String,
    pub reason: String,
}

impl DecisionRow {
    fn of(page: &Page, told: &DecisionNote) -> Self {
        let tone = match told.action.as_str() {
            "license.reinstated" => "green",
            "license.suspended" => "amber",
            _ => "red",
        };
        let what = page.tk("audit-action-", told.action.replace('.', "-"));
        Self { tone, at: page.datetime(&told.at), what, by: told.by.clone(), reason: told.reason.clone() }
    }
}

pub struct SeatRow {
    pub node: String,
    pub node_href: String,
    /// Node id, for the form.
    pub node_id: String,
    pub site: String,
    pub since: String,
    /// Page of the deployment on the node by this licence.
    pub deployment: Option<String>,
}

/// The values on the operator's and the administrator's page of a licence.
pub struct LicenseFacts {
    pub id: String,
    /// Title of the app.
    pub app: String,
    pub listing: String,
    /// The developer.
    pub vendor: String,
    pub operator: String,
    /// What was bought.
    pub plan: String,
    /// Versions covered, in words.
    pub versions: String,
    /// Seats used.
    pub used: i64,
    /// Seats owned.
    pub owned: i64,
    /// `3 / 5`.
    pub seats_text: String,
    /// Valid from.
    pub from: String,
    /// Last day.
    pub until: String,
    /// Days of grace.
    pub grace: String,
    /// Effect on apps when the terms are not met, in words.
    pub enforcement: String,
    /// Word of the badge.
    pub state: &'static str,
    /// The verdict in a sentence.
    pub verdict: String,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Whether the app may be deployed by it now.
    pub deployable: bool,
    /// Whether the licence is over, so that only another order helps.
    pub over: bool,
    /// Question before suspending, with the effect on nodes.
    pub confirm_suspend: String,
    /// Question before reinstating, with the effect on nodes.
    pub confirm_reinstate: String,
    /// Question before revoking, with the effect on nodes.
    pub confirm_revoke: String,
    pub seats: Vec<SeatRow>,
    /// The licence is suspended or revoked: what happened, why, what can be done.
    pub notice: Option<(String, String, String)>,
    /// What administrators decided, newest first.
    pub decisions: Vec<DecisionRow>,
}

impl LicenseFacts {
    pub fn of(page: &Page, LicenseView { detail, seats: held, .. }: &LicenseView, now: Timestamp) -> Self {
        let LicenseLine { license, app, operator } = &detail.line;
        let seats = held.iter().map(|seat| SeatRow {
            node: seat.node.clone(),
            node_href: format!("/mine/nodes/{}", seat.node_id),
            node_id: seat.node_id.clone(),
            site: seat.site.clone(),
            since: page.datetime(&seat.since),
            deployment: seat.deployment_id.as_ref().map(|id| format!("/mine/deployments/{id}")),
        });
        let operator = page.name(operator).to_owned();
        let running = held.iter().filter(|seat| seat.deployment_id.is_some()).count();
        let confirm = |key: &str| page.t2(key, "operator", &operator, "n", running);
        let verdict = license.verdict_at(now);
        Self {
            confirm_suspend: confirm(match (license.safety, license.enforcement) {
                (true, _) => "license-suspend-confirm-safety",
                (false, Enforcement::Advisory) => "license-suspend-confirm-advisory",
                (false, Enforcement::Block) => "license-suspend-confirm",
            }),
            confirm_reinstate: confirm("license-reinstate-confirm"),
            confirm_revoke: confirm(if license.safety { "license-revoke-confirm-safety" } else { "license-revoke-confirm" }),
            deployable: matches!(verdict, Verdict::Valid { .. }),
            over: matches!(verdict, Verdict::Expired { .. } | Verdict::Revoked),
            id: license.id.clone(),
            app: page.pick(&app.title_zh, &app.title_en).to_owned(),
            listing: format!("/apps/{}", app.repository()),
            vendor: page.name(&detail.vendor).to_owned(),
            operator,
            plan: plan(page, license.plan_kind),
            versions: if license.versions == "*" {
                page.t("license-versions-all")
            } else {
                page.t1("license-versions-major", "versions", &license.versions)
            },
            used: license.nodes_active,
            owned: license.node_limit,
            seats_text: format!("{} / {}", license.nodes_active, license.node_limit),
            from: page.date(&license.starts_at),
            until: until(page, license),
            grace: page.t1("license-grace-days", "n", license.grace_days),
            enforcement: page.tk(if license.safety { "license-safety-" } else { "license-enforcement-" }, license.enforcement),
            state: license.shown_state(now),
            verdict: verdict_text(page, license, now),
            revoked: license.state == LicenseState::Revoked,
            suspended: license.state == LicenseState::Suspended,
            seats: seats.collect(),
            notice: detail.decisions.last().filter(|_| license.state != LicenseState::Active).map(|told| notice(page, told)),
            decisions: detail.decisions.iter().rev().map(|told| DecisionRow::of(page, told)).collect(),
        }
    }
}
