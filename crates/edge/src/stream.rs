//! A stream of records on disk, until the platform has them and for a week after that (`app_package::stream` has its rules).
//!
//! One append-only file of lines, each the text as it is sent, synced at each record, written anew where much of it is dead. Invariants:
//! numbers only grow and are on disk before they are sent, or marked ([`mark`]); a record that is given up leaves its digest, so that the
//! chain still holds; nothing is forgotten that the platform has not taken, but for want of room. Where the file is damaged, was set back,
//! or records in memory ended with an agent, another stream begins with what waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use app_package::digest::Digest;
use app_package::pipeline::AlarmLevel;
use app_package::stream::{self, Dropped, Item, Kind, Lost, Record, Why};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fault::Fault;

mod disk;
mod mark;
mod ring;

/// How long what the platform has is kept, for a platform that is restored from an older copy.
const KEEP: TimeDelta = TimeDelta::days(7);
/// Dead bytes that are tolerated before the file is written anew, at least.
const DEAD_BYTES: u64 = 4 * 1024 * 1024;
/// Records younger than this go before older ones that wait.
const LIVE: TimeDelta = TimeDelta::hours(1);

/// Time of a record, by the clocks that a node has.
#[derive(Debug, Clone)]
pub struct Moment {
    pub at: DateTime<Utc>,
    /// Milliseconds since the machine was started, and the name of that run.
    pub mono: u64,
    pub boot: String,
    pub clock: stream::ClockState,
}

/// What a record is, for the order in which records are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// None of what is no alarm.
    pub level: Option<AlarmLevel>,
    /// Stands for the rule that raised it: the rule with the most loses first.
    pub rule: u64,
}

/// Where the text of a member lies.
enum Place {
    File(u64),
    Memory(String),
}

/// A member of the stream, as it is known without its text.
struct Entry {
    from: u64,
    to: u64,
    bytes: u32,
    at: DateTime<Utc>,
    class: Class,
    /// Whether it stands for records that were dropped.
    dropped: bool,
    place: Place,
}

/// What the platform says that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Held {
    pub last: u64,
    /// First and last numbers of what is missing below it.
    #[serde(default)]
    pub gaps: Vec<(u64, u64)>,
}

impl Held {
    fn has(&self, seq: u64) -> bool {
        seq <= self.last && !self.gaps.iter().any(|(from, to)| (*from..=*to).contains(&seq))
    }

    /// Nothing up to this number is missing.
    fn through(&self) -> u64 {
        self.gaps.iter().map(|(from, _)| from.saturating_sub(1)).min().unwrap_or(self.last)
    }
}

/// Which records to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Those of the last hour.
    Live,
    /// All in order.
    Backlog,
}

/// One stream. Calls wait for the disk.
pub struct Stream {
    kind: Kind,
    path: PathBuf,
    name: String,
    /// The file as it lies there, for what is read back; none before the disk has taken one.
    file: Option<File>,
    /// Why the disk refused, and when it was tried last. The file may end in a torn line then, so it is written anew.
    refused: Option<(Fault, Instant)>,
    mark: mark::MarkFile,
    next: u64,
    head: Digest,
    entries: VecDeque<Entry>,
    file_bytes: u64,
    held: Held,
    /// Highest number that was sent.
    sent: u64,
    lost: u64,
}

fn unreadable(e: impl std::fmt::Display) -> Fault {
    Fault::new("stream-unreadable", "state", e.to_string())
}

fn fresh_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl Stream {
    /// Opens the stream of a kind in a folder, with what waits there. `class` says what a record's body is. A torn last line (power cut) is
    /// dropped: it was never sent.
    pub fn open(dir: &Path, kind: Kind, class: fn(&RawValue) -> Class) -> Self {
        let path = dir.join(format!("{kind}.jsonl"));
        let mark = mark::MarkFile::open(&path.with_extension("mark"));
        let marked = mark.read();
        let name = fresh_name();
        let mut stream = Self {
            kind,
            head: stream::beginning(&name),
            name,
            path,
            file: None,
            refused: None,
            next: 1,
            entries: VecDeque::new(),
            file_bytes: 0,
            held: Held::default(),
            sent: 0,
            lost: marked.dropped,
            mark,
        };
        let read = stream.load(class);
        // A mark of a stream before this one says nothing of it: what that one held came into this one.
        let own = marked.stream == stream.tag() || stream.file.is_none();
        let there: HashSet<u64> = stream.entries.iter().map(|entry| entry.from).collect();
        // The power may fail when the disk has taken what was held, and before the mark says so.
        let taken = (marked.since..marked.next).filter(|seq| marked.since > 0 && there.contains(seq)).count() as u64;
        let ended = if own { marked.held.saturating_sub(taken) } else { 0 };
        if own {
            stream.held.last = marked.acked.min(stream.next.saturating_sub(1));
            stream.sent = stream.held.last;
        }
        if let Err(fault) = &read {
            tracing::error!(%kind, %fault, "the stream is damaged; what can be read of it goes on in another one");
        }
        if ended > 0 {
            tracing::error!(%kind, records = ended, "what the full disk had no room for ended with the former agent");
        }
        if read.is_err() || ended > 0 || (own && marked.next > stream.next && stream.file.is_some()) {
            stream.begin_anew(ended);
        } else if let Err(fault) = stream.rewrite() {
            // A full disk must not keep the node from starting.
            tracing::error!(%kind, %fault, "the stream cannot be written; records wait in memory");
        }
        stream
    }

    /// Tells this stream from the one before it, in the mark.
    fn tag(&self) -> u64 {
        self.name.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of all records that are kept. What stands for dropped ones is not counted: nothing would be won by dropping more for it.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().filter(|entry| !entry.dropped).map(|entry| u64::from(entry.bytes)).sum()
    }

    /// Bytes of what is in memory only.
    pub fn unstored(&self) -> u64 {
        self.entries.iter().filter(|e| matches!(e.place, Place::Memory(_)) && !e.dropped).map(|e| u64::from(e.bytes)).sum()
    }

    /// Records that the platform has not taken.
    pub fn waiting(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.dropped && !self.held.has(entry.from)).count()
    }

    /// Records lost since the node was enrolled.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Why the disk takes nothing at present.
    pub fn fault(&self) -> Option<Fault> {
        self.refused.as_ref().map(|(fault, _)| fault.clone())
    }

    /// Keeps a record of this body. `Ok(None)` says that it is on disk, `Ok(Some(…))` that it is in memory only, and why.
    pub fn push(&mut self, moment: &Moment, class: Class, body: &RawValue) -> Result<Option<Fault>, Fault> {
        self.append(moment, class, body)?;
        let fault = self.store_last().err();
        if fault.is_some() {
            self.note_held();
        }
        Ok(fault)
    }

    /// Puts a record behind the others, in memory.
    fn append(&mut self, moment: &Moment, class: Class, body: &RawValue) -> Result<(), Fault> {
        let (seq, prev) = (self.next, self.head.clone());
        let Moment { at, mono, boot, clock } = moment;
        let text = serde_json::to_string(&Record { seq, prev, at: *at, mono: *mono, boot: boot.clone(), clock: *clock, body });
        let text = text.map_err(unreadable)?;
        let bytes = u32::try_from(text.len()).map_err(unreadable)?;
        (self.next, self.head) = (seq + 1, Digest::of(text.as_bytes()));
        self.entries.push_back(Entry { from: seq, to: seq, bytes, at: *at, class, dropped: false, place: Place::Memory(text) });
        Ok(())
    }

    /// Goes on under another name, with what the platform has not taken; `ended` records were lost before.
    pub fn begin_anew(&mut self, ended: u64) {
        let waits = self.entries.iter().filter(|entry| !entry.dropped && !self.held.has(entry.from));
        let all: Vec<(Class, Result<String, Fault>)> = waits.map(|entry| (entry.class, self.text(entry))).collect();
        let ended = ended + all.iter().filter(|(_, text)| text.is_err()).count() as u64;
        let waiting: Vec<(Class, String)> = all.into_iter().filter_map(|(class, text)| Some((class, text.ok()?))).collect();
        self.name = fresh_name();
        (self.next, self.sent, self.head, self.held) = (1, 0, stream::beginning(&self.name), Held::default());
        self.lost = self.lost.saturating_add(ended);
        self.entries.clear();
        if ended > 0 {
            let lost = match self.kind {
                Kind::Critical => Lost { critical: ended, ..Lost::default() },
                Kind::Alarms => Lost { warning: ended, ..Lost::default() },
                Kind::Status | Kind::Usage => Lost { other: ended, ..Lost::default() },
            };
            let hash = self.head.clone();
            let dropped = Dropped { from: 1, to: ended, prev: Some(hash.clone()), hash, lost, why: Why::AgentEnded };
            self.entries.push_back(ring::entry_of(&dropped));
            (self.next, self.head) = (dropped.to + 1, dropped.hash);
        }
        for (class, text) in waiting {
            let Ok(Item::Record(record)) = Item::read(&text) else { continue };
            let moment = Moment { at: record.at, mono: record.mono, boot: record.boot, clock: record.clock };
            if let Err(fault) = self.append(&moment, class, record.body) {
                tracing::error!(kind = %self.kind, %fault, "a record is lost");
            }
        }
        if let Err(fault) = self.rewrite() {
            tracing::error!(kind = %self.kind, %fault, "the stream cannot be written; records wait in memory");
        }
    }

    /// Members to send, in order, and whether there are more: of at most so many bytes, one at least.
    pub fn batch(&mut self, lane: Lane, most: usize, count: usize, now: DateTime<Utc>) -> Vec<String> {
        let mut seq = match lane {
            Lane::Backlog => self.held.through() + 1,
            Lane::Live => {
                let young = self.entries.iter().find(|entry| entry.to > self.held.last && now - entry.at < LIVE);
                let Some(young) = young else { return Vec::new() };
                young.from.max(self.held.last + 1)
            }
        };
        let (mut texts, mut size) = (Vec::new(), 0);
        let mut place = self.entries.partition_point(|entry| entry.to < seq);
        while seq < self.next && !self.held.has(seq) && texts.len() < count {
            let own = self.entries.get(place).filter(|entry| entry.from <= seq);
            place += usize::from(own.is_some());
            let (text, to) = match own.map(|entry| (self.text(entry), entry.to)) {
                Some((Ok(text), to)) => (text, to),
                Some((Err(fault), to)) => {
                    tracing::error!(kind = %self.kind, seq, %fault, "a record is lost");
                    self.lost = self.lost.saturating_add(1);
                    (self.missing(seq, to, place, Why::Damaged), to)
                }
                // The platform asks again for what is kept no longer.
                None => {
                    let to = self.entries.get(place).map_or(self.next, |entry| entry.from) - 1;
                    (self.missing(seq, to, place, Why::TakenBefore), to)
                }
            };
            size += text.len();
            if size > most && !texts.is_empty() {
                break;
            }
            texts.push(text);
            seq = to + 1;
            self.sent = self.sent.max(to);
        }
        texts
    }

    /// What is sent in the place of records that are not there; `next` is the place of the entry behind them.
    fn missing(&self, from: u64, to: u64, next: usize, why: Why) -> String {
        let before = self.entries.get(next).filter(|entry| entry.from == to + 1).and_then(|entry| self.before(entry).ok().flatten());
        let lost = Lost { other: to - from + 1, ..Lost::default() };
        let dropped = Dropped { from, to, prev: None, hash: before.unwrap_or_else(|| self.head.clone()), lost, why };
        serde_json::json!({ "dropped": dropped }).to_string()
    }

    /// Digest of the record before a member.
    fn before(&self, entry: &Entry) -> Result<Option<Digest>, Fault> {
        let text = self.text(entry)?;
        let item = Item::read(&text).map_err(unreadable)?;
        Ok(item.span(&text).prev)
    }

    /// Whether live records can be sent before older ones without one gap too many.
    pub fn may_overtake(&self) -> bool {
        self.held.gaps.len() < stream::MAX_GAPS
    }

    /// Whether all is at the platform.
    pub fn is_done(&self) -> bool {
        self.held.through() + 1 >= self.next
    }

    /// Takes what the platform says that it has.
    pub fn answered(&mut self, mut held: Held, now: DateTime<Utc>) {
        if held.last >= self.next {
            // Somebody sends under this name, or this disk was set back.
            tracing::warn!(kind = %self.kind, theirs = held.last, ours = self.next - 1, "the platform has more of the stream than this node");
            self.begin_anew(0);
            return;
        }
        // Nothing is given up that was not sent, whatever the platform says.
        held.last = held.last.min(self.sent);
        held.gaps.retain(|(from, to)| from <= to && *from <= held.last);
        self.held = held;
        let (before, old) = (self.entries.len(), now - KEEP);
        while self.entries.front().is_some_and(|entry| self.held.has(entry.to) && (entry.at < old || entry.dropped)) {
            self.entries.pop_front();
        }
        let kept = self.bytes();
        let dead = self.file_bytes.saturating_sub(kept);
        if before != self.entries.len() && dead > DEAD_BYTES.max(kept) && self.refused.is_none() {
            // What cannot be written anew is not lost: the file stays as it was.
            let _ = self.rewrite();
        } else {
            self.note_held();
        }
    }
}

#[cfg(test)]
mod tests;
