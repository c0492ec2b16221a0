//! Which places of the source make a place of the target, and with which weights.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_4, PI};

use app_package::pipeline::Filter;

/// One side of a picture that is resized: `source` pixels become `scaled`, of which `count` from `start` on are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub source: u32,
    pub scaled: u32,
    pub start: u32,
    pub count: u32,
}

impl Axis {
    fn places(self) -> std::ops::Range<u32> {
        self.start..self.start.saturating_add(self.count)
    }

    /// As `OpenCV` computes it: the way over the inverse decides about the last bit.
    fn ratio(self) -> f64 {
        1.0 / (f64::from(self.scaled) / f64::from(self.source))
    }

    /// Whether the side stays as it is.
    pub fn is_whole(self) -> bool {
        self.source == self.scaled && self.start == 0 && self.count == self.scaled
    }

    pub fn shrinks(self) -> bool {
        self.source >= self.scaled
    }
}

/// For each place of the target: the first place of the source that counts, and the weights from there on.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// First place of the source, and where the weights end.
    spans: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

impl Taps {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let mut begin = 0;
        self.spans.iter().map(move |&(first, end)| {
            let weights = self.weights.get(begin..end).unwrap_or_default();
            begin = end;
            (first, weights)
        })
    }

    /// The places of the source that count at all.
    pub fn reach(&self) -> std::ops::Range<usize> {
        let first = self.iter().map(|(first, _)| first).min().unwrap_or(0);
        first..self.iter().map(|(first, weights)| first + weights.len()).max().unwrap_or(first)
    }

    /// The same for a source that begins at place `first`.
    pub fn starting_at(mut self, first: usize) -> Self {
        for (at, _) in &mut self.spans {
            *at -= first.min(*at);
        }
        self
    }

    /// Takes the weights of the next place. Zeros at the ends are left out: they change nothing and cost rows.
    fn push(&mut self, first: usize, weights: &[f32]) {
        let zeros = weights.iter().take_while(|weight| **weight == 0.0).count();
        let kept = weights.get(zeros..).unwrap_or_default();
        let last = kept.iter().rposition(|weight| *weight != 0.0).map_or(0, |at| at + 1);
        self.weights.extend_from_slice(kept.get(..last).unwrap_or_default());
        self.spans.push((first + zeros, self.weights.len()));
    }

    /// Weights that are summed up as floats; those of `OpenCV` in the steps that it has for bytes, where they are `fixed`.
    pub fn new(filter: Filter, axis: Axis, fixed: bool) -> Self {
        let mut taps = Self::default();
        let mut weights = Vec::new();
        for place in axis.places() {
            weights.clear();
            let first = match filter {
                Filter::LinearAntialias => triangle(axis, place, &mut weights),
                Filter::CubicAntialias => stretched(axis, place, 2.0, keys, &mut weights),
                Filter::LanczosAntialias => stretched(axis, place, 3.0, lanczos, &mut weights),
                Filter::Cubic => clamped(axis, between(axis, place), cubic, fixed, &mut weights),
                Filter::Lanczos => clamped(axis, between(axis, place), lanczos4, fixed, &mut weights),
                Filter::Area if axis.shrinks() => covered(axis, place, &mut weights),
                Filter::Nearest => nearest(axis, place, &mut weights),
                Filter::Linear | Filter::LinearFloat | Filter::Area => {
                    let (first, share) = within(axis, fixed_place(filter, axis, place));
                    weights.extend([1.0 - share, share]);
                    first
                }
            };
            taps.push(first, &weights);
        }
        taps
    }
}

/// The first of two columns and their weights in steps of 1/2048, as `OpenCV`'s fixed-point arithmetic has them.
pub(super) fn column_pairs(filter: Filter, axis: Axis) -> impl Iterator<Item = (usize, [i16; 2])> {
    axis.places().map(move |place| {
        let (first, share) = within(axis, fixed_place(filter, axis, place));
        (first, [steps(1.0 - share), steps(share)].map(small))
    })
}

/// Two rows with their weights in steps of 1/2048. Before the first and behind the last row `OpenCV` takes that row twice.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture")]
pub(super) fn row_pairs(filter: Filter, axis: Axis) -> impl Iterator<Item = ([usize; 2], [i16; 2])> {
    let last = i64::from(axis.source.saturating_sub(1));
    axis.places().map(move |place| {
        let (first, share) = fixed_place(filter, axis, place);
        ([first.clamp(0, last) as usize, (first + 1).clamp(0, last) as usize], [steps(1.0 - share), steps(share)].map(small))
    })
}

fn steps(share: f32) -> f32 {
    (share * 2048.0).round_ties_even()
}

#[expect(clippy::cast_possible_truncation, reason = "such weights lie in 0–2048")]
fn small(steps: f32) -> i16 {
    steps as i16
}

fn fixed_place(filter: Filter, axis: Axis, place: u32) -> (i64, f32) {
    if filter == Filter::Area { between_cells(axis, place) } else { between(axis, place) }
}

/// The place before, and the share of the next one. Centres of pixels meet.
#[expect(clippy::cast_possible_truncation, reason = "OpenCV goes on with a float from here; picture sizes are far below 2^24")]
fn between(axis: Axis, place: u32) -> (i64, f32) {
    let at = ((f64::from(place) + 0.5) * axis.ratio() - 0.5) as f32;
    (at.floor() as i64, at - at.floor())
}

/// As [`between`], for what `OpenCV`'s `INTER_AREA` does when a side grows: edges of pixels meet.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as in `between`")]
fn between_cells(axis: Axis, place: u32) -> (i64, f32) {
    let first = (f64::from(place) * axis.ratio()).floor() as i64;
    let inverse = f64::from(axis.scaled) / f64::from(axis.source);
    let share = (f64::from(place) + 1.0 - (first + 1) as f64 * inverse) as f32;
    (first, if share <= 0.0 { 0.0 } else { share - share.floor() })
}

/// Outside the picture its first or last place alone counts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture")]
fn within(axis: Axis, (first, share): (i64, f32)) -> (usize, f32) {
    let last = i64::from(axis.source.saturating_sub(1));
    if first < 0 {
        (0, 0.0)
    } else if first >= last {
        (last as usize, 0.0)
    } else {
        (first as usize, share)
    }
}

/// `image::imageops` with `Triangle`, bit by bit.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "picture sizes are far below 2^24; what is below 0 becomes 0"
)]
fn triangle(axis: Axis, place: u32, weights: &mut Vec<f32>) -> usize {
    let ratio = axis.source as f32 / axis.scaled as f32;
    let support = ratio.max(1.0);
    let centre = (place as f32 + 0.5) * ratio;
    let left = ((centre - support).floor() as u32).min(axis.source.saturating_sub(1));
    let right = ((centre + support).ceil() as u32).min(axis.source).max(left + 1);
    let centre = centre - 0.5;
    weights.extend((left..right).map(|at| (1.0 - ((at as f32 - centre) / support).abs()).max(0.0)));
    let sum: f32 = weights.iter().sum();
    for weight in weights {
        *weight /= sum;
    }
    left as usize
}

/// A filter of Pillow, zero from `reach` on, which grows when shrinking.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture; weights are small")]
fn stretched(axis: Axis, place: u32, reach: f64, filter: fn(f64) -> f64, weights: &mut Vec<f32>) -> usize {
    let ratio = f64::from(axis.source) / f64::from(axis.scaled);
    let stretch = ratio.max(1.0);
    let centre = (f64::from(place) + 0.5) * ratio;
    let edge = |at: f64| (at + 0.5).trunc().clamp(0.0, f64::from(axis.source)) as u32;
    let left = edge(centre - reach * stretch).min(axis.source.saturating_sub(1));
    let right = edge(centre + reach * stretch).max(left + 1);
    let weight = |at: u32| filter(((f64::from(at) - centre + 0.5) / stretch).abs());
    let sum: f64 = (left..right).map(weight).sum();
    let sum = if sum == 0.0 { 1.0 } else { sum };
    weights.extend((left..right).map(|at| (weight(at) / sum) as f32));
    left as usize
}

/// `BICUBIC`: Keys with a = -0.5.
fn keys(x: f64) -> f64 {
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * -0.5 + 2.0
    } else {
        0.0
    }
}

/// `LANCZOS`, of three lobes: sinc(x) · sinc(x / 3).
fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    if x < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

/// A filter of `OpenCV` on so many places around `at`, where they are `fixed` in steps of 1/2048. Places outside are those at the border.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "clamped to the picture; N is small"
)]
fn clamped<const N: usize>(axis: Axis, at: (i64, f32), filter: fn(f32) -> [f32; N], fixed: bool, weights: &mut Vec<f32>) -> usize {
    let clamped = |at: i64| at.clamp(0, i64::from(axis.source.saturating_sub(1))) as usize;
    let before = at.0 - (N as i64 / 2 - 1);
    let first = clamped(before);
    weights.resize(clamped(before + N as i64 - 1) - first + 1, 0.0);
    for (at, weight) in (before..).zip(filter(at.1)) {
        if let Some(sum) = weights.get_mut(clamped(at) - first) {
            *sum += if fixed { steps(weight) / 2048.0 } else { weight };
        }
    }
    first
}

/// `INTER_CUBIC`: Keys with a = -0.75.
fn cubic(x: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let (a, b, c) = (far(x + 1.0), near(x), near(1.0 - x));
    [a, b, c, 1.0 - a - b - c]
}

/// `INTER_LANCZOS4`: sin(πx) · sin(πx / 4) / (πx)², of four lobes, made to sum up to one. The sines of places that are whole numbers apart differ in
/// sign and an eighth turn alone, so each is a sum of two: as `OpenCV` writes it.
#[expect(clippy::cast_possible_truncation, reason = "weights are small")]
fn lanczos4(x: f32) -> [f32; 8] {
    const TURNS: [[f64; 2]; 8] = [
        [1.0, 0.0],
        [-FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
        [0.0, 1.0],
        [FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
        [-1.0, 0.0],
        [FRAC_1_SQRT_2, FRAC_1_SQRT_2],
        [0.0, -1.0],
        [-FRAC_1_SQRT_2, FRAC_1_SQRT_2],
    ];
    let (sine, cosine) = (-f64::from(x + 3.0) * FRAC_PI_4).sin_cos();
    let mut away = x + 3.0;
    let weights = TURNS.map(|[s, c]| {
        let y = -f64::from(away) * FRAC_PI_4;
        // Where the place itself is meant, it alone counts.
        let weight = if away.abs() < 1e-6 { 1e30 } else { ((s * sine + c * cosine) / (y * y)) as f32 };
        away -= 1.0;
        weight
    });
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// `OpenCV`'s `INTER_AREA` when shrinking: each place counts with the share that is covered.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture; weights are shares")]
fn covered(axis: Axis, place: u32, weights: &mut Vec<f32>) -> usize {
    let (ratio, source) = (axis.ratio(), f64::from(axis.source));
    let left = f64::from(place) * ratio;
    let right = left + ratio;
    let cell = ratio.min(source - left);
    let last_whole = right.floor().min(source - 1.0);
    let first_whole = left.ceil().min(last_whole);
    // What is less than a thousandth of a pixel is none.
    let before = first_whole - left > 1e-3;
    if before {
        weights.push(((first_whole - left) / cell) as f32);
    }
    weights.extend((first_whole as usize..last_whole as usize).map(|_| (1.0 / cell) as f32));
    if right - last_whole > 1e-3 {
        weights.push(((right - last_whole).min(1.0).min(cell) / cell) as f32);
    }
    (first_whole as usize).saturating_sub(usize::from(before))
}

/// `OpenCV`'s `INTER_NEAREST`: the pixel at the left and top.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture")]
fn nearest(axis: Axis, place: u32, weights: &mut Vec<f32>) -> usize {
    weights.push(1.0);
    ((f64::from(place) * axis.ratio()).floor() as usize).min(axis.source.saturating_sub(1) as usize)
}
