//! Versions beside each other: what is flagged, what is noise, and what is told by place.

use super::*;
use inference::check::Hardware;
use inference::measure::Measured;

fn manifest(change: impl FnOnce(&mut AppManifest)) -> AppManifest {
    let yaml = include_str!("../../../demo/apps/belt-foreign-object/app.yaml");
    let mut manifest = app_package::validate::parse(yaml).unwrap();
    change(&mut manifest);
    manifest
}

fn steady(spread: f64) -> Measured {
    Measured { runs: 300, rounds: 3, cpu_ms: 1.0, spread, spread_p95: spread, alone: true, steady: true, per_frame: false }
}

fn report(median: f64, accuracy: f64, cpu: &str) -> CheckReport {
    let card = RunCard {
        engine: "onnxruntime".into(),
        engine_version: "1.22.0".into(),
        hardware: Hardware { cpu: cpu.into(), cores: 2, architecture: "amd64".into() },
        accuracy: Some(accuracy),
        golden_total: 5,
        latency_ms: Latency { median, p95: median * 2.0, p99: 0.0, measured: Some(steady(0.02)) },
        load_ms: 10.0,
        peak_memory_bytes: 1 << 20,
        model_bytes: 1000,
        throughput: None,
        structure: None,
        odd_inputs: Vec::new(),
        own_steps: Vec::new(),
        providers: Vec::new(),
        input: "1x3x8x8".into(),
    };
    CheckReport { passed: true, run_card: Some(card), ..CheckReport::default() }
}

fn between(a: &AppManifest, ra: &CheckReport, b: &AppManifest, rb: &CheckReport) -> Difference {
    Difference::between(Side { manifest: a, report: Some(ra), files: None }, Side { manifest: b, report: Some(rb), files: None })
}

/// The digests of the demo app's files, some of them others.
fn files(m: &AppManifest, other: &[&str]) -> BTreeMap<String, (String, u64)> {
    let own = m.golden.iter().flat_map(|g| [g.input.as_str(), g.expect.as_str()]).chain(["model.onnx", "app.yaml", "media/cover.png"]);
    own.map(|path| (path.to_owned(), (if other.contains(&path) { "other" } else { "same" }.to_owned(), 1))).collect()
}

/// Flags of a version whose files differ so, and whose times are measured so.
fn flags(other: &[&str], a: (&CheckReport, Option<Measured>), b: (&CheckReport, Option<Measured>)) -> Vec<Flag> {
    let m = manifest(|_| ());
    let with = |(report, measured): (&CheckReport, Option<Measured>)| {
        let mut report = report.clone();
        report.run_card.as_mut().unwrap().latency_ms.measured = measured;
        report
    };
    let (old, new, a, b) = (files(&m, &[]), files(&m, other), with(a), with(b));
    Difference::between(
        Side { manifest: &m, report: Some(&a), files: Some(&old) },
        Side { manifest: &m, report: Some(&b), files: Some(&new) },
    )
    .flags
}

#[test]
fn slower_by_more_than_a_fifth_and_less_accurate_are_flagged() {
    let flags = |a: (f64, f64, &str), b: (f64, f64, &str)| {
        let (a, b) = (report(a.0, a.1, a.2), report(b.0, b.1, b.2));
        flags(&["model.onnx"], (&a, Some(steady(0.02))), (&b, Some(steady(0.02))))
    };
    assert_eq!(flags((10.0, 0.8, "a"), (12.0, 0.8, "a")), []);
    assert_eq!(flags((10.0, 0.8, "a"), (12.1, 0.8, "a")), [Flag::Slower]);
    assert_eq!(flags((10.0, 0.8, "a"), (5.0, 0.6, "a")), [Flag::LessAccurate]);
    assert_eq!(flags((10.0, 0.8, "a"), (50.0, 0.2, "a")), [Flag::Slower, Flag::LessAccurate]);
    // Another machine: speed says nothing, accuracy does.
    assert_eq!(flags((10.0, 0.8, "a"), (50.0, 0.2, "b")), [Flag::LessAccurate]);
}

#[test]
fn the_same_bytes_never_differ() {
    let (fast, slow) = (report(10.0, 0.8, "a"), report(70.0, 0.6, "a"));
    let how = Some(steady(0.01));
    for other in [&[][..], &["app.yaml", "media/cover.png"][..]] {
        assert_eq!(flags(other, (&fast, how), (&slow, how)), [], "{other:?}");
    }
    // A sample that is another one is measured, too.
    assert!(flags(&["golden/1.png"], (&fast, how), (&slow, how)).contains(&Flag::Slower));
    let m = manifest(|_| ());
    let all = files(&m, &[]);
    let d = Difference::between(
        Side { manifest: &m, report: Some(&fast), files: Some(&all) },
        Side { manifest: &m, report: Some(&slow), files: Some(&all) },
    );
    assert!(d.figures.iter().all(|f| f.noise == !matches!(f.kind, Measure::Accuracy | Measure::Model)), "{:?}", d.figures);
    // The same model in another pipeline is another app.
    let other = manifest(|m| m.pipeline.as_mut().unwrap().alarms.clear());
    let d = Difference::between(
        Side { manifest: &m, report: Some(&fast), files: Some(&all) },
        Side { manifest: &other, report: Some(&slow), files: Some(&all) },
    );
    assert!(d.flags.contains(&Flag::Slower));
}

#[test]
fn what_lies_within_the_noise_is_not_flagged() {
    let (fast, slow) = (report(10.0, 0.8, "a"), report(13.0, 0.8, "a"));
    let is_flagged = |a: Option<Measured>, b: Option<Measured>| flags(&["model.onnx"], (&fast, a), (&slow, b)) == [Flag::Slower];
    assert!(is_flagged(Some(steady(0.05)), Some(steady(0.05))));
    assert!(!is_flagged(Some(steady(0.05)), Some(steady(0.25))));
    // Uncertain, or measured before that was known.
    assert!(!is_flagged(Some(Measured { steady: false, ..steady(0.01) }), Some(steady(0.01))));
    assert!(!is_flagged(None, Some(steady(0.01))));
    let far = report(40.0, 0.8, "a");
    assert_eq!(flags(&["model.onnx"], (&fast, None), (&far, Some(steady(0.01)))), [Flag::Slower]);
    // Hundredths of a millisecond.
    let (a, b) = (report(0.02, 0.8, "a"), report(0.03, 0.8, "a"));
    assert_eq!(flags(&["model.onnx"], (&a, Some(steady(0.01))), (&b, Some(steady(0.01)))), []);
    // The 95th percentile alone.
    let mut tail = report(10.0, 0.8, "a");
    tail.run_card.as_mut().unwrap().latency_ms.p95 *= 2.4;
    assert_eq!(flags(&["model.onnx"], (&fast, Some(steady(0.02))), (&tail, Some(steady(0.02)))), [Flag::Slower]);
}

#[test]
fn of_other_samples_a_share_must_be_smaller_by_more_than_chance() {
    let how = Some(steady(0.01));
    let is_flagged = |share: f64| flags(&["golden/1.png"], (&report(1.0, 0.8, "a"), how), (&report(1.0, share, "a"), how));
    assert_eq!(is_flagged(0.6), []);
    assert_eq!(is_flagged(0.1), [Flag::LessAccurate]);
}

#[test]
fn figures_stand_side_by_side() {
    let m = manifest(|_| ());
    let d = between(&m, &report(10.0, 0.8, "a"), &m, &report(15.0, 1.0, "a"));
    let median = d.figures.iter().find(|f| f.kind == Measure::Median).unwrap();
    assert_eq!((median.before, median.after, median.change()), (10.0, 15.0, Some(0.5)));
    // Not measured in one of the two: not shown.
    assert!(d.figures.iter().all(|f| f.kind != Measure::P99 && f.kind != Measure::Throughput));
    assert!(d.comparable && d.keys.is_empty() && d.tensors.is_empty());
    assert_eq!((d.files_total, d.keys_total), (None, 0));
}

#[test]
fn numbers_are_told_as_they_were_written() {
    let told = |value: Value| number(value.as_number().unwrap());
    assert_eq!(told(serde_json::json!(f64::from(0.35f32))), "0.35");
    assert_eq!(told(serde_json::json!(0.35)), "0.35");
    assert_eq!(told(serde_json::json!(0.123_456_789_012)), "0.123456789012");
    assert_eq!(told(serde_json::json!(512)), "512");
}

#[test]
fn keys_tensors_and_files_are_told_by_place() {
    let before = manifest(|_| ());
    let after = manifest(|m| {
        m.version = "9.9.9".parse().unwrap();
        m.changes.en = "no key of its own".into();
        m.summary.en = "x".repeat(500);
        m.resources.memory_mib += 1;
        m.models[0].inputs[0].shape = vec![1, 3, 7, 7];
    });
    let side = |names: &[(&str, &str)]| -> BTreeMap<String, (String, u64)> {
        names.iter().map(|(name, digest)| ((*name).to_owned(), ((*digest).to_owned(), 1))).collect()
    };
    let (old, new) = (side(&[("a", "1"), ("b", "1"), ("same", "1")]), side(&[("b", "2"), ("c", "1"), ("same", "1")]));
    let d = Difference::between(
        Side { manifest: &before, report: None, files: Some(&old) },
        Side { manifest: &after, report: None, files: Some(&new) },
    );
    let names = |changes: &[Change]| changes.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&d.keys), ["resources.memory_mib", "summary.en"]);
    assert!(d.keys[1].after.as_ref().unwrap().chars().count() == MAX_VALUE + 1);
    assert_eq!(d.tensors.len(), 1);
    assert!(d.tensors[0].after.as_ref().unwrap().ends_with("1x3x7x7"));
    assert_eq!(names(&d.files), ["a", "b", "c"]);
    assert_eq!(d.files_total, Some(3));
    assert!(d.files[0].after.is_none() && d.files[2].before.is_none() && d.files[1].before.is_some());
    assert!(d.figures.is_empty() && !d.comparable && d.flags.is_empty());
}

/// The demo app of moving pictures.
fn video(change: impl FnOnce(&mut AppManifest)) -> AppManifest {
    let mut manifest = app_package::validate::parse(include_str!("../../../demo/format-2/restricted-area/app.yaml")).unwrap();
    change(&mut manifest);
    manifest
}

/// Versions with the same files, of which only what app.yaml says differs.
fn versions(before: &AppManifest, after: &AppManifest, (a, b): (&CheckReport, &CheckReport)) -> Difference {
    let (old, new) = (files(before, &[]), files(after, &[]));
    Difference::between(
        Side { manifest: before, report: Some(a), files: Some(&old) },
        Side { manifest: after, report: Some(b), files: Some(&new) },
    )
}

#[test]
fn versions_that_differ_in_the_scene_alone_are_two_apps() {
    let (fast, slow) = (report(10.0, 0.8, "a"), report(40.0, 0.8, "a"));
    let one = video(|_| ());
    let same = versions(&one, &one, (&fast, &slow));
    assert!(same.keys.is_empty() && same.flags.is_empty() && same.figures.iter().any(|f| f.kind == Measure::Median && f.noise));
    type Edit = fn(&mut AppManifest);
    let edits: [(Edit, &[&str]); 5] = [
        (|m| m.scene.zones[0].enter = app_package::span::Span::millis(3_000), &["scene.zones[0].enter"]),
        (|m| m.scene.zones[0].labels.clear(), &["scene.zones[0].labels"]),
        (|m| m.scene.lines[0].required = true, &["scene.lines[0].required"]),
        (|m| m.scene.lines.clear(), &["scene.lines[0].id", "scene.lines[0].labels", "scene.lines[0].title.en", "scene.lines[0].title.zh"]),
        (|m| m.fps = Some(2.0), &["fps"]),
    ];
    for (edit, keys) in edits {
        let other = video(edit);
        let told = versions(&one, &other, (&fast, &slow));
        assert_eq!(told.keys.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), keys);
        assert_eq!((told.files_total, told.tensors.len()), (Some(0), 0));
        // Other zones are other work: the times are judged as those of two apps.
        assert_eq!(told.flags, [Flag::Slower], "{keys:?}");
        assert!(told.figures.iter().all(|f| f.kind != Measure::Median || !f.noise), "{keys:?}");
    }
}

#[test]
fn times_of_frames_and_of_whole_clips_are_not_judged_beside_each_other() {
    let one = video(|_| ());
    let other = video(|m| m.scene.lines.clear());
    let of_clips = report(2_000.0, 0.8, "a");
    let mut of_frames = report(30.0, 0.8, "a");
    of_frames.run_card.as_mut().unwrap().latency_ms.measured = Some(Measured { per_frame: true, ..steady(0.02) });
    let told = versions(&one, &other, (&of_frames, &of_clips));
    assert!(!told.comparable && told.flags.is_empty() && told.per_frame == (true, false), "{told:?}");
    let told = versions(&one, &other, (&of_frames, &of_frames));
    assert!(told.comparable && told.per_frame == (true, true));
}
