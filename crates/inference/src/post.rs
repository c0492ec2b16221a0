//! Output tensors → detections, classes and values, as [`app_package::pipeline::Post`] says.

use app_package::pipeline::{Post, PostBoxes, PostClasses, PostGrid, PostValues};

use crate::{
    engine::TensorData,
    error::{AppError, Result},
    geometry::Geometry,
    output::{AppOutput, ClassScore, Detection, ValueOut},
};

/// Best rows that enter non-maximum suppression, which is quadratic.
const MAX_CANDIDATES: usize = 3_000;
/// Detections that a step gives, best first.
const MAX_DETECTIONS: usize = 300;

/// Runs the steps in order. `geometry` is there when the input was a picture.
pub fn run(steps: &[Post], outputs: &[(String, TensorData)], geometry: Option<&Geometry>) -> Result<AppOutput> {
    let mut result = AppOutput::default();
    for step in steps {
        match step {
            Post::Classes(p) => classes(p, tensor(outputs, &p.output)?, &mut result.classes)?,
            Post::Values(p) => values(p, tensor(outputs, &p.output)?, &mut result.values)?,
            Post::Boxes(p) => boxes(p, tensor(outputs, &p.output)?, picture(geometry)?, &mut result.detections)?,
            Post::Grid(p) => grid(p, tensor(outputs, &p.output)?, picture(geometry)?, &mut result.detections)?,
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

fn classes(p: &PostClasses, tensor: &TensorData, out: &mut Vec<ClassScore>) -> Result<()> {
    let scores = tensor.data.to_f32();
    if scores.len() != p.labels.len() {
        return Err(wrong_shape("classes", tensor));
    }
    finite("classes", &scores)?;
    let scores = if p.softmax { softmax(&scores).into() } else { scores };
    out.extend(p.labels.iter().zip(scores.iter()).map(|(label, &score)| ClassScore { label: label.id.clone(), score }));
    Ok(())
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scores: Vec<f32> = logits.iter().map(|v| (v - most).exp()).collect();
    let sum: f32 = scores.iter().sum();
    scores.iter().map(|v| v / sum).collect()
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

/// A candidate box by its corners in tensor pixels.
#[derive(Clone, Copy)]
struct Candidate {
    label: usize,
    score: f32,
    corners: [f32; 4],
}

fn boxes(p: &PostBoxes, tensor: &TensorData, geometry: &Geometry, out: &mut Vec<Detection>) -> Result<()> {
    let width = p.labels.len() + 5;
    match tensor.shape.as_slice() {
        [1, _, w] if usize::try_from(*w).ok() == Some(width) => {}
        _ => return Err(wrong_shape("boxes", tensor)),
    }
    let data = tensor.data.to_f32();
    let mut candidates = Vec::new();
    for row in data.chunks_exact(width) {
        let [cx, cy, w, h, objectness, scores @ ..] = row else { continue };
        // Class scores are probabilities, so the product cannot reach the threshold when the objectness does not. NaN stays out.
        if *objectness < p.score || objectness.is_nan() {
            continue;
        }
        let Some((label, best)) = scores.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let score = objectness * best;
        let corners = [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0];
        if score >= p.score && score.is_finite() && corners.iter().all(|v| v.is_finite()) && *w > 0.0 && *h > 0.0 {
            candidates.push(Candidate { label, score, corners });
        }
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.len() >= MAX_DETECTIONS {
            break;
        }
        if kept
            .iter()
            .all(|better| better.label != candidate.label || p.iou.is_none_or(|most| iou(&better.corners, &candidate.corners) <= most))
        {
            kept.push(candidate);
        }
    }
    out.extend(kept.iter().filter_map(|c| {
        let [left, top, right, bottom] = c.corners;
        let bbox = geometry.to_source(left, top, right, bottom)?;
        Some(Detection { label: p.labels.get(c.label)?.id.clone(), score: c.score, bbox })
    }));
    Ok(())
}

/// Intersection over union of two boxes given by corners (left, top, right, bottom).
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let ([al, at, ar, ab], [bl, bt, br, bb]) = (a, b);
    let intersection = (ar.min(*br) - al.max(*bl)).max(0.0) * (ab.min(*bb) - at.max(*bt)).max(0.0);
    let union = (ar - al) * (ab - at) + (br - bl) * (bb - bt) - intersection;
    if union > 0.0 { intersection / union } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "grids are far below 2^24 cells a side")]
fn grid(p: &PostGrid, tensor: &TensorData, geometry: &Geometry, out: &mut Vec<Detection>) -> Result<()> {
    let (rows, columns) = match tensor.shape.as_slice() {
        [1, labels, rows, columns] if usize::try_from(*labels).ok() == Some(p.labels.len()) => {
            (usize::try_from(*rows).unwrap_or(0), usize::try_from(*columns).unwrap_or(0))
        }
        _ => return Err(wrong_shape("grid", tensor)),
    };
    if rows == 0 || columns == 0 {
        return Err(wrong_shape("grid", tensor));
    }
    let [width, height] = geometry.tensor;
    let (cell_w, cell_h) = (width / columns as f32, height / rows as f32);
    let data = tensor.data.to_f32();
    let mut found = Vec::new();
    let mut seen = vec![false; rows * columns];
    let mut open = Vec::new();
    for (label, cells) in p.labels.iter().zip(data.chunks_exact(rows * columns)) {
        // A cell is open when it counts and was not visited; NaN never counts.
        let hot = |seen: &[bool], at: usize| !seen.get(at).copied().unwrap_or(true) && cells.get(at).is_some_and(|&v| v >= p.score);
        seen.fill(false);
        for start in 0..cells.len() {
            if !hot(&seen, start) {
                continue;
            }
            let (mut left, mut right, mut top, mut bottom) = (columns, 0, rows, 0);
            let mut score = f32::NEG_INFINITY;
            let visit = |at: usize, seen: &mut [bool], open: &mut Vec<usize>| {
                if hot(seen, at) {
                    seen.iter_mut().skip(at).take(1).for_each(|s| *s = true);
                    open.push(at);
                }
            };
            visit(start, &mut seen, &mut open);
            while let Some(at) = open.pop() {
                let (row, column) = (at / columns, at % columns);
                (left, right, top, bottom) = (left.min(column), right.max(column), top.min(row), bottom.max(row));
                score = score.max(cells.get(at).copied().unwrap_or(0.0));
                if column > 0 {
                    visit(at - 1, &mut seen, &mut open);
                }
                if column + 1 < columns {
                    visit(at + 1, &mut seen, &mut open);
                }
                if row > 0 {
                    visit(at - columns, &mut seen, &mut open);
                }
                if row + 1 < rows {
                    visit(at + columns, &mut seen, &mut open);
                }
            }
            let corner = |cell: usize, side: f32| cell as f32 * side;
            let bbox = geometry.to_source(corner(left, cell_w), corner(top, cell_h), corner(right + 1, cell_w), corner(bottom + 1, cell_h));
            if let Some(bbox) = bbox.filter(|_| score.is_finite()) {
                found.push(Detection { label: label.id.clone(), score, bbox });
            }
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_DETECTIONS);
    out.append(&mut found);
    Ok(())
}
