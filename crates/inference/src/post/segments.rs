//! Semantic segmentation → for each label one object, and its share of the picture.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides of grids are far below 2^24, and floats become places in them"
)]

use app_package::pipeline::{Activation, Background, Layout, PostSegments};

use super::{boxes::share, classes::sigmoid, numbers::Numbers, raster::Raster};
use crate::{
    error::{AppError, Result},
    geometry::Geometry,
    mask::Mask,
    output::{AppOutput, Detection, ValueOut},
};

/// Most cells of a grid.
const MAX_CELLS: usize = 1 << 26;

/// A grid over the tensor, with the class of each cell and its score.
struct Cells {
    rows: usize,
    columns: usize,
    /// Index among the labels; `u32::MAX` where there is none.
    labels: Vec<u32>,
    scores: Vec<f32>,
}

pub(super) fn segments(p: &PostSegments, numbers: Numbers<'_>, geometry: &Geometry, out: &mut AppOutput) -> Result<()> {
    let cells = Cells::read(p, &numbers)?;
    let raster = Raster::new(geometry, cells.rows, cells.columns);
    // The border of a letterbox is no part of the picture.
    let inside = cells.inside(&raster);
    let columns = cells.columns.max(1);
    let all = inside.iter().filter(|inside| **inside).count();
    for (index, label) in p.labels.iter().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let (mut count, mut sum, mut ends) = (0usize, 0.0f64, [usize::MAX, usize::MAX, 0, 0]);
        for (at, _) in cells.labels.iter().enumerate().filter(|(at, own)| **own == index && inside.get(*at) == Some(&true)) {
            count += 1;
            sum += f64::from(cells.scores.get(at).copied().unwrap_or(0.0));
            let (row, column) = (at / columns, at % columns);
            let [left, top, right, bottom] = ends;
            ends = [left.min(column), top.min(row), right.max(column), bottom.max(row)];
        }
        let part = if all > 0 { count as f64 / all as f64 } else { 0.0 };
        out.values.push(ValueOut { id: label.id.clone(), value: part, unit: String::new() });
        if count == 0 || part < f64::from(p.least) {
            continue;
        }
        let [left, top, right, bottom] = ends;
        let Some(bbox) = raster.around((left, right), (top, bottom)) else { continue };
        let mask = raster.mask(bbox, |at| cells.labels.get(at) == Some(&index));
        let area = mask.as_ref().map_or(0.0, Mask::share) * share(bbox, geometry);
        let score = (sum / count as f64) as f32;
        out.detections.push(Detection { mask, area: Some(area), ..Detection::new(label.id.clone(), score, bbox) });
    }
    Ok(())
}

impl Cells {
    fn read(p: &PostSegments, numbers: &Numbers<'_>) -> Result<Self> {
        let classes = p.labels.len() + usize::from(p.background != Background::None);
        let wrong = || numbers.unread(&format!("a grid of {classes} classes, or of classes as numbers, is needed"));
        let turned = p.layout == Layout::Nhwc;
        let [a, b, c] = numbers.planes().ok_or_else(wrong)?;
        let [channels, rows, columns] = if turned && numbers.shape.len() > 3 { [c, a, b] } else { [a, b, c] };
        if rows.saturating_mul(columns) > MAX_CELLS || ![1, classes].contains(&channels) {
            return Err(wrong());
        }
        let size = rows * columns;
        let mut cells = Self { rows, columns, labels: vec![u32::MAX; size], scores: vec![0.0; size] };
        let data = &numbers.data;
        if data.iter().any(|number| !number.is_finite()) {
            return Err(AppError::new("output-not-finite", format!("`segments`: {} has a number that is not finite", numbers.name)));
        }
        let label = |class: usize| {
            let label = if p.background == Background::First { class.checked_sub(1)? } else { class };
            u32::try_from(label).ok().filter(|_| label < p.labels.len())
        };
        let step = if turned { (1, channels) } else { (size, 1) };
        for (at, (own, score)) in cells.labels.iter_mut().zip(&mut cells.scores).enumerate() {
            let number = |class: usize| data.get(class * step.0 + at * step.1).copied().unwrap_or(0.0);
            let (class, sure) = if channels == 1 && classes > 1 {
                (number(0).round().max(0.0) as usize, 1.0)
            } else if channels == 1 {
                let sure = if p.activation == Activation::None { number(0) } else { sigmoid(number(0)) };
                (0, sure)
            } else {
                let best = (0..channels).max_by(|a, b| number(*a).total_cmp(&number(*b)).then(b.cmp(a))).unwrap_or(0);
                let most = number(best);
                let sure = match p.activation {
                    Activation::None => most,
                    Activation::Sigmoid => sigmoid(most),
                    Activation::Softmax => 1.0 / (0..channels).map(|class| (number(class) - most).exp()).sum::<f32>(),
                };
                (best, sure)
            };
            // One class alone needs a limit: half, where none is given.
            let least = if channels == 1 && classes == 1 && p.score <= 0.0 { 0.5 } else { p.score };
            if let Some(label) = label(class).filter(|_| p.score <= 0.0 && classes > 1 || sure >= least) {
                (*own, *score) = (label, sure);
            }
        }
        Ok(cells)
    }

    /// The cells whose middles lie in the picture.
    fn inside(&self, raster: &Raster<'_>) -> Vec<bool> {
        let [source_w, source_h] = raster.geometry.source;
        (0..self.labels.len())
            .map(|at| {
                let (row, column) = ((at / self.columns.max(1)) as f32, (at % self.columns.max(1)) as f32);
                let [x, y] = raster.to_source([column + 0.5, row + 0.5]);
                (0.0..=source_w).contains(&x) && (0.0..=source_h).contains(&y)
            })
            .collect()
    }
}
