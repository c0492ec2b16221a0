//! How long an app takes for a prediction, and how far that figure can be trusted.
//!
//! A figure is as good as the quiet in which it was taken. So it is taken alone on the machine ([`Turns`]), in rounds over all golden
//! samples, until the last [`WINDOW`] rounds agree; where they never do, it is marked as unsteady and says how far they lie apart.
//! All figures of a measurement, percentiles and those of each sample alike, are of the same runs. Of an app of moving pictures they are those of a
//! frame: the time of a clip by its frames, so that clips of any length compare with each other, and with pictures.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use app_package::manifest::{Golden, InputKind};

use crate::{
    app::App,
    clip,
    error::{AppError, Result},
    golden,
};

/// Rounds in a row that must agree; the figures are of their runs.
pub const WINDOW: usize = 3;
/// Most rounds of a measurement.
const MAX_ROUNDS: usize = 10;
/// Most runs of a round, for each is kept until the end: only models of less than ten microseconds reach it.
const MAX_RUNS: usize = 20_000;
/// Least time of a round in milliseconds for each of the iterations asked for: a round of a model of microseconds must be longer than what
/// disturbs it.
const LEAST_MS: f64 = 2.0;
/// Time in milliseconds for each of the iterations after which a round ends at its next whole pass, however few runs it has.
const MOST_MS: f64 = 10.0;
/// Time in milliseconds for each of the iterations after which no further round begins, once there are [`WINDOW`].
const BUDGET_MS: f64 = 60.0;
/// Time in milliseconds for each of the iterations that a pass over the samples takes at most: of a slow app the first samples only are
/// measured.
const PASS_MS: f64 = 100.0;
/// Part of the least median by which the medians of rounds that agree differ at most, and the same of the 95th percentiles.
const SPREAD: f64 = 0.05;
const SPREAD_P95: f64 = 0.2;
/// Least part of the time for which the process must have had a processor. One thread that only computes has it all of the time on a quiet
/// machine.
const LEAST_CPU: f64 = 0.9;
/// Goes of [`per_second`].
const GOES: usize = 3;
/// Time that is waited for others on the machine to finish what they do.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two looks whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// Times of a whole prediction over the golden samples in turn, decoding included, on one thread, in milliseconds; of clips by their frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the predictions were faster.
    pub median: f64,
    /// 95 % were faster.
    pub p95: f64,
    /// 99 % were faster; 0 in reports from before it was measured.
    #[serde(default)]
    pub p99: f64,
    /// How it was measured; none in reports from before that was kept: those are of 100 runs of the first sample, whatever else ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

impl Latency {
    /// Whether the times are those of a frame of a clip. Reports from before that was so have those of whole clips.
    pub fn is_per_frame(&self) -> bool {
        self.measured.is_some_and(|how| how.per_frame)
    }
}

/// How times were measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Runs that the figures are of.
    pub runs: u32,
    /// Rounds that were made until the last of them agreed, or time was up.
    pub rounds: u32,
    /// Processor time of a run, over all threads, in milliseconds: the mean, for the clock of a process may step by more than a run takes.
    pub cpu_ms: f64,
    /// Difference between the largest and the least median of a round, as part of the least.
    pub spread: f64,
    /// The same of the 95th percentiles.
    pub spread_p95: f64,
    /// Nothing else that asks for [`Turns`] worked on the machine.
    pub alone: bool,
    /// The figures can be taken for those of the app: measured alone, by rounds that agree, with a processor all the time.
    pub steady: bool,
    /// The times are those of a frame of a clip, and rates count frames.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_frame: bool,
}

/// Predictions in a second, of clips frames, the golden samples in turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// The engine on one thread: the runs that the latency is of.
    pub one_thread: f64,
    /// The engine on two threads.
    pub two_threads: f64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// Over all samples.
    pub latency: Latency,
    /// Predictions in a second, of clips frames.
    pub per_second: f64,
    /// Median of each sample's runs, in the manifest's order; of a slow app the first ones only.
    pub samples: Vec<f64>,
    /// Runs of each sample.
    pub runs_each: u32,
}

/// One run of a sample: wall and processor time in milliseconds, of all its frames.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    sample: usize,
    /// 1 of all but clips.
    frames: u32,
    wall: f64,
    cpu: f64,
}

/// Measures an app; `alone` says whether nothing else works on the machine meanwhile.
pub fn times(app: &mut App, iterations: u32, alone: bool) -> Result<Times> {
    let samples = app.manifest().golden.clone();
    let per_frame = app.manifest().input == InputKind::Video;
    let mut times = rounds(samples.len(), iterations, alone, |at| {
        let Some(sample) = samples.get(at) else { return Err(AppError::new("golden-missing", "there is no golden sample")) };
        // Read outside of what is measured: a node has its input in memory.
        let input = golden::read(app.dir(), &sample.input)?;
        let (cpu, begin) = (processor(), Instant::now());
        golden::answer(app, sample, &input)?;
        let (wall, cpu) = (begin.elapsed().as_secs_f64() * 1e3, processor() - cpu);
        Ok(Run { sample: at, frames: frames(app, &input), wall, cpu })
    })?;
    if let Some(measured) = &mut times.latency.measured {
        measured.per_frame = per_frame;
    }
    Ok(times)
}

/// Frames of an input: 1 of all but clips.
pub(crate) fn frames(app: &App, input: &[u8]) -> u32 {
    let clip = if app.manifest().input == InputKind::Video { clip::read(input).ok() } else { None };
    clip.map_or(1, |clip| count(clip.count()).max(1))
}

/// Processor time of this process in milliseconds.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "a process runs for minutes")]
    let (seconds, nanos) = (time.tv_sec as f64, time.tv_nsec as f64);
    seconds * 1e3 + nanos / 1e6
}

/// Makes rounds until some agree.
fn rounds(samples: usize, iterations: u32, alone: bool, mut run: impl FnMut(usize) -> Result<Run>) -> Result<Times> {
    let samples = warm_up(samples, iterations, &mut run)?;
    let (mut made, mut best, mut spent) = (Vec::new(), Window::default(), 0.0);
    loop {
        let round = pass_until(samples, iterations, LEAST_MS * f64::from(iterations), &mut run)?;
        spent += round.iter().map(|run| run.wall).sum::<f64>();
        made.push(round);
        if let Some(last) = made.len().checked_sub(WINDOW).and_then(|from| made.get(from..)) {
            let seen = Window::of(last);
            let agree = seen.agrees();
            if made.len() == WINDOW || agree || seen.measured.spread < best.measured.spread {
                best = seen;
            }
            if agree || made.len() >= MAX_ROUNDS || spent >= BUDGET_MS * f64::from(iterations) {
                break;
            }
        }
    }
    let steady = alone && best.agrees();
    let measured = &mut best.measured;
    measured.rounds = count(made.len());
    measured.alone = alone;
    measured.steady = steady;
    Ok(best.times(samples))
}

/// Runs the samples until caches, the clock of the processor and the engine's memory have settled; gives how many of them are measured.
fn warm_up(samples: usize, iterations: u32, run: &mut impl FnMut(usize) -> Result<Run>) -> Result<usize> {
    let (mut spent, mut passes) = (0.0, 0);
    while samples > 0 && (passes == 0 || spent < f64::from(iterations)) {
        for sample in 0..samples {
            spent += run(sample)?.wall;
            if spent >= PASS_MS * f64::from(iterations) {
                return Ok(if passes == 0 { sample + 1 } else { samples });
            }
        }
        passes += 1;
    }
    Ok(samples)
}

/// Runs the samples in turn, whole passes, until there are so many runs in so much time, or [`MOST_MS`] have passed.
fn pass_until(samples: usize, least: u32, least_ms: f64, run: &mut impl FnMut(usize) -> Result<Run>) -> Result<Vec<Run>> {
    let (mut runs, mut spent) = (Vec::new(), 0.0);
    loop {
        for sample in 0..samples {
            let run = run(sample)?;
            spent += run.wall;
            runs.push(run);
        }
        let enough = runs.len() >= least as usize && spent >= least_ms;
        if enough || spent >= MOST_MS / LEAST_MS * least_ms || runs.len() >= MAX_RUNS || samples == 0 {
            return Ok(runs);
        }
    }
}

/// Some rounds in a row, and what they say together.
#[derive(Debug, Default)]
struct Window {
    runs: Vec<Run>,
    measured: Measured,
}

impl Window {
    fn of(rounds: &[Vec<Run>]) -> Self {
        let at = |percent: usize| rounds.iter().map(|round| percentile(&mut walls(round), percent)).collect::<Vec<f64>>();
        let runs: Vec<Run> = rounds.iter().flatten().copied().collect();
        let measured = Measured {
            runs: count(runs.len()),
            cpu_ms: runs.iter().map(|run| run.cpu).sum::<f64>() / frames_of(&runs).max(1.0),
            spread: spread(&at(50)),
            spread_p95: spread(&at(95)),
            ..Measured::default()
        };
        Self { runs, measured }
    }

    fn agrees(&self) -> bool {
        let (wall, cpu) = self.runs.iter().fold((0.0, 0.0), |(wall, cpu), run| (wall + run.wall, cpu + run.cpu));
        self.measured.spread <= SPREAD && self.measured.spread_p95 <= SPREAD_P95 && cpu >= LEAST_CPU * wall
    }

    fn times(&self, samples: usize) -> Times {
        let mut all = walls(&self.runs);
        let total: f64 = self.runs.iter().map(|run| run.wall).sum();
        let of = |sample: usize| {
            let own: Vec<Run> = self.runs.iter().filter(|run| run.sample == sample).copied().collect();
            percentile(&mut walls(&own), 50)
        };
        Times {
            per_second: if total > 0.0 { frames_of(&self.runs) * 1e3 / total } else { 0.0 },
            samples: (0..samples).map(of).collect(),
            runs_each: self.measured.runs.checked_div(count(samples)).unwrap_or(0),
            latency: Latency {
                median: percentile(&mut all, 50),
                p95: percentile(&mut all, 95),
                p99: percentile(&mut all, 99),
                measured: Some(self.measured),
            },
        }
    }
}

/// The time of a frame in each run.
fn walls(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|run| run.wall / f64::from(run.frames)).collect()
}

fn frames_of(runs: &[Run]) -> f64 {
    runs.iter().map(|run| f64::from(run.frames)).sum()
}

/// The value below which so many percent lie; sorts. 0 of none.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Difference between the largest and the least, as part of the least.
fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    if least > 0.0 && least.is_finite() { (most - least) / least } else { 0.0 }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Predictions in a second, of clips frames, with the first so many golden samples in turn, whole passes for at least a time in three goes; the median of
/// the goes. Of a slow app it is one.
pub fn per_second(app: &mut App, samples: usize, time: Duration) -> Result<f64> {
    let samples: Vec<Golden> = app.manifest().golden.iter().take(samples).cloned().collect();
    let mut rates = Vec::new();
    while rates.len() < GOES && !samples.is_empty() {
        let (mut spent, mut done) = (Duration::ZERO, 0u32);
        while done == 0 || spent < time / 3 {
            for sample in &samples {
                let input = golden::read(app.dir(), &sample.input)?;
                let begin = Instant::now();
                golden::answer(app, sample, &input)?;
                spent += begin.elapsed();
                done = done.saturating_add(frames(app, &input));
            }
        }
        rates.push(f64::from(done) / spent.as_secs_f64().max(f64::MIN_POSITIVE));
        if spent >= time {
            break;
        }
    }
    Ok(percentile(&mut rates, 50))
}

/// Turns of those who compute on one machine: many work beside each other, one that measures works alone.
///
/// They meet at a file that all of them read, the engine's library: a lock on it (`flock(2)`) needs no place to write, is seen by all
/// processes that use this library, and ends with its process. Nobody waits for ever, for another one may never end: who gives up waiting
/// goes on, and what it measures is marked.
#[derive(Debug)]
pub struct Turns(File);

impl Turns {
    /// Joins those who work, once nobody measures. None where the file cannot be locked.
    pub fn join(file: &Path) -> Option<Self> {
        let turns = Self(File::open(file).ok()?);
        turns.patiently(File::try_lock_shared);
        Some(turns)
    }

    /// Waits until nobody else works, and keeps others away until this is dropped; whether it came to that.
    pub fn alone(&self) -> bool {
        // Given back first: of two who wait for each other to end neither would get it.
        self.0.unlock().is_ok() && self.patiently(File::try_lock)
    }

    fn patiently(&self, lock: impl Fn(&File) -> std::result::Result<(), TryLockError>) -> bool {
        let begin = Instant::now();
        loop {
            match lock(&self.0) {
                Ok(()) => return true,
                Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => std::thread::sleep(LOOK),
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;

    /// Measures what takes so long in its n-th run; with how much of the time the process has a processor.
    fn measured(samples: usize, has: f64, wall: impl Fn(usize, usize) -> f64) -> Times {
        let mut n = 0;
        rounds(samples, 10, true, |sample| {
            n += 1;
            let wall = wall(n, sample);
            Ok(Run { sample, frames: 1, wall, cpu: wall * has })
        })
        .unwrap()
    }

    #[test]
    fn rounds_that_agree_are_enough_and_all_figures_are_of_their_runs() {
        let times = measured(2, 1.0, |_, sample| if sample == 0 { 4.0 } else { 6.0 });
        let how = times.latency.measured.unwrap();
        assert_eq!((how.rounds, how.runs, how.spread, how.steady), (3, 30, 0.0, true));
        assert_eq!((times.latency.p95, how.cpu_ms, times.samples.as_slice(), times.runs_each), (6.0, 5.0, [4.0, 6.0].as_slice(), 15));
        assert!((times.per_second - 200.0).abs() < 1e-9);
        // No sample's bar lies above all that the percentiles are of.
        assert!(times.samples.iter().all(|bar| *bar <= times.latency.p99));
    }

    #[test]
    fn times_of_clips_are_those_of_their_frames() {
        // 20 frames at 3 ms each, and 50 at 2 ms.
        let run = |sample| if sample == 0 { (20, 60.0) } else { (50, 100.0) };
        let times = rounds(2, 10, true, |sample| {
            let (frames, wall) = run(sample);
            Ok(Run { sample, frames, wall, cpu: wall })
        })
        .unwrap();
        assert_eq!((times.latency.median, times.latency.p95, times.samples.as_slice()), (3.0, 3.0, [3.0, 2.0].as_slice()));
        assert!((times.per_second - 70.0 * 1e3 / 160.0).abs() < 1e-9, "{}", times.per_second);
        let how = times.latency.measured.unwrap();
        assert!(how.steady && (how.cpu_ms - 160.0 / 70.0).abs() < 1e-9, "{how:?}");
    }

    #[test]
    fn what_disturbs_the_beginning_is_waited_for() {
        let times = measured(1, 1.0, |n, _| if n < 45 { 2.0 + 8.0 / n as f64 } else { 2.0 });
        let how = times.latency.measured.unwrap();
        assert!(how.steady && how.rounds > 3 && how.rounds < 10, "{how:?}");
        assert!((times.latency.median - 2.0).abs() < 0.2);
    }

    #[test]
    fn figures_that_never_agree_are_bounded_and_marked() {
        // Each round of ten runs is slower than the one before.
        let times = measured(1, 1.0, |n, _| 2.0 * 1.2f64.powf((n / 10) as f64));
        let how = times.latency.measured.unwrap();
        assert!(!how.steady && how.spread > SPREAD && how.rounds <= 10, "{how:?}");
        // Steady, but another process had the processor half of the time.
        let how = measured(1, 0.5, |_, _| 4.0).latency.measured.unwrap();
        assert!(!how.steady && how.spread < 1e-9 && (how.cpu_ms - 2.0).abs() < 1e-9, "{how:?}");
        // Steady, but beside others.
        let how = rounds(1, 10, false, |sample| Ok(Run { sample, frames: 1, wall: 4.0, cpu: 4.0 })).unwrap().latency.measured.unwrap();
        assert!(!how.steady && !how.alone);
    }

    #[test]
    fn a_slow_app_runs_its_first_samples_and_no_more_often_than_it_must() {
        let how = measured(3, 1.0, |_, _| 60_000.0).latency.measured.unwrap();
        assert_eq!((how.rounds, how.runs, how.steady), (3, 3, true));
        let times = measured(3, 1.0, |_, _| 400.0);
        assert_eq!((times.samples.len(), times.latency.measured.unwrap().runs), (3, 9));
        // A fast one runs long enough to outlast what disturbs it.
        let how = measured(1, 1.0, |_, _| 0.01).latency.measured.unwrap();
        assert!(how.runs >= 3 * 2_000, "{how:?}");
    }

    #[test]
    fn one_measures_alone_and_others_work_beside_each_other() {
        let path = std::env::temp_dir().join(format!("pithead-turns-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        let (a, b) = (Turns::join(&path).unwrap(), Turns::join(&path).unwrap());
        let other = File::open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        // The first one that measures waits for the other to end.
        let waits = std::thread::spawn(move || {
            let began = Instant::now();
            assert!(a.alone());
            (a, began.elapsed())
        });
        std::thread::sleep(Duration::from_millis(100));
        drop(b);
        let (a, waited) = waits.join().unwrap();
        assert!(waited >= Duration::from_millis(90), "{waited:?}");
        assert!(matches!(other.try_lock_shared(), Err(TryLockError::WouldBlock)));
        drop(a);
        other.try_lock_shared().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Turns::join(&path).is_none());
    }
}
