//! Heat maps → one box per connected group of cells, upright, or turned as the text detectors of differentiable binarization need it (Liao et
//! al., Real-time Scene Text Detection with Differentiable Binarization, 2020).

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    reason = "sides of grids are far below 2^24, and floats become places in them; points are x and y"
)]

use app_package::pipeline::{Activation, PostGrid};

use super::{
    MAX_DETECTIONS,
    classes::sigmoid,
    groups::{Group, Neighbours, groups},
    raster::Raster,
    turned, wrong_shape,
};
use crate::{engine::TensorData, error::Result, geometry::Geometry, output::Detection};

/// Groups of a label that are looked at, in the order of their first cells.
const MAX_GROUPS: usize = 3_000;
/// Least sides of a turned box in cells, before and after it grew, as `PaddleOCR` has them.
const LEAST_SIDE: f32 = 3.0;
const LEAST_GROWN: f32 = 5.0;

pub(super) fn grid(p: &PostGrid, tensor: &TensorData, geometry: &Geometry, out: &mut Vec<Detection>) -> Result<()> {
    let (rows, columns) = match tensor.shape.as_slice() {
        [1, labels, rows, columns] if usize::try_from(*labels).ok() == Some(p.labels.len()) => {
            (usize::try_from(*rows).unwrap_or(0), usize::try_from(*columns).unwrap_or(0))
        }
        _ => return Err(wrong_shape("grid", tensor)),
    };
    if rows == 0 || columns == 0 {
        return Err(wrong_shape("grid", tensor));
    }
    let raster = Raster::new(geometry, rows, columns);
    let data = tensor.data.to_f32();
    let mut found = Vec::new();
    for (label, raw) in p.labels.iter().zip(data.chunks_exact(rows * columns)) {
        let cells: std::borrow::Cow<[f32]> =
            if p.activation == Activation::Sigmoid { raw.iter().copied().map(sigmoid).collect() } else { raw.into() };
        // NaN never counts.
        let hot: Vec<bool> = cells.iter().map(|&v| v >= p.score).collect();
        let hot = if p.dilate { dilated(&hot, columns) } else { hot };
        let neighbours = if p.turn { Neighbours::Eight } else { Neighbours::Four };
        for group in groups(&hot, columns, neighbours).into_iter().take(MAX_GROUPS) {
            let thing = if p.turn { turned_box(p, &group, &cells, &raster) } else { upright(p, &group, &cells, &raster) };
            found.extend(thing.map(|(score, bbox, corners)| Detection { corners, ..Detection::new(label.id.clone(), score, bbox) }));
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_DETECTIONS);
    out.append(&mut found);
    Ok(())
}

/// Cells that count, with their neighbours at the right, below and between: a kernel of 2 × 2 as `cv2.dilate` anchors it.
fn dilated(hot: &[bool], columns: usize) -> Vec<bool> {
    let is = |at: Option<usize>| at.and_then(|at| hot.get(at)).copied().unwrap_or(false);
    (0..hot.len())
        .map(|at| {
            let above = at.checked_sub(columns);
            let inner = at % columns > 0;
            is(Some(at)) || is(above) || (inner && (is(at.checked_sub(1)) || is(above.and_then(|above| above.checked_sub(1)))))
        })
        .collect()
}

type Thing = (f32, [f32; 4], Option<[[f32; 2]; 4]>);

fn upright(p: &PostGrid, group: &Group, cells: &[f32], raster: &Raster<'_>) -> Option<Thing> {
    let scores = group.cells.iter().filter_map(|&at| cells.get(at)).copied();
    let score = match p.mean {
        Some(least) => Some(scores.sum::<f32>() / group.cells.len() as f32).filter(|mean| *mean >= least)?,
        None => scores.fold(f32::NEG_INFINITY, f32::max),
    };
    let bbox = raster.around((group.left, group.right), (group.top, group.bottom))?;
    score.is_finite().then_some((score, bbox, None))
}

/// The smallest turned box around the middles of a group's cells, grown as `unclip` says.
fn turned_box(p: &PostGrid, group: &Group, cells: &[f32], raster: &Raster<'_>) -> Option<Thing> {
    let columns = raster.columns;
    // Only the ends of each row can be corners of the hull.
    let mut ends = vec![(usize::MAX, 0); group.bottom - group.top + 1];
    for &at in &group.cells {
        let end = ends.get_mut((at / columns).checked_sub(group.top)?)?;
        *end = (end.0.min(at % columns), end.1.max(at % columns));
    }
    let rows = ends.iter().enumerate().map(|(row, ends)| ((row + group.top) as f32, ends));
    let mut points: Vec<[f32; 2]> = rows.flat_map(|(y, (left, right))| [[*left as f32, y], [*right as f32, y]]).collect();
    let (centre, [w, h], angle) = turned::smallest(&mut points)?;
    if w.min(h) < LEAST_SIDE {
        return None;
    }
    let score = mean_inside(&turned::corners(centre, [w, h], angle), cells, columns);
    // Sums of numbers near the largest of FP32 have no end.
    if !score.is_finite() || score < p.mean.unwrap_or(0.0) {
        return None;
    }
    let (centre, sides, angle) = match p.unclip {
        None => (centre, [w, h], angle),
        Some(ratio) => {
            // Reference code grows the box in whole cells, to which it cuts the corners off.
            let mut whole = turned::corners(centre, [w, h], angle).map(|point| point.map(f32::trunc)).to_vec();
            let (centre, [across, down], angle) = turned::smallest(&mut whole)?;
            let grow = w * h * ratio / (w + h);
            if (across + grow).min(down + grow) < LEAST_GROWN {
                return None;
            }
            (centre, [across + grow, down + grow], angle)
        }
    };
    let [width, height] = raster.geometry.source;
    // Whole pixels in the picture, from which texts are cut out.
    let corners = turned::corners(centre, sides, angle).map(|point| {
        let [x, y] = raster.to_source(point);
        [x.round_ties_even().clamp(0.0, width - 1.0), y.round_ties_even().clamp(0.0, height - 1.0)]
    });
    let [left, top, right, bottom] = turned::around(&corners);
    Some((score, raster.geometry.within(left, top, right, bottom)?, Some(corners)))
}

/// Mean of the cells in a turned box, those that its border touches included: `fillPoly` of `OpenCV` on corners that are cut to whole cells, as
/// `box_score_fast` of `PaddleOCR` has it.
fn mean_inside(corners: &[[f32; 2]; 4], cells: &[f32], columns: usize) -> f32 {
    let [left, top, right, bottom] = turned::around(corners);
    let corners = corners.map(|[x, y]| [left.floor() + (x - left.floor()).trunc(), top.floor() + (y - top.floor()).trunc()]);
    let rows = cells.len().checked_div(columns).unwrap_or(0);
    let span = |begin: f32, end: f32, most: usize| {
        let (begin, end) = (begin.floor().max(0.0) as usize, end.ceil().max(0.0) as usize);
        begin..=end.min(most.saturating_sub(1))
    };
    let inside = |x: f32, y: f32| {
        let mut sides = corners.iter().zip(corners.iter().cycle().skip(1));
        sides.all(|(from, to)| {
            let (across, down) = (to[0] - from[0], to[1] - from[1]);
            across * (y - from[1]) - down * (x - from[0]) >= -0.5 * across.abs().max(down.abs())
        })
    };
    let (mut sum, mut count) = (0.0, 0u32);
    for row in span(top, bottom, rows) {
        for column in span(left, right, columns) {
            if inside(column as f32, row as f32) {
                sum += cells.get(row * columns + column).copied().unwrap_or(0.0);
                count += 1;
            }
        }
    }
    if count > 0 { sum / count as f32 } else { 0.0 }
}
