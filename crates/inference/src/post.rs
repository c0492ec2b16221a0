//! Output tensors → detections, classes and values, as [`app_package::pipeline::Post`] says.

mod boxes;
mod classes;
mod grid;
mod looks;
mod rows;
mod score;
mod suppress;

use app_package::pipeline::{Post, PostValues};

pub use looks::looks;
pub use suppress::iou;

use crate::{
    engine::TensorData,
    error::{AppError, Result},
    geometry::Geometry,
    output::{AppOutput, ValueOut},
};

/// Detections that a step gives, best first.
const MAX_DETECTIONS: usize = 300;

/// Runs the steps in order. `geometry` is there when the input was a picture.
/// Codes `tensor-shape`, `tensor-mismatch`, `output-not-finite`.
pub fn run(steps: &[Post], outputs: &[(String, TensorData)], geometry: Option<&Geometry>) -> Result<AppOutput> {
    let mut result = AppOutput::default();
    for step in steps {
        match step {
            Post::Classes(p) => classes::classes(p, tensor(outputs, &p.output)?, &mut result.classes)?,
            Post::Values(p) => values(p, tensor(outputs, &p.output)?, &mut result.values)?,
            Post::Boxes(p) => boxes::boxes(p, outputs, picture(geometry)?, &mut result.detections)?,
            Post::Grid(p) => grid::grid(p, tensor(outputs, &p.output)?, picture(geometry)?, &mut result.detections)?,
        }
    }
    result.classes.sort_by(|a, b| b.score.total_cmp(&a.score));
    result.detections.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(result)
}

fn tensor<'a>(outputs: &'a [(String, TensorData)], name: &str) -> Result<&'a TensorData> {
    outputs
        .iter()
        .find_map(|(n, tensor)| (n == name).then_some(tensor))
        .ok_or_else(|| AppError::new("tensor-shape", format!("the model gave no output `{name}`")))
}

fn picture(geometry: Option<&Geometry>) -> Result<&Geometry> {
    geometry.ok_or_else(|| AppError::new("tensor-mismatch", "boxes need a picture as input"))
}

fn wrong_shape(step: &str, tensor: &TensorData) -> AppError {
    AppError::new("tensor-shape", format!("`{step}` cannot read an output of shape {:?}", tensor.shape))
}

fn finite(step: &str, values: &[f32]) -> Result<()> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(AppError::new("output-not-finite", format!("`{step}`: the model gave a number that is not finite")))
}

fn values(p: &PostValues, tensor: &TensorData, out: &mut Vec<ValueOut>) -> Result<()> {
    let raw = tensor.data.to_f32();
    if raw.len() != p.items.len() {
        return Err(wrong_shape("values", tensor));
    }
    finite("values", &raw)?;
    out.extend(p.items.iter().zip(raw.iter()).map(|(item, &raw)| ValueOut {
        id: item.id.clone(),
        value: f64::from(raw) * item.scale + item.offset,
        unit: item.unit.clone(),
    }));
    Ok(())
}

#[cfg(test)]
mod tests;
