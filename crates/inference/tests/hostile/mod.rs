//! Hostile models made of the demo apps: the same seed gives the same bytes on every machine.
//!
//! [`mutations::KINDS`] lists what is done to a model, [`case`] makes one, [`Workshop`] lays it out as a package and has it checked in
//! the confined child, and [`complaint`] says whether what came back is acceptable. The test runs a fixed corpus, the fuzz target
//! (`examples/fuzz`) goes on for as long as it is told.
#![allow(dead_code, reason = "the test and the fuzz target each use their part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, reason = "tests fail by panicking")]

mod graphs;
pub mod mutations;
pub mod noise;
mod onnx;
mod wire;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use app_package::{manifest::AppManifest, validate};
use inference::{
    check::{CheckOptions, CheckReport},
    sandbox::Limits,
    worker,
};

/// Numbers that programs stumble over.
pub const ODD: [u64; 14] =
    [0, 1, 2, 127, 128, 255, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 40, 1 << 62, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.number() % (n as u64).max(1)).unwrap()
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.number().to_le_bytes()[0]).collect()
    }
}

/// A demo app without the pictures of its listing and with one golden sample.
pub struct Base {
    pub name: String,
    pub model: Vec<u8>,
    pub yaml: String,
    pub manifest: AppManifest,
    files: Vec<(String, Vec<u8>)>,
}

/// The nine demo apps, by name.
pub fn bases() -> Vec<Base> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/apps");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    folders.iter().map(|folder| base(folder)).collect()
}

fn base(folder: &Path) -> Base {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let yaml = String::from_utf8(read("app.yaml")).unwrap();
    let mut manifest = validate::parse(&yaml).unwrap();
    manifest.media.clear();
    manifest.golden.truncate(1);
    let files = manifest.golden.iter().flat_map(|g| [&g.input, &g.expect]).map(|name| (name.clone(), read(name))).collect();
    Base { name: manifest.name.clone(), model: read(&manifest.models[0].file), yaml, manifest, files }
}

impl Base {
    /// The input of the golden sample.
    pub fn sample(&self) -> &[u8] {
        &self.files[0].1
    }
}

/// A damaged model.
pub struct Case {
    /// Place of the app in [`bases`].
    pub base: usize,
    /// What was done, of [`mutations::KINDS`].
    pub kind: &'static str,
    pub model: Vec<u8>,
}

/// The case of a seed.
pub fn case(bases: &[Base], seed: u64) -> Case {
    let mut rng = Rng::new(seed);
    let (kind, base) = (rng.below(mutations::KINDS.len()), rng.below(bases.len()));
    made(bases, kind, base, &mut rng)
}

/// Every kind of damage on `rounds` apps each, all nine in turn.
pub fn corpus(bases: &[Base], rounds: usize) -> Vec<Case> {
    let kinds = mutations::KINDS.len();
    let places = (0..kinds).flat_map(|kind| (0..rounds).map(move |round| (kind, round)));
    places
        .map(|(kind, round)| {
            let seed = u64::try_from(kind * 1_000 + round).unwrap();
            made(bases, kind, (kind + round * 4) % bases.len(), &mut Rng::new(seed))
        })
        .collect()
}

fn made(bases: &[Base], kind: usize, base: usize, rng: &mut Rng) -> Case {
    let (name, damage) = mutations::KINDS[kind];
    Case { base, kind: name, model: mutations::apply(damage, &bases[base].model, rng) }
}

/// A package folder that is used again for each case and goes away with the value.
pub struct Workshop {
    dir: PathBuf,
    laid: Option<usize>,
}

impl Workshop {
    pub fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("pithead-hostile-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self { dir, laid: None }
    }

    /// Checks a case in the confined child; the report and how long it took.
    ///
    /// # Panics
    /// When the child left a file in the package folder.
    pub fn check(&mut self, bases: &[Base], case: &Case, child: &Path, lib: &Path) -> (CheckReport, Duration) {
        let base = &bases[case.base];
        if self.laid.replace(case.base) != Some(case.base) {
            std::fs::remove_dir_all(&self.dir).unwrap();
            // JSON is YAML.
            let yaml = serde_json::to_vec(&base.manifest).unwrap();
            for (name, bytes) in base.files.iter().map(|(n, b)| (n.as_str(), b)).chain([("app.yaml", &yaml)]) {
                let path = self.dir.join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
        }
        std::fs::write(self.dir.join(&base.manifest.models[0].file), &case.model).unwrap();
        let before = files(&self.dir);
        let started = Instant::now();
        let report = worker::run_check_with(child, &[], &self.dir, lib, &LIMITS, WALL, CheckOptions { iterations: 5 }, None);
        let took = started.elapsed();
        assert_eq!(files(&self.dir), before, "the child changed the package folder ({})", case.kind);
        (report, took)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Short limits: a hostile model that counts for ever meets the processor's.
pub const LIMITS: Limits = Limits { memory_bytes: 1 << 30, cpu_seconds: 2, open_files: 64, required: true };
/// Well above the processor's limit, for a busy machine.
pub const WALL: Duration = Duration::from_secs(20);

/// Names below a folder.
pub fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&entry.path()));
        }
        found.insert(entry.path());
    }
    found
}

/// Steps in which the engine works on the model; only there may the child crash, for only there is code that is not ours.
const ENGINE_STEPS: [&str; 6] = ["onnx-load", "golden", "repeatability", "odd-input", "latency", "throughput"];

/// What is wrong with a report, or `None`: it passed, or the last step says why not. A child that panics, that crashes where no
/// engine runs, or that outlives its wall time is a fault of ours.
pub fn complaint(report: &CheckReport, took: Duration) -> Option<String> {
    if took > WALL + Duration::from_secs(2) {
        return Some(format!("took {took:?}"));
    }
    let failed: Vec<_> = report.steps.iter().filter(|step| !step.ok).collect();
    if report.passed {
        return (!failed.is_empty() || report.run_card.is_none()).then(|| "passed without a run card".into());
    }
    let [last] = failed.as_slice() else { return Some(format!("{} failed steps", failed.len())) };
    let Some(reason) = last.reason.as_deref().filter(|reason| !reason.is_empty()) else { return Some("no reason".into()) };
    let crashed = reason.starts_with("crashed");
    let ours = reason.starts_with("crashed-exit") || reason == "check-not-started" || reason == "manifest-invalid";
    let detail = last.detail.as_deref().unwrap_or_default();
    (ours || (crashed && !ENGINE_STEPS.contains(&last.code.as_str()))).then(|| format!("{reason} in {}: {detail}", last.code))
}

/// A figure of this process in `/proc/self/status`, in bytes.
pub fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
