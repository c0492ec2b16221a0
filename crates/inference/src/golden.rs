//! Golden samples: does this engine on this machine give the results that the developer promised, and are they right?

mod clip;

use std::{path::Path, time::Instant};

use app_package::{
    manifest::{AppManifest, Golden, InputKind, Tolerance, Truth},
    span::Span,
    text,
};
use serde::{Deserialize, Serialize};

use crate::{
    app::{App, MAX_INPUT},
    error::{AppError, Result},
    measure, model_file,
    output::{AppOutput, ClassScore, Detection, TextOut, ValueOut},
    post, truth,
};

/// Least overlap of a thing with the expected one: of masks, of turned boxes, else of boxes.
const LEAST_IOU: f32 = 0.9;
/// Farthest that a point may be from the expected one, in shares of the root of the box's area.
const MOST_AWAY: f32 = 0.02;

/// Most lines of own steps that a report keeps: as many as one run may log.
const MAX_LOG: usize = 64;

/// Result of all samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GoldenReport {
    /// One per sample, in the manifest's order.
    pub samples: Vec<SampleReport>,
    /// Samples that gave the expected result.
    pub reproduced: u32,
    pub total: u32,
    /// Share of the labelled samples that are right, 0–1; absent when none is labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// What own steps logged, the first [`MAX_LOG`] lines: sample, step, and the line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Result of one sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleReport {
    /// Slug of the sample.
    pub name: String,
    /// Whether the expected result came.
    pub ok: bool,
    /// Largest difference of a score or value from the expected one; what is missing or too much counts whole.
    pub worst_difference: f64,
    /// The result agrees with what is really there; absent where nobody labelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<bool>,
    /// Why the sample is not ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time of a prediction, decoding included, in milliseconds: the median of `runs`, or the one cold run of this report where that is 0. Of a
    /// clip by its frames.
    pub latency_ms: f64,
    /// Measured runs that the time is of.
    #[serde(default)]
    pub runs: u32,
}

/// Runs every sample, with default parameters where it sets none. Never fails: what goes wrong is in the report.
pub fn run(app: &mut App) -> GoldenReport {
    let mut report = GoldenReport::default();
    let mut labelled = 0u32;
    let mut right = 0u32;
    for golden in app.manifest().golden.clone() {
        let sample = sample(app, &golden);
        report.total += 1;
        report.reproduced += u32::from(sample.ok);
        labelled += u32::from(sample.right.is_some());
        right += u32::from(sample.right == Some(true));
        report.samples.push(sample);
        let log = app.take_log().into_iter().map(|line| format!("{}: {line}", golden.name));
        let room = MAX_LOG - report.log.len().min(MAX_LOG);
        report.log.extend(log.take(room));
    }
    report.accuracy = (labelled > 0).then(|| f64::from(right) / f64::from(labelled));
    report
}

/// Reads a sample's file, bounded. Codes `file-missing`, `input-too-large`.
pub(crate) fn read(dir: &Path, name: &str) -> Result<Vec<u8>> {
    let (path, size) = model_file::package_file(dir, name)?;
    if usize::try_from(size).is_ok_and(|size| size <= MAX_INPUT) {
        return std::fs::read(path).map_err(|e| AppError::new("file-missing", format!("`{name}`: {e}")));
    }
    Err(AppError::new("input-too-large", format!("`{name}` has {size} bytes; at most {MAX_INPUT} are read")))
}

/// The result that a sample promises. Codes as [`read`], and `expect-unreadable`.
pub(crate) fn expected(dir: &Path, golden: &Golden) -> Result<AppOutput> {
    serde_json::from_slice(text::unmarked(&read(dir, &golden.expect)?))
        .map_err(|e| AppError::new("expect-unreadable", format!("`{}`: {e}", golden.expect)))
}

/// Whether an app that finds objects has no sample with one: an app that never finds anything would pass.
pub fn is_blind(dir: &Path, manifest: &AppManifest) -> bool {
    // Of other inputs than pictures an anomaly is a number.
    let finds = matches!(manifest.input, InputKind::Image | InputKind::Video) && manifest.finds();
    let nothing = |expected: AppOutput| expected.detections.is_empty() && expected.events.is_empty() && expected.counts.tracks.is_empty();
    finds && manifest.golden.iter().all(|golden| expected(dir, golden).is_ok_and(nothing))
}

/// The answer to a sample, with what it draws and sets. Codes as [`App::predict_drawn`].
pub(crate) fn answer(app: &mut App, golden: &Golden, input: &[u8]) -> Result<AppOutput> {
    app.predict_drawn(input, &golden.scene, &golden.parameters, "golden")
}

fn sample(app: &mut App, golden: &Golden) -> SampleReport {
    let mut report = SampleReport { name: golden.name.clone(), ..SampleReport::default() };
    let outcome = (|| {
        let input = read(app.dir(), &golden.input)?;
        let expected = expected(app.dir(), golden)?;
        let started = Instant::now();
        let result = answer(app, golden, &input)?;
        report.latency_ms = started.elapsed().as_secs_f64() * 1e3 / f64::from(measure::frames(app, &input));
        noted_within(golden, &input)?;
        report.right = golden.truth.as_ref().map(|truth| is_right(truth, &result, &golden.tolerance));
        if let Some(fault) = result.rule_faults.first() {
            return Err(AppError::new("alarm-rule-failed", format!("rule `{}`: {}", fault.rule, fault.message)));
        }
        let compared = compare(&expected, &result, &golden.tolerance);
        report.worst_difference = compared.worst;
        compared.fault.map_or(Ok(()), Err)
    })();
    report.ok = outcome.is_ok();
    report.message = outcome.err().map(|e: AppError| {
        // A labelled sample that gave no result is not right.
        report.right = report.right.or(golden.truth.as_ref().map(|_| false));
        e.to_string()
    });
    report
}

/// How far a result is from the expected one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compared {
    /// Largest difference of a score or value, out of tolerance or not.
    pub worst: f64,
    /// The first thing out of tolerance, with code `golden-mismatch`.
    pub fault: Option<AppError>,
}

impl Compared {
    fn mismatch(&mut self, message: impl FnOnce() -> String) {
        self.fault.get_or_insert_with(|| AppError::new("golden-mismatch", message()));
    }

    /// JSON knows no other numbers than finite ones.
    fn differs(&mut self, difference: f64) {
        self.worst = self.worst.max(if difference.is_finite() { difference } else { f64::MAX });
    }

    /// A score or value beside the expected one.
    fn near(&mut self, what: impl std::fmt::Display, found: f64, expected: f64, tolerance: &Tolerance) {
        let difference = (found - expected).abs();
        self.differs(difference);
        if difference.is_nan() || difference > tolerance.absolute + tolerance.relative * expected.abs() {
            self.mismatch(|| format!("{what} is {found}, expected {expected}"));
        }
    }

    /// What stands on one side only: on the other one its score or value is 0.
    fn alone(&mut self, number: impl Into<f64>, message: impl FnOnce() -> String) {
        self.differs(number.into().abs());
        self.mismatch(message);
    }
}

/// Compares all of a result with what is expected, also after the first thing that differs.
pub fn compare(expected: &AppOutput, result: &AppOutput, tolerance: &Tolerance) -> Compared {
    let mut seen = Compared::default();
    let counts = [
        ("detections", result.detections.len(), expected.detections.len()),
        ("classes", result.classes.len(), expected.classes.len()),
        ("values", result.values.len(), expected.values.len()),
        ("texts", result.texts.len(), expected.texts.len()),
    ];
    for (what, a, b) in counts {
        if a != b {
            seen.mismatch(|| format!("{a} {what}, expected {b}"));
        }
    }
    said(&mut seen, "", (&expected.classes, &expected.values), (&result.classes, &result.values), tolerance);
    for (e, found) in expected.texts.iter().zip(&result.texts) {
        text(&mut seen, "text", e, found, tolerance);
    }
    let mut free: Vec<_> = result.detections.iter().collect();
    for e in &expected.detections {
        let model = |found: &Detection| e.model.is_none() || e.model == found.model;
        let own = free.iter().enumerate().filter(|(_, found)| found.label == e.label && model(found));
        let best = own.map(|(at, found)| (at, post::overlap(found, e))).filter(|(_, overlap)| *overlap >= LEAST_IOU);
        let best = best.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at);
        match best {
            Some(at) => {
                let found = free.swap_remove(at);
                seen.near(format_args!("score of `{}`", e.label), f64::from(found.score), f64::from(e.score), tolerance);
                attributes(&mut seen, e, found, tolerance);
            }
            None => seen.alone(e.score, || format!("no `{}` at {:?}", e.label, e.bbox)),
        }
    }
    for found in free {
        seen.alone(found.score, || format!("`{}` at {:?} is not expected", found.label, found.bbox));
    }
    clip::compare(&mut seen, expected, result, tolerance);
    seen
}

type Said<'a> = (&'a [ClassScore], &'a [ValueOut]);

/// Compares classes and values, of the whole input or of one thing.
fn said(seen: &mut Compared, whose: &str, (classes, values): Said<'_>, (found_classes, found_values): Said<'_>, tolerance: &Tolerance) {
    for e in classes {
        let Some(found) = found_classes.iter().find(|c| c.label == e.label) else {
            seen.alone(e.score, || format!("{whose}class `{}` is missing", e.label));
            continue;
        };
        let share = |score: f32| (0.0..=1.0).contains(&score);
        // Logits in place of probabilities are the commonest slip in exporting a classifier.
        let logits = if share(e.score) && !share(found.score) { " (do the scores need `softmax: true`?)" } else { "" };
        seen.near(format_args!("{whose}class `{}`{logits}", e.label), f64::from(found.score), f64::from(e.score), tolerance);
    }
    for found in found_classes.iter().filter(|found| !classes.iter().any(|e| e.label == found.label)) {
        seen.alone(found.score, || format!("{whose}class `{}` is not expected", found.label));
    }
    for e in values {
        match found_values.iter().find(|v| v.id == e.id) {
            Some(found) => seen.near(format_args!("{whose}value `{}`", e.id), found.value, e.value, tolerance),
            None => seen.alone(e.value, || format!("{whose}value `{}` is missing", e.id)),
        }
    }
    for found in found_values.iter().filter(|found| !values.iter().any(|e| e.id == found.id)) {
        seen.alone(found.value, || format!("{whose}value `{}` is not expected", found.id));
    }
}

fn text(seen: &mut Compared, what: &str, expected: &TextOut, found: &TextOut, tolerance: &Tolerance) {
    if found.text != expected.text {
        seen.mismatch(|| format!("{what} is `{}`, expected `{}`", found.text, expected.text));
    }
    seen.near(format_args!("score of the {what}"), f64::from(found.score), f64::from(expected.score), tolerance);
}

/// Compares what is known of a thing beside its box. What the expected thing does not have is not compared: publishers tell less.
fn attributes(seen: &mut Compared, expected: &Detection, found: &Detection, tolerance: &Tolerance) {
    let label = &expected.label;
    if expected.mask.is_some() && found.mask.is_none() {
        seen.mismatch(|| format!("`{label}` at {:?} has no mask", expected.bbox));
    }
    let [_, _, w, h] = expected.bbox;
    let near = MOST_AWAY * (w * h).sqrt();
    for point in &expected.keypoints {
        let same = found.keypoints.iter().find(|p| p.name == point.name);
        if !same.is_some_and(|p| (p.x - point.x).hypot(p.y - point.y) <= near) {
            seen.mismatch(|| format!("point `{}` of `{label}` is not at {}, {}", point.name, point.x, point.y));
        }
        if let Some(same) = same {
            let what = format_args!("score of point `{}`", point.name).to_string();
            seen.near(what, f64::from(same.score), f64::from(point.score), tolerance);
        }
    }
    match (&expected.said.text, &found.said.text) {
        (Some(e), Some(f)) => text(seen, &format!("text of `{label}`"), e, f, tolerance),
        (Some(e), None) => seen.mismatch(|| format!("no text `{}` is read on `{label}`", e.text)),
        (None, _) => {}
    }
    let (e, f) = (&expected.said, &found.said);
    if !e.classes.is_empty() || !e.values.is_empty() {
        said(seen, &format!("`{label}`: "), (&e.classes, &e.values), (&f.classes, &f.values), tolerance);
    }
}

/// What is noted of a clip lies within it. Codes `truth-beyond-clip`, and those of [`crate::clip::read`].
pub(crate) fn noted_within(golden: &Golden, input: &[u8]) -> Result<()> {
    let Some(events) = golden.truth.as_ref().and_then(|truth| truth.events.as_ref()) else { return Ok(()) };
    let length = crate::clip::length(input)?;
    truth::beyond(events, length).map_or(Ok(()), |event| {
        let times = format!("{} to {} s", event.begin, event.end.unwrap_or(event.begin));
        Err(AppError::new("truth-beyond-clip", format!("an event of {times} is noted in a clip of {} s", length.as_secs_f64())))
    })
}

fn is_right(truth: &Truth, result: &AppOutput, tolerance: &Tolerance) -> bool {
    let class = truth.class.as_ref().is_none_or(|class| result.classes.first().is_some_and(|best| &best.label == class));
    // Labels that the truth does not name must not be found.
    let counts = truth.counts.as_ref().is_none_or(|counts| {
        let total: u32 = counts.values().sum();
        u32::try_from(result.detections.len()) == Ok(total)
            && counts.iter().all(|(label, &n)| u32::try_from(result.detections.iter().filter(|d| &d.label == label).count()) == Ok(n))
    });
    let texts = truth.texts.as_ref().is_none_or(|texts| result.lines().iter().eq(texts));
    let values = truth.values.as_ref().is_none_or(|values| {
        values.iter().all(|(id, [truth, allowed])| result.values.iter().any(|v| &v.id == id && (v.value - truth).abs() <= *allowed))
    });
    let time = tolerance.time.map_or(truth::TOLERANCE, Span::get);
    let events = truth.events.as_ref().is_none_or(|events| result.left_out == 0 && truth::agrees(events, &result.events, time));
    let crossings = truth.crossings.as_ref().is_none_or(|lines| lines.iter().all(|(line, n)| result.counts.lines.get(line) == Some(n)));
    class && counts && values && texts && events && crossings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_right_when_all_lines_are() {
        let right = |truth: &str, texts: &str| {
            let truth: Truth = serde_json::from_str(truth).unwrap();
            is_right(&truth, &serde_json::from_str(&format!(r#"{{"texts": {texts}}}"#)).unwrap(), &Tolerance::default())
        };
        let one = r#"[{"text": "KJ-2026", "score": 0.9}]"#;
        assert!(right(r#"{"texts": ["KJ-2026"]}"#, one) && right(r#"{"texts": []}"#, "[]") && right("{}", one));
        assert!(
            !right(r#"{"texts": ["KJ-2025"]}"#, one) && !right(r#"{"texts": []}"#, one) && !right(r#"{"texts": ["KJ-2026", ""]}"#, one)
        );
    }

    #[test]
    fn a_clip_is_right_when_what_happened_is_told_in_time() {
        let stay = r#"{"zone": "danger", "label": "person", "begin": 2.0, "end": 6.0}"#;
        let result: AppOutput = serde_json::from_str(&format!(
            r#"{{"events": [{stay}, {{"rule": "inside", "begin": 3}}], "counts": {{"lines": {{"gate": {{"in": 2, "out": 1}}}}}}}}"#
        ))
        .unwrap();
        let right = |truth: &str, time: &str| {
            let tolerance = serde_json::from_str(&format!(r#"{{"absolute": 0, "relative": 0, "time": "{time}"}}"#)).unwrap();
            is_right(&serde_json::from_str(truth).unwrap(), &result, &tolerance)
        };
        let events = |begin: f64| format!(r#"{{"events": [{{"zone": "danger", "begin": {begin}, "end": 6}}]}}"#);
        assert!(right(&events(2.9), "1s") && !right(&events(3.1), "1s") && right(&events(3.1), "2s") && !right(r#"{"events": []}"#, "1s"));
        let crossings = |inward: u32| format!(r#"{{"crossings": {{"gate": {{"in": {inward}, "out": 1}}}}}}"#);
        assert!(right(&crossings(2), "1s") && !right(&crossings(1), "1s") && !right(r#"{"crossings": {"door": {}}}"#, "1s"));
        // Where the app told too much for an answer, nobody knows what else it told.
        let cut = AppOutput { left_out: 1, ..result.clone() };
        assert!(!is_right(&serde_json::from_str(&events(2.0)).unwrap(), &cut, &Tolerance::default()));
    }

    #[test]
    fn all_that_differs_counts_in_the_largest_difference() {
        let worst = |expected: &str, result: &str| {
            let read = |text: &str| serde_json::from_str::<AppOutput>(text).unwrap();
            let compared = compare(&read(expected), &read(result), &Tolerance::default());
            (compared.worst, compared.fault.is_some())
        };
        let class = |label: &str, score: f32| format!(r#"{{"label":"{label}","score":{score}}}"#);
        let classes = |all: &[String]| format!(r#"{{"classes":[{}]}}"#, all.join(","));
        let one = classes(&[class("a", 0.5)]);
        assert_eq!(worst(&one, &one), (0.0, false));
        assert_eq!(worst(&one, &classes(&[class("a", 0.5), class("b", 0.75)])), (0.75, true), "too much");
        assert_eq!(worst(&one, &classes(&[class("b", 0.25)])), (0.5, true), "another one");
        let values = |all: &str| format!(r#"{{"values":[{all}]}}"#);
        let (p, q) = (r#"{"id":"p","value":2}"#, r#"{"id":"q","value":-8}"#);
        assert_eq!(worst(&values(&format!("{p},{q}")), &values(p)), (8.0, true), "missing");
        assert_eq!(worst(&values(p), &values(&format!("{p},{q}"))), (8.0, true), "too much");
    }
}
