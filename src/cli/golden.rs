//! `pithead golden`: the expected results of an app's samples, made anew by the app itself, after its app.yaml was edited.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use inference::output::AppOutput;
use inference::provider::Library;
use inference::worker::{Answers, run_samples};
use serde_json::json;

use super::package::{self, AT_FAULT, Output};
use super::words::{Cannot as _, shown};
use crate::base::child::child;
use crate::base::config::Checks;
use crate::base::i18n::{Lang, error_text};
use crate::draft::jobs::SAMPLES_COMMAND;

/// `pithead golden DIR`.
#[derive(Debug, Args)]
pub struct Golden {
    /// Folder with app.yaml.
    pub dir: PathBuf,
    /// Path of libonnxruntime, instead of the setting `checks.ort_lib`.
    #[arg(long)]
    pub ort_lib: Option<PathBuf>,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// The settings with the library of `--ort-lib`, which must be there.
pub fn with_library(settings: &Checks, library: Option<&PathBuf>, lang: Lang) -> anyhow::Result<Checks> {
    let mut settings = settings.clone();
    if let Some(library) = library {
        settings.ort_lib = library.display().to_string();
        anyhow::ensure!(library.is_file(), lang.format("cli-engine-not-there", &[("path", &settings.ort_lib)]));
    }
    Ok(settings)
}

/// Runs an app on its samples, or on the files of another folder (of clips with their traces), in the confined child, on a provider where one is
/// given; none where there is no engine.
pub fn answer(
    dir: &Path,
    (inputs, traced): (Option<&Path>, bool),
    settings: &Checks,
    provider: Option<&Library>,
    told: &Output,
) -> anyhow::Result<Option<Answers>> {
    let lang = told.language();
    if settings.ort_lib.is_empty() {
        return Ok(None);
    }
    let confined = child(settings).map_err(|e| anyhow::anyhow!("{}", error_text(lang, e.code, &e.args)))?;
    let Some(confined) = confined else { return Ok(None) };
    // The child works in `/`.
    let dir = std::fs::canonicalize(dir).cannot(lang, "read", dir)?;
    let provider = provider.cloned().map(Library::absolute).transpose()?;
    let on = (confined.lib.as_path(), provider.as_ref());
    let run = || run_samples(&confined.program, &[SAMPLES_COMMAND], (&dir, inputs, traced), on, &confined.limits, confined.wall);
    package::waiting(told, run).map(Some)
}

/// Tells each expected result that was made, and why the others were not.
pub fn tell<'a>(made: impl Iterator<Item = (&'a Path, &'a AppOutput)>, answers: &Answers, lang: Lang) {
    for (path, result) in made {
        let n = result.detections.len() + result.classes.len() + result.values.len() + result.texts.len() + result.events.len();
        print_line!("{}", lang.format("cli-init-expected", &[("path", &shown(path)), ("n", &n.to_string())]));
    }
    if let Some((code, detail)) = &answers.fault {
        let why = format!("{} [{code}] {detail}", package::reason(lang, code));
        print_line!("{}", lang.format("cli-init-not-run", &[("reason", &why)]));
    }
}

/// Writes the expected results anew. A result that could not be made leaves its file as it was.
pub fn golden(args: &Golden, settings: &Checks) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let Some(manifest) = package::manifest(&args.dir, &args.told)? else { return Ok(ExitCode::from(AT_FAULT)) };
    let settings = with_library(settings, args.ort_lib.as_ref(), lang)?;
    let answers =
        answer(&args.dir, (None, false), &settings, None, &args.told)?.ok_or_else(|| anyhow::anyhow!(lang.t("cli-engine-needed")))?;
    let paths: Vec<PathBuf> = manifest.golden.iter().map(|sample| args.dir.join(&sample.expect)).collect();
    for (path, result) in paths.iter().zip(&answers.results) {
        let half = path.with_extension("json.new");
        std::fs::write(&half, result.to_file()).cannot(lang, "write", &half)?;
        std::fs::rename(&half, path).cannot(lang, "write", path)?;
    }
    if args.told.json {
        let fault = answers.fault.as_ref().map(|(code, detail)| json!({"code": code, "detail": detail}));
        package::print(&json!({"ok": fault.is_none(), "samples": paths.len(), "expected": answers.results.len(), "fault": fault}));
    } else {
        tell(paths.iter().map(PathBuf::as_path).zip(&answers.results), &answers, lang);
    }
    Ok(if answers.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) })
}
