//! Output tensors → detections, classes and values, as [`app_package::pipeline::Post`] says.

mod anomaly;
mod boxes;
mod classes;
mod gallery;
mod grid;
mod groups;
mod looks;
mod masks;
mod numbers;
mod raster;
mod rows;
mod score;
mod segments;
mod suppress;
mod text;
mod turned;
mod values;

use std::path::Path;

use app_package::pipeline::Post;

pub use suppress::{iou, most};

use self::numbers::Numbers;
use crate::{
    engine::TensorData,
    error::{AppError, Result},
    geometry::Geometry,
    mask,
    output::{AppOutput, Detection},
};

/// Detections that a step gives, best first.
pub const MAX_DETECTIONS: usize = 300;

/// A step with what it reads of the package.
pub struct Ready {
    step: Post,
    file: File,
}

/// What a step reads of the package.
enum File {
    None,
    Alphabet(Vec<String>),
    Gallery(gallery::Gallery),
}

/// Reads the files of the steps. Codes `file-missing`, `file-outside`, `input-too-large`, `alphabet-unreadable`, `vectors-unreadable`.
pub fn ready(dir: &Path, steps: &[Post]) -> Result<Vec<Ready>> {
    let ready = |step: &Post| {
        let file = match step {
            Post::Text(p) => File::Alphabet(text::alphabet(dir, &p.alphabet)?),
            Post::Gallery(p) => File::Gallery(gallery::Gallery::read(dir, p)?),
            _ => File::None,
        };
        Ok(Ready { step: step.clone(), file })
    };
    steps.iter().map(ready).collect()
}

/// Runs the steps in order. `geometry` is there when the input was a picture, `prepared` is what the model was given.
/// Codes `tensor-shape`, `tensor-mismatch`, `output-not-finite`.
pub fn run(
    steps: &[Ready],
    outputs: &[(String, TensorData)],
    geometry: Option<&Geometry>,
    prepared: Option<&TensorData>,
) -> Result<AppOutput> {
    let mut result = AppOutput::default();
    for Ready { step, file } in steps {
        match (step, file) {
            (Post::Classes(p), _) => classes::classes(p, tensor(outputs, &p.output)?, &mut result.classes)?,
            (Post::Values(p), _) => values::values(p, tensor(outputs, &p.output)?, &mut result.values)?,
            (Post::Boxes(p), _) => boxes::boxes(p, outputs, picture(geometry)?, &mut result.detections)?,
            (Post::Grid(p), _) => grid::grid(p, tensor(outputs, &p.output)?, picture(geometry)?, &mut result.detections)?,
            (Post::Segments(p), _) => {
                segments::segments(p, Numbers::find("segments", &p.output, outputs)?, picture(geometry)?, &mut result)?;
            }
            (Post::Anomaly(p), _) => anomaly::anomaly(p, outputs, geometry, prepared, &mut result)?,
            (Post::Text(p), File::Alphabet(alphabet)) => {
                result.texts.push(text::text(p, alphabet, &Numbers::find("text", &p.output, outputs)?)?);
            }
            (Post::Gallery(p), File::Gallery(gallery)) => gallery.nearest(p, tensor(outputs, &p.output)?, &mut result.classes)?,
            (Post::Text(_) | Post::Gallery(_), _) => return Err(AppError::new("file-missing", "a step was not made ready")),
        }
    }
    best_first(&mut result);
    Ok(result)
}

/// Puts the best first, as rules and pages read them.
pub fn best_first(result: &mut AppOutput) {
    result.classes.sort_by(|a, b| b.score.total_cmp(&a.score));
    result.detections.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// Intersection over union of two things: of their masks where both have one, of their turned boxes where one is turned, else of their boxes.
pub fn overlap(a: &Detection, b: &Detection) -> f32 {
    match (&a.mask, &b.mask) {
        (Some(one), Some(other)) => mask::overlap((&a.bbox, one), (&b.bbox, other)),
        _ => box_overlap(a, b),
    }
}

/// Intersection over union of the boxes of two things, of the turned ones where one is turned.
pub fn box_overlap(a: &Detection, b: &Detection) -> f32 {
    if a.corners.is_some() || b.corners.is_some() {
        return turned::overlap(&a.outline(), &b.outline());
    }
    overlap_of([a.bbox, b.bbox])
}

/// Intersection over union of two boxes of left, top, width, height.
pub fn overlap_of(boxes: [[f32; 4]; 2]) -> f32 {
    let [a, b] = boxes.map(|[x, y, w, h]| [x, y, x + w, y + h]);
    iou(&a, &b)
}

fn tensor<'a>(outputs: &'a [(String, TensorData)], name: &str) -> Result<&'a TensorData> {
    outputs
        .iter()
        .find_map(|(n, tensor)| (n == name).then_some(tensor))
        .ok_or_else(|| AppError::new("tensor-shape", format!("the model gave no output `{name}`")))
}

fn picture(geometry: Option<&Geometry>) -> Result<&Geometry> {
    geometry.ok_or_else(|| AppError::new("tensor-mismatch", "objects need a picture as input"))
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

#[cfg(test)]
mod tests;
