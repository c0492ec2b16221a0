//! How unusual a picture is, from a score, a map, or what a model repeats of its input.

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sides of grids are far below 2^24, and scores are FP32")]

use std::borrow::Cow;

use app_package::pipeline::{ErrorKind, PostAnomaly};

use super::{
    MAX_DETECTIONS,
    boxes::share,
    groups::{Neighbours, groups},
    numbers::Numbers,
    raster::Raster,
};
use crate::{
    engine::TensorData,
    error::{AppError, Result},
    geometry::Geometry,
    mask::Mask,
    output::{AppOutput, Detection, ValueOut},
};

pub(super) fn anomaly(
    p: &PostAnomaly,
    outputs: &[(String, TensorData)],
    geometry: Option<&Geometry>,
    prepared: Option<&TensorData>,
    out: &mut AppOutput,
) -> Result<()> {
    let find = |name: &'_ Option<String>| {
        name.as_ref().map(|name| Numbers::find("anomaly", name, outputs).map(|n| (n.shape, n.data.into_owned())))
    };
    let score = find(&p.output).transpose()?;
    let map = match (&p.map, &p.reconstruction) {
        (Some(name), _) => Some(plane(Numbers::find("anomaly", name, outputs)?)?),
        (None, Some(name)) => Some(differences(p.error, &Numbers::find("anomaly", name, outputs)?, prepared, geometry.is_some())?),
        (None, None) => None,
    };
    let most = |numbers: &[f32]| numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let value = match (&score, &map) {
        (Some((_, numbers)), _) if numbers.len() == 1 => most(numbers),
        (Some((shape, _)), _) => {
            let name = p.output.as_deref().unwrap_or_default();
            return Err(AppError::new("tensor-shape", format!("`anomaly`: {name} has shape {shape:?}; one number is needed")));
        }
        (None, Some((_, _, cells))) => most(cells),
        (None, None) => return Err(AppError::new("tensor-mismatch", "`anomaly` names no output")),
    };
    let finite = map.as_ref().is_none_or(|(_, _, cells)| cells.iter().all(|cell| cell.is_finite()));
    if !value.is_finite() || !finite {
        return Err(AppError::new("output-not-finite", "`anomaly`: the model gave a number that is not finite"));
    }
    out.values.push(ValueOut { id: p.label.id.clone(), value: f64::from(value), unit: String::new() });
    let (Some((rows, columns, cells)), Some(geometry)) = (map, geometry) else { return Ok(()) };
    let raster = Raster::new(geometry, rows, columns);
    let hot: Vec<bool> = cells.iter().map(|cell| *cell >= p.threshold).collect();
    let mut found = Vec::new();
    for group in groups(&hot, columns, Neighbours::Four) {
        let score = group.cells.iter().filter_map(|at| cells.get(*at)).copied().fold(f32::NEG_INFINITY, f32::max);
        found.push((score, group));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (score, group) in found.into_iter().take(MAX_DETECTIONS) {
        let Some(bbox) = raster.around((group.left, group.right), (group.top, group.bottom)) else { continue };
        let own: std::collections::HashSet<usize> = group.cells.into_iter().collect();
        let mask = raster.mask(bbox, |at| own.contains(&at));
        let area = mask.as_ref().map_or(0.0, Mask::share) * share(bbox, geometry);
        out.detections.push(Detection { mask, area: Some(area), ..Detection::new(p.label.id.clone(), score, bbox) });
    }
    Ok(())
}

type Plane<'a> = (usize, usize, Cow<'a, [f32]>);

/// A map of one channel.
fn plane(numbers: Numbers<'_>) -> Result<Plane<'_>> {
    match numbers.planes() {
        Some([1, rows, columns]) => Ok((rows, columns, numbers.data)),
        _ => Err(numbers.unread("a map of one channel is needed")),
    }
}

/// What a reconstruction differs by: of a picture in each of its pixels, else all in one.
fn differences(kind: ErrorKind, again: &Numbers<'_>, prepared: Option<&TensorData>, picture: bool) -> Result<Plane<'static>> {
    let first = prepared.map(|prepared| prepared.data.to_f32());
    let first = first.filter(|first| first.len() == again.data.len() && !first.is_empty());
    let first = first.ok_or_else(|| again.unread("it must be that of what the model was given"))?;
    let difference = |(a, b): (&f32, &f32)| match kind {
        ErrorKind::Mse => (a - b).powi(2),
        ErrorKind::Mae => (a - b).abs(),
    };
    let all: Vec<f32> = first.iter().zip(again.data.iter()).map(difference).collect();
    if let Some([channels, rows, columns]) = again.planes().filter(|_| picture) {
        // Channels are first, or where only that makes sense last.
        let last = channels > 4 && columns <= 4;
        let (channels, rows, columns, step) =
            if last { (columns, channels, rows, (1, columns)) } else { (channels, rows, columns, (rows * columns, 1)) };
        let cells = (0..rows * columns).map(|at| {
            let sum: f32 = (0..channels).filter_map(|channel| all.get(channel * step.0 + at * step.1)).sum();
            sum / channels as f32
        });
        return Ok((rows, columns, cells.collect()));
    }
    let sum: f64 = all.iter().copied().map(f64::from).sum();
    Ok((1, 1, vec![(sum / all.len() as f64) as f32].into()))
}
