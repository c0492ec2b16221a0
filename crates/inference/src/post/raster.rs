//! Cells of a map over the tensor, and where they lie in the picture.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides of maps are far below 2^24, and floats become places in them"
)]

use crate::{geometry::Geometry, mask::Mask};

/// How a map of so many columns and rows lies over the tensor.
pub(super) struct Raster<'a> {
    pub geometry: &'a Geometry,
    pub columns: usize,
    /// Width and height of a cell in pixels of the tensor.
    pub cell: [f32; 2],
}

impl<'a> Raster<'a> {
    pub fn new(geometry: &'a Geometry, rows: usize, columns: usize) -> Self {
        let [width, height] = geometry.tensor;
        Self { geometry, columns, cell: [width / columns as f32, height / rows as f32] }
    }

    /// The box in the picture around the first to the last of columns and rows. `None` where they lie outside.
    pub fn around(&self, (left, right): (usize, usize), (top, bottom): (usize, usize)) -> Option<[f32; 4]> {
        let [across, down] = self.cell;
        let edge = |cell: usize, side: f32| cell as f32 * side;
        self.geometry.to_source(edge(left, across), edge(top, down), edge(right + 1, across), edge(bottom + 1, down))
    }

    /// A point of the map, in cells, in pixels of the picture.
    pub fn to_source(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [across, down] = self.cell;
        self.geometry.point_to_source([x * across, y * down])
    }

    /// The mask over a box of the picture of the cells that `inside` says, by their place in the map.
    pub fn mask(&self, bbox: [f32; 4], inside: impl Fn(usize) -> bool) -> Option<Mask> {
        let [across, down] = self.cell;
        Mask::over(bbox, |x, y| {
            let [x, y] = self.geometry.point_to_tensor([x, y]);
            let (column, row) = ((x / across).floor().max(0.0) as usize, (y / down).floor().max(0.0) as usize);
            column < self.columns && inside(row * self.columns + column)
        })
    }
}
