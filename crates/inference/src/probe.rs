//! How a loaded model behaves beyond its golden samples: the same twice, and odd input.

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    engine::{Data, TensorData, TensorInfo},
    error::{AppError, Result},
    golden,
    own::Own,
    stage::Stage,
    tensors,
};

/// Largest relative difference between two runs on the same input. Engines may add up in another order, no more.
const REPEAT_TOLERANCE: f32 = 1e-5;
/// Most elements of an odd input; a model with a larger input is not asked.
const MAX_ELEMENTS: usize = 64 << 20;

/// What the model did with an input that no developer thinks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddInput {
    /// `zeros`, `ones`, `largest`, `smallest`, `not-a-number`, `wrong-size`.
    pub input: String,
    /// `answered`, `answered-not-finite`, `refused`.
    pub outcome: String,
}

/// Runs the first golden input twice; returns the largest relative difference of any output. Code `not-repeatable`.
pub fn repeat(app: &mut App) -> Result<f32> {
    let name = app.manifest().golden.first().map(|g| g.input.clone()).unwrap_or_default();
    let bytes = golden::read(app.dir(), &name)?;
    let first = app.outputs(&bytes)?;
    let second = app.outputs(&bytes)?;
    let mut worst = 0f32;
    for ((name, a), (_, b)) in first.iter().zip(&second) {
        let (a, b) = (a.data.to_f32(), b.data.to_f32());
        if a.len() != b.len() {
            return Err(AppError::new("not-repeatable", format!("output `{name}` had {} and then {} elements", a.len(), b.len())));
        }
        for (a, b) in a.iter().zip(b.iter()).filter(|(a, b)| a.to_bits() != b.to_bits()) {
            let difference = (a - b).abs() / a.abs().max(b.abs()).max(f32::MIN_POSITIVE);
            // A difference of NaN means that a number is not finite: never the same.
            if difference.is_nan() || difference > REPEAT_TOLERANCE {
                return Err(AppError::new("not-repeatable", format!("output `{name}` was {a} and then {b} for the same input")));
            }
            worst = worst.max(difference);
        }
    }
    Ok(worst)
}

/// Runs the models on zeros, ones, the largest and smallest numbers, NaN, and a tensor of a wrong size. Each run ends in an answer or an
/// error: a crash ends this process, and its parent reports that. Own steps run on the same numbers in what they were given last, and on
/// what there is where nothing was found: that comes every day, so it must be answered. Code `wrong-size-answered` where a fixed shape did
/// not keep a larger tensor out, and those of an own step on nothing. Of several steps what is told is the worst.
pub fn odd_inputs(app: &mut App) -> Result<Vec<OddInput>> {
    let mut seen: Vec<OddInput> = Vec::new();
    for stage in app.stages() {
        for odd in odd_inputs_of(stage)? {
            worst(&mut seen, odd);
        }
    }
    if app.own_steps().next().is_some() {
        app.own_steps().for_each(Own::remember);
        let name = app.manifest().golden.first().map(|g| g.input.clone()).unwrap_or_default();
        let bytes = golden::read(app.dir(), &name)?;
        app.predict(&bytes, &serde_json::Map::new(), "golden")?;
    }
    for own in app.own_steps() {
        for (input, value) in FILLS {
            let outcome = if own.odd(f64::from(value)).is_ok() { "answered" } else { "refused" };
            worst(&mut seen, OddInput { input: input.into(), outcome: outcome.into() });
        }
        own.nothing().map_err(|e| AppError::new(e.code, format!("where nothing is found: {}", e.message)))?;
    }
    Ok(seen)
}

/// Keeps of each input what is worst.
fn worst(seen: &mut Vec<OddInput>, odd: OddInput) {
    match seen.iter_mut().find(|known| known.input == odd.input) {
        Some(known) if rank(&odd.outcome) > rank(&known.outcome) => *known = odd,
        Some(_) => {}
        None => seen.push(odd),
    }
}

fn rank(outcome: &str) -> u8 {
    match outcome {
        "refused" => 0,
        "answered" => 1,
        _ => 2,
    }
}

/// Numbers that odd inputs are full of.
const FILLS: [(&str, f32); 5] = [("zeros", 0.0), ("ones", 1.0), ("largest", f32::MAX), ("smallest", f32::MIN), ("not-a-number", f32::NAN)];

/// A dimension that follows the input, for an odd one.
const OPEN_SIDE: i64 = 64;

fn odd_inputs_of(stage: &mut Stage) -> Result<Vec<OddInput>> {
    let Some(TensorInfo { datatype, shape: real, .. }) = stage.main_input().cloned() else { return Ok(Vec::new()) };
    let shape: Vec<i64> = stage.input_shape().iter().map(|&d| if d < 0 { OPEN_SIDE } else { d }).collect();
    let Some(elements) = TensorData::elements(&shape).filter(|&n| n <= MAX_ELEMENTS) else { return Ok(Vec::new()) };
    let filled = |shape: &[i64], elements: usize, value: f32| {
        let data = Data::of(&datatype, std::iter::repeat_n(f64::from(value), elements)).ok_or_else(|| tensors::unfillable(&datatype))?;
        Ok::<_, AppError>(TensorData { shape: shape.to_vec(), data })
    };
    let mut seen = Vec::new();
    for (input, value) in FILLS {
        let outcome = outcome(stage.run_on(filled(&shape, elements, value)?));
        seen.push(OddInput { input: input.into(), outcome: outcome.into() });
    }
    let mut wrong = shape.clone();
    if let Some(last) = wrong.last_mut() {
        *last = last.saturating_add(1);
    }
    if let Some(elements) = TensorData::elements(&wrong) {
        let fixed = real.last().is_some_and(|&last| last > 0);
        let outcome = outcome(stage.run_on(filled(&wrong, elements, 0.0)?));
        if fixed && outcome != "refused" {
            return Err(AppError::new("wrong-size-answered", format!("a tensor of shape {wrong:?} was taken")));
        }
        seen.push(OddInput { input: "wrong-size".into(), outcome: outcome.into() });
    }
    Ok(seen)
}

fn outcome(result: Result<Vec<(String, TensorData)>>) -> &'static str {
    match result {
        Err(_) => "refused",
        Ok(outputs) if outputs.iter().all(|(_, t)| t.data.to_f32().iter().all(|v| v.is_finite())) => "answered",
        Ok(_) => "answered-not-finite",
    }
}
