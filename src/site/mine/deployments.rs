//! /mine/deployments: the list of deployments, and one deployment.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use app_package::license::Verdict;
use askama::Template;

use crate::alarm_management::precision::of_app;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::Timestamp;
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::fleet::model::{Deployment, DeploymentEvent, DeploymentState, NodeState, heard_lately, shown_name};
use crate::fleet::service::deployment;
use crate::fleet::service::deployment::{DeploymentDetail, DeploymentLine};
use crate::http::page::{Ago, Page, PageResult, see_other_with};
use crate::http::paging::{Before, paging};
use crate::site::mine::deploy_parameters::ParameterField;
use crate::site::mine::deploy_steps::{release_name, title};
use crate::site::mine::precision::Precision;
use crate::site::parts::card::required_zones;
use crate::site::parts::chain::{self, ChainLink, Reader};
use crate::site::parts::license::verdict_text;
use crate::site::parts::node::{EventItem, NodeFault, fault_code, note, tone};
use crate::telemetry::model::AppSample;
use crate::telemetry::service::{app_figures, usage_of};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/deployments/{id}/remove", web::post().to(remove))
        .route("/mine/deployments/{id}/fragment", web::get().to(fragment))
        .route("/mine/deployments/{id}", web::get().to(detail))
        .route("/mine/deployments", web::get().to(list));
}

async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = deployment::list_deployments(&app, &actor, query.before.clone()).await?;
    let (previous, next) =
        paging(&mut lines, deployment::PAGE, "/mine/deployments", "before", query.before.as_deref(), |l| l.deployment.id.clone());
    let page = Page::of(&req, "fleet-deployments-title");
    let rows = lines.iter().map(|l| DeploymentRow::of(&page, l, app.clock.now())).collect();
    let may_deploy = policy::require(&actor, Action::Deploy).is_ok();
    page.clone().render(&DeploymentsPage { page, rows, previous, next, may_deploy })
}

async fn detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let page = Page::of(&req, "fleet-deployment-title");
    let may_deploy = policy::require(&actor, Action::Deploy).is_ok();
    let found = read(&app, actor.clone(), page.locale(), id.into_inner()).await?;
    let weeks = of_app(&app, &actor, &found.detail.line.deployment.app_id).await?;
    let precision = Precision::of(&page, &weeks);
    page.clone().render(&DeploymentPage::of(page, &found, precision, may_deploy, app.clock.now()))
}

async fn fragment(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let page = Page::of(&req, "fleet-deployment-title");
    let found = read(&app, actor, page.locale(), id.into_inner()).await?;
    let live = DeploymentLive::of(&page, &found, app.clock.now());
    page.clone().render(&DeploymentFragment { page, live })
}

/// The data of a deployment's page.
struct DeploymentView {
    /// The deployment with its release, licence, node and events.
    detail: DeploymentDetail,
    /// Figures of the last heartbeat.
    sample: Option<AppSample>,
    /// Inferences since it was made, over restarts of the agent.
    used: i64,
    /// From listing to running.
    links: Vec<ChainLink>,
}

async fn read(app: &App, actor: Actor, lang: Lang, id: String) -> Result<DeploymentView> {
    let reader = Reader::of(&actor, lang, app.clock.now());
    app.db
        .read(move |conn| {
            let detail = deployment::detail_in(conn, &actor, &id)?;
            let sample = app_figures(conn, std::slice::from_ref(&id))?.remove(&id);
            let links = chain::of_deployment(conn, &reader, &id)?;
            let used = usage_of(conn, std::slice::from_ref(&id))?.remove(&(id.clone(), "inferences".to_owned())).unwrap_or(0);
            Ok(DeploymentView { detail, sample, used, links })
        })
        .await
}

async fn remove(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    deployment::remove_deployment(&app, &actor, &id).await?;
    Ok(see_other_with(&format!("/mine/deployments/{id}"), "success", "fleet-removal-started", &[]))
}

/// One row of the list.
pub struct DeploymentRow {
    pub href: String,
    pub app: String,
    /// Version wanted.
    pub version: String,
    pub node: String,
    pub site: String,
    /// Word of the badge.
    pub state: &'static str,
    /// Why it failed.
    pub fault: Option<NodeFault>,
    pub changed: Ago,
    /// Why the platform has recalled the version.
    pub recalled: Option<String>,
}

impl DeploymentRow {
    pub fn of(page: &Page, line: &DeploymentLine, now: Timestamp) -> Self {
        Self {
            href: format!("/mine/deployments/{}", line.deployment.id),
            app: title(page, &line.app),
            version: line.version.clone(),
            node: line.node.clone(),
            site: line.site.clone(),
            state: line.deployment.shown_state(heard_lately(line.seen_at, now)),
            fault: NodeFault::of(page, line.deployment.error.as_deref()),
            recalled: line.recall.as_ref().filter(|_| line.deployment.wanted).map(|recall| recall.reason.clone()),
            changed: page.ago(&line.deployment.updated_at),
        }
    }
}

/// `/mine/deployments`.
#[derive(Template)]
#[template(path = "mine/deployments.html")]
pub struct DeploymentsPage {
    pub page: Page,
    pub rows: Vec<DeploymentRow>,
    /// Address of the page with newer rows.
    pub previous: Option<String>,
    /// Address of the page with older rows.
    pub next: Option<String>,
    /// Whether the reader may deploy.
    pub may_deploy: bool,
}

/// The part of a deployment's page that is fetched anew after changes.
pub struct DeploymentLive {
    /// From listing to running.
    pub links: Vec<ChainLink>,
    /// Word of the badge.
    pub state: &'static str,
    /// What happens next, and who must act.
    pub next: String,
    /// Why it failed.
    pub fault: Option<NodeFault>,
    /// Word of the node's badge.
    pub node_state: &'static str,
    /// Inferences since the agent started.
    pub inferences: String,
    /// Inputs that were refused or failed since then; empty where none.
    pub failed: String,
    /// Median and p95 latency.
    pub latency: String,
    pub memory: String,
    /// Restarts of the app's process since the agent started.
    pub restarts: String,
    /// When these figures came.
    pub sampled: Ago,
    pub events: Vec<EventItem>,
}

/// What happens next, and who must act.
fn next(page: &Page, detail: &DeploymentDetail, now: Timestamp) -> String {
    if let Some(recall) = detail.line.recall.as_ref().filter(|_| detail.line.deployment.wanted) {
        let key = match detail.line.deployment.state {
            DeploymentState::Installed if detail.license.safety => "fleet-next-recalled-safety",
            DeploymentState::Installed if detail.others.is_empty() => "fleet-next-recalled",
            DeploymentState::Installed => "fleet-next-recalled-update",
            _ => "fleet-next-recalled-blocked",
        };
        return page.t1(key, "reason", &recall.reason);
    }
    match detail.line.deployment.state {
        DeploymentState::Installed if !detail.node.online(now) => page.t("fleet-next-installed-offline"),
        DeploymentState::Installed => runs(page, detail, now),
        DeploymentState::Failed => failed(page, &detail.line.deployment, &detail.events),
        // A removed node hears of nothing any more: what was on it is still there.
        DeploymentState::Removed if detail.node.state == NodeState::Removed => page.t("fleet-next-node-removed"),
        DeploymentState::Removed => page.t("fleet-next-removed"),
        _ if detail.node.silent() => page.t("fleet-next-node-silent"),
        _ if !detail.node.online(now) => page.t("fleet-next-node-offline"),
        state => page.tk("fleet-next-", state),
    }
}

/// The next step for an app that runs: none, unless its licence requires one.
fn runs(page: &Page, detail: &DeploymentDetail, now: Timestamp) -> String {
    let (license, zones) = (&detail.license, required_zones(page, &detail.release.manifest));
    match license.verdict_at(now) {
        Verdict::Valid { .. } if !zones.is_empty() => page.t1("fleet-next-zones", "zones", zones),
        Verdict::Valid { .. } => page.t("fleet-next-installed"),
        Verdict::Suspended if license.safety => page.t("fleet-next-safety-suspended"),
        Verdict::Revoked if license.safety => page.t("fleet-next-safety-revoked"),
        _ if license.safety => page.t("fleet-next-safety-expired"),
        _ => page.t1("fleet-next-installed-license", "verdict", verdict_text(page, license, now)),
    }
}

/// The next step for an app that failed, with what is left of it on the node.
fn failed(page: &Page, deployment: &Deployment, events: &[DeploymentEvent]) -> String {
    let left = left(events);
    let Some(kind) = deployment.error.as_deref().and_then(fault_code).and_then(|code| code.strip_prefix("license-")) else {
        return page.tk("fleet-next-failed-", left);
    };
    // The platform withholds the deployment, and the node has not adopted that yet.
    let unheard = deployment.digest.is_empty() && deployment.adopted_version < deployment.target_version;
    let what = page.tk("fleet-next-license-", if left == "stopped" && unheard { "stopping" } else { left });
    let then = match kind {
        "suspended" => page.t("fleet-next-license-then-suspended"),
        "expired" => page.t("fleet-next-license-then-expired"),
        "revoked" => page.t("fleet-next-license-then-revoked"),
        _ => page.t("fleet-next-license-then-other"),
    };
    page.t2("fleet-next-license", "what", what, "then", then)
}

/// What a failure has left on the node, from the history (newest first): `nothing`, `former` (the version before), or `stopped` where
/// the app itself ran until then.
fn left(events: &[DeploymentEvent]) -> &'static str {
    let (mut left, mut ran) = ("nothing", false);
    for event in events.iter().rev() {
        match event.state.as_str() {
            "installed" => (left, ran) = ("former", true),
            "removed" => (left, ran) = ("nothing", false),
            "failed" if ran => left = "stopped",
            "failed" => {}
            // A new try begins: after a stopped app nothing runs meanwhile.
            _ => (left, ran) = (if left == "stopped" { "nothing" } else { left }, false),
        }
    }
    left
}

impl DeploymentLive {
    /// From the detail.
    fn of(page: &Page, DeploymentView { detail, sample, used, links }: &DeploymentView, now: Timestamp) -> Self {
        let d = &detail.line.deployment;
        let (inferences, failed, latency, memory, restarts, sampled) = match sample {
            Some(s) => {
                // Show a dash before the first inference: 0 ms would read as a very good latency.
                let none = || "–".to_owned();
                let latency = if s.p95_ms > 0.0 { format!("{:.1} / {:.1} ms", s.p50_ms, s.p95_ms) } else { none() };
                let memory = if s.memory_bytes > 0 { page.bytes(&s.memory_bytes) } else { none() };
                (
                    // A heartbeat counts from the agent's start, a counter from the beginning, and is told each few minutes.
                    page.count(&s.inferences.max(*used)),
                    if s.errors > 0 { page.count(&s.errors) } else { String::new() },
                    latency,
                    memory,
                    page.count(&s.restarts),
                    page.ago(&s.at),
                )
            }
            None => Default::default(),
        };
        let events = detail.events.iter().map(|event| EventItem {
            tone: tone(&event.state),
            at: page.moment(&event.at),
            state: page.tk("state-", &event.state),
            what: event.version.clone(),
            note: note(page, event),
            fault: NodeFault::of(page, event.error.as_deref()),
        });
        Self {
            links: links.clone(),
            state: d.shown_state(detail.node.online(now)),
            next: next(page, detail, now),
            fault: NodeFault::of(page, d.error.as_deref()),
            node_state: detail.node.shown_state(now),
            inferences,
            failed,
            latency,
            memory,
            restarts,
            sampled,
            events: events.collect(),
        }
    }
}

/// `/mine/deployments/{id}`.
#[derive(Template)]
#[template(path = "mine/deployment.html")]
pub struct DeploymentPage {
    pub page: Page,
    pub id: String,
    pub app: String,
    pub listing: String,
    /// Version wanted.
    pub version: String,
    /// Digest of the release.
    pub digest: String,
    pub node: String,
    pub node_href: String,
    pub node_id: String,
    pub site: String,
    pub license_id: String,
    pub release_id: String,
    /// Parameters: label and value.
    pub parameters: Vec<(String, String)>,
    /// The vendor's message on a deprecated version, and its successor.
    pub deprecation: Option<(String, Option<String>)>,
    /// The platform's reason and its date, where the version is recalled.
    pub recalled: Option<(String, String)>,
    /// Other versions: release id and version.
    pub others: Vec<(String, String)>,
    /// What is shown and renewed.
    pub live: DeploymentLive,
    /// How often the app was right at this mine.
    pub precision: Option<Precision>,
    /// Whether the operator wants the app on the node.
    pub wanted: bool,
    /// Whether the reader may change it.
    pub may_deploy: bool,
}

impl DeploymentPage {
    /// From the detail.
    fn of(page: Page, found: &DeploymentView, precision: Option<Precision>, may_deploy: bool, now: Timestamp) -> Self {
        let detail = &found.detail;
        let d = &detail.line.deployment;
        let parameters = detail.release.manifest.parameters.iter().map(|p| {
            let field = ParameterField::of(&page, p, &d.parameters);
            (field.label, field.value)
        });
        Self {
            id: d.id.clone(),
            app: title(&page, &detail.line.app),
            listing: format!("/apps/{}", detail.line.app.repository()),
            version: detail.line.version.clone(),
            digest: detail.release.digest.clone(),
            node: shown_name(&detail.line.node, &d.node_id).to_owned(),
            node_href: format!("/mine/nodes/{}", d.node_id),
            node_id: d.node_id.clone(),
            site: detail.line.site.clone(),
            license_id: d.license_id.clone(),
            release_id: d.release_id.clone(),
            parameters: parameters.collect(),
            deprecation: detail.deprecation.as_ref().map(|d| (d.message.get(page.lang).to_owned(), d.successor.clone())),
            recalled: detail.line.recall.as_ref().map(|r| (r.reason.clone(), page.date(&r.at))),
            others: detail.others.iter().map(|r| (r.id.clone(), release_name(&page, r))).collect(),
            live: DeploymentLive::of(&page, found, now),
            precision,
            wanted: d.wanted,
            may_deploy,
            page,
        }
    }
}

/// `/mine/deployments/{id}/fragment`.
#[derive(Template)]
#[template(path = "mine/deployment_fragment.html")]
pub struct DeploymentFragment {
    pub page: Page,
    /// What is shown and renewed.
    pub live: DeploymentLive,
}
