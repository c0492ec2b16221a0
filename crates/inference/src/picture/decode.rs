//! PNG and JPEG → pixels, bounded by the header before any pixel is read.

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::{MAX_PIXELS, MAX_SIDE};
use crate::error::{AppError, Result};

/// Memory of a decoder in bytes, beside the pixels: rows, what compressed headers hold.
const DECODER_MEMORY: u64 = 16 << 20;

/// Whether these bytes begin as a PNG or JPEG picture does.
pub fn is_known(bytes: &[u8]) -> bool {
    matches!(bytes, [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..])
}

/// Decodes PNG or JPEG, recognised by its first bytes, upright: as RGB of 8 bits, or gray of 8 or 16 bits. Codes `input-not-a-picture`, `input-too-large`.
pub fn decode(bytes: &[u8]) -> Result<DynamicImage> {
    // 16-bit RGBA at the most pixels and its copy as RGB. Turning the copy takes less: the first is gone by then.
    within(bytes, MAX_PIXELS * (8 + 3), false)
}

/// As [`decode`], for showing: with alpha where there is one, and at most so many bytes of memory for pixels. Code `input-too-large` where more
/// are needed.
pub fn decode_shown(bytes: &[u8], most: u64) -> Result<DynamicImage> {
    within(bytes, most, true)
}

fn within(bytes: &[u8], most: u64, alpha: bool) -> Result<DynamicImage> {
    let not_a_picture = |e: &dyn std::fmt::Display| AppError::new("input-not-a-picture", format!("this is not a PNG or JPEG picture: {e}"));
    let format = match bytes {
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [0xff, 0xd8, 0xff, ..] => ImageFormat::Jpeg,
        _ => return Err(not_a_picture(&"unknown first bytes")),
    };
    // The decoder fills what is missing of a JPEG with gray, and gray may well look like smoke.
    if format == ImageFormat::Jpeg && !is_whole_jpeg(bytes) {
        return Err(AppError::new("input-not-a-picture", "the JPEG picture is damaged or cut off: it has no end"));
    }
    // The first bytes name the format, so what fails from here on is damage.
    let name = if format == ImageFormat::Png { "PNG" } else { "JPEG" };
    let damaged =
        |e: &dyn std::fmt::Display| AppError::new("input-not-a-picture", format!("the {name} picture is damaged or cut off: {e}"));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(DECODER_MEMORY);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(|e| damaged(&e))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let too_large = |why: String| AppError::new("input-too-large", format!("the picture has {width} × {height} pixels; {why}"));
    if pixels == 0 || pixels > MAX_PIXELS || width.max(height) > MAX_SIDE {
        return Err(too_large(format!("at most {MAX_PIXELS} are read, and at most {MAX_SIDE} on a side")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // A copy of three bytes a pixel follows, of four with alpha: as bytes, or turned. A progressive JPEG (marker 0xff 0xc2) is held as coefficients first. In
    // the data of a JPEG that marker cannot stand, in its headers by accident only.
    let kept = decoder.color_type() == ColorType::Rgb8 || (alpha && decoder.color_type() == ColorType::Rgba8);
    let copy = if kept && orientation == Orientation::NoTransforms { 0 } else { pixels * if alpha { 4 } else { 3 } };
    let progressive = format == ImageFormat::Jpeg && bytes.windows(2).any(|pair| pair == [0xff, 0xc2]);
    let needed = decoder.total_bytes() + copy + if progressive { pixels * 6 } else { 0 };
    if needed > most {
        return Err(too_large(format!("decoding takes {} MiB, more than may be used", needed >> 20)));
    }
    if !has_memory(needed) {
        return Err(too_large(format!("decoding takes {} MiB, more than the app has left", needed >> 20)));
    }
    // The pixels come to what the decoder has.
    limits.max_alloc = Some(needed + DECODER_MEMORY);
    decoder.set_limits(limits).map_err(|e| damaged(&e))?;
    // Bytes first, then turned: turning copies, and 16-bit RGBA is the larger of the two.
    let picture = DynamicImage::from_decoder(decoder).map_err(|e| damaged(&e))?;
    let mut picture = match picture {
        shown if alpha && shown.color().has_alpha() => shown.into_rgba8().into(),
        kept @ (DynamicImage::ImageRgb8(_) | DynamicImage::ImageLuma8(_)) => kept,
        DynamicImage::ImageLuma16(raw) if !alpha => raw.into(),
        DynamicImage::ImageLumaA16(raw) if !alpha => DynamicImage::from(raw).into_luma16().into(),
        gray if !gray.color().has_color() => gray.into_luma8().into(),
        other => other.into_rgb8().into(),
    };
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// As RGB or gray, 8 bits a channel, without alpha. Of 16 bits each number is divided by 257 and rounded, as libpng's `png_set_scale_16`.
pub(super) fn plain(picture: &DynamicImage) -> Cow<'_, DynamicImage> {
    match picture {
        DynamicImage::ImageRgb8(_) | DynamicImage::ImageLuma8(_) => Cow::Borrowed(picture),
        gray if !gray.color().has_color() => Cow::Owned(gray.to_luma8().into()),
        other => Cow::Owned(other.to_rgb8().into()),
    }
}

/// True when the segments of a JPEG lead to its end marker (ITU-T T.81, B.1). Pictures inside its headers do not count, and what
/// cameras write after the end does not matter.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // To the next marker: 0xff, then neither a stuffed zero nor a restart marker. Fill bytes may stand before it.
        let Some(found) = bytes
            .get(at..)
            .and_then(|rest| rest.windows(2).position(|pair| matches!(pair, [0xff, code] if !matches!(code, 0x00 | 0xd0..=0xd7 | 0xff))))
        else {
            return false;
        };
        at += found;
        match bytes.get(at + 1) {
            None => return false,
            Some(0xd9) => return true,
            Some(_) => {
                let Some([high, low]) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([*high, *low])).max(2);
            }
        }
    }
}

/// True when this much memory can be had now. Asked before decoding, because a decoder that runs out of memory ends the whole process.
fn has_memory(bytes: u64) -> bool {
    let mut probe: Vec<u8> = Vec::new();
    let had = usize::try_from(bytes).is_ok_and(|bytes| probe.try_reserve_exact(bytes).is_ok());
    // Without a use of `probe` the compiler may leave the reservation out.
    std::hint::black_box(&probe);
    had
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, RgbImage};

    use super::*;
    use crate::picture::MAX_SIDE;

    fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_png_that_is_cut_off_is_called_damaged() {
        let whole = png(RgbImage::from_fn(64, 48, |x, y| image::Rgb([x, y, x ^ y].map(|value| value.to_le_bytes()[0]))));
        for end in [20, whole.len() / 2, whole.len() - 20] {
            let error = decode(&whole[..end]).unwrap_err();
            assert_eq!(error.code, "input-not-a-picture");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
        assert!(decode(b"GIF89a").unwrap_err().to_string().contains("not a PNG"));
    }

    #[test]
    fn a_jpeg_without_its_end_is_no_picture() {
        let mut whole = Vec::new();
        let picture = DynamicImage::ImageRgb8(RgbImage::from_fn(64, 48, |x, y| {
            image::Rgb([x, y, x ^ y].map(|c| u8::try_from(c * 3 % 256).unwrap()))
        }));
        picture.write_to(&mut Cursor::new(&mut whole), ImageFormat::Jpeg).unwrap();
        assert!(decode(&whole).is_ok());
        // A camera's notes after the end.
        assert!(decode(&[&whole[..], b"maker notes"].concat()).is_ok());
        for share in [2, 10, 50, 90, 99] {
            let cut = &whole[..whole.len() * share / 100];
            assert_eq!(decode(cut).unwrap_err().code, "input-not-a-picture", "{share} %");
        }
        assert_eq!(decode(&whole[..whole.len() - 1]).unwrap_err().code, "input-not-a-picture");
    }

    #[test]
    fn memory_of_a_decoded_picture_is_bounded() {
        // 16-bit RGBA: 4,000 bytes, and 1,500 of its copy.
        let deep = png(image::ImageBuffer::<image::Rgba<u16>, _>::new(25, 20));
        assert!(decode(&deep).is_ok() && within(&deep, 5_500, false).is_ok());
        let refused = within(&deep, 5_499, false).unwrap_err();
        assert_eq!(refused.code, "input-too-large");
        assert!(decode_shown(&deep, 6_000).unwrap().color().has_alpha());
        assert_eq!(decode_shown(&deep, 5_999).unwrap_err().code, "input-too-large");
    }

    #[test]
    fn long_sides_are_refused() {
        let code = |w, h| decode(&png(GrayImage::new(w, h))).unwrap_err().code;
        assert_eq!(code(MAX_SIDE + 1, 1), "input-too-large");
        assert_eq!(code(4, 100_000), "input-too-large");
        assert!(decode(&png(GrayImage::new(MAX_SIDE, 4))).is_ok());
    }

    #[test]
    fn memory_that_is_not_there_is_not_promised() {
        assert!(has_memory(1 << 20));
        assert!(!has_memory(u64::MAX));
        assert!(!has_memory(1 << 62));
    }
}
