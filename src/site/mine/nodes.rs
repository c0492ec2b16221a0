//! /mine/nodes: nodes, one node, enrolling one.

use std::collections::{BTreeMap, HashMap};

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::i18n::Lang;
use crate::fleet::model::{DeploymentState, Node, NodeProvider, NodeState, Serves, code_hash};
use crate::fleet::service;
use crate::fleet::service::node::{IssuedCode, NodeDetail, NodeLine, SiteLine};
use crate::http::cookies;
use crate::http::extract::Form;
use crate::http::page::{Ago, FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::{Before, paging};
use crate::release::model::Recall;
use crate::release::recall::recalls;
use crate::site::parts::chain::{self, ChainLink, Reader};
use crate::site::parts::node::{EventItem, NodeFault, hardware_line, note, seen, tone};
use crate::telemetry;
use crate::telemetry::sources::{NodeSource, SourceState};

/// Most apps of a node whose chain its page shows, as many as its plots.
const MAX_CHAINS: usize = 10;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/nodes", web::get().to(list))
        .route("/mine/nodes/new", web::get().to(new))
        .route("/mine/nodes/new", web::post().to(create))
        .route("/mine/nodes/{id}", web::get().to(detail))
        .route("/mine/nodes/{id}/fragment", web::get().to(fragment))
        .route("/mine/nodes/{id}/code", web::post().to(new_code))
        .route("/mine/nodes/{id}/remove", web::post().to(remove));
}

/// One node of the list.
pub struct NodeRow {
    pub href: String,
    pub name: String,
    pub site: String,
    /// Word of the badge.
    pub state: &'static str,
    /// Maker, model, cores and memory in a line.
    pub hardware: String,
    /// Apps that run, or ran when the node was last heard from.
    pub installed: i64,
    /// Whether the node was heard from lately.
    pub online: bool,
    pub failed: i64,
    /// Cameras and other sources that have failed or show a picture that cannot be trusted.
    pub troubled: i64,
    /// Last call.
    pub seen: Ago,
}

impl NodeRow {
    pub fn of(page: &Page, line: &NodeLine, troubled: i64, now: Timestamp) -> Self {
        Self {
            href: format!("/mine/nodes/{}", line.node.id),
            name: line.node.shown_name().to_owned(),
            site: line.site.clone(),
            state: line.node.shown_state(now),
            hardware: hardware_line(page, &line.node),
            installed: line.installed,
            online: line.node.online(now),
            failed: line.failed,
            troubled,
            seen: seen(page, &line.node),
        }
    }
}

/// `/mine/nodes`.
#[derive(Template)]
#[template(path = "mine/nodes.html")]
pub struct NodesPage {
    pub page: Page,
    pub rows: Vec<NodeRow>,
    /// Address of the page with newer rows.
    pub previous: Option<String>,
    /// Address of the page with older rows.
    pub next: Option<String>,
    /// Whether the reader may add nodes.
    pub may_manage: bool,
}

/// `/mine/nodes/new`.
#[derive(Template)]
#[template(path = "mine/node_new.html")]
pub struct NodeNewPage {
    pub page: Page,
    /// Sites to choose from.
    pub sites: Vec<SiteLine>,
    /// Site chosen.
    pub site_id: String,
    /// Name as typed.
    pub name: String,
    pub errors: FormErrors,
}

/// A deployment on a node's page.
pub struct NodeDeployment {
    pub href: String,
    pub app: String,
    /// Version wanted.
    pub version: String,
    /// Word of the badge.
    pub state: &'static str,
    /// Why it failed.
    pub fault: Option<NodeFault>,
    pub changed: Ago,
    /// What it runs on, where its app names execution providers, and why not on a better one.
    pub provided: Vec<String>,
    /// Why the platform has recalled the version.
    pub recalled: Option<String>,
}

/// A camera or another source on a node's page.
pub struct SourceRow {
    pub id: String,
    pub name: String,
    pub kind: String,
    /// Word of the badge.
    pub state: &'static str,
    /// What is wrong: why it has failed, and what its picture is like.
    pub wrong: Vec<NodeFault>,
    /// Since when that is so.
    pub since: Ago,
    /// The apps that look at it.
    pub apps: Vec<String>,
}

impl SourceRow {
    fn of(page: &Page, source: &NodeSource) -> Self {
        let key = format!("fleet-source-kind-{}", source.kind);
        let code = source.code.clone().filter(|_| source.state == SourceState::Failed);
        let codes = code.into_iter().chain(source.troubles().map(|trouble| format!("picture-{trouble}")));
        let wrong: Vec<NodeFault> = codes.filter_map(|code| NodeFault::of(page, Some(code.as_str()))).collect();
        Self {
            id: source.source_id.clone(),
            name: source.name.clone(),
            kind: if page.locale().has(&key) { page.t(&key) } else { source.kind.clone() },
            state: if source.state == SourceState::Running && !wrong.is_empty() { "doubtful" } else { source.state.as_str() },
            wrong,
            since: page.ago(&source.since),
            apps: source.apps().map(str::to_owned).collect(),
        }
    }
}

/// The part of a node's page that is fetched anew after changes.
pub struct NodeLive {
    /// Word of the badge.
    pub state: &'static str,
    /// Whether it waits for its first call.
    pub waiting: bool,
    /// Whether it has its certificate and its agent has never called.
    pub silent: bool,
    /// Whether an enrolment code is open.
    pub code_open: bool,
    /// Enrolment state that decides the parts of the surrounding page: when it changes, the whole page is loaded anew.
    pub stage: String,
    /// Fault that the agent reports of itself.
    pub trouble: Option<NodeFault>,
    /// Alarms that never come: lost for want of room,
    pub lost: Option<String>,
    /// and over the pace of their rule.
    pub suppressed: Option<String>,
    /// Whether it was removed.
    pub removed: bool,
    /// Last call.
    pub seen: Ago,
    /// Version of the agent.
    pub agent: String,
    /// End of the certificate.
    pub certificate: String,
    pub spiffe_id: String,
    /// Labels and values of the hardware.
    pub hardware: Vec<(String, String)>,
    pub deployments: Vec<NodeDeployment>,
    pub sources: Vec<SourceRow>,
    /// Whether the node is not heard from, so that its sources are those of its last word.
    pub unheard: bool,
    /// App and chain line of each app that runs.
    pub chains: Vec<(String, Vec<ChainLink>)>,
    pub events: Vec<EventItem>,
}

impl NodeLive {
    fn of(page: &Page, app: &App, detail: &NodeDetail, around: Around) -> Self {
        let Around { recalls, chains, sources } = around;
        let (node, now) = (&detail.node, app.clock.now());
        let mut hardware = Vec::new();
        if let Some(h) = node.hardware() {
            let mut add = |key: &str, value: String| {
                if !value.trim().is_empty() {
                    hardware.push((page.t(key), value));
                }
            };
            let named = [h.vendor.trim(), h.model.trim()].into_iter().filter(|w| !w.is_empty() && !w.eq_ignore_ascii_case("unknown"));
            add("fleet-hardware-model", named.collect::<Vec<_>>().join(" "));
            // Leave out a serial number that is the node's id: the agent sends that where it finds none.
            add("fleet-hardware-serial", Some(h.serial.clone()).filter(|s| *s != node.id).unwrap_or_default());
            add("fleet-hardware-processor", format!("{} · {}", h.architectures.join(", "), page.t1("fleet-cores", "n", h.cores)));
            add("fleet-hardware-memory", h.memory_bytes.map(|b| page.bytes(&b)).unwrap_or_default());
            add("fleet-hardware-storage", h.storage.clone());
            add("fleet-hardware-devices", h.peripherals.join(", "));
            add("fleet-hardware-runtime", h.runtime.clone().map(|v| format!("ONNX Runtime {v}")).unwrap_or_default());
            add("fleet-hardware-providers", h.provided.providers.iter().map(|one| provider(page, one)).collect::<Vec<_>>().join("; "));
        }
        let provided = node.hardware().unwrap_or_default().provided;
        let deployments = detail.deployments.iter().map(|(d, version, app)| NodeDeployment {
            provided: provided.apps.get(&d.id).map(|serves| lines(page, serves)).unwrap_or_default(),
            href: format!("/mine/deployments/{}", d.id),
            app: page.pick(&app.title_zh, &app.title_en).to_owned(),
            version: version.clone(),
            state: d.shown_state(node.online(now)),
            fault: NodeFault::of(page, d.error.as_deref()),
            changed: page.ago(&d.updated_at),
            recalled: recalls.get(&d.release_id).filter(|_| d.wanted).map(|recall| recall.reason.clone()),
        });
        let events = detail.events.iter().map(|(event, app)| EventItem {
            tone: tone(&event.state),
            at: page.moment(&event.at),
            state: page.tk("state-", &event.state),
            what: format!("{} {}", page.pick(&app.title_zh, &app.title_en), event.version),
            note: note(page, event),
            fault: NodeFault::of(page, event.error.as_deref()),
        });
        let chains = chains.into_iter().filter_map(|(id, links)| {
            let (_, version, app) = detail.deployments.iter().find(|(d, _, _)| d.id == id)?;
            Some((format!("{} {version}", page.pick(&app.title_zh, &app.title_en)), links))
        });
        let code_open = node.open_code(now).is_some();
        Self {
            state: node.shown_state(now),
            waiting: node.state == NodeState::Waiting,
            silent: node.silent(),
            code_open,
            stage: format!("{}{}", if node.silent() { "silent" } else { node.state.as_str() }, if code_open { "+code" } else { "" }),
            trouble: NodeFault::of(page, node.trouble.as_deref()),
            lost: (node.alarms_dropped > 0).then(|| page.t1("fleet-alarms-lost", "n", node.alarms_dropped)),
            suppressed: (node.alarms_suppressed > 0).then(|| page.t1("fleet-alarms-suppressed", "n", node.alarms_suppressed)),
            removed: node.state == NodeState::Removed,
            seen: seen(page, node),
            agent: node.agent_version.clone().unwrap_or_default(),
            certificate: node.certificate_expires_at.map(|at| page.datetime(&at)).unwrap_or_default(),
            spiffe_id: app.ca.node_id(&node.id),
            hardware,
            deployments: deployments.collect(),
            sources: sources.iter().map(|source| SourceRow::of(page, source)).collect(),
            unheard: !node.online(now),
            chains: chains.collect(),
            events: events.collect(),
        }
    }
}

/// An execution provider in words: version and precision, or why it is not used.
fn provider(page: &Page, one: &NodeProvider) -> String {
    let known = ["cpu", "openvino", "cuda", "cann"].contains(&one.name.as_str());
    let name = if known { page.tk("provider-", &one.name) } else { one.name.clone() };
    if !one.code.is_empty() {
        let fault = NodeFault::of(page, Some(format!("{}: {}", one.code, one.message).as_str()));
        return format!("{name}: {}", fault.map(|fault| fault.text).unwrap_or_default());
    }
    let precision = if one.precision == "model" { page.t("card-precision-model") } else { one.precision.clone() };
    let part = if one.in_part { format!(", {}", page.t("card-provider-part")) } else { String::new() };
    format!("{name} {} ({precision}{part})", one.version)
}

/// What an app runs on, then each provider that it would rather run on.
fn lines(page: &Page, serves: &Serves) -> Vec<String> {
    serves.serves.iter().chain(&serves.passed_over).take(4).map(|one| provider(page, one)).collect()
}

/// `/mine/nodes/{id}`.
#[derive(Template)]
#[template(path = "mine/node.html")]
pub struct NodePage {
    pub page: Page,
    pub id: String,
    pub name: String,
    pub site: String,
    /// The part that is fetched anew.
    pub live: NodeLive,
    /// Command to copy, while its code is known to this browser and open.
    pub command: Option<String>,
    /// Command that runs the agent.
    pub run_command: &'static str,
    /// End of an open code's validity.
    pub code_until: Option<String>,
    /// Whether the reader may give codes and remove.
    pub may_manage: bool,
    /// Whether the reader may deploy.
    pub may_deploy: bool,
    /// Deployments that removing the node ends.
    pub deployment_count: usize,
}

/// `/mine/nodes/{id}/fragment`.
#[derive(Template)]
#[template(path = "mine/node_fragment.html")]
pub struct NodeFragment {
    pub page: Page,
    /// The part that is fetched anew.
    pub live: NodeLive,
}

/// Holds a fresh enrolment code for the page of its node, in the browser that asked for it; the platform keeps only the hash.
const CODE_COOKIE: &str = "enrollment-code";

async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::node::list_nodes(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::node::PAGE, "/mine/nodes", "before", query.before.as_deref(), |l| l.node.id.clone());
    let ids: Vec<String> = lines.iter().map(|line| line.node.id.clone()).collect();
    let troubled: BTreeMap<String, i64> = app.db.read(move |conn| Ok(telemetry::sources::troubled(conn, &ids)?)).await?;
    let page = Page::of(&req, "fleet-nodes-title");
    let of = |line: &NodeLine| NodeRow::of(&page, line, troubled.get(&line.node.id).copied().unwrap_or_default(), app.clock.now());
    let rows = lines.iter().map(of).collect();
    let may_manage = policy::require(&actor, Action::ManageNodes).is_ok();
    page.clone().render(&NodesPage { page, rows, previous, next, may_manage })
}

#[derive(Debug, Default, Deserialize)]
struct NodeForm {
    #[serde(default)]
    site_id: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct NewQuery {
    site: Option<String>,
}

async fn new(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<NewQuery>) -> PageResult {
    let form = NodeForm { site_id: query.into_inner().site.unwrap_or_default(), name: String::new() };
    new_page(&req, &app, &actor, form, None).await
}

async fn new_page(req: &HttpRequest, app: &App, actor: &Actor, form: NodeForm, error: Option<Error>) -> PageResult {
    policy::require(actor, Action::ManageNodes)?;
    let sites = service::node::list_sites(app, actor).await?;
    let page = Page::of(req, "fleet-node-new-title");
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map(|e| FormErrors::of(&page, &e)).unwrap_or_default();
    page.clone().render_with(status, &NodeNewPage { page, sites, site_id: form.site_id, name: form.name, errors })
}

async fn create(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<NodeForm>) -> PageResult {
    match form_result(service::create_node(&app, &actor, &form.0.site_id, &form.0.name).await)? {
        Ok(issued) => with_code(&app, &issued),
        Err(error) => new_page(&req, &app, &actor, form.0, Some(error)).await,
    }
}

async fn new_code(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let issued = service::new_code(&app, &actor, &id).await?;
    with_code(&app, &issued)
}

/// Redirects to the node's page, with the code in a cookie that only this page gets.
fn with_code(app: &App, issued: &IssuedCode) -> PageResult {
    let path = format!("/mine/nodes/{}", issued.node_id);
    let cookie = Cookie::build(CODE_COOKIE, issued.code.clone())
        .path(path.clone())
        .http_only(true)
        .secure(app.settings.server.public_url.starts_with("https:"))
        .same_site(SameSite::Lax)
        .max_age(Duration::hours(app.settings.fleet.code_hours.clamp(1, 24 * 30)))
        .finish();
    let mut response = see_other_with(&path, "success", "fleet-code-ready", &[]);
    response.add_cookie(&cookie).map_err(|e| Error::internal(anyhow::anyhow!("{e}")))?;
    Ok(response)
}

/// The enrolment command, if this browser's cookie holds the code that is open now.
fn command(req: &HttpRequest, app: &App, node: &Node) -> Option<String> {
    node.open_code(app.clock.now())?;
    let code = cookies::read(req, CODE_COOKIE)?;
    let known = code_hash(&code).is_some() && code_hash(&code) == node.code_hash;
    known.then(|| service::node::enroll_command(app, &code))
}

async fn detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "");
    let (may_manage, may_deploy) = (policy::require(&actor, Action::ManageNodes).is_ok(), policy::require(&actor, Action::Deploy).is_ok());
    let (detail, around) = read(&app, actor, page.locale(), id.into_inner()).await?;
    detail.node.shown_name().clone_into(&mut page.title);
    let template = NodePage {
        live: NodeLive::of(&page, &app, &detail, around),
        command: command(&req, &app, &detail.node),
        run_command: service::node::RUN_COMMAND,
        code_until: detail.node.open_code(app.clock.now()).map(|at| page.datetime(&at)),
        may_manage,
        may_deploy,
        deployment_count: detail.deployments.len(),
        name: detail.node.shown_name().to_owned(),
        id: detail.node.id,
        site: detail.site,
        page,
    };
    template.page.clone().render(&template)
}

async fn fragment(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "");
    let (detail, around) = read(&app, actor, page.locale(), id.into_inner()).await?;
    detail.node.shown_name().clone_into(&mut page.title);
    let live = NodeLive::of(&page, &app, &detail, around);
    page.clone().render(&NodeFragment { page, live })
}

/// Chain lines of the apps that are installed on a node, by deployment.
type Chains = Vec<(String, Vec<ChainLink>)>;

/// What the page of a node shows beside it.
struct Around {
    /// Why versions of its apps are recalled, by release.
    recalls: HashMap<String, Recall>,
    /// Of its first apps.
    chains: Chains,
    sources: Vec<NodeSource>,
}

async fn read(app: &App, actor: Actor, lang: Lang, id: String) -> Result<(NodeDetail, Around)> {
    let reader = Reader::of(&actor, lang, app.clock.now());
    app.db
        .read(move |conn| {
            let detail = service::node::detail_in(conn, &actor, &id)?;
            let installed = detail.deployments.iter().filter(|(d, _, _)| d.state == DeploymentState::Installed).take(MAX_CHAINS);
            let chains =
                installed.map(|(d, _, _)| Ok((d.id.clone(), chain::of_deployment(conn, &reader, &d.id)?))).collect::<Result<_>>()?;
            let releases: Vec<&str> = detail.deployments.iter().map(|(d, ..)| d.release_id.as_str()).collect();
            let recalls = recalls(conn, &releases)?;
            let sources = telemetry::sources::of_node(conn, &id)?;
            Ok((detail, Around { recalls, chains, sources }))
        })
        .await
}

async fn remove(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    service::remove_node(&app, &actor, &id).await?;
    // Its own page says what the machine goes on with; the list has no removed nodes.
    Ok(see_other_with(&format!("/mine/nodes/{id}"), "success", "fleet-node-removed", &[]))
}
