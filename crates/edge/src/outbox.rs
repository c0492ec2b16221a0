//! What the node has to tell the platform: heartbeats, of which the last few count, and streams of records (alarms, states, counters), each
//! of which arrives once, after any outage ([`crate::stream`]).
//!
//! Invariants: at most [`MAX_BYTES`] of alarms are kept, notices go first and critical ones last, and each that goes is told; critical
//! alarms are sent before all others, those of the last hour before older ones, and what is older takes a fifth of the line. While the disk
//! takes nothing, records wait in memory, and a mark that takes no room says how many would be lost with the agent.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use app_package::pipeline::AlarmLevel;
use app_package::stream::{ClockState, Kind};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::files;
use crate::stream::{Class, Held, Lane, Moment, Stream};

mod before;

/// Heartbeats that wait at most; older ones say nothing that newer ones do not.
const MAX_HEARTBEATS: usize = 4;
/// Bytes of alarms that are kept, critical ones and others together, and how far they are cut when there are more.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
const CUT_BYTES: u64 = MAX_BYTES / 8 * 7;
/// The same of states and of counters. Those are cumulative: the last says all.
const MAX_OTHER_BYTES: u64 = 4 * 1024 * 1024;
/// Records in one request at most.
const MAX_BATCH: usize = 200;
/// Bytes in one request at most (about).
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The same where critical alarms are in it: so small that the server has memory for it in a flood (64 KiB for each node).
const MAX_URGENT_BYTES: usize = 60 * 1024;
/// Bytes of heartbeats that such a request may have besides; longer ones, of many apps and sources, go with the next.
const MAX_URGENT_HEARTBEATS: usize = 4 * 1024;
/// Largest body of a record; a larger alarm goes without its `result`.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Bytes of records in memory at which new alarms go without their `result`, and at which old ones are given up.
const LEAN_BYTES: u64 = 8 * 1024 * 1024;
const MAX_MEMORY_BYTES: u64 = 32 * 1024 * 1024;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    OnDisk,
    /// In memory only, for the disk took nothing: it is sent all the same, but lost, and counted, if the agent ends before.
    InMemory(Fault),
}

/// Figures of the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting records of alarms.
    pub alarms: usize,
    /// Waiting records of other kinds.
    pub others: usize,
    /// Records of alarms lost since the node was enrolled: for want of room, or with an agent that ended while they were in memory only.
    pub dropped: u64,
}

/// What the last call left, for those who may not wait for the disk.
#[derive(Default)]
struct Shown {
    counts: Counts,
    fault: Option<Fault>,
}

struct Inner {
    /// Number and text of each.
    heartbeats: Vec<(u64, String)>,
    next_heartbeat: u64,
    /// In the order of [`Kind::ALL`].
    streams: Vec<Stream>,
}

/// A request's body, with what must be known of it when it is answered.
pub struct Batch {
    pub body: String,
    heartbeats: u64,
    /// Older records: what follows waits.
    pub backlog: bool,
}

/// The platform's answer.
#[derive(Debug, Deserialize)]
pub struct Answer {
    #[serde(default)]
    streams: Vec<Answered>,
    /// What the mine wants of pictures of alarms, and the episodes whose whole picture somebody asked for.
    #[serde(default)]
    pub pictures: Option<String>,
    #[serde(default)]
    pub wanted_pictures: Vec<String>,
}

/// What it says of a stream.
#[derive(Debug, Deserialize)]
struct Answered {
    stream: String,
    #[serde(flatten)]
    held: Held,
    /// Why it took not all of what was sent, and seconds until it takes more.
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    retry_after: Option<u64>,
}

/// The queue. Its calls but [`Outbox::counts`] and [`Outbox::fault`] wait for the disk: call them from blocking threads.
pub struct Outbox {
    inner: Mutex<Inner>,
    shown: Mutex<Shown>,
    boot: String,
    /// Rung when something should be sent at once.
    pub urgent: Notify,
    /// Rings at each critical alarm.
    pub critical: Notify,
}

/// Level of an alarm; a warning where it says none that is known.
pub fn level_of(body: &Map<String, Value>) -> AlarmLevel {
    match body.get("level").and_then(Value::as_str) {
        Some("critical") => AlarmLevel::Critical,
        Some("notice") => AlarmLevel::Notice,
        _ => AlarmLevel::Warning,
    }
}

/// Deployment and rule of an alarm.
pub fn rule_of(body: &Map<String, Value>) -> String {
    let field = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", field("deployment_id"), field("rule"))
}

fn class_of(body: &Map<String, Value>) -> Class {
    if !body.contains_key("level") {
        return Class { level: None, rule: 0 };
    }
    let mut hasher = DefaultHasher::new();
    rule_of(body).hash(&mut hasher);
    Class { level: Some(level_of(body)), rule: hasher.finish() }
}

/// The class of a record that is read back. Of the body only what is needed is kept.
fn class_of_text(body: &RawValue) -> Class {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Head {
        deployment_id: Option<String>,
        rule: Option<String>,
        level: Option<String>,
    }
    let Head { deployment_id, rule, level } = serde_json::from_str(body.get()).unwrap_or_default();
    let fields = [("deployment_id", deployment_id), ("rule", rule), ("level", level)];
    class_of(&fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?)))).collect())
}

/// Name of the machine's run, and the time since it began in milliseconds.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn mono() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

impl Outbox {
    /// Opens the queue of a data folder, with what waits there.
    pub fn open(data: &Path) -> Result<Self, Fault> {
        let dir = data.join("streams");
        // A full disk must not keep the node from starting.
        if let Err(fault) = files::private_dir(&dir) {
            tracing::error!(%fault, "there is no folder for streams; records wait in memory");
        }
        let streams = Kind::ALL.into_iter().map(|kind| Stream::open(&dir, kind, class_of_text)).collect();
        let inner = Inner { heartbeats: Vec::new(), next_heartbeat: 1, streams };
        let (urgent, critical) = (Notify::new(), Notify::new());
        let outbox = Self { inner: Mutex::new(inner), shown: Mutex::default(), boot: boot(), urgent, critical };
        before::take_over(&outbox, data)?;
        outbox.show(&outbox.lock());
        Ok(outbox)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what a call has changed.
    fn show(&self, inner: &Inner) {
        let mut counts = Counts::default();
        for stream in &inner.streams {
            match stream.kind() {
                Kind::Critical | Kind::Alarms => {
                    counts.alarms += stream.waiting();
                    counts.dropped = counts.dropped.saturating_add(stream.lost());
                }
                Kind::Status | Kind::Usage => counts.others += stream.waiting(),
            }
        }
        *self.shown() = Shown { counts, fault: inner.streams.iter().find_map(Stream::fault) };
    }

    /// Why the disk takes no records at present.
    pub fn fault(&self) -> Option<Fault> {
        self.shown().fault.clone()
    }

    /// What waits and what was lost.
    pub fn counts(&self) -> Counts {
        self.shown().counts
    }

    /// Keeps a heartbeat, made at this time.
    pub fn beat(&self, at: DateTime<Utc>, fields: Map<String, Value>) {
        let mut inner = self.lock();
        let sequence = inner.next_heartbeat;
        let at = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let head = [("sequence", json!(sequence)), ("at", json!(at)), ("kind", json!("heartbeat"))];
        let report: Map<String, Value> = head.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(fields).collect();
        inner.next_heartbeat += 1;
        inner.heartbeats.push((sequence, Value::Object(report).to_string()));
        if inner.heartbeats.len() > MAX_HEARTBEATS {
            inner.heartbeats.remove(0);
        }
        // A stream of which nothing comes would never learn that there is room.
        inner.streams.iter_mut().for_each(Stream::retry);
        self.show(&inner);
    }

    /// Keeps an alarm: critical ones in their own stream.
    pub fn alarm(&self, at: DateTime<Utc>, clock: ClockState, mut body: Map<String, Value>) -> Result<Kept, Fault> {
        let kind = if level_of(&body) == AlarmLevel::Critical { Kind::Critical } else { Kind::Alarms };
        if self.lock().streams.iter().map(Stream::unstored).sum::<u64>() > LEAN_BYTES {
            body.remove("result");
        }
        let kept = self.push(kind, at, clock, body);
        self.urgent.notify_one();
        if kind == Kind::Critical {
            self.critical.notify_one();
        }
        kept
    }

    /// Keeps a record made at this time.
    ///
    /// # Errors
    /// `record-too-large`; a fault of the disk is none, for then the record is in memory.
    pub fn push(&self, kind: Kind, at: DateTime<Utc>, clock: ClockState, mut body: Map<String, Value>) -> Result<Kept, Fault> {
        let class = class_of(&body);
        let raw = |body: &Map<String, Value>| to_raw_value(body).map_err(|e| Fault::new("record-invalid", "state", e.to_string()));
        let mut text = raw(&body)?;
        if text.get().len() > MAX_BODY_BYTES {
            body.remove("result");
            text = raw(&body)?;
        }
        if text.get().len() > MAX_BODY_BYTES {
            let size = text.get().len();
            return Err(Fault::new("record-too-large", "state", format!("a record of {size} bytes was not stored")));
        }
        let mut inner = self.lock();
        let moment = Moment { at, mono: mono(), boot: self.boot.clone(), clock };
        let Some(stream) = inner.streams.iter_mut().find(|stream| stream.kind() == kind) else {
            return Err(Fault::new("record-invalid", "state", "no stream of this kind"));
        };
        let held = stream.push(&moment, class, &text)?;
        make_room(&mut inner);
        self.show(&inner);
        Ok(held.map_or(Kept::OnDisk, Kept::InMemory))
    }

    /// What to send next; `None` when nothing waits. While critical alarms wait, other alarms stay behind.
    pub fn batch(&self, now: DateTime<Utc>) -> Option<Batch> {
        let mut inner = self.lock();
        let heartbeats = inner.heartbeats.clone();
        let urgent = inner.streams.iter().any(|stream| stream.kind() == Kind::Critical && !stream.is_done());
        let (mut left, mut count) = (if urgent { MAX_URGENT_BYTES } else { MAX_BATCH_BYTES }, MAX_BATCH);
        let (mut parts, mut backlog) = (Vec::new(), false);
        for stream in inner.streams.iter_mut().filter(|stream| !urgent || stream.kind() == Kind::Critical) {
            let alarms = matches!(stream.kind(), Kind::Critical | Kind::Alarms);
            let live = if alarms && stream.may_overtake() { stream.batch(Lane::Live, left, count, now) } else { Vec::new() };
            let old = live.is_empty() && left > 0 && count > 0;
            let records = if old { stream.batch(Lane::Backlog, left, count, now) } else { live };
            if records.is_empty() {
                continue;
            }
            backlog |= old && stream.kind() == Kind::Alarms;
            left = left.saturating_sub(records.iter().map(String::len).sum());
            count = count.saturating_sub(records.len());
            parts.push(format!(
                "{{\"stream\":{},\"kind\":\"{}\",\"records\":[{}]}}",
                json!(stream.name()),
                stream.kind(),
                records.join(",")
            ));
            if left == 0 || count == 0 {
                break;
            }
        }
        let long = heartbeats.iter().map(|(_, text)| text.len()).sum::<usize>() > MAX_URGENT_HEARTBEATS;
        let heartbeats = if urgent && long && !parts.is_empty() { Vec::new() } else { heartbeats };
        if parts.is_empty() && heartbeats.is_empty() {
            return None;
        }
        let reports: Vec<&str> = heartbeats.iter().map(|(_, text)| text.as_str()).collect();
        let body = format!(
            "{{\"boot\":{},\"mono\":{},\"reports\":[{}],\"streams\":[{}]}}",
            json!(self.boot),
            mono(),
            reports.join(","),
            parts.join(",")
        );
        Some(Batch { body, heartbeats: heartbeats.last().map_or(0, |(sequence, _)| *sequence), backlog })
    }

    /// Takes the answer to a request; gives why the platform took not all, and how long it asks to wait.
    pub fn answered(&self, batch: &Batch, answer: Answer, now: DateTime<Utc>) -> Option<(String, Option<Duration>)> {
        let mut inner = self.lock();
        inner.heartbeats.retain(|(sequence, _)| *sequence > batch.heartbeats);
        let mut refused = None;
        for Answered { stream: name, held, code, retry_after } in answer.streams {
            let Some(stream) = inner.streams.iter_mut().find(|stream| stream.name() == name) else { continue };
            if code.as_deref() == Some("stream-forked") {
                tracing::warn!(kind = %stream.kind(), "another machine writes this stream, too; it goes on under another name");
                stream.begin_anew(0);
            } else {
                stream.answered(held, now);
            }
            refused = refused.or(code.map(|code| (code, retry_after.map(|seconds| Duration::from_secs(seconds.min(3600))))));
        }
        self.show(&inner);
        refused
    }
}

/// Gives up what there is no room for.
fn make_room(inner: &mut Inner) {
    let alarms = |stream: &&mut Stream| matches!(stream.kind(), Kind::Critical | Kind::Alarms);
    let kept: u64 = inner.streams.iter_mut().filter(alarms).map(|stream| stream.bytes()).sum();
    let unstored: u64 = inner.streams.iter_mut().filter(alarms).map(|stream| stream.unstored()).sum();
    let mut over = if kept > MAX_BYTES { kept - CUT_BYTES } else { 0 }.max(unstored.saturating_sub(MAX_MEMORY_BYTES));
    // The lesser ones stand last.
    for stream in inner.streams.iter_mut().rev() {
        let bytes = stream.bytes();
        let most = match stream.kind() {
            Kind::Critical | Kind::Alarms if over > 0 => bytes.saturating_sub(over),
            Kind::Status | Kind::Usage if bytes > MAX_OTHER_BYTES => MAX_OTHER_BYTES / 8 * 7,
            _ => continue,
        };
        if let Err(fault) = stream.shrink(most) {
            tracing::warn!(kind = %stream.kind(), %fault, "room was made in memory only");
        }
        if matches!(stream.kind(), Kind::Critical | Kind::Alarms) {
            over = over.saturating_sub(bytes.saturating_sub(stream.bytes()));
        }
    }
}

#[cfg(test)]
mod tests;
