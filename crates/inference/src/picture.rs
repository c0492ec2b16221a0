//! Picture → tensor.
//!
//! Decoding is bounded by the header before any pixel is read; the picture is turned upright as its EXIF orientation says, alpha is dropped.
//! Gray is made before resizing with Pillow's fixed-point BT.601 (`convert("L")`).
//!
//! At worst (16-bit RGBA with [`MAX_PIXELS`]) the decoded picture takes 320 MB and its copy as RGB 120 MB; a gray one of 16 bits 80 MB, and as
//! floats, where the app has a window for it, 160 MB. Resizing adds one row of the source as floats, at most 16,384 × 3 × 4 bytes = 192 KiB,
//! the weights (under 1 MiB), and of some filters up to 32 rows as wide as the target, as bytes; then the tensor.

mod cut;
mod decode;
mod fit;
mod resize;
mod taps;
mod tensor;

use app_package::pipeline::{Color, Fit, Layout, PreImage};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, RgbImage};

pub use self::cut::{Part, Shape, cut};
pub use self::decode::{decode, decode_shown, is_known};
use self::fit::Placement;
use self::resize::{resize, resize_floats};
use self::tensor::Canvas;
use crate::error::{AppError, Result};
use crate::geometry::Geometry;

/// Most pixels of a source picture.
pub const MAX_PIXELS: u64 = 40_000_000;
/// Longest side of a source picture, in pixels. Decoders and resizing keep whole rows.
pub const MAX_SIDE: u32 = 16_384;

/// The shape of the tensor that this step makes; -1 where it follows the picture.
pub fn shape(pre: &PreImage) -> Vec<i64> {
    let (w, h) = match pre.fit {
        Fit::Stretch | Fit::Letterbox | Fit::Crop => (i64::from(pre.width), i64::from(pre.height)),
        Fit::Pad => (-1, i64::from(pre.height)),
        Fit::Multiple => (-1, -1),
    };
    shaped(pre, w, h)
}

fn shaped(pre: &PreImage, w: i64, h: i64) -> Vec<i64> {
    let c = if channels(pre.color) == 1 { 1 } else { 3 };
    match pre.layout {
        Layout::Nchw => vec![1, c, h, w],
        Layout::Nhwc => vec![1, h, w, c],
        Layout::Flat if w < 0 || h < 0 => vec![1, -1],
        Layout::Flat => vec![1, h * w * c],
    }
}

fn channels(color: Color) -> usize {
    match color {
        Color::Rgb | Color::Bgr => 3,
        Color::Gray => 1,
    }
}

/// Fills `out` with `(pixel / scale - mean) / std` in the layout asked for; the tensor's shape, and where the picture lies in it. Codes
/// `picture-not-16-bit` where the app has a window for numbers that the picture does not hold, `out-of-memory`.
pub fn to_tensor(pre: &PreImage, picture: &DynamicImage, out: &mut Vec<f32>) -> Result<(Vec<i64>, Geometry)> {
    let placement = Placement::new(pre, (picture.width(), picture.height()));
    let Placement { across, down, left, top, size } = placement;
    let (shape, geometry) = (shaped(pre, i64::from(size.0), i64::from(size.1)), placement.geometry());
    let (left, top) = (left as usize, top as usize);
    let mut canvas = Canvas::new(pre, size, out);
    if matches!(pre.fit, Fit::Letterbox | Fit::Pad) {
        canvas.frame((left, top), (across.count as usize, down.count as usize));
    }
    if let Some(window) = pre.window {
        let DynamicImage::ImageLuma16(raw) = picture else {
            let what = "the app reads gray pictures of 16 bits, as thermal and depth cameras make them, and this is none";
            return Err(AppError::new("picture-not-16-bit", what));
        };
        resize_floats(pre.filter, &windowed(raw, window)?, across, down, |y, row| canvas.row(left, top + y, row));
        return Ok((shape, geometry));
    }
    match decode::plain(picture).as_ref() {
        // A gray picture is resized once, not three times.
        DynamicImage::ImageLuma8(gray) => {
            resize::<1, 1>(pre.filter, gray.as_raw(), across, down, |y, row| canvas.row(left, top + y, row));
        }
        DynamicImage::ImageRgb8(rgb) if pre.color == Color::Gray => {
            let gray = to_gray(rgb);
            resize::<1, 1>(pre.filter, gray.as_raw(), across, down, |y, row| canvas.row(left, top + y, row));
        }
        DynamicImage::ImageRgb8(rgb) => {
            resize::<3, 4>(pre.filter, rgb.as_raw(), across, down, |y, row| canvas.row(left, top + y, row));
        }
        // A plain picture is one of both.
        _ => {}
    }
    Ok((shape, geometry))
}

/// The numbers of a picture between two bounds, which become 0 and 255.
fn windowed(raw: &ImageBuffer<Luma<u16>, Vec<u16>>, [low, high]: [f32; 2]) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    let no_memory = |_| AppError::new("out-of-memory", "no memory is left for the picture");
    values.try_reserve_exact(raw.as_raw().len()).map_err(no_memory)?;
    let value = |number: &u16| ((f32::from(*number) - low) / (high - low)).clamp(0.0, 1.0) * 255.0;
    values.extend(raw.as_raw().iter().map(value));
    Ok(values)
}

/// Pixels of a picture.
#[expect(clippy::cast_precision_loss, reason = "pictures have at most 40 million pixels")]
pub fn area(picture: &DynamicImage) -> f32 {
    (u64::from(picture.width()) * u64::from(picture.height())) as f32
}

#[expect(clippy::cast_possible_truncation, reason = "the weights sum to 2^16")]
fn to_gray(rgb: &RgbImage) -> GrayImage {
    let (w, h) = rgb.dimensions();
    let (rgb, _) = rgb.as_chunks::<3>();
    let gray = rgb.iter().map(|&[r, g, b]| ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8);
    GrayImage::from_raw(w, h, gray.collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use image::imageops::{self, FilterType};

    use super::*;

    /// The tensor without scaling, as bytes.
    fn resized(picture: &DynamicImage, color: &str, (w, h): (u32, u32)) -> Vec<u8> {
        let pre = serde_json::json!({"width": w, "height": h, "color": color, "scale": 1.0, "layout": "nhwc"});
        let mut out = Vec::new();
        to_tensor(&serde_json::from_value(pre).unwrap(), picture, &mut out).unwrap();
        out.iter().map(|value| format!("{value}").parse().unwrap()).collect()
    }

    #[test]
    fn resizing_is_that_of_the_image_crate() {
        let picture = RgbImage::from_fn(37, 23, |x, y| image::Rgb([x * 7 + y, y * 11, x * y].map(|value| value.to_le_bytes()[0])));
        let gray = to_gray(&picture);
        for (w, h) in [(37, 23), (64, 64), (8, 5), (37, 5), (1, 1), (100, 3), (3, 100)] {
            let wanted = imageops::resize(&picture, w, h, FilterType::Triangle).into_raw();
            assert_eq!(resized(&picture.clone().into(), "rgb", (w, h)), wanted, "{w} x {h}");
            let wanted = imageops::resize(&gray, w, h, FilterType::Triangle).into_raw();
            assert_eq!(resized(&picture.clone().into(), "gray", (w, h)), wanted, "{w} x {h} gray");
            assert_eq!(resized(&gray.clone().into(), "gray", (w, h)), wanted, "{w} x {h} gray from gray");
        }
    }
}
