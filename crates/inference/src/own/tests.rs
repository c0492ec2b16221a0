#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp, clippy::panic, clippy::cast_precision_loss, reason = "tests")]

use app_package::pipeline::WasmStep;
use image::{DynamicImage, RgbImage};
use serde_json::{Value, json};

use super::*;
use crate::geometry::Geometry;
use crate::output::{Detection, Keypoint, TextOut, ValueOut};

mod hostile;
mod picodet;
mod speed;

const FUEL: u64 = 2_000_000;

/// A module whose `alloc` and `run` are this, with more before them.
fn module(more: &str, alloc: &str, run: &str) -> Vec<u8> {
    sized(2, more, alloc, run)
}

/// The same with so many pages of memory.
fn sized(pages: usize, more: &str, alloc: &str, run: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (import "pithead" "log" (func $log (param i32 i32)))
            (memory (export "memory") {pages})
            {more}
            (func (export "pithead_abi") (result i32) i32.const 1)
            (func (export "alloc") (param i32) (result i32) {alloc})
            (func (export "run") (param i32 i32) (result i64) {run}))"#
    );
    wat::parse_str(text).unwrap()
}

/// A module that answers this whatever it is given.
fn answering(block: &[u8]) -> Vec<u8> {
    let bytes = block.iter().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat();
    let place = (65_536_u64 << 32) | block.len() as u64;
    sized(8, &format!("(data (i32.const 65536) \"{bytes}\")"), "i32.const 1024", &format!("i64.const {place}"))
}

fn step(keys: Value) -> WasmStep {
    let mut all = json!({"name": "own", "file": "own.wasm", "in": ["objects"], "out": "objects"});
    all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

/// A step whose labels are person and helmet, and whose points are head and feet.
fn own(keys: Value, bytes: &[u8]) -> Result<Own> {
    let step = step(keys);
    let module = Runnable::new(bytes, step.fuel.unwrap_or(FUEL), memory(&step))?;
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let known = Vocabulary { labels: names(&["person", "helmet"]), keypoints: names(&["head", "feet"]), values: names(&["water", "coal"]) };
    Ok(Own { step, module, known, figures: OwnFigures::default(), log: Vec::new(), last: Some(Vec::new()), left: None })
}

fn tensor(shape: &[i64], data: Data) -> TensorData {
    TensorData::new(shape.to_vec(), data).unwrap()
}

fn floats(shape: &[i64], numbers: &[f32]) -> TensorData {
    tensor(shape, Data::F32(numbers.to_vec()))
}

fn block(tensors: &[(&str, TensorData)]) -> Vec<u8> {
    let tensors: Tensors = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    message::write(&tensors, 1 << 24).unwrap()
}

/// What was found in a picture of 100 × 50: a person with a mask and points, and a helmet.
fn found() -> AppOutput {
    let mut person = Detection::new("person", 0.9, [10.0, 10.0, 20.0, 40.0]);
    person.mask = Some(crate::mask::Mask { size: [1, 1], counts: vec![0, 1] });
    person.keypoints = vec![Keypoint { name: "feet".into(), x: 20.0, y: 50.0, score: 0.5 }];
    person.track = Some(7);
    person.said.text = Some(TextOut { text: "12".into(), score: 1.0 });
    let helmet = Detection::new("helmet", 0.8, [15.0, 10.0, 5.0, 5.0]);
    let values = vec![ValueOut { id: "coal".into(), value: 2.5, unit: String::new() }];
    let texts = vec![TextOut { text: "煤".into(), score: 0.5 }];
    AppOutput { detections: vec![person, helmet], values, texts, ..AppOutput::default() }
}

fn picture() -> DynamicImage {
    RgbImage::from_fn(100, 50, |x, y| image::Rgb([u8::try_from(x).unwrap(), u8::try_from(y).unwrap(), 7])).into()
}

/// The step's answer on what was found, and what is left of that.
fn asked(own: &mut Own) -> Result<(AppOutput, AppOutput)> {
    let (before, picture) = (found(), picture());
    let mut after = before.clone();
    let answer = own.run(&Seen::of(&before, Some(&picture)), &mut after)?;
    Ok((answer, after))
}

#[test]
fn everything_that_is_asked_for_is_given_in_order() {
    let all = json!({"in": ["texts", "source-size", "frame", "values", "keypoints", "objects", "tensors", "tracks", "time", "state"]});
    let (before, picture) = (found(), picture());
    let raw = [("y".to_owned(), tensor(&[1, 2], Data::I8(vec![-1, 5])))];
    let left = tensor(&[2], Data::I16(vec![4, -4]));
    let time = std::time::Duration::from_millis(2_500);
    let seen = Seen { tensors: &raw, time, state: Some(&left), ..Seen::of(&before, Some(&picture)) };
    let own = own(all, &answering(&[])).unwrap();
    let given = given::of(&own.step, &own.known, &seen);
    let read = message::read(&message::write(&given, 1 << 20).unwrap()).unwrap();
    assert_eq!(
        read.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["texts", "source-size", "frame", "values", "keypoints", "objects", "y", "tracks", "time", "state"]
    );
    assert_eq!(read[0].1, tensor(&[1], Data::Text(vec!["煤".into()])));
    assert_eq!(read[1].1, floats(&[2], &[50.0, 100.0]));
    let Data::U8(pixels) = &read[2].1.data else { panic!() };
    assert_eq!((read[2].1.shape.as_slice(), &pixels[(3 * 100 + 9) * 3..][..3]), ([50, 100, 3].as_slice(), [9, 3, 7].as_slice()));
    let Data::F64(values) = &read[3].1.data else { panic!() };
    assert!(values[0].is_nan() && values[1] == 2.5);
    assert_eq!(read[4].1, floats(&[2, 2, 3], &[0.0, 0.0, 0.0, 20.0, 50.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
    assert_eq!(read[5].1, floats(&[2, 6], &[0.0, 0.9, 10.0, 10.0, 20.0, 40.0, 1.0, 0.8, 15.0, 10.0, 5.0, 5.0]));
    assert_eq!(read[6].1, raw[0].1);
    assert_eq!(read[7].1, tensor(&[2], Data::I32(vec![7, -1])));
    assert_eq!((&read[8].1, &read[9].1), (&tensor(&[1], Data::F64(vec![2.5])), &left));
    // Of one object: its text, its part of the picture, and the whole picture's size.
    let seen = Seen::of_object(&before.detections[0], &picture, [640, 480]);
    let given = given::of(&own.step, &own.known, &seen);
    assert_eq!((&given[0].1, &given[1].1), (&tensor(&[1], Data::Text(vec!["12".into()])), &floats(&[2], &[480.0, 640.0])));
    assert_eq!(given[5].1.shape, [1, 6]);
    assert_eq!(given[8].1, tensor(&[0], Data::U8(Vec::new())), "nothing was left");
}

#[test]
fn a_state_is_taken_from_the_answer_and_bounded() {
    let keys = || json!({"in": ["state"], "out": "values", "items": [{"id": "n", "text": {"en": "n"}}]});
    let number = |state: TensorData| block(&[("state", state), ("values", floats(&[1], &[3.0]))]);
    let state = tensor(&[1, 2], Data::F64(vec![f64::NAN, 1.0]));
    let mut own_step = own(keys(), &answering(&number(state))).unwrap();
    let (new, _) = asked(&mut own_step).unwrap();
    assert_eq!(new.values[0].value, 3.0);
    let Some(TensorData { data: Data::F64(left), shape }) = own_step.take_state() else { panic!() };
    // What it means is the module's own affair.
    assert!(left[0].is_nan() && left[1] == 1.0 && shape == [1, 2]);
    assert!(own_step.take_state().is_none());
    for bad in [tensor(&[131_073], Data::U8(vec![0; 131_073])), tensor(&[1], Data::Text(vec!["x".into()]))] {
        let mut own_step = own(keys(), &answering(&number(bad))).unwrap();
        assert_eq!(asked(&mut own_step).unwrap_err().code, "wasm-answer");
        assert!(own_step.take_state().is_none());
    }
    // One who is not given a state leaves none, and nothing stays of an answer that has no meaning.
    let mut keys = keys();
    keys["in"] = json!(["objects"]);
    assert_eq!(asked(&mut own(keys, &answering(&number(floats(&[1], &[0.0])))).unwrap()).unwrap_err().code, "wasm-answer");
    let bad = block(&[("state", floats(&[1], &[1.0])), ("values", floats(&[2], &[3.0, 4.0]))]);
    let mut own_step =
        own(json!({"in": ["state"], "out": "values", "items": [{"id": "n", "text": {"en": "n"}}]}), &answering(&bad)).unwrap();
    assert_eq!(asked(&mut own_step).unwrap_err().code, "wasm-answer");
    assert!(own_step.take_state().is_none());
}

#[test]
fn objects_that_pass_through_keep_what_else_was_found_of_them() {
    let rows = floats(&[1, 6], &[1.0, 0.25, -10.0, 40.0, 30.0, 30.0]);
    // The person is now a helmet of 0.5, the helmet goes, and there is a new one that is cut to the picture.
    let answer = block(&[("given", floats(&[2, 2], &[1.0, 0.5, -1.0, 0.0])), ("objects", rows)]);
    let (new, after) = asked(&mut own(json!({}), &answering(&answer)).unwrap()).unwrap();
    let mut wanted = found().detections.remove(0);
    (wanted.label, wanted.score) = ("helmet".into(), 0.5);
    assert_eq!(after.detections, [wanted]);
    assert_eq!(new.detections, [Detection::new("helmet", 0.25, [0.0, 40.0, 20.0, 10.0])]);
    // Without a word of them all stay, and what lies outside of the picture is left out.
    let answer = block(&[("objects", floats(&[1, 6], &[0.0, 1.0, 200.0, 0.0, 5.0, 5.0]))]);
    let (new, after) = asked(&mut own(json!({}), &answering(&answer)).unwrap()).unwrap();
    assert_eq!((new, after), (AppOutput::default(), found()));
    let (new, after) = asked(&mut own(json!({}), &answering(&[])).unwrap()).unwrap();
    assert_eq!((new, after), (AppOutput::default(), found()));
}

#[test]
fn boxes_are_told_in_the_unit_of_the_step() {
    let picture = picture();
    // A tensor of 200 × 200 with the picture twice as large in it, 50 from the top.
    let geometry = Geometry { tensor: [200.0, 200.0], source: [100.0, 50.0], fitted: [200.0, 100.0], offset: [0.0, 50.0] };
    for (unit, row) in [
        ("pixels", [0.0, 1.0, 20.0, 70.0, 40.0, 20.0]),
        ("relative", [0.0, 1.0, 0.1, 0.35, 0.2, 0.1]),
        ("source", [0.0, 1.0, 10.0, 10.0, 20.0, 10.0]),
    ] {
        let mut own = own(json!({"in": ["tensors"], "unit": unit}), &answering(&block(&[("objects", floats(&[1, 6], &row))]))).unwrap();
        let nothing = AppOutput::default();
        let seen = Seen { geometry: Some(&geometry), ..Seen::of(&nothing, Some(&picture)) };
        let found = own.run(&seen, &mut AppOutput::default()).unwrap();
        let bbox = found.detections[0].bbox;
        assert!(bbox.iter().zip([10.0, 10.0, 20.0, 10.0]).all(|(a, b)| (a - b).abs() < 1e-4), "{unit}: {bbox:?}");
    }
}

#[test]
fn classes_values_and_texts_are_read() {
    let items = json!([{"id": "taps", "text": {"en": "t"}, "unit": "1/min"}, {"id": "angle", "text": {"en": "a"}}]);
    let answer = block(&[("values", tensor(&[2], Data::F64(vec![1.0, 1e-300])))]);
    let (new, _) = asked(&mut own(json!({"out": "values", "items": items}), &answering(&answer)).unwrap()).unwrap();
    assert_eq!(new.values[0], ValueOut { id: "taps".into(), value: 1.0, unit: "1/min".into() });
    assert_eq!((new.values[1].value, new.values.len()), (1e-300, 2));
    let labels = json!([{"id": "ok", "text": {"en": "ok"}}, {"id": "bad", "text": {"en": "bad"}}]);
    let answer = block(&[("scores", floats(&[1, 2], &[0.25, 3.0]))]);
    let (new, _) = asked(&mut own(json!({"out": "classes", "labels": labels}), &answering(&answer)).unwrap()).unwrap();
    assert_eq!(new.classes.iter().map(|class| (class.label.as_str(), class.score)).collect::<Vec<_>>(), [("ok", 0.25), ("bad", 3.0)]);
    let texts = tensor(&[2], Data::Text(vec!["KJ-2026".into(), "煤".into()]));
    let answer = block(&[("texts", texts.clone()), ("scores", floats(&[2], &[0.5, 1.0]))]);
    let (new, _) = asked(&mut own(json!({"out": "texts"}), &answering(&answer)).unwrap()).unwrap();
    assert_eq!(new.texts, [TextOut { text: "KJ-2026".into(), score: 0.5 }, TextOut { text: "煤".into(), score: 1.0 }]);
    let (new, _) = asked(&mut own(json!({"out": "texts"}), &answering(&block(&[("texts", texts)]))).unwrap()).unwrap();
    assert_eq!(new.texts[0].score, 1.0);
}

#[test]
fn each_run_has_an_instance_of_its_own() {
    // It counts its runs, and ends itself in the second.
    let counts = module(
        "(global $n (mut i32) (i32.const 0))",
        "i32.const 1024",
        "(global.set $n (i32.add (global.get $n) (i32.const 1)))
        (if (i32.gt_s (global.get $n) (i32.const 1)) (then unreachable)) i64.const 0",
    );
    let mut own = own(json!({}), &counts).unwrap();
    for _ in 0..3 {
        asked(&mut own).unwrap();
    }
    assert_eq!(own.figures().runs, 3);
    assert!(own.figures().most_fuel > 0 && own.figures().most_fuel < 100 && own.figures().longest_ms > 0.0);
}

#[test]
fn a_run_that_fails_does_not_touch_the_next() {
    // It ends itself where the first number of what it is given is over 0.5: two objects, the first with label 1.
    let picky =
        module("", "i32.const 1024", "(if (f32.gt (f32.load offset=128 (local.get 0)) (f32.const 0.5)) (then unreachable)) i64.const 0");
    let mut own = own(json!({}), &picky).unwrap();
    let mut turned = found();
    turned.detections.reverse();
    for _ in 0..3 {
        assert_eq!(own.run(&Seen::of(&turned, None), &mut turned.clone()).unwrap_err().code, "wasm-trap");
        own.run(&Seen::of(&found(), None), &mut found()).unwrap();
    }
    assert_eq!(own.odd(1.0).unwrap_err().code, "wasm-trap");
    own.odd(f64::NAN).unwrap();
    own.nothing().unwrap();
}

#[test]
fn what_is_logged_is_bounded_and_shown() {
    let more = r#"(data (i32.const 5000) "taps\0a\1b[31m\ff 1")"#;
    let say =
        "(local $i i32) (loop $again (call $log (i32.const 5000) (i32.const 13)) (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_s (local.get $i) (i32.const 100)))) i64.const 0";
    let mut own = own(json!({}), &module(more, "i32.const 1024", say)).unwrap();
    asked(&mut own).unwrap();
    let log = own.take_log();
    assert_eq!((log.len(), log[0].as_str(), own.take_log().len()), (64, "taps\u{fffd}\u{fffd}[31m\u{fffd} 1", 0));
    assert!(own.figures().most_fuel > 100_000, "lines cost what they take");
    let long = module("", "i32.const 1024", "(call $log (i32.const 0) (i32.const 131072)) i64.const 0");
    let mut own = self::own(json!({}), &long).unwrap();
    asked(&mut own).unwrap();
    assert_eq!(own.take_log()[0].chars().count(), 200);
}

#[test]
fn a_number_that_is_none_has_the_same_bits_everywhere() {
    // On x86 0/0 has its sign set, on Arm not.
    let computed = "(if (i32.ne (i32.reinterpret_f32 (f32.div (f32.convert_i32_u (local.get 1)) (f32.const nan:0x200000))) (i32.const 0x7fc00000)) (then unreachable))
        (if (i64.ne (i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0))) (i64.const 0x7ff8000000000000)) (then unreachable)) i64.const 0";
    asked(&mut own(json!({}), &module("", "i32.const 1024", computed)).unwrap()).unwrap();
}
