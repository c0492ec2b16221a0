//! Follows objects from frame to frame: `ByteTrack` (Zhang et al., ECCV 2022), by overlap alone.
//!
//! Each frame: every track says where its box should be now, objects of a high score are given to tracks so that their overlaps are most in
//! all, then those of a low score to the tracks that are left; a high one that is left begins a track. A track has a number only once it was
//! seen for `confirm`; before, it is over with the first frame that does not show it. Only objects of one label are the same.
//!
//! The filter is Kalman's with constant velocity, of each side of the box by itself. What is assumed of all four sides is the same, so one
//! covariance of 2 × 2 holds for them. Noise as in roboflow `trackers` 2.6.1 (measured 0.1, both of the process 0.01 in a nominal frame, 1 at
//! first, in squares of pixels; only their ratios matter); it grows with the time between frames, which may be uneven. Differences from that
//! library: lengths of time in seconds, not frames; low scores have a lower bound; labels; between frames that are not nominal noise grows
//! evenly, where it has the powers of white acceleration beyond a step of 4 ms.

use std::time::Duration;

use app_package::pipeline::Track;

use crate::{assign::assign, output::Detection, post::iou};

/// Most objects of a frame that are followed, best first.
const MAX_OBJECTS: usize = 100;
/// Most tracks at a time.
const MAX_TRACKS: usize = 200;
/// An object has moved when its centre is so far from where it rested, in sides of its box.
const MOVED: f64 = 0.25;

/// The tracks of one camera or clip.
#[derive(Debug, Clone)]
pub struct Tracker {
    settings: Track,
    /// Frames a second that noise is told for.
    rate: f64,
    tracks: Vec<Tracklet>,
    /// When the last frame was.
    last: Option<Duration>,
    /// Numbers that were given.
    given: u32,
}

/// What is known of an object that has a track.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Number of the track, from 1.
    pub id: u32,
    pub label: String,
    /// Since it was first seen.
    pub age: Duration,
    /// Since it last moved by a quarter of its own side.
    pub still: Duration,
    /// Sides of its box that it moves in a second.
    pub speed: f64,
    /// When it was last seen: now, unless it is hidden for a moment.
    pub seen: Duration,
}

/// A track.
#[derive(Debug, Clone)]
struct Tracklet {
    /// 0 until it is confirmed.
    id: u32,
    label: String,
    /// Left, top, right, bottom in pixels, and what they change by in a nominal frame.
    place: [f64; 4],
    velocity: [f64; 4],
    /// Variance of a place, covariance, variance of a velocity.
    covariance: [f64; 3],
    first: Duration,
    seen: Duration,
    /// Centre where it rested, and since when.
    rest: ([f64; 2], Duration),
}

const MEASURED: f64 = 0.1;
const PROCESS: f64 = 0.01;

impl Tracklet {
    fn new(label: &str, place: [f64; 4], now: Duration) -> Self {
        let covariance = [1.0, 0.0, 1.0];
        Self { id: 0, label: label.to_owned(), place, velocity: [0.0; 4], covariance, first: now, seen: now, rest: (centre(place), now) }
    }

    /// Moves on by so many nominal frames.
    fn predict(&mut self, frames: f64) {
        for (place, velocity) in self.place.iter_mut().zip(self.velocity) {
            *place += velocity * frames;
        }
        let [p, c, v] = self.covariance;
        self.covariance = [p + frames * (2.0 * c + frames * v) + PROCESS * frames, c + frames * v, v + PROCESS * frames];
    }

    fn update(&mut self, measured: [f64; 4], now: Duration) {
        let [of_place, of_both, of_velocity] = self.covariance;
        let (to_place, to_velocity) = (of_place / (of_place + MEASURED), of_both / (of_place + MEASURED));
        for ((place, velocity), measured) in self.place.iter_mut().zip(&mut self.velocity).zip(measured) {
            let difference = measured - *place;
            *place += to_place * difference;
            *velocity += to_velocity * difference;
        }
        self.covariance = [(1.0 - to_place) * of_place, (1.0 - to_place) * of_both, of_velocity - to_velocity * of_both];
        self.seen = now;
        let ([x, y], [rest_x, rest_y]) = (centre(measured), self.rest.0);
        if (x - rest_x).hypot(y - rest_y) > MOVED * self.side() {
            self.rest = ([x, y], now);
        }
    }

    /// Root of the box's area, at least a pixel.
    fn side(&self) -> f64 {
        let [left, top, right, bottom] = self.place;
        ((right - left).max(0.0) * (bottom - top).max(0.0)).sqrt().max(1.0)
    }

    fn followed(&self, now: Duration, rate: f64) -> Followed {
        let [x, y] = centre(self.velocity);
        Followed {
            id: self.id,
            label: self.label.clone(),
            age: now.saturating_sub(self.first),
            still: now.saturating_sub(self.rest.1),
            speed: x.hypot(y) * rate / self.side(),
            seen: self.seen,
        }
    }
}

fn centre([left, top, right, bottom]: [f64; 4]) -> [f64; 2] {
    [f64::midpoint(left, right), f64::midpoint(top, bottom)]
}

fn corners([x, y, w, h]: [f32; 4]) -> [f64; 4] {
    [x, y, x + w, y + h].map(f64::from)
}

#[expect(clippy::cast_possible_truncation, reason = "pixels")]
fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let overlap = iou(&a.map(|side| side as f32), &b.map(|side| side as f32));
    if overlap.is_finite() { f64::from(overlap) } else { 0.0 }
}

impl Tracker {
    /// No tracks yet, of an app that wants so many frames a second.
    pub fn new(settings: Track, rate: f64) -> Self {
        Self { settings, rate, tracks: Vec::new(), last: None, given: 0 }
    }

    /// Follows the objects of the next frame, and writes into each the number of its track. A frame that is not later than the last one moves
    /// nothing.
    pub fn update(&mut self, objects: &mut [Detection], now: Duration) {
        let elapsed = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        self.last = self.last.max(Some(now));
        for track in &mut self.tracks {
            track.predict(elapsed.as_secs_f64() * self.rate);
        }
        self.tracks.retain(|track| now.saturating_sub(track.seen) <= self.settings.lost.get());
        let (high, low) = (self.settings.high, self.settings.low);
        let wanted = |object: &&mut Detection| {
            object.score >= low && (self.settings.labels.is_empty() || self.settings.labels.contains(&object.label))
        };
        let (mut strong, mut weak): (Vec<_>, Vec<_>) =
            objects.iter_mut().filter(wanted).take(MAX_OBJECTS).partition(|object| object.score >= high);
        let mut free: Vec<usize> = (0..self.tracks.len()).collect();
        let begin = self.give(&mut free, &mut strong, now);
        self.give(&mut free, &mut weak, now);
        // Who is not confirmed has to be in each frame.
        let mut place = 0..;
        self.tracks.retain(|track| {
            let missed = place.next().is_some_and(|at| free.contains(&at));
            track.id > 0 || !missed
        });
        for at in begin {
            if let Some(object) = strong.get_mut(at)
                && self.tracks.len() < MAX_TRACKS
            {
                let mut track = Tracklet::new(&object.label, corners(object.bbox), now);
                confirm(&mut track, &mut self.given, now, self.settings.confirm.get());
                object.track = Some(track.id).filter(|id| *id > 0);
                self.tracks.push(track);
            }
        }
    }

    /// Gives objects to tracks that are free, which are so no longer; the objects that are left.
    fn give(&mut self, free: &mut Vec<usize>, objects: &mut [&mut Detection], now: Duration) -> Vec<usize> {
        let least = f64::from(self.settings.iou);
        let boxes: Vec<[f64; 4]> = objects.iter().map(|object| corners(object.bbox)).collect();
        let pair = |track: &Tracklet, (object, corners): (&&mut Detection, &[f64; 4])| {
            if track.label == object.label { overlap(track.place, *corners) } else { 0.0 }
        };
        let tracks = free.iter().filter_map(|at| self.tracks.get(*at));
        let gains: Vec<Vec<f64>> = tracks.map(|track| objects.iter().zip(&boxes).map(|object| pair(track, object)).collect()).collect();
        let gain = |row: usize, column: usize| gains.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0.0);
        // Pairs below the least overlap are dropped only now: until then they keep others from what fits less well in all.
        let enough = |(row, column): (usize, Option<usize>)| column.filter(|column| gain(row, *column) >= least);
        let given: Vec<Option<usize>> = assign(free.len(), objects.len(), &gain).into_iter().enumerate().map(enough).collect();
        for (at, object) in free.iter().zip(&given) {
            if let (Some(track), Some((object, corners))) =
                (self.tracks.get_mut(*at), object.and_then(|at| objects.get_mut(at).zip(boxes.get(at))))
            {
                track.update(*corners, now);
                confirm(track, &mut self.given, now, self.settings.confirm.get());
                object.track = Some(track.id).filter(|id| *id > 0);
            }
        }
        let mut given_to = given.iter();
        free.retain(|_| given_to.next().is_some_and(Option::is_none));
        (0..objects.len()).filter(|at| !given.contains(&Some(*at))).collect()
    }

    /// The confirmed tracks, hidden ones too, in the order of their numbers.
    pub fn followed(&self, now: Duration) -> Vec<Followed> {
        let confirmed = self.tracks.iter().filter(|track| track.id > 0);
        let mut all: Vec<Followed> = confirmed.map(|track| track.followed(now, self.rate)).collect();
        all.sort_by_key(|followed| followed.id);
        all
    }
}

/// Gives a track that was seen for long enough its number.
fn confirm(track: &mut Tracklet, given: &mut u32, now: Duration, after: Duration) {
    if track.id == 0 && now.saturating_sub(track.first) >= after {
        *given = given.saturating_add(1);
        track.id = *given;
    }
}

#[cfg(test)]
mod tests;
