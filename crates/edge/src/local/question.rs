//! A question of the Open Inference Protocol: what is read of it, and the tensors in it.
//!
//! Anybody who reaches the API sends these. Invariant: what is kept of one is bounded by the counts and lengths here and by [`MAX_BODY`],
//! however many parts its JSON has; what the protocol lets others add is passed over.

use std::marker::PhantomData;

use actix_web::http::StatusCode;
use app_package::pipeline::Tensor;
use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ApiError;
use super::body::MAX_BODY;
use crate::tensor;
use crate::wire::TensorHeader;

/// Header with the length of the JSON part where binary tensors follow.
pub(super) const JSON_LENGTH: &str = "Inference-Header-Content-Length";
/// Input tensors, and outputs asked for, at most.
const MAX_TENSORS: usize = 64;
/// Dimensions of a tensor at most, as in `app.yaml`.
const MAX_DIMENSIONS: usize = 8;
/// Longest name or id, in bytes; `app.yaml` allows names of 200 characters.
const MAX_NAME: usize = 1_024;
/// Longest text of an error, in characters: that of a JSON error quotes what it met.
const MAX_MESSAGE: usize = 300;

/// A list of at most `MOST` values.
struct List<T, const MOST: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bounded::<T, MOST>(PhantomData)).map(List)
    }
}

struct Bounded<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Bounded<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            if all.len() == MOST {
                return Err(de::Error::custom(format_args!("a list of more than {MOST}")));
            }
            all.push(one);
        }
        Ok(all)
    }
}

/// A text of at most [`MAX_NAME`] bytes.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Short).map(Name)
    }
}

struct Short;

impl Visitor<'_> for Short {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a text of at most {MAX_NAME} bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        if text.len() > MAX_NAME {
            return Err(E::custom(format_args!("a text of more than {MAX_NAME} bytes")));
        }
        Ok(text.to_owned())
    }
}

#[derive(Deserialize)]
struct Question {
    id: Option<Name>,
    #[serde(default)]
    parameters: QuestionParameters,
    inputs: List<Input, MAX_TENSORS>,
    outputs: Option<List<Output, MAX_TENSORS>>,
}

/// The parameters that the protocol's binary extension names; those of others are not read.
#[derive(Default, Deserialize)]
struct QuestionParameters {
    binary_data_output: Option<bool>,
}

#[derive(Deserialize)]
struct Input {
    name: Name,
    shape: List<i64, MAX_DIMENSIONS>,
    datatype: Name,
    #[serde(default)]
    parameters: InputParameters,
    /// Whether there are values. They are read when the datatypes are known ([`tensor::data_of`]): a tree of them would take twenty times the
    /// memory.
    data: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Deserialize)]
struct Output {
    name: Name,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<bool>,
    /// Triton's classification extension (`class_count` of its client), which is not served; 0 asks for nothing.
    classification: Option<u64>,
}

/// The parts of a question that its answer depends on.
pub(super) struct Asked {
    pub(super) id: Option<String>,
    /// Whether outputs that say nothing of it are binary.
    pub(super) binary: bool,
    /// Names of the wanted outputs, and whether they are binary; `None` is all of them.
    pub(super) outputs: Option<Vec<(String, Option<bool>)>>,
}

fn cut(message: impl std::fmt::Display) -> String {
    message.to_string().chars().take(MAX_MESSAGE).collect()
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

/// The bytes of each input, by its shape and datatype; all together at most as many as a body may have.
fn sizes(inputs: &[Input]) -> Result<Vec<usize>, ApiError> {
    let mut all = 0usize;
    let size = |input: &Input| {
        let wrong = |why: &str| ApiError::bad("tensor-shape", format!("input {:?}: {why}", input.name.0));
        let width = tensor::width(&input.datatype.0).ok_or_else(|| wrong("this datatype is not served"))?;
        let size = tensor::elements(&input.shape.0).and_then(|n| n.checked_mul(width)).ok_or_else(|| wrong("the shape is not legal"))?;
        all = all.saturating_add(size);
        if all > MAX_BODY {
            let why = format!("the tensors are over {MAX_BODY} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", why));
        }
        Ok(size)
    };
    inputs.iter().map(size).collect()
}

/// The tensors of a request as the app's process wants them, out of its JSON and the bytes after it.
fn inputs_of(
    known: Option<&[Tensor]>,
    json: &[u8],
    inputs: Vec<Input>,
    mut binary: &[u8],
) -> Result<(Vec<TensorHeader>, Vec<u8>), ApiError> {
    // The datatypes are checked before the values are read: that values do not fit a wrong type helps nobody.
    for input in &inputs {
        let known = known.and_then(|all| all.iter().find(|known| known.name == input.name.0));
        if let Some(known) = known.filter(|known| known.datatype != input.datatype.0) {
            let why = format!("input {:?}: the model takes {}, not {}", input.name.0, known.datatype, input.datatype.0);
            return Err(ApiError::bad("tensor-shape", cut(why)));
        }
    }
    let sizes = sizes(&inputs)?;
    let mut values = if inputs.iter().any(|input| input.data.is_some()) {
        let wanted: Vec<(&str, usize)> = inputs.iter().map(|input| input.datatype.0.as_str()).zip(sizes.iter().copied()).collect();
        tensor::data_of(json, &wanted).map_err(|why| ApiError::bad("tensor-shape", cut(why)))?
    } else {
        Vec::new()
    }
    .into_iter();
    let mut headers = Vec::with_capacity(inputs.len());
    let mut bytes = Vec::new();
    for (input, expected) in inputs.into_iter().zip(sizes) {
        let own_values = values.next().unwrap_or_default();
        let wrong = |why: &str| ApiError::bad("tensor-shape", format!("input {:?}: {why}", input.name.0));
        let start = bytes.len();
        match (input.parameters.binary_data_size, &input.data) {
            (Some(size), None) => {
                let (own, rest) = binary.split_at_checked(size).ok_or_else(|| wrong("binary_data_size does not fit the body"))?;
                bytes.extend_from_slice(own);
                binary = rest;
            }
            (None, Some(_)) if bytes.is_empty() => bytes = own_values,
            (None, Some(_)) => bytes.extend(own_values),
            _ => return Err(wrong("give either data or binary_data_size")),
        }
        let found = bytes.len() - start;
        if found != expected {
            return Err(wrong(&format!("the shape needs {expected} bytes, there are {found}")));
        }
        headers.push(TensorHeader { name: input.name.0, datatype: input.datatype.0, shape: input.shape.0, bytes: found });
    }
    if binary.is_empty() {
        Ok((headers, bytes))
    } else {
        Err(ApiError::bad("request-invalid", "bytes are left over after the last tensor"))
    }
}

/// Checks that the inputs are those that the model declares, each once, with its type and a fitting shape; an engine would only say that it
/// failed.
fn check_inputs(wanted: &[Tensor], given: &[TensorHeader]) -> Result<(), ApiError> {
    let bad = |why: String| Err(ApiError::bad("tensor-shape", why));
    if let Some(missing) = wanted.iter().find(|known| !given.iter().any(|g| g.name == known.name)) {
        return bad(format!("input {:?} is missing", missing.name));
    }
    for (place, input) in given.iter().enumerate() {
        let Some(known) = wanted.iter().find(|known| known.name == input.name) else {
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

/// What is asked, and the tensors of a request, checked against what the model declares.
pub(super) fn read(known: Option<&[Tensor]>, length: Option<&str>, whole: &[u8]) -> Result<(Asked, Vec<TensorHeader>, Vec<u8>), ApiError> {
    let (json, binary) = split(length, whole)?;
    let question: Question = serde_json::from_slice(json).map_err(|e| ApiError::bad("request-invalid", cut(e)))?;
    let classes = |output: &&Output| output.parameters.classification.is_some_and(|count| count > 0);
    if let Some(output) = question.outputs.iter().flat_map(|all| &all.0).find(classes) {
        let why = format!("output {:?}: the parameter \"classification\" (class_count) is not served", output.name.0);
        return Err(ApiError::bad("parameter-not-supported", cut(why)));
    }
    let (headers, bytes) = inputs_of(known, json, question.inputs.0, binary)?;
    if let Some(known) = known {
        check_inputs(known, &headers)?;
    }
    let asked = Asked {
        id: question.id.map(|id| id.0),
        binary: question.parameters.binary_data_output.unwrap_or(false),
        outputs: question.outputs.map(|all| all.0.into_iter().map(|output| (output.name.0, output.parameters.binary_data)).collect()),
    };
    Ok((asked, headers, bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn inputs(known: Option<&[Tensor]>, inputs: &[Value], binary: &[u8]) -> Result<(Vec<TensorHeader>, Vec<u8>), ApiError> {
        let json = json!({ "id": "1", "inputs": inputs }).to_string();
        let question: Question = serde_json::from_str(&json).unwrap();
        inputs_of(known, json.as_bytes(), question.inputs.0, binary)
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
        let known = [Tensor { name: "x".into(), datatype: "FP32".into(), shape: vec![1, 2] }];
        let given = json!({ "name": "x", "shape": [1, 2], "datatype": "INT64", "data": [0.5, 1] });
        let error = inputs(Some(&known), &[given], &[]).err().unwrap();
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

    #[test]
    fn what_others_add_is_passed_over_and_what_the_protocol_names_is_typed() {
        let question = json!({
            "id": "7", "parameters": { "binary_data_output": true, "sequence_id": 4, "mine": "x" }, "trace": [1],
            "inputs": [{ "name": "a", "shape": [1], "datatype": "UINT8", "parameters": { "classification": 2 }, "data": [9] }],
            "outputs": [{ "name": "y", "parameters": { "binary_data": false, "class": { "n": 1 } } }, { "name": "z" }],
        });
        let (asked, headers, bytes) = read(None, None, question.to_string().as_bytes()).unwrap();
        assert_eq!((asked.id.as_deref(), asked.binary), (Some("7"), true));
        assert_eq!(asked.outputs.unwrap(), [("y".to_owned(), Some(false)), ("z".to_owned(), None)]);
        assert_eq!((headers[0].bytes, bytes), (1, vec![9]));
    }

    #[test]
    fn a_parameter_that_would_change_the_answer_is_refused_by_name() {
        let question = |count: u64| {
            let input = json!({ "name": "a", "shape": [1], "datatype": "UINT8", "data": [9] });
            json!({ "inputs": [input], "outputs": [{ "name": "y", "parameters": { "classification": count } }] }).to_string()
        };
        let refused = read(None, None, question(3).as_bytes()).err().unwrap();
        assert_eq!(refused.code, "parameter-not-supported");
        assert!(refused.message.contains("\"y\"") && refused.message.contains("classification"), "{refused}");
        assert!(read(None, None, question(0).as_bytes()).is_ok(), "tritonclient writes 0 for none");
    }

    #[test]
    fn lists_and_texts_are_bounded_and_errors_are_short() {
        let input = json!({ "name": "a", "shape": [1], "datatype": "UINT8", "data": [1] });
        let with = |key: &str, value: Value| {
            let mut input = input.clone();
            input[key] = value;
            json!({ "inputs": [input] })
        };
        for question in [
            json!({ "inputs": vec![&input; MAX_TENSORS + 1] }),
            json!({ "inputs": [input], "outputs": vec![json!({ "name": "y" }); MAX_TENSORS + 1] }),
            json!({ "inputs": [input], "id": "i".repeat(MAX_NAME + 1) }),
            json!({ "inputs": [input], "parameters": { "binary_data_output": "b".repeat(5_000) } }),
            with("shape", json!(vec![1; MAX_DIMENSIONS + 1])),
            with("shape", json!([MAX_BODY + 1])),
            with("name", json!("n".repeat(MAX_NAME + 1))),
            with("datatype", json!("d".repeat(MAX_NAME + 1))),
            with("data", json!(["v".repeat(5_000)])),
            with("data", json!([1, 2])),
        ] {
            let error = read(None, None, question.to_string().as_bytes()).err().unwrap();
            assert!(["request-invalid", "tensor-shape", "body-too-large"].contains(&&*error.code), "{error}");
            assert!(error.message.len() < 400, "{error}");
        }
    }
}
