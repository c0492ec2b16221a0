//! Pictures of what raised an alarm, as they may leave the machine: a small one for a desk, and one of the whole frame.
//!
//! Invariants: nothing is drawn into them, for what was found is told beside; with [`Privacy::Blurred`] no person can be known by them: where
//! the app finds persons, each of those is made of few squares, and where it does not, all but what it found is.

use std::io::Cursor;

use app_package::manifest::AppManifest;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GenericImage as _, RgbImage};
use serde::{Deserialize, Serialize};

use crate::error::{AppError, Result};
use crate::{clip, picture};

/// Bytes that the small picture has at most, where that can be, and in any case.
const SMALL: usize = 30_000;
pub const MAX_SMALL: usize = 48 << 10;
/// Bytes that the whole picture has at most.
pub const MAX_WHOLE: usize = 1 << 20;
/// Longest side in pixels and quality of the small picture, and of the whole one: the first that is small enough.
const SMALL_TRIES: [(u32, u8); 5] = [(480, 70), (480, 45), (320, 60), (320, 35), (200, 30)];
const WHOLE_TRIES: [(u32, u8); 4] = [(1_920, 85), (1_920, 60), (1_280, 60), (960, 40)];
/// Squares along each side of a person.
const OF_A_PERSON: u32 = 8;
/// Squares along the longest side of a frame in which nobody looks for persons.
const OF_A_FRAME: u32 = 32;
/// How much of its own size a person's box is made wider on each side: hair and hands stand out of it.
const WIDER: f32 = 0.15;
/// Words in labels of persons and of what is seen with their faces.
const PERSONS: [&str; 8] = ["person", "people", "human", "worker", "miner", "pedestrian", "man", "woman"];
const FACES: [&str; 5] = ["face", "head", "helmet", "hardhat", "mask"];
/// Most objects that are looked at.
const MAX_OBJECTS: usize = 200;

/// How a picture is made fit to leave the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    Blurred,
    /// As it is.
    Plain,
}

impl Privacy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blurred => "blurred",
            Self::Plain => "plain",
        }
    }
}

/// An object that was found: left, top, width and height in pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    #[serde(default)]
    pub label: String,
    #[serde(rename = "box")]
    pub bbox: [f32; 4],
}

/// Both pictures, JPEG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pictures {
    /// Width and height of the frame, in whose pixels the boxes are.
    pub size: [u32; 2],
    pub small: Vec<u8>,
    pub whole: Vec<u8>,
}

/// Whether one of the words of a label is among these.
fn says(label: &str, words: &[&str]) -> bool {
    label.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&&*part.to_ascii_lowercase()))
}

/// Whether an app finds persons.
pub fn finds_persons(manifest: &AppManifest) -> bool {
    manifest.finds() && manifest.labels().any(|label| says(&label.id, &PERSONS))
}

/// The frame of an input: the picture, or of a clip its frame at a second. Codes as those of [`picture::decode`] and [`clip::read`].
pub fn frame(bytes: &[u8], at: Option<f64>) -> Result<DynamicImage> {
    if picture::is_known(bytes) {
        return picture::decode(bytes);
    }
    let clip = clip::read(bytes)?;
    let wanted = (0..clip.count()).find(|n| clip.time(*n).as_secs_f64() + 1e-6 >= at.unwrap_or(0.0));
    let frame = clip.frames().nth(wanted.unwrap_or_else(|| clip.count().saturating_sub(1)));
    frame.transpose()?.map(|(_, picture)| picture).ok_or_else(|| AppError::new("input-not-a-clip", "it has no frame"))
}

/// The pictures of a frame. `persons`: whether the app finds persons. Code `input-not-a-picture`.
pub fn pictures(frame: &DynamicImage, objects: &[Object], privacy: Privacy, persons: bool) -> Result<Pictures> {
    let size = [frame.width(), frame.height()];
    let mut shown = frame.to_rgb8();
    if privacy == Privacy::Blurred {
        blur(&mut shown, objects, persons);
    }
    let small = encoded(&shown, &SMALL_TRIES, SMALL, MAX_SMALL)?;
    let whole = encoded(&shown, &WHOLE_TRIES, MAX_WHOLE, MAX_WHOLE)?;
    Ok(Pictures { size, small, whole })
}

/// A rectangle in a picture: left, top, width and height.
type Area = [u32; 4];

/// The part of a box that lies in a picture, made wider by a share of its size on each side; none where nothing does.
fn area([x, y, width, height]: [f32; 4], wider: f32, [across, down]: [u32; 2]) -> Option<Area> {
    if ![x, y, width, height].iter().all(|side| side.is_finite()) || width <= 0.0 || height <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "within the picture")]
    let span = |from: f32, length: f32, most: u32| {
        let begin = (from - length * wider).clamp(0.0, most as f32).floor() as u32;
        let end = (from + length * (1.0 + wider)).clamp(0.0, most as f32).ceil() as u32;
        (end > begin).then(|| (begin, end.min(most) - begin))
    };
    let ((left, width), (top, height)) = (span(x, width, across)?, span(y, height, down)?);
    Some([left, top, width, height])
}

/// Makes an area of squares, at most so many along each side.
fn squares(picture: &mut RgbImage, [x, y, width, height]: Area, most: u32) {
    let part = imageops::crop_imm(picture, x, y, width, height).to_image();
    let few = imageops::thumbnail(&part, width.min(most), height.min(most));
    let coarse = imageops::resize(&few, width, height, FilterType::Nearest);
    // It fits: the area lies in the picture.
    let _ = picture.copy_from(&coarse, x, y);
}

fn blur(picture: &mut RgbImage, objects: &[Object], persons: bool) {
    let size @ [width, height] = [picture.width(), picture.height()];
    let objects = || objects.iter().take(MAX_OBJECTS);
    if !persons {
        let plain = picture.clone();
        squares(picture, [0, 0, width, height], OF_A_FRAME);
        for [x, y, width, height] in objects().filter_map(|object| area(object.bbox, 0.0, size)) {
            let part = imageops::crop_imm(&plain, x, y, width, height).to_image();
            let _ = picture.copy_from(&part, x, y);
        }
    }
    let seen = |object: &&Object| says(&object.label, &PERSONS) || says(&object.label, &FACES);
    for area in objects().filter(seen).filter_map(|object| area(object.bbox, WIDER, size)) {
        squares(picture, area, OF_A_PERSON);
    }
}

/// A picture as JPEG: the first try of at most `wanted` bytes, else the last one where that has at most `most`.
fn encoded(picture: &RgbImage, tries: &[(u32, u8)], wanted: usize, most: usize) -> Result<Vec<u8>> {
    let failed = |why: String| AppError::new("input-not-a-picture", why);
    let mut bytes = Vec::new();
    for (side, quality) in tries {
        let longest = picture.width().max(picture.height());
        let mut out = Cursor::new(Vec::new());
        let mut encoder = JpegEncoder::new_with_quality(&mut out, *quality);
        let written = if longest > *side {
            let share = |length: u32| u32::try_from(u64::from(length) * u64::from(*side) / u64::from(longest.max(1))).unwrap_or(1).max(1);
            let smaller = imageops::resize(picture, share(picture.width()), share(picture.height()), FilterType::Triangle);
            encoder.encode_image(&smaller)
        } else {
            encoder.encode_image(picture)
        };
        written.map_err(|e| failed(e.to_string()))?;
        bytes = out.into_inner();
        if bytes.len() <= wanted {
            return Ok(bytes);
        }
    }
    if bytes.len() <= most { Ok(bytes) } else { Err(failed(format!("it has {} bytes as small as it can be", bytes.len()))) }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Fine stripes, of which squares keep nothing.
    fn striped(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([if (x + y) % 2 == 0 { 250 } else { 5 }; 3])).into()
    }

    fn object(label: &str, bbox: [f32; 4]) -> Object {
        Object { label: label.into(), bbox }
    }

    /// Largest difference between neighbours in a row, over an area.
    fn contrast(jpeg: &[u8], [left, top, width, height]: Area) -> u8 {
        let picture = image::load_from_memory(jpeg).unwrap().to_luma8();
        let at = |x, y| picture.get_pixel(x, y).0[0];
        (top..top + height)
            .flat_map(|y| (left..left + width - 1).map(move |x| (x, y)))
            .map(|(x, y)| at(x, y).abs_diff(at(x + 1, y)))
            .max()
            .unwrap()
    }

    #[test]
    fn persons_are_squares_and_the_rest_stays_where_the_app_finds_persons() {
        let frame = striped(160, 120);
        let found = [object("person", [40.0, 40.0, 40.0, 40.0]), object("bolt", [100.0, 60.0, 20.0, 20.0])];
        let made = pictures(&frame, &found, Privacy::Blurred, true).unwrap();
        assert_eq!(made.size, [160, 120]);
        // 15 % wider on each side: from 34 to 86.
        assert!(contrast(&made.whole, [35, 35, 50, 50]) < 60, "nothing of the person is left");
        assert!(contrast(&made.whole, [92, 60, 40, 20]) > 150 && contrast(&made.whole, [2, 2, 20, 20]) > 150);
        let plain = pictures(&frame, &found, Privacy::Plain, true).unwrap();
        assert!(contrast(&plain.whole, [40, 40, 40, 40]) > 150);
    }

    #[test]
    fn all_but_what_was_found_is_squares_where_nobody_looks_for_persons() {
        let frame = striped(160, 120);
        let found = [object("no-helmet", [10.0, 10.0, 20.0, 20.0]), object("bolt", [100.0, 60.0, 24.0, 24.0])];
        let whole = pictures(&frame, &found, Privacy::Blurred, false).unwrap().whole;
        assert!(contrast(&whole, [102, 62, 20, 20]) > 150, "the object is seen");
        assert!(contrast(&whole, [40, 20, 40, 80]) < 60 && contrast(&whole, [9, 9, 20, 20]) < 60, "a head is no object to show");
        let none = pictures(&frame, &[], Privacy::Blurred, false).unwrap().whole;
        assert!(contrast(&none, [0, 0, 160, 120]) < 60);
    }

    #[test]
    fn pictures_are_small_enough_whatever_they_show() {
        let mut seed = 1u32;
        let mut noise = || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed.to_le_bytes()[0]
        };
        let noisy: DynamicImage = RgbImage::from_fn(2_600, 1_500, |_, _| Rgb([noise(), noise(), noise()])).into();
        let made = pictures(&noisy, &[], Privacy::Plain, false).unwrap();
        assert!(made.small.len() <= SMALL && made.whole.len() <= MAX_WHOLE, "{} {}", made.small.len(), made.whole.len());
        assert_eq!(made.size, [2_600, 1_500]);
        for (width, height) in [(1, 1), (1, 5_000), (5_000, 2)] {
            let made = pictures(&striped(width, height), &[], Privacy::Blurred, false).unwrap();
            assert!(image::load_from_memory(&made.small).unwrap().width() <= 480);
        }
    }

    #[test]
    fn boxes_that_leave_the_picture_or_are_none_do_no_harm() {
        let frame = striped(40, 30);
        let odd = [f32::NAN, f32::INFINITY, f32::MAX, -1e30, 0.0];
        let objects: Vec<Object> =
            odd.into_iter().flat_map(|n| [object("person", [n, 0.0, n, 9.0]), object("person", [-20.0, n, 100.0, 900.0])]).collect();
        for persons in [false, true] {
            assert!(pictures(&frame, &objects, Privacy::Blurred, persons).is_ok());
        }
        assert_eq!(area([-20.0, 10.0, 30.0, 100.0], 0.0, [40, 30]), Some([0, 10, 10, 20]));
        assert_eq!(area([50.0, 0.0, 10.0, 10.0], 0.0, [40, 30]), None);
    }

    #[test]
    fn a_frame_is_that_of_its_second() {
        let jpeg = |level: u8| {
            let mut out = Cursor::new(Vec::new());
            JpegEncoder::new(&mut out).encode_image(&RgbImage::from_pixel(16, 16, Rgb([level; 3]))).unwrap();
            out.into_inner()
        };
        let clip = clip::write(&[jpeg(10), jpeg(100), jpeg(200)], (1, 2), [16, 16]);
        let level = |at| frame(&clip, at).unwrap().to_luma8().get_pixel(8, 8).0[0] / 10;
        assert_eq!([level(None), level(Some(0.5)), level(Some(0.7)), level(Some(9.0))], [1, 10, 20, 20]);
        assert_eq!(frame(b"nothing", None).unwrap_err().code, "input-not-a-clip");
        assert!(says("no-helmet", &FACES) && says("Person", &PERSONS) && !says("manhole", &PERSONS));
    }
}
