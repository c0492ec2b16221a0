//! Fuzzing without a compiler of its own: `fuzz --seconds N --seed S --lib libonnxruntime.so`.
//!
//! Takes turns: a hostile model through the confined child, then as long the parsers of this process. cargo-fuzz would lead its inputs
//! by coverage, but needs a nightly compiler; this one is built with the project's own and knows the structure of models instead.
//! A finding is printed with its target and seed; `--only TARGET SEED` does that one again. Exit status 1 where there was one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a tool for developers: it ends where its own ground gives way"
)]

mod decoders;
mod documents;
#[path = "../../tests/hostile/mod.rs"]
mod hostile;
mod parsers;
mod videos;

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hostile::{Rng, Workshop, bases, case, complaint, memory};
use parsers::{Examples, TARGETS};

/// Name of the target that is not a parser.
const CHILD: &str = "child";
/// Stack of a thread that serves a request (tokio's blocking threads, actix's workers).
const STACK: usize = 2 << 20;
/// Time in which a parser must have answered.
const PARSER_TIME: Duration = Duration::from_secs(5);
/// A parser that is not back by then does not come back.
const HANG: Duration = Duration::from_secs(30);
/// What this process may take: a picture of the most pixels takes 440 MB.
const MAX_RSS: u64 = 768 << 20;
/// Findings after which it ends.
const MAX_FINDINGS: usize = 50;

/// When the parser that runs began, in milliseconds from the start plus one; 0 while none runs.
static RUNNING_SINCE: AtomicU64 = AtomicU64::new(0);
/// Place and words of the last panic.
static PANIC: Mutex<String> = Mutex::new(String::new());

struct Arguments {
    seconds: u64,
    seed: u64,
    lib: PathBuf,
    only: Option<(String, u64)>,
}

fn arguments() -> Option<Arguments> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut found = Arguments { seconds: 60, seed: since.as_secs(), lib: PathBuf::new(), only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => found.seconds = words.next()?.parse().ok()?,
            "--seed" => found.seed = words.next()?.parse().ok()?,
            "--lib" => found.lib = words.next()?.into(),
            "--only" => found.only = Some((words.next()?, words.next()?.parse().ok()?)),
            _ => return None,
        }
    }
    found.lib.is_file().then_some(found)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: fuzz [--seconds N] [--seed S] [--only TARGET SEED] --lib LIBONNXRUNTIME");
        return ExitCode::from(2);
    };
    // A panic is told as a finding, with its place.
    std::panic::set_hook(Box::new(|info| *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string().replace('\n', " ")));
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || fuzz(&arguments));
    match thread.unwrap().join() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(_) => {
            eprintln!("the fuzz target itself failed: {}", last_panic());
            ExitCode::from(2)
        }
    }
}

struct Run {
    examples: Examples,
    bases: Vec<hostile::Base>,
    workshop: Workshop,
    child: PathBuf,
    lib: PathBuf,
    started: Instant,
    /// Holds target and seed of the case that runs, for the case that ends this process.
    current: File,
    findings: usize,
    cases: BTreeMap<&'static str, (u64, Duration, u64)>,
    outcomes: BTreeMap<String, u64>,
}

/// Runs until the time is over; the number of findings.
fn fuzz(arguments: &Arguments) -> usize {
    let dir = std::env::temp_dir().join(format!("pithead-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("parsed")).unwrap();
    let current = File::create(dir.join("current")).unwrap();
    let mut run = Run {
        examples: Examples::new(bases(), &dir),
        bases: bases(),
        workshop: Workshop::new(),
        child: std::env::current_exe().unwrap().with_file_name("check_child"),
        lib: arguments.lib.clone(),
        started: Instant::now(),
        current,
        findings: 0,
        cases: BTreeMap::new(),
        outcomes: BTreeMap::new(),
    };
    if let Some((target, seed)) = &arguments.only {
        match TARGETS.iter().position(|(name, _)| name == target) {
            Some(place) => run.parser(place, *seed),
            None => run.child(*seed),
        };
        run.report();
        let _ = std::fs::remove_dir_all(dir);
        return run.findings;
    }
    println!("seed {}, {} s; should this process die, {} says at what", arguments.seed, arguments.seconds, dir.join("current").display());
    let started = run.started;
    std::thread::spawn(move || watch(started));
    let (end, mut seed, mut told) = (Duration::from_secs(arguments.seconds), arguments.seed, Duration::ZERO);
    while run.started.elapsed() < end && run.findings < MAX_FINDINGS {
        let took = run.child(seed);
        let turn = Instant::now();
        while turn.elapsed() < took.max(Duration::from_millis(50)) {
            for place in 0..TARGETS.len() {
                run.parser(place, seed);
                seed = seed.wrapping_add(1);
            }
        }
        if run.started.elapsed() > told + Duration::from_mins(1) {
            told = run.started.elapsed();
            run.report();
        }
    }
    let _ = std::fs::remove_dir_all(dir);
    run.report();
    println!("{:#?}", run.outcomes);
    let peak = memory("VmHWM:");
    if peak > MAX_RSS {
        run.finding("memory", arguments.seed, &format!("{} MiB", peak >> 20));
    }
    println!("{} findings", run.findings);
    run.findings
}

/// Ends the process where a parser does not come back.
fn watch(started: Instant) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let since = RUNNING_SINCE.load(Ordering::Relaxed);
        let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if since > 0 && now.saturating_sub(since) > u64::try_from(HANG.as_millis()).unwrap_or(u64::MAX) {
            println!("FINDING a parser hangs");
            std::process::exit(1);
        }
    }
}

impl Run {
    fn child(&mut self, seed: u64) -> Duration {
        self.note(CHILD, seed);
        let case = case(&self.bases, seed);
        let turn = catch_unwind(AssertUnwindSafe(|| self.workshop.check(&self.bases, &case, &self.child, &self.lib)));
        if let Ok((report, took)) = turn {
            let outcome = report.steps.last().and_then(|s| s.reason.clone()).unwrap_or_else(|| "passed".into());
            *self.outcomes.entry(outcome).or_default() += 1;
            self.count(CHILD, took, seed);
            if let Some(complaint) = complaint(&report, took) {
                self.finding(CHILD, seed, &format!("{} of {}: {complaint}", case.kind, self.bases[case.base].name));
            }
            took
        } else {
            self.finding(CHILD, seed, &last_panic());
            Duration::ZERO
        }
    }

    fn parser(&mut self, place: usize, seed: u64) -> Duration {
        let (name, target) = TARGETS[place];
        self.note(name, seed);
        let begin = Instant::now();
        RUNNING_SINCE.store(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1), Ordering::Relaxed);
        let turn = catch_unwind(AssertUnwindSafe(|| target(&self.examples, &mut Rng::new(seed))));
        RUNNING_SINCE.store(0, Ordering::Relaxed);
        let took = begin.elapsed();
        self.count(name, took, seed);
        match turn {
            Err(_) => self.finding(name, seed, &last_panic()),
            Ok(Err(what)) => self.finding(name, seed, &what),
            Ok(Ok(())) if took > PARSER_TIME => self.finding(name, seed, &format!("took {took:?}")),
            Ok(Ok(())) => {}
        }
        took
    }

    fn note(&self, target: &str, seed: u64) {
        self.current.write_all_at(format!("{target:<16} {seed:<24}\n").as_bytes(), 0).unwrap();
    }

    fn count(&mut self, name: &'static str, took: Duration, seed: u64) {
        let (cases, slowest, at) = self.cases.entry(name).or_default();
        *cases += 1;
        if took > *slowest {
            (*slowest, *at) = (took, seed);
        }
    }

    fn finding(&mut self, target: &str, seed: u64, what: &str) {
        self.findings += 1;
        println!("FINDING {target} {seed}: {what}");
    }

    fn report(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        println!("after {seconds:.0} s: {} findings, this process at most {} MiB", self.findings, memory("VmHWM:") >> 20);
        for (name, (cases, slowest, seed)) in &self.cases {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let rate = *cases as f64 / seconds;
            println!("  {name:<14} {cases:>10} cases, {rate:>9.1} /s, slowest {slowest:>10.1?} (seed {seed})");
        }
    }
}

fn last_panic() -> String {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
