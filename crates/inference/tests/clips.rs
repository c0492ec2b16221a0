//! Moving pictures through real models on ONNX Runtime: tracks, zones, lines, episodes, procedures, golden clips, clips as a model's input.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::cast_precision_loss, clippy::float_cmp, reason = "tests")]

mod support;

use std::time::Duration;

use app_package::pipeline::Drawn;
use image::{DynamicImage, Rgb, RgbImage};
use inference::{
    app::App,
    check::{self, CheckOptions},
    examine,
    output::{AppOutput, Direction, Event, ProcedureState},
    watch::Watch,
};
use serde_json::{Map, Value, json};
use support::{Package, avi, engine, label};

const W: u32 = 64;
const H: u32 = 36;

/// White people of 6 × 12 pixels with their left sides here, on black.
fn frame(people: &[u32]) -> RgbImage {
    let is_person = |x: u32, y: u32| (20..32).contains(&y) && people.iter().any(|left| (*left..left + 6).contains(&x));
    RgbImage::from_fn(W, H, |x, y| Rgb([if is_person(x, y) { 255 } else { 0 }; 3]))
}

/// One who comes from the left, stands in the middle for four seconds, and goes on to the right.
fn walk() -> Vec<RgbImage> {
    let way = (0..15).map(|n| n * 2).chain([28; 20]).chain((14..29).map(|n| n * 2));
    way.map(|left| frame(&[left])).chain([frame(&[]), frame(&[])]).collect()
}

fn spots() -> Value {
    json!({"model": {
        "name": "spots", "file": "spots.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1, 36, 64]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1, 36, 64]}],
        "pre": {"image": {"width": 64, "height": 36, "color": "gray"}},
        "post": [{"grid": {"output": "y", "labels": [label("person")], "score": 0.5}}],
    }})
}

fn app_of(clip: &[u8]) -> Package {
    let mut package = Package::steps("video", json!([spots()]), clip, &json!({}));
    let track = json!({"track": {"lost": "1s", "confirm": "0.2s"}});
    package.manifest["steps"].as_array_mut().unwrap().push(track);
    package.manifest["scene"] = json!({
        "zones": [{"id": "fence", "title": {"en": "Fence"}, "enter": "0.4s", "leave": "0.4s"}],
        "lines": [{"id": "gate", "title": {"en": "Gate"}}],
    });
    package.manifest["alarms"] = json!([
        {"id": "inside", "level": "warning", "per": "zone", "for": "1s", "hold": "1s", "text": {"en": "{place}: {label} in {zone}"},
         "when": "detections.exists(d, d.zones.fence >= 1.0)"},
        {"id": "still", "level": "notice", "per": "object", "hold": "0s", "text": {"en": "x"}, "when": "detections[0].track.still > 2.0 && now > 1.0"},
        {"id": "gone", "level": "notice", "text": {"en": "x"}, "when": "lines.gate['in'] == 1 && zones.fence.count == 0"},
    ]);
    let drawn = json!({"zones": {"fence": [[0.3, 0.5], [0.7, 0.5], [0.7, 1], [0.3, 1]]}, "lines": {"gate": [[0.8, 1], [0.8, 0.1]]}});
    package.manifest["golden"][0]["scene"] = drawn;
    package
}

fn open(package: &Package) -> App {
    let text = serde_json::to_string(&package.manifest).unwrap();
    let manifest = app_package::validate::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    App::open(&package.dir, manifest, engine(), 1).unwrap()
}

fn drawn(app: &App) -> Drawn {
    app.manifest().golden[0].scene.clone()
}

fn near(found: Option<f64>, wanted: f64) -> bool {
    found.is_some_and(|found| (found - wanted).abs() <= 0.21)
}

fn of(out: &AppOutput, pick: impl Fn(&Event) -> bool) -> Vec<&Event> {
    out.events.iter().filter(|event| pick(event)).collect()
}

#[test]
fn what_happens_in_a_clip_is_told_with_its_times() {
    let clip = avi(&walk());
    let package = app_of(&clip);
    let mut app = open(&package);
    let drawn = drawn(&app);
    let out = app.predict_drawn(&clip, &drawn, &Map::new(), "North").unwrap();
    assert!(out.rule_faults.is_empty(), "{:?}", out.rule_faults);
    // The anchor is the middle, three pixels from the left side: 19.2 px at 1.8 s, 44.8 px at 8.4 s (it stands from 2.8 to 6.8 s); the line
    // at 51.2 px at 9 s.
    let [stay] = of(&out, |event| event.zone.is_some() && event.rule.is_none())[..] else { panic!("{:#?}", out.events) };
    assert!(near(Some(stay.begin), 1.8) && near(stay.end, 8.4) && stay.track == Some(1), "{stay:?}");
    let [gate] = of(&out, |event| event.line.is_some())[..] else { panic!("{:#?}", out.events) };
    assert!(near(Some(gate.begin), 9.0) && gate.direction == Some(Direction::In), "{gate:?}");
    assert_eq!((out.counts.lines["gate"].inward, out.counts.lines["gate"].outward, out.counts.tracks["person"]), (1, 0, 1));
    // A second inside, and that for a second; it ends with the stay.
    let [inside] = of(&out, |event| event.rule.as_deref() == Some("inside"))[..] else { panic!("{:#?}", out.events) };
    assert!(near(Some(inside.begin), 3.8) && near(inside.end, 8.8) && inside.zone.as_deref() == Some("fence"), "{inside:?}");
    let [still] = of(&out, |event| event.rule.as_deref() == Some("still"))[..] else { panic!("{:#?}", out.events) };
    assert!(near(Some(still.begin), 4.9) && near(still.end, 7.3) && still.track == Some(1), "{still:?}");
    let raised: Vec<_> = out.alarms.iter().map(|alarm| (alarm.rule.as_str(), alarm.text.en.as_str())).collect();
    assert_eq!(raised[0], ("inside", "North: person en in Fence"));
    assert_eq!(raised.len(), 3, "{raised:?}");
    // An alarm tells of the frame in which it began, not of the last one, in which nobody is.
    let first = &out.alarms[0];
    let there = &first.frame.as_ref().unwrap().detections;
    assert!(
        first.at == Some(inside.begin) && there.len() == 1 && there[0].track == Some(1) && (there[0].bbox[0] - 28.0).abs() < 2.0,
        "{first:?}"
    );
    let [gone] = of(&out, |event| event.rule.as_deref() == Some("gone"))[..] else { panic!("{:#?}", out.events) };
    assert!(gone.end.is_none(), "it goes on");
    assert!(out.detections.is_empty(), "nobody is in the last frame");
    // With nothing drawn nobody is inside, and no rule fails.
    let out = app.predict(&clip, &Map::new(), "").unwrap();
    assert!(out.rule_faults.is_empty() && out.events.iter().all(|event| event.rule.as_deref() == Some("still")), "{:?}", out.events);
    assert!(out.counts.lines.is_empty());
    assert_eq!(app.predict(&clip, &Map::new(), "").unwrap(), out, "each clip begins anew");
}

#[test]
fn a_golden_clip_is_held_against_its_events() {
    let clip = avi(&walk());
    let package = app_of(&clip);
    let mut app = open(&package);
    let drawn = drawn(&app);
    let expected = AppOutput { alarms: Vec::new(), ..app.predict_drawn(&clip, &drawn, &Map::new(), "").unwrap() };
    let checked = |expected: &AppOutput| {
        std::fs::write(package.dir.join("sample.json"), expected.to_file()).unwrap();
        let report = check::run(&package.dir, app.manifest(), engine(), &CheckOptions { iterations: 1 });
        let last = report.steps.last().unwrap();
        (report.passed, last.reason.clone().unwrap_or_default(), last.detail.clone().unwrap_or_default(), report)
    };
    let (passed, _, _, report) = checked(&expected);
    assert!(passed, "{:?}", report.steps);
    assert!(report.steps.iter().all(|step| step.notice.is_none()), "it is not blind: {:?}", report.steps);
    let mut late = expected.clone();
    late.events[0].begin += 1.5;
    let mut more = expected.clone();
    more.events.push(Event { rule: Some("inside".into()), zone: Some("fence".into()), begin: 9.5, ..Event::default() });
    let mut other = expected.clone();
    other.counts.tracks.insert("person".into(), 2);
    for (wrong, words) in [(late, "no zone `fence`"), (more, "no rule `inside`, zone `fence` at 9.5 s"), (other, "counts are")] {
        let (passed, reason, detail, _) = checked(&wrong);
        assert!(!passed && reason == "golden-mismatch" && detail.contains(words), "{reason}: {detail}");
    }
    assert!(examine::examine(&package.dir, app.manifest()).is_empty());
    // What is no clip is named before an upload, and by the check.
    for (bytes, code) in [
        (&clip[..clip.len() - 100], "input-not-a-clip"),
        (b"\0\0\0\x20ftypisom", "input-not-a-clip"),
        (include_bytes!("clips/h264.avi"), "clip-codec"),
    ] {
        std::fs::write(package.dir.join("sample.avi"), bytes).unwrap();
        let found = examine::examine(&package.dir, app.manifest());
        assert!(found.iter().any(|(step, e)| *step == "golden" && e.code == code), "{found:?}");
        assert_eq!(checked(&expected).1, if code == "input-not-a-clip" && bytes.len() < 100 { "file-kind-mismatch" } else { code });
    }
}

#[test]
fn what_is_drawn_fits_clips_of_any_size() {
    // The walk in frames of another size: times are the same, places are those of the clip.
    let sized = |w: u32, h: u32| -> Vec<u8> {
        let scaled = |frame: RgbImage| image::imageops::resize(&frame, w, h, image::imageops::FilterType::Nearest);
        avi(&walk().into_iter().map(scaled).collect::<Vec<_>>())
    };
    let mut package = app_of(&avi(&walk()));
    for (fit, w, h) in [
        ("stretch", W, H),
        ("stretch", 192, 108),
        ("stretch", 320, 72),
        ("letterbox", 128, 72),
        ("letterbox", 128, 36),
        ("letterbox", 128, 144),
    ] {
        package.manifest["steps"][0]["model"]["pre"]["image"]["fit"] = json!(fit);
        let mut app = open(&package);
        let drawn = drawn(&app);
        let out = app.predict_drawn(&sized(w, h), &drawn, &Map::new(), "").unwrap();
        let case = format!("{fit} {w} × {h}: {:#?}", out.events);
        let [stay] = of(&out, |event| event.zone.is_some() && event.rule.is_none())[..] else { panic!("{case}") };
        let [gate] = of(&out, |event| event.line.is_some())[..] else { panic!("{case}") };
        // A cell of the model's tensor may be many pixels of the clip, so a frame more or less.
        let about = |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found - wanted).abs() <= 0.41);
        assert!(about(Some(stay.begin), 1.8) && about(stay.end, 8.4), "{case}");
        assert!(about(Some(gate.begin), 9.0) && gate.direction == Some(Direction::In), "{case}");
        // Where he stands when the alarm begins, in pixels of this clip.
        let alarm = out.alarms.iter().find(|alarm| alarm.rule == "inside").unwrap();
        let [x, y, box_w, box_h] = alarm.frame.as_ref().unwrap().detections[0].bbox.map(f64::from);
        let share = [x / f64::from(w), y / f64::from(h), box_w / f64::from(w), box_h / f64::from(h)];
        let wanted = [28.0 / 64.0, 20.0 / 36.0, 6.0 / 64.0, 12.0 / 36.0];
        assert!(share.iter().zip(wanted).all(|(share, wanted)| (share - wanted).abs() < 0.05), "{case} {share:?}");
    }
}

#[test]
fn the_log_of_an_own_step_in_a_clip_is_bounded() {
    // Each frame is a run, and each run logs a hundred lines, of which 64 are kept.
    let module = wat::parse_str(
        r#"(module (import "pithead" "log" (func $log (param i32 i32)))
            (memory (export "memory") 2) (data (i32.const 5000) "a line")
            (func (export "pithead_abi") (result i32) i32.const 1)
            (func (export "alloc") (param i32) (result i32) i32.const 8192)
            (func (export "run") (param i32 i32) (result i64) (local $i i32)
                (loop $again (call $log (i32.const 5000) (i32.const 6)) (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $i) (i32.const 100)))) i64.const 0))"#,
    )
    .unwrap();
    let mut package = app_of(&avi(&walk()));
    std::fs::write(package.dir.join("own.wasm"), module).unwrap();
    let own = json!({"wasm": {"name": "own", "file": "own.wasm", "in": ["objects"], "out": "objects"}});
    package.manifest["steps"].as_array_mut().unwrap().insert(1, own);
    let mut app = open(&package);
    let drawn = drawn(&app);
    let out = app.predict_drawn(&avi(&walk()), &drawn, &Map::new(), "").unwrap();
    assert!(!out.events.is_empty(), "what it does not know of stays as it was");
    let log = app.take_log();
    assert_eq!((log.len(), log[0].as_str(), app.take_log().len()), (200, "own: a line", 0));
    // What was not asked for does not stay for the next clip.
    app.predict_drawn(&avi(&walk()), &drawn, &Map::new(), "").unwrap();
    app.predict_drawn(&avi(&walk()[..1]), &drawn, &Map::new(), "").unwrap();
    assert_eq!(app.take_log().len(), 64);
}

#[test]
fn a_picture_is_a_clip_of_one_frame() {
    let mut png = std::io::Cursor::new(Vec::new());
    frame(&[10]).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let out = open(&app_of(&avi(&walk()))).predict(png.get_ref(), &Map::new(), "").unwrap();
    assert!(out.detections.len() == 1 && out.detections[0].track.is_none() && out.events.is_empty(), "{out:?}");
}

#[test]
fn frames_may_come_unevenly() {
    let package = app_of(&avi(&walk()));
    let mut app = open(&package);
    let drawn = drawn(&app);
    let mut watch = Watch::new(&app, &drawn, &Map::new(), "").unwrap();
    let mut events = Vec::new();
    // Every second frame of the walk comes 80 ms late, and each tenth not at all.
    for (at, frame) in walk().into_iter().enumerate().filter(|(at, _)| at % 10 != 7) {
        let time = Duration::from_millis(u64::try_from(at * 200 + at % 2 * 80).unwrap());
        let told = watch.frame(&mut app, &DynamicImage::ImageRgb8(frame), time).unwrap();
        events.extend(told.happened.ended);
    }
    let stay = events.iter().find(|event| event.zone.is_some() && event.rule.is_none()).unwrap();
    assert!(near(Some(stay.begin), 1.8) && near(stay.end, 8.4), "{stay:?}");
    assert!(
        events.iter().any(|event| event.line.is_some()) && events.iter().all(|event| event.track.is_none_or(|track| track == 1)),
        "{events:?}"
    );
    // A clock that goes back moves nothing, and ends nothing.
    assert!(watch.frame(&mut app, &DynamicImage::ImageRgb8(frame(&[])), Duration::ZERO).is_ok());
}

#[test]
fn rules_name_what_is_there() {
    let mut package = app_of(&avi(&walk()));
    for (when, words) in [
        ("zones.fense.count > 0", "there is no `fense`"),
        ("detections.exists(d, d.zones.fense > 1.0)", "there is no `fense`"),
        ("lines.gate.inward > 0", "there is no `inward`"),
        ("tracks.size() > 0", "unknown name `tracks`"),
    ] {
        package.manifest["alarms"][0]["when"] = json!(when);
        let refused = App::open(&package.dir, package.parsed(), engine(), 1).err().unwrap();
        assert!(refused.code == "alarm-rule-invalid" && refused.message.contains(words), "{refused}");
    }
}

#[test]
fn a_procedure_is_followed() {
    // Two people come, the first goes to the fence and stays, then both go.
    let mut way: Vec<RgbImage> = vec![frame(&[]); 3];
    way.extend((0..10).map(|_| frame(&[2, 12])));
    way.extend((0..8).map(|n| frame(&[2, 12 + n * 2])));
    way.extend((0..15).map(|_| frame(&[2, 26])));
    way.extend((0..5).map(|_| frame(&[])));
    let mut package = app_of(&avi(&way));
    package.manifest["procedures"] = json!([{
        "id": "round", "title": {"en": "Round"}, "start": "detections.size() > 0", "within": "1m", "end": "detections.size() == 0",
        "steps": [
            {"id": "two", "title": {"en": "Two people"}, "when": "detections.size() >= 2", "for": "1s"},
            {"id": "look", "title": {"en": "Look"}, "when": "zones.fence.seconds > 1.0"},
            {"id": "mark", "title": {"zh": "标记", "en": "Mark"}, "when": "detections.size() >= 3"},
        ],
    }]);
    package.manifest["alarms"] = json!([{"id": "skipped", "level": "warning", "text": {"en": "lacks {missing}"},
        "when": "procedures.round.state == 'abandoned' && procedures.round.missing.size() == 1 && procedures.round.step == ''"}]);
    let mut app = open(&package);
    let drawn = drawn(&app);
    let out = app.predict_drawn(&avi(&way), &drawn, &Map::new(), "").unwrap();
    let [round] = of(&out, |event| event.procedure.is_some())[..] else { panic!("{:#?}", out.events) };
    assert_eq!(
        (round.begin, round.state, round.missing.as_slice()),
        (0.6, Some(ProcedureState::Abandoned), ["mark".to_owned()].as_slice())
    );
    assert_eq!(out.alarms.iter().map(|alarm| alarm.text.en.as_str()).collect::<Vec<_>>(), ["lacks Mark"]);
    assert!(out.rule_faults.is_empty(), "{:?}", out.rule_faults);
}

#[test]
fn a_model_is_given_the_last_frames() {
    let step = json!({"model": {
        "name": "clip", "file": "clip.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3, 4, 8, 8]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4]}],
        "pre": {"clip": {"frames": 4, "every": "0.4s", "image": {"width": 8, "height": 8, "scale": 1, "filter": "nearest"}}},
        "post": [{"values": {"output": "y", "items": [
            {"id": "a", "text": {"en": "a"}}, {"id": "b", "text": {"en": "b"}}, {"id": "c", "text": {"en": "c"}}, {"id": "d", "text": {"en": "d"}},
        ]}}],
    }});
    let grey: Vec<RgbImage> = (0..12).map(|n| RgbImage::from_pixel(16, 16, Rgb([n * 10; 3]))).collect();
    let clip = avi(&grey);
    let mut package = Package::steps("video", json!([step]), &clip, &json!({}));
    package.manifest["alarms"] = json!([{"id": "dark", "level": "notice", "text": {"en": "x"}, "when": "values.a < 1.0", "hold": "0s"}]);
    let told = |package: &Package, clip: &[u8]| {
        let out = open(package).predict(clip, &Map::new(), "").unwrap();
        (out.values.iter().map(|value| value.value.round()).collect::<Vec<_>>(), out.events)
    };
    let (values, events) = told(&package, &clip);
    assert_eq!(values, [50.0, 70.0, 90.0, 110.0]);
    // Until the first of four frames is not the first of all.
    assert_eq!((events[0].begin, events[0].end), (0.0, Some(1.4)));
    assert_eq!(told(&package, &avi(&grey[..4])).0, [0.0, 0.0, 10.0, 30.0], "the first one is repeated");
    // Every 1.6 s: at 0, 1.6, and what it said stands until the end.
    package.manifest["steps"][0]["model"]["every"] = json!("1.6s");
    assert_eq!(told(&package, &clip).0, [20.0, 40.0, 60.0, 80.0]);
    std::fs::write(package.dir.join("sample.json"), open(&package).predict(&clip, &Map::new(), "").unwrap().to_file()).unwrap();
    let report = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 1 });
    assert!(report.passed, "{:?}", report.steps);
    let card = report.run_card.unwrap();
    assert_eq!(card.input, "1x3x4x8x8");
    // Times are those of a frame, of which there are twelve.
    let (latency, golden) = (card.latency_ms, report.golden.unwrap());
    assert!(latency.is_per_frame() && latency.median > 0.0);
    let rate = card.throughput.unwrap().one_thread;
    assert!((rate * latency.median / 1e3 - 1.0).abs() < 0.9, "{rate} frames a second, {} ms a frame", latency.median);
    assert!(golden.samples[0].latency_ms <= latency.p99 * 1.01, "{} {latency:?}", golden.samples[0].latency_ms);
}

#[test]
fn an_answer_that_takes_too_long_ends_by_itself() {
    let clip = avi(&walk());
    let package = app_of(&clip);
    let mut app = open(&package);
    app.answer_by(Some(std::time::Instant::now()));
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(app.predict(&clip, &Map::new(), "").unwrap_err().code, "input-too-slow");
    app.answer_by(None);
    assert_eq!(app.predict(&clip, &Map::new(), "").unwrap().counts.tracks["person"], 1);
}

/// A model that hands on a state of this length; `tally` counts the bright frames in it.
fn carrying(name: &str, length: i64) -> Value {
    json!({"model": {
        "name": name, "file": format!("{name}.onnx"),
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1, 36, 64]}, {"name": "state", "datatype": "FP32", "shape": [length]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}, {"name": "next", "datatype": "FP32", "shape": [length]}],
        "pre": {"image": {"width": 64, "height": 36, "color": "gray", "scale": 255.0}},
        "state": [{"in": "state", "out": "next"}],
        "post": [{"values": {"output": "y", "items": [{"id": "bright", "text": {"en": "Bright frames"}}]}}],
    }})
}

#[test]
fn a_model_carries_a_state_from_frame_to_frame() {
    let shade = |level: u8| RgbImage::from_pixel(W, H, Rgb([level; 3]));
    let clip = avi(&[shade(200), shade(10), shade(200), shade(200), shade(10)]);
    let package = Package::steps("video", json!([carrying("tally", 1)]), &clip, &json!({}));
    let mut app = open(&package);
    // Each clip begins anew.
    for _ in 0..2 {
        assert_eq!(app.predict(&clip, &Map::new(), "").unwrap().values[0].value, 3.0);
    }
    let mut watch = Watch::new(&app, &Drawn::default(), &Map::new(), "").unwrap();
    let mut other = Watch::new(&app, &Drawn::default(), &Map::new(), "").unwrap();
    let mut seen = |watch: &mut Watch, level: u8, ms: u64| {
        let outcome = watch.frame(&mut app, &DynamicImage::from(shade(level)), Duration::from_millis(ms));
        outcome.map(|frame| frame.result.values[0].value)
    };
    assert_eq!(seen(&mut watch, 200, 0).unwrap(), 1.0);
    assert_eq!(seen(&mut watch, 200, 2_000).unwrap(), 2.0);
    assert_eq!(seen(&mut other, 10, 0).unwrap(), 0.0, "each source has a state of its own");
    assert_eq!(seen(&mut watch, 200, 4_001).unwrap(), 1.0, "nothing is known of more than two seconds");
    assert_eq!(seen(&mut watch, 200, 4_100).unwrap(), 2.0);
    // A frame that spoils the state fails alone.
    assert_eq!(seen(&mut watch, 255, 4_200).unwrap_err().code, "output-not-finite");
    assert_eq!(seen(&mut watch, 200, 4_300).unwrap(), 1.0);
}

#[test]
fn a_state_does_not_grow_from_frame_to_frame() {
    let clip = avi(&[frame(&[]), frame(&[]), frame(&[])]);
    let package = Package::steps("video", json!([carrying("growing", -1)]), &clip, &json!({}));
    let mut app = open(&package);
    let mut watch = Watch::new(&app, &Drawn::default(), &Map::new(), "").unwrap();
    let codes = [0, 200, 400, 600].map(|ms| {
        let outcome = watch.frame(&mut app, &DynamicImage::from(frame(&[])), Duration::from_millis(ms));
        outcome.err().map(|e| e.code)
    });
    // It takes its size in the first run, and begins anew after the fault.
    assert_eq!(codes, [None, Some("tensor-shape"), None, Some("tensor-shape")]);
}
