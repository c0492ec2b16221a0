//! Demo apps and tiny models over test sets, in the confined child that the platform uses.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::float_cmp, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use inference::evaluate::{Evaluation, metrics::Metric};
use inference::{sandbox::Limits, worker};
use serde_json::{Value, json};
use support::{Package, avi, label, lib};

/// The example program, which cargo builds with the tests.
fn child() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().parent().unwrap().join("examples/evaluation_child")
}

fn demo(path: &str) -> PathBuf {
    std::fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(path)).unwrap()
}

/// A tar on disk, gone with the value.
struct Archive(PathBuf);

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Archive {
    fn new(files: &[(String, Vec<u8>)]) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pithead-evaluate-{}-{number}", std::process::id()));
        let mut tar = tar::Builder::new(std::fs::File::create(&path).unwrap());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        tar.finish().unwrap();
        Self(path)
    }

    fn demo(name: &str) -> Self {
        let read = |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
        let files: Vec<_> = std::fs::read_dir(demo("evaluation").join(name)).unwrap().map(|entry| read(entry.unwrap())).collect();
        Self::new(&files)
    }

    /// Ten rows; `p` goes from 0 to 9, and `a` is expected to be that.
    fn table(id: &str, unit: &str) -> Self {
        let mut files = Vec::new();
        let mut samples = Vec::new();
        for n in 0..10 {
            files.push((format!("{n}.csv"), format!("p,q,r,s\n{n},0,0,0\n").into_bytes()));
            files.push((format!("{n}.json"), json!({"values": [{"id": id, "value": n, "unit": unit}]}).to_string().into_bytes()));
            samples.push(json!({"input": format!("{n}.csv"), "expect": format!("{n}.json")}));
        }
        let index: Value = json!({"format": 1, "input": "tabular", "samples": samples});
        files.push(("set.json".into(), index.to_string().into_bytes()));
        Self::new(&files)
    }
}

fn run(dir: &Path, set: &Archive, metric: Metric, limits: &Limits, wall: u64) -> Evaluation {
    let evaluation = worker::run_evaluation(&child(), &[], dir, &set.0, &lib(), metric, limits, Duration::from_secs(wall));
    println!("{evaluation:?}");
    evaluation
}

fn score(dir: &Path, set: &Archive, metric: Metric) -> Evaluation {
    run(dir, set, metric, &Limits::default(), 60)
}

fn reason(package: &Package, set: &Archive, metric: Metric) -> String {
    let evaluation = score(&package.write_yaml().dir, set, metric);
    assert_eq!(evaluation.value, None);
    evaluation.reason.unwrap()
}

/// The figures were worked out apart from this code, by a program in Python with its own pre- and post-processing and its own mAP.
#[test]
fn demo_apps_get_the_figures_that_python_worked_out() {
    let belt = Archive::demo("belt-foreign-object");
    let evaluation = score(&demo("apps/belt-foreign-object"), &belt, Metric::Map50);
    assert!((evaluation.value.unwrap() - 0.944_444_4).abs() < 1e-6, "{evaluation:?}");
    assert_eq!((evaluation.samples, evaluation.failures, evaluation.reason), (16, 0, None));
    assert!(evaluation.engine.starts_with("onnxruntime ") && evaluation.hardware.unwrap().cores > 0);
    let confinement = evaluation.confinement.unwrap();
    assert!(confinement.seccomp && confinement.limits, "{confinement:?}");
    let coke = Archive::demo("coke-quality");
    let evaluation = score(&demo("apps/coke-quality"), &coke, Metric::Mae);
    assert!((evaluation.value.unwrap() - 1.493_195_5).abs() < 1e-4, "{evaluation:?}");
    assert_eq!((evaluation.samples, evaluation.failures), (60, 0));
}

#[test]
fn apps_that_do_not_fit_a_set_are_told_why() {
    let coke = Archive::demo("coke-quality");
    let told = |app: &str| score(&demo(app), &coke, Metric::Mae).reason.unwrap();
    assert_eq!(told("apps/belt-foreign-object"), "input-kind-differs");
    assert_eq!(told("apps/drill-cuttings"), "output-kind-differs");
    let fire = score(&demo("apps/smoke-fire"), &Archive::demo("belt-foreign-object"), Metric::Map50);
    assert_eq!((fire.reason.as_deref(), fire.samples), (Some("labels-differ"), 16));
    let package = Package::table("identity4.onnx");
    assert_eq!(reason(&package, &Archive::table("none", "%"), Metric::Rmse), "value-missing");
    assert_eq!(reason(&package, &Archive::table("a", "MPa"), Metric::Rmse), "unit-differs");
    // The set's tables have no such column.
    let mut package = Package::table("identity4.onnx");
    package.manifest["pipeline"]["pre"] = json!({"columns": {"names": ["p", "q", "r", "other"]}});
    assert_eq!(reason(&package, &Archive::table("a", "%"), Metric::Rmse), "csv-column-missing");
}

#[test]
fn errors_of_a_known_model_are_as_on_paper() {
    // a = 2 p + 1 where p is expected: errors 1 to 10, mean 5.5, mean square 38.5.
    let package = Package::table("identity4.onnx");
    let set = Archive::table("a", "%");
    let dir = &package.write_yaml().dir;
    assert_eq!(score(dir, &set, Metric::Mae).value, Some(5.5));
    assert!((score(dir, &set, Metric::Rmse).value.unwrap() - 38.5f64.sqrt()).abs() < 1e-12);
}

/// One who comes from the left, stands in the middle for four seconds, and goes on to the right, white on black; `gone` leaves the clip empty.
fn walk(gone: bool) -> Vec<u8> {
    let is_person = |left: u32, x: u32, y: u32| !gone && (20..32).contains(&y) && (left..left + 6).contains(&x);
    let frame = |left: u32| image::RgbImage::from_fn(64, 36, |x, y| image::Rgb([if is_person(left, x, y) { 255 } else { 0 }; 3]));
    let way = (0..15).map(|n| n * 2).chain([28; 20]).chain((14..29).map(|n| n * 2));
    avi(&way.map(frame).collect::<Vec<_>>())
}

/// An app that follows people, with names of its own: a stay from 1.8 to 8.4 s, an alarm of it from 2.2 s, and the line at 9 s.
fn watcher() -> Package {
    let spots = json!({"model": {
        "name": "spots", "file": "spots.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1, 36, 64]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1, 36, 64]}],
        "pre": {"image": {"width": 64, "height": 36, "color": "gray"}},
        "post": [{"grid": {"output": "y", "labels": [label("person")], "score": 0.5}}],
    }});
    let track = json!({"track": {"lost": "1s", "confirm": "0.2s"}});
    let mut package = Package::steps("video", json!([spots]), &walk(false), &json!({}));
    package.manifest["steps"].as_array_mut().unwrap().push(track);
    package.manifest["scene"] = json!({
        "zones": [{"id": "fence", "title": {"en": "Fence"}, "enter": "0.4s", "leave": "0.4s"}], "lines": [{"id": "gate", "title": {"en": "Gate"}}],
    });
    package.manifest["alarms"] = json!([
        {"id": "inside", "level": "warning", "per": "zone", "hold": "1s", "text": {"en": "x"}, "when": "zones.fence.count > 0"},
        {"id": "dark", "level": "notice", "text": {"en": "x"}, "when": "now > 3.0"},
    ]);
    package
}

/// Ten clips, in the first eight of which somebody comes; what is expected of these.
fn clips(names: [&str; 2], expected: &Value) -> Archive {
    let [zone, line] = names;
    let mut files = Vec::new();
    let mut samples = Vec::new();
    for n in 0..10 {
        let nothing = json!({"events": [], "counts": {"lines": {line: {}}}});
        files.push((format!("{n}.avi"), walk(n >= 8)));
        files.push((format!("{n}.json"), if n < 8 { expected } else { &nothing }.to_string().into_bytes()));
        samples.push(json!({"input": format!("{n}.avi"), "expect": format!("{n}.json")}));
    }
    let scene = json!({"zones": {zone: [[0.3, 0.5], [0.7, 0.5], [0.7, 1], [0.3, 1]]}, "lines": {line: [[0.8, 1], [0.8, 0.1]]}});
    let index = json!({"format": 1, "input": "video", "scene": scene, "samples": samples});
    files.push(("set.json".into(), index.to_string().into_bytes()));
    Archive::new(&files)
}

#[test]
fn what_happened_in_clips_is_held_against_what_an_app_tells() {
    let package = watcher();
    let dir = &package.write_yaml().dir;
    // The set has names of its own; where each has one zone and one line, they are the same.
    let stay = json!({"zone": "danger", "label": "person", "begin": 2.0, "end": 8.0});
    let gate = json!({"line": "door", "direction": "in", "begin": 9.2});
    let set = clips(["danger", "door"], &json!({"events": [stay, gate], "counts": {"lines": {"door": {"in": 1, "out": 2}}}}));
    for metric in [Metric::EventF1, Metric::EventPrecision, Metric::EventRecall] {
        let evaluation = score(dir, &set, metric);
        assert_eq!(
            (evaluation.value, evaluation.samples, evaluation.failures),
            (Some(1.0), 10, 0),
            "{metric:?}: alarms are not judged here"
        );
    }
    // Of two counts in each of eight clips one is 2 off, of those of two clips none.
    assert!((score(dir, &set, Metric::CrossingMae).value.unwrap() - 16.0 / 20.0).abs() < 1e-9);
    // A stay that the app does not see, and a crossing noted two seconds too soon.
    let second = json!({"zone": "danger", "begin": 10.0, "end": 10.0});
    let late = json!({"line": "door", "direction": "in", "begin": 7.0});
    let set = clips(["danger", "door"], &json!({"events": [stay, second, late]}));
    assert!((score(dir, &set, Metric::EventRecall).value.unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert!((score(dir, &set, Metric::EventPrecision).value.unwrap() - 0.5).abs() < 1e-9);
    // Of two rules the id decides; the alarm's zone is named as the set names it.
    let alarm = json!({"rule": "inside", "zone": "danger", "begin": 2.2});
    assert_eq!(score(dir, &clips(["danger", "door"], &json!({"events": [alarm]})), Metric::EventF1).value, Some(1.0));
    let other = clips(["danger", "door"], &json!({"events": [{"rule": "intrusion", "begin": 2.2}]}));
    assert_eq!(score(dir, &other, Metric::EventF1).reason.as_deref(), Some("names-differ"));
    let steps = clips(["danger", "door"], &json!({"events": [{"procedure": "round", "begin": 2.2}]}));
    assert_eq!(score(dir, &steps, Metric::EventF1).reason.as_deref(), Some("output-kind-differs"));
    assert_eq!(score(&demo("apps/belt-foreign-object"), &set, Metric::EventF1).reason.as_deref(), Some("input-kind-differs"));
}

#[test]
fn a_model_that_hangs_or_eats_memory_ends_with_a_reason() {
    let set = Archive::table("a", "%");
    let ended =
        |model: &str, limits: &Limits, wall| run(&Package::table(model).write_yaml().dir, &set, Metric::Mae, limits, wall).reason.unwrap();
    assert_eq!(ended("hang.onnx", &Limits::default(), 2), "timed-out");
    assert_eq!(ended("hang.onnx", &Limits { cpu_seconds: 1, ..Limits::default() }, 30), "cpu-limit");
    assert_eq!(ended("hungry.onnx", &Limits::default(), 60), "out-of-memory");
}

#[test]
fn a_broken_set_or_child_is_a_reason_too() {
    let package = Package::table("identity4.onnx");
    let broken = Archive::new(&[("set.json".into(), b"{}".to_vec())]);
    assert_eq!(reason(&package, &broken, Metric::Mae), "set-unreadable");
    let set = Archive::table("a", "%");
    let shell = |script: &str| {
        let (sh, limits) = (PathBuf::from("/bin/sh"), Limits::default());
        worker::run_evaluation(&sh, &["-c", script], &package.dir, &set.0, &lib(), Metric::Mae, &limits, Duration::from_secs(10))
            .reason
            .unwrap()
    };
    assert_eq!(shell("kill -SEGV $$"), "crashed-signal-11");
    assert_eq!(shell("echo rubbish"), "crashed-exit-0");
    let none = worker::run_evaluation(
        &PathBuf::from("/none"),
        &[],
        &package.dir,
        &set.0,
        &lib(),
        Metric::Mae,
        &Limits::default(),
        Duration::from_secs(1),
    );
    assert_eq!(none.reason.as_deref(), Some("check-not-started"));
}

#[test]
fn sound_is_scored() {
    let app = demo("format-2/idler-fault");
    let set = |input: &dyn Fn(usize) -> Vec<u8>| {
        let truths = ["bearing", "healthy", "friction", "healthy", "bearing"];
        let (mut files, mut samples) = (Vec::new(), Vec::new());
        for n in 0..10 {
            files.push((format!("{n}.in"), input(n % 5 + 1)));
            files.push((format!("{n}.json"), json!({"classes": [{"label": truths[n % 5]}]}).to_string().into_bytes()));
            samples.push(json!({"input": format!("{n}.in"), "expect": format!("{n}.json")}));
        }
        files.push(("set.json".into(), json!({"format": 1, "input": "audio", "samples": samples}).to_string().into_bytes()));
        Archive::new(&files)
    };
    let heard = set(&|n| std::fs::read(app.join(format!("golden/{n}.wav"))).unwrap());
    let evaluation = score(&app, &heard, Metric::Accuracy);
    assert_eq!(
        (evaluation.value, evaluation.samples, evaluation.failures, evaluation.reason),
        (Some(0.8), 10, 0, None),
        "the fourth is taken for a bearing"
    );
    // What is CSV is for apps that read no WAV.
    let table = set(&|_| b"amplitude\n0\n".to_vec());
    assert_eq!(score(&app, &table, Metric::Accuracy).reason.as_deref(), Some("input-kind-differs"));
}
