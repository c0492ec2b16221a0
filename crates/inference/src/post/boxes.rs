//! Rows of boxes → detections.
//!
//! A row's score is looked at before its box: most rows fall away by it, and only the boxes of the others are computed.

use app_package::pipeline::{BoxForm, BoxGrid, BoxUnit, PostBoxes};

use super::{
    masks::Masks,
    rows::{Parts, Tensors},
    score::{BLOCK, Scorer},
    suppress::{Candidate, suppress},
    turned,
};
use crate::{
    engine::TensorData,
    error::{AppError, Result},
    geometry::Geometry,
    mask::Mask,
    output::{Detection, Keypoint},
};

/// Sides of a YOLOX grid's cells in pixels.
const STRIDES: [u16; 3] = [8, 16, 32];

pub(super) fn boxes(p: &PostBoxes, outputs: &[(String, TensorData)], geometry: &Geometry, out: &mut Vec<Detection>) -> Result<()> {
    let tensors = Tensors::find(p, outputs)?;
    let parts = Parts::find(p, &tensors)?;
    let cells = match p.grid {
        BoxGrid::None => None,
        BoxGrid::Yolox => Some(Cells::new(p, geometry.tensor, parts.rows)?),
    };
    let mut candidates = Vec::new();
    let mut scorer = Scorer::new(p, &parts);
    for start in (0..parts.count).step_by(BLOCK) {
        let block = start..parts.count.min(start.saturating_add(BLOCK));
        scorer.enter(block.clone());
        candidates.extend(block.filter_map(|row| {
            let (label, score) = scorer.of(row)?;
            let corners = corners(p, &parts, cells.as_ref(), geometry, row)?;
            let angle = parts.angle.map_or(Some(0.0), |angle| angle.get(row, 0).filter(|angle| angle.is_finite()))?;
            Some(Candidate { label, score, corners, angle, row })
        }));
    }
    let masks = Masks::new(&parts, &tensors)?;
    for candidate in suppress(p, parts.angle.is_some(), candidates) {
        out.extend(found(p, &parts, masks.as_ref(), geometry, &candidate)?);
    }
    Ok(())
}

/// A candidate as it is told; `None` where nothing of it lies in the picture.
fn found(p: &PostBoxes, parts: &Parts, masks: Option<&Masks>, geometry: &Geometry, c: &Candidate) -> Result<Option<Detection>> {
    let [left, top, right, bottom] = c.corners;
    let to_source = |point| if p.unit == BoxUnit::Source { point } else { geometry.point_to_source(point) };
    let turned = parts.angle.map(|_| {
        let centre = [f32::midpoint(left, right), f32::midpoint(top, bottom)];
        turned::corners(centre, [right - left, bottom - top], c.angle).map(to_source)
    });
    let bbox = match (&turned, p.unit) {
        (Some(corners), _) => {
            let [left, top, right, bottom] = turned::around(corners);
            geometry.within(left, top, right, bottom)
        }
        (None, BoxUnit::Source) => geometry.within(left, top, right, bottom),
        (None, BoxUnit::Pixels | BoxUnit::Relative) => geometry.to_source(left, top, right, bottom),
    };
    // Sides may be too long for FP32 though both ends of them are not.
    let whole = turned.iter().flatten().flatten().all(|number| number.is_finite());
    let (Some(bbox), Some(label), true) = (bbox, p.labels.get(c.label), whole) else { return Ok(None) };
    let mut detection = Detection { corners: turned, ..Detection::new(label.id.clone(), c.score, bbox) };
    if let Some(masks) = masks {
        detection.mask = masks.of(c.row, bbox, geometry);
        detection.area = Some(detection.mask.as_ref().map_or(0.0, Mask::share) * share(bbox, geometry));
    }
    if let (Some(points), Some(kinds)) = (parts.keypoints, &p.keypoints) {
        let dims = usize::from(kinds.dims);
        let [width, height] = if p.unit == BoxUnit::Relative { geometry.tensor } else { [1.0, 1.0] };
        let number = |at: usize| points.get(c.row, at).filter(|number| number.is_finite());
        let point = |(at, name): (usize, &String)| {
            let first = at.checked_mul(dims)?;
            let [x, y] = to_source([number(first)? * width, number(first.checked_add(1)?)? * height]);
            // Into the picture, as Ultralytics does.
            let (x, y) = (x.clamp(0.0, geometry.source[0]), y.clamp(0.0, geometry.source[1]));
            let score = if dims == 3 { number(first.checked_add(2)?)? } else { 1.0 };
            Some(Keypoint { name: name.clone(), x, y, score })
        };
        let all: Option<Vec<Keypoint>> = kinds.names.iter().enumerate().map(point).collect();
        let not_finite = || AppError::new("output-not-finite", format!("`boxes` of `{}`: a point is not finite", p.output));
        detection.keypoints = all.ok_or_else(not_finite)?;
    }
    Ok(Some(detection))
}

/// Share of the picture that a box covers.
pub(super) fn share([_, _, w, h]: [f32; 4], geometry: &Geometry) -> f32 {
    let [width, height] = geometry.source;
    (w * h / (width * height)).clamp(0.0, 1.0)
}

/// A row's box by its corners in pixels of the tensor, or of the source where the unit is that; `None` where it is empty or not finite.
fn corners(p: &PostBoxes, parts: &Parts, cells: Option<&Cells>, geometry: &Geometry, row: usize) -> Option<[f32; 4]> {
    let number = |column| parts.corners.get(row, column);
    let mut four = [number(0)?, number(1)?, number(2)?, number(3)?];
    if let Some(cells) = cells {
        four = cells.apply(row, four)?;
    }
    let [x, y, across, down] = four;
    let (filled, corners) = match p.form {
        BoxForm::Cxcywh => (across > 0.0 && down > 0.0, [x - across / 2.0, y - down / 2.0, x + across / 2.0, y + down / 2.0]),
        BoxForm::Xyxy => (across > x && down > y, four),
        BoxForm::Xywh => (across > 0.0 && down > 0.0, [x, y, x + across, y + down]),
    };
    let [width, height] = match p.unit {
        BoxUnit::Relative => geometry.tensor,
        BoxUnit::Pixels | BoxUnit::Source => [1.0, 1.0],
    };
    let [left, top, right, bottom] = corners;
    let corners = [left * width, top * height, right * width, bottom * height];
    (filled && corners.iter().all(|v| v.is_finite())).then_some(corners)
}

/// The cells that rows belong to: grids of growing strides, each row by row.
struct Cells {
    /// Stride, columns, rows of the tensor that the grid takes.
    grids: [(f32, usize, usize); STRIDES.len()],
}

impl Cells {
    /// Code `tensor-shape` when the grids of a tensor of this size have another number of cells than there are rows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sides of pictures are whole, positive and far below 2^24")]
    fn new(p: &PostBoxes, [width, height]: [f32; 2], rows: usize) -> Result<Self> {
        let grids = STRIDES.map(|stride| {
            let cells = |side: f32| (side / f32::from(stride)).floor() as usize;
            (f32::from(stride), cells(width), cells(width).saturating_mul(cells(height)))
        });
        let wanted = grids.iter().map(|(_, _, cells)| *cells).fold(0, usize::saturating_add);
        if wanted != rows {
            let why = format!("`boxes`: {} has {rows} rows; `grid: yolox` on {width} × {height} pixels needs {wanted}", p.output);
            return Err(AppError::new("tensor-shape", why));
        }
        Ok(Self { grids })
    }

    /// What a row's numbers say in pixels.
    #[expect(clippy::cast_precision_loss, reason = "grids are far below 2^24 cells a side")]
    fn apply(&self, row: usize, [x, y, w, h]: [f32; 4]) -> Option<[f32; 4]> {
        let mut cell = row;
        for &(stride, columns, cells) in &self.grids {
            if cell < cells {
                let (column, line) = (cell.checked_rem(columns)?, cell.checked_div(columns)?);
                return Some([(x + column as f32) * stride, (y + line as f32) * stride, w.exp() * stride, h.exp() * stride]);
            }
            cell = cell.checked_sub(cells)?;
        }
        None
    }
}
