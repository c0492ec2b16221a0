//! Picture → tensor, and the way back for boxes.
//!
//! Decoding is bounded by the header before any pixel is read. Grey is made before resizing with Pillow's fixed-point
//! BT.601 (`convert("L")`); resizing is bilinear with a support that grows when shrinking, as Pillow's `BILINEAR`.
//! Alpha is dropped; the EXIF orientation is not applied.

use std::io::Cursor;

use app_package::manifest::{Color, Fit, Layout, PreImage};
use image::{DynamicImage, GrayImage, ImageFormat, ImageReader, RgbImage, imageops};

use crate::error::{AppError, Result};

/// Most pixels of a source picture.
pub const MAX_PIXELS: u64 = 40_000_000;
/// Grey of the letterbox border.
const PAD: u8 = 114;

/// How source pixels became tensor pixels: `tensor = source * scale + pad`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Tensor width and height in pixels.
    pub tensor: [f32; 2],
    /// Source width and height in pixels.
    pub source: [f32; 2],
    scale: [f32; 2],
    pad: [f32; 2],
}

impl Geometry {
    /// A box given by its corners in tensor pixels as `[x, y, w, h]` in source pixels, cut to the picture; `None` when
    /// nothing is left or a number is not finite.
    pub fn to_source(&self, left: f32, top: f32, right: f32, bottom: f32) -> Option<[f32; 4]> {
        let [sx, sy] = self.scale;
        let [px, py] = self.pad;
        let [width, height] = self.source;
        let back = |v: f32, pad: f32, scale: f32, most: f32| ((v - pad) / scale).clamp(0.0, most);
        let (x, across) = (back(left, px, sx, width), back(right, px, sx, width));
        let (y, down) = (back(top, py, sy, height), back(bottom, py, sy, height));
        let (w, h) = (across - x, down - y);
        (w > 0.0 && h > 0.0).then_some([x, y, w, h])
    }
}

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
        Color::Rgb => 3,
        Color::Gray => 1,
    }
}

/// Decodes PNG or JPEG, recognised by its first bytes. Codes `input-not-a-picture`, `input-too-large`.
pub fn decode(bytes: &[u8]) -> Result<DynamicImage> {
    let not_a_picture =
        |e: &dyn std::fmt::Display| AppError::new("input-not-a-picture", format!("the input is not a PNG or JPEG picture: {e}"));
    let format = match bytes {
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [0xff, 0xd8, 0xff, ..] => ImageFormat::Jpeg,
        _ => return Err(not_a_picture(&"unknown first bytes")),
    };
    let (width, height) = ImageReader::with_format(Cursor::new(bytes), format).into_dimensions().map_err(|e| not_a_picture(&e))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        return Err(AppError::new("input-too-large", format!("the picture has {width} × {height} pixels; at most {MAX_PIXELS} are read")));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::default();
    // 16-bit RGBA at the most pixels, plus the decoder's own rows.
    limits.max_alloc = Some(MAX_PIXELS * 8 + (16 << 20));
    reader.limits(limits);
    reader.decode().map_err(|e| not_a_picture(&e))
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
        Fit::Stretch => (to_w, to_h),
        Fit::Letterbox => {
            let scale = f64::min(f64::from(to_w) / f64::from(source_w), f64::from(to_h) / f64::from(source_h));
            let fit = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
            (fit(source_w, to_w), fit(source_h, to_h))
        }
    };
    let (left, top) = ((to_w - w) / 2, (to_h - h) / 2);
    let pixels = match pre.color {
        Color::Rgb => {
            let resized = resize_rgb(picture.into_rgb8(), w, h);
            if (w, h) == (to_w, to_h) { resized.into_raw() } else { pad(resized.as_raw(), w, to_w, to_h, left, top, 3) }
        }
        Color::Gray => {
            let resized = resize_gray(to_gray(picture), w, h);
            if (w, h) == (to_w, to_h) { resized.into_raw() } else { pad(resized.as_raw(), w, to_w, to_h, left, top, 1) }
        }
    };
    scale_into(pre, &pixels, out);
    Geometry {
        tensor: [to_w as f32, to_h as f32],
        source: [source_w as f32, source_h as f32],
        scale: [w as f32 / source_w as f32, h as f32 / source_h as f32],
        pad: [left as f32, top as f32],
    }
}

fn resize_rgb(picture: RgbImage, w: u32, h: u32) -> RgbImage {
    if picture.dimensions() == (w, h) { picture } else { imageops::resize(&picture, w, h, imageops::FilterType::Triangle) }
}

fn resize_gray(picture: GrayImage, w: u32, h: u32) -> GrayImage {
    if picture.dimensions() == (w, h) { picture } else { imageops::resize(&picture, w, h, imageops::FilterType::Triangle) }
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
        Color::Rgb => {
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
