//! A vendor's own step: a WebAssembly module that reads tensors, objects and pictures and gives results.
//!
//! Everything that a module says is bounded and checked before it becomes a result. A run that fails fails its input; the next input has a new
//! instance. The same bytes in give the same bytes out on every machine.

mod answer;
mod given;
mod message;
mod module;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Instant;

use app_package::manifest::AppManifest;
use app_package::pipeline::{DEFAULT_FUEL, DEFAULT_MEMORY_MIB, Given, Gives, Step, WasmStep};
use app_package::validate::MAX_WASM_BYTES;
use serde::{Deserialize, Serialize};

use self::message::Tensors;
use self::module::Runnable;
use crate::{
    engine::{Data, TensorData},
    error::{AppError, Result},
    model_file,
    output::{AppOutput, Detection},
};

pub(crate) use self::given::{Seen, Vocabulary};

/// Figures of an own step over the golden samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnFigures {
    /// Name of the step.
    pub name: String,
    /// Runs that the figures are of.
    pub runs: u32,
    /// Longest run in milliseconds, with what it was given and its answer.
    pub longest_ms: f64,
    /// Most instructions that a run took.
    pub most_fuel: u64,
    /// Instructions that a run may take.
    pub fuel: u64,
}

/// An own step, ready to run.
pub(crate) struct Own {
    step: WasmStep,
    module: Runnable,
    known: Vocabulary,
    figures: OwnFigures,
    /// Lines that it logged for the last input.
    log: Vec<String>,
    /// What it was given last, where that is to be kept.
    last: Option<Tensors>,
    /// The state that its last answer left.
    left: Option<TensorData>,
}

impl Own {
    /// Reads and checks the module of a step, `at` its place in the manifest. Codes `file-missing`, `file-outside`, `wasm-too-large`,
    /// `wasm-not-core`, `wasm-invalid`, `wasm-import`, `wasm-export-missing`, `wasm-abi`, and those of a run.
    pub fn open(dir: &Path, manifest: &AppManifest, at: usize, step: &WasmStep) -> Result<Self> {
        let module = read(dir, step).map_err(|e| told(&e, step))?;
        let figures = OwnFigures { name: step.name.clone(), fuel: step.fuel.unwrap_or(DEFAULT_FUEL), ..OwnFigures::default() };
        let known = Vocabulary::before(manifest, at, step);
        Ok(Self { step: step.clone(), module, known, figures, log: Vec::new(), last: None, left: None })
    }

    pub fn step(&self) -> &WasmStep {
        &self.step
    }

    /// Figures of all runs so far.
    pub fn figures(&self) -> &OwnFigures {
        &self.figures
    }

    /// Lines that it logged since this was asked last.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// The `state` of its last answer; once, and none after a run that failed.
    pub fn take_state(&mut self) -> Option<TensorData> {
        self.left.take()
    }

    /// Runs on what is seen. What becomes of the objects that it was given is done to `result`; what is new is returned. Codes
    /// `wasm-out-of-fuel`, `wasm-memory`, `wasm-trap`, `wasm-answer`, `tensor-shape`, all with the step's name.
    pub fn run(&mut self, seen: &Seen<'_>, result: &mut AppOutput) -> Result<AppOutput> {
        let begin = Instant::now();
        if let Some(frame) = seen.frame.filter(|_| self.step.takes(Given::Frame)) {
            let (bytes, most) = (u64::from(frame.width()) * u64::from(frame.height()) * 3, memory(&self.step));
            if bytes > most as u64 {
                let message = format!("the picture has {bytes} bytes; memory_mib allows {most} for all that it is given");
                return Err(told(&AppError::new("wasm-memory", message), &self.step));
            }
        }
        let given = given::of(&self.step, &self.known, seen);
        let answer = self.ask(&given).and_then(|answer| answer::read(&self.step, &self.known, &answer, seen, result));
        self.figures.runs = self.figures.runs.saturating_add(1);
        self.figures.longest_ms = self.figures.longest_ms.max(begin.elapsed().as_secs_f64() * 1e3);
        // The fullest: a clip often ends with nobody in it, and numbers that are not there cannot be odd.
        let size = |all: &Tensors| all.iter().map(|(_, tensor)| tensor.data.len()).sum::<usize>();
        if let Some(last) = self.last.as_mut().filter(|last| size(&given) >= size(last)) {
            *last = given;
        }
        answer.inspect_err(|_| self.left = None).map_err(|e| told(&e, &self.step))
    }

    /// Gives tensors to a new instance, and reads the tensors of its answer.
    fn ask(&mut self, given: &Tensors) -> Result<Tensors> {
        self.left = None;
        let block = message::write(given, memory(&self.step))?;
        let (ran, outcome) = self.module.run(&block);
        self.figures.most_fuel = self.figures.most_fuel.max(ran.fuel);
        self.log.extend(ran.log);
        self.log.truncate(MAX_LOG);
        outcome?;
        let mut answer = if ran.answer.is_empty() { Vec::new() } else { message::read(&ran.answer)? };
        if self.step.takes(Given::State) {
            self.left = answer::take_state(&mut answer)?;
        }
        Ok(answer)
    }

    /// Keeps what it is given from now on, for [`Self::odd`] and [`Self::nothing`].
    pub fn remember(&mut self) {
        self.last = Some(Vec::new());
    }

    /// What it says to the most that it was given, with all numbers replaced by this one. Codes as [`Self::run`].
    pub fn odd(&mut self, number: f64) -> Result<()> {
        let filled = |tensor: &TensorData| {
            let numbers = std::iter::repeat_n(number, tensor.data.len());
            let data = Data::of(tensor.data.datatype(), numbers).unwrap_or_else(|| tensor.data.clone());
            TensorData { shape: tensor.shape.clone(), data }
        };
        let given = self.last.iter().flatten().map(|(name, tensor)| (name.clone(), filled(tensor))).collect();
        self.says(&given)
    }

    /// What it says where the steps before found nothing. Codes as [`Self::run`].
    pub fn nothing(&mut self) -> Result<()> {
        let found = [Given::Objects, Given::Keypoints, Given::Texts];
        if self.step.of.is_some() || !found.iter().any(|given| self.step.takes(*given)) {
            return Ok(());
        }
        let empty = given::of(&self.step, &self.known, &Seen::default());
        let words = found.map(given::word);
        let of = |name: &str| empty.iter().find_map(|(other, tensor)| (other == name && words.contains(&name)).then_some(tensor));
        let given = self.last.iter().flatten().map(|(name, tensor)| (name.clone(), of(name).unwrap_or(tensor).clone())).collect();
        self.says(&given)
    }

    /// Whether its answer to these tensors has a meaning; where its boxes lie is not looked at.
    fn says(&mut self, given: &Tensors) -> Result<()> {
        let objects = given.iter().find(|(name, _)| name == given::word(Given::Objects)).and_then(|(_, tensor)| tensor.shape.first());
        let objects = objects.and_then(|count| usize::try_from(*count).ok()).unwrap_or(0);
        let mut result = AppOutput { detections: vec![Detection::default(); objects], ..AppOutput::default() };
        let answer = self.ask(given).and_then(|answer| answer::read(&self.step, &self.known, &answer, &Seen::default(), &mut result));
        answer.map(drop).map_err(|e| told(&e, &self.step))
    }
}

/// Loads a module and runs it on no tensors; how many it answers with. Codes as [`App::predict`](crate::app::App::predict) has them for own
/// steps.
pub fn try_module(bytes: &[u8], fuel: u64, memory: usize) -> Result<usize> {
    let module = Runnable::new(bytes, fuel, memory)?;
    let (ran, outcome) = module.run(&message::write(&[], memory)?);
    outcome?;
    if ran.answer.is_empty() { Ok(0) } else { message::read(&ran.answer).map(|tensors| tensors.len()) }
}

/// Lines that are kept of all runs for one input.
const MAX_LOG: usize = 200;

fn told(error: &AppError, step: &WasmStep) -> AppError {
    AppError::new(error.code, format!("step `{}`: {}", step.name, error.message))
}

/// Memory that the module may have, in bytes.
fn memory(step: &WasmStep) -> usize {
    usize::try_from(step.memory_mib.unwrap_or(DEFAULT_MEMORY_MIB)).unwrap_or(0).saturating_mul(1 << 20)
}

fn read(dir: &Path, step: &WasmStep) -> Result<Runnable> {
    let (path, size) = model_file::package_file(dir, &step.file)?;
    if size > MAX_WASM_BYTES {
        return Err(AppError::new("wasm-too-large", format!("`{}` has {size} bytes; at most {MAX_WASM_BYTES} are read", step.file)));
    }
    let bytes = std::fs::read(path).map_err(|e| AppError::new("file-missing", format!("`{}`: {e}", step.file)))?;
    Runnable::new(&bytes, step.fuel.unwrap_or(DEFAULT_FUEL), memory(step))
}

/// All own steps of an app, with their places. Codes as [`Own::open`].
pub(crate) fn all(dir: &Path, manifest: &AppManifest) -> Result<Vec<(usize, Own)>> {
    let steps = manifest.steps.iter().enumerate().filter_map(|(at, step)| if let Step::Wasm(own) = step { Some((at, own)) } else { None });
    steps.map(|(at, step)| Ok((at, Own::open(dir, manifest, at, step)?))).collect()
}

/// Whether an own step finds objects.
pub(crate) fn finds(step: &WasmStep) -> bool {
    step.out == Gives::Objects
}
