//! Untrusted models in a confined child: whatever they do, the parent gets a report with the reason.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{path::PathBuf, time::Duration};

use inference::{check::CheckReport, sandbox::Limits, worker};
use support::{Package, lib};

/// The example program, which cargo builds with the tests.
fn child() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().parent().unwrap().join("examples/check_child")
}

fn run(package: &Package, limits: &Limits, wall: u64) -> CheckReport {
    package.write_yaml();
    let report = worker::run_check(&child(), &[], &package.dir, &lib(), limits, Duration::from_secs(wall));
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    report
}

fn reason(report: &CheckReport) -> (&str, &str) {
    assert!(!report.passed);
    let last = report.steps.last().unwrap();
    (last.code.as_str(), last.reason.as_deref().unwrap())
}

#[test]
fn a_good_package_passes_with_its_run_card() {
    let report = run(&Package::table("identity4.onnx"), &Limits::default(), 60);
    assert!(report.passed, "{report:?}");
    assert_eq!(report.steps.iter().map(|s| s.code.as_str()).collect::<Vec<_>>(), inference::check::STEPS);
    let card = report.run_card.unwrap();
    assert!(card.latency_ms.median > 0.0 && card.latency_ms.median < 1.0 && card.peak_memory_bytes > 0, "{card:?}");
    assert_eq!((card.engine.as_str(), card.model_bytes, card.input.as_str()), ("onnxruntime", 81, "1x4"));
    let confinement = report.confinement.unwrap();
    assert!(confinement.seccomp && confinement.limits, "{confinement:?}");
}

/// A library of its own: other tests of this file work on the machine, too, and some never end.
fn own_lib(name: &str) -> PathBuf {
    let real = std::fs::canonicalize(lib()).unwrap();
    let folder = std::env::temp_dir().join(format!("pithead-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let own = folder.join(real.file_name().unwrap());
    std::fs::copy(&real, &own).unwrap();
    own
}

#[test]
fn checks_beside_each_other_measure_one_after_the_other() {
    let own = own_lib("beside");
    let two = [own.clone(), own.clone()].map(|lib| {
        std::thread::spawn(move || {
            let package = Package::table("identity4.onnx");
            package.write_yaml();
            worker::run_check(&child(), &[], &package.dir, &lib, &Limits::default(), Duration::from_mins(1))
        })
    });
    for report in two.map(|check| check.join().unwrap()) {
        let how = report.run_card.unwrap().latency_ms.measured.unwrap();
        // Each waited for the other; whether the machine was quiet is its own matter.
        assert!(how.alone && how.runs >= 300 && how.rounds >= 3 && how.cpu_ms > 0.0, "{how:?}");
        let sample = &report.golden.unwrap().samples[0];
        assert!(sample.runs == how.runs && sample.latency_ms > 0.0, "{sample:?}");
    }
    std::fs::remove_dir_all(own.parent().unwrap()).unwrap();
}

#[test]
fn who_measures_beside_others_says_so() {
    let own = own_lib("busy");
    // Another one that works on the machine and does not end.
    let other = std::fs::File::open(&own).unwrap();
    other.lock_shared().unwrap();
    let package = Package::table("identity4.onnx");
    package.write_yaml();
    let report = worker::run_check(&child(), &[], &package.dir, &own, &Limits::default(), Duration::from_mins(1));
    std::fs::remove_dir_all(own.parent().unwrap()).unwrap();
    let how = report.run_card.unwrap().latency_ms.measured.unwrap();
    assert!(!how.alone && !how.steady, "{how:?}");
}

#[test]
fn a_model_that_hangs_meets_the_wall_time_or_the_processor_limit() {
    let package = Package::table("hang.onnx");
    assert_eq!(reason(&run(&package, &Limits::default(), 2)), ("golden", "timed-out"));
    assert_eq!(reason(&run(&package, &Limits { cpu_seconds: 1, ..Limits::default() }, 30)), ("golden", "cpu-limit"));
}

#[test]
fn a_model_that_eats_memory_runs_out_of_it() {
    for (model, step) in [("hungry.onnx", "golden"), ("hungry_load.onnx", "onnx-load")] {
        let report = run(&Package::table(model), &Limits::default(), 60);
        let (code, why) = reason(&report);
        assert_eq!(why, "out-of-memory", "{model}");
        assert!(code == step || code == "golden", "{model}: {code}");
    }
}

#[test]
fn a_model_that_crashes_the_engine_fails_its_check_with_the_signal() {
    // ONNX Runtime 1.26 inlines the function for ever and overflows the stack; a later one may refuse the model instead.
    let report = run(&Package::table("recursive.onnx"), &Limits { cpu_seconds: 5, ..Limits::default() }, 20);
    let (code, why) = reason(&report);
    assert_eq!(code, "onnx-load");
    assert!(["crashed-signal-6", "crashed-signal-11", "model-load"].contains(&why), "{why}");
}

#[test]
fn a_confined_process_can_compute_and_answer_but_nothing_else() {
    let exe = child().with_file_name("confined_child");
    let output = std::process::Command::new(exe).output().unwrap();
    let tried: std::collections::BTreeMap<String, bool> = serde_json::from_slice(&output.stdout).unwrap();
    println!("{tried:?}");
    let allowed: Vec<&str> = tried.iter().filter(|(_, done)| **done).map(|(what, _)| what.as_str()).collect();
    let mut expected = vec!["accept", "read-allowed", "thread"];
    if !tried.contains_key("landlock-full") {
        expected = vec!["accept", "read-allowed", "read-elsewhere", "thread"];
    }
    assert_eq!(allowed.iter().copied().filter(|w| *w != "landlock-full").collect::<Vec<_>>(), expected);
}

#[test]
fn a_child_that_does_not_speak_is_a_failed_check() {
    let package = Package::table("identity4.onnx");
    let shell = |script: &str| {
        worker::run_check(&PathBuf::from("/bin/sh"), &["-c", script], &package.dir, &lib(), &Limits::default(), Duration::from_secs(10))
    };
    assert_eq!(reason(&shell("kill -SEGV $$")), ("files", "crashed-signal-11"));
    assert_eq!(reason(&shell("kill -ABRT $$")), ("files", "crashed-signal-6"));
    assert_eq!(reason(&shell("echo memory allocation of 9 bytes failed >&2; kill -ABRT $$")), ("files", "out-of-memory"));
    assert_eq!(reason(&shell("kill -KILL $$")), ("files", "out-of-memory"));
    assert_eq!(reason(&shell("exit 3")), ("files", "crashed-exit-3"));
    assert_eq!(reason(&shell("echo rubbish")), ("files", "crashed-exit-0"));
    assert_eq!(reason(&shell("test -z \"$HOME\" && exit 7")), ("files", "crashed-exit-7"));
    let none = worker::run_check(&PathBuf::from("/none"), &[], &package.dir, &lib(), &Limits::default(), Duration::from_secs(1));
    assert_eq!(reason(&none), ("files", "check-not-started"));
}

#[test]
fn a_manifest_with_faults_is_reported_with_them() {
    let mut package = Package::table("identity4.onnx");
    package.manifest["unknown"] = 1.into();
    let report = run(&package, &Limits::default(), 60);
    assert_eq!(reason(&report), ("files", "manifest-invalid"));
    assert!(!report.faults.is_empty());
}
