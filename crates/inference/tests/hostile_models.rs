//! A corpus of hostile models, each checked in the confined child: whatever it is, a report comes back in time, with a reason where it
//! did not pass, and nothing stays behind in this process or on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod hostile;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hostile::{Workshop, bases, complaint, corpus, memory};

/// Apps that each kind of damage is done to.
const ROUNDS: usize = 2;
/// What the checks may add to this process.
const MAX_GROWTH: u64 = 64 << 20;

#[test]
fn every_hostile_model_ends_in_a_report() {
    let lib: PathBuf = std::env::var_os("ORT_LIB").expect("set ORT_LIB to the path of libonnxruntime.so.1.24 or newer").into();
    let child = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/check_child");
    let bases = bases();
    let cases = corpus(&bases, ROUNDS);
    assert!(cases.len() >= 200, "{}", cases.len());
    assert!(cases.iter().all(|case| case.model != bases[case.base].model));

    let (before, peak, started) = (memory("VmRSS:"), AtomicU64::new(0), Instant::now());
    let next = AtomicUsize::new(0);
    let (outcomes, complaints) = (Mutex::new(BTreeMap::<String, usize>::new()), Mutex::new(Vec::new()));
    let slowest = Mutex::new((Duration::ZERO, ""));
    // Each checks in a child of its own; two cores take two.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut workshop = Workshop::new();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (report, took) = workshop.check(&bases, case, &child, &lib);
                    peak.fetch_max(memory("VmRSS:"), Ordering::Relaxed);
                    let last = report.steps.last().unwrap();
                    let outcome = last.reason.clone().unwrap_or_else(|| "passed".into());
                    println!("{:<22} {:<20} {:>8.1?} {} {outcome}", case.kind, bases[case.base].name, took, last.code);
                    if let Some(complaint) = complaint(&report, took) {
                        complaints.lock().unwrap().push(format!("{} of {}: {complaint}", case.kind, bases[case.base].name));
                    }
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = (*slowest).max((took, case.kind));
                }
            });
        }
    });
    let growth = peak.into_inner().saturating_sub(before);
    let outcomes = outcomes.into_inner().unwrap();
    let slowest = slowest.into_inner().unwrap();
    println!("{} cases in {:?}, slowest {slowest:?}, memory +{} KiB\n{outcomes:#?}", cases.len(), started.elapsed(), growth >> 10);

    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(growth < MAX_GROWTH, "this process grew by {growth} bytes");
    // The corpus reaches what it is meant to reach.
    for reason in ["passed", "not-onnx", "model-load", "external-data-outside", "external-data-missing", "cpu-limit"] {
        assert!(outcomes.contains_key(reason), "no case ended as {reason}");
    }
    let own = format!("pithead-hostile-{}", std::process::id());
    let left =
        std::fs::read_dir(std::env::temp_dir()).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().starts_with(&own)).count();
    assert_eq!(left, 0, "folders stay");
}

/// The parsers of the fuzz target, for a moment: it runs, and these seeds find nothing.
#[test]
fn the_fuzz_target_finds_nothing_in_a_moment() {
    let lib = std::env::var_os("ORT_LIB").expect("set ORT_LIB to the path of libonnxruntime.so.1.24 or newer");
    let fuzz = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/fuzz");
    let output = std::process::Command::new(fuzz).args(["--seconds", "5", "--seed", "1", "--lib"]).arg(lib).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success() && told.ends_with("0 findings\n"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    // Each parser had its turn.
    for target in
        ["child", "model-file", "app-yaml", "license", "oci-manifest", "envelope", "picture", "table", "alarm-rule", "path", "content"]
    {
        assert!(told.contains(target), "{target} did not run");
    }
}
