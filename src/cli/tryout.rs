//! `pithead try`: an app's folder on pictures, tables or sound, at home. Tells what it finds, and writes a page that shows it.
//!
//! The app runs confined, as in a check, on copies of the files. The page is one file without scripts, for a browser: pictures with boxes,
//! turned boxes, masks and points drawn over them, tables and sound as plots. A folder has that page, and of clips what was seen as a clip and
//! as pictures.

mod clips;
mod page;
mod told;

use std::fs::{DirBuilder, File};
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app_package::manifest::InputKind;
use clap::Args;
use inference::app::MAX_INPUT;
use inference::output::AppOutput;
use inference::provider::Library;
use inference::worker::{Answers, MAX_INPUTS};
use serde_json::json;

use self::told::Told;
use super::golden;
use super::package::{self, AT_FAULT, Output};
use super::words::{Cannot as _, shown};
use crate::base::config::Checks;
use crate::base::i18n::Lang;
use crate::base::ids;

/// Things of one kind that are told of a file.
const MAX_TOLD: usize = 20;

/// `pithead try DIR FILE…`.
#[derive(Debug, Args)]
pub struct Try {
    /// Folder with app.yaml.
    pub dir: PathBuf,
    /// Pictures, clips, CSV or WAV files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Page to write that shows what was found, or a folder for it and for clips with what was seen in them.
    #[arg(long, value_name = "FILE.html|FOLDER")]
    pub out: Option<PathBuf>,
    /// Path of libonnxruntime, instead of the setting `checks.ort_lib`.
    #[arg(long)]
    pub ort_lib: Option<PathBuf>,
    /// Provider to run it on in the CPU's place.
    #[arg(long, value_name = "NAME=LIBRARY")]
    pub provider: Option<Library>,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// Copies of the files in a folder of their own, which goes away with the value.
struct Inputs {
    dir: PathBuf,
    count: usize,
}

impl Inputs {
    /// Names keep the order. Nobody else may enter the folder: the confined app reads it as it reads packages. Of a file that is larger than an
    /// input may be, as much is copied as shows that.
    fn copy(files: &[PathBuf], lang: Lang) -> anyhow::Result<Self> {
        let inputs = Self { dir: std::env::temp_dir().join(ids::new("pithead-try")), count: files.len() };
        DirBuilder::new().mode(0o700).create(&inputs.dir).cannot(lang, "write", &inputs.dir)?;
        for (at, file) in files.iter().enumerate() {
            let copy = inputs.path(at);
            let mut source = File::open(file).cannot(lang, "read", file)?.take(MAX_INPUT as u64 + 1);
            let mut target = File::create_new(&copy).cannot(lang, "write", &copy)?;
            std::io::copy(&mut source, &mut target).cannot(lang, "read", file)?;
        }
        Ok(inputs)
    }

    fn path(&self, at: usize) -> PathBuf {
        self.dir.join(format!("{at:04}"))
    }

    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.count).map(|at| self.path(at))
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What was answered to a file.
struct Answered<'a> {
    /// The file as the developer names it.
    file: &'a Path,
    copy: PathBuf,
    result: &'a AppOutput,
}

/// What was answered to all files, and their copies.
#[derive(Default)]
struct All {
    answers: Answers,
    inputs: Vec<Inputs>,
}

/// Answers the files: all at once, or one after another with their traces, which are large.
fn answer(args: &Try, traced: bool, settings: &Checks) -> anyhow::Result<All> {
    let lang = args.told.language();
    let mut all = All::default();
    for files in args.files.chunks(if traced { 1 } else { args.files.len().max(1) }) {
        let inputs = Inputs::copy(files, lang)?;
        let answers = golden::answer(&args.dir, (Some(&inputs.dir), traced), settings, args.provider.as_ref(), &args.told)?;
        let answers = answers.ok_or_else(|| anyhow::anyhow!(lang.t("cli-engine-needed")))?;
        let before = all.answers.results.len();
        let logs = (0..files.len()).map(|at| answers.logs.get(at).cloned().unwrap_or_default());
        all.answers.logs.extend(logs);
        all.answers.results.extend(answers.results);
        all.answers.traces.extend(answers.traces);
        all.inputs.push(inputs);
        if let Some((code, detail)) = answers.fault {
            // The child knows the copies by number.
            let place = all.answers.results.len();
            let (number, file) = (format!("`{:04}`", place - before), args.files.get(place));
            let file = file.map(|file| shown(file)).unwrap_or_default();
            all.answers.fault = Some((code, detail.replace(&number, &file)));
            break;
        }
    }
    Ok(all)
}

/// Runs the app and tells what it finds.
pub fn run(args: &Try, settings: &Checks) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let Some(manifest) = package::manifest(&args.dir, &args.told)? else { return Ok(ExitCode::from(AT_FAULT)) };
    anyhow::ensure!(args.files.len() <= MAX_INPUTS, lang.format("cli-try-many", &[("max", &MAX_INPUTS.to_string())]));
    let settings = golden::with_library(settings, args.ort_lib.as_ref(), lang)?;
    let folder = args.out.as_ref().filter(|out| out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("html")));
    let All { answers, inputs } = answer(args, folder.is_some() && manifest.input == InputKind::Video, &settings)?;
    let found = args.files.iter().zip(inputs.iter().flat_map(Inputs::paths)).zip(&answers.results);
    let found: Vec<Answered<'_>> = found.map(|((file, copy), result)| Answered { file, copy, result }).collect();
    let told = Told { manifest: &manifest, code: &args.told.lang, lang };
    if args.told.json {
        let log = |at: usize| answers.logs.get(at).cloned().unwrap_or_default();
        let files = found.iter().enumerate();
        let files: Vec<_> = files.map(|(at, one)| json!({"file": shown(one.file), "result": one.result, "log": log(at)})).collect();
        let fault = answers.fault.as_ref().map(|(code, detail)| json!({"code": code, "detail": detail}));
        package::print(&json!({"ok": fault.is_none(), "files": files, "fault": fault}));
    } else {
        for (at, one) in found.iter().enumerate() {
            tell(one.file, one.result, told);
            answers.logs.get(at).into_iter().flatten().for_each(|line| print_line!("  | {line}"));
        }
    }
    if let Some(out) = &args.out {
        let stills = match folder {
            Some(folder) => {
                std::fs::create_dir_all(folder).cannot(lang, "write", folder)?;
                clips::write(folder, &found, &answers.traces, told, !args.told.json)?
            }
            None => Vec::new(),
        };
        let page = page::of(told, &found, &stills);
        let path = folder.map_or_else(|| out.clone(), |folder| folder.join("index.html"));
        std::fs::write(&path, page).cannot(lang, "write", &path)?;
        if !args.told.json {
            print_line!("{}", lang.format("cli-try-page", &[("path", &shown(&path))]));
        }
    }
    if let Some((code, detail)) = answers.fault.as_ref().filter(|_| !args.told.json) {
        let why = format!("{} [{code}] {detail}", package::reason(lang, code));
        eprintln!("{}", lang.format("cli-try-not-run", &[("reason", &why)]));
        answers.logs.get(found.len()).into_iter().flatten().for_each(|line| eprintln!("  | {line}"));
    }
    Ok(if answers.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) })
}

/// What was found in a file, a line each.
fn tell(file: &Path, result: &AppOutput, told: Told<'_>) {
    print_line!("{}", shown(file));
    let lines = told.lines(result);
    for line in lines.iter().take(MAX_TOLD) {
        print_line!("  {line}");
    }
    if lines.len() > MAX_TOLD {
        print_line!("  {}", told.lang.format("cli-try-more", &[("n", &(lines.len() - MAX_TOLD).to_string())]));
    }
    if lines.is_empty() {
        print_line!("  {}", told.lang.t("cli-try-nothing"));
    }
    for alarm in &result.alarms {
        let second = alarm.at.map(|at| format!("{at:.1} s  ")).unwrap_or_default();
        print_line!("  ! {second}{} ({})", alarm.text.get(told.code), alarm.rule);
    }
    for fault in &result.rule_faults {
        print_line!("  ? {}: {}", fault.rule, fault.message);
    }
}
