//! Reports as nodes send them, the checks of their values, and rows.

use app_package::digest::Digest;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::sources;
use crate::base::db::{Timestamp, schema};

crate::base::db::types::text_enum! {
    /// Severity of an alarm.
    pub enum Level {
        /// For information.
        Notice = "notice",
        /// Somebody should look into it.
        Warning = "warning",
        Critical = "critical",
    }
}

impl Level {
    /// Tone of its badge.
    pub fn tone(self) -> &'static str {
        match self {
            Self::Notice => "steel",
            Self::Warning => "amber",
            Self::Critical => "red",
        }
    }
}

/// Most reports of one request.
pub const MAX_REPORTS: usize = 500;
/// Most samples of one request.
pub const MAX_SAMPLES: usize = 5_000;
/// How long samples are kept.
pub const KEEP: TimeDelta = TimeDelta::days(7);
/// How far a node's clock may be ahead; a report from later counts as from now.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// Age on arrival from which an alarm is late: it rings no bell.
pub const LATE: TimeDelta = TimeDelta::minutes(10);
/// Silence after which an alarm that goes on is over, beyond the half of its age: so often an agent tells of one at the least.
const SILENT: TimeDelta = TimeDelta::hours(1);
/// Difference of a node's clock from the platform's from which both times are told.
pub const OFF: TimeDelta = TimeDelta::minutes(1);
/// Longest text of an alarm, in characters.
const MAX_TEXT: usize = 1_000;
/// Largest result that is kept with an alarm, in bytes, and how deep it may be nested.
const MAX_RESULT: usize = 64 * 1024;
const MAX_DEPTH: usize = 16;

/// A report as read. Its kind decides what the rest of it is; serde's own tagged enums would first copy it into a tree.
#[derive(Debug)]
pub struct Report {
    /// Time of the report, by the node's clock.
    pub at: DateTime<Utc>,
    pub content: Content,
}

/// Content of a report.
#[derive(Debug)]
pub enum Content {
    /// The node and its apps are alive.
    Heartbeat(Heartbeat),
    /// A rule of an app fired.
    Alarm(Box<AlarmReport>),
}

#[derive(Debug, Deserialize)]
pub struct Heartbeat {
    pub node: NodeFigures,
    #[serde(default)]
    pub apps: Vec<AppFigures>,
    /// Its sources, JSON as it came; agents before 2026-11-30 send none.
    #[serde(default = "sources::none", deserialize_with = "sources::list")]
    pub sources: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Heartbeat,
    Alarm,
}

#[derive(Deserialize)]
struct Head {
    at: DateTime<Utc>,
    kind: Kind,
}

impl Report {
    /// Reads a report's JSON.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        let Head { at, kind } = serde_json::from_str(text)?;
        let content = match kind {
            Kind::Heartbeat => Content::Heartbeat(serde_json::from_str(text)?),
            Kind::Alarm => Content::Alarm(serde_json::from_str(text)?),
        };
        Ok(Self { at, content })
    }
}

/// Figures of a node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeFigures {
    /// Load of the processor.
    pub cpu_percent: f64,
    /// Memory in use.
    pub memory_used_bytes: u64,
    /// Memory in all.
    pub memory_total_bytes: u64,
    /// The agent's own fault, if it has one; agents before 2026-11-24 send none.
    #[serde(default)]
    pub trouble: Option<Trouble>,
    /// Random name of the agent's run; agents before 2026-11-29 send none, nor the counts below.
    #[serde(default)]
    pub instance: Option<String>,
    /// Alarms that were lost for want of room, ever.
    #[serde(default)]
    pub alarms_dropped: u64,
    /// Alarms that were over the rate of their rule, since the agent's start.
    #[serde(default)]
    pub alarms_suppressed: u64,
}

/// A fault of the agent itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Trouble {
    /// Stable word.
    pub code: String,
    pub message: String,
}

impl Trouble {
    /// `code: words`, bounded and on one line, as the faults of deployments are kept.
    pub fn line(&self) -> String {
        let plain = |text: &str, most: usize| text.chars().filter(|c| !c.is_control()).take(most).collect::<String>();
        format!("{}: {}", plain(&self.code, 60), plain(&self.message, 300))
    }
}

/// Figures of an app on the node. Counts are since the agent's start.
#[derive(Debug, Deserialize)]
pub struct AppFigures {
    pub deployment_id: String,
    /// Version of the release that these figures are of.
    #[serde(default)]
    pub version: String,
    /// `installed` where the app runs.
    pub state: String,
    pub inferences: u64,
    /// Failed inferences.
    #[serde(default)]
    pub errors: u64,
    /// Median latency; none before the first inference.
    #[serde(default)]
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    #[serde(default)]
    pub p95_ms: Option<f64>,
    /// Resident memory of its process.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Restarts of its process.
    #[serde(default)]
    pub restarts: u64,
}

/// An alarm as reported.
#[derive(Debug, Deserialize)]
pub struct AlarmReport {
    pub deployment_id: String,
    /// Release that raised it.
    pub digest: Digest,
    /// Slug of the rule.
    pub rule: String,
    pub level: Level,
    pub text: BothTexts,
    /// What the app saw, JSON as it is stored.
    #[serde(default = "no_result", deserialize_with = "stored_result")]
    pub result: String,
}

pub(super) fn no_result() -> String {
    "{}".to_owned()
}

fn stored_result<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(result(<&RawValue>::deserialize(input)?.get()))
}

/// A text in both languages.
#[derive(Debug, Deserialize)]
pub struct BothTexts {
    #[serde(default)]
    pub zh: String,
    #[serde(default)]
    pub en: String,
}

/// A node's time as it is stored: now, where the node's is ahead by more than [`AHEAD`].
pub fn moment(at: DateTime<Utc>, now: Timestamp) -> Timestamp {
    let at = Timestamp::new(at);
    if at > now.plus(AHEAD) { now } else { at }
}

/// Whether nobody will tell any more of an alarm that goes on: its node has been heard long after it should have told of it. A node that lost
/// its disk does not know what was open.
pub fn is_forgotten(raised_at: Timestamp, last_at: Timestamp, heard_at: Timestamp) -> bool {
    let age = last_at.utc() - raised_at.utc();
    heard_at > last_at.plus(age / 2 + SILENT)
}

/// The latest last word from before which an alarm may be forgotten.
pub fn forgotten_before(now: Timestamp) -> Timestamp {
    now.minus(SILENT)
}

/// A count as the database stores it.
pub fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A figure limited to 0 up to `max`; JSON has no NaN, but it has 1e300.
pub fn figure(value: f64, max: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, max) } else { 0.0 }
}

/// A text of an alarm, without control characters, cut where it is too long: an alarm is never lost for its length.
pub fn text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// The result as it is stored: `{}` where it is too large, too deep or no object.
fn result(text: &str) -> String {
    let value = Some(text).filter(|text| text.len() <= MAX_RESULT).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let kept = value.filter(|value| value.is_object() && depth(value) <= MAX_DEPTH).map(|value| value.to_string());
    kept.filter(|text| text.len() <= MAX_RESULT).unwrap_or_else(no_result)
}

/// What an alarm counts in the rates: one, and one more for each 4 KiB of its result.
pub fn cost(result: &str) -> u32 {
    u32::try_from(result.len() / 4096).unwrap_or(u32::MAX).saturating_add(1)
}

/// Levels of nesting. The JSON parser has bounded the recursion.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether a rule's name is a slug.
pub fn is_rule(rule: &str) -> bool {
    !rule.is_empty() && rule.len() <= 100 && rule.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A sample of a node.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::node_samples)]
pub struct NodeSample {
    pub node_id: String,
    pub at: Timestamp,
    /// Load of the processor.
    pub cpu_percent: f64,
    /// Memory in use.
    pub memory_used_bytes: i64,
    /// Memory in all.
    pub memory_total_bytes: i64,
}

/// A sample of an app on a node.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::app_samples)]
pub struct AppSample {
    pub deployment_id: String,
    pub at: Timestamp,
    /// Inferences since the agent's start.
    pub inferences: i64,
    /// Failed inferences.
    pub errors: i64,
    /// Median latency.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// Resident memory.
    pub memory_bytes: i64,
    /// Restarts of the process.
    pub restarts: i64,
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::alarms)]
pub struct Alarm {
    /// `alm_…`; ids are in the order in which alarms came in.
    pub id: String,
    pub organization_id: String,
    pub node_id: String,
    pub deployment_id: String,
    /// Digest of the release that raised it.
    pub release_digest: String,
    /// Slug of the rule.
    pub rule: String,
    pub level: Level,
    /// Text in Chinese.
    pub text_zh: String,
    /// Text in English.
    pub text_en: String,
    /// What the app saw, JSON.
    pub result: String,
    /// SHA-256 of the report, hex: recognises a report that is sent again.
    pub report_hash: String,
    /// Time of the alarm by the node's clock.
    pub raised_at: Timestamp,
    /// Time of receipt by the platform's clock.
    pub received_at: Timestamp,
    /// The node's name of the episode; none of an agent from before.
    pub episode: Option<String>,
    /// Camera or sensor; empty where the node was told of none.
    pub source: String,
    /// The last frame that had it.
    pub last_at: Timestamp,
    /// When it was over; none while it goes on.
    pub ended_at: Option<Timestamp>,
    /// Frames that had it.
    pub count: i64,
    /// It was more than [`LATE`] old when it came.
    pub late: bool,
    /// When by the node's clock, where that is off by more than [`OFF`].
    pub node_at: Option<Timestamp>,
    /// What raised it beside the release, JSON: `version`, `parameters`, `place`.
    pub origin: String,
}

/// An alarm with the names that a page shows.
#[derive(Debug, Clone, Queryable)]
pub struct AlarmLine {
    pub alarm: Alarm,
    pub node: String,
    pub site: String,
    /// Title of the app in Chinese.
    pub app_zh: String,
    /// Title of the app in English.
    pub app_en: String,
    /// Slug of the app's developer.
    pub vendor: String,
    /// Slug of the app.
    pub app: String,
}
