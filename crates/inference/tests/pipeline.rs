//! Pictures and tables through real models on ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp, clippy::panic, reason = "tests")]

mod support;

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use inference::{
    app::App,
    check::{self, CheckOptions},
    engine::{Data, Engine, TensorData},
    golden, model_file,
};
use serde_json::{Map, Value, json};
use support::{Package, engine, label, models};

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn open(package: &Package) -> App {
    App::open(&package.dir, package.parsed(), engine(), 1).unwrap()
}

fn open_error(package: &Package) -> inference::error::AppError {
    App::open(&package.dir, package.parsed(), engine(), 1).err().unwrap()
}

#[test]
fn a_table_gives_values_alarms_and_texts() {
    let mut package = Package::table("identity4.onnx");
    package.manifest["pipeline"]["alarms"] = json!([
        {"id": "high", "when": "values.d > params.limit && values['a'] < 10.0", "level": "critical",
         "text": {"zh": "{place}：{value:d}% {label}|{value:none} {", "en": "{place}: {value:b}"}},
        {"id": "quiet", "when": "values.d > 100.0", "level": "notice", "text": {"en": "x"}},
        {"id": "broken", "when": "classes[0].score > 0.5", "level": "notice", "text": {"en": "x"}},
        {"id": "no-bool", "when": "values.a", "level": "notice", "text": {"en": "x"}},
    ]);
    package.manifest["parameters"] =
        json!([{"name": "limit", "type": "number", "default": 8, "min": 0, "max": 100, "title": {"en": "Limit"}}]);
    let mut app = open(&package);
    let out = app.predict(b"s,p,q,r\n4.005,1,2,3\n", &Map::new(), "North {value:b}").unwrap();
    let alarms: Vec<&str> = out.alarms.iter().map(|a| a.rule.as_str()).collect();
    assert_eq!(alarms, ["high"]);
    assert_eq!(out.alarms[0].text.zh, "North {value:b}：9.01% |{value:none} {");
    assert_eq!(out.alarms[0].text.en, "North {value:b}: 5");
    let faults: Vec<&str> = out.rule_faults.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!(faults, ["broken", "no-bool"]);
    let json = serde_json::to_value(&out).unwrap();
    assert_eq!(json["values"][0], json!({"id": "a", "value": 3.0, "unit": "%"}));
    assert!(json.get("classes").is_none() && json.get("detections").is_none());
    let params = |v: Value| json!({"limit": v}).as_object().unwrap().clone();
    assert!(app.predict(b"s,p,q,r\n4,1,2,3\n", &params(json!(50)), "").unwrap().alarms.is_empty());
    assert_eq!(app.predict(b"s,p,q,r\n4,1,2,3\n", &params(json!(101)), "").unwrap_err().code, "parameter-invalid");
    assert_eq!(app.predict(b"s,p,q,r\n4,1,2,3\n", &params(json!("9")), "").unwrap_err().code, "parameter-invalid");
    let unknown = json!({"none": 1}).as_object().unwrap().clone();
    assert_eq!(app.predict(b"s,p,q,r\n4,1,2,3\n", &unknown, "").unwrap_err().code, "parameter-unknown");
    assert_eq!(app.predict(b"s,p,q\n4,1,2\n", &Map::new(), "").unwrap_err().code, "csv-column-missing");
    assert_eq!(app.predict(&vec![b' '; 20_000_001], &Map::new(), "").unwrap_err().code, "input-too-large");
}

#[test]
fn rules_that_are_wrong_or_costly_do_not_open() {
    let mut package = Package::table("identity4.onnx");
    for (when, code) in [
        ("values.a >", "alarm-rule-invalid"),
        ("value.a > 1.0", "alarm-rule-invalid"),
        ("detections.exists(a, classes.exists(b, detections.exists(c, true)))", "alarm-rule-too-complex"),
        ("(classes + classes).exists(a, true)", "alarm-rule-too-complex"),
    ] {
        package.manifest["pipeline"]["alarms"] = json!([{"id": "r", "when": when, "level": "notice", "text": {"en": "x"}}]);
        assert_eq!(open_error(&package).code, code, "{when}");
    }
    let fine =
        "detections.filter(d, d.label == 'x' && d.score > 0.5).size() >= 2 || classes.exists(c, detections.exists(d, d.label == c.label))";
    package.manifest["pipeline"]["alarms"] = json!([{"id": "r", "when": fine, "level": "notice", "text": {"en": "x"}}]);
    open(&package);
}

#[test]
fn classes_are_sorted_and_softmaxed() {
    let mut package = Package::table("identity4.onnx");
    let labels = ["a", "b", "c", "d"].map(label);
    package.manifest["pipeline"]["post"] = json!([{"classes": {"output": "y", "labels": labels, "softmax": true}}]);
    package.manifest["pipeline"]["alarms"] =
        json!([{"id": "r", "when": "classes[0].label == 'b'", "level": "warning", "text": {"zh": "{label}", "en": "{label}"}}]);
    let out = open(&package).predict(b"p,q,r,s\n0,2,1,0\n", &Map::new(), "").unwrap();
    let order: Vec<&str> = out.classes.iter().map(|c| c.label.as_str()).collect();
    assert_eq!(order, ["b", "c", "a", "d"]);
    assert!((out.classes.iter().map(|c| c.score).sum::<f32>() - 1.0).abs() < 1e-6);
    assert!((out.classes[0].score - 0.610_3).abs() < 1e-4);
    assert_eq!((out.alarms[0].text.zh.as_str(), out.alarms[0].text.en.as_str()), ("b中", "b en"));
}

fn boxes_package(fit: &str) -> Package {
    Package::new(
        "image",
        "boxes.onnx",
        (&[1, 3, 64, 64], &[1, 5, 7]),
        json!({"pre": {"image": {"width": 64, "height": 64, "fit": fit}},
               "post": [{"boxes": {"output": "y", "labels": [label("rock"), label("rod")], "score": 0.5, "iou": 0.5}}]}),
        b"",
        &json!({}),
    )
}

#[test]
fn boxes_come_back_to_source_pixels() {
    let package = boxes_package("letterbox");
    // 128x64 becomes 64x32 with 16 pixels of grey above and below.
    let out = open(&package).predict(&png(RgbImage::new(128, 64)), &Map::new(), "").unwrap();
    let got: Vec<_> = out.detections.iter().map(|d| (d.label.as_str(), d.score, d.bbox)).collect();
    // The second rock overlaps the first; the rod is another label; the last is cut at the picture's edge.
    assert_eq!(
        got,
        [("rock", 0.9, [44.0, 22.0, 40.0, 20.0]), ("rod", 0.8, [44.0, 22.0, 40.0, 20.0]), ("rock", 0.7, [100.0, 40.0, 28.0, 16.0])]
    );
    let out = open(&boxes_package("stretch")).predict(&png(RgbImage::new(128, 64)), &Map::new(), "").unwrap();
    assert_eq!(out.detections[0].bbox, [44.0, 27.0, 40.0, 10.0]);
}

#[test]
fn a_grid_gives_one_box_per_connected_group() {
    let package = Package::new(
        "image",
        "grid.onnx",
        (&[1, 1, 8, 8], &[1, 1, 4, 4]),
        json!({"pre": {"image": {"width": 8, "height": 8, "color": "gray"}},
               "post": [{"grid": {"output": "y", "labels": [label("water")], "score": 0.5}}]}),
        b"",
        &json!({}),
    );
    // Cells (0,0),(0,1),(1,1) touch by sides; (3,2) and (2,3) touch only by a corner.
    let hot = [(0, 0, 255), (0, 1, 204), (1, 1, 153), (3, 2, 204), (2, 3, 179)];
    let mut picture = GrayImage::new(8, 8);
    for (row, column, value) in hot {
        for (dx, dy) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            picture.put_pixel(column * 2 + dx, row * 2 + dy, image::Luma([value]));
        }
    }
    let out = open(&package).predict(&png(picture), &Map::new(), "").unwrap();
    let boxes: Vec<_> = out.detections.iter().map(|d| d.bbox).collect();
    assert_eq!(boxes, [[0.0, 0.0, 4.0, 4.0], [4.0, 6.0, 2.0, 2.0], [6.0, 4.0, 2.0, 2.0]]);
    assert_eq!(out.detections[0].score, 1.0);
}

#[test]
fn windows_and_wrong_inputs() {
    let items = ["m", "n"].map(|id| json!({"id": id, "text": {"en": id}}));
    let package = Package::new(
        "timeseries",
        "mean.onnx",
        (&[1, 8, 2], &[1, 2]),
        json!({"pre": {"window": {"columns": ["u", "v"], "length": 8, "mean": [1.0, 0.0]}}, "post": [{"values": {"output": "y", "items": items}}]}),
        b"",
        &json!({}),
    );
    let rows: Vec<String> = (0..10).map(|i| format!("{i},{}", i * 2)).collect();
    let out = open(&package).predict(format!("u,v\n{}", rows.join("\n")).as_bytes(), &Map::new(), "").unwrap();
    assert_eq!((out.values[0].value, out.values[1].value), (4.5, 11.0));
    assert_eq!(open(&package).predict(b"u,v\n1,2\n", &Map::new(), "").unwrap_err().code, "csv-too-few-rows");
    // A cut row before the window changes no result, and a new package holds none.
    let cut = format!("u,v\n7\n{}\n", rows.join("\n"));
    assert_eq!(open(&package).predict(cut.as_bytes(), &Map::new(), "").unwrap().values[1].value, 11.0);
    std::fs::write(package.dir.join("sample.csv"), &cut).unwrap();
    std::fs::write(package.dir.join("sample.json"), r#"{"values": [{"id": "m", "value": 4.5}, {"id": "n", "value": 11}]}"#).unwrap();
    let report = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 5 });
    let last = report.steps.last().unwrap();
    assert_eq!((last.code.as_str(), last.reason.as_deref()), ("golden", Some("csv-field-count")), "{last:?}");
    assert!(last.detail.as_deref().unwrap().contains("row 1") && report.golden.as_ref().unwrap().reproduced == 1);
    let mut pictures = open(&boxes_package("stretch"));
    assert_eq!(pictures.predict(b"GIF89a", &Map::new(), "").unwrap_err().code, "input-not-a-picture");
    assert_eq!(pictures.predict(b"\x89PNG\r\n\x1a\nrubbish", &Map::new(), "").unwrap_err().code, "input-not-a-picture");
    // A header that promises 60,000 x 60,000 pixels is refused before anything is decoded.
    let mut bomb = png(GrayImage::new(1, 1));
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let code = pictures.predict(&bomb, &Map::new(), "").unwrap_err().code;
    assert!(["input-too-large", "input-not-a-picture"].contains(&code), "{code}");
}

#[test]
fn tensors_that_do_not_fit_the_manifest_are_named() {
    let mut package = Package::table("identity4.onnx");
    package.manifest["models"][0]["inputs"][0]["name"] = json!("other");
    let error = open_error(&package);
    assert_eq!(error.code, "tensor-mismatch");
    assert!(error.message.contains("no input `other`") && error.message.contains("`x` of the model is not declared"), "{error}");
    let mut package = Package::table("identity4.onnx");
    package.manifest["pipeline"]["pre"]["columns"]["names"] = json!(["p", "q"]);
    assert!(open_error(&package).message.contains("[1, 2]"));
    let mut package = Package::table("identity4.onnx");
    package.manifest["models"][0]["engine"] = json!({"name": "onnxruntime", "min": "9.0"});
    assert_eq!(open_error(&package).code, "engine-unsuitable");
    let mut app = open(&Package::table("identity4.onnx"));
    let tensor = |shape: Vec<i64>| ("x".to_owned(), TensorData { shape, data: Data::F32(vec![1.0; 4]) });
    assert_eq!(app.infer(None, &[tensor(vec![1, 4])]).unwrap()[0].1.data, Data::F32(vec![1.0; 4]));
    assert_eq!(app.infer(None, &[tensor(vec![1, 5])]).unwrap_err().code, "tensor-shape");
    assert_eq!(app.infer(None, &[tensor(vec![2, 2])]).unwrap_err().code, "engine-failed");
    assert_eq!(
        app.infer(None, &[("x".to_owned(), TensorData { shape: vec![1, 4], data: Data::F64(vec![1.0; 4]) })]).unwrap_err().code,
        "tensor-datatype"
    );
}

#[test]
fn external_data_stays_in_the_package() {
    let root = models();
    let code = |name: &str| model_file::inspect(&root, &root.join(name)).unwrap_err().code;
    let structure = model_file::inspect(&root, &root.join("external_ok.onnx")).unwrap();
    assert_eq!((structure.bytes, structure.external_files), (147 + 16, 1));
    assert_eq!(structure.opsets.keys().collect::<Vec<_>>(), ["ai.onnx"]);
    assert!(structure.operators.values().sum::<u32>() >= 1, "{structure:?}");
    assert_eq!(code("external_parent.onnx"), "external-data-outside");
    assert_eq!(code("external_absolute.onnx"), "external-data-outside");
    assert_eq!(code("weights.bin"), "not-onnx");
    // ONNX Runtime refuses by itself too.
    for name in ["external_parent.onnx", "external_absolute.onnx"] {
        let error = engine().load(&root.join(name), 1).err().unwrap();
        assert_eq!(error.code, "model-load", "{name}");
        assert!(!error.message.contains(root.parent().unwrap().to_str().unwrap()), "{}", error.message);
    }
    let mut package = Package::table("external_ok.onnx");
    assert_eq!(open_error(&package).code, "external-data-missing");
    std::os::unix::fs::symlink(root.join("weights.bin"), package.dir.join("weights.bin")).unwrap();
    assert_eq!(open_error(&package).code, "external-data-outside");
    std::fs::remove_file(package.dir.join("weights.bin")).unwrap();
    std::fs::copy(root.join("weights.bin"), package.dir.join("weights.bin")).unwrap();
    let out = open(&package).predict(b"p,q,r,s\n0,0,0,0\n", &Map::new(), "").unwrap();
    assert_eq!(out.values[3].value, 9.0);
    for name in ["../sample.csv", "/etc/hostname", "none.onnx", ""] {
        package.manifest["models"][0]["file"] = json!(name);
        assert!(["file-missing", "file-outside"].contains(&open_error(&package).code), "{name}");
    }
}

#[test]
fn files_that_are_not_onnx_are_refused() {
    let whole = std::fs::read(models().join("boxes.onnx")).unwrap();
    let package = Package::table("identity4.onnx");
    let model = package.dir.join("model.onnx");
    let cases: [&[u8]; 6] = [b"", b"PK\x03\x04zip", b"\x89PNG\r\n", &[0xff; 64], &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f], b"#!/bin/sh\n"];
    for bytes in cases.into_iter().chain((1..whole.len()).step_by(7).map(|cut| &whole[..cut])) {
        std::fs::write(&model, bytes).unwrap();
        let error = open_error(&package);
        let code = error.code;
        assert!(code == "not-onnx" || code == "model-load" || code == "tensor-mismatch", "{code} for {} bytes", bytes.len());
        assert!(!error.message.contains(package.dir.to_str().unwrap()), "{}", error.message);
    }
}

#[test]
fn golden_samples_are_compared_within_tolerance() {
    let mut package = Package::table("identity4.onnx");
    package.manifest["golden"][0]["truth"] = json!({"values": {"a": [3.2, 0.3], "d": [9.0, 0.0]}});
    let report = golden::run(&mut open(&package));
    assert_eq!((report.reproduced, report.total, report.accuracy), (1, 1, Some(1.0)));
    let check = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 20 });
    assert!(check.passed, "{check:?}");
    let expect = json!({"values": [{"id": "a", "value": 3.5}, {"id": "b", "value": 5}, {"id": "c", "value": 7}, {"id": "d", "value": 9}]});
    std::fs::write(package.dir.join("sample.json"), expect.to_string()).unwrap();
    let report = golden::run(&mut open(&package));
    assert_eq!((report.reproduced, report.samples[0].right), (0, Some(true)));
    assert!(report.samples[0].message.as_deref().unwrap().contains("value `a` is 3, expected 3.5"), "{report:?}");
    let check = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 20 });
    let last = check.steps.last().unwrap();
    assert_eq!((check.passed, last.code.as_str(), last.reason.as_deref()), (false, "golden", Some("golden-mismatch")));
    // What kept a sample from running at all is named itself.
    std::fs::write(package.dir.join("sample.json"), "[1]").unwrap();
    let check = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 20 });
    assert_eq!(check.steps.last().unwrap().reason.as_deref(), Some("expect-unreadable"));
}

#[test]
fn pictures_of_the_listing_must_be_pictures() {
    let mut package = Package::table("identity4.onnx");
    std::fs::create_dir_all(package.dir.join("media")).unwrap();
    // The header alone promises the size; nothing of it is decoded.
    let mut huge = png(GrayImage::new(1, 1));
    huge[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let jpeg = {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(40, 30).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    };
    type Case<'a> = (&'a str, Vec<u8>, Option<&'a [&'a str]>);
    let cases: [Case; 8] = [
        ("cover.png", png(RgbImage::new(1600, 900)), None),
        ("cover.jpg", jpeg, None),
        ("cover.webp", b"RIFF\x1a\0\0\0WEBPVP8L".to_vec(), None),
        ("cover.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), Some(&["media-not-a-picture"])),
        ("cover.webp", png(RgbImage::new(4, 4)), Some(&["media-not-a-picture"])),
        ("cover.png", b"\x89PNG\r\n\x1a\n".to_vec(), Some(&["media-not-a-picture"])),
        ("cover.png", png(GrayImage::new(20_000, 2)), Some(&["media-too-large"])),
        // Its checksum is wrong too.
        ("cover.png", huge, Some(&["media-too-large", "media-not-a-picture"])),
    ];
    for (name, bytes, codes) in cases {
        std::fs::write(package.dir.join("media").join(name), bytes).unwrap();
        package.manifest["media"] = json!([{"file": format!("media/{name}"), "alt": {"en": "x"}}]);
        let report = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 5 });
        let last = report.steps.last().unwrap();
        match codes {
            None => assert!(report.passed, "{report:?}"),
            Some(codes) => {
                assert_eq!((report.passed, last.code.as_str()), (false, "files"));
                assert!(codes.contains(&last.reason.as_deref().unwrap()), "{last:?}");
                assert!(last.detail.as_deref().unwrap().contains(name), "{last:?}");
            }
        }
    }
}

#[test]
fn a_wide_picture_is_refused_and_a_shifted_row_too() {
    let mut pictures = open(&boxes_package("stretch"));
    assert_eq!(pictures.predict(&png(GrayImage::new(100_000, 4)), &Map::new(), "").unwrap_err().code, "input-too-large");
    assert!(pictures.predict(&png(GrayImage::new(16_384, 4)), &Map::new(), "").is_ok());
    let mut table = open(&Package::table("identity4.onnx"));
    assert_eq!(table.predict(b"p,q,r,s\n1,5,2,3,4\n", &Map::new(), "").unwrap_err().code, "csv-field-count");
}

#[test]
fn a_small_prediction_takes_well_under_a_millisecond() {
    let mut package = Package::table("identity4.onnx");
    package.manifest["pipeline"]["alarms"] = json!([{"id": "r", "when": "values.a > 100.0", "level": "notice", "text": {"en": "x"}}]);
    let mut app = open(&package);
    let started = std::time::Instant::now();
    for _ in 0..1_000 {
        app.predict(b"p,q,r,s\n1,2,3,4\n", &Map::new(), "").unwrap();
    }
    let each = started.elapsed() / 1_000;
    println!("{each:?} a prediction");
    assert!(each < std::time::Duration::from_millis(1), "{each:?}");
}
