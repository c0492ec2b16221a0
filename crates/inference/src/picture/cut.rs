//! Parts of a picture: what a model of the step `of` an object sees.

#![expect(clippy::many_single_char_names, reason = "points are x and y, boxes w and h")]

use app_package::pipeline::Of;
use image::{DynamicImage, ImageBuffer, Pixel, imageops};

/// Lines of text that are this much higher than wide are laid down, as `PaddleOCR` does.
const UPRIGHT: f32 = 1.5;
/// Longest side of a part that was turned.
const MAX_SIDE: f32 = 8_192.0;
/// What FP32 rounds by in pixels.
const ROUNDING: f32 = 0.01;
/// Most pixels of such a part.
const MAX_AREA: f32 = 4_000_000.0;

/// A part of a picture, and where its left top corner lies in the whole.
pub struct Part {
    pub picture: DynamicImage,
    pub origin: [f32; 2],
}

/// Cuts out what an object takes, as `of` says. `outline` are its corners in order around it, in pixels. `None` where nothing is left.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "clamped to the picture")]
pub fn cut(picture: &DynamicImage, of: &Of, bbox: [f32; 4], outline: &[[f32; 2]; 4], turned: bool) -> Option<Part> {
    if of.turn && turned {
        return Some(Part { picture: turn(picture, of.expand, outline)?, origin: [0.0; 2] });
    }
    let [x, y, w, h] = bbox;
    let (width, height) = (picture.width(), picture.height());
    let (mut across, mut down) = (w * (1.0 + 2.0 * of.expand), h * (1.0 + 2.0 * of.expand));
    if of.square {
        (across, down) = (across.max(down), across.max(down));
    }
    let (middle_x, middle_y) = (x + w / 2.0, y + h / 2.0);
    // Whole pixels that the box touches by more than rounding.
    let begin = |at: f32, most: u32| (at + ROUNDING).floor().clamp(0.0, most as f32 - 1.0) as u32;
    let end = |at: f32, least: u32, most: u32| ((at - ROUNDING).ceil().max(0.0) as u32).clamp(least + 1, most);
    let (left, top) = (begin(middle_x - across / 2.0, width), begin(middle_y - down / 2.0, height));
    let (right, bottom) = (end(middle_x + across / 2.0, left, width), end(middle_y + down / 2.0, top, height));
    let mut part = picture.crop_imm(left, top, right - left, bottom - top);
    if of.turn && (bottom - top) as f32 >= UPRIGHT * (right - left) as f32 {
        part = part.rotate270();
    }
    Some(Part { picture: part, origin: [left as f32, top as f32] })
}

/// What lies in a turned box, upright and with its longer side across where it is much higher than wide. Pixels between those of the picture
/// are cubic (Keys, 1981, a = −0.75 as `INTER_CUBIC`), beyond its border those of the border.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "sides are clamped")]
fn turn(picture: &DynamicImage, expand: f32, outline: &[[f32; 2]; 4]) -> Option<DynamicImage> {
    let distance = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let [mut a, mut b, mut c, mut d] = ordered(outline);
    if expand > 0.0 {
        let middle = [(a[0] + b[0] + c[0] + d[0]) / 4.0, (a[1] + b[1] + c[1] + d[1]) / 4.0];
        let grow = |p: [f32; 2]| {
            [0, 1].map(|i: usize| {
                let (p, m) = (p.get(i).copied().unwrap_or(0.0), middle.get(i).copied().unwrap_or(0.0));
                m + (p - m) * (1.0 + 2.0 * expand)
            })
        };
        (a, b, c, d) = (grow(a), grow(b), grow(c), grow(d));
    }
    let (w, h) = (distance(a, b).max(distance(d, c)), distance(a, d).max(distance(b, c)));
    let (w, h) = (w.trunc(), h.trunc());
    // A box in the picture is not larger than it, but for what it grows by.
    let own = 4.0 * (u64::from(picture.width()) * u64::from(picture.height())) as f32;
    if !(1.0..=MAX_SIDE).contains(&w) || !(1.0..=MAX_SIDE).contains(&h) || w * h > own.clamp(1.0, MAX_AREA) {
        return None;
    }
    // `getPerspectiveTransform` of a parallelogram: pixel (i, j) lies at a + (b − a) i / w + (d − a) j / h.
    let place = |i: f32, j: f32| {
        let at = |n: usize| {
            let corner = |p: [f32; 2]| p.get(n).copied().unwrap_or(0.0);
            corner(a) + (corner(b) - corner(a)) * i / w + (corner(d) - corner(a)) * j / h
        };
        [at(0), at(1)]
    };
    let (across, down) = (w as u32, h as u32);
    let turned: DynamicImage = match picture {
        DynamicImage::ImageLuma8(gray) => warp(gray, across, down, place).into(),
        DynamicImage::ImageRgb8(rgb) => warp(rgb, across, down, place).into(),
        other => warp(&other.to_rgb8(), across, down, place).into(),
    };
    Some(if h >= UPRIGHT * w { imageops::rotate270(&turned.to_rgb8()).into() } else { turned })
}

/// The corners from the left top one clockwise, as `get_mini_boxes` of `PaddleOCR` orders them.
fn ordered(outline: &[[f32; 2]; 4]) -> [[f32; 2]; 4] {
    let mut by_x = *outline;
    by_x.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [mut left, mut lower_left, mut right, mut lower_right] = by_x;
    if left[1] > lower_left[1] {
        std::mem::swap(&mut left, &mut lower_left);
    }
    if right[1] > lower_right[1] {
        std::mem::swap(&mut right, &mut lower_right);
    }
    [left, right, lower_right, lower_left]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the picture"
)]
fn warp<P: Pixel<Subpixel = u8>>(
    picture: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
    place: impl Fn(f32, f32) -> [f32; 2],
) -> ImageBuffer<P, Vec<u8>> {
    const A: f32 = -0.75;
    let weights = |t: f32| {
        let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
    };
    let (most_x, most_y) = (i64::from(picture.width()) - 1, i64::from(picture.height()) - 1);
    ImageBuffer::from_fn(width, height, |i, j| {
        let [x, y] = place(i as f32, j as f32);
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (weights(x - left), weights(y - top));
        let mut sums = [0.0f32; 4];
        for (row, wy) in down.iter().enumerate() {
            for (column, wx) in across.iter().enumerate() {
                let px = (left as i64 + column as i64 - 1).clamp(0, most_x) as u32;
                let py = (top as i64 + row as i64 - 1).clamp(0, most_y) as u32;
                let pixel = picture.get_pixel(px, py);
                for (sum, channel) in sums.iter_mut().zip(pixel.channels()) {
                    *sum += wx * wy * f32::from(*channel);
                }
            }
        }
        let bytes = sums.map(|sum| sum.round().clamp(0.0, 255.0) as u8);
        *P::from_slice(bytes.get(..usize::from(P::CHANNEL_COUNT)).unwrap_or(&bytes))
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn picture() -> DynamicImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([x * 6, y * 8, 0].map(|v| u8::try_from(v.min(255)).unwrap()))).into()
    }

    fn sized(of: &Of, bbox: [f32; 4]) -> (u32, u32, [f32; 2]) {
        let [x, y, w, h] = bbox;
        let outline = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]];
        let part = cut(&picture(), of, bbox, &outline, false).unwrap();
        (part.picture.width(), part.picture.height(), part.origin)
    }

    #[test]
    fn a_part_is_cut_at_the_border() {
        let of = Of::default();
        assert_eq!(sized(&of, [4.0, 5.0, 10.0, 6.0]), (10, 6, [4.0, 5.0]));
        assert_eq!(sized(&Of { expand: 0.5, ..of.clone() }, [4.0, 5.0, 10.0, 6.0]), (19, 12, [0.0, 2.0]));
        assert_eq!(sized(&Of { square: true, ..of.clone() }, [4.0, 5.0, 10.0, 6.0]), (10, 10, [4.0, 3.0]));
        assert_eq!(sized(&Of { turn: true, ..of.clone() }, [4.0, 5.0, 6.0, 10.0]), (10, 6, [4.0, 5.0]));
        // What lies outside leaves one pixel.
        assert_eq!(sized(&of, [39.9, 29.9, 0.1, 0.1]), (1, 1, [39.0, 29.0]));
        assert_eq!(sized(&of, [100.0, 100.0, 5.0, 5.0]), (1, 1, [39.0, 29.0]));
    }

    #[test]
    fn a_turned_part_is_upright() {
        // A quarter turn: what is right of the box is below.
        let outline = [[20.0, 5.0], [20.0, 25.0], [10.0, 25.0], [10.0, 5.0]];
        let of = Of { turn: true, ..Of::default() };
        let part = cut(&picture(), &of, [10.0, 5.0, 10.0, 20.0], &outline, true).unwrap().picture.to_rgb8();
        // 10 × 20, laid down.
        assert_eq!(part.dimensions(), (20, 10));
        // `np.rot90`: the right column became the top row.
        let [r, g, _] = part.get_pixel(0, 0).0;
        assert!(r.abs_diff(19 * 6) <= 1 && g.abs_diff(5 * 8) <= 1, "{r} {g}");
        let upright = [[10.0, 5.0], [30.0, 5.0], [30.0, 15.0], [10.0, 15.0]];
        let part = cut(&picture(), &of, [10.0, 5.0, 20.0, 10.0], &upright, true).unwrap().picture.to_rgb8();
        assert_eq!((part.dimensions(), part.get_pixel(3, 4).0), ((20, 10), [13 * 6, 9 * 8, 0]));
        // Numbers that no picture has.
        let far = [[0.0, 0.0], [1e9, 0.0], [1e9, 1e9], [0.0, 1e9]];
        assert!(cut(&picture(), &of, [0.0, 0.0, 1.0, 1.0], &far, true).is_none());
        assert!(cut(&picture(), &of, [0.0, 0.0, 1.0, 1.0], &[[f32::NAN; 2]; 4], true).is_none());
    }
}
