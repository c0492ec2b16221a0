//! Reports on their way to the server: heartbeats and alarms, on disk until the server has accepted them.
//!
//! One append-only file of JSON lines, synced at each report, rewritten when mostly dead. Invariants: sequence numbers
//! only grow, also over restarts, and are on disk before they are sent (the server drops what it has seen);
//! at most [`MAX_ALARMS`] alarms and [`MAX_HEARTBEATS`] heartbeats wait, the oldest go first and are counted; critical alarms are sent
//! before all others and dropped after all others, so that a flood of lesser ones does not hold them up.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::files;

/// Alarms that wait at most.
pub const MAX_ALARMS: usize = 10_000;
/// Heartbeats that wait at most; older ones say nothing that newer ones do not.
pub const MAX_HEARTBEATS: usize = 4;
/// Reports in one request at most.
const MAX_BATCH: usize = 200;
/// Bytes in one request at most (about).
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Largest report; a larger alarm goes without its `result`.
const MAX_REPORT_BYTES: usize = 256 * 1024;
/// Dead lines that are tolerated before the file is rewritten.
const DEAD_LINES: usize = 2_000;

/// Kind of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The node and its apps are alive.
    Heartbeat,
    /// A rule of an app fired.
    Alarm,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Report {
        sequence: u64,
        kind: Kind,
        body: Value,
    },
    Marker {
        accepted_through: u64,
        next: u64,
        dropped: u64,
        /// Numbers above `accepted_through` that are accepted too.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        taken: Vec<u64>,
    },
}

struct Waiting {
    sequence: u64,
    kind: Kind,
    /// A critical alarm.
    critical: bool,
    /// The report as sent, JSON text.
    text: String,
}

fn is_critical(kind: Kind, report: &Value) -> bool {
    kind == Kind::Alarm && report.get("level").and_then(Value::as_str) == Some("critical")
}

struct Inner {
    file: File,
    lines: usize,
    next: u64,
    accepted: u64,
    dropped: u64,
    waiting: VecDeque<Waiting>,
}

/// The durable queue. Its calls write to disk: call them from blocking threads.
pub struct Outbox {
    path: PathBuf,
    inner: Mutex<Inner>,
    /// Rung when reports should be sent at once: by each alarm, and by the loop of heartbeats.
    pub urgent: Notify,
}

fn disk(e: &std::io::Error) -> Fault {
    Fault::disk("outbox", e)
}

impl Outbox {
    /// Opens the queue at `path`, reading what waits there. A torn last line (power cut) is dropped.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let (mut waiting, mut next, mut accepted, mut dropped) = (VecDeque::new(), 1u64, 0u64, 0u64);
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    let line = line.map_err(|e| disk(&e))?;
                    match serde_json::from_slice::<Line>(&line) {
                        Ok(Line::Report { sequence, kind, body }) => {
                            next = next.max(sequence + 1);
                            waiting.push_back(Waiting { sequence, kind, critical: is_critical(kind, &body), text: body.to_string() });
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
        next = next.max(accepted + 1);
        let file = Self::rewrite(path, &waiting, accepted, next, dropped)?;
        let lines = waiting.len();
        let mut inner = Inner { file, lines, next, accepted, dropped, waiting };
        trim(&mut inner);
        Ok(Self { path: path.to_owned(), inner: Mutex::new(inner), urgent: Notify::new() })
    }

    fn rewrite(path: &Path, waiting: &VecDeque<Waiting>, accepted: u64, next: u64, dropped: u64) -> Result<File, Fault> {
        let mut bytes = line(&Line::Marker { accepted_through: accepted, next, dropped, taken: Vec::new() })?;
        for w in waiting {
            let body = serde_json::from_str(&w.text).unwrap_or(Value::Null);
            bytes.extend(line(&Line::Report { sequence: w.sequence, kind: w.kind, body })?);
        }
        files::write_atomic(path, &bytes)?;
        OpenOptions::new().append(true).mode(0o600).open(path).map_err(|e| disk(&e))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Stores a report (an object without `sequence`, `at` and `kind`) and gives its number. It is on disk on return.
    pub fn push(&self, kind: Kind, fields: Map<String, Value>) -> Result<u64, Fault> {
        let mut inner = self.lock();
        let sequence = inner.next;
        let mut report = Map::new();
        report.insert("sequence".into(), json!(sequence));
        report.insert("at".into(), json!(Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)));
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
        let critical = is_critical(kind, &report);
        let bytes = line(&Line::Report { sequence, kind, body: report })?;
        // The sequence number is used up even if the write fails half-way.
        inner.next += 1;
        inner.file.write_all(&bytes).and_then(|()| inner.file.sync_data()).map_err(|e| disk(&e))?;
        inner.lines += 1;
        inner.waiting.push_back(Waiting { sequence, kind, critical, text });
        trim(&mut inner);
        self.compact(&mut inner)?;
        drop(inner);
        if kind == Kind::Alarm {
            self.urgent.notify_one();
        }
        Ok(sequence)
    }

    /// The oldest waiting reports as the body of one request, with their numbers in order; `None` when nothing waits. While critical
    /// alarms wait, other alarms stay behind.
    pub fn batch(&self) -> Option<(String, Vec<u64>)> {
        let inner = self.lock();
        let urgent = inner.waiting.iter().any(|w| w.critical);
        let (mut texts, mut size, mut numbers) = (Vec::new(), 0, Vec::new());
        for w in inner.waiting.iter().filter(|w| !urgent || w.critical || w.kind == Kind::Heartbeat).take(MAX_BATCH) {
            size += w.text.len();
            if size > MAX_BATCH_BYTES && !texts.is_empty() {
                break;
            }
            texts.push(w.text.as_str());
            numbers.push(w.sequence);
        }
        (!texts.is_empty()).then(|| (format!("{{\"reports\":[{}]}}", texts.join(",")), numbers))
    }

    /// Forgets those reports of a request, by their numbers, that the server has accepted: up to `through`. Nothing is dropped that was not
    /// in the request, whatever the server says.
    pub fn accepted(&self, through: u64, sent: &[u64]) -> Result<(), Fault> {
        let mut inner = self.lock();
        let taken: BTreeSet<u64> = sent.iter().copied().filter(|number| *number <= through).collect();
        let before = inner.waiting.len();
        inner.waiting.retain(|w| !taken.contains(&w.sequence));
        if inner.waiting.len() == before {
            return Ok(());
        }
        // All below the first that still waits is done.
        let first = inner.waiting.iter().map(|w| w.sequence).min().unwrap_or(inner.next);
        inner.accepted = inner.accepted.max(first.saturating_sub(1));
        let above = taken.into_iter().filter(|number| *number > inner.accepted).collect();
        // The marker is not synced: if it is lost, the reports go once more and the server knows them.
        let marker = Line::Marker { accepted_through: inner.accepted, next: inner.next, dropped: inner.dropped, taken: above };
        inner.file.write_all(&line(&marker)?).map_err(|e| disk(&e))?;
        inner.lines += 1;
        self.compact(&mut inner)
    }

    /// Waiting heartbeats and alarms, and alarms lost to the bound since the beginning.
    pub fn counts(&self) -> (usize, usize, u64) {
        let inner = self.lock();
        let alarms = inner.waiting.iter().filter(|w| w.kind == Kind::Alarm).count();
        (inner.waiting.len() - alarms, alarms, inner.dropped)
    }

    fn compact(&self, inner: &mut Inner) -> Result<(), Fault> {
        if inner.lines < inner.waiting.len() * 2 + DEAD_LINES {
            return Ok(());
        }
        inner.file = Self::rewrite(&self.path, &inner.waiting, inner.accepted, inner.next, inner.dropped)?;
        inner.lines = inner.waiting.len();
        Ok(())
    }
}

fn line(value: &Line) -> Result<Vec<u8>, Fault> {
    let mut bytes = serde_json::to_vec(value).map_err(|e| Fault::new("report-invalid", "state", e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Drops the oldest reports over [`MAX_HEARTBEATS`] and [`MAX_ALARMS`], critical alarms last. Only the newest entry can have broken a
/// bound, except after opening.
fn trim(inner: &mut Inner) {
    for (kind, most) in [(Kind::Heartbeat, MAX_HEARTBEATS), (Kind::Alarm, MAX_ALARMS)] {
        let mut over = inner.waiting.iter().filter(|w| w.kind == kind).count().saturating_sub(most);
        if kind == Kind::Alarm {
            inner.dropped += over as u64;
        }
        for critical in [false, true] {
            if over == 0 {
                break;
            }
            inner.waiting.retain(|w| {
                let drop = over > 0 && w.kind == kind && w.critical == critical;
                over -= usize::from(drop);
                !drop
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn sequences(outbox: &Outbox) -> Vec<u64> {
        let Some((text, _)) = outbox.batch() else { return Vec::new() };
        let value: Value = serde_json::from_str(&text).unwrap();
        value["reports"].as_array().unwrap().iter().map(|r| r["sequence"].as_u64().unwrap()).collect()
    }

    fn alarm(outbox: &Outbox) -> u64 {
        outbox.push(Kind::Alarm, Map::from_iter([("rule".to_owned(), json!("r"))])).unwrap()
    }

    fn critical(outbox: &Outbox) -> u64 {
        let fields = [("rule".to_owned(), json!("r")), ("level".to_owned(), json!("critical"))];
        outbox.push(Kind::Alarm, Map::from_iter(fields)).unwrap()
    }

    #[test]
    fn a_critical_alarm_overtakes_and_loses_nothing() {
        let dir = Scratch::new();
        let path = dir.path().join("outbox.jsonl");
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!([alarm(&outbox), alarm(&outbox), critical(&outbox), alarm(&outbox)], [1, 2, 3, 4]);
        outbox.push(Kind::Heartbeat, Map::new()).unwrap();
        assert_eq!(sequences(&outbox), [3, 5], "heartbeats go with it");
        outbox.accepted(5, &[3, 5]).unwrap();
        assert_eq!(sequences(&outbox), [1, 2, 4]);
        // What overtook the others is known as taken after a restart.
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(sequences(&outbox), [1, 2, 4]);
        // The server has room for the first only, then for nothing.
        outbox.accepted(1, &[1, 2, 4]).unwrap();
        outbox.accepted(0, &[2, 4]).unwrap();
        assert_eq!((sequences(&outbox), outbox.counts()), (vec![2, 4], (0, 2, 0)));
        drop(outbox);
        assert_eq!(sequences(&Outbox::open(&path).unwrap()), [2, 4]);
        assert_eq!(alarm(&Outbox::open(&path).unwrap()), 6);
    }

    #[test]
    fn survives_a_restart_and_never_reuses_a_number() {
        let dir = Scratch::new();
        let path = dir.path().join("outbox.jsonl");
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!((alarm(&outbox), alarm(&outbox), alarm(&outbox)), (1, 2, 3));
        outbox.accepted(2, &[1, 2, 3]).unwrap();
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(sequences(&outbox), [3]);
        outbox.accepted(3, &[3]).unwrap();
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(sequences(&outbox), Vec::<u64>::new());
        assert_eq!(alarm(&outbox), 4);
        // A number that was never given out is not believed.
        outbox.accepted(u64::MAX, &[u64::MAX]).unwrap();
        assert_eq!(alarm(&outbox), 5);
        assert_eq!(sequences(&outbox), [4, 5]);
    }

    #[test]
    fn a_server_that_claims_too_much_drops_nothing_unsent() {
        let dir = Scratch::new();
        let path = dir.path().join("outbox.jsonl");
        let outbox = Outbox::open(&path).unwrap();
        alarm(&outbox);
        alarm(&outbox);
        let (_, sent) = outbox.batch().unwrap();
        // The third alarm is raised while the request is on its way.
        assert_eq!((sent.clone(), alarm(&outbox)), (vec![1, 2], 3));
        outbox.accepted(u64::MAX, &sent).unwrap();
        assert_eq!(sequences(&outbox), [3]);
        outbox.accepted(3, &sent).unwrap();
        assert_eq!(sequences(&outbox), [3]);
        drop(outbox);
        assert_eq!(sequences(&Outbox::open(&path).unwrap()), [3]);
    }

    #[test]
    fn a_torn_line_is_dropped() {
        let dir = Scratch::new();
        let path = dir.path().join("outbox.jsonl");
        alarm(&Outbox::open(&path).unwrap());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"sequence\":2,\"kind\":\"al").unwrap();
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(sequences(&outbox), [1]);
    }

    #[test]
    fn heartbeats_are_few() {
        let dir = Scratch::new();
        let outbox = Outbox::open(&dir.path().join("o")).unwrap();
        alarm(&outbox);
        for _ in 0..10 {
            outbox.push(Kind::Heartbeat, Map::new()).unwrap();
        }
        assert_eq!(outbox.counts(), (MAX_HEARTBEATS, 1, 0));
        assert_eq!(sequences(&outbox), [1, 8, 9, 10, 11]);
    }

    #[test]
    fn alarms_are_bounded_and_the_loss_is_counted() {
        let waiting = (1..=10_002).map(|sequence| Waiting { sequence, kind: Kind::Alarm, critical: sequence == 1, text: "{}".into() });
        let waiting = waiting.collect();
        let dir = Scratch::new();
        let file = File::create(dir.path().join("x")).unwrap();
        let mut inner = Inner { file, lines: 0, next: 10_003, accepted: 0, dropped: 0, waiting };
        trim(&mut inner);
        let first = [inner.waiting[0].sequence, inner.waiting[1].sequence];
        assert_eq!((inner.waiting.len(), inner.dropped, first), (MAX_ALARMS, 2, [1, 4]), "the critical one stays");
    }
}
