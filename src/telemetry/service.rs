//! Use cases of telemetry: taking reports, listing alarms, plots.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;

use super::limits::{Gate, Limits, Passage};
use super::model::Filter;
use super::model::{self, Alarm, AlarmLine, AlarmReport, AppSample, Content, Heartbeat, Level, MAX_SAMPLES, NodeSample, Report};
use super::plots::{self, Plot, PlotData, Span};
use super::reading::{Readable, Reports};
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::i18n::Lang;
use crate::base::ids;
use crate::webhook::model::{Event, EventKind};
use crate::{audit, fleet, webhook};

/// Alarms on one page.
pub const PAGE: i64 = 50;
/// Longest name of an agent's run.
const MAX_INSTANCE: usize = 64;
/// Trouble of a node under whose identity two machines report.
const TWICE: &str = "identity-twice: two machines report under this node's identity in turns";
/// Topic of the alarm list.
pub const TOPIC: &str = "alarms";
/// Most samples that one plot reads: ten apps, a day, every fifteen seconds.
const MAX_PLOTTED: i64 = 60_000;

/// The outcome of a request's reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReportReceipt {
    /// No report up to this number needs to be sent again: the highest of the request, or the one before the first that was held back.
    pub accepted_through: u64,
    /// Reports taken now.
    pub accepted: u64,
    /// Reports that were taken before.
    pub repeated: u64,
    /// Reports, or parts of heartbeats, that cannot be taken: malformed, or about another node's deployments.
    pub refused: u64,
}

/// Takes the reports of a node: all new ones in one transaction, each at most once. Alarms over the rate are held back: the node keeps
/// them and sends them again.
///
/// # Errors
/// `not-authorized` where the actor is no enrolled node, those of [`Reports::turn`], `too-many-alarms` where the first report is held back.
pub async fn take(app: &App, actor: &Actor, reports: Reports) -> Result<ReportReceipt> {
    let Actor::Node { node_id, organization_id } = actor else { return Err(Error::forbidden("not-authorized")) };
    let (turn, mut readable) = match reports.turn(&app.open, organization_id, node_id).await? {
        None => (None, reports.read()),
        Some(turn) => tokio::task::spawn_blocking(move || (Some(turn), reports.read())).await.map_err(Error::internal)?,
    };
    if let Some(fault) = readable.fault.take() {
        // One line of a request, however many it has of them.
        tracing::warn!(node = node_id, unreadable = readable.refused, first = fault, "reports cannot be read");
    }
    let (node_id, owner, limits) = (node_id.clone(), organization_id.clone(), Limits::of(&app.settings));
    let (taken, wait) = audit::change(app, actor, move |c| {
        let (_turn, now) = (&turn, c.now);
        let Taken { receipt, alarmed, wait } = take_in(c, (&owner, &node_id), &limits, &readable, now)?;
        c.poke(&owner, format!("node:{node_id}"));
        if !alarmed.is_empty() {
            // The node forgets an alarm that was answered.
            c.lasting();
            c.poke(&owner, TOPIC);
            c.poke(&owner, fleet::service::TOPIC);
        }
        for deployment in alarmed {
            c.poke(&owner, format!("deployment:{deployment}"));
        }
        Ok((receipt, wait))
    })
    .await?;
    match wait {
        // Heartbeats are taken all the same; only the node's queue does not move on.
        Some(wait) if taken.accepted_through == 0 => Err(Error::rate_limited("too-many-alarms").retry_after(wait)),
        _ => Ok(taken),
    }
}

/// What has become of a request's reports.
struct Taken {
    receipt: ReportReceipt,
    /// Deployments with new alarms.
    alarmed: BTreeSet<String>,
    /// Time until an alarm that was held back may be sent again.
    wait: Option<TimeDelta>,
}

/// The rows made from a request's reports before any is written.
#[derive(Default)]
struct Batch {
    nodes: BTreeMap<Timestamp, NodeSample>,
    apps: BTreeMap<(String, Timestamp), AppSample>,
    /// Releases that have worked: deployment, app and version, with the first moment.
    proven: BTreeMap<(String, String, String), Timestamp>,
    alarms: Vec<Alarm>,
    /// Whether the request has a heartbeat, and the agent's fault by the last one.
    heard: bool,
    trouble: Option<String>,
    /// The run of the agent that made the last heartbeat.
    instance: Option<String>,
    /// Alarms dropped and suppressed by the last one.
    missing: (i64, i64),
    refused: u64,
}

fn take_in(conn: &mut Conn, owner: (&str, &str), limits: &Limits, readable: &Readable, now: Timestamp) -> Result<Taken> {
    let (_, node_id) = owner;
    // Locks the node's row, so that two requests of one node follow one another.
    if fleet::service::note_call(conn, node_id, now)? != 1 {
        return Err(Error::forbidden("not-authorized"));
    }
    let own: BTreeMap<String, String> = store::deployments_of(conn, node_id)?.into_iter().collect();
    let mut batch = Batch { refused: readable.refused, ..Batch::default() };
    let hashes: Vec<String> = readable.fresh.keys().map(|(_, hash)| hash.clone()).collect();
    let known = store::known_alarms(conn, node_id, &hashes)?;
    let (mut accepted, repeated) = (0, readable.repeated + known.len() as u64);
    let fresh: Vec<_> = readable.fresh.iter().filter(|((_, hash), _)| !known.contains(hash)).collect();
    let app_ids: Vec<String> = own.values().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let digest = |r: &Report| if let Content::Alarm(a) = &r.content { Some(a.digest.to_string()) } else { None };
    let digests: Vec<String> = fresh.iter().filter_map(|(_, report)| digest(report)).collect::<BTreeSet<_>>().into_iter().collect();
    let known = if digests.is_empty() { BTreeSet::new() } else { store::known_releases(conn, &app_ids, &digests)? };
    let levels = fresh.iter().filter_map(|(_, r)| if let Content::Alarm(a) = &r.content { Some(a.level) } else { None });
    let mut gate = Gate::hold(conn, limits, owner, levels, now)?;
    let beats = fresh.iter().any(|(_, r)| matches!(r.content, Content::Heartbeat(_)));
    let mut samples = if beats { Some(limits.samples(conn, node_id, now)?) } else { None };
    for ((sequence, hash), report) in fresh {
        let at = model::moment(report.at, now);
        match &report.content {
            Content::Heartbeat(heartbeat) => {
                accepted += 1;
                if at >= now.minus(model::KEEP) {
                    // A sample over the rate is left out, between others nobody misses it; what the node says of itself counts.
                    let room = samples.as_ref().is_some_and(|bucket| bucket.wait(1).is_none());
                    if let Some(bucket) = samples.as_mut().filter(|_| room) {
                        bucket.take(1);
                    }
                    batch.heartbeat(node_id, &own, at, heartbeat, room);
                }
            }
            Content::Alarm(alarm) => match made(owner, &own, &known, hash, (at, now), alarm) {
                Some(mut alarm) => {
                    let passed = gate.admits(*sequence, alarm.level, model::cost(&alarm.result));
                    if passed == Passage::WithoutResult {
                        alarm.result = "{}".into();
                    }
                    if passed != Passage::HeldBack {
                        accepted += 1;
                        batch.alarms.push(alarm);
                    }
                }
                None => batch.refused += 1,
            },
        }
    }
    if let Some(bucket) = samples {
        bucket.keep(conn)?;
    }
    let held_back = gate.close(conn)?;
    let alarmed: BTreeSet<String> = batch.alarms.iter().map(|a| a.deployment_id.clone()).collect();
    let refused = batch.refused;
    batch.write(conn, node_id, now)?;
    let deployment_ids: Vec<String> = own.into_keys().collect();
    store::prune(conn, node_id, &deployment_ids, now.minus(model::KEEP))?;
    let through = readable.numbers.iter().rfind(|number| held_back.is_none_or(|(first, _)| **number < first));
    let receipt = ReportReceipt { accepted_through: through.copied().unwrap_or(0), accepted, repeated, refused };
    Ok(Taken { receipt, alarmed, wait: held_back.map(|(_, wait)| wait) })
}

/// The alarm of a report; none where it is about another node's deployment, or a release or rule that cannot be.
fn made(
    (organization_id, node_id): (&str, &str),
    own: &BTreeMap<String, String>,
    known: &BTreeSet<(String, String)>,
    report_hash: &str,
    (at, now): (Timestamp, Timestamp),
    report: &AlarmReport,
) -> Option<Alarm> {
    let app_id = own.get(&report.deployment_id)?;
    let digest = report.digest.to_string();
    if !known.contains(&(app_id.clone(), digest.clone())) || !model::is_rule(&report.rule) {
        return None;
    }
    Some(Alarm {
        id: ids::new("alm"),
        organization_id: organization_id.to_owned(),
        node_id: node_id.to_owned(),
        deployment_id: report.deployment_id.clone(),
        release_digest: digest,
        rule: report.rule.clone(),
        level: report.level,
        text_zh: model::text(&report.text.zh),
        text_en: model::text(&report.text.en),
        result: report.result.clone(),
        report_hash: report_hash.to_owned(),
        raised_at: at,
        received_at: now,
    })
}

impl Batch {
    /// Takes a heartbeat, and its figures as samples where there is room for them.
    fn heartbeat(
        &mut self,
        node_id: &str,
        own: &BTreeMap<String, String>,
        at: Timestamp,
        Heartbeat { node, apps }: &Heartbeat,
        room: bool,
    ) {
        self.heard = true;
        self.trouble = node.trouble.as_ref().map(model::Trouble::line);
        self.missing = (model::count(node.alarms_dropped), model::count(node.alarms_suppressed));
        let named = |id: &&String| id.len() <= MAX_INSTANCE && id.bytes().all(|b| b.is_ascii_alphanumeric());
        self.instance = node.instance.as_ref().filter(named).cloned();
        let sample = NodeSample {
            node_id: node_id.to_owned(),
            at,
            cpu_percent: model::figure(node.cpu_percent, 100.0),
            memory_used_bytes: model::count(node.memory_used_bytes),
            memory_total_bytes: model::count(node.memory_total_bytes),
        };
        if room {
            self.nodes.insert(at, sample);
        }
        for app in apps {
            let Some(app_id) = own.get(&app.deployment_id).filter(|_| self.apps.len() < MAX_SAMPLES) else {
                self.refused += 1;
                continue;
            };
            // An app that does not run has no figures; its state comes by the status posts.
            if app.state != "installed" {
                continue;
            }
            if app.inferences > 0 {
                let first = self.proven.entry((app.deployment_id.clone(), app_id.clone(), app.version.clone())).or_insert(at);
                *first = at.min(*first);
            }
            if !room {
                continue;
            }
            let sample = AppSample {
                deployment_id: app.deployment_id.clone(),
                at,
                inferences: model::count(app.inferences),
                errors: model::count(app.errors),
                p50_ms: model::figure(app.p50_ms.unwrap_or(0.0), 1e9),
                p95_ms: model::figure(app.p95_ms.unwrap_or(0.0), 1e9),
                memory_bytes: model::count(app.memory_bytes.unwrap_or(0)),
                restarts: model::count(app.restarts),
            };
            self.apps.insert((app.deployment_id.clone(), at), sample);
        }
    }

    /// Writes the rows. Heartbeats of one moment give one sample, also when they come in several requests.
    fn write(mut self, conn: &mut Conn, node_id: &str, now: Timestamp) -> Result<()> {
        let moments: Vec<Timestamp> = self.nodes.keys().copied().collect();
        for at in store::node_moments(conn, node_id, &moments)? {
            self.nodes.remove(&at);
        }
        let deployments: Vec<String> = self.apps.keys().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        for key in store::app_moments(conn, &deployments, &moments)? {
            self.apps.remove(&key);
        }
        for sample in self.nodes.values() {
            store::insert_node_sample(conn, sample)?;
        }
        for sample in self.apps.values() {
            store::insert_app_sample(conn, sample)?;
        }
        store::prove(conn, &self.proven)?;
        if self.heard {
            let doubled = match &self.instance {
                Some(instance) => fleet::service::note_instance(conn, node_id, instance, now)?,
                None => false,
            };
            let trouble = if doubled { Some(TWICE) } else { self.trouble.as_deref() };
            fleet::service::set_trouble(conn, node_id, trouble, self.missing)?;
        }
        for alarm in &self.alarms {
            store::insert_alarm(conn, alarm)?;
        }
        tell(conn, &self.alarms, now)
    }
}

/// Tells the operator's webhooks of alarms of one node.
fn tell(conn: &mut Conn, alarms: &[Alarm], now: Timestamp) -> Result<()> {
    let Some(owner) = alarms.first().map(|alarm| &alarm.organization_id) else { return Ok(()) };
    let event = |alarm: &Alarm| {
        let data = json!({
            "alarm": alarm.id, "level": alarm.level, "rule": alarm.rule, "text": {"zh": alarm.text_zh, "en": alarm.text_en},
            "node": alarm.node_id, "deployment": alarm.deployment_id, "raised_at": alarm.raised_at,
        });
        let event = Event::new(EventKind::AlarmRaised, data);
        if alarm.level == Level::Critical { event.critical() } else { event }
    };
    webhook::service::tell_all(conn, owner, &alarms.iter().map(event).collect::<Vec<_>>(), now)
}

/// Alarms of the operator, newest first; one more than a page where there are more.
pub async fn list_alarms(app: &App, actor: &Actor, filter: Filter) -> Result<Vec<AlarmLine>> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    app.db.read(move |conn| Ok(store::alarms(conn, &owner, &filter, PAGE + 1)?)).await
}

/// One alarm of the operator.
///
/// # Errors
/// `alarm`: not there, or not the operator's.
pub fn alarm_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<AlarmLine> {
    let owner = &policy::require(actor, Action::ViewFleet)?.organization_id;
    let one = Filter { id: Some(id.to_owned()), ..Filter::default() };
    store::alarms(conn, owner, &one, 1)?.pop().ok_or_else(|| Error::not_found("alarm"))
}

/// The latest alarms of an organisation, for other pages.
pub fn latest_alarms(conn: &mut Conn, organization_id: &str, limit: i64) -> Result<Vec<AlarmLine>> {
    Ok(store::alarms(conn, organization_id, &Filter::default(), limit)?)
}

/// The figures of each deployment's last heartbeat, for other pages; a deployment without one is not in the map.
pub fn app_figures(conn: &mut Conn, deployment_ids: &[String]) -> Result<BTreeMap<String, AppSample>> {
    Ok(store::last_samples(conn, deployment_ids)?.into_iter().map(|s| (s.deployment_id.clone(), s)).collect())
}

/// The data of a plot on a node's page: of one deployment, or of all on the node.
///
/// # Errors
/// `node` where it is not the operator's, `deployment` where it is not on the node.
pub async fn plot(
    app: &App,
    actor: &Actor,
    lang: Lang,
    node_id: String,
    deployment_id: Option<String>,
    plot: Plot,
    span: Span,
) -> Result<PlotData> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            if !store::owns_node(conn, &owner, &node_id)? {
                return Err(Error::not_found("node"));
            }
            let since = now.minus(span.length());
            let mut apps = store::plotted(conn, &node_id)?;
            if let Some(id) = &deployment_id {
                apps.retain(|(d, _, _)| d == id);
                if apps.is_empty() {
                    return Err(Error::not_found("deployment"));
                }
            }
            if plot == Plot::Cpu {
                return Ok(plots::node(lang, &store::node_samples_since(conn, &node_id, since, MAX_PLOTTED)?, span));
            }
            let ids: Vec<String> = apps.iter().map(|(id, _, _)| id.clone()).collect();
            let samples = store::app_samples_since(conn, &ids, since, MAX_PLOTTED)?;
            let named = apps.iter().map(|(id, zh, en)| (id.as_str(), lang.pick(zh, en))).collect::<Vec<_>>();
            Ok(plots::apps(lang, plot, &named, &samples, span))
        })
        .await
}
