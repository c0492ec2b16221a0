//! Parts of a picture: what a model of the step `of` an object sees.

#![expect(clippy::many_single_char_names, reason = "points are x and y, boxes w and h")]

use app_package::pipeline::{Alignment, Of};
use image::{DynamicImage, ImageBuffer, Pixel};

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

/// Where an object is, in pixels.
pub struct Shape<'a> {
    pub bbox: [f32; 4],
    /// Its corners in order around it.
    pub outline: &'a [[f32; 2]; 4],
    /// Whether they are those of a turned box.
    pub turned: bool,
    /// Its points in the manifest's order.
    pub points: &'a [[f32; 2]],
}

/// Cuts out what an object takes, as `of` says. `None` where nothing is left.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "clamped to the picture")]
pub fn cut(picture: &DynamicImage, of: &Of, object: &Shape<'_>) -> Option<Part> {
    let Shape { bbox, outline, turned, points } = *object;
    if let Some(alignment) = of.align {
        return Some(Part { picture: align(picture, alignment, points)?, origin: [0.0; 2] });
    }
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
/// are cubic, beyond its border those of the border.
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
    let turned = warp(picture, (w as u32, h as u32), cubic, true, place);
    Some(if h >= UPRIGHT * w { turned.rotate270() } else { turned })
}

/// Sides of a face that is aligned.
const FACE: u32 = 112;
/// Where its points lie: `arcface_dst` of insightface.
const ARCFACE: [[f32; 2]; 5] = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// The face with its points where the model has learnt them: turned, scaled and moved with the least squares of what is left (Umeyama, 1991),
/// pixels linear between those of the picture, black beyond its border. `None` of other points than five, or all in one place.
fn align(picture: &DynamicImage, alignment: Alignment, points: &[[f32; 2]]) -> Option<DynamicImage> {
    let Alignment::Arcface = alignment;
    let points: &[[f32; 2]; 5] = points.try_into().ok()?;
    // A similarity of the plane is w = a z + b of complex numbers, which least squares give at once.
    let middle =
        |points: &[[f32; 2]; 5]| [0, 1].map(|n: usize| points.iter().filter_map(|p| p.get(n)).map(|v| f64::from(*v)).sum::<f64>() / 5.0);
    let (from, to) = (middle(points), middle(&ARCFACE));
    let (mut re, mut im, mut spread) = (0.0, 0.0, 0.0);
    for (p, q) in points.iter().zip(&ARCFACE) {
        let ([x, y], [u, v]) = (p.map(f64::from), q.map(f64::from));
        let (x, y, u, v) = (x - from[0], y - from[1], u - to[0], v - to[1]);
        (re, im, spread) = (re + x * u + y * v, im + x * v - y * u, spread + x * x + y * y);
    }
    let (re, im) = (re / spread, im / spread);
    let size = re * re + im * im;
    // A face that is less than a pixel, or not a number.
    if !(1e-6..1e6).contains(&size) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "places in a picture")]
    let place = |i: f32, j: f32| {
        let (u, v) = (f64::from(i) - to[0], f64::from(j) - to[1]);
        [((u * re + v * im) / size + from[0]) as f32, ((v * re - u * im) / size + from[1]) as f32]
    };
    Some(warp(picture, (FACE, FACE), |t| [1.0 - t, t], false, place))
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

/// Keys, 1981, a = −0.75 as `INTER_CUBIC`.
fn cubic(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

/// A picture whose pixels come from these places, weighed by what lies around them; beyond the border the pixels at the `edge`, or black.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float ends at the bounds of its type")]
fn warp<const N: usize>(
    picture: &DynamicImage,
    size: (u32, u32),
    weights: impl Fn(f32) -> [f32; N],
    edge: bool,
    place: impl Fn(f32, f32) -> [f32; 2],
) -> DynamicImage {
    let byte = |sum: f32| sum.round() as u8;
    match picture {
        DynamicImage::ImageLuma8(gray) => warped(gray, size, weights, edge, place, byte).into(),
        DynamicImage::ImageLuma16(gray) => warped(gray, size, weights, edge, place, |sum| sum.round() as u16).into(),
        DynamicImage::ImageRgb8(rgb) => warped(rgb, size, weights, edge, place, byte).into(),
        other => warped(&other.to_rgb8(), size, weights, edge, place, byte).into(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the picture"
)]
fn warped<P: Pixel<Subpixel: Into<f32>>, const N: usize>(
    picture: &ImageBuffer<P, Vec<P::Subpixel>>,
    (width, height): (u32, u32),
    weights: impl Fn(f32) -> [f32; N],
    edge: bool,
    place: impl Fn(f32, f32) -> [f32; 2],
    number: impl Fn(f32) -> P::Subpixel,
) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let (most_x, most_y) = (i64::from(picture.width()) - 1, i64::from(picture.height()) - 1);
    let before = N as i64 / 2 - 1;
    ImageBuffer::from_fn(width, height, |i, j| {
        let [x, y] = place(i as f32, j as f32);
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (weights(x - left), weights(y - top));
        let mut sums = [0.0f32; 4];
        for (row, wy) in down.iter().enumerate() {
            for (column, wx) in across.iter().enumerate() {
                let (px, py) = (left as i64 + column as i64 - before, top as i64 + row as i64 - before);
                let (near_x, near_y) = (px.clamp(0, most_x), py.clamp(0, most_y));
                if !edge && (px, py) != (near_x, near_y) {
                    continue;
                }
                let pixel = picture.get_pixel(near_x as u32, near_y as u32);
                for (sum, channel) in sums.iter_mut().zip(pixel.channels()) {
                    *sum += wx * wy * (*channel).into();
                }
            }
        }
        let numbers = sums.map(&number);
        *P::from_slice(numbers.get(..usize::from(P::CHANNEL_COUNT)).unwrap_or(&numbers))
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
        let part = cut(&picture(), of, &Shape { bbox, outline: &outline, turned: false, points: &[] }).unwrap();
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
        let cut = |bbox, outline: &[[f32; 2]; 4]| cut(&picture(), &of, &Shape { bbox, outline, turned: true, points: &[] });
        let part = cut([10.0, 5.0, 10.0, 20.0], &outline).unwrap().picture.to_rgb8();
        // 10 × 20, laid down.
        assert_eq!(part.dimensions(), (20, 10));
        // `np.rot90`: the right column became the top row.
        let [r, g, _] = part.get_pixel(0, 0).0;
        assert!(r.abs_diff(19 * 6) <= 1 && g.abs_diff(5 * 8) <= 1, "{r} {g}");
        let upright = [[10.0, 5.0], [30.0, 5.0], [30.0, 15.0], [10.0, 15.0]];
        let part = cut([10.0, 5.0, 20.0, 10.0], &upright).unwrap().picture.to_rgb8();
        assert_eq!((part.dimensions(), part.get_pixel(3, 4).0), ((20, 10), [13 * 6, 9 * 8, 0]));
        // Numbers that no picture has.
        let far = [[0.0, 0.0], [1e9, 0.0], [1e9, 1e9], [0.0, 1e9]];
        assert!(cut([0.0, 0.0, 1.0, 1.0], &far).is_none());
        assert!(cut([0.0, 0.0, 1.0, 1.0], &[[f32::NAN; 2]; 4]).is_none());
    }

    /// Points and pixels of `norm_crop` of insightface 0.7.3 as `tests/align.py` rewrites it.
    #[test]
    fn a_face_is_aligned_as_insightface_does() {
        #[derive(serde::Deserialize)]
        struct Case {
            points: [[f32; 2]; 5],
            /// Places in the face, and what is there.
            pixels: Vec<(u32, u32, [u8; 3])>,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/align.json")).unwrap();
        let of = Of { align: Some(Alignment::Arcface), ..Of::default() };
        let source = RgbImage::from_fn(160, 120, |x, y| {
            Rgb([x * 255 / 159, y * 255 / 119, 128 + 127 * u32::from((x / 20 + y / 20) % 2 == 0)].map(|v| u8::try_from(v).unwrap()))
        });
        let source: DynamicImage = source.into();
        let aligned = |points: &[[f32; 2]]| {
            let outline = [[0.0; 2]; 4];
            cut(&source, &of, &Shape { bbox: [0.0; 4], outline: &outline, turned: false, points }).map(|part| part.picture.to_rgb8())
        };
        for case in cases {
            let face = aligned(&case.points).unwrap();
            assert_eq!(face.dimensions(), (112, 112));
            for (x, y, wanted) in case.pixels {
                let found = face.get_pixel(x, y).0;
                assert!(found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 2), "{x} {y}: {found:?} {wanted:?}");
            }
        }
        // Other points than five, all in one place, and no numbers.
        for points in [&[[1.0, 2.0]; 4][..], &[[7.0, 7.0]; 5], &[[f32::NAN, 1.0]; 5], &[[f32::INFINITY, 1.0]; 5], &[]] {
            assert!(aligned(points).is_none(), "{points:?}");
        }
    }
}
