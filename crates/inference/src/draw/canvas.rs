//! Strokes, areas and letters on a picture. What lies outside of it is left out, wherever it is.

use font8x8::legacy::BASIC_LEGACY;
use image::{Rgb, RgbImage};

/// Side of a letter of the font, in its own pixels.
const LETTER: u32 = 8;
/// Letters of a label.
const MAX_LETTERS: usize = 40;

/// A picture that is drawn on.
pub(super) struct Canvas {
    picture: RgbImage,
    /// Width of strokes, and pixels of the picture for one of a letter.
    unit: u32,
}

impl Canvas {
    pub(super) fn new(picture: RgbImage) -> Self {
        let unit = (picture.width().max(picture.height()) / 480).max(1);
        Self { picture, unit }
    }

    pub(super) fn size(&self) -> [u32; 2] {
        [self.picture.width(), self.picture.height()]
    }

    /// Height of a label.
    pub(super) fn row(&self) -> f64 {
        f64::from((LETTER + 2) * self.unit)
    }

    pub(super) fn finish(self) -> RgbImage {
        self.picture
    }

    fn put(&mut self, [x, y]: [i64; 2], colour: [u8; 3]) {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = self.picture.get_pixel_mut_checked(x, y)
        {
            *pixel = Rgb(colour);
        }
    }

    /// A line from one point to another; points are kept near the picture, so that a line is never longer than it.
    pub(super) fn stroke(&mut self, from: [f64; 2], to: [f64; 2], colour: [u8; 3]) {
        let near = |[x, y]: [f64; 2]| [self.near(x, 0), self.near(y, 1)];
        let (from, to) = (near(from), near(to));
        let steps = (to[0] - from[0]).abs().max((to[1] - from[1]).abs()).ceil().max(1.0);
        let (half, mut step) = (i64::from(self.unit / 2), 0.0);
        while step <= steps {
            let at = [0, 1].map(|axis| whole(at(from, axis) + (at(to, axis) - at(from, axis)) * step / steps));
            for dy in -half..i64::from(self.unit) - half {
                for dx in -half..i64::from(self.unit) - half {
                    self.put([at[0] + dx, at[1] + dy], colour);
                }
            }
            step += 1.0;
        }
    }

    /// A coordinate inside of the picture or beside it; 0 for what is no number.
    fn near(&self, n: f64, axis: usize) -> f64 {
        let side = f64::from(if axis == 0 { self.picture.width() } else { self.picture.height() });
        if n.is_finite() { n.clamp(-side, 2.0 * side) } else { 0.0 }
    }

    pub(super) fn polygon(&mut self, corners: &[[f64; 2]], colour: [u8; 3]) {
        for (a, b) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            self.stroke(*a, *b, colour);
        }
    }

    /// Colours an area a little; where a point is in it is told as [`crate::scene`] does.
    pub(super) fn tint(&mut self, corners: &[[f64; 2]], colour: [u8; 3]) {
        for (x, y, pixel) in self.picture.enumerate_pixels_mut() {
            if crate::scene::is_inside(corners, [f64::from(x) + 0.5, f64::from(y) + 0.5]) {
                pixel.0.iter_mut().zip(colour).for_each(|(old, new)| *old = mix(*old, new));
            }
        }
    }

    /// Words on a coloured ground, their left top corner there, or their left bottom corner; moved into the picture where they would leave it.
    pub(super) fn label(&mut self, [x, y]: [f64; 2], above: bool, words: &str, colour: [u8; 3]) {
        let letters: Vec<char> = words.chars().take(MAX_LETTERS).collect();
        let unit = i64::from(self.unit);
        let [width, height] = self.size().map(i64::from);
        let (wide, high) = ((i64::try_from(letters.len()).unwrap_or(0) * i64::from(LETTER) + 2) * unit, i64::from(LETTER + 2) * unit);
        let (left, top) = (whole(self.near(x, 0)), whole(self.near(y, 1)) - if above { high } else { 0 });
        let (left, top) = (left.min(width - wide).max(0), top.min(height - high).max(0));
        for dy in 0..high {
            for dx in 0..wide {
                self.put([left + dx, top + dy], colour);
            }
        }
        let ink = if colour.iter().map(|c| u32::from(*c)).sum::<u32>() > 380 { [0; 3] } else { [255; 3] };
        for (n, letter) in letters.into_iter().enumerate() {
            let start = [left + (i64::try_from(n).unwrap_or(0) * i64::from(LETTER) + 1) * unit, top + unit];
            self.letter(start, letter, ink);
        }
    }

    fn letter(&mut self, [left, top]: [i64; 2], letter: char, ink: [u8; 3]) {
        let unit = i64::from(self.unit);
        let rows = usize::try_from(u32::from(letter)).ok().and_then(|code| BASIC_LEGACY.get(code)).copied().unwrap_or_default();
        for (row, bits) in (0..).zip(rows) {
            for column in (0..i64::from(LETTER)).filter(|column| (bits >> column) & 1 == 1) {
                for (dx, dy) in (0..unit).flat_map(|dx| (0..unit).map(move |dy| (dx, dy))) {
                    self.put([left + column * unit + dx, top + row * unit + dy], ink);
                }
            }
        }
    }
}

fn at(point: [f64; 2], axis: usize) -> f64 {
    point.get(axis).copied().unwrap_or_default()
}

/// A quarter of the new colour.
fn mix(old: u8, new: u8) -> u8 {
    u8::try_from((u32::from(old) * 3 + u32::from(new)) / 4).unwrap_or(u8::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "points are kept near the picture")]
fn whole(n: f64) -> i64 {
    n.round() as i64
}
