//! Picture → tensor, and the way back for boxes.
//!
//! Decoding is bounded by the header before any pixel is read. Grey is made before resizing with Pillow's fixed-point
//! BT.601 (`convert("L")`); resizing is bilinear with a support that grows when shrinking, as Pillow's `BILINEAR`.
//! Alpha is dropped, and the picture turned upright as its EXIF orientation says.
//!
//! At worst (16-bit RGBA with [`MAX_PIXELS`]) the decoded picture takes 320 MB and its copy as RGB 120 MB. Resizing adds
//! one row of the source as floats, at most 16,384 × 3 × 4 bytes = 192 KiB, the weights (under 1 MiB), and the target.

mod decode;

use app_package::pipeline::{Color, Fit, Layout, PreImage};
use image::{DynamicImage, GrayImage};

pub use self::decode::{decode, decode_within};
use crate::geometry::Geometry;

/// Most pixels of a source picture.
pub const MAX_PIXELS: u64 = 40_000_000;
/// Longest side of a source picture, in pixels. Decoders and resizing keep whole rows.
pub const MAX_SIDE: u32 = 16_384;
/// Grey of the letterbox border.
const PAD: u8 = 114;

/// The shape of the tensor that this step makes.
pub fn shape(pre: &PreImage) -> Vec<i64> {
    let (w, h, c) = (i64::from(pre.width), i64::from(pre.height), channels(pre.color));
    match pre.layout {
        Layout::Nchw => vec![1, c, h, w],
        Layout::Nhwc => vec![1, h, w, c],
        Layout::Flat => vec![1, h * w * c],
    }
}

fn channels(color: Color) -> i64 {
    match color {
        Color::Rgb | Color::Bgr => 3,
        Color::Gray => 1,
    }
}

/// Fills `out` with `(pixel / 255 - mean) / std` in the layout asked for.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "picture sizes are far below 2^24"
)]
pub fn to_tensor(pre: &PreImage, picture: DynamicImage, out: &mut Vec<f32>) -> Geometry {
    let (source_w, source_h) = (picture.width(), picture.height());
    let (to_w, to_h) = (pre.width.max(1), pre.height.max(1));
    let (w, h) = match pre.fit {
        Fit::Stretch | Fit::Crop => (to_w, to_h),
        Fit::Letterbox => {
            let scale = f64::min(f64::from(to_w) / f64::from(source_w), f64::from(to_h) / f64::from(source_h));
            let fit = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
            (fit(source_w, to_w), fit(source_h, to_h))
        }
    };
    let (left, top) = ((to_w - w) / 2, (to_h - h) / 2);
    let from = (source_w, source_h);
    let (pixels, channels) = match pre.color {
        Color::Rgb | Color::Bgr => (resize::<3>(picture.into_rgb8().into_raw(), from, (w, h)), 3),
        Color::Gray => (resize::<1>(to_gray(picture).into_raw(), from, (w, h)), 1),
    };
    let pixels = if (w, h) == (to_w, to_h) { pixels } else { pad(&pixels, w, to_w, to_h, left, top, channels) };
    scale_into(pre, &pixels, out);
    Geometry {
        tensor: [to_w as f32, to_h as f32],
        source: [source_w as f32, source_h as f32],
        fitted: [w as f32, h as f32],
        offset: [left as f32, top as f32],
    }
}

/// Bilinear with a support that grows when shrinking, `C` channels. The arithmetic and so the result are those of
/// `image::imageops::resize` with `Triangle`; but that one holds source width × target height × 16 bytes in between (1 GiB
/// for 16,384 × 4,096), this one a single row.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0–255")]
fn resize<const C: usize>(raw: Vec<u8>, from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    if from == to {
        return raw;
    }
    let (source, _) = raw.as_chunks::<C>();
    let width = (from.0 as usize).max(1);
    let (across, down) = (taps(from.0, to.0), taps(from.1, to.1));
    let mut row = vec![[0f32; C]; width];
    let mut out = Vec::with_capacity(across.len() * down.len() * C);
    for (first, weights) in &down {
        row.fill([0.0; C]);
        for (line, weight) in source.chunks_exact(width).skip(*first).zip(weights) {
            for (sums, pixel) in row.iter_mut().zip(line) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += f32::from(value) * weight;
                }
            }
        }
        for (first, weights) in &across {
            let mut sums = [0f32; C];
            for (pixel, weight) in row.iter().skip(*first).zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += value * weight;
                }
            }
            out.extend(sums.map(|sum| sum.clamp(0.0, 255.0).round() as u8));
        }
    }
    out
}

/// For each place of the target: the first place of the source that counts, and the weights from there on.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "picture sizes are far below 2^24; what is below 0 becomes 0"
)]
fn taps(source: u32, target: u32) -> Vec<(usize, Vec<f32>)> {
    let ratio = source as f32 / target as f32;
    let support = ratio.max(1.0);
    let weights_at = |place: u32| {
        let centre = (place as f32 + 0.5) * ratio;
        let left = ((centre - support).floor() as u32).min(source.saturating_sub(1));
        let right = ((centre + support).ceil() as u32).min(source).max(left + 1);
        let centre = centre - 0.5;
        let mut weights: Vec<f32> = (left..right).map(|at| (1.0 - ((at as f32 - centre) / support).abs()).max(0.0)).collect();
        let sum: f32 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= sum;
        }
        (left as usize, weights)
    };
    (0..target).map(weights_at).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the weights sum to 2^16")]
fn to_gray(picture: DynamicImage) -> GrayImage {
    if let DynamicImage::ImageLuma8(gray) = picture {
        return gray;
    }
    let rgb = picture.into_rgb8();
    let (w, h) = rgb.dimensions();
    let (rgb, _) = rgb.as_chunks::<3>();
    let gray = rgb.iter().map(|&[r, g, b]| ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8);
    GrayImage::from_raw(w, h, gray.collect()).unwrap_or_default()
}

/// Puts a picture `w` wide on a grey canvas, row by row.
fn pad(pixels: &[u8], w: u32, to_w: u32, to_h: u32, left: u32, top: u32, channels: usize) -> Vec<u8> {
    let [w, to_w, to_h, left, top] = [w, to_w, to_h, left, top].map(|v| v as usize);
    let mut canvas = vec![PAD; to_w * to_h * channels];
    let rows = canvas.chunks_exact_mut(to_w * channels).skip(top);
    for (row, source) in rows.zip(pixels.chunks_exact(w * channels)) {
        if let Some(target) = row.get_mut(left * channels..(left + w) * channels) {
            target.copy_from_slice(source);
        }
    }
    canvas
}

fn scale_into(pre: &PreImage, pixels: &[u8], out: &mut Vec<f32>) {
    // (p / 255 - mean) / std = p * factor + summand
    let line = |channel: usize| {
        let mean = pre.mean.get(channel).copied().unwrap_or(0.0);
        let std = pre.std.get(channel).copied().unwrap_or(1.0);
        (1.0 / (255.0 * std), -mean / std)
    };
    out.clear();
    match pre.color {
        Color::Gray => {
            let (factor, summand) = line(0);
            out.extend(pixels.iter().map(|&p| f32::from(p) * factor + summand));
        }
        Color::Rgb | Color::Bgr => {
            let [(fr, sr), (fg, sg), (fb, sb)] = [line(0), line(1), line(2)];
            let (pixels, _) = pixels.as_chunks::<3>();
            if pre.layout == Layout::Nchw {
                out.extend(pixels.iter().map(|&[r, _, _]| f32::from(r) * fr + sr));
                out.extend(pixels.iter().map(|&[_, g, _]| f32::from(g) * fg + sg));
                out.extend(pixels.iter().map(|&[_, _, b]| f32::from(b) * fb + sb));
            } else {
                out.reserve(pixels.len() * 3);
                for &[r, g, b] in pixels {
                    out.extend_from_slice(&[f32::from(r) * fr + sr, f32::from(g) * fg + sg, f32::from(b) * fb + sb]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use image::imageops::{self, FilterType};

    use super::*;

    #[test]
    fn resizing_is_that_of_the_image_crate() {
        let picture = RgbImage::from_fn(37, 23, |x, y| image::Rgb([x * 7 + y, y * 11, x * y].map(|value| value.to_le_bytes()[0])));
        let gray = to_gray(picture.clone().into());
        for (w, h) in [(37, 23), (64, 64), (8, 5), (37, 5), (1, 1), (100, 3), (3, 100)] {
            let wanted = imageops::resize(&picture, w, h, FilterType::Triangle).into_raw();
            assert_eq!(resize::<3>(picture.clone().into_raw(), (37, 23), (w, h)), wanted, "{w} x {h}");
            let wanted = imageops::resize(&gray, w, h, FilterType::Triangle).into_raw();
            assert_eq!(resize::<1>(gray.clone().into_raw(), (37, 23), (w, h)), wanted, "{w} x {h} gray");
        }
    }
}
