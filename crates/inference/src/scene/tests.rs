use super::*;

const SIZE: [f64; 2] = [100.0, 100.0];

fn places(lines: bool) -> Places {
    let scene = serde_json::json!({
        "zones": [{"id": "danger", "title": {"en": "Danger"}, "labels": ["person"], "enter": "600ms", "leave": "1s"}],
        "lines": if lines { serde_json::json!([{"id": "gate", "title": {"en": "Gate"}}]) } else { serde_json::json!([]) },
    });
    // A zone on the right half, and a line that goes up in the middle third of the picture.
    let drawn = serde_json::json!({
        "zones": {"danger": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]}, "lines": {"gate": [[0.5, 0.667], [0.5, 0.333]]},
    });
    Places::new(&serde_json::from_value(scene).unwrap(), &serde_json::from_value(drawn).unwrap())
}

fn person(track: Option<u32>, x: f32, y: f32) -> Detection {
    // The anchor is the middle of the lower side.
    Detection { track, ..Detection::new("person", 0.9, [x - 5.0, y - 20.0, 10.0, 20.0]) }
}

fn alive(ids: &[u32]) -> Vec<Followed> {
    let of = |id: &u32| Followed {
        id: *id,
        label: "person".into(),
        age: Duration::ZERO,
        still: Duration::ZERO,
        speed: 0.0,
        seen: Duration::ZERO,
    };
    ids.iter().map(of).collect()
}

/// Frames of 200 ms: where the person is, or that he is not seen.
fn walk(places: &mut Places, path: &[Option<(f32, f32)>]) -> (Vec<Event>, Vec<f64>) {
    let (mut ended, mut inside) = (Vec::new(), Vec::new());
    for (at, place) in path.iter().enumerate() {
        let now = Duration::from_millis(u64::try_from(at).unwrap() * 200);
        let objects: Vec<Detection> = place.iter().map(|(x, y)| person(Some(1), *x, *y)).collect();
        ended.extend(places.update(&objects, &alive(&[1]), SIZE, now).ended);
        inside.push(places.zones(now).next().unwrap().1.seconds());
    }
    (ended, inside)
}

fn at(x: f32, n: usize) -> Vec<Option<(f32, f32)>> {
    vec![Some((x, 50.0)); n]
}

#[test]
fn a_stay_runs_on_through_gaps_and_short_ways_out() {
    let path = [at(20.0, 2), at(80.0, 5), vec![None; 4], at(80.0, 2), at(20.0, 4), at(80.0, 1), at(20.0, 8)].concat();
    let (ended, inside) = walk(&mut places(false), &path);
    // Inside since 0.4 s, known at 1.0 s.
    assert_eq!(inside[..6], [0.0, 0.0, 0.0, 0.0, 0.0, 0.6]);
    // A way out does not count while it lasts, and does where it was short.
    let near = |at: usize, seconds: f64| (inside[at] - seconds).abs() < 1e-9;
    assert!(near(10, 1.6) && near(16, 2.2) && near(17, 3.0), "{inside:?}");
    // Outside since 3.6 s for good.
    let [stay] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!((stay.zone.as_deref(), stay.begin, stay.end, stay.track), (Some("danger"), 0.4, Some(3.6), Some(1)));
    assert_eq!(inside.last(), Some(&0.0));
}

#[test]
fn one_frame_inside_is_no_stay() {
    let flicker: Vec<_> = (0..40).map(|n| Some((if n % 3 == 0 { 20.0 } else { 80.0 }, 50.0))).collect();
    let (ended, inside) = walk(&mut places(false), &flicker);
    assert!(ended.is_empty() && inside.iter().all(|seconds| *seconds == 0.0), "{inside:?}");
}

#[test]
fn without_a_track_nobody_stays_or_crosses() {
    let mut places = places(true);
    for frame in 0..20u16 {
        let objects = [
            person(None, f32::from(frame) * 5.0, 50.0),
            Detection { track: Some(9), ..Detection::new("bar", 0.9, [80.0, 30.0, 10.0, 20.0]) },
        ];
        let happened = places.update(&objects, &alive(&[9]), SIZE, Duration::from_millis(u64::from(frame) * 200));
        assert_eq!(happened, Happened::default(), "a bar is not of the zone's labels");
    }
    assert_eq!(places.counted()["gate"], Crossings::default());
}

#[test]
fn a_stay_ends_with_its_track() {
    let mut places = places(false);
    for ms in (0..1_000).step_by(200) {
        places.update(&[person(Some(4), 80.0, 50.0)], &alive(&[4]), SIZE, Duration::from_millis(ms));
    }
    assert_eq!(places.update(&[], &alive(&[4]), SIZE, Duration::from_secs(2)), Happened::default());
    let ended = places.update(&[], &alive(&[]), SIZE, Duration::from_millis(2_800)).ended;
    assert_eq!((ended.len(), ended[0].end), (1, Some(0.8)), "when it was last seen");
}

#[test]
fn feet_on_the_lower_border_are_inside() {
    let mut places = places(false);
    for ms in (0..1_000).step_by(200) {
        places.update(&[person(Some(1), 80.0, 100.0)], &alive(&[1]), SIZE, Duration::from_millis(ms));
    }
    assert_eq!(places.zones(Duration::from_millis(800)).next().unwrap().1.inside.len(), 1);
}

/// Crossings of the line for a path, in and out.
fn crossed(path: &[Option<(f32, f32)>]) -> (u32, u32, Vec<f64>) {
    let mut places = places(true);
    let (ended, _) = walk(&mut places, path);
    let Crossings { inward, outward } = places.counted()["gate"];
    (inward, outward, ended.iter().filter(|event| event.line.is_some()).map(|event| event.begin).collect())
}

#[test]
fn a_line_is_crossed_from_side_to_side() {
    assert_eq!(crossed(&[at(30.0, 3), at(70.0, 3)].concat()), (1, 0, vec![0.6]), "left to right, as seen upwards");
    assert_eq!(crossed(&[at(70.0, 3), at(30.0, 3)].concat()), (0, 1, vec![0.6]));
    assert_eq!(crossed(&[at(30.0, 3), vec![None; 5], at(70.0, 3)].concat()), (1, 0, vec![1.6]), "behind a pillar");
    assert_eq!(crossed(&[at(30.0, 5), at(50.0, 5), at(70.0, 3)].concat()), (1, 0, vec![2.0]), "stops on the line");
    // Not long enough on a side.
    assert_eq!(crossed(&[at(30.0, 2), at(70.0, 3)].concat()).0, 0);
    assert_eq!(crossed(&[at(30.0, 3), at(70.0, 2), at(30.0, 3)].concat()), (0, 0, vec![]), "a glance over it");
}

#[test]
fn the_extension_of_a_line_is_no_line() {
    let past = |y: f32| [vec![Some((30.0, y)); 3], vec![Some((70.0, y)); 3]].concat();
    assert_eq!((crossed(&past(50.0)).0, crossed(&past(90.0)).0, crossed(&past(20.0)).0), (1, 0, 0));
    // Around its end, and back over it.
    let around = [at(30.0, 3), vec![Some((30.0, 95.0)), Some((70.0, 95.0))], at(70.0, 6), at(30.0, 3)].concat();
    assert_eq!(crossed(&around), (0, 1, vec![2.2]));
}

#[test]
fn who_trembles_on_the_line_is_not_counted_again() {
    let tremble: Vec<_> = (0..50).map(|n| Some((if n % 2 == 0 { 49.0 } else { 51.0 }, 50.0))).collect();
    assert_eq!(crossed(&[at(30.0, 3), tremble, at(70.0, 3)].concat()), (1, 0, vec![10.4]), "once, when it leaves");
    // Back within a second counts after a second there, so that what went in comes out; later back at once.
    assert_eq!(crossed(&[at(30.0, 3), at(70.0, 3), at(30.0, 3)].concat()), (1, 0, vec![0.6]));
    assert_eq!(crossed(&[at(30.0, 3), at(70.0, 3), at(30.0, 6)].concat()), (1, 1, vec![0.6, 1.2]));
    assert_eq!(crossed(&[at(30.0, 3), at(70.0, 5), at(30.0, 3)].concat()), (1, 1, vec![0.6, 1.6]));
    // Three frames on each side, for ever.
    let slow: Vec<_> = (0..60).map(|n| Some((if n / 3 % 2 == 0 { 49.0 } else { 51.0 }, 50.0))).collect();
    assert_eq!(crossed(&slow), (1, 0, vec![0.6]), "a car that stands on the line");
}

#[test]
fn what_is_not_drawn_is_never_entered() {
    let scene = serde_json::json!({"zones": [{"id": "z", "title": {"en": "Z"}}], "lines": [{"id": "l", "title": {"en": "L"}}]});
    let mut places = Places::new(&serde_json::from_value(scene).unwrap(), &Drawn::default());
    let (ended, inside) = walk(&mut places, &[at(30.0, 5), at(70.0, 5)].concat());
    assert!(ended.is_empty() && inside.iter().all(|seconds| *seconds == 0.0) && places.counted().is_empty());
    assert_eq!(places.lines().count(), 1, "rules see it all the same");
}
