//! The check that every uploaded package must pass, step by step, with the figures of its run card.
//!
//! Runs in a confined child; see [`crate::worker`]. A step that fails ends the check, for later steps build on it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use app_package::manifest::{AppManifest, Provider};
use app_package::pipeline::Pre;
use serde::{Deserialize, Serialize};

use crate::{
    agree,
    alarm::Rules,
    app::{self, App},
    column::Column,
    content,
    engine::Engine,
    error::{AppError, Result},
    golden::{self, GoldenReport},
    measure::{self, Latency, Throughput, Times, Turns},
    model_file::{self, Structure},
    own::{self, OwnFigures},
    picture, post,
    probe::{self, OddInput},
    provider::{self, ProviderInfo},
    sandbox::Confinement,
    table,
};

/// Codes of the steps in order.
pub const STEPS: [&str; 11] = [
    "files",
    "content",
    "onnx-load",
    "tensors-match",
    "alarm-rules",
    "golden",
    "repeatability",
    "odd-input",
    "latency",
    "throughput",
    "memory",
];

/// Settings of a check.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// Predictions of a round; [`measure`] says how many rounds there are, and when a round of a slow or a very fast app ends. Throughput on
    /// two threads is measured for 4 ms for each, and loading is repeated for 10 ms for each.
    pub iterations: u32,
}

impl CheckOptions {
    fn throughput_time(self) -> Duration {
        Duration::from_millis(4).saturating_mul(self.iterations)
    }

    fn load_time(self) -> Duration {
        Duration::from_millis(10).saturating_mul(self.iterations)
    }
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { iterations: 100 }
    }
}

/// What the check found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Every step is ok.
    pub passed: bool,
    /// Steps that ran, in the order of [`STEPS`]; the last may have failed.
    pub steps: Vec<Step>,
    /// Figures, when the check passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_card: Option<RunCard>,
    /// Golden samples one by one, when they ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<GoldenReport>,
    /// What confined the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// What the models ran on, where the engine could be loaded. None in reports from before there was a choice: those are of the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderInfo>,
    /// Faults of `app.yaml` as `app_package::validate::Fault` serialises them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// One of [`STEPS`].
    pub code: String,
    /// Whether the step passed.
    pub ok: bool,
    /// Stable code of the failure, for example `model-load`, `golden-mismatch`, `timed-out`, `out-of-memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Stable code of what is odd about a step that passed: `golden-blind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// Time of the step in milliseconds.
    pub duration_ms: f64,
}

/// Figures of an app, measured on the machine that checked it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunCard {
    pub engine: String,
    pub engine_version: String,
    pub hardware: Hardware,
    /// Share of labelled golden samples that are right; the manifest says which are labelled.
    pub accuracy: Option<f64>,
    /// Golden samples, all reproduced.
    pub golden_total: u32,
    /// Whole predictions of the golden samples; of clips by their frames ([`Latency::is_per_frame`]).
    pub latency_ms: Latency,
    /// Time for inspecting and loading the model: the median of up to five times.
    pub load_ms: f64,
    /// Growth of the process's peak resident memory (`VmHWM`) over its resident memory before the model was loaded (engine library already
    /// in); 0 where the system does not tell. Where decoding the listing's pictures took more than the app ever did, that peak is not the
    /// app's: then the figure is the growth of resident memory after all predictions.
    pub peak_memory_bytes: u64,
    /// Size of the model file with its external data.
    pub model_bytes: u64,
    /// Whole predictions in a second, of clips frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Throughput>,
    /// What the model is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structure: Option<Structure>,
    /// What the model did with odd input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odd_inputs: Vec<OddInput>,
    /// The vendor's own steps, over the golden samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_steps: Vec<OwnFigures>,
    /// The providers that the app names besides the CPU, in its order. Each is run by a check of its own, whose caller fills them in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<Column>,
    /// Shape of the first model's input tensor, for example `1x3x640x640`; -1 where it follows the input.
    pub input: String,
}

/// Machine that figures were measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// Processor model.
    pub cpu: String,
    /// Cores that the process may use.
    pub cores: u32,
    /// Margo architecture word: `amd64`, `arm64`.
    pub architecture: String,
}

/// Checks the package in `dir`, while nothing else works on the machine that the caller knows of. Blocking.
pub fn run(dir: &Path, manifest: &AppManifest, engine: &dyn Engine, options: &CheckOptions) -> CheckReport {
    run_observed(dir, manifest, engine, options, &Quiet::Kept, &mut |_| {})
}

/// Whether others work on the machine while times are measured.
#[derive(Debug)]
pub enum Quiet {
    /// The caller keeps others away.
    Kept,
    /// Those who have joined these turns wait.
    Turns(Turns),
    /// Nobody can be kept away.
    Unknown,
}

impl Quiet {
    /// Keeps others away until this is dropped, for little comes after what is measured; whether that went.
    fn begin(&self) -> bool {
        match self {
            Self::Kept => true,
            Self::Turns(turns) => turns.alone(),
            Self::Unknown => false,
        }
    }
}

/// As [`run`], telling each step as it ends, so that a parent process knows how far a child came.
pub fn run_observed(
    dir: &Path,
    manifest: &AppManifest,
    engine: &dyn Engine,
    options: &CheckOptions,
    quiet: &Quiet,
    observe: &mut dyn FnMut(&Step),
) -> CheckReport {
    let mut check = Check { report: CheckReport::default(), observe };
    let run_card = all_steps(&mut check, dir, manifest, engine, *options, quiet);
    let mut report = check.report;
    report.passed = run_card.is_some();
    report.run_card = run_card;
    report
}

struct Check<'a> {
    report: CheckReport,
    observe: &'a mut dyn FnMut(&Step),
}

impl Check<'_> {
    /// Remarks on the last step, which passed.
    fn notice(&mut self, code: &str) {
        if let Some(step) = self.report.steps.last_mut() {
            step.notice = Some(code.to_owned());
        }
    }

    fn step<T>(&mut self, code: &str, work: impl FnOnce(&mut CheckReport) -> Result<T>) -> Option<T> {
        let started = Instant::now();
        let result = work(&mut self.report);
        let mut step = Step { code: code.into(), ok: result.is_ok(), duration_ms: millis(started), ..Step::default() };
        if let Err(e) = &result {
            step.reason = Some(e.code.into());
            step.detail = Some(e.message.clone());
        }
        (self.observe)(&step);
        self.report.steps.push(step);
        result.ok()
    }
}

fn all_steps(
    check: &mut Check<'_>,
    dir: &Path,
    manifest: &AppManifest,
    engine: &dyn Engine,
    options: CheckOptions,
    quiet: &Quiet,
) -> Option<RunCard> {
    let before = memory("VmRSS:");
    let early_peak = memory("VmHWM:");
    let structure = check.step("files", |_| files(dir, manifest))?;
    check.step("content", |_| content::scan(dir))?;
    // A process cannot reset its peak of memory, so the peak of decoding pictures is told apart from the app's.
    let pictures_peak = Some(memory("VmHWM:")).filter(|peak| *peak > early_peak);
    let loading = Instant::now();
    let sessions = check.step("onnx-load", |_| app::load(dir, manifest, engine, 1))?;
    let load_ms = millis(loading);
    check.step("tensors-match", |_| app::check(manifest, &sessions))?;
    let rules = check.step("alarm-rules", |_| Rules::compile(manifest))?;
    let (mut app, golden) = check.step("golden", |report| {
        let mut app = App::assemble(dir, manifest.clone(), sessions, rules)?;
        let golden = golden::run(&mut app);
        report.golden = Some(golden.clone());
        verdict(&golden).map_err(|e| {
            let hint = if e.code == "golden-mismatch" { agree::hint(&mut app, &golden) } else { None };
            hint.map_or(e.clone(), |hint| AppError::new(e.code, format!("{}; {hint}", e.message)))
        })?;
        even_windows(&app)?;
        Ok((app, golden))
    })?;
    if golden::is_blind(dir, manifest) {
        check.notice("golden-blind");
    }
    let own_steps = app.own_figures();
    check.step("repeatability", |_| probe::repeat(&mut app))?;
    let input = app.input_shape();
    let odd_inputs = check.step("odd-input", |_| probe::odd_inputs(&mut app))?;
    // The peak is read before anything is loaded a second time, and before the times of many runs are kept.
    let (high_water, resident) = (memory("VmHWM:"), memory("VmRSS:"));
    let alone = quiet.begin();
    let (times, load_ms) = check.step("latency", |report| {
        let times = measure::times(&mut app, options.iterations, alone)?;
        note_times(report, &times);
        Ok((times, load_again(dir, manifest, engine, options.load_time(), load_ms)))
    })?;
    let throughput = check.step("throughput", |_| {
        let mut second = App::open(dir, manifest.clone(), engine, 2)?;
        let two_threads = measure::per_second(&mut second, times.samples.len(), options.throughput_time())?;
        Ok(Throughput { one_thread: times.per_second, two_threads })
    })?;
    let peak_memory_bytes = check.step("memory", |_| {
        let peak = high_water;
        let own = if pictures_peak == Some(peak) { resident } else { peak };
        let peak = own.saturating_sub(before);
        // As much as a node gives it.
        let own = if engine.provider().name == Provider::Cpu { 0 } else { provider::MEMORY };
        let declared = (u64::from(manifest.resources.memory_mib) << 20).saturating_add(own);
        if peak <= declared {
            return Ok(peak);
        }
        Err(AppError::new("memory-over-declared", format!("{} MiB used, {} MiB declared", peak >> 20, declared >> 20)))
    })?;
    let shape: Vec<String> = input.iter().map(ToString::to_string).collect();
    Some(RunCard {
        engine: engine.name().into(),
        engine_version: engine.version().into(),
        hardware: hardware(),
        accuracy: golden.accuracy,
        golden_total: golden.total,
        latency_ms: times.latency,
        load_ms,
        peak_memory_bytes,
        model_bytes: structure.bytes,
        throughput: Some(throughput),
        structure: Some(structure),
        odd_inputs,
        own_steps,
        providers: manifest.providers.iter().map(|named| Column::not_here(*named)).collect(),
        input: shape.join("x"),
    })
}

/// Every named file is there, inside the package, the listing's pictures are pictures, and the models are ONNX. Returns what the models are
/// made of.
pub(crate) fn files(dir: &Path, manifest: &AppManifest) -> Result<Structure> {
    for name in manifest.golden.iter().flat_map(|g| [&g.input, &g.expect]) {
        model_file::package_file(dir, name)?;
    }
    for medium in &manifest.media {
        listing_picture(dir, &medium.file)?;
    }
    let steps = manifest.model_steps();
    let mut whole = Structure::default();
    for step in &steps {
        let (path, _) = model_file::package_file(dir, &step.file)?;
        let structure = model_file::inspect(dir, &path).map_err(|e| app::told(&e, step, steps.len()))?;
        whole.add(structure);
        post::ready(dir, &step.post).map_err(|e| app::told(&e, step, steps.len()))?;
    }
    own::all(dir, manifest)?;
    if steps.is_empty() { Err(AppError::new("model-missing", "the manifest names no model")) } else { Ok(whole) }
}

/// PNG and JPEG are decoded within the limits of inputs; of WebP, which nothing here decodes, the first bytes are looked at.
/// Codes `media-not-a-picture`, `media-too-large`, with the file's name in words.
fn listing_picture(dir: &Path, name: &str) -> Result<()> {
    let (path, size) = model_file::package_file(dir, name)?;
    if !usize::try_from(size).is_ok_and(|size| size <= app::MAX_INPUT) {
        return Err(AppError::new("media-too-large", format!("`{name}` has {size} bytes; at most {} are read", app::MAX_INPUT)));
    }
    let bytes = std::fs::read(path).map_err(|e| AppError::new("file-missing", format!("`{name}`: {e}")))?;
    if name.to_ascii_lowercase().ends_with(".webp") {
        return match bytes.as_slice() {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(()),
            _ => Err(AppError::new("media-not-a-picture", format!("`{name}` is not a WebP picture"))),
        };
    }
    if matches!(bytes.as_slice(), [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..]) {
        return Err(AppError::new("media-not-a-picture", format!("`{name}` is a WebP picture; its name must end in .webp")));
    }
    picture::decode(&bytes).map(drop).map_err(|e| {
        let code = if e.code == "input-too-large" { "media-too-large" } else { "media-not-a-picture" };
        AppError::new(code, format!("`{name}`: {}", e.message))
    })
}

/// Codes that say why a sample gave no result to compare.
const CAUSES: [&str; 33] = [
    "truth-beyond-clip",
    "picture-not-16-bit",
    "too-many-tiles",
    "out-of-memory",
    "wasm-out-of-fuel",
    "wasm-memory",
    "wasm-trap",
    "wasm-answer",
    "expect-unreadable",
    "file-missing",
    "file-outside",
    "input-not-a-clip",
    "clip-codec",
    "clip-rate",
    "clip-empty",
    "parameter-invalid",
    "parameter-unknown",
    "input-not-a-picture",
    "input-not-csv",
    "input-not-sound",
    "sound-too-short",
    "input-too-large",
    "csv-column-missing",
    "csv-empty",
    "csv-column-twice",
    "csv-field-count",
    "csv-not-a-number",
    "csv-quote",
    "csv-row-too-long",
    "csv-separator",
    "csv-too-few-rows",
    "output-not-finite",
    "alarm-rule-failed",
];

fn verdict(golden: &GoldenReport) -> Result<()> {
    let Some(bad) = golden.samples.iter().find(|s| !s.ok) else {
        return if golden.total > 0 { Ok(()) } else { Err(AppError::new("golden-missing", "there is no golden sample")) };
    };
    let message = bad.message.as_deref().unwrap_or_default();
    // A cause that kept the sample from running is the code; `golden-mismatch` is only for a result that differs.
    let code = CAUSES.iter().find(|cause| message.split(':').next() == Some(**cause)).copied().unwrap_or("golden-mismatch");
    Err(AppError::new(code, format!("{} of {} reproduced; `{}`: {message}", golden.reproduced, golden.total, bad.name)))
}

/// The golden tables of windows are tables in all their rows. A node, whose inputs are what they are, looks at the last ones only.
fn even_windows(app: &App) -> Result<()> {
    if app.manifest().model_steps().iter().any(|step| matches!(step.pre, Pre::Window(_))) {
        for golden in &app.manifest().golden {
            let checked = table::check(&golden::read(app.dir(), &golden.input)?);
            checked.map_err(|e| AppError::new(e.code, format!("`{}`: {}", golden.name, e.message)))?;
        }
    }
    Ok(())
}

/// Each sample's time is that of the runs which the percentiles are of.
fn note_times(report: &mut CheckReport, times: &Times) {
    let samples = report.golden.iter_mut().flat_map(|golden| &mut golden.samples);
    for (sample, median) in samples.zip(&times.samples) {
        (sample.latency_ms, sample.runs) = (*median, times.runs_each);
    }
}

/// The median of the times of loading, where the first took `first`: up to five, until their sum reaches a time.
fn load_again(dir: &Path, manifest: &AppManifest, engine: &dyn Engine, time: Duration, first: f64) -> f64 {
    let mut times = vec![first];
    while times.len() < 5 && times.iter().sum::<f64>() < time.as_secs_f64() * 1e3 {
        let loading = Instant::now();
        // It was loaded once; that there is no room for a second one beside it is no fault of the app.
        if app::load(dir, manifest, engine, 1).is_err() {
            break;
        }
        times.push(millis(loading));
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(first)
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// A figure of `/proc/self/status` in bytes, 0 when it is not there.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// The machine that this process runs on.
pub fn hardware() -> Hardware {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    Hardware {
        cpu: cpu.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
        cores: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .into(),
    }
}
