//! `GET /v1/apps` and `POST /v1/apps/{app}/predict`: a picture or CSV in, results and alarms out.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::body::body;
use super::{ApiError, Shared, infer};
use crate::apps::Running;
use crate::outbox::{Kept, Kind};
use crate::wire::Request;

/// `GET /v1/apps`: the apps that run.
pub(super) async fn list(agent: Shared) -> HttpResponse {
    let apps: Vec<Value> = agent.apps.all().iter().map(|running| describe(running)).collect();
    HttpResponse::Ok().json(json!({ "apps": apps }))
}

fn describe(running: &Running) -> Value {
    let wanted = &running.wanted;
    json!({
        "deployment_id": wanted.id,
        "app": wanted.app(),
        "name": wanted.slug(),
        "version": wanted.release.version,
        "digest": wanted.release.digest,
        "title": running.manifest.title,
        "input": running.manifest.input,
        "model": running.model().map(|m| &m.name),
        "safety": running.manifest.safety,
        "place": wanted.place,
        "license": running.warning().unwrap_or("valid"),
        "recalled": wanted.recalled,
        "ready": running.process.pid().is_some(),
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
    let input = body(&request, payload).await?;
    if input.bytes.is_empty() {
        return Err(ApiError::bad("body-empty", "send the picture or the CSV as the body"));
    }
    let request = Request::Predict { params: running.values.clone(), place: running.wanted.place.clone() };
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
    if let Some(alarms) = output.get("alarms").and_then(Value::as_array).filter(|a| !a.is_empty()) {
        let reports: Vec<_> = alarms.iter().map(|alarm| report(&running, alarm, &output)).collect();
        let keeper = agent.clone();
        let at = agent.clock.now();
        let stored =
            web::block(move || reports.into_iter().map(|r| keeper.outbox.push(Kind::Alarm, at, r)).collect::<Result<Vec<_>, _>>()).await;
        match stored {
            Ok(Ok(kept)) => {
                let sequences: Vec<u64> = kept
                    .iter()
                    .filter_map(|kept| match kept {
                        Kept::Stored(sequence) | Kept::InMemory(sequence, _) => Some(*sequence),
                        Kept::Suppressed => None,
                    })
                    .collect();
                answer.insert("alarm_sequences".to_owned(), json!(sequences));
                let fault = kept.iter().find_map(|kept| match kept {
                    Kept::Stored(_) => None,
                    Kept::InMemory(_, fault) => Some(fault.code.clone()),
                    Kept::Suppressed => Some("alarm-rate".into()),
                });
                if let Some(code) = fault {
                    answer.insert("alarm_fault".to_owned(), json!(code));
                }
            }
            // The caller gets the alarm in any case; `alarm_fault` tells why it could not be stored.
            Ok(Err(fault)) => {
                tracing::error!(%fault, "an alarm could not be stored");
                answer.insert("alarm_fault".to_owned(), json!(fault.code));
            }
            Err(e) => tracing::error!(error = %e, "an alarm could not be stored"),
        }
    }
    answer.extend(output);
    Ok(HttpResponse::Ok().json(answer))
}

fn report(running: &Running, alarm: &Value, output: &Map<String, Value>) -> Map<String, Value> {
    let field = |key: &str| alarm.get(key).cloned().unwrap_or(Value::Null);
    Map::from_iter([
        ("deployment_id".to_owned(), json!(running.wanted.id)),
        ("app".to_owned(), json!(running.wanted.app())),
        ("version".to_owned(), json!(running.wanted.release.version)),
        ("digest".to_owned(), json!(running.wanted.release.digest)),
        ("rule".to_owned(), field("rule")),
        ("level".to_owned(), field("level")),
        ("text".to_owned(), field("text")),
        ("result".to_owned(), json!(output)),
    ])
}
