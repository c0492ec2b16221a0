//! Golden samples: does this engine on this machine give the results that the developer promised, and are they right?

use std::time::Instant;

use app_package::{
    manifest::{Golden, Tolerance, Truth},
    text,
};
use serde::{Deserialize, Serialize};

use crate::{
    app::{App, MAX_INPUT},
    error::{AppError, Result},
    model_file,
    output::AppOutput,
    post,
};

/// Least overlap of a box with the expected one.
const LEAST_IOU: f32 = 0.9;

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
}

/// Result of one sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleReport {
    /// Slug of the sample.
    pub name: String,
    /// Whether the expected result came.
    pub ok: bool,
    /// Largest difference of a score or value from the expected one.
    pub worst_difference: f64,
    /// The result agrees with what is really there; absent where nobody labelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<bool>,
    /// Why the sample is not ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time of the prediction, decoding included, in milliseconds.
    pub latency_ms: f64,
}

/// Runs every sample with default parameters. Never fails: what goes wrong is in the report.
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
    }
    report.accuracy = (labelled > 0).then(|| f64::from(right) / f64::from(labelled));
    report
}

/// Reads a sample's file, bounded. Codes `file-missing`, `input-too-large`.
pub(crate) fn read(app: &App, name: &str) -> Result<Vec<u8>> {
    let (path, size) = model_file::package_file(app.dir(), name)?;
    if usize::try_from(size).is_ok_and(|size| size <= MAX_INPUT) {
        return std::fs::read(path).map_err(|e| AppError::new("file-missing", format!("`{name}`: {e}")));
    }
    Err(AppError::new("input-too-large", format!("`{name}` has {size} bytes; at most {MAX_INPUT} are read")))
}

fn sample(app: &mut App, golden: &Golden) -> SampleReport {
    let mut report = SampleReport { name: golden.name.clone(), ..SampleReport::default() };
    let outcome = (|| {
        let input = read(app, &golden.input)?;
        let expected: AppOutput = serde_json::from_slice(text::unmarked(&read(app, &golden.expect)?))
            .map_err(|e| AppError::new("expect-unreadable", format!("`{}`: {e}", golden.expect)))?;
        let started = Instant::now();
        let result = app.predict(&input, &serde_json::Map::new(), "golden")?;
        report.latency_ms = started.elapsed().as_secs_f64() * 1e3;
        report.right = golden.truth.as_ref().map(|truth| is_right(truth, &result));
        if let Some(fault) = result.rule_faults.first() {
            return Err(AppError::new("alarm-rule-failed", format!("rule `{}`: {}", fault.rule, fault.message)));
        }
        report.worst_difference = compare(&expected, &result, &golden.tolerance)?;
        Ok(())
    })();
    report.ok = outcome.is_ok();
    report.message = outcome.err().map(|e: AppError| {
        // A labelled sample that gave no result is not right.
        report.right = report.right.or(golden.truth.as_ref().map(|_| false));
        e.to_string()
    });
    report
}

/// The largest difference, or code `golden-mismatch` at the first thing out of tolerance.
pub fn compare(expected: &AppOutput, result: &AppOutput, tolerance: &Tolerance) -> Result<f64> {
    let mismatch = |message: String| AppError::new("golden-mismatch", message);
    let mut worst = 0f64;
    let mut near = |what: &str, a: f64, b: f64| {
        let difference = (a - b).abs();
        worst = worst.max(difference);
        if difference <= tolerance.absolute + tolerance.relative * b.abs() {
            return Ok(());
        }
        Err(mismatch(format!("{what} is {a}, expected {b}")))
    };
    let counts = [
        ("detections", result.detections.len(), expected.detections.len()),
        ("classes", result.classes.len(), expected.classes.len()),
        ("values", result.values.len(), expected.values.len()),
    ];
    for (what, a, b) in counts {
        if a != b {
            return Err(mismatch(format!("{a} {what}, expected {b}")));
        }
    }
    for e in &expected.classes {
        let found = result.classes.iter().find(|c| c.label == e.label);
        let found = found.ok_or_else(|| mismatch(format!("class `{}` is missing", e.label)))?;
        let share = |score: f32| (0.0..=1.0).contains(&score);
        // Logits in place of probabilities are the commonest slip in exporting a classifier.
        let logits = if share(e.score) && !share(found.score) { " (do the scores need `softmax: true`?)" } else { "" };
        near(&format!("class `{}`{logits}", e.label), f64::from(found.score), f64::from(e.score))?;
    }
    for e in &expected.values {
        let found = result.values.iter().find(|v| v.id == e.id);
        let found = found.ok_or_else(|| mismatch(format!("value `{}` is missing", e.id)))?;
        near(&format!("value `{}`", e.id), found.value, e.value)?;
    }
    let mut free: Vec<_> = result.detections.iter().collect();
    for e in &expected.detections {
        let overlap = |bbox: &[f32; 4]| post::iou(&corners(bbox), &corners(&e.bbox));
        let best = free.iter().enumerate().filter(|(_, d)| d.label == e.label && overlap(&d.bbox) >= LEAST_IOU);
        let best = best.max_by(|a, b| overlap(&a.1.bbox).total_cmp(&overlap(&b.1.bbox))).map(|(at, _)| at);
        let at = best.ok_or_else(|| mismatch(format!("no `{}` at {:?}", e.label, e.bbox)))?;
        near(&format!("score of `{}`", e.label), f64::from(free.swap_remove(at).score), f64::from(e.score))?;
    }
    Ok(worst)
}

fn corners([x, y, w, h]: &[f32; 4]) -> [f32; 4] {
    [*x, *y, x + w, y + h]
}

fn is_right(truth: &Truth, result: &AppOutput) -> bool {
    let class = truth.class.as_ref().is_none_or(|class| result.classes.first().is_some_and(|best| &best.label == class));
    // Labels that the truth does not name must not be found.
    let counts = truth.counts.as_ref().is_none_or(|counts| {
        let total: u32 = counts.values().sum();
        u32::try_from(result.detections.len()) == Ok(total)
            && counts.iter().all(|(label, &n)| u32::try_from(result.detections.iter().filter(|d| &d.label == label).count()) == Ok(n))
    });
    let values = truth.values.as_ref().is_none_or(|values| {
        values.iter().all(|(id, [truth, allowed])| result.values.iter().any(|v| &v.id == id && (v.value - truth).abs() <= *allowed))
    });
    class && counts && values
}
