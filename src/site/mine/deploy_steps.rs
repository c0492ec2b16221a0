//! Pages of the deploy wizard; the step with the parameters is in [`super::deploy_parameters`].

use askama::Template;
use serde_json::Value;

use super::deploy_parameters::{label, shown_in};
use crate::base::db::Timestamp;
use crate::base::i18n::error_text;
use crate::catalog::model::AppName;
use crate::fleet::model::{Change, Fit, ReleaseName};
use crate::fleet::parameters::{PREFIX, shown};
use crate::fleet::service::deployment_plan::{DeployChoices, DeployPlan, LicenseOffer, NodeProblem};
use crate::http::page::Page;
use crate::release::model::Channel;
use crate::site::parts::license::until;
use crate::site::parts::node::hardware_line;

/// The app's title in the page's language.
pub fn title(page: &Page, app: &AppName) -> String {
    page.pick(&app.title_zh, &app.title_en).to_owned()
}

/// A licence to deploy by.
pub struct OfferCard {
    pub license_id: String,
    pub app: String,
    /// `3 / 5`.
    pub seats: String,
    /// Seats used.
    pub used: i64,
    /// Seats owned.
    pub owned: i64,
    /// Number of the order.
    pub order: String,
    /// First and last day.
    pub validity: String,
    /// Word of the badge.
    pub state: &'static str,
    /// Releases: id and version.
    pub releases: Vec<(String, String)>,
    /// Why it cannot be used, in words.
    pub refused: Option<String>,
    /// Whether the reader came from this licence's page.
    pub selected: bool,
}

/// `/mine/deploy`, step 1.
#[derive(Template)]
#[template(path = "mine/deploy_app.html")]
pub struct AppStep {
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    pub offers: Vec<OfferCard>,
    /// Whether the reader came from the page of one of these licences.
    pub preselected: bool,
    /// Ids of nodes that were chosen before the app.
    pub nodes: Vec<String>,
}

/// A release in a list of choices: its version, marked where it is a beta.
pub fn release_name(page: &Page, release: &ReleaseName) -> String {
    match release.channel {
        Channel::Stable => release.version.clone(),
        Channel::Beta => format!("{} · {}", release.version, page.t("channel-beta")),
    }
}

/// Cards of offers; first the licence from whose page the reader came.
pub fn offers(page: &Page, offers: &[LicenseOffer], license_id: &str, now: Timestamp) -> Vec<OfferCard> {
    let card = |o: &LicenseOffer| OfferCard {
        license_id: o.line.license.id.clone(),
        app: title(page, &o.line.app),
        seats: format!("{} / {}", o.line.license.nodes_active, o.line.license.node_limit),
        used: o.line.license.nodes_active,
        owned: o.line.license.node_limit,
        order: o.order.clone(),
        validity: page.t2("fleet-validity", "from", page.date(&o.line.license.starts_at), "until", until(page, &o.line.license)),
        state: o.line.license.shown_state(now),
        releases: o.releases.iter().map(|r| (r.id.clone(), release_name(page, r))).collect(),
        refused: o.refused.map(|code| error_text(page.locale(), code, &[])),
        selected: o.line.license.id == license_id,
    };
    let mut cards: Vec<OfferCard> = offers.iter().map(card).collect();
    cards.sort_by_key(|c| (!c.selected, c.refused.is_some()));
    cards
}

/// The fault of the chosen nodes, in words.
pub fn node_problem(page: &Page, problem: &NodeProblem) -> String {
    match problem {
        NodeProblem::None => error_text(page.locale(), "no-nodes", &[]),
        NodeProblem::Missing => page.t("fleet-choose-missing"),
        NodeProblem::Unfit(node) => error_text(page.locale(), "node-does-not-fit", &[("node", node.clone())]),
        NodeProblem::Seats { chosen, free } => page.t2("fleet-choose-seats", "chosen", chosen, "free", free),
    }
}

/// A node to choose.
pub struct NodeChoice {
    pub id: String,
    pub name: String,
    pub site: String,
    /// Word of its badge.
    pub state: &'static str,
    /// Hardware in a line.
    pub hardware: String,
    /// Whether the app fits, in words.
    pub fit: String,
    /// Colour of that.
    pub tone: &'static str,
    /// Whether the node can be chosen.
    pub possible: bool,
    /// Version of the app on the node, in words.
    pub present: String,
    /// Whether the node is chosen.
    pub checked: bool,
}

/// `/mine/deploy`, step 2.
#[derive(Template)]
#[template(path = "mine/deploy_nodes.html")]
pub struct NodesStep {
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    pub app: String,
    pub version: String,
    pub license_id: String,
    pub release_id: String,
    /// Free seats, in words.
    pub seats: String,
    /// What the app needs, in words.
    pub need: String,
    pub nodes: Vec<NodeChoice>,
    /// Fields of parameters as typed, for the step behind.
    pub typed: Vec<(String, String)>,
    /// Fault of the choice of nodes, in words.
    pub problem: Option<String>,
}

impl NodesStep {
    pub fn of(
        page: Page,
        choices: &DeployChoices,
        chosen: &[String],
        typed: Vec<(String, String)>,
        problem: Option<String>,
        now: Timestamp,
    ) -> Self {
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
            // Architectures are alternatives: join them with "or".
            need: format!(
                "{} · {} · {}",
                need.architectures.join(&format!(" {} ", page.t("fleet-or"))),
                page.t1("fleet-cores", "n", need.cpu),
                page.bytes(&memory)
            ),
            nodes: nodes.collect(),
            typed,
            problem,
            page,
        }
    }
}

/// The change on one node.
pub struct PreviewRow {
    pub id: String,
    pub name: String,
    pub site: String,
    /// Word of its badge.
    pub state: &'static str,
    /// What changes, in words.
    pub change: String,
    /// Colour of that.
    pub tone: &'static str,
    /// Parameters that change: label, value in force, new value.
    pub changed: Vec<(String, String, String)>,
}

/// `/mine/deploy/preview`, step 4.
#[derive(Template)]
#[template(path = "mine/deploy_preview.html")]
pub struct PreviewStep {
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    pub app: String,
    pub version: String,
    pub license_id: String,
    pub release_id: String,
    pub rows: Vec<PreviewRow>,
    /// Parameters: field name, label, value; empty where the nodes keep different ones.
    pub parameters: Vec<(String, String, String)>,
    /// What the reader sees here, in a word: whether it still holds is asked at the start.
    pub seen: String,
    /// Address of the step before, with these values.
    pub back: String,
    /// Whether this is not what the reader has agreed to before.
    pub changed: bool,
    /// Seats that the deployment takes, in words.
    pub seats: String,
    /// Whether the deployment changes nothing.
    pub nothing: bool,
}

impl PreviewStep {
    pub fn of(page: Page, plan: &DeployPlan, changed: bool, now: Timestamp) -> Self {
        let declared = &plan.release.manifest.parameters;
        let called = |name: &str| declared.iter().find(|p| p.name == name).map_or_else(|| name.to_owned(), |p| label(&page, p));
        let value = |value: Option<&Value>| value.map_or_else(|| "–".to_owned(), |v| shown_in(&page, v));
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
                changed: line.changed().into_iter().map(|(name, was, now)| (called(name), value(was), value(Some(now)))).collect(),
            })
            .collect();
        let first = plan.lines.first().map(|line| &line.parameters);
        let same = first.filter(|first| plan.lines.iter().all(|line| line.parameters == **first));
        let parameters: Vec<(String, String, String)> =
            declared.iter().filter_map(|p| Some((format!("{PREFIX}{}", p.name), label(&page, p), shown(same?.get(&p.name)?)))).collect();
        let mut choices = vec![("license", plan.license.id.as_str()), ("release", plan.release.id.as_str()), ("step", "parameters")];
        choices.extend(plan.lines.iter().map(|line| ("node", line.node.id.as_str())));
        choices.extend(parameters.iter().map(|(name, _, value)| (name.as_str(), value.as_str())));
        let back = format!("/mine/deploy?{}", serde_urlencoded::to_string(&choices).unwrap_or_default());
        Self {
            step: 4,
            app: title(&page, &plan.app),
            version: plan.release.version.clone(),
            license_id: plan.license.id.clone(),
            release_id: plan.release.id.clone(),
            parameters,
            seen: plan.basis(),
            back,
            changed,
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
