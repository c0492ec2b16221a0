//! What differs between two versions of an app: files, keys of app.yaml, tensors, and the figures of their run cards.
//!
//! Pure. Figures of different engines or hardware are put side by side but not judged, since they do not measure the versions.

use std::collections::BTreeMap;

use app_package::manifest::{AppManifest, Post, Tensor};
use inference::check::{CheckReport, RunCard};
use serde_json::Value;

/// Most changes of one kind that are listed; the count of all is given beside them.
pub const SHOWN: usize = 200;
/// Longest shown value of a key, in characters.
const MAX_VALUE: usize = 160;
/// A median latency above this multiple of the predecessor's is flagged.
const SLOWER: f64 = 1.2;
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
        /// The median latency rose by more than 20 %.
        Slower = "slower",
        /// A smaller share of the golden samples is judged right.
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
        let shares = cards.and_then(|(a, b)| share_right(before.manifest, a).zip(share_right(after.manifest, b)));
        let figures = cards.map(|(a, b)| figures((before.manifest, a), (after.manifest, b))).unwrap_or_default();
        let comparable = cards.is_some_and(|(a, b)| same_place(a, b));
        let mut flags = Vec::new();
        if let Some((a, b)) = cards.filter(|_| comparable)
            && b.latency_ms.median > a.latency_ms.median * SLOWER
        {
            flags.push(Flag::Slower);
        }
        if shares.is_some_and(|(a, b)| b < a - SAME_SHARE) {
            flags.push(Flag::LessAccurate);
        }
        let (files_total, keys_total) = (files.as_ref().map(Vec::len), keys.len());
        let mut files = files.unwrap_or_default();
        files.truncate(SHOWN);
        keys.truncate(SHOWN);
        let tensors = changes(&tensors_of(before.manifest), &tensors_of(after.manifest));
        Self { files, files_total, keys, keys_total, tensors, figures, comparable, flags }
    }
}

/// Whether both were measured with one engine version on one kind of hardware: only then do times compare the apps.
pub fn same_place(a: &RunCard, b: &RunCard) -> bool {
    a.engine == b.engine && a.engine_version == b.engine_version && a.hardware == b.hardware
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

fn figures(before: (&AppManifest, &RunCard), after: (&AppManifest, &RunCard)) -> Vec<Figure> {
    let figure = |kind: Measure| {
        let (before, after) = measure(kind, before.0, before.1).zip(measure(kind, after.0, after.1))?;
        Some(Figure { kind, before, after })
    };
    Measure::ALL.iter().filter_map(|kind| figure(*kind)).collect()
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
    let tensors = manifest.models.iter().flat_map(|model| model.inputs.iter().chain(&model.outputs).map(move |t| (model, t)));
    tensors.map(|(model, t)| (format!("{}/{}", model.name, t.name), format!("{} {}", t.datatype, shape(t)))).collect()
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
    let finds = manifest.pipeline.post.iter().any(|post| !matches!(post, Post::Values(_)));
    card.accuracy.filter(|_| finds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use inference::check::{Hardware, Latency};

    fn manifest(change: impl FnOnce(&mut AppManifest)) -> AppManifest {
        let yaml = include_str!("../../demo/apps/belt-foreign-object/app.yaml");
        let mut manifest = app_package::validate::parse(yaml).unwrap();
        change(&mut manifest);
        manifest
    }

    fn report(median: f64, accuracy: f64, cpu: &str) -> CheckReport {
        let card = RunCard {
            engine: "onnxruntime".into(),
            engine_version: "1.22.0".into(),
            hardware: Hardware { cpu: cpu.into(), cores: 2, architecture: "amd64".into() },
            accuracy: Some(accuracy),
            golden_total: 5,
            latency_ms: Latency { median, p95: median * 2.0, p99: 0.0 },
            load_ms: 10.0,
            peak_memory_bytes: 1 << 20,
            model_bytes: 1000,
            throughput: None,
            structure: None,
            odd_inputs: Vec::new(),
            input: "1x3x8x8".into(),
        };
        CheckReport { passed: true, run_card: Some(card), ..CheckReport::default() }
    }

    fn between(a: &AppManifest, ra: &CheckReport, b: &AppManifest, rb: &CheckReport) -> Difference {
        Difference::between(Side { manifest: a, report: Some(ra), files: None }, Side { manifest: b, report: Some(rb), files: None })
    }

    #[test]
    fn slower_by_more_than_a_fifth_and_less_accurate_are_flagged() {
        let m = manifest(|_| ());
        let flags = |a: (f64, f64, &str), b: (f64, f64, &str)| between(&m, &report(a.0, a.1, a.2), &m, &report(b.0, b.1, b.2)).flags;
        assert_eq!(flags((10.0, 0.8, "a"), (12.0, 0.8, "a")), []);
        assert_eq!(flags((10.0, 0.8, "a"), (12.1, 0.8, "a")), [Flag::Slower]);
        assert_eq!(flags((10.0, 0.8, "a"), (5.0, 0.6, "a")), [Flag::LessAccurate]);
        assert_eq!(flags((10.0, 0.8, "a"), (50.0, 0.2, "a")), [Flag::Slower, Flag::LessAccurate]);
        // Another machine: speed says nothing, accuracy does.
        assert_eq!(flags((10.0, 0.8, "a"), (50.0, 0.2, "b")), [Flag::LessAccurate]);
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
}
