//! The child that answers an app's golden samples, for the expected results of a new app. Confined as a check is.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{confine_and_load, numbers_of, print, read_manifest, supervise};
use crate::{
    app::App,
    engine::Engine,
    error::{AppError, Result},
    golden,
    output::AppOutput,
    sandbox::Limits,
};

/// What an app says to its golden samples, in their order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Without alarms, as expected results are; fewer than there are samples where one failed.
    pub results: Vec<AppOutput>,
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
/// confinement is required. Prints [`Answers`].
pub fn samples_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut paths = args.by_ref().take(2).map(PathBuf::from);
    let (dir, lib) = (paths.next(), paths.next());
    let mut numbers = args.map(|a| a.to_str().and_then(|a| a.parse::<u64>().ok()));
    let mut number = || numbers.next().flatten();
    let numbers = (number(), number(), number(), number());
    let (Some(dir), Some(lib), (Some(memory_bytes), Some(cpu_seconds), Some(open_files), Some(required))) = (dir, lib, numbers) else {
        eprintln!("usage: DIR LIBRARY MEMORY-BYTES CPU-SECONDS OPEN-FILES REQUIRED");
        return ExitCode::from(2);
    };
    let limits = Limits { memory_bytes, cpu_seconds, open_files, required: required != 0 };
    print(&match confine_and_load(&dir, &lib, &limits) {
        Ok((_, engine)) => answers(&dir, &engine),
        Err(e) => Answers::failed(e.code, e.message),
    })
}

/// Answers the samples of the app in `dir`. Never fails: what goes wrong is the fault.
pub fn answers(dir: &Path, engine: &dyn Engine) -> Answers {
    let mut answers = Answers { engine: format!("{} {}", engine.name(), engine.version()), ..Answers::default() };
    let outcome = (|| -> Result<()> {
        let manifest = app_package::validate::parse(&read_manifest(dir)?)
            .map_err(|faults| AppError::new("manifest-invalid", faults.first().map(|fault| fault.message("en")).unwrap_or_default()))?;
        let samples = manifest.golden.clone();
        let mut app = App::open(dir, manifest, engine, 1)?;
        for sample in samples {
            let input = golden::read(dir, &sample.input)?;
            let result = app.predict(&input, &serde_json::Map::new(), "golden");
            let result = result.map_err(|e| AppError::new(e.code, format!("`{}`: {}", sample.input, e.message)))?;
            answers.results.push(AppOutput { alarms: Vec::new(), rule_faults: Vec::new(), ..result });
        }
        Ok(())
    })();
    answers.fault = outcome.err().map(|e| (e.code.to_owned(), e.message));
    answers
}

/// Runs `exe args… DIR LIBRARY …` (see [`samples_main`]) and returns what it prints, or why it printed nothing: the reasons of
/// [`super::run_check`]. Blocks for at most `wall` and a moment.
pub fn run_samples(exe: &Path, args: &[&str], dir: &Path, lib: &Path, limits: &Limits, wall: Duration) -> Answers {
    let mut command = Command::new(exe);
    command.args(args).args([dir, lib]).args(numbers_of(limits).map(|n| n.to_string()));
    match supervise(command, wall) {
        Ok(ended) => ended.answer().unwrap_or_else(|| {
            let (code, detail) = ended.reason(wall);
            Answers::failed(&code, detail)
        }),
        Err(e) => Answers::failed("check-not-started", e.to_string()),
    }
}
