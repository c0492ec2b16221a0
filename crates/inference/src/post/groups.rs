//! Connected groups of cells of a grid.

/// A group of cells that count.
#[derive(Debug)]
pub(super) struct Group {
    /// Its cells, row by column, in the order they were found.
    pub cells: Vec<usize>,
    /// The first and last columns, and rows.
    pub left: usize,
    pub right: usize,
    pub top: usize,
    pub bottom: usize,
}

/// Which neighbours belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// Those at a side.
    Four,
    /// Those at a side or a corner.
    Eight,
}

/// The groups of the cells that count, in the order of their first cells. A grid of no columns has none.
pub(super) fn groups(counts: &[bool], columns: usize, neighbours: Neighbours) -> Vec<Group> {
    let mut left = counts.to_vec();
    let rows = counts.len().checked_div(columns).unwrap_or(0);
    let mut found = Vec::new();
    for start in 0..counts.len() {
        if !take(&mut left, start) {
            continue;
        }
        let mut group = Group { cells: vec![start], left: columns, right: 0, top: rows, bottom: 0 };
        let mut next = 0;
        while let Some(&at) = group.cells.get(next) {
            next += 1;
            let (row, column) = (at / columns, at % columns);
            (group.left, group.right) = (group.left.min(column), group.right.max(column));
            (group.top, group.bottom) = (group.top.min(row), group.bottom.max(row));
            for y in row.saturating_sub(1)..=(row + 1).min(rows - 1) {
                for x in column.saturating_sub(1)..=(column + 1).min(columns - 1) {
                    let touches = neighbours == Neighbours::Eight || y == row || x == column;
                    if touches && take(&mut left, y * columns + x) {
                        group.cells.push(y * columns + x);
                    }
                }
            }
        }
        found.push(group);
    }
    found
}

/// Takes a cell that is left; whether it was.
fn take(left: &mut [bool], at: usize) -> bool {
    left.get_mut(at).is_some_and(std::mem::take)
}
