//! Reports on their way to the server: heartbeats and alarms, on disk until the server has accepted them.
//!
//! One append-only file of JSON lines, synced at each report, rewritten when mostly dead. Invariants: sequence numbers
//! only grow, also over restarts, and are on disk before they are sent (the server drops what it has seen);
//! at most [`MAX_ALARMS`] alarms and [`MAX_HEARTBEATS`] heartbeats wait, the oldest go first and are counted; critical alarms are sent
//! before all others and dropped after all others, so that a flood of lesser ones does not hold them up. The other alarms of a rule have a
//! rate, and of several rules the one with the most waiting alarms loses its oldest first. While the disk takes nothing, reports wait in
//! memory, and a mark that takes no room says how many would be lost with the agent.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::files;

mod mark;
mod rates;
mod report;

pub use report::Kind;
use report::{Line, Waiting, is_critical, line, rule_of};

/// Alarms that wait at most.
pub const MAX_ALARMS: usize = 10_000;
/// Heartbeats that wait at most; older ones say nothing that newer ones do not.
pub const MAX_HEARTBEATS: usize = 4;
/// Reports in one request at most.
const MAX_BATCH: usize = 200;
/// Bytes in one request at most (about).
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The same where critical alarms are in it: so small that the server has memory for it in a flood (64 KiB for each node).
const MAX_URGENT_BYTES: usize = 60 * 1024;
/// Largest report; a larger alarm goes without its `result`.
const MAX_REPORT_BYTES: usize = 256 * 1024;
/// Bytes of all waiting reports at which new alarms go without their `result`.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
/// Time between two tries to write to a disk that has refused.
const RETRY_DISK: Duration = Duration::from_secs(5);
/// Dead lines, and bytes in them, that are tolerated before the file is rewritten.
const DEAD_LINES: usize = 2_000;
const DEAD_BYTES: usize = 32 * 1024 * 1024;

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// On disk, under this number.
    Stored(u64),
    /// In memory only, for the disk took nothing: it is sent all the same, but lost, and counted, if the agent ends before.
    InMemory(u64, Fault),
    /// Not kept: its rule raises too many alarms. The next one that is kept says how many were not.
    Suppressed,
}

/// Figures of the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting heartbeats.
    pub heartbeats: usize,
    /// Waiting alarms.
    pub alarms: usize,
    /// Alarms lost since the node was enrolled: to the bound, or with an agent that ended while they were in memory only.
    pub dropped: u64,
    /// Alarms over the rate of their rule since the start of the agent.
    pub suppressed: u64,
}

struct Inner {
    /// `None` while the disk refuses.
    file: Option<File>,
    /// Why the disk refused, and when it was tried last. The file may end in a torn line then, so it is written anew.
    refused: Option<(Fault, Instant)>,
    mark: mark::MarkFile,
    rates: rates::Rates,
    suppressed: u64,
    /// Lines of the file, and their bytes.
    lines: usize,
    bytes: usize,
    next: u64,
    accepted: u64,
    dropped: u64,
    waiting: VecDeque<Waiting>,
}

impl Inner {
    /// Marks for the next run what is in memory only. While the disk takes all there is nothing to mark.
    fn note_held(&mut self) {
        let unstored = || self.waiting.iter().filter(|w| w.kind == Kind::Alarm && !w.stored).map(|w| w.sequence);
        let (held, since) = (unstored().count() as u64, unstored().min().unwrap_or(0));
        if self.refused.is_some() || held != self.mark.read().held {
            self.mark.set(mark::Mark { next: self.next, dropped: self.dropped, held, since });
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|w| w.text.len()).sum()
    }

    /// Whether most of the file is dead.
    fn is_mostly_dead(&self) -> bool {
        self.lines >= self.waiting.len() * 2 + DEAD_LINES || self.bytes >= self.waiting_bytes() + DEAD_BYTES
    }
}

/// What the last call left, for those who may not wait for the disk.
#[derive(Default)]
struct Shown {
    counts: Counts,
    fault: Option<Fault>,
}

/// The durable queue. Its calls but [`Outbox::counts`] and [`Outbox::fault`] wait for the disk: call them from blocking threads.
pub struct Outbox {
    path: PathBuf,
    inner: Mutex<Inner>,
    shown: Mutex<Shown>,
    /// Rung when reports should be sent at once: by each alarm, and by the loop of heartbeats.
    pub urgent: Notify,
    /// Rings at each critical alarm.
    pub critical: Notify,
}

fn disk(e: &std::io::Error) -> Fault {
    Fault::disk("outbox", e)
}

impl Outbox {
    /// Opens the queue at `path`, reading what waits there. A torn last line (power cut) is dropped.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let (mut waiting, mut next, mut accepted, mut dropped) = (VecDeque::new(), 1u64, 0u64, 0u64);
        let mark = mark::MarkFile::open(&path.with_extension("mark"));
        let marked = mark.read();
        // The power may fail when the disk has taken what was held, and before the mark says so.
        let mut lost = marked.held;
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    let line = line.map_err(|e| disk(&e))?;
                    match serde_json::from_slice::<Line>(&line) {
                        Ok(Line::Report { sequence, kind, body }) => {
                            next = next.max(sequence + 1);
                            lost = lost.saturating_sub(u64::from(kind == Kind::Alarm && marked.holds(sequence)));
                            waiting.push_back(Waiting::of(sequence, kind, true, &body));
                        }
                        Ok(Line::Marker { accepted_through, next: n, dropped: d, taken }) => {
                            accepted = accepted.max(accepted_through);
                            waiting.retain(|w: &Waiting| !taken.contains(&w.sequence));
                            next = next.max(n);
                            dropped = dropped.max(d);
                        }
                        Err(e) if !line.is_empty() => tracing::warn!(error = %e, "a torn line in the outbox was dropped"),
                        Err(_) => {}
                    }
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(disk(&e)),
        }
        waiting.retain(|w: &Waiting| w.sequence > accepted);
        if lost > 0 {
            tracing::error!(alarms = lost, "alarms that the full disk had no room for ended with the former agent");
        }
        next = next.max(accepted + 1).max(marked.next);
        dropped = dropped.max(marked.dropped.saturating_add(lost));
        let rates = rates::Rates::default();
        let mut inner =
            Inner { file: None, refused: None, mark, rates, suppressed: 0, lines: 0, bytes: 0, next, accepted, dropped, waiting };
        trim(&mut inner);
        let (urgent, critical) = (Notify::new(), Notify::new());
        let outbox = Self { path: path.to_owned(), inner: Mutex::new(inner), shown: Mutex::default(), urgent, critical };
        let mut inner = outbox.lock();
        // A full disk must not keep the node from starting.
        if let Err(fault) = outbox.rewrite(&mut inner) {
            tracing::error!(%fault, "the outbox cannot be written; reports wait in memory");
        }
        outbox.show(&inner);
        drop(inner);
        Ok(outbox)
    }

    /// Writes the whole file anew.
    fn rewrite(&self, inner: &mut Inner) -> Result<(), Fault> {
        let done = self.written_anew(inner).map(|(file, bytes)| {
            (inner.file, inner.refused, inner.lines, inner.bytes) = (Some(file), None, inner.waiting.len(), bytes);
            inner.waiting.iter_mut().for_each(|w| w.stored = true);
        });
        if let Err(fault) = &done {
            (inner.file, inner.refused) = (None, Some((fault.clone(), Instant::now())));
        }
        inner.note_held();
        done
    }

    fn written_anew(&self, inner: &Inner) -> Result<(File, usize), Fault> {
        let path = &self.path;
        let marker = Line::Marker { accepted_through: inner.accepted, next: inner.next, dropped: inner.dropped, taken: Vec::new() };
        let mut bytes = line(&marker)?;
        for w in &inner.waiting {
            let body = serde_json::from_str(&w.text).unwrap_or(Value::Null);
            bytes.extend(line(&Line::Report { sequence: w.sequence, kind: w.kind, body })?);
        }
        files::write_atomic(path, &bytes)?;
        let file = OpenOptions::new().append(true).mode(0o600).open(path).map_err(|e| disk(&e))?;
        Ok((file, bytes.len()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Appends a line, or writes the file anew where the disk has refused before. What waits is in `inner` already.
    fn write(&self, inner: &mut Inner, value: &Line, sync: bool) -> Result<(), Fault> {
        match (&inner.refused, &mut inner.file) {
            (Some((fault, at)), _) if at.elapsed() < RETRY_DISK => {
                let fault = fault.clone();
                inner.note_held();
                Err(fault)
            }
            (None, Some(file)) => {
                let bytes = line(value)?;
                let written = file.write_all(&bytes).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
                if let Err(e) = written {
                    let fault = disk(&e);
                    (inner.file, inner.refused) = (None, Some((fault.clone(), Instant::now())));
                    inner.note_held();
                    return Err(fault);
                }
                inner.lines += 1;
                inner.bytes += bytes.len();
                if inner.is_mostly_dead() { self.rewrite(inner) } else { Ok(()) }
            }
            _ => self.rewrite(inner),
        }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Publishes what a call has changed.
    fn show(&self, inner: &Inner) {
        let alarms = inner.waiting.iter().filter(|w| w.kind == Kind::Alarm).count();
        let heartbeats = inner.waiting.len() - alarms;
        let counts = Counts { heartbeats, alarms, dropped: inner.dropped, suppressed: inner.suppressed };
        *self.shown() = Shown { counts, fault: inner.refused.as_ref().map(|(fault, _)| fault.clone()) };
    }

    /// Why the disk takes no reports at present.
    pub fn fault(&self) -> Option<Fault> {
        self.shown().fault.clone()
    }

    /// Keeps a report (an object without `sequence`, `at` and `kind`) made at this time.
    pub fn push(&self, kind: Kind, at: DateTime<Utc>, mut fields: Map<String, Value>) -> Result<Kept, Fault> {
        let mut inner = self.lock();
        if kind == Kind::Alarm {
            // No critical alarm is held for its rate: what bounds those is the number that waits.
            let passes = if is_critical(&fields) { Some(0) } else { inner.rates.take(&rule_of(&fields), Instant::now()) };
            match passes {
                None => {
                    inner.suppressed += 1;
                    self.show(&inner);
                    return Ok(Kept::Suppressed);
                }
                Some(0) => {}
                Some(missing) => {
                    fields.insert("suppressed".into(), json!(missing));
                }
            }
            if inner.waiting_bytes() > MAX_WAITING_BYTES {
                fields.remove("result");
            }
        }
        let sequence = inner.next;
        let mut report = Map::new();
        report.insert("sequence".into(), json!(sequence));
        report.insert("at".into(), json!(at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)));
        report.insert("kind".into(), json!(kind));
        report.extend(fields);
        let mut text = Value::Object(report.clone()).to_string();
        if text.len() > MAX_REPORT_BYTES {
            report.remove("result");
            text = Value::Object(report.clone()).to_string();
        }
        if text.len() > MAX_REPORT_BYTES {
            return Err(Fault::new("report-too-large", "state", format!("a report of {} bytes was not stored", text.len())));
        }
        let report = Value::Object(report);
        // The sequence number is used up even if the write fails half-way.
        inner.next += 1;
        let waiting = Waiting::of(sequence, kind, false, &report);
        let critical = waiting.critical;
        inner.waiting.push_back(waiting);
        trim(&mut inner);
        let written = self.write(&mut inner, &Line::Report { sequence, kind, body: report }, true);
        if written.is_ok()
            && let Some(own) = inner.waiting.iter_mut().rfind(|w| w.sequence == sequence)
        {
            own.stored = true;
        }
        self.show(&inner);
        drop(inner);
        if kind == Kind::Alarm {
            self.urgent.notify_one();
        }
        if critical {
            self.critical.notify_one();
        }
        Ok(match written {
            Ok(()) => Kept::Stored(sequence),
            Err(fault) => Kept::InMemory(sequence, fault),
        })
    }

    /// The oldest waiting reports as the body of one request, with their numbers in order; `None` when nothing waits. While critical
    /// alarms wait, other alarms stay behind.
    pub fn batch(&self) -> Option<(String, Vec<u64>)> {
        let inner = self.lock();
        let urgent = inner.waiting.iter().any(|w| w.critical);
        let most = if urgent { MAX_URGENT_BYTES } else { MAX_BATCH_BYTES };
        let (mut texts, mut size, mut numbers) = (Vec::new(), 0, Vec::new());
        for w in inner.waiting.iter().filter(|w| !urgent || w.critical || w.kind == Kind::Heartbeat).take(MAX_BATCH) {
            size += w.text.len();
            if size > most && !texts.is_empty() {
                break;
            }
            texts.push(w.text.as_str());
            numbers.push(w.sequence);
        }
        (!texts.is_empty()).then(|| (format!("{{\"reports\":[{}]}}", texts.join(",")), numbers))
    }

    /// Forgets those reports of a request, by their numbers, that the server has accepted: up to `through`. Nothing is dropped that was not
    /// in the request, whatever the server says.
    pub fn accepted(&self, through: u64, sent: &[u64]) {
        let mut inner = self.lock();
        let taken: BTreeSet<u64> = sent.iter().copied().filter(|number| *number <= through).collect();
        let before = inner.waiting.len();
        inner.waiting.retain(|w| !taken.contains(&w.sequence));
        if inner.waiting.len() == before {
            return;
        }
        // All below the first that still waits is done.
        let first = inner.waiting.iter().map(|w| w.sequence).min().unwrap_or(inner.next);
        inner.accepted = inner.accepted.max(first.saturating_sub(1));
        let above = taken.into_iter().filter(|number| *number > inner.accepted).collect();
        // The marker is not synced: if it is lost, the reports go once more and the server knows them.
        let marker = Line::Marker { accepted_through: inner.accepted, next: inner.next, dropped: inner.dropped, taken: above };
        if let Err(fault) = self.write(&mut inner, &marker, false) {
            tracing::debug!(%fault, "what the server took could not be noted");
        }
        self.show(&inner);
    }

    /// What waits and what was lost.
    pub fn counts(&self) -> Counts {
        self.shown().counts
    }
}

/// Drops reports over [`MAX_HEARTBEATS`] and [`MAX_ALARMS`], critical alarms last: the oldest of the rule of which most wait. So a flood
/// costs the rule that makes it, and a true alarm of another stays. Only the newest entry can have broken a bound, except after opening.
fn trim(inner: &mut Inner) {
    for (kind, most) in [(Kind::Heartbeat, MAX_HEARTBEATS), (Kind::Alarm, MAX_ALARMS)] {
        let over = inner.waiting.iter().filter(|w| w.kind == kind).count().saturating_sub(most);
        if kind == Kind::Alarm {
            inner.dropped += over as u64;
        }
        for _ in 0..over {
            let critical = !inner.waiting.iter().any(|w| w.kind == kind && !w.critical);
            let mut waiting: HashMap<&str, (usize, usize)> = HashMap::new();
            for (place, w) in inner.waiting.iter().enumerate().filter(|(_, w)| w.kind == kind && w.critical == critical) {
                waiting.entry(&w.rule).or_insert((0, place)).0 += 1;
            }
            // Of equally many the older one goes.
            let victim = waiting.values().max_by_key(|(count, place)| (*count, std::cmp::Reverse(*place))).map(|(_, place)| *place);
            if let Some(place) = victim {
                inner.waiting.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests;
