//! `GET /v1/apps` and `POST /v1/apps/{app}/predict`: a picture, CSV or WAV in, results and alarms out.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::pipeline::Drawn;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::body;
use super::{ApiError, Shared, infer};
use crate::agent::Agent;
use crate::alarms::{self, Raised};
use crate::apps::Running;
use crate::pictures::{self, Shot};
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
    let Query { scene, source } = query(&request)?;
    let scene = drawn(scene.as_deref(), &running)?;
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
    let raised = raise(&agent, &running, &source, &output, Duration::ZERO).await;
    pictures::take(&agent, &running, raised.begun, Shot { size: None, bytes: Bytes::from_owner(input) });
    answer.extend(raised.told);
    answer.extend(output);
    Ok(HttpResponse::Ok().json(answer))
}

/// As [`alarms::raise`], beside the thread that serves.
pub(crate) async fn raise(
    agent: &Arc<Agent>,
    running: &Arc<Running>,
    source: &str,
    output: &Map<String, Value>,
    pause: Duration,
) -> Raised {
    if alarms::is_quiet(agent, running, source, output) {
        return Raised::default();
    }
    let (keeper, running, source, output) = (agent.clone(), running.clone(), source.to_owned(), output.clone());
    let raised = tokio::task::spawn_blocking(move || alarms::raise(&keeper, &running, &source, &output, pause)).await;
    let cancelled = || Map::from_iter([("alarm_fault".to_owned(), json!("cancelled"))]);
    raised.unwrap_or_else(|_| Raised { told: cancelled(), begun: Vec::new() })
}

/// Longest name of a source.
const MAX_SOURCE: usize = 64;

#[derive(Default, Deserialize)]
struct Query {
    /// JSON of [`Drawn`].
    scene: Option<String>,
    /// Name of the camera or sensor that the input is of: alarms of one source are told apart from those of others.
    #[serde(default)]
    source: String,
}

/// What the address says of the input. Codes `scene-invalid`, `source-invalid`.
fn query(request: &HttpRequest) -> Result<Query, ApiError> {
    let query = web::Query::<Query>::from_query(request.query_string()).map_err(|e| ApiError::bad("scene-invalid", e.to_string()))?;
    let named = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if query.source.chars().count() > MAX_SOURCE || !query.source.chars().all(named) {
        let why = format!("a source has at most {MAX_SOURCE} letters, digits, hyphens, points and underscores");
        return Err(ApiError::bad("source-invalid", why));
    }
    Ok(query.into_inner())
}

/// What is drawn in the picture that comes. Code `scene-invalid`.
fn drawn(scene: Option<&str>, running: &Running) -> Result<Drawn, ApiError> {
    let Some(text) = scene else { return Ok(Drawn::default()) };
    let drawn: Drawn = serde_json::from_str(text).map_err(|e| ApiError::bad("scene-invalid", e.to_string()))?;
    match running.manifest.scene.refusal(&drawn) {
        Some(why) => Err(ApiError::bad("scene-invalid", why)),
        None => Ok(drawn),
    }
}
