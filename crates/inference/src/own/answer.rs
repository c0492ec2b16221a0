//! The tensors of an answer → results. Whatever a module says that has no meaning is `wasm-answer`, with what it was.

use app_package::pipeline::{BoxUnit, Given, Gives, WasmStep};

use super::{
    given::{Seen, Vocabulary},
    message::Tensors,
};
use crate::{
    engine::{Data, TensorData},
    error::{AppError, Result},
    geometry::Geometry,
    output::{AppOutput, ClassScore, Detection, TextOut, ValueOut},
};

/// Numbers of the state that an answer leaves for the next frame: a mebibyte of FP64.
const MAX_STATE: usize = 1 << 17;
/// Objects of an answer.
const MAX_OBJECTS: usize = 300;
/// Texts of an answer, and characters of each.
const MAX_TEXTS: usize = 32;
const MAX_TEXT: usize = 1_000;

/// Takes the `state` that is left for the next frame out of an answer.
pub(super) fn take_state(answer: &mut Tensors) -> Result<Option<TensorData>> {
    let Some(at) = answer.iter().position(|(name, _)| name == "state") else { return Ok(None) };
    let (_, state) = answer.swap_remove(at);
    if matches!(state.data, Data::Text(_)) || state.data.len() > MAX_STATE {
        let (count, datatype) = (state.data.len(), state.data.datatype());
        return Err(bad(format!("`state` is {count} of {datatype}; up to {MAX_STATE} numbers are kept, and no texts")));
    }
    Ok(Some(state))
}

fn bad(why: impl Into<String>) -> AppError {
    AppError::new("wasm-answer", why)
}

/// Reads an answer. What becomes of the given objects is done to `result`; the rest is returned.
pub(super) fn read(step: &WasmStep, known: &Vocabulary, answer: &Tensors, seen: &Seen<'_>, result: &mut AppOutput) -> Result<AppOutput> {
    let may: &[&str] = match step.out {
        Gives::Objects if step.takes(Given::Objects) && step.of.is_none() => &["objects", "given"],
        Gives::Objects => &["objects"],
        Gives::Classes => &["scores"],
        Gives::Values => &["values"],
        Gives::Texts => &["texts", "scores"],
    };
    for (i, (name, _)) in answer.iter().enumerate() {
        if !may.contains(&name.as_str()) || answer.iter().take(i).any(|(other, _)| other == name) {
            return Err(bad(format!("the answer has a tensor `{name}`; once each, it may have {}", may.join(", "))));
        }
    }
    let find = |name: &str| answer.iter().find_map(|(own, tensor)| (own == name).then_some(tensor));
    let mut found = AppOutput::default();
    match step.out {
        Gives::Objects => {
            if let Some(tensor) = find("objects") {
                found.detections = objects(step, known, tensor, seen)?;
            }
            // Read before it is done, so that a bad answer changes nothing.
            if let Some(tensor) = find("given") {
                let changes = changes(known, tensor, result.detections.len())?;
                result.detections = std::mem::take(&mut result.detections).into_iter().zip(changes).filter_map(changed).collect();
            }
        }
        Gives::Classes => {
            if let Some(tensor) = find("scores") {
                let scores = numbers("scores", tensor, step.labels.len())?;
                let scored = step.labels.iter().zip(scores);
                found.classes =
                    scored.map(|(label, score)| ClassScore { label: label.id.clone(), score: narrow(score), model: None }).collect();
            }
        }
        Gives::Values => {
            if let Some(tensor) = find("values") {
                let values = numbers("values", tensor, step.items.len())?;
                let valued = step.items.iter().zip(values);
                found.values = valued.map(|(item, value)| ValueOut { id: item.id.clone(), value, unit: item.unit.clone() }).collect();
            }
        }
        Gives::Texts => {
            if let Some(tensor) = find("texts") {
                found.texts = texts(tensor, find("scores"))?;
            }
        }
    }
    Ok(found)
}

#[expect(clippy::cast_possible_truncation, reason = "scores are shown with few digits")]
fn narrow(number: f64) -> f32 {
    number as f32
}

/// So many finite numbers, FP32 or FP64.
fn numbers(name: &str, tensor: &TensorData, wanted: usize) -> Result<Vec<f64>> {
    let all: Vec<f64> = match &tensor.data {
        Data::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::F64(v) => v.clone(),
        other => return Err(bad(format!("`{name}` is {}, not FP32 or FP64", other.datatype()))),
    };
    if all.len() != wanted {
        return Err(bad(format!("`{name}` has {} numbers, not {wanted}", all.len())));
    }
    if let Some(at) = all.iter().position(|number| !number.is_finite()) {
        return Err(bad(format!("`{name}` has a number that is not finite, at {at}")));
    }
    Ok(all)
}

/// Rows of finite numbers, FP32 or FP64.
fn rows<const N: usize>(name: &str, tensor: &TensorData, most: usize) -> Result<Vec<[f32; N]>> {
    let width = i64::try_from(N).unwrap_or(0);
    let count = match tensor.shape.as_slice() {
        [count, w] if *w == width => usize::try_from(*count).unwrap_or(usize::MAX),
        other => return Err(bad(format!("`{name}` has the shape {other:?}, not [n, {N}]"))),
    };
    if count > most {
        return Err(bad(format!("`{name}` has {count} rows; at most {most} are taken")));
    }
    let all = numbers(name, tensor, tensor.data.len())?;
    Ok(all.chunks_exact(N).filter_map(|row| <[f64; N]>::try_from(row).ok()).map(|row| row.map(narrow)).collect())
}

/// The label of a number.
fn label(known: &Vocabulary, number: f32) -> Result<&String> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and not negative, as seen before; casts are cut")]
    let at = (number >= 0.0 && number.fract() == 0.0).then_some(number as usize);
    at.and_then(|at| known.labels.get(at))
        .ok_or_else(|| bad(format!("label {number}; there are labels 0 to {}", known.labels.len().saturating_sub(1))))
}

fn score(number: f32) -> Result<f32> {
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err(bad(format!("a score of {number}; scores are 0 to 1"))) }
}

/// New objects, cut to the picture; what lies outside of it is left out.
fn objects(step: &WasmStep, known: &Vocabulary, tensor: &TensorData, seen: &Seen<'_>) -> Result<Vec<Detection>> {
    let frame = seen.frame.map_or([0, 0], |frame| [frame.width(), frame.height()]).map(super::given::side);
    // Without a model before, the picture is the tensor.
    let plain = Geometry { tensor: frame, source: frame, fitted: frame, offset: [0.0; 2] };
    let geometry = seen.geometry.unwrap_or(&plain);
    let mut all = Vec::new();
    for [number, own, x, y, w, h] in rows::<6>("objects", tensor, MAX_OBJECTS)? {
        let (label, score) = (label(known, number)?, score(own)?);
        if w < 0.0 || h < 0.0 {
            return Err(bad(format!("a box {w} wide and {h} high")));
        }
        let (right, down) = (x + w, y + h);
        let [across, along] = if step.unit == BoxUnit::Relative { geometry.tensor } else { [1.0; 2] };
        let bbox = match step.unit {
            BoxUnit::Source => geometry.within(x, y, right, down),
            BoxUnit::Pixels | BoxUnit::Relative => geometry.to_source(x * across, y * along, right * across, down * along),
        };
        all.extend(bbox.map(|bbox| Detection::new(label.clone(), score, bbox)));
    }
    Ok(all)
}

/// What becomes of a given object: none where it goes, else its label and score.
type Change = Option<(String, f32)>;

fn changes(known: &Vocabulary, tensor: &TensorData, objects: usize) -> Result<Vec<Change>> {
    let rows = rows::<2>("given", tensor, objects)?;
    if rows.len() != objects {
        return Err(bad(format!("`given` has {} rows, and {objects} objects were given", rows.len())));
    }
    let change = |[number, own]: [f32; 2]| if number < 0.0 { Ok(None) } else { Ok(Some((label(known, number)?.clone(), score(own)?))) };
    rows.into_iter().map(change).collect()
}

/// An object with its new label and score; all else that was found of it stays.
fn changed((mut object, change): (Detection, Change)) -> Option<Detection> {
    (object.label, object.score) = change?;
    Some(object)
}

fn texts(tensor: &TensorData, scores: Option<&TensorData>) -> Result<Vec<TextOut>> {
    let Data::Text(all) = &tensor.data else { return Err(bad(format!("`texts` is {}, not BYTES", tensor.data.datatype()))) };
    if all.len() > MAX_TEXTS {
        return Err(bad(format!("{} texts; at most {MAX_TEXTS} are taken", all.len())));
    }
    let scores = match scores {
        Some(scores) => numbers("scores", scores, all.len())?.into_iter().map(narrow).map(score).collect::<Result<_>>()?,
        None => vec![1.0; all.len()],
    };
    let text = |(text, score): (&String, f32)| {
        if text.chars().count() > MAX_TEXT || text.chars().any(|c| c.is_control() || app_package::path::invisible(c)) {
            return Err(bad(format!("a text longer than {MAX_TEXT} characters, or with characters that are not shown")));
        }
        Ok(TextOut { text: text.clone(), score })
    };
    all.iter().zip(scores).map(text).collect()
}
