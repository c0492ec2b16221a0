//! From a result to what the control room hears: each rule that fired belongs to an episode, and what is new of it goes to the outbox.

use std::time::Duration;

use app_package::pipeline::AlarmLevel;
use chrono::{DateTime, Utc};
use inference::evidence::Object;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::apps::Running;
use crate::episodes::{GoesOn, Seen};
use crate::fault::Fault;
use crate::outbox::{Kept, level_of};
use crate::pictures::Begun;

/// What became of the alarms of a result.
#[derive(Default)]
pub struct Raised {
    /// For the caller: `alarm_episodes`, to which they belong, and in `alarm_fault` why one is not on disk, first of all why one is lost; nothing
    /// where there are no alarms.
    pub told: Map<String, Value>,
    /// Those that begin.
    pub begun: Vec<Begun>,
}

/// Most objects of a frame that its picture minds.
const MAX_OBJECTS: usize = 200;

/// Takes the alarms of a result that an app gave for a frame of a source (empty: of none), which is asked again after `pause`. What is new is on
/// disk when it returns. Blocking.
pub fn raise(agent: &Agent, running: &Running, source: &str, output: &Map<String, Value>, pause: Duration) -> Raised {
    let alarms = items(output, "alarms");
    // An answer to a frame of a camera names it; what rules of moving pictures find there is told as it begins and ends.
    let live = output.contains_key("source");
    let now = agent.clock.now();
    if live {
        let ended = items(output, "events").iter().filter(|event| event.get("end").is_some());
        let rules: Vec<&str> = ended.filter_map(|event| event.get("rule")?.as_str()).collect();
        for record in agent.episodes.frame(&running.wanted.id, source, &rules, began_anew(output), now) {
            if let Err(fault) = tell(agent, record, now) {
                tracing::error!(%fault, "what goes on could not be stored");
            }
        }
    }
    if alarms.is_empty() {
        return Raised::default();
    }
    let (mut outcomes, mut begun) = (Vec::new(), Vec::new());
    for alarm in alarms {
        let body = body(running, alarm, output);
        let level = level_of(&body);
        let goes_on = match alarm.get("at").and_then(Value::as_f64) {
            Some(_) if live => GoesOn::UntilTold,
            Some(second) => GoesOn::InClip(second),
            None => GoesOn::WhileSeen(pause),
        };
        let seen = agent.episodes.seen(source, body, (level == AlarmLevel::Critical, goes_on), now);
        if let Seen::Episode(episode, Some(record)) = &seen
            && record.get("phase").and_then(Value::as_str) == Some("begin")
        {
            let at = if let GoesOn::InClip(second) = goes_on { Some(second) } else { None };
            begun.push(Begun { episode: episode.clone(), level, at, objects: objects(record.get("result")) });
        }
        outcomes.push(keep(agent, seen, now));
    }
    Raised { told: told(outcomes), begun }
}

/// What was found in the frame of a record.
fn objects(result: Option<&Value>) -> Vec<Object> {
    let found = result.and_then(|result| result.get("detections")).and_then(Value::as_array);
    found.into_iter().flatten().take(MAX_OBJECTS).filter_map(|one| Object::deserialize(one).ok()).collect()
}

/// What the app's process says, beside its answer to a frame, where it has begun anew with the source. It is for [`raise`], and no caller's.
pub const ANEW: &str = "anew";

fn began_anew(output: &Map<String, Value>) -> bool {
    output.get(ANEW).and_then(Value::as_bool) == Some(true)
}

/// Whether an answer has nothing for [`raise`].
pub fn is_quiet(agent: &Agent, running: &Running, source: &str, output: &Map<String, Value>) -> bool {
    items(output, "alarms").is_empty() && !(output.contains_key("source") && agent.episodes.is_open(&running.wanted.id, source))
}

fn items<'a>(output: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    output.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn keep(agent: &Agent, seen: Seen, now: DateTime<Utc>) -> Outcome {
    match seen {
        Seen::Suppressed => Outcome::Suppressed,
        Seen::Episode(id, None) => Outcome::Known(id),
        Seen::Episode(id, Some(record)) => match tell(agent, record, now) {
            Ok(Kept::OnDisk) => Outcome::Known(id),
            Ok(Kept::InMemory(fault)) => Outcome::Held(id, fault),
            Err(fault) => Outcome::Lost(fault),
        },
    }
}

fn tell(agent: &Agent, record: Map<String, Value>, now: DateTime<Utc>) -> Result<Kept, Fault> {
    agent.outbox.alarm(now, agent.clock.state(), record)
}

/// Tells of the episodes that are over. Blocking.
pub fn end(agent: &Agent) {
    let now = agent.clock.now();
    for record in agent.episodes.over(now) {
        if let Err(fault) = tell(agent, record, now) {
            tracing::error!(%fault, "the end of an alarm could not be stored");
        }
    }
}

/// What became of an alarm.
enum Outcome {
    /// Its episode is told of, or was before.
    Known(String),
    /// In memory only.
    Held(String, Fault),
    /// Its rule began too many.
    Suppressed,
    Lost(Fault),
}

/// What became of the alarms. The caller gets the alarms themselves in any case.
fn told(outcomes: impl IntoIterator<Item = Outcome>) -> Map<String, Value> {
    let (mut episodes, mut lost, mut held) = (Vec::new(), None, None);
    for outcome in outcomes {
        match outcome {
            Outcome::Known(id) => episodes.push(id),
            Outcome::Held(id, fault) => {
                episodes.push(id);
                held = held.or(Some(fault.code));
            }
            Outcome::Suppressed => held = held.or(Some("alarm-rate".into())),
            Outcome::Lost(fault) => {
                tracing::error!(%fault, "an alarm could not be stored");
                lost = lost.or(Some(fault.code));
            }
        }
    }
    episodes.dedup();
    let mut told = Map::from_iter([("alarm_episodes".to_owned(), json!(episodes))]);
    if let Some(code) = lost.or(held) {
        told.insert("alarm_fault".to_owned(), json!(code));
    }
    told
}

/// What a record says of an alarm, with what raised it.
fn body(running: &Running, alarm: &Value, output: &Map<String, Value>) -> Map<String, Value> {
    let field = |key: &str| alarm.get(key).cloned().unwrap_or(Value::Null);
    let wanted = &running.wanted;
    let origin = json!({ "version": wanted.release.version, "parameters": running.values, "place": wanted.place });
    Map::from_iter([
        ("deployment_id".to_owned(), json!(wanted.id)),
        ("app".to_owned(), json!(wanted.app())),
        ("version".to_owned(), json!(wanted.release.version)),
        ("digest".to_owned(), json!(wanted.release.digest)),
        ("rule".to_owned(), field("rule")),
        ("level".to_owned(), field("level")),
        ("text".to_owned(), field("text")),
        ("origin".to_owned(), origin),
        ("result".to_owned(), seen(alarm, output)),
    ])
}

/// What a record shows: the result, or of a clip that of the frame in which the alarm began, with its second and what was counted in all.
fn seen(alarm: &Value, output: &Map<String, Value>) -> Value {
    let (Some(frame), Some(at)) = (alarm.get("frame").and_then(Value::as_object), alarm.get("at")) else { return without_masks(output) };
    let mut seen = frame.clone();
    seen.insert("at".to_owned(), at.clone());
    for key in ["counts", "source", "time", "size", "doubtful"] {
        seen.extend(output.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    Value::Object(seen)
}

/// A result for a record: masks are the most of it, and an alarm whose result is too large would go without any.
fn without_masks(output: &Map<String, Value>) -> Value {
    let mut result = output.clone();
    result.remove(ANEW);
    for detection in result.get_mut("detections").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = detection.as_object_mut() {
            fields.remove("mask");
        }
    }
    Value::Object(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_clip_shows_the_frame_in_which_the_alarm_began() {
        let mut output = json!({
            "detections": [{"label": "last", "mask": {"size": [1, 1], "counts": [0, 1]}}], "events": [{"rule": "inside", "begin": 3.8}],
            "counts": {"tracks": {"person": 1}},
            "alarms": [{"rule": "inside", "at": 3.8, "frame": {"detections": [{"label": "person", "track": 1}]}}],
        });
        let shown = |output: &Value| seen(&output["alarms"][0], output.as_object().unwrap());
        let first = json!({"detections": [{"label": "person", "track": 1}], "at": 3.8, "counts": {"tracks": {"person": 1}}});
        assert_eq!(shown(&output), first);
        // Of a picture all is told, without masks.
        output["alarms"][0] = json!({"rule": "inside"});
        output["anew"] = json!(true);
        assert!(began_anew(output.as_object().unwrap()));
        let whole = shown(&output);
        assert_eq!((&whole["detections"], &whole["events"]), (&json!([{"label": "last"}]), &output["events"]));
        assert!(whole.get("anew").is_none());
    }

    #[test]
    fn what_is_lost_is_told_before_what_waits() {
        let fault = |code| Fault::new(code, "store", "");
        let known = || Outcome::Known("e1".into());
        let all = [known(), known(), Outcome::Held("e2".into(), fault("disk-full")), Outcome::Suppressed];
        assert_eq!(Value::Object(told(all.into_iter())), json!({ "alarm_episodes": ["e1", "e2"], "alarm_fault": "disk-full" }));
        assert_eq!(told([Outcome::Suppressed, Outcome::Lost(fault("cancelled"))].into_iter())["alarm_fault"], "cancelled");
        assert_eq!(Value::Object(told([known()].into_iter())), json!({ "alarm_episodes": ["e1"] }));
    }
}
