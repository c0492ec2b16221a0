//! Pages of the operator's console: overview, sites, nodes. Deploying is in [`deploy`].

pub mod deploy;
pub mod deployment;

use askama::Template;

use super::model::{DeploymentEvent, DeploymentState, Node, NodeState, shown_name};
use super::service::Overview;
use super::service::node::{NodeDetail, NodeLine, SiteLine};
use crate::base::app::App;
use crate::base::db::Timestamp;
use crate::http::page::{FormErrors, Page};
use crate::license::views::until;
use crate::site::parts::chain::ChainLink;
use crate::telemetry::model::Level;

/// One alarm of the overview.
pub struct AlarmItem {
    /// `notice`, `warning`, `critical`.
    pub level: String,
    /// Colour of the badge.
    pub tone: &'static str,
    /// Text in the page's language.
    pub text: String,
    /// Site and node; empty where the text begins with them.
    pub place: String,
    /// App that raised it.
    pub app: String,
    /// Page of the deployment that raised it.
    pub href: String,
    /// How long ago.
    pub ago: String,
}

/// One licence that ends.
pub struct EndingItem {
    /// Its page.
    pub href: String,
    /// App.
    pub app: String,
    /// Last day.
    pub until: String,
    /// Word of the badge.
    pub state: &'static str,
}

/// What the overview shows and renews.
pub struct Today {
    /// Sites.
    pub sites: String,
    /// Nodes up.
    pub online: String,
    /// `2 down, 1 waiting`.
    pub nodes_note: String,
    /// Apps running.
    pub running: String,
    /// `1 failed, 2 under way`.
    pub running_note: String,
    /// Whether there is no site yet.
    pub empty: bool,
    /// Latest alarms.
    pub alarms: Vec<AlarmItem>,
    /// Licences ending.
    pub ending: Vec<EndingItem>,
}

impl Today {
    /// From the overview.
    pub fn of(page: &Page, overview: &Overview, now: Timestamp) -> Self {
        let alarms = overview.alarms.iter().map(|line| AlarmItem {
            tone: match line.alarm.level {
                Level::Critical => "red",
                Level::Warning => "amber",
                Level::Notice => "steel",
            },
            level: page.tk("fleet-level-", line.alarm.level),
            text: page.pick(&line.alarm.text_zh, &line.alarm.text_en).to_owned(),
            place: Some(format!("{} · {}", line.site, shown_name(&line.node, &line.alarm.node_id)))
                .filter(|place| !page.pick(&line.alarm.text_zh, &line.alarm.text_en).starts_with(place.as_str()))
                .unwrap_or_default(),
            app: page.pick(&line.app_zh, &line.app_en).to_owned(),
            href: format!("/mine/deployments/{}", line.alarm.deployment_id),
            ago: page.ago(&line.alarm.raised_at),
        });
        let ending = overview.ending.iter().map(|(license, app)| EndingItem {
            href: format!("/mine/licenses/{}", license.id),
            app: page.pick(&app.title_zh, &app.title_en).to_owned(),
            until: until(page, license),
            state: license.shown_state(now),
        });
        Self {
            sites: page.count(&overview.sites),
            online: page.count(&overview.online),
            nodes_note: page.t2("fleet-nodes-note", "offline", overview.offline, "waiting", overview.waiting),
            running: page.count(&overview.running),
            running_note: page.t2("fleet-running-note", "failed", overview.failed, "way", overview.under_way),
            empty: overview.sites == 0,
            alarms: alarms.collect(),
            ending: ending.collect(),
        }
    }
}

/// `/mine`.
#[derive(Template)]
#[template(path = "fleet/today.html")]
pub struct TodayPage {
    /// Common part.
    pub page: Page,
    /// What is shown and renewed.
    pub today: Today,
}

/// `/mine/fragment`.
#[derive(Template)]
#[template(path = "fleet/today_fragment.html")]
pub struct TodayFragment {
    /// Common part.
    pub page: Page,
    /// What is shown and renewed.
    pub today: Today,
}

/// `/mine/sites`.
#[derive(Template)]
#[template(path = "fleet/sites.html")]
pub struct SitesPage {
    /// Common part.
    pub page: Page,
    /// Sites.
    pub sites: Vec<SiteLine>,
    /// Whether the reader may add sites.
    pub may_manage: bool,
    /// Name as typed.
    pub name: String,
    /// What was wrong.
    pub errors: FormErrors,
}

/// One node of the list.
pub struct NodeRow {
    /// Its page.
    pub href: String,
    /// Name.
    pub name: String,
    /// Site.
    pub site: String,
    /// Word of the badge.
    pub state: &'static str,
    /// Maker, model, cores and memory in a line.
    pub hardware: String,
    /// Apps running.
    pub running: i64,
    /// Apps failed.
    pub failed: i64,
    /// Last call.
    pub seen: String,
}

impl NodeRow {
    /// From a line.
    pub fn of(page: &Page, line: &NodeLine, now: Timestamp) -> Self {
        Self {
            href: format!("/mine/nodes/{}", line.node.id),
            name: line.node.shown_name().to_owned(),
            site: line.site.clone(),
            state: line.node.shown_state(now),
            hardware: hardware_line(page, &line.node),
            running: line.running,
            failed: line.failed,
            seen: seen(page, &line.node, now),
        }
    }
}

fn seen(page: &Page, node: &Node, now: Timestamp) -> String {
    let Some(at) = node.seen_at else { return page.t("fleet-never-seen") };
    let seconds = (now.utc() - at.utc()).num_seconds();
    // "Just now" beside "offline" would be a riddle.
    if !node.online(now) && (0..60).contains(&seconds) { page.t1("fleet-seen-seconds", "n", seconds) } else { page.ago(&at) }
}

/// A fault that a node has reported, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFault {
    /// What it means, in the page's language.
    pub text: String,
    /// Code and words of the node itself.
    pub raw: String,
}

impl NodeFault {
    /// Of the error that is kept with a deployment or an event: `code: message`, or one of the two.
    pub fn of(page: &Page, error: Option<&str>) -> Option<Self> {
        let raw = error.filter(|e| !e.is_empty())?;
        let text = fault_code(raw).map_or_else(
            || page.t("node-fault-unnamed"),
            |code| {
                // What the engine finds at a start is what the platform's check finds too, and has its texts.
                let keys = ["node-fault-", "check-reason-"].map(|prefix| format!("{prefix}{code}"));
                let known = keys.iter().find(|key| page.locale().has(key));
                known.map_or_else(|| page.t1("node-fault-other", "code", code), |key| page.t(key))
            },
        );
        Some(Self { text, raw: raw.to_owned() })
    }
}

/// The code that an error of a node begins with.
pub fn fault_code(error: &str) -> Option<&str> {
    let code = error.split_once(": ").map_or(error, |(code, _)| code);
    let shaped = !code.is_empty() && code.len() <= 60 && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    shaped.then_some(code)
}

/// Model, cores and memory in one line; empty where the node has not said.
pub fn hardware_line(page: &Page, node: &Node) -> String {
    let Some(hardware) = node.hardware() else { return String::new() };
    let mut parts = Vec::new();
    if !hardware.architectures.is_empty() {
        parts.push(hardware.architectures.join(", "));
    }
    if hardware.cores > 0.0 {
        parts.push(page.t1("fleet-cores", "n", hardware.cores));
    }
    if let Some(bytes) = hardware.memory_bytes {
        parts.push(page.bytes(&bytes));
    }
    parts.join(" · ")
}

/// `/mine/nodes`.
#[derive(Template)]
#[template(path = "fleet/nodes.html")]
pub struct NodesPage {
    /// Common part.
    pub page: Page,
    /// Nodes.
    pub rows: Vec<NodeRow>,
    /// Newer ones.
    pub previous: Option<String>,
    /// Older ones.
    pub next: Option<String>,
    /// Whether the reader may add nodes.
    pub may_manage: bool,
}

/// `/mine/nodes/new`.
#[derive(Template)]
#[template(path = "fleet/node_new.html")]
pub struct NodeNewPage {
    /// Common part.
    pub page: Page,
    /// Sites to choose from.
    pub sites: Vec<SiteLine>,
    /// Site chosen.
    pub site_id: String,
    /// Name as typed.
    pub name: String,
    /// What was wrong.
    pub errors: FormErrors,
}

/// A deployment on a node's page.
pub struct NodeDeployment {
    /// Its page.
    pub href: String,
    /// App.
    pub app: String,
    /// Version wanted.
    pub version: String,
    /// State.
    pub state: DeploymentState,
    /// Why it failed.
    pub fault: Option<NodeFault>,
    /// Last change.
    pub changed: String,
}

/// An event in a timeline.
pub struct EventItem {
    /// Colour.
    pub tone: &'static str,
    /// When.
    pub at: String,
    /// State in words.
    pub state: String,
    /// App and version.
    pub what: String,
    /// What a change of settings changed.
    pub note: String,
    /// Why it failed.
    pub fault: Option<NodeFault>,
}

/// What an event changed, in words.
pub fn note(page: &Page, event: &DeploymentEvent) -> String {
    event.note.as_ref().map(|note| page.t1("fleet-event-changed", "what", note)).unwrap_or_default()
}

/// Colour of a deployment's state.
pub fn tone(state: &str) -> &'static str {
    match state {
        "installed" => "green",
        "failed" => "red",
        "removed" => "grey",
        "pending" => "amber",
        _ => "steel",
    }
}

/// What a node's page shows and renews.
pub struct NodeLive {
    /// Word of the badge.
    pub state: &'static str,
    /// Whether it waits for its first call.
    pub waiting: bool,
    /// Whether it has its certificate and its agent has never called.
    pub silent: bool,
    /// Whether an enrolment code is open.
    pub code_open: bool,
    /// What decides which parts the page around has: where it changes, the page is loaded anew.
    pub stage: String,
    /// What it says is wrong with itself.
    pub trouble: Option<NodeFault>,
    /// Whether it was removed.
    pub removed: bool,
    /// Last call.
    pub seen: String,
    /// Version of the agent.
    pub agent: String,
    /// End of the certificate.
    pub certificate: String,
    /// SPIFFE id.
    pub spiffe_id: String,
    /// Labels and values of the hardware.
    pub hardware: Vec<(String, String)>,
    /// What is deployed.
    pub deployments: Vec<NodeDeployment>,
    /// From listing to running of each app that runs: app and chain.
    pub chains: Vec<(String, Vec<ChainLink>)>,
    /// What happened.
    pub events: Vec<EventItem>,
}

impl NodeLive {
    /// From the detail.
    pub fn of(page: &Page, app: &App, detail: &NodeDetail) -> Self {
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
            // An agent that finds no serial number gives the node's id, which says nothing of the machine.
            add("fleet-hardware-serial", Some(h.serial.clone()).filter(|s| *s != node.id).unwrap_or_default());
            add("fleet-hardware-processor", format!("{} · {}", h.architectures.join(", "), page.t1("fleet-cores", "n", h.cores)));
            add("fleet-hardware-memory", h.memory_bytes.map(|b| page.bytes(&b)).unwrap_or_default());
            add("fleet-hardware-storage", h.storage.clone());
            add("fleet-hardware-devices", h.peripherals.join(", "));
            add("fleet-hardware-runtime", h.runtime.map(|v| format!("ONNX Runtime {v}")).unwrap_or_default());
        }
        let deployments = detail.deployments.iter().map(|(d, version, app)| NodeDeployment {
            href: format!("/mine/deployments/{}", d.id),
            app: page.pick(&app.title_zh, &app.title_en).to_owned(),
            version: version.clone(),
            state: d.state,
            fault: NodeFault::of(page, d.error.as_deref()),
            changed: page.ago(&d.updated_at),
        });
        let events = detail.events.iter().map(|(event, app)| EventItem {
            tone: tone(&event.state),
            at: page.datetime(&event.at),
            state: page.tk("state-", &event.state),
            what: format!("{} {}", page.pick(&app.title_zh, &app.title_en), event.version),
            note: note(page, event),
            fault: NodeFault::of(page, event.error.as_deref()),
        });
        let chains = detail.chains.iter().filter_map(|(id, links)| {
            let (_, version, app) = detail.deployments.iter().find(|(d, _, _)| d.id == *id)?;
            Some((format!("{} {version}", page.pick(&app.title_zh, &app.title_en)), links.clone()))
        });
        let code_open = node.open_code(now).is_some();
        Self {
            state: node.shown_state(now),
            waiting: node.state == NodeState::Waiting,
            silent: node.silent(),
            code_open,
            stage: format!("{}{}", if node.silent() { "silent" } else { node.state.as_str() }, if code_open { "+code" } else { "" }),
            trouble: NodeFault::of(page, node.trouble.as_deref()),
            removed: node.state == NodeState::Removed,
            seen: seen(page, node, now),
            agent: node.agent_version.clone().unwrap_or_default(),
            certificate: node.certificate_expires_at.map(|at| page.datetime(&at)).unwrap_or_default(),
            spiffe_id: app.ca.node_id(&node.id),
            hardware,
            deployments: deployments.collect(),
            chains: chains.collect(),
            events: events.collect(),
        }
    }
}

/// `/mine/nodes/{id}`.
#[derive(Template)]
#[template(path = "fleet/node.html")]
pub struct NodePage {
    /// Common part.
    pub page: Page,
    /// Node id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Site.
    pub site: String,
    /// What is shown and renewed.
    pub live: NodeLive,
    /// Command to copy, while its code is known to this browser and open.
    pub command: Option<String>,
    /// Command that runs the agent.
    pub run_command: &'static str,
    /// Until when an open code is good.
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
#[template(path = "fleet/node_fragment.html")]
pub struct NodeFragment {
    /// Common part.
    pub page: Page,
    /// What is shown and renewed.
    pub live: NodeLive,
}
