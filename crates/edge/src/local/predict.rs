//! `GET /v1/apps` and `POST /v1/apps/{app}/predict`: a picture, CSV or WAV in, results and alarms out.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::pipeline::Drawn;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::body;
use super::{ApiError, Shared, infer};
use crate::agent::Agent;
use crate::apps::Running;
use crate::fault::Fault;
use crate::outbox::{Kept, Kind, Outbox};
use crate::providers::passed_over;
use crate::wire::Request;

/// `GET /v1/apps`: the apps that run.
pub(super) async fn list(agent: Shared) -> HttpResponse {
    let apps: Vec<Value> = agent.apps.all().iter().map(|running| describe(&agent, running)).collect();
    HttpResponse::Ok().json(json!({ "apps": apps }))
}

fn describe(agent: &Agent, running: &Running) -> Value {
    let wanted = &running.wanted;
    let over = passed_over(agent, running);
    let over = over.iter().map(|(name, fault)| json!({ "name": name, "code": fault.code, "message": fault.message }));
    json!({
        "deployment_id": wanted.id,
        "app": wanted.app(),
        "name": wanted.slug(),
        "version": wanted.release.version,
        "digest": wanted.release.digest,
        "title": running.manifest.title,
        "input": running.manifest.input,
        "model": running.models.first().map(|m| &m.name),
        "models": running.models.iter().map(|m| &m.name).collect::<Vec<_>>(),
        "safety": running.manifest.safety,
        "place": wanted.place,
        "license": running.warning().unwrap_or("valid"),
        "recalled": wanted.recalled,
        "ready": running.process.pid().is_some(),
        "provider": running.process.provider(),
        "passed_over": over.collect::<Vec<_>>(),
    })
}

/// `POST /v1/apps/{app}/predict`: one input through an app. Alarms are on disk before the answer is given.
pub(super) async fn predict(
    request: HttpRequest,
    agent: Shared,
    path: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let name = path.into_inner();
    let running = agent.apps.find(&name).ok_or_else(|| {
        if agent.starting_app(&name) {
            return ApiError::starting(&name);
        }
        ApiError::new(StatusCode::NOT_FOUND, "app-not-running", format!("no app {name:?} runs here"))
    })?;
    let scene = drawn(&request, &running)?;
    let input = body(&request, payload).await?;
    if input.bytes.is_empty() {
        return Err(ApiError::bad("body-empty", "send the picture, the clip, the CSV or the WAV as the body"));
    }
    let request = Request::Predict { params: running.values.clone(), place: running.wanted.place.clone(), scene };
    let ((_, output), took) = infer(&running, &request, &input.bytes).await?;
    let output: Map<String, Value> =
        serde_json::from_slice(&output).map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine-failed", e.to_string()))?;
    let mut answer = Map::from_iter([
        ("deployment_id".to_owned(), json!(running.wanted.id)),
        ("app".to_owned(), json!(running.wanted.app())),
        ("version".to_owned(), json!(running.wanted.release.version)),
        ("digest".to_owned(), json!(running.wanted.release.digest)),
        ("latency_ms".to_owned(), json!((took.as_secs_f64() * 1e6).round() / 1e3)),
    ]);
    if let Some(warning) = running.warning() {
        answer.insert("license_warning".to_owned(), json!(warning));
    }
    answer.extend(raise(&agent, &running, &output).await);
    answer.extend(output);
    Ok(HttpResponse::Ok().json(answer))
}

/// Puts the alarms of an answer on disk, to be sent; what became of them, for the answer. With the source where it is one's.
pub(crate) async fn raise(agent: &Arc<Agent>, running: &Running, output: &Map<String, Value>) -> Map<String, Value> {
    let Some(alarms) = output.get("alarms").and_then(Value::as_array).filter(|a| !a.is_empty()) else { return Map::new() };
    let reports: Vec<_> = alarms.iter().map(|alarm| report(running, alarm, output)).collect();
    let (keeper, at) = (agent.clone(), agent.clock.now());
    let stored = tokio::task::spawn_blocking(move || keep(&keeper.outbox, at, reports)).await;
    told(&stored.unwrap_or_else(|e| vec![Err(Fault::new("cancelled", "store", e.to_string()))]))
}

#[derive(Default, Deserialize)]
struct Query {
    /// JSON of [`Drawn`].
    scene: Option<String>,
}

/// What is drawn in the picture that comes. Code `scene-invalid`.
fn drawn(request: &HttpRequest, running: &Running) -> Result<Drawn, ApiError> {
    let query = web::Query::<Query>::from_query(request.query_string()).map_err(|e| ApiError::bad("scene-invalid", e.to_string()))?;
    let Some(text) = &query.scene else { return Ok(Drawn::default()) };
    let drawn: Drawn = serde_json::from_str(text).map_err(|e| ApiError::bad("scene-invalid", e.to_string()))?;
    match running.manifest.scene.refusal(&drawn) {
        Some(why) => Err(ApiError::bad("scene-invalid", why)),
        None => Ok(drawn),
    }
}

/// Keeps each alarm, whatever becomes of the others.
fn keep(outbox: &Outbox, at: DateTime<Utc>, reports: Vec<Map<String, Value>>) -> Vec<Result<Kept, Fault>> {
    reports.into_iter().map(|report| outbox.push(Kind::Alarm, at, report)).collect()
}

/// What became of the alarms: the numbers of those that are kept, and why one is not on disk, first of all why one is lost. The caller gets
/// the alarms themselves in any case.
fn told(stored: &[Result<Kept, Fault>]) -> Map<String, Value> {
    let (mut sequences, mut lost, mut held) = (Vec::new(), None, None);
    for outcome in stored {
        match outcome {
            Ok(Kept::Stored(sequence)) => sequences.push(*sequence),
            Ok(Kept::InMemory(sequence, fault)) => {
                sequences.push(*sequence);
                held = held.or(Some(&*fault.code));
            }
            Ok(Kept::Suppressed) => held = held.or(Some("alarm-rate")),
            Err(fault) => {
                tracing::error!(%fault, "an alarm could not be stored");
                lost = lost.or(Some(&*fault.code));
            }
        }
    }
    let mut told = Map::from_iter([("alarm_sequences".to_owned(), json!(sequences))]);
    if let Some(code) = lost.or(held) {
        told.insert("alarm_fault".to_owned(), json!(code));
    }
    told
}

fn report(running: &Running, alarm: &Value, output: &Map<String, Value>) -> Map<String, Value> {
    let field = |key: &str| alarm.get(key).cloned().unwrap_or(Value::Null);
    let mut report = Map::from_iter([
        ("deployment_id".to_owned(), json!(running.wanted.id)),
        ("app".to_owned(), json!(running.wanted.app())),
        ("version".to_owned(), json!(running.wanted.release.version)),
        ("digest".to_owned(), json!(running.wanted.release.digest)),
        ("rule".to_owned(), field("rule")),
        ("level".to_owned(), field("level")),
        ("text".to_owned(), field("text")),
        ("result".to_owned(), seen(alarm, output)),
    ]);
    report.extend(output.get("source").map(|source| ("source".to_owned(), source.clone())));
    report
}

/// What a report shows: the result, or of a clip that of the frame in which the alarm began, with its second and what was counted in all.
fn seen(alarm: &Value, output: &Map<String, Value>) -> Value {
    let (Some(frame), Some(at)) = (alarm.get("frame").and_then(Value::as_object), alarm.get("at")) else { return without_masks(output) };
    let mut seen = frame.clone();
    seen.insert("at".to_owned(), at.clone());
    for key in ["counts", "source", "time"] {
        seen.extend(output.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    Value::Object(seen)
}

/// A result for a report: masks are the most of it, and an alarm whose result is too large would go without any.
fn without_masks(output: &Map<String, Value>) -> Value {
    let mut result = output.clone();
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
    use crate::testing::Scratch;

    #[test]
    fn an_alarm_that_is_too_large_keeps_no_other_from_the_disk() {
        let dir = Scratch::new();
        let outbox = Outbox::open(&dir.path().join("o")).unwrap();
        let alarm = |level: &str, text: String| Map::from_iter([("level".to_owned(), json!(level)), ("text".to_owned(), json!(text))]);
        let stored = keep(&outbox, Utc::now(), vec![alarm("warning", "x".repeat(1 << 20)), alarm("critical", "fire".into())]);
        assert_eq!(outbox.counts().alarms, 1);
        assert_eq!(Value::Object(told(&stored)), json!({ "alarm_sequences": [1], "alarm_fault": "report-too-large" }));
    }

    #[test]
    fn a_report_of_a_clip_shows_the_frame_in_which_the_alarm_began() {
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
        let whole = shown(&output);
        assert_eq!((&whole["detections"], &whole["events"]), (&json!([{"label": "last"}]), &output["events"]));
    }

    #[test]
    fn what_is_lost_is_told_before_what_waits() {
        let fault = |code| Fault::new(code, "store", "");
        let stored = [Ok(Kept::Stored(1)), Ok(Kept::InMemory(2, fault("disk-full"))), Ok(Kept::Suppressed)];
        assert_eq!(Value::Object(told(&stored)), json!({ "alarm_sequences": [1, 2], "alarm_fault": "disk-full" }));
        assert_eq!(told(&[Ok(Kept::Suppressed), Err(fault("cancelled"))])["alarm_fault"], "cancelled");
        assert_eq!(Value::Object(told(&[Ok(Kept::Stored(3))])), json!({ "alarm_sequences": [3] }));
    }
}
