//! Resizing in rows: the target comes out row by row, and no more of the source is held as floats than a row.
//!
//! A pixel of `S` channels is made in `P` lanes, because four numbers are added at once and three are not; the fourth holds what follows.

use app_package::pipeline::Filter;

use super::taps::{Axis, Taps, column_pairs, row_pairs};

/// Rows that are summed up at a time.
const LINES: usize = 32;

/// A row of the target.
pub(super) enum Row<'a, const P: usize> {
    Bytes(&'a [[u8; P]]),
    Floats(&'a [[f32; P]]),
}

/// Makes the rows of the target in order and hands each to `sink`, as bytes; of [`Filter::LinearFloat`] as they come.
pub(super) fn resize<const S: usize, const P: usize>(
    filter: Filter,
    source: &[u8],
    across: Axis,
    down: Axis,
    mut sink: impl FnMut(usize, Row<'_, P>),
) {
    if across.is_whole() && down.is_whole() {
        // Every filter leaves a picture of the size asked for as it is.
        let mut made = vec![[0; P]; across.count as usize];
        for (y, row) in source.chunks_exact((across.source as usize * S).max(1)).enumerate() {
            for (at, made) in made.iter_mut().enumerate() {
                *made = pixel(row, at * S);
            }
            sink(y, Row::Bytes(&made));
        }
        return;
    }
    match filter {
        Filter::Linear => fixed::<S, P>(filter, source, across, down, sink),
        Filter::Area if !(across.shrinks() && down.shrinks()) => fixed::<S, P>(filter, source, across, down, sink),
        Filter::CubicAntialias | Filter::LanczosAntialias => bytes::<S, P>(filter, source, across, down, sink),
        Filter::LinearFloat => floats::<u8, S, P>(filter, source, across, down, true, |y, line| sink(y, Row::Floats(line))),
        Filter::LinearAntialias | Filter::Cubic | Filter::Lanczos | Filter::Area | Filter::Nearest => {
            let mut made = vec![[0; P]; across.count as usize];
            floats::<u8, S, P>(filter, source, across, down, true, |y, line| {
                to_bytes(line.as_flattened(), made.as_flattened_mut());
                sink(y, Row::Bytes(&made));
            });
        }
    }
}

/// The same of a picture whose numbers are no bytes: nothing is rounded.
pub(super) fn resize_floats(filter: Filter, source: &[f32], across: Axis, down: Axis, mut sink: impl FnMut(usize, Row<'_, 1>)) {
    floats::<f32, 1, 1>(filter, source, across, down, false, |y, line| sink(y, Row::Floats(line)));
}

/// Columns first of the target's height, then across, in floats from end to end.
fn floats<T: Copy + Into<f32>, const S: usize, const P: usize>(
    filter: Filter,
    source: &[T],
    across: Axis,
    down: Axis,
    fixed: bool,
    mut sink: impl FnMut(usize, &[[f32; P]]),
) {
    let mut lines = Lines::<T, S, P>::new(source, across, Taps::new(filter, across, fixed));
    let mut line = vec![[0f32; P]; lines.across.len()];
    for (y, (first, weights)) in Taps::new(filter, down, fixed).iter().enumerate() {
        lines.sum(first, weights);
        lines.across(&mut line);
        sink(y, &line);
    }
}

/// Across first, then bytes, then down, as Pillow up to 12 in all cases: between the passes it cuts off what a cubic filter makes beyond
/// black and white.
fn bytes<const S: usize, const P: usize>(filter: Filter, source: &[u8], across: Axis, down: Axis, mut sink: impl FnMut(usize, Row<'_, P>)) {
    let mut lines = Lines::<u8, S, P>::new(source, across, Taps::new(filter, across, true));
    let mut line = vec![[0f32; P]; lines.across.len()];
    let (mut sums, mut made) = (vec![0f32; line.len() * P], vec![[0; P]; line.len()]);
    let mut ring = Ring::<u8>::new(LINES, line.len() * P);
    for (y, (first, weights)) in Taps::new(filter, down, true).iter().enumerate() {
        sums.fill(0.0);
        for (part, weights) in weights.chunks(LINES).enumerate() {
            let rows = first + part * LINES..first + part * LINES + weights.len();
            for row in rows.clone() {
                ring.fill(row, |made| {
                    lines.sum(row, &[1.0]);
                    lines.across(&mut line);
                    to_bytes(line.as_flattened(), made);
                });
            }
            add_rows(rows.filter_map(|row| ring.row(row)), weights, &mut sums);
        }
        to_bytes(&sums, made.as_flattened_mut());
        sink(y, Row::Bytes(&made));
    }
}

/// `OpenCV`'s fixed-point arithmetic for bytes, with what it cuts off on the way: that is an eighth of a step on average.
fn fixed<const S: usize, const P: usize>(filter: Filter, source: &[u8], across: Axis, down: Axis, mut sink: impl FnMut(usize, Row<'_, P>)) {
    let mut columns = Columns::<S, P>::new(column_pairs(filter, across));
    let mut line = vec![[0u8; P]; columns.first.len()];
    let mut ring = Ring::<i16>::new(2, line.len() * P);
    for (y, ([first, second], weights)) in row_pairs(filter, down).enumerate() {
        // Where the first row alone counts, the second one is not made.
        let second = if weights[1] == 0 { first } else { second };
        for row in [first, second] {
            ring.fill(row, |made| {
                let pixels = source.get(row * across.source as usize * S..).unwrap_or_default();
                columns.mix(pixels, made);
            });
        }
        if let (Some(upper), Some(lower)) = (ring.row(first), ring.row(second)) {
            blend([upper, lower], weights, line.as_flattened_mut());
        }
        sink(y, Row::Bytes(&line));
    }
}

/// Pixels side by side that are mixed. Gathered first: then the lanes of all are one row each, which is multiplied many at a time.
struct Columns<const S: usize, const P: usize> {
    /// Where the first of two pixels begins in a row of the source.
    first: Vec<usize>,
    /// Of the first and of the second, for each lane.
    weights: [Vec<[i16; P]>; 2],
    pixels: [Vec<[u8; P]>; 2],
}

impl<const S: usize, const P: usize> Columns<S, P> {
    fn new(pairs: impl Iterator<Item = (usize, [i16; 2])>) -> Self {
        let (first, weights): (Vec<usize>, Vec<[i16; 2]>) = pairs.map(|(first, weights)| (first * S, weights)).unzip();
        let pixels = vec![[0; P]; first.len()];
        let each = |which: fn(&[i16; 2]) -> i16| weights.iter().map(|pair| [which(pair); P]).collect();
        Self { first, weights: [each(|pair| pair[0]), each(|pair| pair[1])], pixels: [pixels.clone(), pixels] }
    }

    /// Divided by 16 the sums fit into 16 bits.
    #[expect(clippy::cast_possible_truncation, reason = "255 * 2048 / 16 fits")]
    fn mix(&mut self, row: &[u8], made: &mut [i16]) {
        let [near, far] = &mut self.pixels;
        for ((near, far), &first) in near.iter_mut().zip(far.iter_mut()).zip(&self.first) {
            (*near, *far) = (pixel(row, first), pixel(row, first + S));
        }
        let [a, b] = &self.weights;
        let lanes = near.as_flattened().iter().zip(far.as_flattened());
        let weights = a.as_flattened().iter().zip(b.as_flattened());
        for ((made, (&near, &far)), (&a, &b)) in made.iter_mut().zip(lanes).zip(weights) {
            *made = ((i32::from(near) * i32::from(a) + i32::from(far) * i32::from(b)) >> 4) as i16;
        }
    }
}

/// A pixel of a row and what follows; zeros behind the end of the picture.
#[inline]
fn pixel<const P: usize>(row: &[u8], at: usize) -> [u8; P] {
    let rest = row.get(at..).unwrap_or_default();
    rest.first_chunk::<P>().copied().unwrap_or_else(|| lanes(rest))
}

/// A pixel and what follows; zeros behind the end of the picture.
fn lanes<const P: usize>(pixels: &[u8]) -> [u8; P] {
    let mut lanes = [0; P];
    for (lane, value) in lanes.iter_mut().zip(pixels) {
        *lane = *value;
    }
    lanes
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two weights of 2048 together make 0–255")]
fn blend([upper, lower]: [&[i16]; 2], [a, b]: [i16; 2], out: &mut [u8]) {
    let high = |value: i16, weight: i16| ((i32::from(value) * i32::from(weight)) >> 16) as i16;
    for ((out, &upper), &lower) in out.iter_mut().zip(upper).zip(lower) {
        *out = ((high(upper, a) + high(lower, b) + 2) >> 2) as u8;
    }
}

/// The columns of the source that count, and the row that is made of its rows.
struct Lines<'a, T, const S: usize, const P: usize> {
    source: &'a [T],
    width: usize,
    columns: std::ops::Range<usize>,
    across: Taps,
    row: Vec<f32>,
}

impl<'a, T: Copy + Into<f32>, const S: usize, const P: usize> Lines<'a, T, S, P> {
    fn new(source: &'a [T], axis: Axis, across: Taps) -> Self {
        let reach = across.reach();
        let columns = reach.start * S..reach.end * S;
        let row = vec![0.0; columns.len() + P - S];
        Self { source, width: axis.source as usize * S, columns, across: across.starting_at(reach.start), row }
    }

    /// Fills `row` with the sum of the source's rows from `first` on, each times its weight.
    fn sum(&mut self, first: usize, weights: &[f32]) {
        self.row.fill(0.0);
        let (source, width, columns) = (self.source, self.width, &self.columns);
        let mut rows = source.chunks_exact(width.max(1)).skip(first).filter_map(|row| row.get(columns.clone()));
        let end = columns.len();
        for weights in weights.chunks(LINES) {
            add_rows(rows.by_ref().take(weights.len()), weights, self.row.get_mut(..end).unwrap_or_default());
        }
    }

    /// Fills `line` with what the weights across make of `row`.
    fn across(&self, line: &mut [[f32; P]]) {
        for (target, (first, weights)) in line.iter_mut().zip(self.across.iter()) {
            let mut rest = self.row.get(first * S..).unwrap_or_default();
            let mut sums = [0f32; P];
            for weight in weights {
                let Some(pixel) = rest.first_chunk::<P>() else { break };
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += value * weight;
                }
                rest = rest.get(S..).unwrap_or_default();
            }
            *target = sums;
        }
    }
}

/// Adds up to [`LINES`] rows, each times its weight. The sums of a few places stay in registers while all rows pass.
fn add_rows<'a, T: Copy + Into<f32> + 'a>(rows: impl Iterator<Item = &'a [T]>, weights: &[f32], sums: &mut [f32]) {
    let mut lines = [(&[][..], &[][..], 0f32); LINES];
    let mut count = 0;
    for ((line, row), &weight) in lines.iter_mut().zip(rows).zip(weights) {
        let (blocks, rest) = row.as_chunks::<16>();
        *line = (blocks, rest, weight);
        count += 1;
    }
    let lines = lines.get(..count).unwrap_or_default();
    let (blocks, rest) = sums.as_chunks_mut::<16>();
    for (at, block) in blocks.iter_mut().enumerate() {
        let mut sums = *block;
        for (blocks, _, weight) in lines {
            if let Some(values) = blocks.get(at) {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += value.into() * weight;
                }
            }
        }
        *block = sums;
    }
    for (_, values, weight) in lines {
        for (sum, &value) in rest.iter_mut().zip(*values) {
            *sum += value.into() * weight;
        }
    }
}

/// To whole numbers in 0–255, halves upwards.
#[expect(clippy::cast_possible_truncation, reason = "whole numbers in 0–255")]
fn to_bytes(values: &[f32], bytes: &mut [u8]) {
    // Floats from 2^23 on have no fraction: adding it rounds, halves to even.
    const WHOLE: f32 = 8_388_608.0;
    for (byte, value) in bytes.iter_mut().zip(values) {
        let held = value.clamp(0.0, 255.0);
        let even = (held + WHOLE) - WHOLE;
        let whole = even + if held - even >= 0.5 { 1.0 } else { 0.0 };
        // The lowest bits of such a sum are the whole number.
        *byte = (whole + WHOLE).to_bits() as u8;
    }
}

/// The last rows that were made.
struct Ring<T> {
    rows: Vec<(Option<usize>, Vec<T>)>,
}

impl<T: Copy + Default> Ring<T> {
    fn new(rows: usize, width: usize) -> Self {
        Self { rows: vec![(None, vec![T::default(); width]); rows] }
    }

    /// Makes row `number`, unless it is there.
    fn fill(&mut self, number: usize, make: impl FnOnce(&mut [T])) {
        let place = number % self.rows.len().max(1);
        if let Some((held, row)) = self.rows.get_mut(place).filter(|(held, _)| *held != Some(number)) {
            make(row);
            *held = Some(number);
        }
    }

    fn row(&self, number: usize) -> Option<&[T]> {
        let (held, row) = self.rows.get(number % self.rows.len().max(1))?;
        (*held == Some(number)).then_some(row.as_slice())
    }
}
