//! The assignment of rows to columns that gains most in all.
//!
//! Shortest augmenting paths with potentials: Kuhn–Munkres in the form of Jonker and Volgenant (Computing 38, 1987), as cp-algorithms.com
//! writes it ("Hungarian algorithm"). Takes rows² × columns steps.

/// A column, and the last one of a path before it.
#[derive(Clone, Default)]
struct Column {
    /// The row that has it, from 1; 0 for none.
    row: usize,
    potential: f64,
    /// Least cost of a path to it, and where that path comes from.
    least: f64,
    way: usize,
    used: bool,
}

/// For each row its column; gains are finite, and a pair without gain is none.
pub(crate) fn assign(rows: usize, columns: usize, gain: &dyn Fn(usize, usize) -> f64) -> Vec<Option<usize>> {
    if rows > columns {
        let mut found = vec![None; rows];
        for (column, row) in assign(columns, rows, &|column, row| gain(row, column)).into_iter().enumerate() {
            if let Some(place) = row.and_then(|row| found.get_mut(row)) {
                *place = Some(column);
            }
        }
        return found;
    }
    let mut potentials = vec![0.0; rows + 1];
    // The first column is where each path begins.
    let mut all = vec![Column::default(); columns + 1];
    for row in 1..=rows {
        for column in &mut all {
            (column.least, column.used) = (f64::INFINITY, false);
        }
        if let Some(start) = all.first_mut() {
            start.row = row;
        }
        let mut at = extend(&mut all, &mut potentials, gain);
        while at != 0 {
            let way = all.get(at).map_or(0, |column| column.way);
            let moved = all.get(way).map_or(0, |column| column.row);
            if let Some(column) = all.get_mut(at) {
                column.row = moved;
            }
            at = way;
        }
    }
    let mut found = vec![None; rows];
    for (column, Column { row, .. }) in all.iter().enumerate().skip(1) {
        if let Some((row, place)) = row.checked_sub(1).and_then(|row| Some((row, found.get_mut(row)?))) {
            *place = (gain(row, column - 1) > 0.0).then_some(column - 1);
        }
    }
    found
}

/// Lengthens the path until it ends in a free column, whose place is returned.
fn extend(all: &mut [Column], potentials: &mut [f64], gain: &dyn Fn(usize, usize) -> f64) -> usize {
    let mut at = 0;
    loop {
        let Some(current) = all.get_mut(at) else { return 0 };
        current.used = true;
        let owner = current.row;
        let base = potentials.get(owner).copied().unwrap_or_default();
        let (mut delta, mut next) = (f64::INFINITY, 0);
        for (place, column) in all.iter_mut().enumerate().skip(1).filter(|(_, column)| !column.used) {
            let cost = -gain(owner.saturating_sub(1), place - 1) - base - column.potential;
            if cost < column.least {
                (column.least, column.way) = (cost, at);
            }
            if column.least < delta {
                (delta, next) = (column.least, place);
            }
        }
        if next == 0 {
            return 0;
        }
        for column in all.iter_mut() {
            if column.used {
                column.potential -= delta;
                if let Some(potential) = potentials.get_mut(column.row) {
                    *potential += delta;
                }
            } else {
                column.least -= delta;
            }
        }
        at = next;
        if all.get(at).is_none_or(|column| column.row == 0) {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that any assignment gains, by trying all.
    fn most(gains: &[Vec<f64>], taken: &mut Vec<bool>) -> f64 {
        let Some((first, rest)) = gains.split_first() else { return 0.0 };
        // A row may go without.
        let mut best = most(rest, taken);
        for column in 0..first.len() {
            if !taken[column] {
                taken[column] = true;
                best = best.max(first[column] + most(rest, taken));
                taken[column] = false;
            }
        }
        best
    }

    #[test]
    fn no_other_assignment_gains_more() {
        let mut seed = 7u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u16::try_from(seed >> 48).unwrap()) / 65_535.0
        };
        for round in 0..300 {
            let (rows, columns) = (round % 6, round / 6 % 6);
            let gains: Vec<Vec<f64>> = (0..rows).map(|_| (0..columns).map(|_| if next() < 0.4 { 0.0 } else { next() }).collect()).collect();
            let found = assign(rows, columns, &|row, column| gains[row][column]);
            let mut used: Vec<usize> = found.iter().copied().flatten().collect();
            let gained: f64 = found.iter().enumerate().filter_map(|(row, column)| Some(gains[row][(*column)?])).sum();
            used.sort_unstable();
            used.dedup();
            assert_eq!(used.len(), found.iter().flatten().count(), "a column is given once");
            assert!((gained - most(&gains, &mut vec![false; columns])).abs() < 1e-9, "{gains:?} {found:?}");
        }
    }
}
