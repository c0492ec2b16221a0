//! What a test set says: its index, the samples, and what is expected of each.
//!
//! The index `set.json` or `set.yaml` lies at the top of the archive: `{"format": 1, "input": "image", "samples": [{"input": PATH,
//! "expect": PATH}]}`. An expected result has the form of golden samples (the JSON of [`crate::output::AppOutput`]); scores in it only rank
//! classes, since it says what is there. A set of clips also says what is drawn in them (`scene`, for all or for one), in names of its own, and
//! how far off times may be (`tolerance`).

use std::{collections::BTreeSet, time::Duration};

use app_package::{
    manifest::{AppManifest, InputKind},
    pipeline::{Drawn, EventKind, Gives, Post, Pre},
    span::Span,
    text::{is_utf16, unmarked},
};
use serde::Deserialize;

use super::{
    archive::{Archive, Fault, MAX_FAULTS},
    expect::{Expect, Expected},
    metrics::Metric,
    names::{self, Names, Pairs},
};
use crate::{clip, error::AppError, picture, sound, table, truth};

/// Fewest samples: one figure over fewer would tell of single ones.
pub const MIN_SAMPLES: usize = 10;
/// Most samples.
pub const MAX_SAMPLES: usize = 1_000;
/// Longest index, and longest expected result, in bytes.
const MAX_TEXT: u64 = 1 << 20;
/// What is said of a text in UTF-16.
const UTF16: &str = "UTF-16; save it as UTF-8";
/// File names that the index may have.
const INDEXES: [&str; 2] = ["set.json", "set.yaml"];
/// Largest tolerance of times.
const MAX_TOLERANCE: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: u32,
    input: InputKind,
    /// What is drawn in all clips.
    #[serde(default)]
    scene: Drawn,
    /// What times of events may be off.
    #[serde(default)]
    tolerance: Option<Span>,
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
    /// What is drawn in this clip, in the place of the set's.
    #[serde(default)]
    scene: Option<Drawn>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Path of the input in the archive.
    pub input: String,
    pub expected: Expected,
    /// What is drawn in a clip, in the set's names.
    pub scene: Drawn,
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
    /// What times of events may be off.
    pub tolerance: Duration,
    /// What is drawn, named or counted in clips.
    names: Names,
    /// Of these what the figure is made of: all of the kinds that are expected somewhere.
    judged: Names,
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
        let is_video = index.input == InputKind::Video;
        if (metric.likeness().is_some() && index.input != InputKind::Image) || metric.is_of_clips() != is_video {
            return one(Fault::new("input-metric", name, ""));
        }
        let drawn = |sample: &IndexSample| sample.scene.clone().unwrap_or_else(|| index.scene.clone());
        let scenes = std::iter::once(&index.scene).chain(index.samples.iter().filter_map(|sample| sample.scene.as_ref()));
        for scene in scenes.take(MAX_SAMPLES + 1) {
            if let Some(detail) = names::shape_fault(scene).or_else(|| (!is_video && *scene != Drawn::default()).then(String::new)) {
                return one(Fault::new("scene-shape", name, detail));
            }
        }
        if index.tolerance.is_some_and(|tolerance| tolerance.get() > MAX_TOLERANCE) {
            return one(Fault::new("tolerance-range", name, MAX_TOLERANCE.as_secs()));
        }
        match index.samples.len() {
            n if n < MIN_SAMPLES => return one(Fault::new("samples-too-few", name, MIN_SAMPLES)),
            n if n > MAX_SAMPLES => return one(Fault::new("samples-too-many", name, MAX_SAMPLES)),
            _ => {}
        }
        let mut reading = Reading { archive, metric, faults: Vec::new(), used: BTreeSet::from([name.to_owned()]), quantity: None };
        let samples = index.samples.iter().enumerate();
        let samples = samples.filter_map(|(at, sample)| reading.sample(&format!("{name} samples[{at}]"), sample, drawn(sample)));
        let set = Self {
            input: index.input,
            samples: samples.collect(),
            quantity: None,
            tolerance: index.tolerance.map_or(truth::TOLERANCE, Span::get),
            names: Names::new(),
            judged: Names::new(),
        };
        reading.finish(set)
    }

    /// Looks whether every input is what the set says: a picture that can be decoded, with the expected boxes inside it, a clip whose frames can be,
    /// with what happened within its length, a recording of sound, or a CSV with a row. Recordings are all WAV files or all CSV. Blocking, and
    /// slow for large pictures.
    pub fn check_inputs(&self, archive: &mut Archive) -> Vec<Fault> {
        let mut faults = Vec::new();
        let is_sound = self.is_of_sound(archive);
        for sample in &self.samples {
            if faults.len() >= MAX_FAULTS {
                break;
            }
            // The size of an input was checked when the archive was opened.
            let bytes = archive.read(&sample.input).unwrap_or_default();
            if self.input == InputKind::Video {
                faults.extend(clip_fault(sample, &bytes));
                continue;
            }
            if is_sound {
                if let Err(e) = sound::decode(&bytes) {
                    faults.push(Fault::new("input-not-sound", &sample.input, e.message));
                }
                continue;
            }
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

    /// Whether its recordings are WAV files, as the first one is; those of format 1 are CSV.
    fn is_of_sound(&self, archive: &mut Archive) -> bool {
        let first = self.samples.first().filter(|_| self.input == InputKind::Audio);
        first.and_then(|sample| archive.read(&sample.input)).is_some_and(|bytes| sound::is_wav(&bytes))
    }

    /// Whether the recordings of this set are of the kind that an app reads: WAV files by a `sound` step, CSV by any other.
    pub fn is_heard(&self, archive: &mut Archive, manifest: &AppManifest) -> bool {
        let hears = manifest.model_steps().iter().any(|step| matches!(step.pre, Pre::Sound(_)));
        self.input != InputKind::Audio || hears == self.is_of_sound(archive)
    }

    /// Whether an app's answers can be held against this set.
    ///
    /// # Errors
    /// Why not: `input-kind-differs`, `output-kind-differs`, `labels-differ` (no label in common), `names-differ` (no zone, line, rule or procedure),
    /// `value-missing`, `unit-differs`.
    pub fn fits(&self, manifest: &AppManifest, metric: Metric) -> Result<(), &'static str> {
        if manifest.input != self.input {
            return Err("input-kind-differs");
        }
        if metric.is_of_clips() {
            // An app that says nothing of the kind at all is told so.
            let gives = self.judged.iter().any(|(kind, _)| match kind {
                EventKind::Rule => !manifest.alarms().is_empty(),
                EventKind::Zone => !manifest.scene.zones.is_empty(),
                EventKind::Line => !manifest.scene.lines.is_empty(),
                EventKind::Procedure => !manifest.procedures.is_empty(),
            });
            let reason = if gives { "names-differ" } else { "output-kind-differs" };
            return if self.pairs(manifest).is_any_judged() { Ok(()) } else { Err(reason) };
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
            _ => None,
        });
        let wanted = |out| match metric {
            Metric::Accuracy => out == Gives::Classes,
            Metric::Map50 => out == Gives::Objects,
            // The objects that an own step adds have neither masks nor points.
            _ => false,
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
            _ => Vec::new(),
        });
        if expected.any(|label| own.contains(label)) { Ok(()) } else { Err("labels-differ") }
    }

    /// Which of an app's zones, lines, rules and procedures are which of the set's.
    pub(super) fn pairs(&self, manifest: &AppManifest) -> Pairs {
        Pairs::of(manifest, &self.names, &self.judged)
    }
}

/// What is wrong with a clip, or with what is expected of it.
fn clip_fault(sample: &Sample, bytes: &[u8]) -> Option<Fault> {
    let whole = || -> Result<Duration, AppError> {
        let clip = clip::read(bytes)?;
        clip.frames().try_for_each(|frame| frame.map(drop))?;
        Ok(clip.time(clip.count()))
    };
    match (whole(), &sample.expected) {
        (Err(e), _) => Some(Fault::new("input-not-a-clip", &sample.input, e.message)),
        (Ok(length), Expected::Events(events)) => truth::beyond(events, length).map(|event| {
            let end = event.end.unwrap_or(event.begin);
            Fault::new("event-beyond", &sample.input, format!("{}–{end} s / {} s", event.begin, length.as_secs_f64()))
        }),
        _ => None,
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

    fn sample(&mut self, place: &str, sample: &IndexSample, scene: Drawn) -> Option<Sample> {
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
        let (expected, quantity) = match expect.asked(self.metric) {
            Ok(asked) => asked,
            Err((code, detail)) => {
                self.fault(code, &sample.expect, detail);
                return None;
            }
        };
        if let Some(own) = quantity
            && self.quantity.get_or_insert_with(|| own.clone()) != &own
        {
            self.fault("expect-values-mixed", &sample.expect, format!("{} {}", own.0, own.1));
            return None;
        }
        if let Some(name) = judged(&expected).find(|(kind, name)| !is_drawn(&scene, *kind, name)) {
            self.fault("event-undrawn", &sample.expect, name.1);
            return None;
        }
        Some(Sample { input: sample.input.clone(), expected, scene })
    }

    fn finish(mut self, mut set: TestSet) -> Result<TestSet, Vec<Fault>> {
        let unused: Vec<String> = self.archive.paths().filter(|path| !self.used.contains(*path)).map(ToOwned::to_owned).collect();
        for path in unused {
            self.fault("file-unused", &path, "");
        }
        let nothing = |sample: &Sample| match &sample.expected {
            Expected::Objects(objects) => objects.is_empty(),
            Expected::Events(events) => events.is_empty(),
            _ => false,
        };
        if self.faults.is_empty() && set.samples.iter().all(nothing) {
            self.fault(if self.metric.is_of_events() { "expect-no-event" } else { "expect-no-box" }, "", "");
        }
        let told: Names =
            set.samples.iter().flat_map(|sample| judged(&sample.expected).map(|(kind, name)| (kind, name.to_owned()))).collect();
        let zones = set.samples.iter().flat_map(|sample| sample.scene.zones.keys().map(|name| (EventKind::Zone, name.clone())));
        let lines = set.samples.iter().flat_map(|sample| sample.scene.lines.keys().map(|name| (EventKind::Line, name.clone())));
        let kinds: BTreeSet<EventKind> = told.iter().map(|(kind, _)| *kind).collect();
        set.names = zones.chain(lines).chain(told).collect();
        // Where stays are noted, nobody was in a zone of which none is.
        set.judged = set.names.iter().filter(|(kind, _)| kinds.contains(kind)).cloned().collect();
        set.quantity = self.quantity;
        if self.faults.is_empty() { Ok(set) } else { Err(self.faults) }
    }
}

/// What a figure of clips is made of, by kind and name.
fn judged(expected: &Expected) -> impl Iterator<Item = (EventKind, &str)> {
    let (events, lines) = match expected {
        Expected::Events(events) => (events.as_slice(), &[][..]),
        Expected::Crossings(lines) => (&[][..], lines.as_slice()),
        _ => (&[][..], &[][..]),
    };
    events.iter().filter_map(|event| event.what()).chain(lines.iter().map(|(line, _)| (EventKind::Line, line.as_str())))
}

/// Whether something can happen there: in zones and on lines only where they are drawn.
fn is_drawn(scene: &Drawn, kind: EventKind, name: &str) -> bool {
    match kind {
        EventKind::Zone => scene.zones.contains_key(name),
        EventKind::Line => scene.lines.contains_key(name),
        EventKind::Rule | EventKind::Procedure => true,
    }
}
