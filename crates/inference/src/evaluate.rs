//! Hidden test sets: how well an app does on samples that its developer has never seen.
//!
//! Runs in a confined child; see [`crate::worker::run_evaluation`]. What comes out is one figure and two counts: nothing in an
//! [`Evaluation`] tells of a single sample, so that neither a page nor a log can.

use std::{collections::BTreeSet, fs::File, path::Path, time::Duration};

use app_package::manifest::AppManifest;
use serde::{Deserialize, Serialize};

use self::{archive::Archive, expect::Expected, metrics::Metric, set::TestSet};
use crate::{
    app::App,
    check::Hardware,
    engine::Engine,
    error::AppError,
    output::{AppOutput, Crossings, Detection},
    sandbox::Confinement,
    truth,
};

pub mod archive;
pub mod expect;
mod likeness;
pub mod metrics;
mod names;
pub mod set;

/// How an app did on a test set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The figure; none where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Samples of the set; 0 where it was not read.
    pub samples: u32,
    /// Samples that gave no answer.
    pub failures: u32,
    /// Stable code of why there is no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Name and version of the engine; empty where none was loaded.
    #[serde(default)]
    pub engine: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// What confined the child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
}

impl Evaluation {
    /// An evaluation without a figure, for this reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::default() }
    }
}

/// Runs the app in `dir` over a test set with default parameters. Blocking. Never fails: what goes wrong is the reason.
///
/// A sample without an answer counts as wrong for accuracy, as nothing found for mAP@0.5, recall and F1, and as nothing read for the error of
/// characters. For RMSE, MAE and crossings a missing answer has no error to count, and to precision it is no event that is wrong; leaving such samples out would
/// flatter: then there is no figure.
pub fn run(dir: &Path, manifest: AppManifest, set: File, metric: Metric, engine: &dyn Engine) -> Evaluation {
    let read = |set| {
        let mut archive = Archive::open(set).ok()?;
        let set = TestSet::read(&mut archive, metric).ok()?;
        Some((archive, set))
    };
    let Some((mut archive, set)) = read(set) else { return Evaluation::failed("set-unreadable") };
    let samples = u32::try_from(set.samples.len()).unwrap_or(u32::MAX);
    let failed = |reason: &str| Evaluation { samples, ..Evaluation::failed(reason) };
    if let Err(reason) = set.fits(&manifest, metric) {
        return failed(reason);
    }
    if !set.is_heard(&mut archive, &manifest) {
        return failed("input-kind-differs");
    }
    let pairs = set.pairs(&manifest);
    let mut app = match App::open(dir, manifest, engine, 1) {
        Ok(app) => app,
        Err(e) => return failed(e.code),
    };
    let mut tally = Tally { tolerance: set.tolerance, ..Tally::default() };
    for sample in set.samples {
        let answer = archive
            .read(&sample.input)
            .ok_or_else(|| AppError::new("set-unreadable", "the set cannot be read"))
            .and_then(|input| app.predict_drawn(&input, &pairs.drawn(&sample.scene), &serde_json::Map::new(), ""))
            .map(|answer| pairs.told(answer));
        match answer {
            // After these faults no later sample has a chance.
            Err(e) if matches!(e.code, "out-of-memory" | "set-unreadable") => return failed(e.code),
            answer => tally.add(sample.expected, answer, set.quantity.as_ref()),
        }
    }
    tally.sum_up(samples, metric)
}

/// Running totals over the samples.
#[derive(Default)]
struct Tally {
    right: u32,
    /// Objects that are there, and found.
    pictures: Vec<(Vec<Detection>, Vec<Detection>)>,
    /// Expected and read texts.
    texts: Vec<(String, String)>,
    /// Expected and found values, or numbers of crossings.
    pairs: Vec<(f64, f64)>,
    /// Of events those that are right, there, and told.
    events: [u32; 3],
    tolerance: Duration,
    failures: u32,
    codes: BTreeSet<&'static str>,
}

impl Tally {
    fn add(&mut self, expected: Expected, answer: Result<AppOutput, AppError>, quantity: Option<&(String, String)>) {
        let mut failed = |code| {
            self.failures += 1;
            self.codes.insert(code);
        };
        match (expected, answer) {
            (Expected::Objects(objects), Ok(answer)) => self.pictures.push((objects, answer.detections)),
            (Expected::Objects(objects), Err(e)) => {
                failed(e.code);
                self.pictures.push((objects, Vec::new()));
            }
            (Expected::Text(text), Ok(answer)) => {
                self.texts.push((text, answer.lines().join("\n").chars().take(expect::MAX_TEXT_READ).collect()));
            }
            (Expected::Text(text), Err(e)) => {
                failed(e.code);
                self.texts.push((text, String::new()));
            }
            (Expected::Events(there), answer) => {
                let answer = answer.map_err(|e| failed(e.code)).unwrap_or_default();
                let right = truth::found(&there, &answer.events, self.tolerance);
                // What an app has told beyond what an answer holds finds nothing.
                let told = answer.events.len().saturating_add(usize::try_from(answer.left_out).unwrap_or(usize::MAX));
                for (sum, n) in self.events.iter_mut().zip([right, there.len(), told]) {
                    *sum = sum.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
                }
            }
            (_, Err(e)) => failed(e.code),
            (Expected::Crossings(lines), Ok(answer)) => {
                for (line, Crossings { inward, outward }) in lines {
                    let found = answer.counts.lines.get(&line).copied().unwrap_or_default();
                    self.pairs
                        .extend([(inward, found.inward), (outward, found.outward)].map(|(there, found)| (there.into(), found.into())));
                }
            }
            (Expected::Class(label), Ok(answer)) => self.right += u32::from(answer.classes.first().is_some_and(|best| best.label == label)),
            (Expected::Value(expected), Ok(answer)) => {
                match answer.values.iter().find(|value| quantity.is_some_and(|(id, _)| *id == value.id)) {
                    Some(found) => self.pairs.push((expected, found.value)),
                    None => failed("value-missing"),
                }
            }
        }
    }

    fn sum_up(self, samples: u32, metric: Metric) -> Evaluation {
        let values = matches!(metric, Metric::Rmse | Metric::Mae | Metric::CrossingMae | Metric::EventPrecision);
        if self.failures > 0 && (values || self.failures == samples) {
            // Where all samples failed in the same way, their common code helps most.
            let reason = if self.codes.len() == 1 && self.failures == samples { self.codes.first() } else { None };
            return Evaluation { samples, failures: self.failures, ..Evaluation::failed(*reason.unwrap_or(&"samples-failed")) };
        }
        let [right, there, told] = self.events;
        let value = match metric {
            Metric::Map50 | Metric::MaskMap50 | Metric::OksMap50 => {
                metric.likeness().and_then(|likeness| metrics::map50(&self.pictures, likeness))
            }
            Metric::Accuracy => metrics::accuracy(self.right, samples),
            Metric::Cer => metrics::cer(&self.texts),
            Metric::Rmse => metrics::rmse(&self.pairs),
            Metric::Mae | Metric::CrossingMae => metrics::mae(&self.pairs),
            Metric::EventF1 => metrics::f1(right, there, told),
            Metric::EventPrecision => metrics::precision(right, told),
            Metric::EventRecall => metrics::recall(right, there),
        };
        // Squares of large errors may overflow: a figure must be finite.
        match value.filter(|value| value.is_finite()) {
            Some(value) => Evaluation { value: Some(value), samples, failures: self.failures, ..Evaluation::default() },
            None => Evaluation { samples, failures: self.failures, ..Evaluation::failed("value-not-finite") },
        }
    }
}

#[cfg(test)]
mod tests;
