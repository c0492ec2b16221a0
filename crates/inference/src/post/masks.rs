//! Masks of boxes: from prototypes and each row's factors, or a plane of numbers for each row.
//!
//! A mask is looked at where the box's cells lie in the picture, with numbers between those of the plane, as reference code enlarges them
//! before it cuts: a cell is inside where that number is above 0. Masks of prototypes are those of whole pixels of the tensor that begin in the
//! box, as `process_mask` of Ultralytics makes them.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides of grids are far below 2^24, and floats become places in them"
)]

use super::{
    numbers::Numbers,
    rows::{Parts, Rows, Tensors},
};
use crate::{error::Result, geometry::Geometry, mask::Mask};

/// What FP32 rounds by in pixels.
const ROUNDING: f32 = 0.01;

/// Where masks come from.
pub(super) enum Masks<'a> {
    Prototypes { factors: Rows<'a>, planes: &'a Numbers<'a>, shape: [usize; 3] },
    Own { planes: &'a Numbers<'a>, shape: [usize; 3] },
}

impl<'a> Masks<'a> {
    /// Code `tensor-shape` where the tensors do not fit the rows.
    pub(super) fn new(parts: &Parts<'a>, tensors: &'a Tensors<'a>) -> Result<Option<Self>> {
        if let Some(planes) = &tensors.masks {
            let shape = planes.planes().filter(|[rows, _, _]| *rows >= parts.count);
            let shape = shape.ok_or_else(|| planes.unread(&format!("{} rows need a mask each", parts.count)))?;
            return Ok(Some(Self::Own { planes, shape }));
        }
        let Some((factors, planes)) = parts.factors.zip(tensors.prototypes.as_ref()) else { return Ok(None) };
        let shape = planes.planes().filter(|[channels, _, _]| *channels == factors.width());
        let shape = shape.ok_or_else(|| planes.unread(&format!("its rows have {} factors each", factors.width())))?;
        Ok(Some(Self::Prototypes { factors, planes, shape }))
    }

    /// The mask of a row over its box in the source. `None` where no cell is inside.
    pub(super) fn of(&self, row: usize, bbox: [f32; 4], geometry: &Geometry) -> Option<Mask> {
        let (planes, [_, rows, columns]) = match self {
            Self::Prototypes { planes, shape, .. } | Self::Own { planes, shape } => (planes, *shape),
        };
        let plane = Window::around(bbox, geometry, rows, columns);
        let size = rows * columns;
        let numbers = match self {
            Self::Own { .. } => plane.cut(planes.data.get(row * size..(row + 1) * size).unwrap_or_default()),
            Self::Prototypes { factors, shape: [channels, ..], .. } => {
                let mut sum = vec![0.0; plane.rows * plane.columns];
                for (channel, one) in planes.data.chunks_exact(size).take(*channels).enumerate() {
                    let factor = factors.get(row, channel).unwrap_or(0.0);
                    for (sum, number) in sum.iter_mut().zip(plane.cut(one)) {
                        *sum += factor * number;
                    }
                }
                sum
            }
        };
        let whole = matches!(self, Self::Prototypes { .. });
        let [x, y, ..] = bbox;
        let [left, top] = geometry.point_to_tensor([x, y]).map(|side| side - ROUNDING);
        Mask::over(bbox, |x, y| {
            let [x, y] = geometry.point_to_tensor([x, y]);
            if !whole {
                return plane.at(&numbers, x, y) > 0.0;
            }
            let (x, y) = (x.floor(), y.floor());
            x >= left && y >= top && plane.at(&numbers, x + 0.5, y + 0.5) > 0.0
        })
    }
}

/// The part of a plane over the tensor that a box needs.
struct Window {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
    /// Columns of the whole plane.
    stride: usize,
    /// Cells of the plane to a pixel of the tensor.
    scale: [f32; 2],
}

impl Window {
    fn around([x, y, w, h]: [f32; 4], geometry: &Geometry, rows: usize, columns: usize) -> Self {
        let [width, height] = geometry.tensor;
        let scale = [columns as f32 / width, rows as f32 / height];
        let [left, top] = geometry.point_to_tensor([x, y]);
        let [right, bottom] = geometry.point_to_tensor([x + w, y + h]);
        // One cell more on each side, for the numbers between cells.
        let span = |begin: f32, end: f32, scale: f32, most: usize| {
            let begin = ((begin * scale - 0.5).floor() - 1.0).clamp(0.0, most as f32 - 1.0) as usize;
            let end = ((end * scale + 0.5).ceil() + 1.0).clamp(0.0, most as f32) as usize;
            (begin, end.saturating_sub(begin).max(1))
        };
        let ((left, width), (top, height)) = (span(left, right, scale[0], columns), span(top, bottom, scale[1], rows));
        Self { top, left, rows: height, columns: width, stride: columns, scale }
    }

    fn cut(&self, plane: &[f32]) -> Vec<f32> {
        let rows = plane.chunks_exact(self.stride).skip(self.top).take(self.rows);
        rows.flat_map(|row| row.get(self.left..self.left + self.columns).unwrap_or_default()).copied().collect()
    }

    /// The number at a point of the tensor, between the middles of cells; beyond the plane that of its border.
    fn at(&self, numbers: &[f32], x: f32, y: f32) -> f32 {
        let place = |at: f32, scale: f32, begin: usize, count: usize| {
            let at = (at * scale - 0.5 - begin as f32).clamp(0.0, count as f32 - 1.0);
            let cell = at.floor();
            (cell as usize, (cell as usize + 1).min(count - 1), at - cell)
        };
        let (left, right, across) = place(x, self.scale[0], self.left, self.columns);
        let (top, bottom, down) = place(y, self.scale[1], self.top, self.rows);
        let number = |row: usize, column: usize| numbers.get(row * self.columns + column).copied().unwrap_or(f32::NAN);
        let above = number(top, left) * (1.0 - across) + number(top, right) * across;
        let below = number(bottom, left) * (1.0 - across) + number(bottom, right) * across;
        above * (1.0 - down) + below * down
    }
}
