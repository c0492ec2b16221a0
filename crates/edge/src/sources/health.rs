//! Whether a picture can be trusted, judged once a second on 160 × 90 grey levels.
//!
//! Measures and thresholds: black and frozen after ffmpeg's `blackdetect` and `freezedetect`; covered after Lee, Lee and Lim (Sensors 15(5), 2015:
//! edges that disappear, against their own average); blurred by the variance of the Laplacian (Pech-Pacheco et al., 2000); moved by the normalised
//! cross-correlation of edges with those of the first picture. Covered, blurred and moved compare a camera with its own past: until it has learned for
//! [`LEARNS`] they say nothing. What is lost is said by the source, which knows that no frame comes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::decoder::Pixels;

const WIDTH: usize = 160;
const HEIGHT: usize = 90;
/// Grey levels of a picture.
const COUNT: f64 = 14_400.0;

/// Time for which a new camera only learns.
const LEARNS: Duration = Duration::from_hours(1);
/// Share by which a baseline follows the picture, each second: half of a change is in it after an hour.
const FOLLOWS: f64 = 0.000_2;
/// A share of pixels darker than this (of 255, 0.10) is black.
const BLACK: u8 = 26;
const BLACK_SHARE: f64 = 0.98;
const BLACK_SPREAD: f64 = 3.0;
/// 95th percentile of what is only dark.
const DARK: u8 = 40;
const FROZEN: f64 = 0.001;
/// A picture that is the same to the last bit for so long stands still: a sensor has noise.
const SAME: Duration = Duration::from_secs(10);
/// Least Sobel magnitude of an edge.
const EDGE: f64 = 40.0;
const COVERED: f64 = 0.25;
const FLAT: f64 = 8.0;
const BLURRED: f64 = 0.30;
const GLARE: u8 = 250;
const GLARE_SHARE: f64 = 0.30;
/// Share of the width by which a camera has moved, and the least peak of the correlation (of 1) that is believed.
const MOVED: f64 = 0.03;
const PEAK: f64 = 0.2;

/// What is wrong with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    Black,
    Frozen,
    Covered,
    Moved,
    Blurred,
    Glare,
    Dark,
}

impl Trouble {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::Frozen => "frozen",
            Self::Covered => "covered",
            Self::Moved => "moved",
            Self::Blurred => "blurred",
            Self::Glare => "glare",
            Self::Dark => "dark",
        }
    }

    /// Whether nobody can see anything: an answer would be one to another picture. With the others apps go on, for a dusty lens must not switch
    /// a safety app off.
    pub fn blinds(self) -> bool {
        matches!(self, Self::Black | Self::Frozen)
    }

    /// How long it must last before it is told.
    pub fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            Self::Black => 2,
            Self::Covered => 10,
            Self::Glare | Self::Dark => 30,
            Self::Frozen | Self::Moved => 60,
            Self::Blurred => 300,
        })
    }
}

/// Grey levels of a picture, row by row.
#[derive(Clone, PartialEq)]
pub struct Grey(Vec<u8>);

/// Makes a picture small: each grey level is the mean of a grid of up to 4 × 4 samples of its part of the picture (BT.601 weights).
pub fn grey(pixels: &Pixels) -> Grey {
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let luma = |x: usize, y: usize| {
        let at = (y * width + x) * 3;
        let [r, g, b] = [0, 1, 2].map(|channel| u32::from(pixels.rgb.get(at + channel).copied().unwrap_or(0)));
        (r * 299 + g * 587 + b * 114) / 1_000
    };
    // The places of up to four samples between two borders.
    let samples = |part: usize, of: usize, size: usize| {
        let (from, to) = (part * size / of, ((part + 1) * size / of).max(part * size / of + 1));
        (0..4).map(move |n| (from + (to - from) * (2 * n + 1) / 8).min(size.saturating_sub(1)))
    };
    let mut grey = Vec::with_capacity(WIDTH * HEIGHT);
    for row in 0..HEIGHT {
        for column in 0..WIDTH {
            let sum: u32 = samples(row, HEIGHT, height)
                .flat_map(|y| samples(column, WIDTH, width).map(move |x| (x, y)))
                .map(|(x, y)| luma(x, y))
                .sum();
            grey.push(u8::try_from(sum / 16).unwrap_or(u8::MAX));
        }
    }
    Grey(grey)
}

/// Figures of one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    black: f64,
    glare: f64,
    spread: f64,
    p95: u8,
    edges: f64,
    sharpness: f64,
}

impl Grey {
    fn at(&self, x: usize, y: usize) -> f64 {
        f64::from(self.0.get(y * WIDTH + x).copied().unwrap_or(0))
    }

    fn inner() -> impl Iterator<Item = (usize, usize)> {
        (1..HEIGHT - 1).flat_map(|y| (1..WIDTH - 1).map(move |x| (x, y)))
    }

    /// Magnitude of the Sobel operator.
    fn slope(&self, x: usize, y: usize) -> f64 {
        let p = |dx: usize, dy: usize| self.at(x + dx - 1, y + dy - 1);
        let across = p(2, 0) + 2.0 * p(2, 1) + p(2, 2) - p(0, 0) - 2.0 * p(0, 1) - p(0, 2);
        let down = p(0, 2) + 2.0 * p(1, 2) + p(2, 2) - p(0, 0) - 2.0 * p(1, 0) - p(2, 0);
        across.hypot(down)
    }

    fn share(&self, of: impl Fn(u8) -> bool) -> f64 {
        self.0.iter().filter(|level| of(**level)).fold(0.0, |count, _| count + 1.0) / COUNT
    }

    fn figures(&self) -> Figures {
        let mean = self.0.iter().map(|level| f64::from(*level)).sum::<f64>() / COUNT;
        let variance = self.0.iter().map(|level| (f64::from(*level) - mean).powi(2)).sum::<f64>() / COUNT;
        let (mut edges, mut sum, mut squares, mut count) = (0.0, 0.0, 0.0, 0.0);
        for (x, y) in Self::inner() {
            edges += f64::from(u8::from(self.slope(x, y) > EDGE));
            let laplacian = self.at(x - 1, y) + self.at(x + 1, y) + self.at(x, y - 1) + self.at(x, y + 1) - 4.0 * self.at(x, y);
            (sum, squares, count) = (sum + laplacian, squares + laplacian * laplacian, count + 1.0);
        }
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        Figures {
            black: self.share(|level| level < BLACK),
            glare: self.share(|level| level > GLARE),
            spread: variance.sqrt(),
            p95: sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(0),
            edges,
            sharpness: squares / count - (sum / count) * (sum / count),
        }
    }

    /// Mean absolute difference, as a share of 255.
    fn difference(&self, other: &Self) -> f64 {
        let sum: u64 = self.0.iter().zip(&other.0).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let sum = sum as f64;
        sum / COUNT / 255.0
    }
}

/// Edges on a grid of half the size, their mean taken away.
struct Edges(Vec<f64>);

impl Edges {
    const WIDTH: usize = WIDTH / 2;
    const HEIGHT: usize = HEIGHT / 2;
    /// Farthest shift that is looked for, in points of the grid.
    const REACH: [isize; 2] = [8, 5];

    fn of(grey: &Grey) -> Self {
        let strongest = |x: usize, y: usize| {
            let inside = |x: usize, y: usize| (x.clamp(1, WIDTH - 2), y.clamp(1, HEIGHT - 2));
            let all = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| inside(2 * x + dx, 2 * y + dy));
            all.iter().map(|(x, y)| grey.slope(*x, *y)).fold(0.0, f64::max)
        };
        let all: Vec<f64> = (0..Self::HEIGHT).flat_map(|y| (0..Self::WIDTH).map(move |x| (x, y))).map(|(x, y)| strongest(x, y)).collect();
        let mean = all.iter().sum::<f64>() / (COUNT / 4.0);
        Self(all.into_iter().map(|edge| edge - mean).collect())
    }

    /// Normalised cross-correlation with another picture that lies `shift` to the right and below; −1 to 1.
    fn correlation(&self, other: &Self, [right, down]: [isize; 2]) -> f64 {
        let (mut product, mut own, mut others) = (0.0, 0.0, 0.0);
        for y in 0..Self::HEIGHT {
            let Some(from) = y.checked_add_signed(down).filter(|y| *y < Self::HEIGHT) else { continue };
            for x in 0..Self::WIDTH {
                let Some(at) = x.checked_add_signed(right).filter(|x| *x < Self::WIDTH) else { continue };
                let pair = (self.0.get(y * Self::WIDTH + x), other.0.get(from * Self::WIDTH + at));
                if let (Some(a), Some(b)) = pair {
                    (product, own, others) = (product + a * b, own + a * a, others + b * b);
                }
            }
        }
        if own * others > 0.0 { product / (own * others).sqrt() } else { 0.0 }
    }

    /// Whether the same scene lies elsewhere in the other picture, or is not in it.
    #[expect(clippy::cast_precision_loss, reason = "a few points of the grid")]
    fn moved(&self, other: &Self) -> bool {
        let [right, down] = Self::REACH;
        let shifts = (-down..=down).flat_map(|y| (-right..=right).map(move |x| [x, y]));
        let best = shifts.map(|shift| (self.correlation(other, shift), shift)).max_by(|a, b| a.0.total_cmp(&b.0));
        best.is_some_and(|(peak, [x, y])| peak < PEAK || (x as f64).hypot(y as f64) > MOVED * Self::WIDTH as f64)
    }
}

/// What the camera shows as a rule.
struct Usual {
    edges: f64,
    sharpness: f64,
    /// The first picture in the light.
    reference: Edges,
}

/// Judges the pictures of one source.
#[derive(Default)]
pub struct Judge {
    began: Option<Instant>,
    last: Option<Grey>,
    /// Since when the picture is the same to the last bit.
    same: Option<Instant>,
    usual: Option<Usual>,
    /// Since when something holds.
    since: BTreeMap<Trouble, Instant>,
    told: Vec<Trouble>,
}

impl Judge {
    /// Whether it has seen nothing yet.
    pub fn is_new(&self) -> bool {
        self.began.is_none()
    }

    /// What is wrong now, the worst first.
    pub fn troubles(&self) -> impl Iterator<Item = Trouble> + '_ {
        self.told.iter().copied()
    }

    /// Whether it still learns what is usual.
    pub fn learns(&self, now: Instant) -> bool {
        self.began.is_none_or(|began| now.saturating_duration_since(began) < LEARNS)
    }

    /// Looks at the picture of a second.
    pub fn look(&mut self, grey: &Grey, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let learns = now.saturating_duration_since(began) < LEARNS;
        let figures = grey.figures();
        let black = figures.black >= BLACK_SHARE && figures.spread < BLACK_SPREAD;
        let difference = self.last.as_ref().map(|last| grey.difference(last));
        self.same = if self.last.as_ref() == Some(grey) { self.same.or(Some(now)) } else { None };
        let mut found = vec![
            (Trouble::Black, black),
            (Trouble::Dark, !black && figures.p95 < DARK),
            // A picture without light differs from the next by nothing, and stands still all the same.
            (Trouble::Frozen, !black && difference.is_some_and(|difference| difference < FROZEN)),
            (Trouble::Glare, figures.glare >= GLARE_SHARE),
        ];
        if let Some(usual) = self.usual.as_mut().filter(|_| !black) {
            let seen = figures.edges < usual.edges * COVERED || (figures.spread < FLAT && figures.p95 >= DARK);
            let covered = !learns && seen;
            let blurred = !learns && figures.sharpness < usual.sharpness * BLURRED;
            // In the dark there is too little to see where it looks.
            let moved = !learns && !covered && !blurred && figures.p95 >= DARK && usual.reference.moved(&Edges::of(grey));
            found.extend([(Trouble::Covered, covered), (Trouble::Blurred, blurred), (Trouble::Moved, moved)]);
            // What is wrong is no rule: a lens that is covered for a day is still covered.
            if !covered && !blurred {
                let part = if learns { 0.02 } else { FOLLOWS };
                usual.edges += (figures.edges - usual.edges) * part;
                usual.sharpness += (figures.sharpness - usual.sharpness) * part;
            }
        } else if !black && figures.p95 >= DARK {
            // Of a camera that began in the dark any picture in the light would be another than that one.
            self.usual = Some(Usual { edges: figures.edges, sharpness: figures.sharpness, reference: Edges::of(grey) });
        }
        self.last = Some(grey.clone());
        for (trouble, holds) in found {
            if holds {
                self.since.entry(trouble).or_insert(now);
            } else {
                self.since.remove(&trouble);
            }
        }
        let same = self.same.is_some_and(|since| now.saturating_duration_since(since) >= SAME);
        let lasts = |(trouble, since): (&Trouble, &Instant)| {
            let long = now.saturating_duration_since(*since) >= trouble.lasts();
            (long || (*trouble == Trouble::Frozen && same)).then_some(*trouble)
        };
        self.told = self.since.iter().filter_map(lasts).collect();
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "grey levels")]
mod tests {
    use super::*;

    /// A rendered roadway: arches, a belt, lamps, with noise of a sensor by a seed. `shift` moves the camera, `soft` blurs, `light` dims.
    fn roadway(seed: u32, shift: usize, soft: usize, light: f64) -> Grey {
        let mut noise = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut level = |x: usize, y: usize| {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let x = x + shift;
            let arch = if (x / 7 + y / 11).is_multiple_of(3) { 90.0 } else { 40.0 };
            let belt = if y > 60 && (x + y) % 13 < 5 { 70.0 } else { 0.0 };
            let lamp = if x % 37 < 3 && y < 12 { 120.0 } else { 0.0 };
            ((arch + belt + lamp) * light + f64::from(noise % 5)).min(255.0)
        };
        let sharp: Vec<f64> = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y))).map(|(x, y)| level(x, y)).collect();
        let mean = |x: usize, y: usize| {
            let near = |at: usize, most: usize| at.saturating_sub(soft)..=(at + soft).min(most - 1);
            let all: Vec<f64> =
                near(y, HEIGHT).flat_map(|y| near(x, WIDTH).map(move |x| (x, y))).map(|(x, y)| sharp[y * WIDTH + x]).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        Grey((0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y))).map(|(x, y)| mean(x, y) as u8).collect())
    }

    fn flat(level: u8) -> Grey {
        Grey(vec![level; WIDTH * HEIGHT])
    }

    /// A judge that has learned the roadway, and the time.
    fn learned() -> (Judge, Instant) {
        let (mut judge, began) = (Judge::default(), Instant::now());
        let mut now = began;
        // A look each ten minutes: it is the time that counts.
        for minute in (0..=60).step_by(10) {
            now = began + Duration::from_mins(minute);
            judge.look(&roadway(u32::try_from(minute).unwrap(), 0, 0, 1.0), now);
            assert_eq!(judge.troubles().collect::<Vec<_>>(), []);
        }
        (judge, now)
    }

    /// What is told of a picture at which the judge looks for so long, with the second at which it is told first. A look a second, or for longer
    /// times fewer.
    fn told_after(judge: &mut Judge, from: Instant, seconds: u64, picture: impl Fn(u64) -> Grey) -> Vec<(Trouble, u64)> {
        let mut told: Vec<(Trouble, u64)> = Vec::new();
        for second in (0..=seconds).step_by(usize::try_from(seconds / 30 + 1).unwrap()) {
            judge.look(&picture(second), from + Duration::from_secs(second + 1));
            for trouble in judge.troubles() {
                if told.iter().all(|(known, _)| *known != trouble) {
                    told.push((trouble, second));
                }
            }
        }
        told
    }

    fn seed(second: u64) -> u32 {
        1_000 + u32::try_from(second).unwrap()
    }

    #[test]
    fn a_usual_picture_is_in_no_trouble_for_hours() {
        let (mut judge, now) = learned();
        assert_eq!(told_after(&mut judge, now, 7_200, |second| roadway(seed(second), 0, 0, 1.0)), []);
        // A lamp that passes, and a little less light.
        assert_eq!(told_after(&mut judge, now + Duration::from_hours(3), 120, |second| roadway(seed(second), 0, 0, 0.8)), []);
    }

    #[test]
    fn black_is_told_after_two_seconds_without_having_learned_and_ends_with_the_light() {
        let mut judge = Judge::default();
        let now = Instant::now();
        assert_eq!(told_after(&mut judge, now, 5, |_| flat(0)), [(Trouble::Black, 2)]);
        assert_eq!(told_after(&mut judge, now + Duration::from_secs(6), 0, |_| roadway(1, 0, 0, 1.0)), []);
        // A dark roadway is not black.
        let mut judge = Judge::default();
        assert_eq!(told_after(&mut judge, now, 40, |second| roadway(seed(second), 0, 0, 0.15)), [(Trouble::Dark, 30)]);
    }

    #[test]
    fn frozen_is_told_at_once_where_no_bit_changes_and_after_a_minute_where_almost_none_does() {
        let now = Instant::now();
        let still = roadway(7, 0, 0, 1.0);
        assert_eq!(told_after(&mut Judge::default(), now, 20, |_| still.clone()), [(Trouble::Frozen, 11)]);
        let almost = |second: u64| {
            let mut grey = still.clone();
            grey.0[usize::try_from(second).unwrap()] ^= 1;
            grey
        };
        assert_eq!(told_after(&mut Judge::default(), now, 70, almost), [(Trouble::Frozen, 63)]);
    }

    #[test]
    fn a_covered_lens_a_blurred_one_and_glare_are_told_by_what_was_usual() {
        let (mut judge, now) = learned();
        let cover = |second: u64| Grey(roadway(seed(second), 0, 0, 0.0).0.iter().map(|level| level + 100).collect());
        assert_eq!(told_after(&mut judge, now, 20, cover).first(), Some(&(Trouble::Covered, 10)));
        let (mut judge, now) = learned();
        assert_eq!(told_after(&mut judge, now, 329, |second| roadway(seed(second), 0, 2, 1.0)).last(), Some(&(Trouble::Blurred, 308)));
        let (mut judge, now) = learned();
        let glare = |second: u64| {
            let mut grey = roadway(seed(second), 0, 0, 1.0);
            grey.0[..WIDTH * HEIGHT / 3].fill(255);
            grey
        };
        assert!(told_after(&mut judge, now, 40, glare).contains(&(Trouble::Glare, 30)));
    }

    #[test]
    fn a_camera_that_was_turned_is_told_after_a_minute_and_one_that_shakes_is_not() {
        let (mut judge, now) = learned();
        assert_eq!(told_after(&mut judge, now, 70, |second| roadway(seed(second), 8, 0, 1.0)), [(Trouble::Moved, 60)]);
        let (mut judge, now) = learned();
        assert_eq!(told_after(&mut judge, now, 70, |second| roadway(seed(second), usize::from(second % 2 == 0), 0, 1.0)), []);
    }

    #[test]
    fn only_what_shows_nothing_blinds() {
        let all = [Trouble::Black, Trouble::Frozen, Trouble::Covered, Trouble::Moved, Trouble::Blurred, Trouble::Glare, Trouble::Dark];
        assert_eq!(all.iter().filter(|trouble| trouble.blinds()).count(), 2);
    }

    #[test]
    fn a_picture_of_any_size_is_made_small() {
        for (width, height) in [(1, 1), (160, 90), (161, 7), (1920, 1080)] {
            let rgb = vec![200; width as usize * height as usize * 3];
            assert!(grey(&Pixels { width, height, rgb }) == flat(200), "{width} × {height}");
        }
    }
}
