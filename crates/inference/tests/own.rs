//! A vendor's own step behind real models, through the app, the check and the confined child.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::float_cmp, reason = "tests")]

mod support;

use std::io::Cursor;
use std::time::Duration;

use app_package::pipeline::Drawn;
use image::{ImageFormat, Rgb, RgbImage};
use inference::{
    app::App,
    check::{self, CheckOptions, CheckReport},
    sandbox::Limits,
    watch::Watch,
    worker,
};
use serde_json::{Map, Value, json};
use support::{Package, avi, engine, label, lib};

/// A picture of 64 × 64 that is red left of its middle and green right of it.
fn picture() -> Vec<u8> {
    let picture = RgbImage::from_fn(64, 64, |x, _| if x < 32 { Rgb([255, 0, 0]) } else { Rgb([0, 255, 0]) });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn documented(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../docs/own-step/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Rocks and rods of `boxes.onnx`, and an own step behind it.
fn package(own: Value, bytes: &[u8], post: bool) -> Package {
    let mut finder = json!({
        "name": "finder", "file": "boxes.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3, 64, 64]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 5, 7]}],
        "pre": {"image": {"width": 64, "height": 64}},
    });
    if post {
        finder["post"] = json!([{"boxes": {"output": "y", "labels": [label("rock"), label("rod")], "score": 0.5, "iou": 0.5,
            "row": ["box", "objectness", "scores"]}}]);
    }
    let mut step = json!({"name": "own", "file": "own.wasm"});
    step.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let package = Package::steps("image", json!([{"model": finder}, {"wasm": step}]), &picture(), &json!({}));
    std::fs::write(package.dir.join("own.wasm"), bytes).unwrap();
    package
}

fn counter() -> Package {
    package(
        json!({"in": ["objects"], "out": "values", "items": [{"id": "bare", "text": {"en": "Bare"}}]}),
        &documented("bare-heads.wasm"),
        true,
    )
}

fn open(package: &Package) -> App {
    let text = serde_json::to_string(&package.manifest).unwrap();
    let manifest = app_package::validate::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    App::open(&package.dir, manifest, engine(), 1).unwrap()
}

fn checked(package: &Package) -> CheckReport {
    check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 1 })
}

fn reason(report: &CheckReport) -> (&str, &str) {
    let last = report.steps.last().unwrap();
    (last.code.as_str(), last.reason.as_deref().unwrap_or_default())
}

/// Expects what the app says.
fn expecting(package: &Package) {
    let result = open(package).predict(&picture(), &Map::new(), "").unwrap();
    std::fs::write(package.dir.join("sample.json"), result.to_file()).unwrap();
}

#[test]
fn objects_are_counted_by_a_step_of_the_vendor_and_rules_see_it() {
    let mut package = counter();
    package.manifest["alarms"] = json!([{"id": "bare", "level": "warning", "text": {"en": "{value:bare}"}, "when": "values.bare > 0.0"}]);
    let mut app = open(&package);
    let out = app.predict(&picture(), &Map::new(), "").unwrap();
    // The rule of bare-heads.c, with a rock for the person and a rod for the helmet.
    let covers = |[x, y, w, h]: [f32; 4], [ox, oy, ow, oh]: [f32; 4]| {
        let (cx, cy) = (ox + ow / 2.0 - x, oy + oh / 2.0 - y);
        cx > 0.0 && cx < w && cy > 0.0 && cy < h / 3.0
    };
    let rods: Vec<_> = out.detections.iter().filter(|d| d.label == "rod").collect();
    let bare = out.detections.iter().filter(|d| d.label == "rock" && !rods.iter().any(|rod| covers(d.bbox, rod.bbox))).count();
    assert_eq!((out.values.len(), out.values[0].id.as_str(), out.detections.len()), (1, "bare", 3));
    assert_eq!(out.values[0].value.to_string(), bare.to_string());
    assert!(bare > 0 && out.alarms[0].text.en == bare.to_string(), "{out:?}");
    assert_eq!((app.take_log(), app.take_log()), (vec!["own: somebody wears no helmet".to_owned()], Vec::new()));
    expecting(&package);
    let report = checked(&package);
    assert!(report.passed, "{:?}", report.steps);
    assert_eq!(report.golden.unwrap().log, ["one: own: somebody wears no helmet"]);
    let figures = report.run_card.unwrap().own_steps.remove(0);
    assert_eq!((figures.name.as_str(), figures.runs, figures.fuel), ("own", 1, 50_000_000));
    assert!(figures.most_fuel > 50 && figures.most_fuel < 10_000, "{figures:?}");
}

#[test]
fn a_step_runs_confined_as_the_models_do() {
    let package = counter();
    expecting(&package);
    package.write_yaml();
    let exe = std::env::current_exe().unwrap();
    let child = exe.parent().unwrap().parent().unwrap().join("examples/check_child");
    // The address space is 512 MiB and one more GiB.
    let limits = Limits { memory_bytes: 512 << 20, ..Limits::default() };
    let report = worker::run_check(&child, &[], &package.dir, &lib(), &limits, Duration::from_mins(1));
    assert!(report.passed && report.confinement.as_ref().unwrap().seccomp, "{report:?}");
    assert_eq!(report.run_card.unwrap().own_steps.len(), 1);
}

#[test]
fn a_step_decodes_what_no_key_says_and_is_given_raw_tensors() {
    // It answers with the first row of `y`, which is [cx, cy, w, h, objectness, scores] in pixels of the tensor.
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1)
        (data (i32.const 1024) "PHT1\01")
        (data (i32.const 1040) "\70\00\00\00\07\00\00\00\01\00\00\00\02\00\00\00\01\00\00\00\00\00\00\00\06")
        (data (i32.const 1120) "\80\00\00\00\18\00\00\00")
        (data (i32.const 1136) "objects")
        (func (export "pithead_abi") (result i32) i32.const 1)
        (func (export "alloc") (param i32) (result i32) i32.const 8192)
        (func (export "run") (param $at i32) (param i32) (result i64) (local $y i32)
          (local.set $y (i32.add (local.get $at) (i32.load (i32.add (local.get $at) (i32.const 96)))))
          (f32.store (i32.const 1156) (f32.load offset=16 (local.get $y)))
          (f32.store (i32.const 1160) (f32.sub (f32.load (local.get $y)) (f32.mul (f32.const 0.5) (f32.load offset=8 (local.get $y)))))
          (f32.store (i32.const 1164) (f32.sub (f32.load offset=4 (local.get $y)) (f32.mul (f32.const 0.5) (f32.load offset=12 (local.get $y)))))
          (f32.store (i32.const 1168) (f32.load offset=8 (local.get $y)))
          (f32.store (i32.const 1172) (f32.load offset=12 (local.get $y)))
          (i64.const 0x0000040000000098)))"#,
    )
    .unwrap();
    let package = package(json!({"in": ["tensors"], "out": "objects", "unit": "pixels", "labels": [label("bolt")]}), &module, false);
    let raw = open(&package).infer(
        None,
        &[(
            "x".into(),
            inference::engine::TensorData { shape: vec![1, 3, 64, 64], data: inference::engine::Data::F32(vec![0.0; 3 * 64 * 64]) },
        )],
    );
    let raw = raw.unwrap()[0].1.data.to_f32().into_owned();
    let out = open(&package).predict(&picture(), &Map::new(), "").unwrap();
    let [cx, cy, w, h, score] = [0, 1, 2, 3, 4].map(|i| raw[i]);
    let found = &out.detections[0];
    assert_eq!((found.label.as_str(), found.score, found.model.as_deref()), ("bolt", score, Some("own")));
    let (left, top) = ((cx - w / 2.0).max(0.0), (cy - h / 2.0).max(0.0));
    assert!((found.bbox[0] - left).abs() < 1e-3 && (found.bbox[1] - top).abs() < 1e-3, "{found:?}, {raw:?}");
    expecting(&package);
    let report = checked(&package);
    assert!(report.passed, "{:?}", report.steps);
}

#[test]
fn a_step_for_each_object_tells_of_it_and_sees_its_part() {
    // The mean of the red of its part: it adds up the bytes of the frame, whose data it is given after the entry of its tensor.
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 4)
        (data (i32.const 1024) "PHT1\01")
        (data (i32.const 1040) "\70\00\00\00\06\00\00\00\01\00\00\00\01\00\00\00\01")
        (data (i32.const 1120) "\80\00\00\00\04\00\00\00")
        (data (i32.const 1136) "values")
        (func (export "pithead_abi") (result i32) i32.const 1)
        (func (export "alloc") (param i32) (result i32) i32.const 8192)
        (func (export "run") (param $at i32) (param i32) (result i64) (local $p i32) (local $end i32) (local $sum f32) (local $n f32)
          (local.set $p (i32.add (local.get $at) (i32.load offset=96 (local.get $at))))
          (local.set $end (i32.add (local.get $p) (i32.load offset=100 (local.get $at))))
          (block $out (loop $pixels
            (br_if $out (i32.ge_u (local.get $p) (local.get $end)))
            (local.set $sum (f32.add (local.get $sum) (f32.convert_i32_u (i32.load8_u (local.get $p)))))
            (local.set $n (f32.add (local.get $n) (f32.const 255)))
            (local.set $p (i32.add (local.get $p) (i32.const 3)))
            (br $pixels)))
          (f32.store (i32.const 1152) (f32.div (local.get $sum) (local.get $n)))
          (i64.const 0x0000040000000084)))"#,
    )
    .unwrap();
    let keys = json!({"of": {"labels": ["rock"]}, "in": ["frame"], "out": "values", "items": [{"id": "red", "text": {"en": "Red"}}]});
    let mut package = package(keys, &module, true);
    package.manifest["alarms"] =
        json!([{"id": "red", "level": "notice", "text": {"en": "x"}, "when": "detections.exists(d, d.values.red > 0.3)"}]);
    let out = open(&package).predict(&picture(), &Map::new(), "").unwrap();
    let red: Vec<(&str, f64)> =
        out.detections.iter().map(|d| (d.label.as_str(), d.said.values.first().map_or(-1.0, |v| v.value))).collect();
    // One rock lies over the middle, one at the right, where all is green; the rod is not asked for.
    assert!(red[0].0 == "rock" && red[0].1 > 0.3 && red[0].1 < 1.0 && red[1] == ("rod", -1.0) && red[2] == ("rock", 0.0), "{red:?}");
    assert!(out.alarms.len() == 1 && out.values.is_empty(), "{out:?}");
}

#[test]
fn what_a_module_does_is_named_on_the_report() {
    let with = |run: &str| {
        let text = format!(
            r#"(module (memory (export "memory") 1) (func (export "pithead_abi") (result i32) i32.const 1)
            (func (export "alloc") (param i32) (result i32) i32.const 8192) (func (export "run") (param i32 i32) (result i64) {run}))"#
        );
        wat::parse_str(text).unwrap()
    };
    let keys = || json!({"in": ["objects"], "out": "objects"});
    let code = |bytes: &[u8]| {
        let report = checked(&package(keys(), bytes, true));
        let (step, reason) = reason(&report);
        (step.to_owned(), reason.to_owned(), report.steps.last().unwrap().detail.clone().unwrap_or_default())
    };
    let mut found = vec![
        ("golden", "wasm-trap", code(&with("unreachable"))),
        ("golden", "wasm-out-of-fuel", code(&with("(loop $l (br $l)) unreachable"))),
        ("golden", "wasm-answer", code(&with("i64.const -1"))),
        ("files", "wasm-not-core", code(b"\0asm\x0d\0\x01\0")),
        ("files", "wasm-import", code(&wat::parse_str(r#"(module (import "env" "memcpy" (func)))"#).unwrap())),
        // A section of code that has bytes and no functions: wasmi 2.0.0 divides by their number.
        ("files", "wasm-invalid", code(&[b"\0asm\x01\0\0\0\x0a\xd0\x0f".to_vec(), vec![0; 2_000]].concat())),
        ("files", "wasm-too-large", code(&[b"\0asm\x01\0\0\0".to_vec(), vec![0; 4 << 20]].concat())),
    ];
    // It ends itself where there is no object.
    let picky = package(keys(), &with("(if (i64.eqz (i64.load offset=32 (local.get 0))) (then unreachable)) i64.const 0"), true);
    expecting(&picky);
    let report = checked(&picky);
    let (step, why) = reason(&report);
    found.push(("odd-input", "wasm-trap", (step.into(), why.into(), report.steps.last().unwrap().detail.clone().unwrap())));
    for (step, reason, told) in found {
        assert_eq!((told.0.as_str(), told.1.as_str()), (step, reason), "{}", told.2);
        assert!(told.2.contains("step `own`"), "{}", told.2);
    }
    assert!(
        inference::examine::examine(&package(keys(), b"no", true).dir, &picky.parsed())
            .iter()
            .any(|(step, e)| *step == "files" && e.code == "wasm-not-core")
    );
}

#[test]
fn a_step_keeps_a_state_from_frame_to_frame() {
    let shade = |left: u8| RgbImage::from_fn(64, 36, |x, _| Rgb([if x < 32 { left } else { 90 }; 3]));
    // Five frames a second: noise is no motion, a step of twenty is.
    let frames: Vec<RgbImage> = [40, 44, 40, 60, 60, 63, 60, 60].map(shade).to_vec();
    let clip = avi(&frames);
    let finder = json!({"model": {
        "name": "tally", "file": "tally.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1, 36, 64]}, {"name": "state", "datatype": "FP32", "shape": [1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}, {"name": "next", "datatype": "FP32", "shape": [1]}],
        "pre": {"image": {"width": 64, "height": 36, "color": "gray", "scale": 255.0}},
        "state": [{"in": "state", "out": "next"}],
        "post": [{"values": {"output": "y", "items": [{"id": "bright", "text": {"en": "Bright frames"}}]}}],
    }});
    let item = json!({"id": "still", "text": {"en": "Still for"}, "unit": "s"});
    let step = json!({"name": "standstill", "file": "own.wasm", "in": ["frame", "time", "state"], "out": "values", "items": [item]});
    let mut package = Package::steps("video", json!([finder, {"wasm": step}]), &clip, &json!({}));
    std::fs::write(package.dir.join("own.wasm"), documented("standstill.wasm")).unwrap();
    package.manifest["alarms"] = json!([{"id": "stands", "level": "notice", "text": {"en": "Stands"}, "when": "values.still > 0.5"}]);
    let mut app = open(&package);
    for _ in 0..2 {
        let out = app.predict(&clip, &Map::new(), "").unwrap();
        // It last moved at 0.6 s; the last frame is at 1.4 s.
        assert!((out.values[1].value - 0.8).abs() < 1e-6, "{:?}", out.values);
        let [event] = &out.events[..] else { panic!("{:?}", out.events) };
        assert!((event.begin - 1.2).abs() < 1e-6, "{event:?}");
    }
    let mut watch = Watch::new(&app, &Drawn::default(), &Map::new(), "").unwrap();
    let mut still = |ms: u64| {
        let frame = watch.frame(&mut app, &image::DynamicImage::from(shade(40)), Duration::from_millis(ms)).unwrap();
        (frame.result.values[1].value * 1_000.0).round()
    };
    assert_eq!(
        [0, 1_000, 2_500, 4_600, 5_000].map(&mut still),
        [0.0, 1_000.0, 2_500.0, 0.0, 400.0],
        "a gap of more than two seconds ends it"
    );
    let result = app.predict(&clip, &Map::new(), "").unwrap();
    std::fs::write(package.dir.join("sample.json"), result.to_file()).unwrap();
    let report = checked(&package);
    assert!(report.passed, "{:?}", report.steps);
}
