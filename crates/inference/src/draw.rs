//! What was seen in a clip, drawn onto its frames: places, objects with the way of their last second, alarms that go on.
//!
//! A [`Trace`] is what the app's child hands over for it: the objects of each frame, bounded. What is drawn are ids, for the font has no more
//! than ASCII; words in both languages stand beside the clip.

mod canvas;

use std::io::Cursor;

use app_package::pipeline::{AlarmLevel, AlarmRule, Drawn};
use image::{DynamicImage, RgbImage, codecs::jpeg::JpegEncoder, imageops::FilterType};
use serde::{Deserialize, Serialize};

use self::canvas::Canvas;
use crate::{
    clip,
    error::{AppError, Result},
    output::{AppOutput, Detection, Event},
};

/// Objects of a frame that are drawn: those with a track, then the best.
const MAX_OBJECTS: usize = 20;
/// Longest side of what is drawn on, in pixels; a larger frame is made smaller.
const MAX_SIDE: u32 = 960;
/// Largest clip that is written, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Most pictures of single events.
const MAX_STILLS: usize = 100;
/// A single picture is to be no larger, in bytes.
const MAX_STILL: usize = 256 << 10;
/// Quality of the pictures; the second where the first one is too large for its share of [`MAX_BYTES`].
const QUALITIES: [u8; 2] = [85, 50];
/// Seconds of the way that is drawn behind an object.
const WAY: f64 = 1.0;
/// Colours by label, apart for most eyes (Okabe and Ito, 2008).
const COLOURS: [[u8; 3]; 6] = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167]];
const ZONE: [u8; 3] = [255, 60, 60];
const LINE: [u8; 3] = [255, 170, 0];
const PLAIN: [u8; 3] = [60, 60, 60];

/// The objects of the frames of a clip.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    frames: Vec<Vec<Mark>>,
}

/// An object in a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    #[serde(rename = "l")]
    label: String,
    /// Left, top, width, height, in whole pixels.
    #[serde(rename = "b")]
    bbox: [f32; 4],
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    track: Option<u32>,
}

impl Trace {
    /// Adds the next frame.
    pub(crate) fn add(&mut self, objects: &[Detection]) {
        let mark = |d: &Detection| Mark {
            label: d.label.chars().take(60).collect(),
            bbox: d.bbox.map(|side| if side.is_finite() { side.round() } else { 0.0 }),
            track: d.track,
        };
        let followed = objects.iter().filter(|d| d.track.is_some());
        let others = objects.iter().filter(|d| d.track.is_none());
        self.frames.push(followed.chain(others).take(MAX_OBJECTS).map(mark).collect());
    }
}

/// What is drawn onto a clip.
pub struct Scenery<'a> {
    pub drawn: &'a Drawn,
    pub rules: &'a [AlarmRule],
    /// Labels in the manifest's order, which decides their colours.
    pub labels: &'a [&'a str],
    pub result: &'a AppOutput,
    pub trace: &'a Trace,
}

/// A clip with what was seen in it.
#[derive(Debug, Default)]
pub struct Shown {
    /// Motion-JPEG in AVI, as [`clip::read`] reads it.
    pub avi: Vec<u8>,
    /// For each event, by its place in the result, a JPEG picture of the frame in which it began; of the first [`MAX_STILLS`].
    pub stills: Vec<(usize, Vec<u8>)>,
    /// Frames that are in it; fewer than the clip has where it would be too large.
    pub frames: usize,
    /// Frames of the clip.
    pub of: usize,
}

impl Shown {
    /// Whether frames at its end are missing.
    pub fn cut(&self) -> bool {
        self.frames < self.of
    }
}

/// Draws onto a clip. Codes as those of [`clip::read`] and [`clip::Clip::frames`].
pub fn clip(bytes: &[u8], scenery: &Scenery<'_>) -> Result<Shown> {
    clip_within(bytes, scenery, MAX_BYTES)
}

/// One picture with what is drawn and what was found in it, as JPEG; a large one is made smaller. Code `input-not-a-picture`.
pub fn still(picture: &DynamicImage, drawn: &Drawn, found: &[Detection]) -> Result<Vec<u8>> {
    let mut trace = Trace::default();
    trace.add(found);
    let result = AppOutput::default();
    let scenery = Scenery { drawn, rules: &[], labels: &[], result: &result, trace: &trace };
    jpeg(&scenery.paint(0, &[], picture), MAX_STILL)
}

/// As [`fn@clip`], of at most so many bytes of pictures.
fn clip_within(bytes: &[u8], scenery: &Scenery<'_>, most: usize) -> Result<Shown> {
    let source = clip::read(bytes)?;
    let times: Vec<f64> = (0..source.count()).map(|at| source.time(at).as_secs_f64()).collect();
    let begins: Vec<(usize, usize)> =
        scenery.result.events.iter().take(MAX_STILLS).enumerate().map(|(n, event)| (n, began(event, &times))).collect();
    let share = most / source.count().max(1);
    let (mut shown, mut jpegs, mut size, mut used) = (Shown::default(), Vec::new(), [0, 0], 0usize);
    for (at, frame) in source.frames().enumerate() {
        let (_, picture) = frame?;
        let picture = scenery.paint(at, &times, &picture);
        size = [picture.width(), picture.height()];
        let jpeg = jpeg(&picture, share)?;
        shown.stills.extend(begins.iter().filter(|(_, begin)| *begin == at).map(|(n, _)| (*n, jpeg.clone())));
        used = used.saturating_add(jpeg.len());
        if used <= most && jpegs.len() == at {
            jpegs.push(jpeg);
        }
    }
    (shown.frames, shown.of) = (jpegs.len(), source.count());
    shown.avi = clip::write(&jpegs, source.lasts(), size);
    Ok(shown)
}

/// The frame in which an event began.
fn began(event: &Event, times: &[f64]) -> usize {
    times.iter().position(|time| *time >= event.begin - 1e-6).unwrap_or(times.len().saturating_sub(1))
}

/// A picture of at most so many bytes, if that can be.
fn jpeg(picture: &RgbImage, share: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for quality in QUALITIES {
        let mut out = Cursor::new(Vec::new());
        let written = JpegEncoder::new_with_quality(&mut out, quality).encode_image(picture);
        written.map_err(|e| AppError::new("input-not-a-picture", e.to_string()))?;
        bytes = out.into_inner();
        if bytes.len() <= share {
            break;
        }
    }
    Ok(bytes)
}

impl Scenery<'_> {
    /// A frame with all that is drawn onto it.
    fn paint(&self, at: usize, times: &[f64], picture: &DynamicImage) -> RgbImage {
        let (width, height) = (picture.width(), picture.height());
        let longest = width.max(height).max(1);
        let scale = f64::from(longest.min(MAX_SIDE)) / f64::from(longest);
        let picture = if longest > MAX_SIDE { picture.resize(MAX_SIDE, MAX_SIDE, FilterType::Triangle) } else { picture.clone() };
        let mut canvas = Canvas::new(picture.to_rgb8());
        self.places(&mut canvas);
        self.ways(&mut canvas, at, times, scale);
        for mark in self.trace.frames.get(at).into_iter().flatten() {
            let [x, y, w, h] = mark.bbox.map(|side| f64::from(side) * scale);
            let colour = self.colour(&mark.label);
            canvas.polygon(&[[x, y], [x + w, y], [x + w, y + h], [x, y + h]], colour);
            let name = mark.track.map_or_else(|| mark.label.clone(), |track| format!("{} {track}", mark.label));
            canvas.label([x, y], true, &name, colour);
        }
        let now = times.get(at).copied().unwrap_or_default();
        self.alarms(&mut canvas, now);
        if !times.is_empty() {
            canvas.label([0.0, f64::from(canvas.size()[1])], true, &format!("{now:.1} s"), PLAIN);
        }
        canvas.finish()
    }

    fn places(&self, canvas: &mut Canvas) {
        let [width, height] = canvas.size().map(f64::from);
        let there = |[x, y]: [f64; 2]| [x * width, y * height];
        for (id, corners) in &self.drawn.zones {
            let corners: Vec<[f64; 2]> = corners.iter().copied().map(there).collect();
            canvas.tint(&corners, ZONE);
            canvas.polygon(&corners, ZONE);
            canvas.label(corners.first().copied().unwrap_or_default(), false, id, ZONE);
        }
        for (id, [a, b]) in &self.drawn.lines {
            let [a, b] = [there(*a), there(*b)];
            canvas.stroke(a, b, LINE);
            // The way in: from the middle to the right of the way from A to B.
            let middle = [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])];
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let length = dx.hypot(dy).max(1.0);
            canvas.stroke(middle, [middle[0] - dy / length * 20.0, middle[1] + dx / length * 20.0], LINE);
            canvas.label(a, false, id, LINE);
        }
    }

    /// Where the lower sides of the objects of this frame were in the last second.
    fn ways(&self, canvas: &mut Canvas, at: usize, times: &[f64], scale: f64) {
        let now = times.get(at).copied().unwrap_or_default();
        let foot = |mark: &Mark| {
            let [x, y, w, h] = mark.bbox.map(|side| f64::from(side) * scale);
            [x + w / 2.0, y + h]
        };
        let there = self.trace.frames.get(at).into_iter().flatten();
        for (mark, track) in there.filter_map(|mark| Some((mark, mark.track?))) {
            let colour = self.colour(&mark.label);
            let mut last = foot(mark);
            let before = self.trace.frames.iter().zip(times).take(at).rev().take_while(|(_, time)| now - **time <= WAY + 1e-6);
            for seen in before.filter_map(|(marks, _)| marks.iter().find(|mark| mark.track == Some(track))) {
                canvas.stroke(last, foot(seen), colour);
                last = foot(seen);
            }
        }
    }

    /// Alarms whose episodes go on.
    fn alarms(&self, canvas: &mut Canvas, now: f64) {
        let lasts = |event: &&Event| event.begin <= now + 1e-6 && event.end.is_none_or(|end| now < end);
        let mut row = 0.0;
        for rule in self.rules {
            let going_on = self.result.events.iter().filter(|event| event.rule.as_ref() == Some(&rule.id)).filter(lasts);
            if going_on.count() > 0 {
                let colour = level(rule.level);
                canvas.label([0.0, row], false, &format!("! {}", rule.id), colour);
                row += canvas.row();
            }
        }
    }

    fn colour(&self, label: &str) -> [u8; 3] {
        let place = self.labels.iter().position(|known| *known == label).unwrap_or_default();
        COLOURS.get(place % COLOURS.len()).copied().unwrap_or(PLAIN)
    }
}

fn level(level: AlarmLevel) -> [u8; 3] {
    match level {
        AlarmLevel::Notice => [0, 90, 180],
        AlarmLevel::Warning => [190, 110, 0],
        AlarmLevel::Critical => [190, 0, 0],
    }
}

#[cfg(test)]
mod tests;
