//! Moving pictures: damaged clips, and what is kept from frame to frame of objects that are anywhere, at times that are any.

use std::time::Duration;

use app_package::pipeline::{Drawn, Scene, Track};
use inference::output::Detection;
use inference::{clip, scene::Places, track::Tracker};

use crate::hostile::Rng;
use crate::parsers::{Examples, damaged, ensure};

const CLIPS: [&[u8]; 2] = [include_bytes!("../../tests/clips/mjpeg.avi"), include_bytes!("../../tests/clips/h264.avi")];
/// Codes that a clip may be refused with.
const REFUSALS: [&str; 6] = ["input-not-a-clip", "input-not-a-picture", "input-too-large", "clip-codec", "clip-rate", "clip-empty"];

/// A clip has frames of one size in order of time, or is refused by name.
pub fn avi(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let bytes = damaged(*rng.pick(&CLIPS), rng);
    let clip = match clip::read(&bytes) {
        Ok(clip) => clip,
        Err(e) => return ensure(REFUSALS.contains(&e.code), &format!("an unknown refusal: {e}")),
    };
    ensure((1..=clip::MAX_FRAMES).contains(&clip.count()), "a clip with too few frames, or too many")?;
    let (mut size, mut last) = (None, None);
    for frame in clip.frames() {
        let (time, picture) = match frame {
            Ok(frame) => frame,
            Err(e) => return ensure(REFUSALS.contains(&e.code), &format!("an unknown refusal: {e}")),
        };
        let found = (picture.width(), picture.height());
        ensure(*size.get_or_insert(found) == found, "frames of different sizes")?;
        ensure(last.replace(time).is_none_or(|last| last < time), "a frame before the one before it")?;
    }
    Ok(())
}

fn number(rng: &mut Rng) -> f32 {
    match rng.below(20) {
        0 => *rng.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0, 1e-40]),
        _ => f32::from(u16::try_from(rng.below(640)).unwrap_or(0)),
    }
}

/// Whatever comes, numbers of tracks are given once, nobody crosses without one, and who leaves has entered.
pub fn tracks(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let scene = r#"{"zones": [{"id": "z", "title": {"en": "z"}}], "lines": [{"id": "l", "title": {"en": "l"}}]}"#;
    let drawn = r#"{"zones": {"z": [[0.2, 0.2], [0.9, 0.3], [0.5, 1.0]]}, "lines": {"l": [[0.5, 0.1], [0.4, 0.9]]}}"#;
    let scene: Scene = serde_json::from_str(scene).map_err(|e| e.to_string())?;
    let drawn: Drawn = serde_json::from_str(drawn).map_err(|e| e.to_string())?;
    let mut tracker = Tracker::new(Track::default(), 5.0);
    let mut places = Places::new(&scene, &drawn);
    let (mut now, mut highest) = (Duration::ZERO, 0);
    let spread = 1 + rng.below(300);
    let mut last: Vec<Detection> = Vec::new();
    for _ in 0..=rng.below(30) {
        let step = *rng.pick(&[200, 200, 200, 200, 0, 33, 1_500, 60_000, u64::MAX / 4_000_000]);
        now = now.saturating_add(Duration::from_millis(step));
        // Mostly those of the frame before, a little moved, so that there are tracks.
        let mut found: Vec<Detection> = last.iter().filter(|_| rng.below(8) > 0).cloned().collect();
        for thing in &mut found {
            thing.bbox[0] += f32::from(u8::try_from(rng.below(30)).unwrap_or(0)) - 12.0;
            thing.track = None;
        }
        for _ in found.len()..spread.min(1 + rng.below(300)) {
            let score = f32::from(u8::try_from(rng.below(100)).unwrap_or(0)) / 100.0;
            found.push(Detection::new(*rng.pick(&["a", "b"]), score, [number(rng), number(rng), number(rng), number(rng)]));
        }
        tracker.update(&mut found, now);
        let followed = tracker.followed(now);
        let happened = places.update(&found, &followed, [640.0, 360.0], now);
        let mut ids: Vec<u32> = found.iter().filter_map(|thing| thing.track).collect();
        ids.sort_unstable();
        ensure(ids.windows(2).all(|pair| pair[0] != pair[1]), "two things with one number")?;
        ensure(ids.iter().all(|id| *id > 0 && followed.iter().any(|one| one.id == *id)), "a number of no track")?;
        ensure(followed.iter().all(|one| one.speed >= 0.0 || !one.speed.is_finite()), "a speed below nothing")?;
        highest = ids.last().copied().unwrap_or(0).max(highest);
        for event in happened.begun.iter().chain(&happened.ended) {
            ensure(event.track.is_some_and(|id| id <= highest), "an event of nobody")?;
            ensure(event.end.is_none_or(|end| end >= event.begin), "an end before the beginning")?;
        }
        last = found;
    }
    Ok(())
}
