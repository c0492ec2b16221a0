//! `pithead try`: an app's folder on pictures, tables or sound, at home. Tells what it finds, and writes a page that shows it.
//!
//! The app runs confined, as in a check, on copies of the files. The page is one file without scripts, for a browser: pictures with boxes,
//! turned boxes, masks and points drawn over them, tables and sound as plots.

mod page;

use std::fs::{DirBuilder, File};
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use inference::app::MAX_INPUT;
use inference::output::{AppOutput, Detection, Direction, Event};
use inference::provider::Library;
use inference::worker::MAX_INPUTS;
use serde_json::json;

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
    /// Page to write that shows what was found.
    #[arg(long, value_name = "FILE.html")]
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
struct Inputs(PathBuf);

impl Inputs {
    /// Names keep the order. Nobody else may enter the folder: the confined app reads it as it reads packages. Of a file that is larger than an
    /// input may be, as much is copied as shows that.
    fn copy(files: &[PathBuf], lang: Lang) -> anyhow::Result<Self> {
        let inputs = Self(std::env::temp_dir().join(ids::new("pithead-try")));
        DirBuilder::new().mode(0o700).create(&inputs.0).cannot(lang, "write", &inputs.0)?;
        for (at, file) in files.iter().enumerate() {
            let copy = inputs.path(at);
            let mut source = File::open(file).cannot(lang, "read", file)?.take(MAX_INPUT as u64 + 1);
            let mut target = File::create_new(&copy).cannot(lang, "write", &copy)?;
            std::io::copy(&mut source, &mut target).cannot(lang, "read", file)?;
        }
        Ok(inputs)
    }

    fn path(&self, at: usize) -> PathBuf {
        self.0.join(format!("{at:04}"))
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What was answered to a file.
struct Answered<'a> {
    /// The file as the developer names it.
    file: &'a Path,
    copy: PathBuf,
    result: &'a AppOutput,
}

/// Runs the app and tells what it finds.
pub fn run(args: &Try, settings: &Checks) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let Some(manifest) = package::manifest(&args.dir, &args.told)? else { return Ok(ExitCode::from(AT_FAULT)) };
    anyhow::ensure!(args.files.len() <= MAX_INPUTS, lang.format("cli-try-many", &[("max", &MAX_INPUTS.to_string())]));
    let settings = golden::with_library(settings, args.ort_lib.as_ref(), lang)?;
    let inputs = Inputs::copy(&args.files, lang)?;
    let answers = golden::answer(&args.dir, Some(&inputs.0), &settings, args.provider.as_ref(), &args.told)?;
    let answers = answers.ok_or_else(|| anyhow::anyhow!(lang.t("cli-engine-needed")))?;
    let found = args.files.iter().zip(&answers.results).enumerate();
    let found: Vec<Answered<'_>> = found.map(|(at, (file, result))| Answered { file, copy: inputs.path(at), result }).collect();
    if args.told.json {
        let log = |at: usize| answers.logs.get(at).cloned().unwrap_or_default();
        let files = found.iter().enumerate();
        let files: Vec<_> = files.map(|(at, one)| json!({"file": shown(one.file), "result": one.result, "log": log(at)})).collect();
        let fault = answers.fault.as_ref().map(|(code, detail)| json!({"code": code, "detail": detail}));
        package::print(&json!({"ok": fault.is_none(), "files": files, "fault": fault}));
    } else {
        for (at, one) in found.iter().enumerate() {
            tell(one.file, one.result, &args.told.lang, lang);
            answers.logs.get(at).into_iter().flatten().for_each(|line| print_line!("  | {line}"));
        }
    }
    if let Some(out) = &args.out {
        let page = page::of(&manifest, &found, &args.told.lang, lang);
        std::fs::write(out, page).cannot(lang, "write", out)?;
        if !args.told.json {
            print_line!("{}", lang.format("cli-try-page", &[("path", &shown(out))]));
        }
    }
    if let Some((code, detail)) = answers.fault.as_ref().filter(|_| !args.told.json) {
        // The child knows the copies by number.
        let file = args.files.get(answers.results.len()).map(|file| shown(file).to_string()).unwrap_or_default();
        let number = format!("`{:04}`", answers.results.len());
        let why = format!("{} [{code}] {}", package::reason(lang, code), detail.replace(&number, &file));
        eprintln!("{}", lang.format("cli-try-not-run", &[("reason", &why)]));
    }
    Ok(if answers.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) })
}

/// What was found in a file, a line each.
fn tell(file: &Path, result: &AppOutput, code: &str, lang: Lang) {
    print_line!("{}", shown(file));
    let lines = lines(result);
    for line in lines.iter().take(MAX_TOLD) {
        print_line!("  {line}");
    }
    if lines.len() > MAX_TOLD {
        print_line!("  {}", lang.format("cli-try-more", &[("n", &(lines.len() - MAX_TOLD).to_string())]));
    }
    if lines.is_empty() {
        print_line!("  {}", lang.t("cli-try-nothing"));
    }
    for alarm in &result.alarms {
        print_line!("  ! {} ({})", alarm.text.get(code), alarm.rule);
    }
    for fault in &result.rule_faults {
        print_line!("  ? {}: {}", fault.rule, fault.message);
    }
}

/// Findings in words: things, classes, values, texts, and of clips what happened and was counted.
pub fn lines(result: &AppOutput) -> Vec<String> {
    let things = result.detections.iter().map(|thing| {
        let [x, y, w, h] = thing.bbox;
        format!("{}  [{x:.0}, {y:.0}, {w:.0} × {h:.0}]", named(thing))
    });
    let classes = result.classes.iter().map(|class| format!("{}  {:.3}", class.label, class.score));
    let values = result.values.iter().map(|value| format!("{} = {:.4} {}", value.id, value.value, value.unit).trim_end().to_owned());
    let texts = result.texts.iter().map(|text| format!("“{}”  {:.3}", text.text, text.score));
    let lines = result.counts.lines.iter().map(|(id, n)| format!("{id}: {} in, {} out", n.inward, n.outward));
    let tracks = result.counts.tracks.iter().map(|(label, n)| format!("{n} × {label}"));
    let events = result.events.iter().map(happened);
    events.chain(lines).chain(tracks).chain(things).chain(classes).chain(values).chain(texts).collect()
}

/// An event with its seconds, and what it was.
fn happened(event: &Event) -> String {
    let end = event.end.map(|end| format!("{end:.1}")).unwrap_or_default();
    let time = if event.line.is_some() { format!("{:.1} s", event.begin) } else { format!("{:.1}–{end} s", event.begin) };
    let what = [&event.rule, &event.zone, &event.line, &event.procedure].into_iter().flatten().cloned();
    let way = event.direction.map(|direction| String::from(if direction == Direction::In { "in" } else { "out" }));
    let who = event.label.as_ref().map(|label| event.track.map_or_else(|| label.clone(), |track| format!("{label} {track}")));
    let missing = (!event.missing.is_empty()).then(|| format!("− {}", event.missing.join(", ")));
    let state = event.state.map(|state| state.as_str().to_owned());
    let parts = std::iter::once(time).chain(what).chain(way).chain(state).chain(missing).chain(who);
    parts.collect::<Vec<_>>().join("  ")
}

/// A thing with what is said of it.
pub fn named(thing: &Detection) -> String {
    let mut all = format!("{}  {:.3}", thing.label, thing.score);
    if let Some(track) = thing.track {
        all.push_str(&format!("  #{track}"));
    }
    if let Some(text) = &thing.said.text {
        all.push_str(&format!("  “{}”", text.text));
    }
    if let Some(class) = thing.said.classes.first() {
        all.push_str(&format!("  {} {:.2}", class.label, class.score));
    }
    for value in &thing.said.values {
        all.push_str(&format!("  {} {:.2} {}", value.id, value.value, value.unit));
    }
    all.trim_end().to_owned()
}
