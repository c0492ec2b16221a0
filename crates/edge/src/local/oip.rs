//! Open Inference Protocol v2 over HTTP, JSON and binary tensors.
//!
//! The protocol's clients send no content type, and expect errors as `{"error": …}` with any status but 200.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::body;
use super::question::{self, Asked, JSON_LENGTH};
use super::{ApiError, Shared};
use crate::apps::Running;
use crate::health;
use crate::health::Down;
use crate::tensor::Values;
use crate::wire::{Request, TensorHeader};

/// `GET /v2`
pub(super) async fn server() -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({ "name": "pithead-edge", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data", "statistics"] }))
}

/// `GET /v2/health/live`
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "live": true }))
}

/// `GET /v2/health/ready`: all that is wanted runs, but for what a recall keeps from starting and changes that have failed. `reasons` says what
/// does not run as it is wanted, and what else is wrong with the node.
pub(super) async fn ready(agent: Shared) -> HttpResponse {
    let down = health::down(&agent);
    let apps = down.iter().map(|app| json!({ "code": app.code, "deployment_id": app.deployment, "app": app.app }));
    let faults = health::faults(&agent).into_iter().map(|fault| json!({ "code": fault.code, "message": fault.message }));
    let reasons: Vec<Value> = apps.chain(faults).collect();
    let ready = !down.iter().any(Down::is_awaited);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = HttpResponse::build(status);
    if !ready {
        response.insert_header((header::RETRY_AFTER, "5"));
    }
    response.json(json!({ "ready": ready, "reasons": reasons }))
}

/// `POST /v2/repository/index`
pub(super) async fn index(agent: Shared) -> HttpResponse {
    let apps = agent.apps.all();
    let models = apps.iter().flat_map(|running| running.models.iter().map(move |model| (&model.name, running)));
    let entry = |(name, running): (&String, &std::sync::Arc<Running>)| {
        let mut entry = json!({ "name": name, "version": running.wanted.release.version, "state": "READY" });
        if let (Some(reason), Some(entry)) = (shared(&agent, name), entry.as_object_mut()) {
            entry.insert("reason".to_owned(), reason.into());
        }
        entry
    };
    HttpResponse::Ok().json(models.map(entry).collect::<Vec<_>>())
}

/// That a name is a model's of several apps, and which names mean one alone.
fn shared(agent: &Shared, model: &str) -> Option<String> {
    let names = agent.apps.shared(model);
    let first = names.first()?;
    Some(format!("{} apps have a model of this name, which means {first}; ask for {}", names.len(), names.join(", ")))
}

#[derive(Deserialize)]
pub(super) struct Address {
    model: String,
    version: Option<String>,
}

/// The deployment, and the place of the model among its own.
fn find(agent: &Shared, address: &Address) -> Result<(std::sync::Arc<Running>, usize), ApiError> {
    let unknown = || {
        if agent.starting_model(&address.model) {
            return ApiError::starting(&address.model);
        }
        ApiError::new(StatusCode::NOT_FOUND, "model-unknown", format!("no model {:?} runs here", address.model))
    };
    let (running, place) = agent.apps.find_model(&address.model).ok_or_else(unknown)?;
    match &address.version {
        Some(version) if *version != running.wanted.release.version.to_string() => {
            Err(ApiError::new(StatusCode::NOT_FOUND, "model-version-unknown", format!("version {version:?} does not run here")))
        }
        _ => Ok((running, place)),
    }
}

/// `GET /v2/models/{m}`
pub(super) async fn model(agent: Shared, address: web::Path<Address>) -> Result<HttpResponse, ApiError> {
    let (running, place) = find(&agent, &address)?;
    let tensors = |list: &[app_package::pipeline::Tensor]| json!(list);
    let (inputs, outputs) = running.models.get(place).map_or((json!([]), json!([])), |m| (tensors(&m.inputs), tensors(&m.outputs)));
    let mut metadata = json!({
        "name": address.model, "versions": [running.wanted.release.version], "platform": "onnxruntime_onnx",
        "inputs": inputs, "outputs": outputs,
    });
    if let (Some(warning), Some(metadata)) = (shared(&agent, &address.model), metadata.as_object_mut()) {
        metadata.insert("warning".to_owned(), warning.into());
    }
    Ok(HttpResponse::Ok().json(metadata))
}

/// `GET /v2/models/{m}/ready`
pub(super) async fn model_ready(agent: Shared, address: web::Path<Address>) -> Result<HttpResponse, ApiError> {
    let (running, _) = find(&agent, &address)?;
    if running.process.pid().is_none() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "app-restarting", "the app's process is being restarted"));
    }
    Ok(HttpResponse::Ok().json(json!({ "name": address.model, "ready": true })))
}

/// `GET /v2/models/{m}[/versions/{v}]/stats`, Triton's statistics extension as far as the agent counts.
pub(super) async fn statistics(agent: Shared, address: web::Path<Address>) -> Result<HttpResponse, ApiError> {
    let (running, _) = find(&agent, &address)?;
    Ok(HttpResponse::Ok().json(json!({ "model_stats": [counts(&address.model, &running)] })))
}

/// `GET /v2/models/stats`
pub(super) async fn all_statistics(agent: Shared) -> HttpResponse {
    let apps = agent.apps.all();
    let all: Vec<Value> = apps.iter().flat_map(|running| running.models.iter().map(|model| counts(&model.name, running))).collect();
    HttpResponse::Ok().json(json!({ "model_stats": all }))
}

fn counts(model: &str, running: &Running) -> Value {
    let stats = &running.stats;
    let duration = |count: &AtomicU64, ns: &AtomicU64| json!({ "count": count.load(Ordering::Relaxed), "ns": ns.load(Ordering::Relaxed) });
    let done = stats.inferences.load(Ordering::Relaxed);
    json!({
        "name": model, "version": running.wanted.release.version, "inference_count": done, "execution_count": done,
        "inference_stats": { "success": duration(&stats.inferences, &stats.done_ns), "fail": duration(&stats.errors, &stats.failed_ns) },
    })
}

/// `POST /v2/models/{m}[/versions/{v}]/infer`
pub(super) async fn infer(
    request: HttpRequest,
    agent: Shared,
    address: web::Path<Address>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (running, place) = find(&agent, &address)?;
    let length = request.headers().get(JSON_LENGTH).map(|value| value.to_str().unwrap_or_default().to_owned());
    let whole = body(&request, payload).await?;
    let (model, bytes) = (running.clone(), whole.bytes.clone());
    let read = move || question::read(model.models.get(place).map(|m| m.inputs.as_slice()), length.as_deref(), &bytes);
    let (asked, headers, bytes) = off_worker(whole.bytes.len(), read).await?;
    let model = running.models.get(place).map(|m| m.name.clone()).unwrap_or_default();
    let ((tensors, raw), _) = super::infer(&running, &Request::Infer { model, inputs: headers }, &bytes).await?;
    let name = address.into_inner().model;
    let version = running.wanted.release.version.to_string();
    let (length, bytes) = off_worker(raw.len(), move || answer(&asked, &name, &version, &tensors, &raw)).await?;
    let mut response = HttpResponse::Ok();
    match length {
        None => response.content_type("application/json"),
        Some(length) => response.insert_header((JSON_LENGTH, length.to_string())).content_type("application/octet-stream"),
    };
    Ok(response.body(bytes))
}

/// Questions and answers up to this size are read and written on the async worker.
const SMALL: usize = 64 * 1024;

/// Work on so many bytes, outside the async workers where they are many: parsing a body of 20 MB would hold up all other callers.
async fn off_worker<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, ApiError> {
    if bytes <= SMALL {
        return work();
    }
    let done = web::block(work).await;
    done.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "cancelled", e.to_string()))?
}

/// An answer as the protocol has it.
#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    shape: &'a [i64],
    datatype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Values<'a>>,
}

/// The answer to a question, out of the tensors that the app's process gave: the length of the JSON where binary tensors follow it, and all
/// its bytes.
fn answer(
    question: &Asked,
    model: &str,
    version: &str,
    tensors: &[TensorHeader],
    raw: &[u8],
) -> Result<(Option<usize>, Vec<u8>), ApiError> {
    if let Some(asked) = &question.outputs {
        let known: BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
        if let Some((unknown, _)) = asked.iter().find(|(name, _)| !known.contains(name.as_str())) {
            return Err(ApiError::bad("output-unknown", format!("the model has no output {unknown:?}")));
        }
    }
    let (mut outputs, mut tail, mut rest) = (Vec::new(), Vec::new(), raw);
    let mut any_binary = false;
    for tensor in tensors {
        let cut = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine-failed", "the app's answer is cut short");
        let (own, after) = rest.split_at_checked(tensor.bytes).ok_or_else(cut)?;
        rest = after;
        let asked = question.outputs.as_ref().map(|all| all.iter().find(|(name, _)| *name == tensor.name));
        let binary = match asked {
            Some(None) => continue,
            Some(Some((_, binary))) => binary.unwrap_or(question.binary),
            None => question.binary,
        };
        let (parameters, data) = if binary {
            any_binary = true;
            tail.extend_from_slice(own);
            (Some(json!({ "binary_data_size": own.len() })), None)
        } else {
            (None, Some(Values { datatype: &tensor.datatype, bytes: own }))
        };
        outputs.push(Output { name: &tensor.name, shape: &tensor.shape, datatype: &tensor.datatype, parameters, data });
    }
    let answer = Answer { model_name: model, model_version: version, id: question.id.as_deref(), outputs };
    let mut whole =
        serde_json::to_vec(&answer).map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine-failed", e.to_string()))?;
    let length = whole.len();
    whole.extend(tail);
    Ok((any_binary.then_some(length), whole))
}
