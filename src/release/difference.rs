//! What differs between two versions of an app: files, keys of app.yaml, tensors, and the figures of their run cards.
//!
//! Pure. Figures of different engines or hardware are put side by side but not judged, since they do not measure the versions; nor are those
//! of the same bytes, or differences within the noise: such are of the hour, not of the version.

use std::collections::BTreeMap;

use app_package::file_kind::{self, FileKind};
use app_package::manifest::{AppManifest, Golden};
use app_package::pipeline::{Gives, Post, Tensor};
use inference::check::{CheckReport, RunCard};
use inference::measure::Latency;
use serde_json::Value;

/// Most changes of one kind that are listed; the count of all is given beside them.
pub const SHOWN: usize = 200;
/// Longest shown value of a key, in characters.
const MAX_VALUE: usize = 160;
/// Times that have grown by more than this part of the predecessor's are flagged, where that is outside the noise.
const SLOWER: f64 = 0.2;
/// Noise of times of which nobody knows how they were measured, and least noise of those that are not steady, as part of the time.
const UNKNOWN_NOISE: f64 = 0.5;
/// A difference in milliseconds that nobody notices, whatever part of the time it is.
const UNNOTICED_MS: f64 = 0.1;
/// Standard errors by which shares of different samples differ at least before one counts as smaller: about 95 % of two samples of the same
/// lie closer.
const ERRORS: f64 = 2.0;
/// Shares closer than this are equal: they are quotients of small whole numbers.
const SAME_SHARE: f64 = 1e-9;

/// One version with all that is compared.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What its app.yaml says.
    pub manifest: &'a AppManifest,
    /// Its last check report.
    pub report: Option<&'a CheckReport>,
    /// Digest and bytes of each file by its path; none where the package is gone.
    pub files: Option<&'a BTreeMap<String, (String, u64)>>,
}

/// What differs, oldest version first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// The first [`SHOWN`] files that differ, by path.
    pub files: Vec<Change>,
    /// How many files differ; none where one of the packages is gone.
    pub files_total: Option<usize>,
    /// The first [`SHOWN`] keys that differ, by place; without tensors, version and changelog.
    pub keys: Vec<Change>,
    /// How many keys differ.
    pub keys_total: usize,
    /// Tensors that differ, by name.
    pub tensors: Vec<Change>,
    /// Both run cards' figures; empty where one of the two has none.
    pub figures: Vec<Figure>,
    /// Both cards were measured with one engine version on one kind of hardware.
    pub comparable: bool,
    /// Whether times of either version are those of a frame of a clip.
    pub per_frame: (bool, bool),
    /// Golden samples of either version: how many are labelled, and how many there are.
    pub samples: ((u32, usize), (u32, usize)),
    /// What a moderator should look at.
    pub flags: Vec<Flag>,
}

/// A file, key or tensor that was added, removed or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Path, key or tensor.
    pub name: String,
    /// Before, if it was there.
    pub before: Option<String>,
    /// After, if it is there.
    pub after: Option<String>,
}

/// A figure of both run cards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// What is measured.
    pub kind: Measure,
    /// Value in the older version.
    pub before: f64,
    /// Value in the newer version.
    pub after: f64,
    /// The difference is none of the versions: their bytes are the same, or it is within the noise of the two measurements.
    pub noise: bool,
}

impl Figure {
    /// Change as a fraction of the older figure; none where that is zero.
    pub fn change(self) -> Option<f64> {
        (self.before != 0.0).then(|| (self.after - self.before) / self.before)
    }
}

crate::base::db::types::text_enum! {
    /// A figure of the run card.
    pub enum Measure {
        /// Share of golden samples judged right.
        Accuracy = "accuracy",
        /// Median latency in milliseconds.
        Median = "median",
        /// 95th percentile in milliseconds.
        P95 = "p95",
        /// 99th percentile in milliseconds.
        P99 = "p99",
        /// Predictions in a second on one thread.
        Throughput = "throughput",
        /// Peak memory in bytes.
        Memory = "memory",
        /// Load time in milliseconds.
        Load = "load",
        /// Model in bytes.
        Model = "model",
    }
}

crate::base::db::types::text_enum! {
    /// Why a moderator should look twice.
    pub enum Flag {
        /// The median latency or the 95th percentile rose by more than 20 % and the noise.
        Slower = "slower",
        /// A smaller share of the labelled golden samples is judged right, by more than another choice of samples explains.
        LessAccurate = "less-accurate",
        /// The developer's name looks like that of another organisation, or like the platform's.
        NameResembles = "name-resembles",
    }
}

impl Difference {
    /// Compares the older of two versions with the newer.
    pub fn between(before: Side<'_>, after: Side<'_>) -> Self {
        let files = before.files.zip(after.files).map(|(a, b)| changes(&shown_files(a), &shown_files(b)));
        let mut keys = changes(&keys_of(before.manifest), &keys_of(after.manifest));
        let cards = before.report.and_then(|r| r.run_card.as_ref()).zip(after.report.and_then(|r| r.run_card.as_ref()));
        let same = same_bytes(before, after);
        let figures = cards.map(|(a, b)| figures((before.manifest, a), (after.manifest, b), same)).unwrap_or_default();
        let comparable = cards.is_some_and(|(a, b)| same_place(a, b));
        let mut flags = Vec::new();
        if let Some((a, b)) = cards.filter(|_| !same) {
            if comparable && slower(&a.latency_ms, &b.latency_ms) {
                flags.push(Flag::Slower);
            }
            if less_accurate((before, a), (after, b)) {
                flags.push(Flag::LessAccurate);
            }
        }
        let (files_total, keys_total) = (files.as_ref().map(Vec::len), keys.len());
        let mut files = files.unwrap_or_default();
        files.truncate(SHOWN);
        keys.truncate(SHOWN);
        let tensors = changes(&tensors_of(before.manifest), &tensors_of(after.manifest));
        let counts = |side: Side<'_>| (labelled(side.manifest), side.manifest.golden.len());
        let per_frame = cards.map_or((false, false), |(a, b)| (a.latency_ms.is_per_frame(), b.latency_ms.is_per_frame()));
        let samples = (counts(before), counts(after));
        Self { files, files_total, keys, keys_total, tensors, figures, comparable, per_frame, samples, flags }
    }
}

/// Whether both were measured with one engine version on one kind of hardware, and both for each frame or neither: only then do times compare
/// the apps.
pub fn same_place(a: &RunCard, b: &RunCard) -> bool {
    let unit = |card: &RunCard| card.latency_ms.is_per_frame();
    unit(a) == unit(b) && a.engine == b.engine && a.engine_version == b.engine_version && a.hardware == b.hardware
}

/// A figure of a run card; none where it was not measured, or says nothing of this app.
pub fn measure(kind: Measure, manifest: &AppManifest, card: &RunCard) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "figures for people; bytes below 2^53")]
    let exact = |n: u64| n as f64;
    match kind {
        Measure::Accuracy => share_right(manifest, card),
        Measure::Median => Some(card.latency_ms.median),
        Measure::P95 => Some(card.latency_ms.p95),
        // Old reports, from before P99 was measured, hold 0.
        Measure::P99 => Some(card.latency_ms.p99).filter(|p99| *p99 > 0.0),
        Measure::Throughput => card.throughput.map(|rates| rates.one_thread),
        // 0 means that the system does not report it.
        Measure::Memory => Some(exact(card.peak_memory_bytes)).filter(|bytes| *bytes > 0.0),
        Measure::Load => Some(card.load_ms),
        Measure::Model => Some(exact(card.model_bytes)),
    }
}

fn figures(before: (&AppManifest, &RunCard), after: (&AppManifest, &RunCard), same: bool) -> Vec<Figure> {
    let times = (&before.1.latency_ms, &after.1.latency_ms);
    let figure = |kind: Measure| {
        let (before, after) = measure(kind, before.0, before.1).zip(measure(kind, after.0, after.1))?;
        let noise = match kind {
            Measure::Accuracy | Measure::Model => false,
            Measure::Memory | Measure::Load => same,
            Measure::Median => same || within(before, after, (noise_of(times.0).0, noise_of(times.1).0), UNNOTICED_MS),
            Measure::P95 | Measure::P99 => same || within(before, after, (noise_of(times.0).1, noise_of(times.1).1), UNNOTICED_MS),
            Measure::Throughput => same || within(before, after, (noise_of(times.0).0, noise_of(times.1).0), 0.0),
        };
        Some(Figure { kind, before, after, noise })
    };
    Measure::ALL.iter().filter_map(|kind| figure(*kind)).collect()
}

/// Noise of the median and of the 95th percentile, as parts of them.
fn noise_of(latency: &Latency) -> (f64, f64) {
    match &latency.measured {
        Some(how) if how.steady => (how.spread, how.spread_p95),
        Some(how) => (how.spread.max(UNKNOWN_NOISE), how.spread_p95.max(UNKNOWN_NOISE)),
        None => (UNKNOWN_NOISE, UNKNOWN_NOISE),
    }
}

/// Whether two figures differ by no more than the noise of both together, or by what nobody notices.
fn within(before: f64, after: f64, noise: (f64, f64), unnoticed: f64) -> bool {
    (after - before).abs() <= (before * noise.0 + after * noise.1).max(unnoticed)
}

fn slower(before: &Latency, after: &Latency) -> bool {
    let (a, b) = (noise_of(before), noise_of(after));
    let grown = |old: f64, new: f64, noise: (f64, f64)| new > old * (1.0 + SLOWER) && !within(old, new, noise, UNNOTICED_MS);
    grown(before.median, after.median, (a.0, b.0)) || grown(before.p95, after.p95, (a.1, b.1))
}

/// Whether both versions run the same: model, data and samples byte by byte, and the same pipeline around them. Texts and pictures of the
/// listing make nothing slower.
fn same_bytes(before: Side<'_>, after: Side<'_>) -> bool {
    let run = |side: Side<'_>| {
        let shown = |path: &str| side.manifest.media.iter().any(|medium| medium.file == *path);
        let read = |path: &str| matches!(file_kind::of_name(path), Ok(FileKind::Text | FileKind::Yaml));
        let kept = side.files?.iter().filter(|(path, _)| !shown(path) && !read(path));
        Some(kept.map(|(path, (digest, _))| (path.clone(), digest.clone())).collect::<BTreeMap<_, _>>())
    };
    let (a, b) = (before.manifest, after.manifest);
    let around = a.model_steps() == b.model_steps()
        && a.steps == b.steps
        && (a.fps, &a.scene, &a.procedures) == (b.fps, &b.scene, &b.procedures)
        && a.alarms() == b.alarms()
        && a.golden == b.golden
        && a.parameters == b.parameters;
    around && run(before).is_some_and(|files| run(after) == Some(files))
}

fn less_accurate(before: (Side<'_>, &RunCard), after: (Side<'_>, &RunCard)) -> bool {
    let share = |(side, card): (Side<'_>, &RunCard)| share_right(side.manifest, card);
    let Some((a, b)) = share(before).zip(share(after)).filter(|(a, b)| *b < *a - SAME_SHARE) else { return false };
    if same_samples(before.0, after.0) {
        return true;
    }
    // The standard error of a difference of two shares, by the share of both together.
    let count = |side: Side<'_>| f64::from(labelled(side.manifest).max(1));
    let (n, m) = (count(before.0), count(after.0));
    let both = (a * n + b * m) / (n + m);
    a - b > ERRORS * (both * (1.0 - both) * (1.0 / n + 1.0 / m)).sqrt()
}

/// Whether the labelled samples of both versions are the same, inputs and labels.
fn same_samples(before: Side<'_>, after: Side<'_>) -> bool {
    let of = |side: Side<'_>| {
        let files = side.files?;
        let sample = |g: &Golden| Some((files.get(&g.input)?.0.clone(), serde_json::to_string(g.truth.as_ref()?).ok()?));
        let mut samples: Vec<_> = side.manifest.golden.iter().filter_map(sample).collect();
        samples.sort();
        Some(samples)
    };
    of(before).is_some_and(|samples| of(after) == Some(samples))
}

/// How many golden samples say what is really there.
pub fn labelled(manifest: &AppManifest) -> u32 {
    u32::try_from(manifest.golden.iter().filter(|g| g.truth.is_some()).count()).unwrap_or(u32::MAX)
}

fn shown_files(files: &BTreeMap<String, (String, u64)>) -> BTreeMap<String, String> {
    // Enough of the digest to tell two files of one size apart.
    files
        .iter()
        .map(|(path, (digest, size))| (path.clone(), format!("{size} B · {}", digest.chars().take(19).collect::<String>())))
        .collect()
}

/// Every leaf of app.yaml by its place, such as `pipeline.alarms[0].when`.
fn keys_of(manifest: &AppManifest) -> BTreeMap<String, String> {
    let mut value = serde_json::to_value(manifest).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.remove("version");
        map.remove("changes");
        for model in map.get_mut("models").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
            model.remove("inputs");
            model.remove("outputs");
        }
    }
    let mut out = BTreeMap::new();
    leaves(String::new(), &value, &mut out);
    out
}

/// Collects the leaves below a place. The depth is that of [`AppManifest`], so the recursion ends soon.
fn leaves(place: String, value: &Value, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                leaves(if place.is_empty() { key.clone() } else { format!("{place}.{key}") }, inner, out);
            }
        }
        // Numbers and short words side by side read better than one line each.
        Value::Array(items) if items.iter().any(|i| i.is_object() || i.is_array()) => {
            for (at, inner) in items.iter().enumerate() {
                leaves(format!("{place}[{at}]"), inner, out);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            out.insert(place, cut(text));
        }
        Value::Number(n) => {
            out.insert(place, number(n));
        }
        other => {
            out.insert(place, cut(&other.to_string()));
        }
    }
}

/// A number as it was written: app.yaml's fractions of single precision carry more digits as JSON.
fn number(n: &serde_json::Number) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "compared with the value before it is used")]
    let single = n.as_f64().filter(|_| n.is_f64()).map(|value| (value, value as f32));
    match single {
        Some((value, short)) if f64::from(short).to_bits() == value.to_bits() => short.to_string(),
        _ => n.to_string(),
    }
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_VALUE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn tensors_of(manifest: &AppManifest) -> BTreeMap<String, String> {
    let shape = |t: &Tensor| t.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let models = manifest.model_steps();
    let tensors = models.iter().flat_map(|model| model.inputs.iter().chain(&model.outputs).map(|t| (&model.name, t)));
    tensors.map(|(model, t)| (format!("{model}/{}", t.name), format!("{} {}", t.datatype, shape(t)))).collect()
}

/// Entries that only one of two maps has, or that differ; by key.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let gone = before.iter().filter(|(name, old)| after.get(*name) != Some(*old));
    let mut all: Vec<Change> =
        gone.map(|(name, old)| Change { name: name.clone(), before: Some(old.clone()), after: after.get(name).cloned() }).collect();
    let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
    all.extend(new.map(|(name, new)| Change { name: name.clone(), before: None, after: Some(new.clone()) }));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Share of labelled samples whose finding is right. None where the app gives values only: there is no right or wrong to count.
pub fn share_right(manifest: &AppManifest, card: &RunCard) -> Option<f64> {
    let finds =
        manifest.posts().any(|post| !matches!(post, Post::Values(_))) || manifest.wasm_steps().any(|step| step.out != Gives::Values);
    card.accuracy.filter(|_| finds)
}

#[cfg(test)]
mod tests;
