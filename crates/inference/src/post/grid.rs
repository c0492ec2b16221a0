//! Heat maps → one box per connected group of cells.

use app_package::pipeline::PostGrid;

use super::{MAX_DETECTIONS, wrong_shape};
use crate::{engine::TensorData, error::Result, geometry::Geometry, output::Detection};

#[expect(clippy::cast_precision_loss, reason = "grids are far below 2^24 cells a side")]
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
