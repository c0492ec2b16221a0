//! Tracks in published sequences are as good as those of two other `ByteTrack`s. `tracking/README.md` says where the data come from and how
//! detections and figures were made.
//!
//! IDF1 is that of Ristani et al. (ECCV 2016 workshops), MOTA that of Bernardin and Stiefelhagen (2008), both with boxes that overlap by half.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use app_package::pipeline::Track;
use inference::{output::Detection, track::Tracker};
use serde::{Deserialize, de::DeserializeOwned};

// The crate's own, which is tested against trying all.
#[path = "../src/assign.rs"]
mod assign;
use assign::assign;

/// Least overlap of a box with the true one.
const OVERLAP: f64 = 0.5;
/// How much worse than another tracker ours may be.
const POINT: f64 = 0.01;

/// An object, or what a tracker takes for one, in a frame.
#[derive(Debug, Clone, Copy)]
struct Seen {
    who: u32,
    /// Left, top, width, height.
    bbox: [f64; 4],
}

/// What is in each frame, by its number.
type Frames = BTreeMap<u32, Vec<Seen>>;

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Figures {
    idf1: f64,
    mota: f64,
    switches: u32,
}

#[derive(Deserialize)]
struct Reference {
    /// Frames a second of the sequences.
    rate: f64,
    /// What motmetrics says of the tracks that are published with each sequence.
    metric: BTreeMap<String, Figures>,
    runs: Vec<Run>,
}

/// Figures of others on a sequence, one for each seed.
#[derive(Deserialize)]
struct Run {
    sequence: String,
    name: String,
    /// Each nth frame is taken.
    every: u32,
    track: Track,
    trackers: Vec<Figures>,
    supervision: Vec<Figures>,
}

/// A file that `detections.py` made.
#[expect(clippy::disallowed_methods, reason = "make test says in variables where the tests find their tools")]
fn file(name: &str) -> String {
    let folder = std::env::var("TEST_TRACKING").expect("set TEST_TRACKING to the folder that tests/tracking/detections.py has filled");
    std::fs::read_to_string(Path::new(&folder).join(name)).unwrap()
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("tracking/reference.json")).unwrap()
}

/// The lines of a file of six numbers each.
fn rows<T: DeserializeOwned>(name: &str) -> Vec<T> {
    file(name).lines().map(|line| serde_json::from_str(&format!("[{line}]")).unwrap()).collect()
}

/// Frames of a file of frame, identity and box.
fn seen(name: &str) -> Frames {
    let mut frames = Frames::new();
    for (frame, who, x, y, w, h) in rows(name) {
        frames.entry(frame).or_default().push(Seen { who, bbox: [x, y, w, h] });
    }
    frames
}

/// Intersection over union.
fn overlap(one: &Seen, other: &Seen) -> f64 {
    let ([left, top, w, h], [left2, top2, w2, h2]) = (one.bbox, other.bbox);
    let across = ((left + w).min(left2 + w2) - left.max(left2)).max(0.0);
    let both = across * ((top + h).min(top2 + h2) - top.max(top2)).max(0.0);
    both / (w * h + w2 * h2 - both)
}

/// Counts of CLEAR MOT.
#[derive(Default)]
struct Errors {
    missed: usize,
    wrong: usize,
    switches: u32,
}

impl Errors {
    /// Pairs the objects of one frame with tracks. A pair that was last one stays one while both overlap; the others are paired so that as
    /// many as can be are, with the most overlap. `last` has the last track of each object.
    fn count(&mut self, truth: &[Seen], tracks: &[Seen], last: &mut HashMap<u32, u32>) {
        let mut free: Vec<&Seen> = tracks.iter().collect();
        let mut left = Vec::new();
        for object in truth {
            let old = last.get(&object.who);
            match free.iter().position(|track| Some(&track.who) == old && overlap(object, track) >= OVERLAP) {
                Some(at) => drop(free.remove(at)),
                None => left.push(object),
            }
        }
        let gain = |row: usize, column: usize| {
            let overlap = overlap(left[row], free[column]);
            if overlap >= OVERLAP { 1_000.0 + overlap } else { 0.0 }
        };
        let given = assign(left.len(), free.len(), &gain);
        for (object, track) in left.iter().zip(&given) {
            match track.map(|at| free[at].who) {
                Some(track) => self.switches += u32::from(last.insert(object.who, track).is_some_and(|old| old != track)),
                None => self.missed += 1,
            }
        }
        self.wrong += free.len() - given.iter().flatten().count();
    }
}

/// Frames in which true and found identities overlap, most in all with each identity given once.
fn shared(truth: &Frames, tracks: &Frames) -> usize {
    let mut met: HashMap<(u32, u32), usize> = HashMap::new();
    for (frame, objects) in truth {
        for object in objects {
            for track in tracks.get(frame).into_iter().flatten().filter(|track| overlap(object, track) >= OVERLAP) {
                *met.entry((object.who, track.who)).or_default() += 1;
            }
        }
    }
    let sides = [truth, tracks].map(|frames| {
        let mut all: Vec<u32> = frames.values().flatten().map(|seen| seen.who).collect();
        all.sort_unstable();
        all.dedup();
        all
    });
    let [objects, found] = &sides;
    let frames = |row: usize, column: usize| met.get(&(objects[row], found[column])).copied().unwrap_or(0);
    let given = assign(objects.len(), found.len(), &|row, column| real(frames(row, column)));
    given.iter().enumerate().filter_map(|(row, column)| Some(frames(row, (*column)?))).sum()
}

fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// How good tracks are. All their frames are of the truth.
fn figures(truth: &Frames, tracks: &Frames) -> Figures {
    assert!(tracks.keys().all(|frame| truth.contains_key(frame)));
    let (mut errors, mut last) = (Errors::default(), HashMap::new());
    for (frame, objects) in truth {
        errors.count(objects, tracks.get(frame).map_or(&[], Vec::as_slice), &mut last);
    }
    let [objects, found] = [truth, tracks].map(|frames| frames.values().map(Vec::len).sum::<usize>());
    let Errors { missed, wrong, switches } = errors;
    Figures {
        idf1: 2.0 * real(shared(truth, tracks)) / real(objects + found),
        mota: 1.0 - (real(missed + wrong) + f64::from(switches)) / real(objects),
        switches,
    }
}

/// What our tracker makes of detections in the given frames: as in a camera's loop, the time of a frame is all that it is told of it.
fn tracked<'a>(name: &str, frames: impl Iterator<Item = &'a u32>, settings: &Track, rate: f64, every: u32) -> Frames {
    let mut found: BTreeMap<u32, Vec<Detection>> = BTreeMap::new();
    for (frame, x, y, w, h, score) in rows::<(u32, f32, f32, f32, f32, f32)>(name) {
        found.entry(frame).or_default().push(Detection::new("person", score, [x, y, w, h]));
    }
    let mut tracker = Tracker::new(settings.clone(), rate / f64::from(every));
    let mut all = Frames::new();
    for frame in frames {
        let mut objects = found.remove(frame).unwrap_or_default();
        tracker.update(&mut objects, Duration::from_secs_f64(f64::from(*frame) / rate));
        let seen = objects.iter().filter_map(|object| Some(Seen { who: object.track?, bbox: object.bbox.map(f64::from) })).collect();
        all.insert(*frame, seen);
    }
    all
}

fn mean(all: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| all.iter().map(figure).sum::<f64>() / real(all.len());
    Figures { idf1: of(|f| f.idf1), mota: of(|f| f.mota), switches: all.iter().map(|f| f.switches).sum() }
}

#[test]
fn figures_are_those_of_motmetrics() {
    let metric = reference().metric;
    assert_eq!(metric.len(), 2);
    for (sequence, theirs) in metric {
        let ours = figures(&seen(&format!("{sequence}.truth.txt")), &seen(&format!("{sequence}.tracks.txt")));
        assert!((ours.idf1 - theirs.idf1).abs() < 1e-5, "{sequence}: IDF1 {}, motmetrics {}", ours.idf1, theirs.idf1);
        assert!((ours.mota - theirs.mota).abs() < 1e-5, "{sequence}: MOTA {}, motmetrics {}", ours.mota, theirs.mota);
        assert_eq!(ours.switches, theirs.switches, "{sequence}");
    }
}

#[test]
fn tracks_are_no_worse_than_those_of_others() {
    let Reference { rate, runs, .. } = reference();
    let mut worse = Vec::new();
    assert_eq!(runs.len(), 4);
    for run in runs {
        assert_eq!((run.trackers.len(), run.supervision.len()), (3, 3), "seeds");
        let mut truth = seen(&format!("{}.truth.txt", run.sequence));
        let first = *truth.keys().next().unwrap();
        truth.retain(|frame, _| (frame - first).is_multiple_of(run.every));
        let ours: Vec<Figures> = (1..=run.trackers.len())
            .map(|seed| {
                let name = format!("{}.{seed}.txt", run.sequence);
                figures(&truth, &tracked(&name, truth.keys(), &run.track, rate, run.every))
            })
            .collect();
        let ours = mean(&ours);
        println!("{} at {}: IDF1 {:.3}, MOTA {:.3}, {} switches", run.sequence, run.name, ours.idf1, ours.mota, ours.switches);
        for (library, theirs) in [("trackers", run.trackers), ("supervision", run.supervision)] {
            let theirs = mean(&theirs);
            println!("  {library}: IDF1 {:.3}, MOTA {:.3}, {} switches", theirs.idf1, theirs.mota, theirs.switches);
            if ours.idf1 < theirs.idf1 - POINT || ours.mota < theirs.mota - POINT {
                worse.push(format!("{} at {}: {ours:?}, {library} {theirs:?}", run.sequence, run.name));
            }
        }
    }
    assert!(worse.is_empty(), "{}", worse.join("\n"));
}
