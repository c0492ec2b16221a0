//! What can happen in a clip, in the words that results and truths share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;

/// The way over a line, as seen along it from A to B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From left to right.
    In,
    /// From right to left.
    Out,
}

/// How a procedure stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcedureState {
    /// It did not begin.
    #[default]
    Idle,
    /// It goes on, in order and in time so far.
    Running,
    /// All that had to be done was done, in order and in time.
    Done,
    /// It took too long.
    Late,
    /// A step was done before one that had to be done first.
    OutOfOrder,
    /// It was over before all was done.
    Abandoned,
}

impl ProcedureState {
    /// All states that there are.
    pub const ALL: [Self; 6] = [Self::Idle, Self::Running, Self::Done, Self::Late, Self::OutOfOrder, Self::Abandoned];

    /// The word in results and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Done => "done",
            Self::Late => "late",
            Self::OutOfOrder => "out-of-order",
            Self::Abandoned => "abandoned",
        }
    }
}

/// How often a line was crossed each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Crossings {
    /// To the right of the way from A to B.
    #[serde(rename = "in")]
    pub inward: u32,
    /// To the left of it.
    #[serde(rename = "out")]
    pub outward: u32,
}

/// Something that really happened in a clip, as a person notes it. Exactly one of `rule`, `zone`, `line` and `procedure` says what it is; an
/// alarm of a rule for each zone may tell its zone, too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TruthEvent {
    /// An alarm of this rule should have been raised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rule: Option<String>,
    /// Somebody stayed in this zone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub zone: Option<String>,
    /// This line was crossed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub line: Option<String>,
    /// This procedure took place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub procedure: Option<String>,
    /// Who stayed or crossed; anybody where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub label: Option<String>,
    /// Which way the line was crossed; any where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub direction: Option<Direction>,
    /// How the procedure ended; any way where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub state: Option<ProcedureState>,
    /// Seconds from the beginning of the clip.
    pub begin: f64,
    /// Seconds from the beginning of the clip; where absent a line was crossed at once, and all else goes on at the clip's end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: Option<f64>,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// An alarm.
    Rule,
    /// A stay.
    Zone,
    /// A crossing.
    Line,
    /// Steps that people do.
    Procedure,
}

impl EventKind {
    /// The kind of an event with its name, out of what an event may name; none where it names nothing.
    pub fn of([rule, zone, line, procedure]: [Option<&str>; 4]) -> Option<(Self, &str)> {
        let named = [(Self::Rule, rule), (Self::Procedure, procedure), (Self::Line, line), (Self::Zone, zone)];
        named.into_iter().find_map(|(kind, name)| Some((kind, name?)))
    }
}

impl TruthEvent {
    /// What it is about.
    pub fn what(&self) -> Option<(EventKind, &str)> {
        EventKind::of([self.rule.as_deref(), self.zone.as_deref(), self.line.as_deref(), self.procedure.as_deref()])
    }

    /// What is wrong with it whatever the clip: `truth-event-what` (it names nothing, or too much), `truth-event-times` (no finite times from 0, or
    /// it ends before it begins).
    pub fn fault(&self) -> Option<&'static str> {
        let named = [&self.rule, &self.zone, &self.line, &self.procedure].into_iter().flatten().count();
        let what = match self.what() {
            Some((EventKind::Rule, _)) => named == 1 + usize::from(self.zone.is_some()) && self.label.is_none(),
            Some((EventKind::Procedure, _)) => named == 1 && self.label.is_none(),
            Some((EventKind::Zone | EventKind::Line, _)) => named == 1,
            None => false,
        };
        let more = (self.direction.is_none() || self.line.is_some()) && (self.state.is_none() || self.procedure.is_some());
        let ends = self.end.is_none_or(|end| end.is_finite() && end >= self.begin);
        if !what || !more {
            Some("truth-event-what")
        } else if !self.begin.is_finite() || self.begin < 0.0 || !ends {
            Some("truth-event-times")
        } else {
            None
        }
    }
}

/// Of each line how often it was really crossed.
pub type TrueCrossings = BTreeMap<String, Crossings>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_one_thing_and_when() {
        let fault = |json: &str| serde_json::from_str::<TruthEvent>(json).unwrap().fault();
        for good in [
            r#"{"zone": "a", "label": "person", "begin": 0, "end": 0}"#,
            r#"{"line": "a", "direction": "in", "begin": 1.5}"#,
            r#"{"rule": "a", "zone": "b", "begin": 1.5}"#,
            r#"{"procedure": "a", "state": "out-of-order", "begin": 1.5, "end": 3}"#,
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            r#"{"begin": 1}"#,
            r#"{"zone": "a", "line": "b", "begin": 1}"#,
            r#"{"rule": "a", "line": "b", "begin": 1}"#,
            r#"{"rule": "a", "label": "person", "begin": 1}"#,
            r#"{"zone": "a", "direction": "in", "begin": 1}"#,
            r#"{"line": "a", "state": "done", "begin": 1}"#,
            r#"{"procedure": "a", "label": "person", "begin": 1}"#,
        ] {
            assert_eq!(fault(bad), Some("truth-event-what"), "{bad}");
        }
        for bad in [r#"{"zone": "a", "begin": -0.1}"#, r#"{"zone": "a", "begin": 2, "end": 1.9}"#] {
            assert_eq!(fault(bad), Some("truth-event-times"), "{bad}");
        }
        let endless = TruthEvent { zone: Some("a".into()), begin: 1.0, end: Some(f64::NAN), ..TruthEvent::default() };
        assert_eq!(
            (endless.fault(), TruthEvent { begin: f64::INFINITY, ..endless }.fault()),
            (Some("truth-event-times"), Some("truth-event-times"))
        );
        assert!(serde_json::from_str::<TruthEvent>(r#"{"zone": "a"}"#).is_err(), "when it begins must be told");
    }

    #[test]
    fn words_are_those_of_results() {
        for state in ProcedureState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
