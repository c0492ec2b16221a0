//! Open Inference Protocol v2 over HTTP, JSON and binary tensors.
//!
//! The protocol's clients send no content type, and expect errors as `{"error": …}` with any status but 200.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::manifest::Model;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ApiError, Shared, body};
use crate::apps::Running;
use crate::tensor;
use crate::wire::{Request, TensorHeader};

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

/// `GET /v2/health/ready`: all that is wanted and licensed runs.
pub(super) async fn ready(agent: Shared) -> HttpResponse {
    let wanted = agent.state.get().desired;
    let phases = agent.phases();
    // An app that its licence does not let run is not waited for: it says nothing about this node.
    let refused = |id: &String| phases.get(id).is_some_and(|p| p.fault.as_ref().is_some_and(|f| f.source == "license"));
    let ready = wanted.keys().all(|id| match agent.apps.get(id) {
        Some(running) => running.process.pid().is_some(),
        None => refused(id),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).json(json!({ "ready": ready }))
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
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Splits a body into its JSON and the bytes after it.
fn split<'a>(request: &HttpRequest, whole: &'a [u8]) -> Result<(Question, &'a [u8]), ApiError> {
    let (json, binary) = match request.headers().get(JSON_LENGTH) {
        None => (whole, &[][..]),
        Some(length) => {
            let length = length.to_str().ok().and_then(|l| l.parse::<usize>().ok());
            length
                .and_then(|l| whole.split_at_checked(l))
                .ok_or_else(|| ApiError::bad("inference-header-length", format!("{JSON_LENGTH} does not fit the body")))?
        }
    };
    Ok((serde_json::from_slice(json).map_err(|e| ApiError::bad("request-invalid", e.to_string()))?, binary))
}

/// The tensors of a request as the app's process wants them.
fn inputs_of(model: Option<&Model>, inputs: Vec<Input>, mut binary: &[u8]) -> Result<(Vec<TensorHeader>, Vec<u8>), ApiError> {
    if inputs.len() > MAX_TENSORS {
        return Err(ApiError::bad("request-invalid", format!("more than {MAX_TENSORS} inputs")));
    }
    let mut headers = Vec::with_capacity(inputs.len());
    let mut bytes = Vec::new();
    for input in inputs {
        let wrong = |why: &str| ApiError::bad("tensor-shape", format!("input {:?}: {why}", input.name));
        // The datatype is checked before the values are read: that values do not fit a wrong type helps nobody.
        let known = model.and_then(|m| m.inputs.iter().find(|known| known.name == input.name));
        if let Some(known) = known.filter(|known| known.datatype != input.datatype) {
            return Err(wrong(&format!("the model takes {}, not {}", known.datatype, input.datatype)));
        }
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
            (None, Some(data)) => bytes.extend(tensor::from_json(&input.datatype, data).map_err(|why| wrong(&why))?),
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
    let whole = body(&request, payload).await?;
    let (question, binary) = split(&request, &whole)?;
    let (headers, bytes) = inputs_of(running.model(), question.inputs, binary)?;
    if let Some(model) = running.model() {
        check_inputs(model, &headers)?;
    }
    let ((tensors, raw), _) = super::infer(&running, &Request::Infer { inputs: headers }, &bytes).await?;

    let flag = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_bool);
    let default = flag(&question.parameters, "binary_data_output").unwrap_or(false);
    if let Some(asked) = &question.outputs {
        let known: BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
        if let Some(unknown) = asked.iter().find(|o| !known.contains(o.name.as_str())) {
            return Err(ApiError::bad("output-unknown", format!("the model has no output {:?}", unknown.name)));
        }
    }
    let (mut outputs, mut tail, mut rest) = (Vec::new(), Vec::new(), raw.as_slice());
    let mut any_binary = false;
    for tensor in &tensors {
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
    let mut answer = json!({ "model_name": address.model, "model_version": running.wanted.release.version, "outputs": outputs });
    if let (Some(fields), Some(id)) = (answer.as_object_mut(), question.id) {
        fields.insert("id".into(), json!(id));
    }
    if !any_binary {
        return Ok(HttpResponse::Ok().json(answer));
    }
    let mut whole = answer.to_string().into_bytes();
    let length = whole.len();
    whole.extend(tail);
    Ok(HttpResponse::Ok().insert_header((JSON_LENGTH, length.to_string())).content_type("application/octet-stream").body(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(value: Value) -> Input {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn json_and_binary_inputs_mix() {
        let a = input(json!({ "name": "a", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2]] }));
        let b = input(json!({ "name": "b", "shape": [2], "datatype": "UINT8", "parameters": { "binary_data_size": 2 } }));
        let (headers, bytes) = inputs_of(None, vec![a, b], &[7, 9]).unwrap();
        assert_eq!(headers.iter().map(|h| h.bytes).collect::<Vec<_>>(), [8, 2]);
        assert_eq!(bytes, [0, 0, 128, 63, 0, 0, 0, 64, 7, 9]);
    }

    #[test]
    fn a_wrong_datatype_is_named_with_the_right_one() {
        let tensor = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [1, 2] });
        let model = json!({ "name": "m", "file": "m.onnx", "inputs": [tensor("x")], "outputs": [tensor("y")] });
        let model: Model = serde_json::from_value(model).unwrap();
        let given = input(json!({ "name": "x", "shape": [1, 2], "datatype": "INT64", "data": [0.5, 1] }));
        let error = inputs_of(Some(&model), vec![given], &[]).err().unwrap();
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
            assert!(inputs_of(None, vec![input(value.clone())], binary).is_err(), "{value}");
        }
    }
}
