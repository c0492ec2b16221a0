//! Taking what a node sends: all that is new in one transaction, each report and each record once.

use std::collections::{BTreeMap, BTreeSet};

use app_package::stream::{Placed, Why};
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;

use super::episodes::{Alarms, Outcome, Scope};
use super::limits::{Gate, Limits};
use super::model::{self, Alarm, AppSample, Content, Heartbeat, Level, MAX_SAMPLES, NodeSample, Report};
use super::reading::{ReadRequest, Request};
use super::service::TOPIC;
use super::sources::{self, Kept};
use super::store;
use super::streams::{Counts, Member, ReadPart, Sent, StreamReceipt, StreamRow, Told, UsageReport};
use crate::account;
use crate::account::model::AlarmPictures;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Kind, Result};
use crate::fleet;
use crate::webhook;
use crate::webhook::model::{Event, EventKind};

/// Longest name of an agent's run.
const MAX_INSTANCE: usize = 64;
/// Trouble of a node under whose identity two machines report.
const TWICE: &str = "identity-twice: two machines report under this node's identity in turns";

/// The outcome of a request's reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportReceipt {
    /// No report up to this number needs to be sent again: the highest of the request, or the one before the first that was held back.
    pub accepted_through: u64,
    /// Reports taken now.
    pub accepted: u64,
    /// Reports that were taken before.
    pub repeated: u64,
    /// Reports, or parts of heartbeats, that cannot be taken: malformed, or about another node's deployments.
    pub refused: u64,
    /// What became of the streams, in the order of the request.
    pub streams: Vec<StreamReceipt>,
    /// What the mine wants of pictures of alarms.
    pub pictures: AlarmPictures,
    /// Episodes whose whole pictures are wanted, the oldest request first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted_pictures: Vec<String>,
}

/// Takes the reports and records of a node: all new ones in one transaction, each at most once. Alarms over the rate are held back: the node
/// keeps them and sends them again.
///
/// # Errors
/// `not-authorized` where the actor is no enrolled node, those of [`Request::turn`], `too-many-alarms` where nothing is taken for that.
pub async fn take(app: &App, actor: &Actor, request: Request) -> Result<ReportReceipt> {
    let Actor::Node { node_id, organization_id } = actor else { return Err(Error::forbidden("not-authorized")) };
    let (turn, mut read) = match request.turn(&app.open, organization_id, node_id).await? {
        None => (None, request.read()),
        Some(turn) => tokio::task::spawn_blocking(move || (Some(turn), request.read())).await.map_err(Error::internal)?,
    };
    if let Some(fault) = read.reports.fault.take() {
        // One line of a request, however many it has of them.
        tracing::warn!(node = node_id, unreadable = read.reports.refused, first = fault, "reports cannot be read");
    }
    let (node_id, owner, limits) = (node_id.clone(), organization_id.clone(), Limits::of(&app.settings));
    let states_per_hour = app.settings.fleet.states_per_hour;
    let (taken, wait) = audit::change(app, actor, move |c| {
        let (_turn, now) = (&turn, c.now);
        let Taken { receipt, alarmed, moved, watched, wait } = take_in(c, (&owner, &node_id), (&limits, states_per_hour), &read, now)?;
        c.poke(&owner, format!("node:{node_id}"));
        if receipt.streams.iter().any(|stream| stream.taken > 0) || !alarmed.is_empty() {
            // The node forgets what was answered.
            c.lasting();
        }
        if !alarmed.is_empty() {
            c.poke(&owner, TOPIC);
            c.poke(&owner, fleet::service::TOPIC);
        } else if !moved.is_empty() || watched {
            c.poke(&owner, fleet::service::TOPIC);
        }
        for deployment in alarmed.into_iter().chain(moved).collect::<BTreeSet<_>>() {
            c.poke(&owner, format!("deployment:{deployment}"));
        }
        Ok((receipt, wait))
    })
    .await?;
    match wait {
        // Heartbeats are taken all the same; only the node's queue does not move on.
        Some(wait) if taken.accepted_through == 0 && taken.streams.iter().all(|stream| stream.taken == 0) => {
            Err(Error::rate_limited("too-many-alarms").retry_after(wait))
        }
        _ => Ok(taken),
    }
}

/// What has become of a request's reports.
struct Taken {
    receipt: ReportReceipt,
    /// Deployments with new alarms or such that go on, and with another state.
    alarmed: BTreeSet<String>,
    moved: BTreeSet<String>,
    /// Whether sources of the node are other than before.
    watched: bool,
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
    /// Whether two machines write one stream.
    forked: bool,
    counts: Counts,
    /// Whether the request has a heartbeat, and the agent's fault by the last one.
    heard: bool,
    trouble: Option<String>,
    /// The node's sources by the last one, JSON as it came.
    sources: Option<String>,
    /// The run of the agent that made the last heartbeat.
    instance: Option<String>,
    /// Alarms dropped and suppressed by the last one.
    missing: (i64, i64),
    refused: u64,
}

fn take_in(
    c: &mut Change<'_>,
    owner: (&str, &str),
    (limits, states_per_hour): (&Limits, u32),
    read: &ReadRequest,
    now: Timestamp,
) -> Result<Taken> {
    let (organization_id, node_id) = owner;
    // Locks the node's row, so that two requests of one node follow one another.
    if fleet::service::note_call(c, node_id, now)? != 1 {
        return Err(Error::forbidden("not-authorized"));
    }
    let own: BTreeMap<String, String> = store::deployments_of(c, node_id)?.into_iter().collect();
    let readable = &read.reports;
    let mut batch = Batch { refused: readable.refused, ..Batch::default() };
    let hashes: Vec<String> = readable.fresh.keys().map(|(_, hash)| hash.clone()).collect();
    let known = store::known_alarms(c, node_id, &hashes)?;
    let (mut accepted, repeated) = (0, readable.repeated + known.len() as u64);
    let fresh: Vec<_> = readable.fresh.iter().filter(|((_, hash), _)| !known.contains(hash)).collect();
    let mut alarms = alarms_of(c, owner, &own, (limits, now), &fresh, &read.streams)?;
    let beats = fresh.iter().any(|(_, r)| matches!(r.content, Content::Heartbeat(_)));
    let mut samples = if beats { Some(limits.samples(c, node_id, now)?) } else { None };
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
            Content::Alarm(alarm) => match alarms.report(*sequence, hash, at, alarm) {
                Outcome::Taken => accepted += 1,
                Outcome::Refused => batch.refused += 1,
                Outcome::HeldBack => {}
            },
        }
    }
    if let Some(bucket) = samples {
        bucket.keep(c)?;
    }
    let mut taking = Taking { node_id, own: &own, sent: &read.sent, states_per_hour, now, moved: BTreeSet::new() };
    let rows = store::streams(c, node_id, &read.streams.iter().map(|part| part.stream.as_str()).collect::<Vec<_>>())?;
    let mut rows: BTreeMap<String, StreamRow> = rows.into_iter().map(|row| (row.stream.clone(), row)).collect();
    let mut streams = Vec::new();
    for part in &read.streams {
        // A stream may come in several parts.
        let (receipt, row) = taking.part(c, part, rows.remove(&part.stream), &mut alarms, &mut batch)?;
        rows.extend(row.map(|row| (row.stream.clone(), row)));
        streams.push(receipt);
    }
    let moved = taking.moved;
    let (gate, fresh, changed) = alarms.close();
    let held_back = gate.close(c)?;
    let alarmed: BTreeSet<String> = fresh.iter().chain(&changed).map(|a| a.deployment_id.clone()).collect();
    let kept = match batch.sources.take() {
        Some(text) => sources::keep(c, node_id, &text, now)?,
        None => Kept::default(),
    };
    let refused = batch.refused + kept.refused;
    for alarm in &changed {
        store::update_alarm(c, alarm)?;
    }
    batch.write(c, organization_id, node_id, &fresh, now)?;
    let deployment_ids: Vec<String> = own.into_keys().collect();
    store::prune(c, node_id, &deployment_ids, now.minus(model::KEEP))?;
    let through = readable.numbers.iter().rfind(|number| held_back.is_none_or(|(first, _)| **number < first));
    let pictures = account::pictures::chosen(c, organization_id)?;
    let receipt = ReportReceipt {
        accepted_through: through.copied().unwrap_or(0),
        accepted,
        repeated,
        refused,
        streams,
        pictures,
        wanted_pictures: super::pictures::wanted(c, node_id, pictures)?,
    };
    let wait = held_back.map(|(_, wait)| wait).or_else(|| waits(&receipt.streams));
    Ok(Taken { receipt, alarmed, moved, watched: kept.changed, wait })
}

/// The shortest wait that streams were told.
fn waits(streams: &[StreamReceipt]) -> Option<TimeDelta> {
    streams.iter().filter_map(|stream| stream.retry_after).min().map(TimeDelta::seconds)
}

/// What is needed to judge the alarms of a request.
fn alarms_of<'a>(
    conn: &mut Conn,
    (organization_id, node_id): (&'a str, &'a str),
    own: &'a BTreeMap<String, String>,
    (limits, now): (&Limits, Timestamp),
    reports: &[(&(u64, String), &Report)],
    parts: &[ReadPart],
) -> Result<Alarms<'a>> {
    let reported = reports.iter().filter_map(|(_, r)| if let Content::Alarm(alarm) = &r.content { Some(&**alarm) } else { None });
    let told = parts.iter().flat_map(|part| &part.members);
    let told: Vec<_> = told.filter_map(|m| if let Told::Alarm(report) = &m.told { Some(&**report) } else { None }).collect();
    let all: Vec<_> = reported.chain(told.iter().map(|report| &report.alarm)).collect();
    let digests: Vec<String> = all.iter().map(|alarm| alarm.digest.to_string()).collect::<BTreeSet<_>>().into_iter().collect();
    let app_ids: Vec<String> = own.values().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let releases = if digests.is_empty() { BTreeSet::new() } else { store::known_releases(conn, &app_ids, &digests)? };
    let names: Vec<String> = told.iter().filter_map(|report| report.episode.name().map(ToOwned::to_owned)).collect();
    let held = if names.is_empty() { Vec::new() } else { store::alarms_of_episodes(conn, node_id, &names)? };
    let gate = Gate::hold(conn, limits, (organization_id, node_id), all.iter().map(|alarm| alarm.level), now)?;
    Ok(Alarms::new(Scope { organization_id, node_id, own, releases, now }, gate, held))
}

/// Takes the streams of one request.
struct Taking<'a> {
    node_id: &'a str,
    own: &'a BTreeMap<String, String>,
    sent: &'a Sent,
    states_per_hour: u32,
    now: Timestamp,
    moved: BTreeSet<String>,
}

/// What became of a record that is new.
enum Record {
    Taken,
    Refused,
    /// So many seconds until it is taken.
    HeldBack(Option<i64>),
}

impl Taking<'_> {
    /// Takes what is new of a stream, in its order, up to what is held back or does not follow. Gives the row with it, where there is one now.
    fn part(
        &mut self,
        c: &mut Change<'_>,
        part: &ReadPart,
        row: Option<StreamRow>,
        alarms: &mut Alarms<'_>,
        batch: &mut Batch,
    ) -> Result<(StreamReceipt, Option<StreamRow>)> {
        let known_before = row.is_some();
        let mut row = row.unwrap_or_else(|| StreamRow::new(self.node_id, &part.stream, part.kind, self.now));
        let mut known = row.known();
        let mut receipt = StreamReceipt {
            stream: part.stream.chars().take(app_package::stream::MAX_NAME).collect(),
            last: 0,
            gaps: Vec::new(),
            taken: 0,
            repeated: 0,
            refused: 0,
            code: (part.broken || row.kind != part.kind.as_str()).then_some("record-invalid"),
            retry_after: None,
        };
        let mut lost = 0;
        let readable = row.kind == part.kind.as_str() && app_package::stream::is_name(&part.stream);
        for member in part.members.iter().filter(|_| readable) {
            let mut next = known.clone();
            match next.place(&member.span) {
                Ok(Placed::Repeated) => receipt.repeated += 1,
                Ok(Placed::Taken { new }) => {
                    match self.record(c, part, member, alarms, batch)? {
                        Record::HeldBack(wait) => {
                            (receipt.code, receipt.retry_after) = (Some("too-many-alarms"), wait);
                            break;
                        }
                        Record::Refused => receipt.refused += 1,
                        Record::Taken => {}
                    }
                    if matches!(member.told, Told::Dropped(_, Why::NoRoom | Why::AgentEnded | Why::Damaged)) {
                        lost += new;
                    }
                    receipt.taken += new;
                    known = next;
                }
                Err(fault) => {
                    receipt.code = Some(fault.code());
                    batch.forked |= fault == app_package::stream::Misplaced::Forked;
                    break;
                }
            }
        }
        receipt.last = known.last;
        receipt.gaps = known.gaps.iter().map(|gap| (gap.from, gap.to)).collect();
        if receipt.taken > 0 {
            row = row.with(&known, lost, self.now);
            store::keep_stream(c, &row, !known_before)?;
        }
        let there = known_before || receipt.taken > 0;
        Ok((receipt, there.then_some(row)))
    }

    fn record(
        &mut self,
        c: &mut Change<'_>,
        part: &ReadPart,
        member: &Member,
        alarms: &mut Alarms<'_>,
        batch: &mut Batch,
    ) -> Result<Record> {
        let Some(moment) = &member.moment else { return Ok(Record::Taken) };
        let at = moment.placed(self.sent, self.now);
        Ok(match &member.told {
            Told::Alarm(report) => {
                // Numbers of streams are their own: what is held back here holds back no report.
                match alarms.record(u64::MAX, &member.hash, (moment, self.sent), report) {
                    Outcome::Taken => Record::Taken,
                    Outcome::Refused => Record::Refused,
                    Outcome::HeldBack => Record::HeldBack(alarms.wait().map(|wait| wait.num_seconds().max(1))),
                }
            }
            Told::Status(status) => self.status(c, status, at)?,
            Told::Usage(usage) => {
                self.count(usage, at, batch);
                Record::Taken
            }
            Told::Dropped(..) => Record::Taken,
            Told::Unreadable => {
                tracing::warn!(node = self.node_id, kind = %part.kind, seq = member.span.from, "a record cannot be read");
                Record::Refused
            }
        })
    }

    fn status(&mut self, c: &mut Change<'_>, status: &str, at: Timestamp) -> Result<Record> {
        match fleet::margo::status::recorded(c, self.node_id, status, at, self.states_per_hour) {
            Ok(Some(deployment)) => {
                self.moved.insert(deployment);
                Ok(Record::Taken)
            }
            Ok(None) => Ok(Record::Taken),
            Err(error) if error.kind == Kind::RateLimited => Ok(Record::HeldBack(error.retry_after.map(i64::from))),
            Err(error) if matches!(error.kind, Kind::Invalid | Kind::NotFound) => Ok(Record::Refused),
            Err(error) => Err(error),
        }
    }

    fn count(&self, usage: &UsageReport, at: Timestamp, batch: &mut Batch) {
        for counter in usage.readable().filter(|counter| self.own.contains_key(&counter.deployment_id)).take(MAX_SAMPLES) {
            let key = (counter.deployment_id.clone(), counter.meter.clone(), usage.epoch.clone());
            let highest = batch.counts.entry(key).or_insert((counter.count, at));
            if counter.count > highest.0 {
                *highest = (counter.count, at);
            }
        }
    }
}

impl Batch {
    /// Takes a heartbeat, and its figures as samples where there is room for them.
    fn heartbeat(
        &mut self,
        node_id: &str,
        own: &BTreeMap<String, String>,
        at: Timestamp,
        Heartbeat { node, apps, sources }: &Heartbeat,
        room: bool,
    ) {
        self.heard = true;
        self.trouble = node.trouble.as_ref().map(model::Trouble::line);
        self.sources = Some(sources.clone());
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
    fn write(mut self, conn: &mut Conn, owner: &str, node_id: &str, alarms: &[Alarm], now: Timestamp) -> Result<()> {
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
            let trouble = if doubled || self.forked { Some(TWICE) } else { self.trouble.as_deref() };
            fleet::service::set_trouble(conn, node_id, trouble, self.missing)?;
        }
        store::count(conn, node_id, &self.counts)?;
        for alarm in alarms {
            store::insert_alarm(conn, alarm)?;
        }
        tell(conn, owner, alarms, now)
    }
}

/// Tells the operator's webhooks of alarms of one node.
fn tell(conn: &mut Conn, owner: &str, alarms: &[Alarm], now: Timestamp) -> Result<()> {
    if alarms.is_empty() {
        return Ok(());
    }
    let event = |alarm: &Alarm| {
        let data = json!({
            "alarm": alarm.id, "level": alarm.level, "rule": alarm.rule, "text": {"zh": alarm.text_zh, "en": alarm.text_en},
            "node": alarm.node_id, "deployment": alarm.deployment_id, "raised_at": alarm.raised_at,
            "source": alarm.source, "late": alarm.late,
        });
        let event = Event::new(EventKind::AlarmRaised, data);
        if alarm.level == Level::Critical { event.critical() } else { event }
    };
    webhook::service::tell_all(conn, owner, &alarms.iter().map(event).collect::<Vec<_>>(), now)
}
