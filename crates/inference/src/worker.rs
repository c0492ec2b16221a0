//! The check in a child process of its own, and its parent.
//!
//! The child confines itself before it reads anything of the package, tells each finished step on stderr and prints one
//! JSON report on stdout. Whatever happens to it, the parent has a report: it kills at the wall time, bounds what it
//! reads, and turns a signal into a reason. The child gets no environment, so it holds no secret of the server.

mod reading;
mod samples;

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Write as _},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use app_package::manifest::Provider;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::{
    alarm,
    check::{self, CheckOptions, CheckReport, Quiet, STEPS, Step},
    engine::Engine,
    error::{AppError, Result},
    evaluate::{self, Evaluation, metrics::Metric},
    measure::Turns,
    onnx::OnnxRuntime,
    provider::Library,
    sandbox::{self, Confinement, Limits},
};

pub use reading::{
    Asked, FILES, Facts, FormAnswers, ModelReading, ORDER, Reading, ReadingOrder, ReadingRefusal, reading, reading_main, run_reading,
};
pub use samples::{Answers, MAX_INPUTS, answers, run_samples, samples_main};

/// Mark that begins the child's lines about steps on stderr, where engines write too.
const STEP_MARK: &str = "\u{1}step ";
/// Most bytes kept of the child's stdout and stderr each.
const MAX_OUTPUT: u64 = 4 << 20;
/// Longest `app.yaml` in bytes, as `app_package::validate::parse` has it.
const MAX_MANIFEST: u64 = 256 << 10;

/// Start of the child. Its arguments, after those that lead a program here, are in the order that [`run_check`] gives: folder, library,
/// memory bytes, processor seconds, open files, 1 where confinement is required, provider, iterations. Confines itself, checks the package in
/// the folder and prints the report. Call it at the very start of a process.
pub fn child_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut paths = args.by_ref().take(2).map(PathBuf::from);
    let (dir, lib) = (paths.next(), paths.next());
    let (limits, provider, iterations) = (limits_of(&mut args), provider_of(&mut args), number(&mut args));
    let (Some(dir), Some(lib), Some(limits), Ok(provider), Some(iterations)) = (dir, lib, limits, provider, iterations) else {
        eprintln!("usage: DIR LIBRARY MEMORY-BYTES CPU-SECONDS OPEN-FILES REQUIRED cpu|NAME=LIBRARY ITERATIONS");
        return ExitCode::from(2);
    };
    let report = match confine_and_load(&dir, None, &lib, &limits, provider.as_ref()) {
        Ok((confinement, engine)) => {
            // All meet at the engine of the CPU, whatever they run on.
            let quiet = Turns::join(&lib).map_or(Quiet::Unknown, Quiet::Turns);
            let mut report = check_package(&dir, &engine, u32::try_from(iterations).unwrap_or(u32::MAX), &quiet);
            report.provider = Some(engine.provider());
            report.confinement = Some(confinement);
            report
        }
        Err(e) => failed(Vec::new(), e.code, &e.message, 0.0),
    };
    print(&report)
}

fn print(report: &impl serde::Serialize) -> ExitCode {
    let line = serde_json::to_string(report).unwrap_or_default();
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The child that runs an app over a hidden test set, its arguments in the order that [`run_evaluation`] gives: folder, archive of the
/// set, library, figure, memory bytes, processor seconds, open files, 1 where confinement is required. Prints an [`Evaluation`].
pub fn evaluation_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut paths = args.by_ref().take(3).map(PathBuf::from);
    let (dir, set, lib) = (paths.next(), paths.next(), paths.next());
    let metric = args.next().and_then(|word| Metric::from_word(word.to_str()?));
    let (Some(dir), Some(set), Some(lib), Some(metric), Some(limits)) = (dir, set, lib, metric, limits_of(&mut args)) else {
        eprintln!("usage: DIR SET LIBRARY FIGURE MEMORY-BYTES CPU-SECONDS OPEN-FILES REQUIRED");
        return ExitCode::from(2);
    };
    print(&evaluate_confined(&dir, &set, &lib, metric, &limits))
}

fn evaluate_confined(dir: &Path, set: &Path, lib: &Path, metric: Metric, limits: &Limits) -> Evaluation {
    // The set is opened before the confinement, which does not let its path be read.
    let Ok(set) = File::open(set) else { return Evaluation::failed("set-unreadable") };
    let (confinement, engine) = match confine_and_load(dir, None, lib, limits, None) {
        Ok(both) => both,
        Err(e) => return Evaluation::failed(e.code),
    };
    // Held until the end, so that no check measures beside this.
    let _turns = Turns::join(lib);
    let evaluation = match read_manifest(dir).map(|yaml| app_package::validate::parse(&yaml)) {
        Ok(Ok(manifest)) => evaluate::run(dir, manifest, set, metric, &engine),
        Ok(Err(_)) => Evaluation::failed("manifest-invalid"),
        Err(e) => Evaluation::failed(e.code),
    };
    Evaluation {
        engine: format!("{} {}", engine.name(), engine.version()),
        hardware: Some(check::hardware()),
        confinement: Some(confinement),
        ..evaluation
    }
}

/// An alarm rule, or what a procedure asks, that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RuleTrouble {
    /// Its place in app.yaml, such as `alarms[0].when`.
    pub key: String,
    /// `alarm-rule-invalid` or `alarm-rule-too-complex`.
    pub code: String,
    /// English sentence with the particulars.
    pub message: String,
}

/// The child that compiles alarm rules, its arguments in the order that [`run_rules`] gives: folder, memory bytes, processor seconds, open
/// files, 1 where confinement is required. Prints a list of [`RuleTrouble`].
pub fn rules_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let dir = args.next().map(PathBuf::from);
    let (Some(dir), Some(limits)) = (dir, limits_of(&mut args)) else {
        eprintln!("usage: DIR MEMORY-BYTES CPU-SECONDS OPEN-FILES REQUIRED");
        return ExitCode::from(2);
    };
    if confine(&limits, &[&dir]).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(Ok(manifest)) = read_manifest(&dir).map(|yaml| app_package::validate::parse(&yaml)) else { return ExitCode::FAILURE };
    let found = alarm::faults(&manifest).into_iter();
    let told = |(key, e): (String, AppError)| RuleTrouble { key, code: e.code.to_owned(), message: e.message };
    print(&found.map(told).collect::<Vec<_>>())
}

/// Gives the child only these folders, and has it end with its parent.
fn confine(limits: &Limits, folders: &[&Path]) -> Result<Confinement> {
    let confinement = sandbox::confine(limits, folders)?;
    // Nobody waits for the answer once the parent is gone. Set last, for the kernel forgets it where the user changes; where it cannot be
    // set, the processor time is bounded.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    Ok(confinement)
}

fn confine_and_load(
    dir: &Path,
    more: Option<&Path>,
    lib: &Path,
    limits: &Limits,
    provider: Option<&Library>,
) -> Result<(Confinement, OnnxRuntime)> {
    // The library may be a link to a versioned file elsewhere.
    let real = std::fs::canonicalize(lib).map_err(|e| AppError::new("engine-missing", format!("{}: {e}", lib.display())))?;
    let own = provider.map(Library::folders).unwrap_or_default();
    let folders = [Some(dir), more, lib.parent(), real.parent()].into_iter().flatten().chain(own.iter().map(PathBuf::as_path));
    let confinement = confine(limits, &folders.collect::<Vec<_>>())?;
    Ok((confinement, OnnxRuntime::init_on(&real, provider)?))
}

fn check_package(dir: &Path, engine: &dyn Engine, iterations: u32, quiet: &Quiet) -> CheckReport {
    let yaml = match read_manifest(dir) {
        Ok(yaml) => yaml,
        Err(e) => return failed(Vec::new(), e.code, &e.message, 0.0),
    };
    match app_package::validate::parse(&yaml) {
        Ok(manifest) => check::run_observed(dir, &manifest, engine, &CheckOptions { iterations }, quiet, &mut |step| {
            let line = serde_json::to_string(step).unwrap_or_default();
            eprintln!("{STEP_MARK}{line}");
        }),
        Err(faults) => {
            let mut report = failed(Vec::new(), "manifest-invalid", "app.yaml has faults", 0.0);
            report.faults = faults.iter().filter_map(|fault| serde_json::to_value(fault).ok()).collect();
            report
        }
    }
}

fn read_manifest(dir: &Path) -> Result<String> {
    let fail = |e: &dyn std::fmt::Display| AppError::new("manifest-unreadable", format!("app.yaml: {e}"));
    let mut yaml = String::new();
    let file = std::fs::File::open(dir.join("app.yaml")).map_err(|e| fail(&e))?;
    file.take(MAX_MANIFEST + 1).read_to_string(&mut yaml).map_err(|e| fail(&e))?;
    if yaml.len() as u64 > MAX_MANIFEST { Err(fail(&"longer than 256 KiB")) } else { Ok(yaml) }
}

/// Runs `exe args… DIR LIBRARY …` (see [`child_main`]) and returns its report, or one that says how the child ended:
/// `timed-out`, `cpu-limit`, `out-of-memory`, `crashed-signal-N`, `crashed-exit-N`, `check-not-started`. Blocks for at most `wall`
/// and a moment. Measures as [`CheckOptions::default`] says.
pub fn run_check(exe: &Path, args: &[&str], dir: &Path, lib: &Path, limits: &Limits, wall: Duration) -> CheckReport {
    run_check_with(exe, args, dir, lib, limits, wall, CheckOptions::default(), None)
}

/// As [`run_check`], measuring as `options` say, on a provider in the CPU's place.
#[expect(clippy::too_many_arguments, reason = "what a child is given, once")]
pub fn run_check_with(
    exe: &Path,
    args: &[&str],
    dir: &Path,
    lib: &Path,
    limits: &Limits,
    wall: Duration,
    options: CheckOptions,
    provider: Option<&Library>,
) -> CheckReport {
    let mut command = Command::new(exe);
    command.args(args).args([dir, lib]).args(numbers_of(limits).map(|n| n.to_string()));
    command.arg(word_of(provider)).arg(options.iterations.to_string());
    let ended = match supervise(command, wall) {
        Ok(ended) => ended,
        Err(e) => return failed(Vec::new(), "check-not-started", &e.to_string(), 0.0),
    };
    if let Some(report) = ended.answer() {
        return report;
    }
    let steps: Vec<Step> = ended.stderr.lines().filter_map(|l| serde_json::from_str(l.strip_prefix(STEP_MARK)?).ok()).collect();
    let done: f64 = steps.iter().map(|s| s.duration_ms).sum();
    let (reason, detail) = ended.reason(wall);
    failed(steps, &reason, &detail, ended.duration_ms - done)
}

/// Runs `exe args… DIR SET LIBRARY …` (see [`evaluation_main`]) and returns what it prints, or why it printed nothing: the reasons of
/// [`run_check`]. What the child says on stderr is not kept. Blocks for at most `wall` and a moment.
#[expect(clippy::too_many_arguments, reason = "what a child is given, once")]
pub fn run_evaluation(
    exe: &Path,
    args: &[&str],
    dir: &Path,
    set: &Path,
    lib: &Path,
    metric: Metric,
    limits: &Limits,
    wall: Duration,
) -> Evaluation {
    let mut command = Command::new(exe);
    command.args(args).args([dir, set, lib]).arg(metric.as_str());
    command.args(numbers_of(limits).map(|n| n.to_string()));
    match supervise(command, wall) {
        Ok(ended) => ended.answer().unwrap_or_else(|| Evaluation::failed(ended.reason(wall).0)),
        Err(_) => Evaluation::failed("check-not-started"),
    }
}

/// Runs `exe args… DIR …` (see [`rules_main`]) on a folder with an app.yaml; none where the child gave no answer. Blocks for at most `wall` and a
/// moment.
pub fn run_rules(exe: &Path, args: &[&str], dir: &Path, limits: &Limits, wall: Duration) -> Option<Vec<RuleTrouble>> {
    let mut command = Command::new(exe);
    command.args(args).arg(dir).args(numbers_of(limits).map(|n| n.to_string()));
    supervise(command, wall).ok()?.answer()
}

/// The limits as a child takes them, in its order.
fn numbers_of(limits: &Limits) -> [u64; 4] {
    [limits.memory_bytes, limits.cpu_seconds, limits.open_files, u64::from(limits.required)]
}

/// The limits out of a child's arguments, as [`numbers_of`] gives them.
fn limits_of(args: &mut impl Iterator<Item = OsString>) -> Option<Limits> {
    let (memory_bytes, cpu_seconds, open_files) = (number(args)?, number(args)?, number(args)?);
    Some(Limits { memory_bytes, cpu_seconds, open_files, required: number(args)? != 0 })
}

/// A provider as a child takes it.
fn word_of(provider: Option<&Library>) -> String {
    provider.map_or_else(|| Provider::Cpu.as_str().to_owned(), ToString::to_string)
}

/// The provider out of a child's arguments, as [`word_of`] gives it; none for the CPU. An error where it is no such word.
fn provider_of(args: &mut impl Iterator<Item = OsString>) -> Result<Option<Library>, ()> {
    let word = args.next().ok_or(())?;
    match word.to_str().ok_or(())? {
        cpu if cpu == Provider::Cpu.as_str() => Ok(None),
        library => library.parse().map(Some).map_err(drop),
    }
}

fn number(args: &mut impl Iterator<Item = OsString>) -> Option<u64> {
    args.next()?.to_str()?.parse().ok()
}

/// How a child ended and what it said.
struct Ended {
    stdout: Vec<u8>,
    stderr: String,
    timed_out: bool,
    status: Option<ExitStatus>,
    duration_ms: f64,
}

impl Ended {
    /// What the child printed, if it ended well.
    fn answer<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        if self.timed_out || !self.status.is_some_and(|s| s.success()) {
            return None;
        }
        serde_json::from_slice(&self.stdout).ok()
    }

    /// Why the child gave no answer: code and words.
    fn reason(&self, wall: Duration) -> (String, String) {
        if self.timed_out {
            ("timed-out".to_owned(), format!("no result after {} s", wall.as_secs()))
        } else {
            how_it_ended(self.status, &self.stderr)
        }
    }
}

/// Runs a child without environment in `/` until it ends, or kills it at the wall time.
fn supervise(mut command: Command, wall: Duration) -> std::io::Result<Ended> {
    let started = Instant::now();
    let mut child = command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // The child cannot make processes, so both pipes close when it ends and the readers end with it.
    let stdout = child.stdout.take().map(|pipe| std::thread::spawn(move || drain(pipe)));
    let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || drain(pipe)));
    let mut timed_out = false;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if started.elapsed() < wall => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                timed_out = true;
                // Killing fails only when the child has just ended; waiting is right in both cases.
                let _ = child.kill();
                break child.wait().ok();
            }
        }
    };
    let text = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
    let (stdout, stderr) = (text(stdout), String::from_utf8_lossy(&text(stderr)).into_owned());
    Ok(Ended { stdout, stderr, timed_out, status, duration_ms: started.elapsed().as_secs_f64() * 1e3 })
}

/// Reads to the end and keeps the first [`MAX_OUTPUT`] bytes, so that a talkative child does not block.
fn drain(mut pipe: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    // A broken pipe means that the child ended; what came so far is what there is.
    let _ = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    kept
}

fn how_it_ended(status: Option<ExitStatus>, stderr: &str) -> (String, String) {
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    let last = stderr.lines().rev().find(|line| !line.starts_with(STEP_MARK) && !line.trim().is_empty()).unwrap_or_default();
    let last: String = last.chars().take(300).collect();
    let allocation = ["memory allocation of", "bad_alloc", "std::length_error", "cannot allocate memory"];
    let starved = allocation.iter().any(|word| stderr.contains(word));
    match (status.and_then(|s| s.signal()), status.and_then(|s| s.code())) {
        (Some(SIGXCPU), _) => ("cpu-limit".into(), "the processor time ran out".into()),
        // Nobody but the kernel's memory killer sends SIGKILL: the parent reports its own kill as timed-out.
        (Some(SIGKILL), _) => ("out-of-memory".into(), "killed by the system, which was short of memory".into()),
        (Some(_), _) if starved => ("out-of-memory".into(), last),
        (Some(signal), _) => (format!("crashed-signal-{signal}"), last),
        (None, Some(code)) => (format!("crashed-exit-{code}"), last),
        (None, None) => ("crashed".into(), last),
    }
}

/// A report that failed in the step after `steps`.
fn failed(mut steps: Vec<Step>, reason: &str, detail: &str, duration_ms: f64) -> CheckReport {
    if steps.iter().all(|step| step.ok) {
        let code = STEPS.get(steps.len()).or(STEPS.last()).copied().unwrap_or_default();
        let (reason, detail) = (Some(reason.to_owned()), Some(detail.to_owned()));
        steps.push(Step { code: code.into(), ok: false, reason, detail, notice: None, duration_ms: duration_ms.max(0.0) });
    }
    CheckReport { steps, ..CheckReport::default() }
}
