use std::collections::HashMap;

use serde::Deserialize;

use super::*;

/// Made by `tests/make_tracks.py` with roboflow `trackers` 2.6.1.
const SCENES: &str = include_str!("../../tests/tracks.json");

#[derive(Deserialize)]
struct Frame {
    ms: u64,
    found: Vec<[f32; 5]>,
    ids: Vec<i64>,
    truth: Vec<i64>,
}

fn run(frames: &[Frame], settings: &Track) -> Vec<Vec<Option<u32>>> {
    let mut tracker = Tracker::new(settings.clone(), 5.0);
    let mut all = Vec::new();
    for frame in frames {
        let mut found: Vec<Detection> =
            frame.found.iter().map(|[x, y, w, h, score]| Detection::new("person", *score, [*x, *y, *w, *h])).collect();
        tracker.update(&mut found, Duration::from_millis(frame.ms));
        all.push(found.iter().map(|d| d.track).collect());
    }
    all
}

/// Times that a person's number became another one.
fn switches(frames: &[Frame], ids: &[Vec<Option<u32>>]) -> usize {
    let mut last: HashMap<i64, u32> = HashMap::new();
    let mut count = 0;
    for (frame, ids) in frames.iter().zip(ids) {
        for (who, id) in frame.truth.iter().zip(ids).filter_map(|(who, id)| Some((*who, (*id)?))).filter(|(who, _)| *who >= 0) {
            count += usize::from(last.insert(who, id).is_some_and(|old| old != id));
        }
    }
    count
}

#[test]
fn tracks_are_those_of_another_bytetrack() {
    let scenes: HashMap<String, Vec<Frame>> = serde_json::from_str(SCENES).unwrap();
    for (name, frames) in &scenes {
        let own = run(frames, &Track::default());
        // Numbers may differ, objects may not: each pair of numbers that meets is counted, and each number is taken for the one it meets most.
        let mut met: HashMap<(i64, u32), usize> = HashMap::new();
        for (frame, own) in frames.iter().zip(&own) {
            for (theirs, own) in frame.ids.iter().zip(own).filter_map(|(theirs, own)| Some((*theirs, (*own)?))) {
                *met.entry((theirs, own)).or_default() += 1;
            }
        }
        let same = |theirs: i64, own: Option<u32>| match (theirs, own) {
            (-1, None) => true,
            (-1, Some(_)) | (_, None) => false,
            (theirs, Some(own)) => {
                met.iter().filter(|((t, _), _)| *t == theirs).max_by_key(|(_, n)| **n).is_some_and(|((_, o), _)| *o == own)
            }
        };
        let agrees =
            frames.iter().zip(&own).filter(|(frame, own)| frame.ids.iter().zip(*own).all(|(theirs, own)| same(*theirs, *own))).count();
        let theirs: Vec<Vec<Option<u32>>> =
            frames.iter().map(|frame| frame.ids.iter().map(|id| u32::try_from(*id).ok()).collect()).collect();
        let (ours, theirs) = (switches(frames, &own), switches(frames, &theirs));
        println!("{name}: {agrees} of {} frames alike, {ours} switches, theirs {theirs}", frames.len());
        assert!(agrees * 100 >= frames.len() * 95, "{name}: {agrees} of {}", frames.len());
        assert!(ours <= theirs + 1, "{name}: {ours} switches, theirs {theirs}");
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The track of one object at this place.
fn see(tracker: &mut Tracker, at: u64, x: f32, score: f32) -> Option<u32> {
    let mut found = [Detection::new("person", score, [x, 100.0, 40.0, 100.0])];
    tracker.update(&mut found, ms(at));
    found[0].track
}

#[test]
fn a_number_is_given_after_a_time_and_kept_through_a_gap() {
    let mut tracker = Tracker::new(Track::default(), 5.0);
    assert_eq!((see(&mut tracker, 0, 0.0, 0.9), see(&mut tracker, 200, 8.0, 0.9)), (None, None));
    assert_eq!(see(&mut tracker, 400, 16.0, 0.9), Some(1));
    // A low score goes on with a track.
    assert_eq!(see(&mut tracker, 600, 24.0, 0.2), Some(1));
    assert_eq!(see(&mut tracker, 800, 32.0, 0.05), None);
    // Hidden for less than two seconds, and found where it went.
    for at in (1_000..2_400).step_by(200) {
        tracker.update(&mut [], ms(at));
    }
    let hidden = tracker.followed(ms(2_200));
    assert_eq!((hidden.len(), hidden[0].seen, hidden[0].age), (1, ms(600), ms(2_200)));
    assert_eq!(see(&mut tracker, 2_400, 96.0, 0.9), Some(1));
    let speed = tracker.followed(ms(2_400))[0].speed;
    assert!((speed - 40.0 / (40.0_f64 * 100.0).sqrt()).abs() < 0.1, "{speed}: 40 pixels a second of a side of 63");
    // Gone for longer.
    assert_eq!(see(&mut tracker, 4_600, 184.0, 0.9), None);
    assert!(tracker.followed(ms(4_600)).is_empty());
}

#[test]
fn what_is_seen_once_or_weakly_begins_nothing() {
    let mut tracker = Tracker::new(Track::default(), 5.0);
    for at in 0..50 {
        assert_eq!(see(&mut tracker, at * 200, 0.0, 0.4), None, "never over the high score");
    }
    for at in 50..100 {
        assert_eq!(see(&mut tracker, at * 200, if at % 2 == 0 { 0.0 } else { 400.0 }, 0.9), None, "elsewhere in each frame");
    }
    assert_eq!(tracker.given, 0);
}

#[test]
fn labels_are_never_the_same_object() {
    let mut tracker = Tracker::new(Track { confirm: app_package::span::Span::millis(0), ..Track::default() }, 5.0);
    let mut ids = Vec::new();
    for (at, label) in ["person", "bar", "person", "bar"].into_iter().enumerate() {
        let mut found = [Detection::new(label, 0.9, [0.0, 0.0, 50.0, 50.0])];
        tracker.update(&mut found, ms(u64::try_from(at).unwrap() * 200));
        ids.push(found[0].track.unwrap());
    }
    assert_eq!(ids, [1, 2, 1, 2]);
}

#[test]
fn odd_boxes_and_times_end_in_no_fault() {
    let mut tracker = Tracker::new(Track { confirm: app_package::span::Span::millis(0), ..Track::default() }, 5.0);
    let odd = [f32::NAN, f32::INFINITY, f32::MAX, -1.0, 0.0, 1e-30];
    for (at, x) in [(0, 0), (200, 1), (200, 2), (100, 3), (u64::MAX / 2, 4), (5, 5)] {
        let mut found: Vec<Detection> =
            (0..300).map(|n| Detection::new("a", 0.9, [odd[(n + x) % 6], odd[n % 6], odd[n / 6 % 6], 1.0])).collect();
        tracker.update(&mut found, ms(at));
        assert!(tracker.tracks.len() <= MAX_TRACKS && tracker.followed(ms(at)).iter().all(|followed| followed.id > 0));
    }
}

#[test]
fn who_stands_is_still() {
    let mut tracker = Tracker::new(Track::default(), 5.0);
    for at in 0..40u16 {
        see(
            &mut tracker,
            u64::from(at) * 200,
            if at < 20 { 100.0 + f32::from(at % 2) * 4.0 } else { f32::from(at - 20) * 20.0 + 100.0 },
            0.9,
        );
        if at == 19 {
            assert!(tracker.followed(ms(3_800))[0].still >= ms(3_600), "it trembles");
        }
    }
    assert!(tracker.followed(ms(7_800))[0].still < ms(600), "it walks");
}
