//! Records of streams as nodes send them (`app_package::stream`): what they say, when it was, and what is known of each stream.

use std::collections::BTreeMap;

use app_package::digest::Digest;
use app_package::stream::{ClockState, Gap, Item, Kind, Known, Lost, Span, Why, is_name};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::model::{self, AlarmReport};
use super::reading::{MAX_REPORT, Reports};
use crate::base::db::{Timestamp, schema};

/// Streams of one request.
pub const MAX_PARTS: usize = 8;
/// Streams that are remembered of a node, of one kind: it begins another one only where its disk was lost or copied.
pub const KEPT: i64 = 8;
/// Rows of counters that are kept of a node's deployment.
pub const MAX_COUNTERS: usize = 64;
/// Longest name of an episode, a source, an epoch.
const MAX_NAME: usize = 64;
/// Longest text of what raised an alarm, in bytes.
const MAX_ORIGIN: usize = 8 * 1024;

/// Records of one stream, as they came.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub stream: String,
    pub kind: Kind,
    pub records: Reports,
}

/// The sender's steady clock at the moment of sending.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub boot: String,
    /// Milliseconds since the machine was started.
    pub mono: u64,
}

/// When something was, by the sender's clocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    pub at: DateTime<Utc>,
    pub mono: u64,
    pub boot: String,
    pub clock: ClockState,
}

impl Moment {
    /// The same by the platform's clock: in the run of the machine that sends now its steady clock says how long ago it was; from a run before,
    /// only its word does.
    pub fn placed(&self, sent: &Sent, now: Timestamp) -> Timestamp {
        let same = !sent.boot.is_empty() && sent.boot == self.boot;
        let ago = sent.mono.checked_sub(self.mono).filter(|_| same).and_then(|ms| i64::try_from(ms).ok());
        match ago.and_then(TimeDelta::try_milliseconds) {
            Some(ago) if ago < TimeDelta::days(3650) => now.minus(ago),
            _ => model::moment(self.at, now),
        }
    }
}

/// How an alarm goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Begin,
    Still,
    End,
}

/// An alarm as a record tells it.
#[derive(Debug)]
pub struct EpisodeReport {
    pub alarm: AlarmReport,
    pub episode: Episode,
}

/// What a record says of the episode. An alarm of an agent from before has none.
#[derive(Debug, Deserialize)]
pub struct Episode {
    #[serde(default)]
    pub episode: Option<String>,
    #[serde(default = "begun")]
    pub phase: Phase,
    /// The first frame that had it, and the last one, by the node's clock.
    #[serde(default)]
    pub begun: Option<DateTime<Utc>>,
    #[serde(default)]
    pub last: Option<DateTime<Utc>>,
    #[serde(default = "one")]
    pub count: u64,
    #[serde(default)]
    pub source: String,
    /// What raised it, JSON as it is stored.
    #[serde(default = "model::no_result", deserialize_with = "stored_origin")]
    pub origin: String,
}

fn stored_origin<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = <&RawValue>::deserialize(input)?.get();
    Ok(if text.len() <= MAX_ORIGIN && text.starts_with('{') { text.to_owned() } else { model::no_result() })
}

fn begun() -> Phase {
    Phase::Begin
}

fn one() -> u64 {
    1
}

impl Episode {
    /// The node's name of it, where it is one.
    pub fn name(&self) -> Option<&str> {
        self.episode.as_deref().filter(|name| is_short(name))
    }

    pub fn source(&self) -> String {
        self.source.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
    }
}

/// Whether it can be the name of an episode, an epoch or a meter.
pub(super) fn is_short(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Counters of a node.
#[derive(Debug, Deserialize)]
pub struct UsageReport {
    pub epoch: String,
    pub counters: Vec<Counter>,
}

#[derive(Debug, Deserialize)]
pub struct Counter {
    pub deployment_id: String,
    pub meter: String,
    pub count: u64,
}

impl UsageReport {
    /// Those that can be kept.
    pub fn readable(&self) -> impl Iterator<Item = &Counter> {
        let named = is_short(&self.epoch);
        self.counters.iter().filter(move |counter| named && is_short(&counter.meter))
    }
}

/// What a record tells.
#[derive(Debug)]
pub enum Told {
    Alarm(Box<EpisodeReport>),
    /// A status as Margo has it, JSON; read when it is taken, for as a tree it takes many times its length.
    Status(String),
    Usage(UsageReport),
    /// Records that are given up.
    Dropped(Lost, Why),
    /// It cannot be read; it counts as taken, for the node would send it for ever.
    Unreadable,
}

/// A member of a stream, read.
#[derive(Debug)]
pub struct Member {
    pub span: Span,
    /// None of records that are given up.
    pub moment: Option<Moment>,
    /// SHA-256 of its text, hex.
    pub hash: String,
    pub told: Told,
}

/// The members of one stream in a request.
#[derive(Debug)]
pub struct ReadPart {
    pub stream: String,
    pub kind: Kind,
    pub members: Vec<Member>,
    /// Whether a member has no number, so that those after it cannot be placed either.
    pub broken: bool,
}

impl Part {
    /// Reads each record by itself.
    pub fn read(self) -> ReadPart {
        let mut part = ReadPart { stream: self.stream, kind: self.kind, members: Vec::new(), broken: false };
        part.broken = !is_name(&part.stream);
        for text in self.records.texts() {
            let Some(member) = read(part.kind, text).filter(|_| !part.broken) else {
                part.broken = true;
                break;
            };
            part.members.push(member);
        }
        part
    }
}

fn read(kind: Kind, text: &str) -> Option<Member> {
    let item = Some(text).filter(|text| text.len() <= MAX_REPORT).and_then(|text| Item::read(text).ok())?;
    let (span, hash) = (item.span(text), Digest::of(text.as_bytes()).hex().to_owned());
    let (moment, told) = match item {
        Item::Record(record) => {
            let told = body(kind, record.body);
            (Some(Moment { at: record.at, mono: record.mono, boot: record.boot, clock: record.clock }), told)
        }
        Item::Dropped(dropped) => (None, Told::Dropped(dropped.lost, dropped.why)),
    };
    Some(Member { span, moment, hash, told })
}

fn body(kind: Kind, body: &RawValue) -> Told {
    let text = body.get();
    let told = match kind {
        // Read twice, for what is flattened would be copied into a tree first.
        Kind::Alarms | Kind::Critical => serde_json::from_str(text)
            .and_then(|alarm| Ok(Told::Alarm(Box::new(EpisodeReport { alarm, episode: serde_json::from_str(text)? })))),
        Kind::Status => Ok(Told::Status(text.to_owned())),
        Kind::Usage => serde_json::from_str(text).map(Told::Usage),
    };
    told.unwrap_or(Told::Unreadable)
}

/// What is known of a stream, as a row.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::streams)]
pub struct StreamRow {
    pub node_id: String,
    pub stream: String,
    pub kind: String,
    pub last_seq: i64,
    /// Digest of the last one.
    pub head: String,
    /// JSON of [`Gap`]s.
    pub gaps: String,
    /// Records that the node has told as given up.
    pub lost: i64,
    pub first_seen: Timestamp,
    pub last_at: Timestamp,
}

impl StreamRow {
    /// A row before the first record.
    pub fn new(node_id: &str, stream: &str, kind: Kind, now: Timestamp) -> Self {
        let known = Known::new(stream);
        Self {
            node_id: node_id.to_owned(),
            stream: stream.to_owned(),
            kind: kind.as_str().to_owned(),
            last_seq: 0,
            head: known.head.to_string(),
            gaps: "[]".to_owned(),
            lost: 0,
            first_seen: now,
            last_at: now,
        }
    }

    /// What it says.
    pub fn known(&self) -> Known {
        let gaps: Vec<Gap> = serde_json::from_str(&self.gaps).unwrap_or_default();
        let head = Digest::parse(&self.head).unwrap_or_else(|_| Known::new(&self.stream).head);
        Known { last: u64::try_from(self.last_seq).unwrap_or(0), head, gaps }
    }

    /// The same with what is known now.
    #[must_use]
    pub fn with(self, known: &Known, lost: u64, now: Timestamp) -> Self {
        Self {
            last_seq: model::count(known.last),
            head: known.head.to_string(),
            gaps: serde_json::to_string(&known.gaps).unwrap_or_else(|_| "[]".to_owned()),
            lost: self.lost.saturating_add(model::count(lost)),
            last_at: now,
            ..self
        }
    }
}

/// What the node is told of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamReceipt {
    pub stream: String,
    /// Highest number that is there, and the first and last numbers of what is missing below it.
    pub last: u64,
    pub gaps: Vec<(u64, u64)>,
    /// Records taken now, there before, and taken though they cannot be understood.
    pub taken: u64,
    pub repeated: u64,
    pub refused: u64,
    /// Why not all were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Seconds until more are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<i64>,
}

/// The highest counts of a request, by deployment, meter and epoch, with their time.
pub type Counts = BTreeMap<(String, String, String), (u64, Timestamp)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_places_what_a_wrong_clock_dates() {
        let now = Timestamp::new("2026-11-30T12:00:00Z".parse().unwrap());
        let sent = Sent { boot: "b1".into(), mono: 100_000 };
        let moment = |at: &str, mono, boot: &str| Moment { at: at.parse().unwrap(), mono, boot: boot.into(), clock: ClockState::Untrusted };
        let placed = |moment: Moment| moment.placed(&sent, now).utc().to_rfc3339();
        assert_eq!(placed(moment("1970-01-01T00:00:00Z", 40_000, "b1")), "2026-11-30T11:59:00+00:00");
        // Another run of the machine, and one that claims to be from later, have only their word.
        assert_eq!(placed(moment("2026-11-29T00:00:00Z", 40_000, "b0")), "2026-11-29T00:00:00+00:00");
        assert_eq!(placed(moment("9999-01-01T00:00:00Z", 200_000, "b1")), "2026-11-30T12:00:00+00:00");
    }
}
