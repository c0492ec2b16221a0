//! A report in the queue, and a line of its file.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault::Fault;

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
pub(super) enum Line {
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

pub(super) struct Waiting {
    pub(super) sequence: u64,
    pub(super) kind: Kind,
    /// A critical alarm.
    pub(super) critical: bool,
    /// Deployment and rule of an alarm; empty for heartbeats.
    pub(super) rule: String,
    /// Whether it is in the file.
    pub(super) stored: bool,
    /// The report as sent, JSON text.
    pub(super) text: String,
}

impl Waiting {
    pub(super) fn of(sequence: u64, kind: Kind, stored: bool, report: &Value) -> Self {
        let alarm = report.as_object().filter(|_| kind == Kind::Alarm);
        let (critical, rule) = (alarm.is_some_and(is_critical), alarm.map(rule_of).unwrap_or_default());
        Self { sequence, kind, critical, rule, stored, text: report.to_string() }
    }
}

pub(super) fn is_critical(alarm: &Map<String, Value>) -> bool {
    alarm.get("level").and_then(Value::as_str) == Some("critical")
}

/// Deployment and rule of an alarm.
pub(super) fn rule_of(report: &Map<String, Value>) -> String {
    let field = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", field("deployment_id"), field("rule"))
}

/// A line with its end.
pub(super) fn line(value: &Line) -> Result<Vec<u8>, Fault> {
    let mut bytes = serde_json::to_vec(value).map_err(|e| Fault::new("report-invalid", "state", e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
