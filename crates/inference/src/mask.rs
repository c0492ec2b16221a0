//! Which cells of a box are the thing in it: run lengths as in COCO's uncompressed RLE, but of a grid over the box.
//!
//! The grid has a cell for each pixel of the source up to [`MAX_SIDE`] on a side, so that a mask is small however large the picture is.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides of grids are far below 2^24, and floats become places in them"
)]

use serde::{Deserialize, Serialize};

/// Most cells on a side of the grid.
pub const MAX_SIDE: u32 = 256;

/// A mask over a box.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Rows and columns of the grid.
    pub size: [u32; 2],
    /// Lengths of runs, down the columns from left to right, in turn of cells outside and inside; the first may be 0.
    pub counts: Vec<u32>,
}

impl Mask {
    /// Rows and columns of the grid over a box of this width and height.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub fn grid([_, _, w, h]: [f32; 4]) -> [u32; 2] {
        [h, w].map(|side| side.ceil().clamp(1.0, MAX_SIDE as f32) as u32)
    }

    /// The mask over a box whose cells are inside where `inside` says so of their middles, in the coordinates of the box. `None` where none is.
    pub fn over(bbox: [f32; 4], mut inside: impl FnMut(f32, f32) -> bool) -> Option<Self> {
        let [rows, columns] = Self::grid(bbox);
        let [x, y, w, h] = bbox;
        let (mut counts, mut run, mut state) = (Vec::new(), 0u32, false);
        for column in 0..columns {
            let at_x = x + (column as f32 + 0.5) * w / columns as f32;
            for row in 0..rows {
                let at_y = y + (row as f32 + 0.5) * h / rows as f32;
                if inside(at_x, at_y) != state {
                    counts.push(run);
                    (run, state) = (0, !state);
                }
                run += 1;
            }
        }
        counts.push(run);
        (counts.len() > 1).then_some(Self { size: [rows, columns], counts })
    }

    /// Share of the cells that are inside.
    pub fn share(&self) -> f32 {
        let inside: u64 = self.counts.iter().skip(1).step_by(2).map(|&n| u64::from(n)).sum();
        let all: u64 = self.size.iter().map(|&n| u64::from(n)).product();
        if all > 0 { (inside as f64 / all as f64) as f32 } else { 0.0 }
    }

    /// The cells one after the other, down the columns; of a mask that says more than its grid holds, those of the grid.
    fn cells(&self) -> Vec<bool> {
        let all = self.size.iter().map(|&n| (n as usize).min(MAX_SIDE as usize)).product();
        let mut cells = Vec::with_capacity(all);
        for (at, &run) in self.counts.iter().enumerate() {
            cells.extend(std::iter::repeat_n(at % 2 == 1, (run as usize).min(all - cells.len())));
        }
        cells.resize(all, false);
        cells
    }
}

/// Intersection over union of two masks, each over its box, on a grid over both boxes.
pub fn overlap(a: (&[f32; 4], &Mask), b: (&[f32; 4], &Mask)) -> f32 {
    let sides = |[x, y, w, h]: &[f32; 4]| (*x, *y, x + w, y + h);
    let ((al, at, ar, ab), (bl, bt, br, bb)) = (sides(a.0), sides(b.0));
    let (left, top) = (al.min(bl), at.min(bt));
    let (width, height) = (ar.max(br) - left, ab.max(bb) - top);
    let [(a_cells, a_mask), (b_cells, b_mask)] = [a, b].map(|(_, mask)| (mask.cells(), mask));
    let holds = |bbox: &[f32; 4], mask: &Mask, cells: &[bool], x: f32, y: f32| {
        let [bx, by, bw, bh] = bbox;
        let place = |at: f32, begin: f32, side: f32, count: u32| {
            let cell = ((at - begin) / side * count as f32).floor();
            (cell >= 0.0 && cell < count as f32).then_some(cell as usize)
        };
        let [rows, columns] = mask.size;
        let found = place(x, *bx, *bw, columns).zip(place(y, *by, *bh, rows));
        found.is_some_and(|(column, row)| cells.get(column * rows as usize + row).copied().unwrap_or(false))
    };
    let (mut both, mut any) = (0u32, 0u32);
    for row in 0..MAX_SIDE {
        let y = top + (row as f32 + 0.5) * height / MAX_SIDE as f32;
        for column in 0..MAX_SIDE {
            let x = left + (column as f32 + 0.5) * width / MAX_SIDE as f32;
            let (a, b) = (holds(a.0, a_mask, &a_cells, x, y), holds(b.0, b_mask, &b_cells, x, y));
            both += u32::from(a && b);
            any += u32::from(a || b);
        }
    }
    if any > 0 { both as f32 / any as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_down_the_columns_and_begin_outside() {
        let left_half = Mask::over([10.0, 20.0, 4.0, 2.0], |x, _| x < 12.0).unwrap();
        assert_eq!(left_half, Mask { size: [2, 4], counts: vec![0, 4, 4] });
        assert!((left_half.share() - 0.5).abs() < 1e-6);
        let lower = Mask::over([10.0, 20.0, 2.0, 2.0], |_, y| y > 21.0).unwrap();
        assert_eq!(lower.counts, [1, 1, 1, 1]);
        assert_eq!(Mask::over([0.0, 0.0, 3.0, 3.0], |_, _| false), None);
        assert_eq!(Mask::grid([0.0, 0.0, 5_000.0, 0.2]), [1, 256]);
    }

    #[test]
    fn overlap_is_of_what_is_inside() {
        let bbox = [0.0, 0.0, 100.0, 100.0];
        let left = Mask::over(bbox, |x, _| x < 50.0).unwrap();
        let most = Mask::over(bbox, |x, _| x < 75.0).unwrap();
        assert!((overlap((&bbox, &left), (&bbox, &most)) - 2.0 / 3.0).abs() < 0.02);
        assert!((overlap((&bbox, &left), (&bbox, &left)) - 1.0).abs() < 1e-6);
        // Another box around the same thing.
        let wide = [0.0, 0.0, 110.0, 100.0];
        let again = Mask::over(wide, |x, _| x < 50.0).unwrap();
        assert!(overlap((&bbox, &left), (&wide, &again)) > 0.97);
        // Files may say anything.
        let odd = Mask { size: [u32::MAX, u32::MAX], counts: vec![u32::MAX; 9] };
        assert!(overlap((&bbox, &odd), (&wide, &odd)) >= 0.0);
        assert!(overlap((&[0.0; 4], &Mask::default()), (&bbox, &left)) >= 0.0);
    }
}
