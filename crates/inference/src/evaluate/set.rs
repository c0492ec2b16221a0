//! What a test set says: its index, the samples, and what is expected of each.
//!
//! The index `set.json` or `set.yaml` lies at the top of the archive: `{"format": 1, "input": "image", "samples": [{"input": PATH,
//! "expect": PATH}]}`. An expected result has the form of golden samples (the JSON of [`crate::output::AppOutput`]); scores in it only rank
//! classes, since it says what is there.

use std::collections::BTreeSet;

use app_package::{
    manifest::{AppManifest, InputKind},
    pipeline::{Gives, Post},
    text::{is_utf16, unmarked},
};
use serde::Deserialize;

use super::{
    archive::{Archive, Fault, MAX_FAULTS},
    metrics::Metric,
};
use crate::{
    output::{Detection, Keypoint, Mask},
    picture, table,
};

/// Fewest samples: one figure over fewer would tell of single ones.
pub const MIN_SAMPLES: usize = 10;
/// Most samples.
pub const MAX_SAMPLES: usize = 1_000;
/// Most things in one picture, as many as an app reports.
const MAX_BOXES: usize = 300;
/// Most points of one thing, as many as an app reports.
const MAX_POINTS: usize = 100;
/// Most characters of a text that are compared: the time goes with its square.
pub const MAX_TEXT_READ: usize = 2_000;
/// Longest index, and longest expected result, in bytes.
const MAX_TEXT: u64 = 1 << 20;
/// What is said of a text in UTF-16.
const UTF16: &str = "UTF-16; save it as UTF-8";
/// File names that the index may have.
const INDEXES: [&str; 2] = ["set.json", "set.yaml"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: u32,
    input: InputKind,
    samples: Vec<IndexSample>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexSample {
    /// Name of the sample, for the set's maker only.
    #[serde(default, rename = "name")]
    _name: String,
    input: String,
    expect: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    detections: Vec<ExpectBox>,
    classes: Vec<ExpectClass>,
    values: Vec<ExpectValue>,
    texts: Vec<ExpectText>,
    /// Alarms: golden samples may have some; no figure is made of them.
    #[serde(rename = "alarms")]
    _alarms: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectBox {
    label: String,
    #[serde(default, rename = "score")]
    _score: serde::de::IgnoredAny,
    #[serde(rename = "box")]
    bbox: [f32; 4],
    #[serde(default)]
    corners: Option<[[f32; 2]; 4]>,
    #[serde(default)]
    mask: Option<Mask>,
    #[serde(default)]
    keypoints: Vec<Keypoint>,
    #[serde(default, rename = "area")]
    _area: serde::de::IgnoredAny,
}

impl ExpectBox {
    /// Why it cannot be there, or cannot be held against what is found by this figure.
    fn fault(&self, metric: Metric) -> Option<(&'static str, String)> {
        let numbers = self.bbox.iter().chain(self.corners.iter().flatten().flatten());
        let [x, y, w, h] = self.bbox;
        if self.label.is_empty() || !numbers.clone().all(|n| n.is_finite()) || x < 0.0 || y < 0.0 || w <= 0.0 || h <= 0.0 {
            return Some(("expect-box", format!("{:?}", self.bbox)));
        }
        let sound = |point: &Keypoint| !point.name.is_empty() && point.x.is_finite() && point.y.is_finite();
        match metric {
            Metric::MaskMap50 if self.mask.as_ref().is_none_or(|mask| mask.share() <= 0.0) => Some(("expect-mask", self.label.clone())),
            Metric::OksMap50 if self.keypoints.len() > MAX_POINTS || !self.keypoints.iter().all(sound) || !self.seen() => {
                Some(("expect-keypoints", self.label.clone()))
            }
            _ => None,
        }
    }

    /// Whether one of its points can be seen.
    fn seen(&self) -> bool {
        self.keypoints.iter().any(|point| point.score > 0.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectClass {
    label: String,
    #[serde(default)]
    score: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectText {
    text: String,
    #[serde(default, rename = "score")]
    _score: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectValue {
    id: String,
    value: f64,
    #[serde(default)]
    unit: String,
}

/// What a sample should give.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// The best class.
    Class(String),
    /// The things in the picture.
    Objects(Vec<Detection>),
    /// What is written there, a line for each text.
    Text(String),
    /// The value of [`TestSet::quantity`].
    Value(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Path of the input in the archive.
    pub input: String,
    pub expected: Expected,
}

/// A test set without its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct TestSet {
    /// Kind of the samples' inputs.
    pub input: InputKind,
    /// Samples in the index's order.
    pub samples: Vec<Sample>,
    /// Id and unit of the value that is expected, where the figure is made of values.
    pub quantity: Option<(String, String)>,
}

impl TestSet {
    /// Reads the index and all expected results of an archive, for a figure. Blocking.
    ///
    /// # Errors
    /// The faults with their places, at most [`MAX_FAULTS`].
    pub fn read(archive: &mut Archive, metric: Metric) -> Result<Self, Vec<Fault>> {
        let one = |fault| Err(vec![fault]);
        let there: Vec<&str> = INDEXES.into_iter().filter(|name| archive.size(name).is_some()).collect();
        let [name] = there.as_slice() else {
            return one(Fault::new(if there.is_empty() { "index-missing" } else { "index-twice" }, "", ""));
        };
        let name = *name;
        let Some(bytes) = text(archive, name) else { return one(Fault::new("archive-file-too-large", name, MAX_TEXT)) };
        let index = if is_utf16(&bytes) {
            Err(UTF16.to_owned())
        } else if name.ends_with(".json") {
            serde_json::from_slice::<Index>(unmarked(&bytes)).map_err(|e| e.to_string())
        } else {
            serde_yaml_ng::from_slice::<Index>(unmarked(&bytes)).map_err(|e| e.to_string())
        };
        let index = match index {
            Ok(index) => index,
            Err(e) => return one(Fault::new("index-malformed", name, e)),
        };
        if index.format != 1 {
            return one(Fault::new("index-format", name, index.format));
        }
        if metric.likeness().is_some() && index.input != InputKind::Image {
            return one(Fault::new("input-metric", name, ""));
        }
        match index.samples.len() {
            n if n < MIN_SAMPLES => return one(Fault::new("samples-too-few", name, MIN_SAMPLES)),
            n if n > MAX_SAMPLES => return one(Fault::new("samples-too-many", name, MAX_SAMPLES)),
            _ => {}
        }
        let mut reading = Reading { archive, metric, faults: Vec::new(), used: BTreeSet::from([name.to_owned()]), quantity: None };
        let samples = index.samples.iter().enumerate().filter_map(|(at, sample)| reading.sample(&format!("{name} samples[{at}]"), sample));
        let set = Self { input: index.input, samples: samples.collect(), quantity: None };
        reading.finish(set)
    }

    /// Looks whether every input is what the set says: a picture that can be decoded, with the expected boxes inside it, or a CSV with a row.
    /// Blocking, and slow for large pictures.
    pub fn check_inputs(&self, archive: &mut Archive) -> Vec<Fault> {
        let mut faults = Vec::new();
        for sample in &self.samples {
            if faults.len() >= MAX_FAULTS {
                break;
            }
            // The size of an input was checked when the archive was opened.
            let bytes = archive.read(&sample.input).unwrap_or_default();
            if self.input != InputKind::Image {
                if let Err(e) = table::check(&bytes) {
                    faults.push(Fault::new("input-not-csv", &sample.input, e.message));
                }
                continue;
            }
            match picture::decode(&bytes) {
                Err(e) if e.code == "input-too-large" => faults.push(Fault::new("input-too-large", &sample.input, e.message)),
                Err(e) => faults.push(Fault::new("input-not-a-picture", &sample.input, e.message)),
                Ok(picture) => {
                    let Expected::Objects(objects) = &sample.expected else { continue };
                    #[expect(clippy::cast_precision_loss, reason = "sides are far below 2^24")]
                    let (width, height) = (picture.width() as f32, picture.height() as f32);
                    let outside = |[x, y, w, h]: [f32; 4]| x + w > width + 1.0 || y + h > height + 1.0;
                    if let Some(object) = objects.iter().find(|object| outside(object.bbox)) {
                        faults.push(Fault::new("expect-box", &sample.input, format!("{:?}", object.bbox)));
                    }
                }
            }
        }
        faults
    }

    /// Whether an app's answers can be held against this set.
    ///
    /// # Errors
    /// Why not: `input-kind-differs`, `output-kind-differs`, `labels-differ` (no label in common), `value-missing`, `unit-differs`.
    pub fn fits(&self, manifest: &AppManifest, metric: Metric) -> Result<(), &'static str> {
        if manifest.input != self.input {
            return Err("input-kind-differs");
        }
        if let Some((id, unit)) = &self.quantity {
            let mut values = manifest.values().peekable();
            if values.peek().is_none() {
                return Err("output-kind-differs");
            }
            let (_, _, own) = values.find(|(own, ..)| own == id).ok_or("value-missing")?;
            let same = unit.is_empty() || own.is_empty() || unit == own;
            return if same { Ok(()) } else { Err("unit-differs") };
        }
        // Only what is said of the whole input counts as its class.
        let steps = manifest.model_steps();
        if metric == Metric::Cer {
            let reads =
                manifest.posts().any(|post| matches!(post, Post::Text(_))) || manifest.wasm_steps().any(|step| step.out == Gives::Texts);
            return if reads { Ok(()) } else { Err("output-kind-differs") };
        }
        let posts = steps.iter().filter(|step| step.of.is_none() || metric != Metric::Accuracy).flat_map(|step| &step.post);
        let labels = posts.filter_map(|post| match metric {
            Metric::Accuracy => matches!(post, Post::Classes(_) | Post::Gallery(_)).then(|| post.labels()),
            Metric::Map50 => post.finds().then(|| post.labels()),
            Metric::MaskMap50 => post.masks().then(|| post.labels()),
            Metric::OksMap50 => matches!(post, Post::Boxes(boxes) if boxes.keypoints.is_some()).then(|| post.labels()),
            Metric::Rmse | Metric::Mae | Metric::Cer => None,
        });
        let wanted = |out| match metric {
            Metric::Accuracy => out == Gives::Classes,
            Metric::Map50 => out == Gives::Objects,
            // The objects that an own step adds have neither masks nor points.
            Metric::MaskMap50 | Metric::OksMap50 | Metric::Rmse | Metric::Mae | Metric::Cer => false,
        };
        let steps = manifest.wasm_steps().filter(|step| wanted(step.out) && (step.of.is_none() || metric == Metric::Map50));
        let labels = labels.flatten().chain(steps.flat_map(|step| &step.labels));
        let own: BTreeSet<&str> = labels.map(|label| label.id.as_str()).collect();
        if own.is_empty() {
            return Err("output-kind-differs");
        }
        let mut expected = self.samples.iter().flat_map(|sample| match &sample.expected {
            Expected::Class(label) => vec![label.as_str()],
            Expected::Objects(objects) => objects.iter().map(|object| object.label.as_str()).collect(),
            Expected::Value(_) | Expected::Text(_) => Vec::new(),
        });
        if expected.any(|label| own.contains(label)) { Ok(()) } else { Err("labels-differ") }
    }
}

/// A file of the archive, at most [`MAX_TEXT`] bytes long.
fn text(archive: &mut Archive, path: &str) -> Option<Vec<u8>> {
    archive.size(path).filter(|size| *size <= MAX_TEXT)?;
    archive.read(path)
}

/// State of reading the samples: faults so far, and files that were named.
struct Reading<'a> {
    archive: &'a mut Archive,
    metric: Metric,
    faults: Vec<Fault>,
    used: BTreeSet<String>,
    quantity: Option<(String, String)>,
}

impl Reading<'_> {
    fn fault(&mut self, code: &'static str, place: &str, detail: impl ToString) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault::new(code, place, detail));
        }
    }

    fn sample(&mut self, place: &str, sample: &IndexSample) -> Option<Sample> {
        for path in [&sample.input, &sample.expect] {
            if self.archive.size(path).is_none() {
                self.fault("sample-file-missing", place, path);
                return None;
            }
        }
        if !self.used.insert(sample.input.clone()) {
            self.fault("sample-repeated", place, &sample.input);
            return None;
        }
        self.used.insert(sample.expect.clone());
        let Some(bytes) = text(self.archive, &sample.expect) else {
            self.fault("archive-file-too-large", &sample.expect, MAX_TEXT);
            return None;
        };
        if is_utf16(&bytes) {
            self.fault("expect-malformed", &sample.expect, UTF16);
            return None;
        }
        let expect = match serde_json::from_slice::<Expect>(unmarked(&bytes)) {
            Ok(expect) => expect,
            Err(e) => {
                self.fault("expect-malformed", &sample.expect, e);
                return None;
            }
        };
        let expected = self.expected(&sample.expect, expect)?;
        Some(Sample { input: sample.input.clone(), expected })
    }

    fn expected(&mut self, path: &str, mut expect: Expect) -> Option<Expected> {
        let there = [!expect.classes.is_empty(), !expect.detections.is_empty(), !expect.values.is_empty(), !expect.texts.is_empty()];
        let others = match self.metric {
            Metric::Accuracy => [false, there[1], there[2], there[3]],
            Metric::Map50 | Metric::MaskMap50 | Metric::OksMap50 => [there[0], false, there[2], there[3]],
            Metric::Rmse | Metric::Mae => [there[0], there[1], false, there[3]],
            Metric::Cer => [there[0], there[1], there[2], false],
        };
        let others = others.contains(&true);
        if others {
            self.fault("expect-metric", path, "");
            return None;
        }
        match self.metric {
            Metric::Accuracy => {
                expect.classes.sort_by(|a, b| b.score.total_cmp(&a.score));
                let label = expect.classes.into_iter().next().map(|class| class.label).filter(|label| !label.is_empty());
                if label.is_none() {
                    self.fault("expect-class", path, "");
                }
                label.map(Expected::Class)
            }
            Metric::Map50 | Metric::MaskMap50 | Metric::OksMap50 => {
                if expect.detections.len() > MAX_BOXES {
                    self.fault("expect-too-many-boxes", path, MAX_BOXES);
                    return None;
                }
                if let Some((code, detail)) = expect.detections.iter().find_map(|object| object.fault(self.metric)) {
                    self.fault(code, path, detail);
                    return None;
                }
                let objects = expect.detections.into_iter().map(|d| Detection {
                    corners: d.corners,
                    mask: d.mask,
                    keypoints: d.keypoints,
                    ..Detection::new(d.label, 1.0, d.bbox)
                });
                Some(Expected::Objects(objects.collect()))
            }
            Metric::Cer => {
                let text = expect.texts.iter().map(|text| text.text.as_str()).collect::<Vec<_>>().join("\n");
                if text.trim().is_empty() || text.chars().count() > MAX_TEXT_READ {
                    self.fault("expect-text", path, MAX_TEXT_READ);
                    return None;
                }
                Some(Expected::Text(text))
            }
            Metric::Rmse | Metric::Mae => {
                let [value] = expect.values.as_slice() else {
                    self.fault("expect-value", path, expect.values.len());
                    return None;
                };
                if !value.value.is_finite() || value.id.is_empty() || value.unit.chars().count() > 20 {
                    self.fault("expect-value", path, 1);
                    return None;
                }
                let own = (value.id.clone(), value.unit.clone());
                if self.quantity.get_or_insert_with(|| own.clone()) != &own {
                    self.fault("expect-values-mixed", path, format!("{} {}", own.0, own.1));
                    return None;
                }
                Some(Expected::Value(value.value))
            }
        }
    }

    fn finish(mut self, mut set: TestSet) -> Result<TestSet, Vec<Fault>> {
        let unused: Vec<String> = self.archive.paths().filter(|path| !self.used.contains(*path)).map(ToOwned::to_owned).collect();
        for path in unused {
            self.fault("file-unused", &path, "");
        }
        let nothing = set.samples.iter().all(|sample| matches!(&sample.expected, Expected::Objects(objects) if objects.is_empty()));
        if self.faults.is_empty() && nothing {
            self.fault("expect-no-box", "", "");
        }
        set.quantity = self.quantity;
        if self.faults.is_empty() { Ok(set) } else { Err(self.faults) }
    }
}
