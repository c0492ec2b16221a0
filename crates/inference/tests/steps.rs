//! Several models in a row, sound with a state, and inputs for each column, through real models on ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp, clippy::panic, reason = "tests")]

mod support;

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use inference::{
    app::App,
    check::{self, CheckOptions},
    engine::{Data, TensorData},
};
use serde_json::{Map, Value, json};
use support::{Package, engine, label};

fn open(package: &Package) -> App {
    // By way of the text, as a check reads it.
    let text = serde_json::to_string(&package.manifest).unwrap();
    let manifest = app_package::validate::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    App::open(&package.dir, manifest, engine(), 1).unwrap()
}

fn items(ids: &[&str]) -> Vec<Value> {
    ids.iter().map(|id| json!({"id": id, "text": {"en": id}})).collect()
}

fn labels(ids: &[&str]) -> Vec<Value> {
    ids.iter().map(|id| label(id)).collect()
}

/// A picture of 64 × 64 that is red left of its middle and green right of it.
fn picture() -> Vec<u8> {
    let picture = RgbImage::from_fn(64, 64, |x, _| if x < 32 { Rgb([255, 0, 0]) } else { Rgb([0, 255, 0]) });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn tensor(name: &str, datatype: &str, shape: &[i64]) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape})
}

/// A detector, and a model that tells the colours of each rock and values of each rod.
fn two_stages(of: Value) -> Package {
    let boxes = json!({"model": {
        "name": "finder", "file": "boxes.onnx",
        "inputs": [tensor("x", "FP32", &[1, 3, 64, 64])], "outputs": [tensor("y", "FP32", &[1, 5, 7])],
        "pre": {"image": {"width": 64, "height": 64}},
        "post": [{"boxes": {"output": "y", "labels": [label("rock"), label("rod")], "score": 0.5, "iou": 0.5, "row": ["box", "objectness", "scores"]}}],
    }});
    let means = |name: &str, of: Value, post: Value| {
        json!({"model": {
            "name": name, "file": "means.onnx", "of": of,
            "inputs": [tensor("x", "FP32", &[-1, 3, -1, -1])], "outputs": [tensor("y", "FP32", &[-1, 3])],
            "pre": {"image": {"width": 8, "height": 8, "filter": "nearest"}}, "post": [post],
        }})
    };
    let colours = means("colours", of, json!({"classes": {"output": "y", "labels": labels(&["red", "green", "blue"]), "top": 1}}));
    let sizes = means("sizes", json!({"labels": ["rod"]}), json!({"values": {"output": "y", "items": items(&["r", "g", "b"])}}));
    Package::steps("image", json!([boxes, colours, sizes]), &picture(), &json!({}))
}

#[test]
fn a_second_model_runs_for_each_object() {
    let mut package = two_stages(json!({"labels": ["rock"], "max": 5}));
    package.manifest["alarms"] = json!([
        {"id": "green", "level": "warning", "text": {"en": "{label}"},
         "when": "detections.exists(d, d.label == 'rock' && d.classes.size() > 0 && d.classes[0].label == 'green' && d.classes[0].model == 'colours')"},
        {"id": "level", "level": "notice", "text": {"en": "x"}, "when": "detections.exists(d, d.values.r > 0.0 && d.values.r < 1.0 && d.model == 'finder')"},
        // What an object does not have is neutral, and no rule fails.
        {"id": "never", "level": "notice", "text": {"en": "x"},
         "when": "texts.size() > 0 || detections.exists(d, d.text.contains('x') || d.angle != 0.0 || d.area > 0.0 || d.values.g > 1.0)"},
    ]);
    let mut app = open(&package);
    let out = app.predict(&picture(), &Map::new(), "North").unwrap();
    assert!(out.rule_faults.is_empty(), "{:?}", out.rule_faults);
    // Rocks at the middle (red and green) and at the right (green), a rod at the middle, as `boxes.onnx` has them.
    let told: Vec<(&str, &str, usize)> = out
        .detections
        .iter()
        .map(|d| (d.label.as_str(), d.said.classes.first().map_or("", |class| class.label.as_str()), d.said.values.len()))
        .collect();
    assert_eq!(told, [("rock", "red", 0), ("rod", "", 3), ("rock", "green", 0)]);
    assert_eq!(out.alarms.iter().map(|a| a.rule.as_str()).collect::<Vec<_>>(), ["green", "level"]);
    assert!(out.classes.is_empty() && out.values.is_empty(), "they are of objects");
    let json = serde_json::to_value(&out).unwrap();
    assert_eq!(json["detections"][0]["model"], "finder");
    assert_eq!(json["detections"][2]["classes"], json!([{"label": "green", "score": 1.0, "model": "colours"}]));
    assert_eq!(serde_json::from_value::<inference::output::AppOutput>(json).unwrap(), out);
}

#[test]
fn few_objects_and_grown_ones() {
    let best = |of: Value| {
        let out = open(&two_stages(of)).predict(&picture(), &Map::new(), "").unwrap();
        out.detections.iter().filter(|d| !d.said.classes.is_empty()).count()
    };
    assert_eq!((best(json!({})), best(json!({"max": 1})), best(json!({"expand": 1.0, "square": true}))), (3, 1, 3));
}

#[test]
fn a_check_covers_all_models() {
    let mut package = two_stages(json!({}));
    let out = open(&package).predict(&picture(), &Map::new(), "").unwrap();
    let expected = inference::output::AppOutput { alarms: Vec::new(), ..out };
    std::fs::write(package.dir.join("sample.json"), expected.to_file()).unwrap();
    let options = CheckOptions { iterations: 1 };
    let report = check::run(&package.dir, &package.parsed(), engine(), &options);
    assert!(report.passed, "{:?}", report.steps);
    let card = report.run_card.unwrap();
    assert_eq!(card.structure.unwrap().operators["ReduceMean"], 2, "operators of all models");
    assert!(card.odd_inputs.iter().any(|odd| odd.input == "not-a-number" && odd.outcome == "answered-not-finite"));
    // What one of them says of an object is compared.
    let mut wrong = serde_json::to_value(&expected).unwrap();
    wrong["detections"][2]["classes"][0]["label"] = json!("blue");
    std::fs::write(package.dir.join("sample.json"), wrong.to_string()).unwrap();
    let report = check::run(&package.dir, &package.parsed(), engine(), &options);
    let last = report.steps.last().unwrap();
    assert_eq!((last.code.as_str(), last.reason.as_deref()), ("golden", Some("golden-mismatch")));
    assert!(last.detail.as_ref().unwrap().contains("`rock`: class `blue` is missing"), "{last:?}");
    // A fault says of which model it is.
    package.manifest["steps"][2]["model"]["outputs"][0]["datatype"] = json!("FP64");
    let refused = App::open(&package.dir, package.parsed(), engine(), 1).err().unwrap();
    assert!(refused.code == "tensor-mismatch" && refused.message.starts_with("model `sizes`: output `y`"), "{refused}");
}

/// The first sample's picture and its expected result, and how the check ends.
fn checked(package: &Package, expected: &inference::output::AppOutput) -> check::CheckReport {
    std::fs::write(package.dir.join("sample.json"), expected.to_file()).unwrap();
    check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 1 })
}

#[test]
fn a_mismatch_names_what_would_agree() {
    // Red is where the training had blue.
    let colours = |color: &str| {
        let step = json!({"model": {
            "name": "colours", "file": "means.onnx",
            "inputs": [tensor("x", "FP32", &[-1, 3, -1, -1])], "outputs": [tensor("y", "FP32", &[-1, 3])],
            "pre": {"image": {"width": 8, "height": 8, "color": color}},
            "post": [{"classes": {"output": "y", "labels": labels(&["first", "second", "third"])}}],
        }});
        Package::steps("image", json!([step]), &picture(), &json!({}))
    };
    let expected = open(&colours("bgr")).predict(&picture(), &Map::new(), "").unwrap();
    let report = checked(&colours("rgb"), &expected);
    let last = report.steps.last().unwrap();
    assert_eq!((last.code.as_str(), last.reason.as_deref()), ("golden", Some("golden-mismatch")));
    assert!(last.detail.as_ref().unwrap().ends_with("; with `color: bgr` 1 of 1 are reproduced"), "{last:?}");
    // Where nothing agrees, nothing is said.
    let mut other = expected;
    other.classes[0].score = 7.0;
    let report = checked(&colours("rgb"), &other);
    assert!(!report.steps.last().unwrap().detail.as_ref().unwrap().contains("reproduced; with"), "{report:?}");
}

#[test]
fn samples_without_an_object_are_remarked_upon() {
    let notice = |score: f64| {
        let mut package = two_stages(json!({}));
        package.manifest["steps"][0]["model"]["post"][0]["boxes"]["score"] = json!(score);
        let expected = open(&package).predict(&picture(), &Map::new(), "").unwrap();
        let report = checked(&package, &expected);
        assert!(report.passed, "{:?}", report.steps);
        report.steps.iter().find(|step| step.code == "golden").unwrap().notice.clone()
    };
    assert_eq!((notice(0.5), notice(1.0).as_deref()), (None, Some("golden-blind")));
}

#[test]
fn models_are_served_by_name() {
    let mut app = open(&two_stages(json!({})));
    let ones = |shape: Vec<i64>| {
        let elements = shape.iter().product::<i64>();
        ("x".to_owned(), TensorData { shape, data: Data::F32(vec![1.0; usize::try_from(elements).unwrap()]) })
    };
    assert_eq!(app.infer(Some("sizes"), &[ones(vec![1, 3, 2, 2])]).unwrap()[0].1.shape, [1, 3]);
    assert_eq!(app.infer(None, &[ones(vec![1, 3, 64, 64])]).unwrap()[0].1.shape, [1, 5, 7]);
    assert_eq!(app.infer(Some("none"), &[]).unwrap_err().code, "model-unknown");
}

fn wav(samples: &[i16], rate: u32) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let size = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let format = [
        &1u16.to_le_bytes()[..],
        &1u16.to_le_bytes(),
        &rate.to_le_bytes(),
        &(rate * 2).to_le_bytes(),
        &2u16.to_le_bytes(),
        &16u16.to_le_bytes(),
    ]
    .concat();
    [b"RIFF", &size(36 + data.len())[..], b"WAVEfmt ", &size(16), &format, b"data", &size(data.len()), &data].concat()
}

fn adder(over: &str) -> Package {
    let step = json!({"model": {
        "name": "adder", "file": "adder.onnx",
        "inputs": [tensor("x", "FP32", &[-1, 6]), tensor("state", "FP32", &[1]), tensor("sr", "INT64", &[1])],
        "outputs": [tensor("y", "FP32", &[2]), tensor("next", "FP32", &[1])],
        "pre": {"sound": {"rate": 8000, "length": 4, "context": 2, "over": over}},
        "feed": {"sr": "sample-rate"}, "state": [{"in": "state", "out": "next"}],
        "post": [{"values": {"output": "y", "items": items(&["sum", "rate"])}}],
    }});
    Package::steps("audio", json!([step]), &wav(&[16_384; 13], 8_000), &json!({}))
}

#[test]
fn sound_has_a_state_from_window_to_window() {
    // Windows of 4 with the 2 before: 2, 3 and 3 halves' sums; one sample is left over.
    for (over, sum) in [("last", 8.0), ("max", 8.0), ("mean", (2.0 + 5.0 + 8.0) / 3.0)] {
        let mut app = open(&adder(over));
        for _ in 0..2 {
            let out = app.predict(&wav(&[16_384; 13], 8_000), &Map::new(), "").unwrap();
            assert_eq!((out.values[0].value, out.values[1].value), (sum, 8.0), "{over}: each recording begins anew");
        }
        assert_eq!(app.predict(&wav(&[0; 3], 8_000), &Map::new(), "").unwrap_err().code, "sound-too-short");
        assert_eq!(app.predict(b"a\n1\n", &Map::new(), "").unwrap_err().code, "input-not-sound");
    }
    let package = adder("last");
    std::fs::write(package.dir.join("sample.json"), json!({"values": [{"id": "sum", "value": 8}, {"id": "rate", "value": 8}]}).to_string())
        .unwrap();
    let report = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 1 });
    assert!(report.passed, "{:?}", report.steps);
}

#[test]
fn an_input_for_each_column_takes_texts_and_gaps() {
    let names = json!([{"name": "maker", "type": "text", "missing": "empty"}, {"name": "age", "missing": "nan"}, "hours"]);
    let step = json!({"model": {
        "name": "frame", "file": "frame.onnx",
        "inputs": [tensor("age", "FP32", &[-1, 1]), tensor("maker", "BYTES", &[-1, 1]), tensor("hours", "INT64", &[-1, 1])],
        "outputs": [tensor("y", "FP32", &[-1, 3])],
        "pre": {"columns": {"names": names, "each": true}},
        "post": [{"values": {"output": "y", "items": items(&["maker", "age", "hours"])}}],
    }});
    let sample = b"hours,maker,age\n7,south,\n";
    let expect = json!({"values": [{"id": "maker", "value": 0.5}, {"id": "age", "value": -1}, {"id": "hours", "value": 7}]});
    let mut package = Package::steps("tabular", json!([step]), sample, &expect);
    let mut app = open(&package);
    let mut row =
        |csv: &str| app.predict(csv.as_bytes(), &Map::new(), "").map(|out| out.values.iter().map(|v| v.value).collect::<Vec<_>>());
    assert_eq!(row("hours,maker,age\n7,south,\n").unwrap(), [0.5, -1.0, 7.0]);
    assert_eq!(row("hours,maker,age\n9007199254740993,,2.5\n").unwrap()[..2], [1.0, 2.5]);
    assert_eq!(row("hours,maker,age\n,north,2.5\n").unwrap_err().code, "csv-not-a-number");
    let report = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 1 });
    assert!(report.passed, "{:?}", report.steps);
    // Whole numbers have no NaN, and a text is no number.
    for (name, column, words) in
        [("hours", json!({"name": "hours", "missing": "nan"}), "no NaN"), ("age", json!({"name": "age", "type": "text"}), "holds text")]
    {
        let place = if name == "hours" { 2 } else { 1 };
        let kept = package.manifest["steps"][0]["model"]["pre"]["columns"]["names"][place].clone();
        package.manifest["steps"][0]["model"]["pre"]["columns"]["names"][place] = column;
        let refused = App::open(&package.dir, package.parsed(), engine(), 1).err().unwrap();
        assert!(refused.code == "tensor-mismatch" && refused.message.contains(words), "{refused}");
        package.manifest["steps"][0]["model"]["pre"]["columns"]["names"][place] = kept;
    }
}

/// The boxes of `boxes.onnx`, whatever picture it sees, in each of two tiles.
#[test]
fn what_is_found_in_tiles_is_found_in_the_picture() {
    let step = |tiles: Value| {
        json!({"model": {
            "name": "finder", "file": "boxes.onnx",
            "inputs": [tensor("x", "FP32", &[1, 3, 64, 64])], "outputs": [tensor("y", "FP32", &[1, 5, 7])],
            "pre": {"image": {"width": 64, "height": 64, "tiles": tiles}},
            "post": [{"boxes": {"output": "y", "labels": [label("rock"), label("rod")], "score": 0.5, "iou": 0.5, "row": ["box", "objectness", "scores"], "max": 5}}],
        }})
    };
    let png = |w, h| {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(w, h).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let wide = png(100, 64);
    let package = Package::steps("image", json!([step(json!({"width": 64, "height": 64}))]), &wide, &json!({}));
    let mut app = open(&package);
    let out = app.predict(&wide, &Map::new(), "").unwrap();
    let found: Vec<(&str, [f32; 4])> = out.detections.iter().map(|d| (d.label.as_str(), d.bbox)).collect();
    // Two rocks and a rod in each; the last is beyond `max`.
    assert_eq!(
        found,
        [
            ("rock", [22.0, 27.0, 20.0, 10.0]),
            ("rock", [58.0, 27.0, 20.0, 10.0]),
            ("rod", [22.0, 27.0, 20.0, 10.0]),
            ("rod", [58.0, 27.0, 20.0, 10.0]),
            ("rock", [50.0, 36.0, 14.0, 8.0]),
        ]
    );
    assert_eq!(app.predict(&png(64, 64), &Map::new(), "").unwrap().detections.len(), 3);
    assert_eq!(app.predict(&png(600, 600), &Map::new(), "").unwrap_err().code, "too-many-tiles");
    // The whole picture once more: the same boxes, twice as large in all, hold those of the tiles.
    let package =
        Package::steps("image", json!([step(json!({"width": 64, "height": 64, "overlap": 0, "whole": true}))]), &wide, &json!({}));
    let out = open(&package).predict(&png(128, 128), &Map::new(), "").unwrap();
    assert!(out.detections.iter().any(|d| d.bbox == [44.0, 54.0, 40.0, 20.0]), "{:?}", out.detections);
    std::fs::write(package.dir.join("sample.json"), open(&package).predict(&wide, &Map::new(), "").unwrap().to_file()).unwrap();
    let report = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 1 });
    assert!(report.passed, "{:?}", report.steps);
}

#[test]
fn a_window_of_numbers_is_what_the_camera_means() {
    let gray16 = |value: u16| {
        let mut bytes = Cursor::new(Vec::new());
        image::ImageBuffer::<image::Luma<u16>, _>::from_pixel(5, 4, image::Luma([value])).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let step = |filter: &str| {
        json!({"model": {
            "name": "means", "file": "means.onnx",
            "inputs": [tensor("x", "FP32", &[-1, 3, -1, -1])], "outputs": [tensor("y", "FP32", &[-1, 3])],
            "pre": {"image": {"width": 3, "height": 3, "filter": filter, "window": [1000, 2000]}},
            "post": [{"values": {"output": "y", "items": items(&["r", "g", "b"])}}],
        }})
    };
    let filters =
        ["linear", "linear-float", "linear-antialias", "cubic", "cubic-antialias", "lanczos", "lanczos-antialias", "area", "nearest"];
    for filter in filters {
        let mut app = open(&Package::steps("image", json!([step(filter)]), &gray16(1), &json!({})));
        for (value, wanted) in [(1_251, 0.251), (0, 0.0), (1_000, 0.0), (2_000, 1.0), (65_535, 1.0)] {
            let out = app.predict(&gray16(value), &Map::new(), "").unwrap();
            assert!(out.values.iter().all(|v| (v.value - wanted).abs() < 1e-6), "{filter} {value}: {:?}", out.values);
        }
        assert_eq!(app.predict(&picture(), &Map::new(), "").unwrap_err().code, "picture-not-16-bit");
    }
}

#[test]
fn a_model_reads_spectra() {
    let spectrum = json!({"rate": 100, "fft": 4, "hop": 4, "window": "none", "layout": "nctf"});
    let step = json!({"model": {
        "name": "means", "file": "means.onnx",
        "inputs": [tensor("x", "FP32", &[-1, 3, -1, -1])], "outputs": [tensor("y", "FP32", &[-1, 3])],
        "pre": {"window": {"columns": ["a", "b", "c"], "length": 8, "spectrum": spectrum}},
        "post": [{"values": {"output": "y", "items": items(&["a", "b", "c"])}}],
    }});
    // Of what stands still the first of three frequencies has all four samples, of what changes its sign each time the last one.
    let rows = (0..9).map(|n| if n % 2 == 0 { "2,1,0\n" } else { "2,-1,0\n" }).collect::<String>();
    let csv = format!("a,b,c\n{rows}");
    let expect = json!({"values": [{"id": "a", "value": 8.0 / 3.0}, {"id": "b", "value": 4.0 / 3.0}, {"id": "c", "value": 0}]});
    let package = Package::steps("timeseries", json!([step]), csv.as_bytes(), &expect);
    open(&package);
    let report = check::run(&package.dir, &package.parsed(), engine(), &CheckOptions { iterations: 1 });
    assert!(report.passed, "{:?}", report.steps);

    let spectrum = json!({"fft": 4, "hop": 4, "window": "none", "layout": "flat"});
    let step = json!({"model": {
        "name": "adder", "file": "adder.onnx",
        "inputs": [tensor("x", "FP32", &[-1, 6]), tensor("state", "FP32", &[1]), tensor("sr", "INT64", &[1])],
        "outputs": [tensor("y", "FP32", &[2]), tensor("next", "FP32", &[1])],
        "pre": {"sound": {"rate": 8000, "length": 8, "over": "last", "spectrum": spectrum}},
        "feed": {"sr": "sample-rate"}, "state": [{"in": "state", "out": "next"}],
        "post": [{"values": {"output": "y", "items": items(&["sum", "rate"])}}],
    }});
    // Two windows of two frames, each with four halves at 0 Hz.
    let sound = wav(&[16_384; 17], 8_000);
    let out = open(&Package::steps("audio", json!([step]), &sound, &json!({}))).predict(&sound, &Map::new(), "").unwrap();
    assert_eq!((out.values[0].value, out.values[1].value), (8.0, 8.0));
}

/// The apps of the market's demo, of format 1, and those of `demo/format-2`, each of another kind of input or result.
#[test]
fn the_apps_of_the_demo_give_what_they_promise() {
    let mut seen = 0;
    for format in ["apps", "format-2"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(format);
        for entry in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            let yaml = std::fs::read_to_string(entry.path().join("app.yaml")).unwrap();
            let manifest = app_package::validate::parse(&yaml).unwrap_or_else(|faults| panic!("{}: {faults:#?}", entry.path().display()));
            assert_eq!(inference::examine::examine(&entry.path(), &manifest), [], "{}", entry.path().display());
            let mut app = App::open(&entry.path(), manifest, engine(), 1).unwrap();
            let golden = inference::golden::run(&mut app);
            let worst = golden.samples.iter().map(|sample| sample.worst_difference).fold(0.0, f64::max);
            println!("{}: at most {worst:e} from what is promised", entry.path().display());
            assert!(golden.total > 2 && golden.reproduced == golden.total, "{}: {golden:#?}", entry.path().display());
            seen += 1;
        }
    }
    assert!(seen > 13, "{seen}");
}
