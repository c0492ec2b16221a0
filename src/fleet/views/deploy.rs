//! Pages of deploying and of deployments.

use app_package::license::Verdict;
use app_package::manifest::{Parameter, ParameterKind};
use askama::Template;
use serde_json::{Map, Value};

use super::{EventItem, NodeFault, fault_code, hardware_line, tone};
use crate::chain::ChainLink;
use crate::db::Timestamp;
use crate::error::Error;
use crate::fleet::model::{Change, Deployment, DeploymentEvent, DeploymentState, Fit};
use crate::fleet::parameters::shown;
use crate::fleet::service::deployment::{Choices, DeploymentDetail, DeploymentLine, Offer, Plan};
use crate::http::page::{FormErrors, Page, error_text};
use crate::license::model::{AppName, License};
use crate::license::views::{until, verdict_text};

fn title(page: &Page, app: &AppName) -> String {
    page.pick(&app.title_zh, &app.title_en).to_owned()
}

/// A licence to deploy by.
pub struct OfferCard {
    /// Licence id.
    pub license_id: String,
    /// App.
    pub app: String,
    /// `3 / 5`.
    pub seats: String,
    /// Seats used.
    pub used: i64,
    /// Seats owned.
    pub owned: i64,
    /// Last day.
    pub until: String,
    /// Word of the badge.
    pub state: &'static str,
    /// Releases: id and version.
    pub releases: Vec<(String, String)>,
    /// Why it cannot be used, in words.
    pub refused: Option<String>,
    /// Whether the reader came from it.
    pub selected: bool,
}

/// `/mine/deploy`, step 1.
#[derive(Template)]
#[template(path = "fleet/deploy_app.html")]
pub struct AppStep {
    /// Common part.
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    /// Licences.
    pub offers: Vec<OfferCard>,
    /// Nodes chosen before the app.
    pub nodes: Vec<String>,
}

/// Cards of offers, the one the reader came from first.
pub fn offers(page: &Page, offers: &[Offer], license_id: &str, now: Timestamp) -> Vec<OfferCard> {
    let card = |o: &Offer| OfferCard {
        license_id: o.line.license.id.clone(),
        app: title(page, &o.line.app),
        seats: format!("{} / {}", o.line.license.nodes_active, o.line.license.node_limit),
        used: o.line.license.nodes_active,
        owned: o.line.license.node_limit,
        until: until(page, &o.line.license),
        state: o.line.license.shown_state(now),
        releases: o.releases.iter().map(|r| (r.id.clone(), r.version.clone())).collect(),
        refused: o.refused.map(|code| error_text(page.locale(), code, &[])),
        selected: o.line.license.id == license_id,
    };
    let mut cards: Vec<OfferCard> = offers.iter().map(card).collect();
    cards.sort_by_key(|c| (!c.selected, c.refused.is_some()));
    cards
}

/// A node to choose.
pub struct NodeChoice {
    /// Node id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Site.
    pub site: String,
    /// Word of its badge.
    pub state: &'static str,
    /// Hardware in a line.
    pub hardware: String,
    /// Whether the app fits, in words.
    pub fit: String,
    /// Colour of that.
    pub tone: &'static str,
    /// Whether it can be chosen.
    pub possible: bool,
    /// Version that is there, in words.
    pub present: String,
    /// Whether it is chosen.
    pub checked: bool,
}

/// `/mine/deploy`, step 2.
#[derive(Template)]
#[template(path = "fleet/deploy_nodes.html")]
pub struct NodesStep {
    /// Common part.
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    /// App.
    pub app: String,
    /// Version.
    pub version: String,
    /// Licence id.
    pub license_id: String,
    /// Release id.
    pub release_id: String,
    /// Free seats, in words.
    pub seats: String,
    /// What the app needs, in words.
    pub need: String,
    /// Nodes.
    pub nodes: Vec<NodeChoice>,
    /// What was wrong.
    pub problem: Option<String>,
}

impl NodesStep {
    /// From the choices.
    pub fn of(page: Page, choices: &Choices, chosen: &[String], problem: Option<String>, now: Timestamp) -> Self {
        let need = &choices.release.manifest.resources;
        let memory = i64::from(need.memory_mib).saturating_mul(1_048_576);
        let nodes = choices.nodes.iter().map(|c| NodeChoice {
            id: c.node.id.clone(),
            name: c.node.name.clone(),
            site: c.site.clone(),
            state: c.node.shown_state(now),
            hardware: hardware_line(&page, &c.node),
            fit: page.tk("fleet-fit-", c.fit.as_str()),
            tone: match c.fit {
                Fit::Fits => "green",
                Fit::Unknown => "grey",
                _ => "red",
            },
            possible: c.fit.possible(),
            present: match &c.present {
                Some(version) if *version == choices.release.version => page.t("fleet-present-same"),
                Some(version) => page.t1("fleet-present", "version", version),
                None if c.seat => page.t("fleet-present-seat"),
                None => String::new(),
            },
            checked: c.fit.possible() && chosen.contains(&c.node.id),
        });
        Self {
            step: 2,
            app: title(&page, &choices.app),
            version: choices.release.version.clone(),
            license_id: choices.license.id.clone(),
            release_id: choices.release.id.clone(),
            seats: page.t2(
                "fleet-seats-free",
                "free",
                choices.license.node_limit - choices.license.nodes_active,
                "owned",
                choices.license.node_limit,
            ),
            need: format!("{} · {} · {}", need.architectures.join(", "), page.t1("fleet-cores", "n", need.cpu), page.bytes(&memory)),
            nodes: nodes.collect(),
            problem,
            page,
        }
    }
}

/// One field of the parameter form.
pub struct ParameterField {
    /// Name of the field, `p.<name>`.
    pub name: String,
    /// Label.
    pub label: String,
    /// Help, with the bounds.
    pub hint: String,
    /// `text`, `number`, `checkbox` or `choice`.
    pub kind: &'static str,
    /// Value as typed.
    pub value: String,
    /// `any` or `1`.
    pub increment: &'static str,
    /// Lowest number, or empty.
    pub min: String,
    /// Highest number, or empty.
    pub max: String,
    /// Words to choose from.
    pub choices: Vec<String>,
}

impl ParameterField {
    /// From the declaration and the value typed or in force.
    pub fn of(page: &Page, parameter: &Parameter, values: &Map<String, Value>) -> Self {
        let bound = |n: Option<f64>| n.map(|n| n.to_string()).unwrap_or_default();
        let (min, max) = (bound(parameter.min), bound(parameter.max));
        let range = match (min.is_empty(), max.is_empty()) {
            (false, false) => page.t2("fleet-range", "min", &min, "max", &max),
            (false, true) => page.t1("fleet-range-min", "min", &min),
            (true, false) => page.t1("fleet-range-max", "max", &max),
            (true, true) => String::new(),
        };
        Self {
            name: format!("{}{}", crate::fleet::parameters::PREFIX, parameter.name),
            label: match parameter.title.get(page.lang) {
                "" => parameter.name.clone(),
                title => title.to_owned(),
            },
            hint: format!("{} {range}", parameter.help.get(page.lang)).trim().to_owned(),
            kind: match parameter.kind {
                ParameterKind::String => "text",
                ParameterKind::Integer | ParameterKind::Number => "number",
                ParameterKind::Boolean => "checkbox",
                ParameterKind::Choice => "choice",
            },
            value: shown(values.get(&parameter.name).unwrap_or(&parameter.default)),
            increment: if parameter.kind == ParameterKind::Integer { "1" } else { "any" },
            min,
            max,
            choices: parameter.choices.clone(),
        }
    }
}

/// `/mine/deploy`, step 3.
#[derive(Template)]
#[template(path = "fleet/deploy_parameters.html")]
pub struct ParametersStep {
    /// Common part.
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    /// App.
    pub app: String,
    /// Version.
    pub version: String,
    /// Licence id.
    pub license_id: String,
    /// Release id.
    pub release_id: String,
    /// Nodes chosen: id and name.
    pub nodes: Vec<(String, String)>,
    /// Fields.
    pub fields: Vec<ParameterField>,
    /// What was wrong.
    pub errors: FormErrors,
    /// What was wrong with fields that the page does not show.
    pub others: Vec<String>,
}

/// Texts of the wrong fields that are not among those shown.
fn unshown(page: &Page, error: &Error, shown: &[ParameterField]) -> Vec<String> {
    let hidden = error.fields.iter().filter(|f| shown.iter().all(|s| s.name != f.field));
    // The values for the text may stand with the error as a whole.
    hidden.map(|f| error_text(page.locale(), f.code, if f.args.is_empty() { &error.args } else { &f.args })).collect()
}

impl ParametersStep {
    /// From the choices. Without typed values, those in force on the first node that has the app.
    pub fn of(page: Page, choices: &Choices, chosen: &[String], typed: Option<&Map<String, Value>>, error: Option<&Error>) -> Self {
        let nodes: Vec<(String, String)> =
            choices.nodes.iter().filter(|c| chosen.contains(&c.node.id)).map(|c| (c.node.id.clone(), c.node.name.clone())).collect();
        let in_force = choices.nodes.iter().filter(|c| chosen.contains(&c.node.id)).find_map(|c| c.parameters.clone());
        let values = typed.cloned().or(in_force).unwrap_or_default();
        let fields: Vec<ParameterField> =
            choices.release.manifest.parameters.iter().map(|p| ParameterField::of(&page, p, &values)).collect();
        Self {
            step: 3,
            app: title(&page, &choices.app),
            version: choices.release.version.clone(),
            license_id: choices.license.id.clone(),
            release_id: choices.release.id.clone(),
            others: error.map(|e| unshown(&page, e, &fields)).unwrap_or_default(),
            errors: error.map(|e| FormErrors::of(&page, e)).unwrap_or_default(),
            fields,
            nodes,
            page,
        }
    }
}

/// What changes on one node.
pub struct PreviewRow {
    /// Node id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Site.
    pub site: String,
    /// Word of its badge.
    pub state: &'static str,
    /// What changes, in words.
    pub change: String,
    /// Colour of that.
    pub tone: &'static str,
}

/// `/mine/deploy/preview`, step 4.
#[derive(Template)]
#[template(path = "fleet/deploy_preview.html")]
pub struct PreviewStep {
    /// Common part.
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    /// App.
    pub app: String,
    /// Version.
    pub version: String,
    /// Licence id.
    pub license_id: String,
    /// Release id.
    pub release_id: String,
    /// Nodes.
    pub rows: Vec<PreviewRow>,
    /// Parameters: field name, label, value.
    pub parameters: Vec<(String, String, String)>,
    /// Seats it takes, in words.
    pub seats: String,
    /// Whether nothing changes.
    pub nothing: bool,
}

impl PreviewStep {
    /// From the plan.
    pub fn of(page: Page, plan: &Plan, now: Timestamp) -> Self {
        let rows: Vec<PreviewRow> = plan
            .lines
            .iter()
            .map(|line| PreviewRow {
                id: line.node.id.clone(),
                name: line.node.name.clone(),
                site: line.site.clone(),
                state: line.node.shown_state(now),
                change: match &line.change {
                    Change::Update { from } => page.t2("fleet-change-update", "from", from, "to", &plan.release.version),
                    other => page.t1(&format!("fleet-change-{}", other.as_str()), "version", &plan.release.version),
                },
                tone: match line.change {
                    Change::Install => "green",
                    Change::Same => "grey",
                    _ => "amber",
                },
            })
            .collect();
        let parameters = plan.release.manifest.parameters.iter().map(|p| {
            let field = ParameterField::of(&page, p, &plan.parameters);
            (field.name, field.label, field.value)
        });
        Self {
            step: 4,
            app: title(&page, &plan.app),
            version: plan.release.version.clone(),
            license_id: plan.license.id.clone(),
            release_id: plan.release.id.clone(),
            parameters: parameters.collect(),
            seats: page.t2(
                "fleet-seats-taken",
                "n",
                plan.new_seats,
                "left",
                plan.license.node_limit - plan.license.nodes_active - plan.new_seats,
            ),
            nothing: plan.lines.iter().all(|l| l.change == Change::Same),
            rows,
            page,
        }
    }
}

/// One row of the list.
pub struct DeploymentRow {
    /// Its page.
    pub href: String,
    /// App.
    pub app: String,
    /// Version wanted.
    pub version: String,
    /// Node.
    pub node: String,
    /// Site.
    pub site: String,
    /// State.
    pub state: DeploymentState,
    /// Why it failed.
    pub fault: Option<NodeFault>,
    /// Last change.
    pub changed: String,
}

impl DeploymentRow {
    /// From a line.
    pub fn of(page: &Page, line: &DeploymentLine) -> Self {
        Self {
            href: format!("/mine/deployments/{}", line.deployment.id),
            app: title(page, &line.app),
            version: line.version.clone(),
            node: line.node.clone(),
            site: line.site.clone(),
            state: line.deployment.state,
            fault: NodeFault::of(page, line.deployment.error.as_deref()),
            changed: page.ago(&line.deployment.updated_at),
        }
    }
}

/// `/mine/deployments`.
#[derive(Template)]
#[template(path = "fleet/deployments.html")]
pub struct DeploymentsPage {
    /// Common part.
    pub page: Page,
    /// Deployments.
    pub rows: Vec<DeploymentRow>,
    /// Newer ones.
    pub previous: Option<String>,
    /// Older ones.
    pub next: Option<String>,
    /// Whether the reader may deploy.
    pub may_deploy: bool,
}

/// What a deployment's page shows and renews.
pub struct DeploymentLive {
    /// From listing to running.
    pub links: Vec<ChainLink>,
    /// State.
    pub state: DeploymentState,
    /// What happens next, and who must act.
    pub next: String,
    /// Why it failed.
    pub fault: Option<NodeFault>,
    /// Word of the node's badge.
    pub node_state: &'static str,
    /// Inferences since the agent started.
    pub inferences: String,
    /// Median and p95 latency.
    pub latency: String,
    /// Memory.
    pub memory: String,
    /// When these figures came.
    pub sampled: String,
    /// What happened.
    pub events: Vec<EventItem>,
}

/// What happens next, and who must act.
fn next(page: &Page, detail: &DeploymentDetail, now: Timestamp) -> String {
    match detail.line.deployment.state {
        DeploymentState::Installed => runs(page, &detail.license, now),
        DeploymentState::Failed => failed(page, &detail.line.deployment, &detail.events),
        DeploymentState::Removed => page.t("fleet-next-removed"),
        _ if detail.node.silent() => page.t("fleet-next-node-silent"),
        _ if !detail.node.online(now) => page.t("fleet-next-node-offline"),
        state => page.tk("fleet-next-", state),
    }
}

/// Of an app that runs: nothing has to be done, unless its licence says otherwise.
fn runs(page: &Page, license: &License, now: Timestamp) -> String {
    match license.verdict_at(now) {
        Verdict::Valid { .. } => page.t("fleet-next-installed"),
        Verdict::Suspended if license.safety => page.t("fleet-next-safety-suspended"),
        Verdict::Revoked if license.safety => page.t("fleet-next-safety-revoked"),
        _ if license.safety => page.t("fleet-next-safety-expired"),
        _ => page.t1("fleet-next-installed-license", "verdict", verdict_text(page, license, now)),
    }
}

/// Of an app that failed: what is on the node now, and what to do.
fn failed(page: &Page, deployment: &Deployment, events: &[DeploymentEvent]) -> String {
    let left = left(events);
    let Some(kind) = deployment.error.as_deref().and_then(fault_code).and_then(|code| code.strip_prefix("license-")) else {
        return page.tk("fleet-next-failed-", left);
    };
    // Held back by the platform, which the node has not heard of yet.
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
            // A new try. What was stopped does not run meanwhile.
            _ => (left, ran) = (if left == "stopped" { "nothing" } else { left }, false),
        }
    }
    left
}

impl DeploymentLive {
    /// From the detail.
    pub fn of(page: &Page, detail: &DeploymentDetail, now: Timestamp) -> Self {
        let d = &detail.line.deployment;
        let (inferences, latency, memory, sampled) = match &detail.sample {
            Some(s) => {
                // Before the first inference there is no latency, and 0 ms would be a fine one.
                let none = || "–".to_owned();
                let latency = if s.p95_ms > 0.0 { format!("{:.1} / {:.1} ms", s.p50_ms, s.p95_ms) } else { none() };
                let memory = if s.memory_bytes > 0 { page.bytes(&s.memory_bytes) } else { none() };
                (page.count(&s.inferences), latency, memory, page.ago(&s.at))
            }
            None => Default::default(),
        };
        let events = detail.events.iter().map(|event| EventItem {
            tone: tone(&event.state),
            at: page.datetime(&event.at),
            state: page.tk("state-", &event.state),
            what: event.version.clone(),
            fault: NodeFault::of(page, event.error.as_deref()),
        });
        Self {
            links: detail.chain.clone(),
            state: d.state,
            next: next(page, detail, now),
            fault: NodeFault::of(page, d.error.as_deref()),
            node_state: detail.node.shown_state(now),
            inferences,
            latency,
            memory,
            sampled,
            events: events.collect(),
        }
    }
}

/// `/mine/deployments/{id}`.
#[derive(Template)]
#[template(path = "fleet/deployment.html")]
pub struct DeploymentPage {
    /// Common part.
    pub page: Page,
    /// Deployment id.
    pub id: String,
    /// App.
    pub app: String,
    /// Its listing.
    pub listing: String,
    /// Version wanted.
    pub version: String,
    /// Digest of the release.
    pub digest: String,
    /// Node.
    pub node: String,
    /// Its page.
    pub node_href: String,
    /// Node id.
    pub node_id: String,
    /// Site.
    pub site: String,
    /// Licence id.
    pub license_id: String,
    /// Release id.
    pub release_id: String,
    /// Parameters: label and value.
    pub parameters: Vec<(String, String)>,
    /// Other versions: release id and version.
    pub others: Vec<(String, String)>,
    /// What is shown and renewed.
    pub live: DeploymentLive,
    /// Whether it shall be there.
    pub wanted: bool,
    /// Whether the reader may change it.
    pub may_deploy: bool,
}

impl DeploymentPage {
    /// From the detail.
    pub fn of(page: Page, detail: &DeploymentDetail, may_deploy: bool, now: Timestamp) -> Self {
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
            node: detail.line.node.clone(),
            node_href: format!("/mine/nodes/{}", d.node_id),
            node_id: d.node_id.clone(),
            site: detail.line.site.clone(),
            license_id: d.license_id.clone(),
            release_id: d.release_id.clone(),
            parameters: parameters.collect(),
            others: detail.others.iter().map(|r| (r.id.clone(), r.version.clone())).collect(),
            live: DeploymentLive::of(&page, detail, now),
            wanted: d.wanted,
            may_deploy,
            page,
        }
    }
}

/// `/mine/deployments/{id}/fragment`.
#[derive(Template)]
#[template(path = "fleet/deployment_fragment.html")]
pub struct DeploymentFragment {
    /// Common part.
    pub page: Page,
    /// What is shown and renewed.
    pub live: DeploymentLive,
}
