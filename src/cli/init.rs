//! `pithead init`: the folder of an app out of its models' files, with all that they say about themselves and questions for what they do not.
//!
//! What a file says is read by [`inference::families`]; here are its arguments, its words, and the confined run that makes the expected
//! results of the samples, as `pithead check` runs the model.

use std::path::PathBuf;
use std::process::ExitCode;

use app_package::text::Text;
use clap::Args;
use inference::families::Given;
use inference::families::propose::{MAX_MODELS, MAX_SAMPLES, app_name, is_app_name, size};
use inference::families::scaffold::{self, Draft, Order, Refusal};
use inference::worker::Answers;
use serde_json::json;

use super::golden;
use super::package::{self, AT_FAULT, Output};
use super::words::{Cannot as _, shown};
use crate::base::config::Checks;
use crate::base::i18n::Lang;

/// `pithead init MODEL.onnx…`.
#[derive(Debug, Args)]
pub struct Init {
    /// The models, ONNX files: each after the first runs for the objects that those before it find.
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Folder to write; by default one with the app's name, here.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Name of the app: lower-case letters, digits, hyphens; by default that of the first file.
    #[arg(long, value_name = "SLUG")]
    pub name: Option<String>,
    /// What the first model tells apart, in its order, with commas between.
    #[arg(long, value_delimiter = ',', value_name = "A,B,…")]
    pub labels: Vec<String>,
    /// Size of the first model's picture where its file leaves it open, such as 640x640.
    #[arg(long, value_name = "WxH")]
    pub size: Option<String>,
    /// Samples: pictures, or CSV where the model reads a table; their expected results are made by running the app.
    #[arg(long, value_name = "FILE", num_args = 1.., visible_alias = "samples")]
    pub pictures: Vec<PathBuf>,
    /// Path of libonnxruntime, instead of the setting `checks.ort_lib`.
    #[arg(long)]
    pub ort_lib: Option<PathBuf>,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// Writes the folder and tells what was concluded.
pub fn init(args: &Init, settings: &Checks) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let name = args.name.clone().unwrap_or_else(|| {
        let file = args.models.first().and_then(|model| model.file_name()).unwrap_or_default();
        app_name(&file.to_string_lossy())
    });
    anyhow::ensure!(is_app_name(&name), lang.t("cli-init-name"));
    let size = match &args.size {
        Some(text) => Some(size(text).ok_or_else(|| anyhow::anyhow!(lang.t("cli-init-size")))?),
        None => None,
    };
    // Said before anything is written, as `check` says it.
    let settings = golden::with_library(settings, args.ort_lib.as_ref(), lang)?;
    let order = Order {
        models: args.models.clone(),
        dir: args.dir.clone().unwrap_or_else(|| PathBuf::from(&name)),
        name,
        given: Given { labels: args.labels.clone(), size, ..Given::default() },
        samples: args.pictures.clone(),
        lang: args.told.lang.clone(),
    };
    let draft = match scaffold::lay_out(&order) {
        Ok(draft) => draft,
        Err(refusal) => return refused(&order, refusal, &args.told),
    };
    let answers = if draft.expected.is_empty() { None } else { golden::answer(&order.dir, (None, false), &settings, None, &args.told)? };
    if let Some(answers) = &answers
        && let Err(refusal) = scaffold::write_expected(&draft, &answers.results)
    {
        return refused(&order, refusal, &args.told);
    }
    if args.told.json {
        tell_json(&order, &draft, answers.as_ref());
    } else {
        tell(&order, &draft, answers.as_ref(), &args.told);
    }
    // The folder is there; what its samples lack is told, and is the app's fault.
    let whole = answers.is_none_or(|answers| answers.fault.is_none());
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) })
}

/// Says why nothing was written: 1 where the model or the package is at fault, an error where it could not be done.
fn refused(order: &Order, refusal: Refusal, told: &Output) -> anyhow::Result<ExitCode> {
    let lang = told.language();
    let (file, code, words) = match refusal {
        Refusal::Taken(path) => anyhow::bail!(lang.format("cli-init-taken", &[("path", &shown(&path))])),
        Refusal::Samples(_) => anyhow::bail!(lang.format("cli-init-samples", &[("max", &MAX_SAMPLES.to_string())])),
        Refusal::Models => anyhow::bail!(lang.format("cli-init-models", &[("max", &MAX_MODELS.to_string())])),
        Refusal::Read(path, e) => return Err(e).cannot(lang, "read", &path),
        Refusal::Write(path, e) => return Err(e).cannot(lang, "write", &path),
        Refusal::Faults(faults) => {
            package::tell_faults(&order.dir, &faults, told);
            return Ok(ExitCode::from(AT_FAULT));
        }
        Refusal::Model(file, e) => (file, e.code, format!("{} [{}]\n     {}", package::reason(lang, e.code), e.code, e.message)),
        Refusal::Unknown(file, why) => (file, "export-unknown", why.get(&told.lang).to_owned()),
        Refusal::Apart(why) => (order.dir.clone(), "inputs-differ", why.get(&told.lang).to_owned()),
    };
    if told.json {
        package::print(&json!({"ok": false, "file": shown(&file), "code": code, "detail": words}));
    } else {
        eprintln!("{}: {words}", shown(&file));
    }
    Ok(ExitCode::from(AT_FAULT))
}

fn tell(order: &Order, draft: &Draft, answers: Option<&Answers>, told: &Output) {
    let lang = told.language();
    let (dir, say) = (shown(&order.dir), |text: &Text| text.get(&told.lang).to_owned());
    print_line!("{}", shown(&order.dir.join(app_package::oci::SOURCE_FILE)));
    for part in &draft.parts {
        let mut readings = part.readings.iter();
        let Some(first) = readings.next() else { continue };
        print_line!("{}", lang.format("cli-init-family", &[("path", &part.file), ("family", first.family)]));
        for text in first.because.iter().chain(&first.notes) {
            print_line!("  - {}", say(text));
        }
        for question in &first.questions {
            let default = lang.format("cli-init-default", &[("value", &question.default)]);
            print_line!("  ? {} ({default})", say(&question.text));
        }
        for other in readings {
            print_line!("  {}", lang.format("cli-init-other", &[("family", other.family)]));
        }
    }
    tell_answers(draft, answers, lang);
    print_line!("{}", lang.format("cli-init-marked", &[("n", &draft.marked.to_string()), ("dir", &dir)]));
}

fn tell_answers(draft: &Draft, answers: Option<&Answers>, lang: Lang) {
    let Some(answers) = answers else {
        let key = if draft.expected.is_empty() { "cli-init-no-samples" } else { "cli-init-no-engine" };
        print_line!("{}", lang.t(key));
        return;
    };
    golden::tell(draft.expected.iter().map(PathBuf::as_path).zip(&answers.results), answers, lang);
    if scaffold::blind(draft.posts(), &answers.results) {
        print_line!("{}", lang.t("cli-init-blind"));
    }
}

fn tell_json(order: &Order, draft: &Draft, answers: Option<&Answers>) {
    let readings = draft.parts.iter().flat_map(|part| part.readings.iter().map(move |reading| (part, reading))).map(|(part, proposal)| {
        let questions = proposal
            .questions
            .iter()
            .map(|q| json!({"about": format!("{:?}", q.about).to_lowercase(), "text": q.text, "default": q.default}));
        let questions: Vec<_> = questions.collect();
        json!({"model": part.name, "family": proposal.family, "because": proposal.because, "notes": proposal.notes, "questions": questions})
    });
    let fault = answers.and_then(|answers| answers.fault.as_ref()).map(|(code, detail)| json!({"code": code, "detail": detail}));
    package::print(&json!({
        "ok": fault.is_none(),
        "name": order.name,
        "dir": order.dir,
        "readings": readings.collect::<Vec<_>>(),
        "marked": draft.marked,
        "samples": draft.expected.len(),
        "expected": answers.map_or(0, |answers| answers.results.len()),
        "blind": answers.is_some_and(|answers| scaffold::blind(draft.posts(), &answers.results)),
        "fault": fault,
    }));
}
