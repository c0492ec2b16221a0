//! A clip: Motion-JPEG in AVI (RIFF), as `ffmpeg -i walk.mp4 -vf fps=5 -an -c:v mjpeg -q:v 4 walk.avi` writes it → frames with their times.
//!
//! The chunks of the first MJPG stream are read in their order, without the index; each is a JPEG picture. Nothing is decoded but these: no
//! video decoder runs. Bounds: the size of inputs, [`MAX_FRAMES`], [`MAX_PIXELS`] of each frame.
//! Source: Microsoft, "AVI RIFF File Reference" and "DIB Sequence" (`NNdb`, `NNdc`).

mod huffman;
mod write;

use std::time::Duration;

use image::DynamicImage;

pub use self::write::write;
use crate::{
    error::{AppError, Result},
    picture,
};

/// Most frames of a clip.
pub const MAX_FRAMES: usize = 600;
/// Most pixels of a frame: 3840 × 2160.
pub const MAX_PIXELS: u64 = 3_840 * 2_160;
/// Frames a second that a clip may have.
const RATES: std::ops::RangeInclusive<f64> = 0.02..=240.0;
/// Most streams that are looked at.
const MAX_STREAMS: usize = 16;
/// How to make a clip of what is none.
const REMEDY: &str = "make a clip with: ffmpeg -i FILE -vf fps=5 -an -c:v mjpeg -q:v 4 clip.avi";

/// The frames of a clip, not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip<'a> {
    /// JPEG pictures in order; at least one, at most [`MAX_FRAMES`].
    jpegs: Vec<&'a [u8]>,
    /// A frame lasts `scale / rate` seconds.
    scale: u32,
    rate: u32,
}

/// Whether these bytes begin as an AVI file does.
pub fn is_avi(bytes: &[u8]) -> bool {
    matches!(bytes, [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..])
}

/// The frames of an AVI file. Codes `input-not-a-clip` (no AVI, damaged, cut off), `clip-codec`, `clip-rate`, `clip-empty`, `input-too-large`.
pub fn read(bytes: &[u8]) -> Result<Clip<'_>> {
    if !is_avi(bytes) {
        return Err(AppError::new("input-not-a-clip", format!("this is no AVI file; {REMEDY}")));
    }
    let riff = Chunks::of(bytes).next().ok_or_else(damaged)??;
    let mut parts = Vec::new();
    for chunk in Chunks::of(riff.data.get(4..).unwrap_or_default()) {
        parts.push(chunk?);
        if parts.len() > MAX_STREAMS {
            break;
        }
    }
    let list = |kind| parts.iter().find_map(|chunk| chunk.list(kind)).ok_or_else(damaged);
    let stream = stream(list(*b"hdrl")?)?;
    let mut jpegs = Vec::new();
    frames(list(*b"movi")?, stream.number, true, &mut jpegs)?;
    if jpegs.is_empty() {
        return Err(AppError::new("clip-empty", "the clip has no frame"));
    }
    Ok(Clip { jpegs, scale: stream.scale, rate: stream.rate })
}

/// How long a clip is; a picture, as a clip of one frame, has no length. Codes as [`read`].
pub fn length(bytes: &[u8]) -> Result<Duration> {
    if picture::is_known(bytes) { Ok(Duration::ZERO) } else { read(bytes).map(|clip| clip.time(clip.count())) }
}

impl Clip<'_> {
    /// Frames that there are.
    pub fn count(&self) -> usize {
        self.jpegs.len()
    }

    /// What a frame lasts: scale and rate, whose quotient is seconds.
    pub fn lasts(&self) -> (u32, u32) {
        (self.scale, self.rate)
    }

    /// When a frame begins; frame i is at i × scale / rate.
    pub fn time(&self, at: usize) -> Duration {
        let nanos = u128::try_from(at).unwrap_or(0) * u128::from(self.scale) * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The frames with their times. Codes as [`picture::decode`]; `input-not-a-clip` where one has another size than the first.
    pub fn frames(&self) -> impl Iterator<Item = Result<(Duration, DynamicImage)>> + use<'_> {
        let mut size = None;
        self.jpegs.iter().enumerate().map(move |(at, jpeg)| {
            let picture = decode(jpeg).map_err(|e| AppError::new(e.code, format!("frame {at}: {}", e.message)))?;
            let found = (picture.width(), picture.height());
            if *size.get_or_insert(found) != found {
                return Err(AppError::new("input-not-a-clip", format!("frame {at} is {} × {}, unlike the first", found.0, found.1)));
            }
            Ok((self.time(at), picture))
        })
    }

    /// The JPEG picture of the last frame, as any program shows it.
    pub fn last_jpeg(&self) -> Vec<u8> {
        self.jpegs.last().map(|jpeg| huffman::complete(jpeg).into_owned()).unwrap_or_default()
    }
}

fn decode(jpeg: &[u8]) -> Result<DynamicImage> {
    if !jpeg.starts_with(&[0xff, 0xd8, 0xff]) {
        return Err(AppError::new("input-not-a-clip", "this is no JPEG picture"));
    }
    let picture = picture::decode(&huffman::complete(jpeg))?;
    if u64::from(picture.width()) * u64::from(picture.height()) > MAX_PIXELS {
        let message = format!("the picture has {} × {} pixels; a clip has at most {MAX_PIXELS}", picture.width(), picture.height());
        return Err(AppError::new("input-too-large", message));
    }
    Ok(picture)
}

fn damaged() -> AppError {
    AppError::new("input-not-a-clip", "the AVI file is damaged or cut off")
}

/// A chunk of a RIFF file.
struct Chunk<'a> {
    id: [u8; 4],
    data: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// What a list of this kind holds.
    fn list(&self, kind: [u8; 4]) -> Option<&'a [u8]> {
        if self.id == *b"LIST" { self.data.strip_prefix(&kind) } else { None }
    }
}

/// The chunks one after another; ends with the error of one that is cut off.
struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    fn of(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d, s0, s1, s2, s3, rest @ ..] = self.rest else {
            // Fewer bytes than a head are padding.
            self.rest = &[];
            return None;
        };
        let size = usize::try_from(u32::from_le_bytes([*s0, *s1, *s2, *s3])).unwrap_or(usize::MAX);
        let Some((data, rest)) = rest.split_at_checked(size) else {
            self.rest = &[];
            return Some(Err(damaged()));
        };
        // Chunks begin at even places.
        self.rest = rest.get(size % 2..).unwrap_or_default();
        Some(Ok(Chunk { id: [*a, *b, *c, *d], data }))
    }
}

/// The stream that is read.
struct Stream {
    number: usize,
    scale: u32,
    rate: u32,
}

/// The first MJPG stream of the headers.
fn stream(headers: &[u8]) -> Result<Stream> {
    let mut other = None;
    let mut number = 0;
    for chunk in Chunks::of(headers) {
        let Some(list) = chunk?.list(*b"strl") else { continue };
        if number == MAX_STREAMS {
            break;
        }
        let (mut header, mut format) = (&[][..], &[][..]);
        for part in Chunks::of(list) {
            match part? {
                Chunk { id: [b's', b't', b'r', b'h'], data } => header = data,
                Chunk { id: [b's', b't', b'r', b'f'], data } => format = data,
                Chunk { .. } => {}
            }
        }
        if header.starts_with(b"vids") {
            // BITMAPINFOHEADER: its compression stands at 16; strh: handler at 4, scale at 20, rate at 24.
            let handler = four(header, 4).unwrap_or_default();
            let codec = four(format, 16).filter(|codec| codec.iter().any(|b| *b != 0)).unwrap_or(handler);
            if codec.eq_ignore_ascii_case(b"MJPG") {
                let number_at = |at| four(header, at).map(u32::from_le_bytes).ok_or_else(damaged);
                return timed(number, number_at(20)?, number_at(24)?);
            }
            other.get_or_insert(codec);
        }
        number += 1;
    }
    let Some(codec) = other else { return Err(AppError::new("clip-codec", format!("the AVI file has no pictures; {REMEDY}"))) };
    Err(AppError::new("clip-codec", format!("the pictures are in {}, not in MJPG; {REMEDY}", codec.escape_ascii())))
}

fn timed(number: usize, scale: u32, rate: u32) -> Result<Stream> {
    let fps = f64::from(rate) / f64::from(scale);
    if scale == 0 || rate == 0 || !RATES.contains(&fps) {
        return Err(AppError::new(
            "clip-rate",
            format!("the clip has {rate}/{scale} frames a second; {} to {} are read", RATES.start(), RATES.end()),
        ));
    }
    Ok(Stream { number, scale, rate })
}

fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

/// Adds the pictures of a stream; they may lie in lists `rec `, one deep. An empty chunk shows the picture before once more.
fn frames<'a>(list: &'a [u8], number: usize, lists: bool, jpegs: &mut Vec<&'a [u8]>) -> Result<()> {
    for chunk in Chunks::of(list) {
        let chunk = chunk?;
        if let Some(inner) = chunk.list(*b"rec ").filter(|_| lists) {
            frames(inner, number, false, jpegs)?;
        }
        let [tens, ones, b'd', b'c' | b'b'] = chunk.id else { continue };
        let digit = |c: u8| char::from(c).to_digit(10).and_then(|n| usize::try_from(n).ok());
        if digit(tens).zip(digit(ones)).map(|(tens, ones)| tens * 10 + ones) != Some(number) {
            continue;
        }
        let data = if chunk.data.is_empty() { jpegs.last().copied() } else { Some(chunk.data) };
        jpegs.extend(data);
        if jpegs.len() > MAX_FRAMES {
            return Err(AppError::new(
                "input-too-large",
                format!("the clip has more than {MAX_FRAMES} frames; cut it shorter, or give it fewer a second"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
