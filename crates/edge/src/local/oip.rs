//! Open Inference Protocol v2 over HTTP, JSON and binary tensors.
//!
//! The protocol's clients send no content type, and expect errors as `{"error": …}` with any status but 200.

use std::collections::BTreeSet;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::manifest::Model;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::body::{Body, body};
use super::{ApiError, Shared};
use crate::apps::Running;
use crate::health::Down;
use crate::wire::{Request, TensorHeader};
use crate::{health, tensor};

/// Header with the length of the JSON part where binary tensors follow.
const JSON_LENGTH: &str = "Inference-Header-Content-Length";
/// Input tensors at most.
const MAX_TENSORS: usize = 64;

/// `GET /v2`
pub(super) async fn server() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "name": "pithead-edge", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"] }))
}

/// `GET /v2/health/live`
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "live": true }))
}

/// `GET /v2/health/ready`: all that is wanted runs, but for what a recall keeps from starting. `reasons` says what does not run, and what else
/// is wrong with the node.
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
    let models: Vec<Value> = agent
        .apps
        .all()
        .iter()
        .filter_map(|running| Some((running.model()?.name.clone(), running)))
        .map(|(name, running)| json!({ "name": name, "version": running.wanted.release.version, "state": "READY" }))
        .collect();
    HttpResponse::Ok().json(models)
}

#[derive(Deserialize)]
pub(super) struct Address {
    model: String,
    version: Option<String>,
}

fn find(agent: &Shared, address: &Address) -> Result<std::sync::Arc<Running>, ApiError> {
    let unknown = || {
        if agent.starting_model(&address.model) {
            return ApiError::starting(&address.model);
        }
        ApiError::new(StatusCode::NOT_FOUND, "model-unknown", format!("no model {:?} runs here", address.model))
    };
    let running = agent.apps.find_model(&address.model).ok_or_else(unknown)?;
    match &address.version {
        Some(version) if *version != running.wanted.release.version.to_string() => {
            Err(ApiError::new(StatusCode::NOT_FOUND, "model-version-unknown", format!("version {version:?} does not run here")))
        }
        _ => Ok(running),
    }
}

/// `GET /v2/models/{m}`
pub(super) async fn model(agent: Shared, address: web::Path<Address>) -> Result<HttpResponse, ApiError> {
    let running = find(&agent, &address)?;
    let tensors = |list: &[app_package::manifest::Tensor]| json!(list);
    let (inputs, outputs) = running.model().map_or((json!([]), json!([])), |m| (tensors(&m.inputs), tensors(&m.outputs)));
    Ok(HttpResponse::Ok().json(json!({
        "name": address.model, "versions": [running.wanted.release.version], "platform": "onnxruntime_onnx",
        "inputs": inputs, "outputs": outputs,
    })))
}

/// `GET /v2/models/{m}/ready`
pub(super) async fn model_ready(agent: Shared, address: web::Path<Address>) -> Result<HttpResponse, ApiError> {
    let running = find(&agent, &address)?;
    if running.process.pid().is_none() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "app-restarting", "the app's process is being restarted"));
    }
    Ok(HttpResponse::Ok().json(json!({ "name": address.model, "ready": true })))
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// Whether there are values. They are read when the datatypes are known ([`tensor::data_of`]): a tree of them would take twenty times the
    /// memory.
    #[serde(default)]
    data: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Splits a body into its JSON and the bytes after it.
fn split<'a>(length: Option<&str>, whole: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), ApiError> {
    let (json, binary) = match length {
        None => (whole, &[][..]),
        Some(length) => {
            let length = length.parse::<usize>().ok();
            length
                .and_then(|l| whole.split_at_checked(l))
                .ok_or_else(|| ApiError::bad("inference-header-length", format!("{JSON_LENGTH} does not fit the body")))?
        }
    };
    Ok((json, binary))
}

/// The tensors of a request as the app's process wants them, out of its JSON and the bytes after it.
fn inputs_of(model: Option<&Model>, json: &[u8], inputs: Vec<Input>, mut binary: &[u8]) -> Result<(Vec<TensorHeader>, Vec<u8>), ApiError> {
    if inputs.len() > MAX_TENSORS {
        return Err(ApiError::bad("request-invalid", format!("more than {MAX_TENSORS} inputs")));
    }
    // The datatypes are checked before the values are read: that values do not fit a wrong type helps nobody.
    for input in &inputs {
        let known = model.and_then(|m| m.inputs.iter().find(|known| known.name == input.name));
        if let Some(known) = known.filter(|known| known.datatype != input.datatype) {
            let why = format!("input {:?}: the model takes {}, not {}", input.name, known.datatype, input.datatype);
            return Err(ApiError::bad("tensor-shape", why));
        }
    }
    let datatypes: Vec<&str> = inputs.iter().map(|input| input.datatype.as_str()).collect();
    let mut values = if inputs.iter().any(|input| input.data.is_some()) {
        tensor::data_of(json, &datatypes).map_err(|why| ApiError::bad("tensor-shape", why))?
    } else {
        Vec::new()
    }
    .into_iter();
    let mut headers = Vec::with_capacity(inputs.len());
    let mut bytes = Vec::new();
    for input in inputs {
        let own_values = values.next().unwrap_or_default();
        let wrong = |why: &str| ApiError::bad("tensor-shape", format!("input {:?}: {why}", input.name));
        let width = tensor::width(&input.datatype).ok_or_else(|| wrong("this datatype is not served"))?;
        let expected = tensor::elements(&input.shape).and_then(|n| n.checked_mul(width)).ok_or_else(|| wrong("the shape is not legal"))?;
        let start = bytes.len();
        match (input.parameters.get("binary_data_size"), &input.data) {
            (Some(size), None) => {
                let size = size.as_u64().and_then(|s| usize::try_from(s).ok());
                let (own, rest) =
                    size.and_then(|s| binary.split_at_checked(s)).ok_or_else(|| wrong("binary_data_size does not fit the body"))?;
                bytes.extend_from_slice(own);
                binary = rest;
            }
            (None, Some(_)) => bytes.extend(own_values),
            _ => return Err(wrong("give either data or binary_data_size")),
        }
        let found = bytes.len() - start;
        if found != expected {
            return Err(wrong(&format!("the shape needs {expected} bytes, there are {found}")));
        }
        headers.push(TensorHeader { name: input.name, datatype: input.datatype, shape: input.shape, bytes: found });
    }
    if binary.is_empty() {
        Ok((headers, bytes))
    } else {
        Err(ApiError::bad("request-invalid", "bytes are left over after the last tensor"))
    }
}

/// Checks that the inputs are those that the model declares, each once, with its type and a fitting shape; an engine would only say that it
/// failed.
fn check_inputs(model: &Model, given: &[TensorHeader]) -> Result<(), ApiError> {
    let bad = |why: String| Err(ApiError::bad("tensor-shape", why));
    if let Some(missing) = model.inputs.iter().find(|known| !given.iter().any(|g| g.name == known.name)) {
        return bad(format!("input {:?} is missing", missing.name));
    }
    for (place, input) in given.iter().enumerate() {
        let Some(known) = model.inputs.iter().find(|known| known.name == input.name) else {
            return bad(format!("the model has no input {:?}", input.name));
        };
        if given.iter().take(place).any(|earlier| earlier.name == input.name) {
            return bad(format!("input {:?} is there twice", input.name));
        }
        let fits = |(known, given): (&i64, &i64)| *known < 0 || known == given;
        if known.datatype != input.datatype || known.shape.len() != input.shape.len() || !known.shape.iter().zip(&input.shape).all(fits) {
            return bad(format!(
                "input {:?} is {} {:?}, not {} {:?} (-1 is any size)",
                input.name, known.datatype, known.shape, input.datatype, input.shape
            ));
        }
    }
    Ok(())
}

/// `POST /v2/models/{m}[/versions/{v}]/infer`
pub(super) async fn infer(
    request: HttpRequest,
    agent: Shared,
    address: web::Path<Address>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let running = find(&agent, &address)?;
    let length = request.headers().get(JSON_LENGTH).map(|value| value.to_str().unwrap_or_default().to_owned());
    let whole = body(&request, payload).await?;
    let model = running.clone();
    let (asked, headers, bytes) = off_worker(&whole, move |whole| read_question(model.model(), length.as_deref(), whole)).await?;
    let ((tensors, raw), _) = super::infer(&running, &Request::Infer { inputs: headers }, &bytes).await?;
    let name = address.into_inner().model;
    let version = running.wanted.release.version.to_string();
    let (length, bytes) = off_worker(&whole, move |_| answer(&asked, &name, &version, &tensors, &raw)).await?;
    let mut response = HttpResponse::Ok();
    match length {
        None => response.content_type("application/json"),
        Some(length) => response.insert_header((JSON_LENGTH, length.to_string())).content_type("application/octet-stream"),
    };
    Ok(response.body(bytes))
}

/// The parts of a question that its answer depends on.
struct Asked {
    id: Option<String>,
    parameters: Map<String, Value>,
    outputs: Option<Vec<Output>>,
}

/// Bodies up to this size are read and answered on the async worker.
const SMALL: usize = 64 * 1024;

/// Work on a body outside the async workers where it is large: parsing one of 20 MB would hold up all other callers.
async fn off_worker<T: Send + 'static>(
    body: &Body,
    work: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if body.bytes.len() <= SMALL {
        return work(&body.bytes);
    }
    let bytes = body.bytes.clone();
    let done = web::block(move || work(&bytes)).await;
    done.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "cancelled", e.to_string()))?
}

/// The tensors of a request, checked against what the model declares.
fn read_question(model: Option<&Model>, length: Option<&str>, whole: &[u8]) -> Result<(Asked, Vec<TensorHeader>, Vec<u8>), ApiError> {
    let (json, binary) = split(length, whole)?;
    let question: Question = serde_json::from_slice(json).map_err(|e| ApiError::bad("request-invalid", e.to_string()))?;
    let (headers, bytes) = inputs_of(model, json, question.inputs, binary)?;
    if let Some(model) = model {
        check_inputs(model, &headers)?;
    }
    Ok((Asked { id: question.id, parameters: question.parameters, outputs: question.outputs }, headers, bytes))
}

/// Length of the JSON where binary tensors follow it, and the bytes of an answer.
type Answer = (Option<usize>, Vec<u8>);

/// The answer to a question, out of the tensors that the app's process gave.
fn answer(question: &Asked, model: &str, version: &str, tensors: &[TensorHeader], raw: &[u8]) -> Result<Answer, ApiError> {
    let flag = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_bool);
    let default = flag(&question.parameters, "binary_data_output").unwrap_or(false);
    if let Some(asked) = &question.outputs {
        let known: BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
        if let Some(unknown) = asked.iter().find(|o| !known.contains(o.name.as_str())) {
            return Err(ApiError::bad("output-unknown", format!("the model has no output {:?}", unknown.name)));
        }
    }
    let (mut outputs, mut tail, mut rest) = (Vec::new(), Vec::new(), raw);
    let mut any_binary = false;
    for tensor in tensors {
        let cut = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine-failed", "the app's answer is cut short");
        let (own, after) = rest.split_at_checked(tensor.bytes).ok_or_else(cut)?;
        rest = after;
        let asked = question.outputs.as_ref().map(|all| all.iter().find(|o| o.name == tensor.name));
        let binary = match asked {
            Some(None) => continue,
            Some(Some(output)) => flag(&output.parameters, "binary_data").unwrap_or(default),
            None => default,
        };
        let mut output = json!({ "name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype });
        if let Some(fields) = output.as_object_mut() {
            if binary {
                any_binary = true;
                fields.insert("parameters".into(), json!({ "binary_data_size": own.len() }));
                tail.extend_from_slice(own);
            } else {
                fields.insert("data".into(), tensor::to_json(&tensor.datatype, own));
            }
        }
        outputs.push(output);
    }
    let mut answer = json!({ "model_name": model, "model_version": version, "outputs": outputs });
    if let (Some(fields), Some(id)) = (answer.as_object_mut(), &question.id) {
        fields.insert("id".into(), json!(id));
    }
    let mut whole = answer.to_string().into_bytes();
    let length = whole.len();
    whole.extend(tail);
    Ok((any_binary.then_some(length), whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(model: Option<&Model>, inputs: &[Value], binary: &[u8]) -> Result<(Vec<TensorHeader>, Vec<u8>), ApiError> {
        let json = json!({ "id": "1", "inputs": inputs }).to_string();
        let question: Question = serde_json::from_str(&json).unwrap();
        inputs_of(model, json.as_bytes(), question.inputs, binary)
    }

    #[test]
    fn json_and_binary_inputs_mix() {
        let a = json!({ "name": "a", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2]] });
        let b = json!({ "name": "b", "shape": [2], "datatype": "UINT8", "parameters": { "binary_data_size": 2 } });
        let (headers, bytes) = inputs(None, &[a, b], &[7, 9]).unwrap();
        assert_eq!(headers.iter().map(|h| h.bytes).collect::<Vec<_>>(), [8, 2]);
        assert_eq!(bytes, [0, 0, 128, 63, 0, 0, 0, 64, 7, 9]);
    }

    #[test]
    fn a_wrong_datatype_is_named_with_the_right_one() {
        let tensor = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [1, 2] });
        let model = json!({ "name": "m", "file": "m.onnx", "inputs": [tensor("x")], "outputs": [tensor("y")] });
        let model: Model = serde_json::from_value(model).unwrap();
        let given = json!({ "name": "x", "shape": [1, 2], "datatype": "INT64", "data": [0.5, 1] });
        let error = inputs(Some(&model), &[given], &[]).err().unwrap();
        assert!(error.message.contains("the model takes FP32, not INT64"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (value, binary) in [
            (json!({ "name": "a", "shape": [3], "datatype": "FP32", "data": [1, 2] }), &[][..]),
            (json!({ "name": "a", "shape": [-1], "datatype": "FP32", "data": [] }), &[][..]),
            (json!({ "name": "a", "shape": [1], "datatype": "BYTES", "data": ["x"] }), &[][..]),
            (json!({ "name": "a", "shape": [1], "datatype": "UINT8" }), &[][..]),
            (json!({ "name": "a", "shape": [4], "datatype": "UINT8", "parameters": { "binary_data_size": 4 } }), &[1][..]),
            (json!({ "name": "a", "shape": [1], "datatype": "UINT8", "parameters": { "binary_data_size": 1 } }), &[1, 2][..]),
            (json!({ "name": "a", "shape": [i64::MAX, 8], "datatype": "FP64", "parameters": { "binary_data_size": 0 } }), &[][..]),
        ] {
            assert!(inputs(None, std::slice::from_ref(&value), binary).is_err(), "{value}");
        }
    }
}
