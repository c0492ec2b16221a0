//! The child that answers an app's golden samples, for the expected results of a new app, or other files, to try it. Confined as a check is.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use app_package::manifest::InputKind;
use serde::{Deserialize, Serialize};

use super::{confine_and_load, limits_of, numbers_of, print, provider_of, read_manifest, supervise, word_of};
use crate::{
    app::App,
    draw::Trace,
    engine::Engine,
    error::{AppError, Result},
    golden,
    measure::Turns,
    output::AppOutput,
    provider::Library,
    sandbox::Limits,
};

/// The word that asks for traces.
const TRACE: &str = "trace";
/// Most files that are tried at once.
pub const MAX_INPUTS: usize = 200;

/// What an app says to its golden samples in their order, or to other files in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// To golden samples without alarms, as expected results are; fewer than there are where one failed.
    pub results: Vec<AppOutput>,
    /// What own steps logged for each input that was answered, and for the one that failed; empty where none logged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Vec<String>>,
    /// What was seen in the frames of each clip that was answered, where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<Trace>,
    /// Stable code of what failed, and English words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<(String, String)>,
    /// Name and version of the engine; empty where none was loaded.
    #[serde(default)]
    pub engine: String,
}

impl Answers {
    fn failed(code: &str, message: String) -> Self {
        Self { fault: Some((code.to_owned(), message)), ..Self::default() }
    }
}

/// The child, its arguments in the order that [`run_samples`] gives: folder, library, memory bytes, processor seconds, open files, 1 where
/// confinement is required, provider, and of other files than the samples their folder, with the word `trace` where traces of clips are wanted.
/// Prints [`Answers`].
pub fn samples_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut paths = args.by_ref().take(2).map(PathBuf::from);
    let (dir, lib) = (paths.next(), paths.next());
    let (Some(dir), Some(lib), Some(limits), Ok(provider)) = (dir, lib, limits_of(&mut args), provider_of(&mut args)) else {
        eprintln!("usage: DIR LIBRARY MEMORY-BYTES CPU-SECONDS OPEN-FILES REQUIRED cpu|NAME=LIBRARY [INPUTS]");
        return ExitCode::from(2);
    };
    let inputs = args.next().map(PathBuf::from);
    let traced = args.next().is_some_and(|word| word == TRACE);
    print(&match confine_and_load(&dir, inputs.as_deref(), &lib, &limits, provider.as_ref()) {
        Ok((_, engine)) => {
            // Held until the end, so that no check measures beside this.
            let _turns = Turns::join(&lib);
            answers(&dir, inputs.as_deref(), traced, &engine)
        }
        Err(e) => Answers::failed(e.code, e.message),
    })
}

/// Answers the samples of the app in `dir`, or the files in `inputs`, of clips with their traces. Never fails: what goes wrong is the fault.
pub fn answers(dir: &Path, inputs: Option<&Path>, traced: bool, engine: &dyn Engine) -> Answers {
    let mut answers = Answers { engine: format!("{} {}", engine.name(), engine.version()), ..Answers::default() };
    let outcome = (|| -> Result<()> {
        let manifest = app_package::validate::parse(&read_manifest(dir)?)
            .map_err(|faults| AppError::new("manifest-invalid", faults.first().map(|fault| fault.message("en")).unwrap_or_default()))?;
        let samples = manifest.golden.clone();
        let traced = traced && manifest.input == InputKind::Video;
        let mut app = App::open(dir, manifest, engine, 1)?;
        let named = |name: &str, e: AppError| AppError::new(e.code, format!("`{name}`: {}", e.message));
        let Some(folder) = inputs else {
            for sample in &samples {
                let input = golden::read(dir, &sample.input)?;
                let result = golden::answer(&mut app, sample, &input);
                answers.logs.push(app.take_log());
                let result = result.map_err(|e| named(&sample.input, e))?;
                answers.results.push(AppOutput { alarms: Vec::new(), rule_faults: Vec::new(), ..result });
            }
            return Ok(());
        };
        // Places are drawn in a camera's picture; of the files that are tried the first sample says where they are.
        let (drawn, set) = samples.first().map(|sample| (sample.scene.clone(), sample.parameters.clone())).unwrap_or_default();
        for name in names(folder)? {
            let input = golden::read(folder, &name)?;
            let result = if traced {
                app.predict_traced(&input, &drawn, &set, "test").map(|(result, trace)| (result, Some(trace)))
            } else {
                app.predict_drawn(&input, &drawn, &set, "test").map(|result| (result, None))
            };
            answers.logs.push(app.take_log());
            let (result, trace) = result.map_err(|e| named(&name, e))?;
            answers.results.push(result);
            answers.traces.extend(trace);
        }
        Ok(())
    })();
    if answers.logs.iter().all(Vec::is_empty) {
        answers.logs.clear();
    }
    answers.fault = outcome.err().map(|e| (e.code.to_owned(), e.message));
    answers
}

/// Names of the files of a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let unread = |e: std::io::Error| AppError::new("file-missing", e.to_string());
    let entries = std::fs::read_dir(folder).map_err(unread)?.take(MAX_INPUTS);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Runs `exe args… DIR LIBRARY …` (see [`samples_main`]) and returns what it prints, or why it printed nothing: the reasons of
/// [`super::run_check`]. Traces are asked for of a few clips at a time, for they are most of an answer, which is bounded. Blocks for at most `wall`
/// and a moment.
pub fn run_samples(
    exe: &Path,
    args: &[&str],
    (dir, inputs, traced): (&Path, Option<&Path>, bool),
    (lib, provider): (&Path, Option<&Library>),
    limits: &Limits,
    wall: Duration,
) -> Answers {
    let mut command = Command::new(exe);
    command.args(args).args([dir, lib]).args(numbers_of(limits).map(|n| n.to_string())).arg(word_of(provider)).args(inputs);
    command.args(traced.then_some(TRACE));
    match supervise(command, wall) {
        Ok(ended) => ended.answer().unwrap_or_else(|| {
            let (code, detail) = ended.reason(wall);
            Answers::failed(&code, detail)
        }),
        Err(e) => Answers::failed("check-not-started", e.to_string()),
    }
}
