//! The child that reads the models with which a developer begins an app, and writes the proposal ([`crate::families::propose`]). Confined as
//! a check is; it needs no engine.
//!
//! The files of models are read once: what they say ([`Facts`]) goes to the parent and comes back with each later answer of the developer,
//! so that a form is followed without a file. All texts that the parent is given are the child's word: bounded, and shown as a stranger's.

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use app_package::{
    digest::Digest,
    pipeline::{Post, Pre},
    text::Text,
};
use serde::{Deserialize, Serialize};

use super::{limits_of, numbers_of, print, supervise};
use crate::{
    error::{AppError, Result},
    families::{
        Given, Topic,
        parts::Part,
        propose::{self, Known, Proposed, Unfit, Wish},
        scaffold,
        write::{self, Said},
    },
    sandbox::Limits,
};

/// The file of the child's folder that says what is wanted, and the folder below it where the uploaded files lie.
pub const ORDER: &str = "order.json";
pub const FILES: &str = "files";
/// Longest order in bytes: facts with a form's answers.
const MAX_ORDER: u64 = 3 << 20;
/// Longest facts that are kept, in bytes of JSON.
const MAX_FACTS: usize = 2 << 20;
/// Longest file of labels in bytes.
const MAX_LABELS_FILE: u64 = 256 << 10;

/// What is wanted of the child.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadingOrder {
    /// Uploaded models, samples, and the file of labels, by their paths below [`FILES`].
    pub models: Vec<String>,
    pub samples: Vec<String>,
    pub labels: Option<String>,
    /// What an earlier run has read; no file is looked at then.
    pub facts: Option<Facts>,
    /// What the developer says.
    pub form: FormAnswers,
}

/// What a developer says beside the files. What is empty is left to the proposal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FormAnswers {
    /// Slug of the app.
    pub name: String,
    /// Words of the first model's labels, in its order.
    pub labels: Vec<String>,
    /// Width and height of the first model's picture.
    pub size: Option<(u32, u32)>,
    /// Numbers of the uploaded models in the order in which they run.
    pub order: Vec<usize>,
    /// Number of the reading that is taken, for each uploaded model.
    pub readings: Vec<usize>,
    /// What a listing says.
    pub said: Said,
    /// Language of comments, `zh` or `en`.
    pub lang: String,
}

/// What was read of the files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub models: Vec<Known>,
    /// What the samples and the file of labels say of the first model.
    pub given: Given,
}

/// The proposal, or why there is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Where files were read.
    pub facts: Option<Facts>,
    /// The app's models in their order.
    pub models: Vec<ModelReading>,
    /// What the app reads, as in `app.yaml`.
    pub input: String,
    /// Words of the first model's labels as the proposal has them, its picture, and the least score of what it finds; none where it has none.
    pub labels: Vec<String>,
    pub size: Option<(u32, u32)>,
    pub score: Option<f32>,
    /// What an alarm can be for.
    pub signs: Vec<String>,
    /// The text of `app.yaml`.
    pub yaml: String,
    /// Places of it that are still to be filled in or looked at.
    pub open: Vec<String>,
    /// Files of the app: path in the package, and the uploaded file that lies there.
    pub files: Vec<(String, String)>,
    /// Files that are written: path in the package, and text.
    pub texts: Vec<(String, String)>,
    /// Samples: path of the input and of the expected result in the package, and the uploaded file.
    pub samples: Vec<(String, String, String)>,
    /// Digest of all that results depend on.
    pub runs: String,
    /// Why nothing is proposed.
    pub refusal: Option<ReadingRefusal>,
}

/// Why nothing is proposed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadingRefusal {
    /// The uploaded file; empty where it is none alone.
    pub file: String,
    /// Stable code.
    pub code: String,
    /// What is in the way and what to do.
    pub why: Text,
}

/// A model as it was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelReading {
    /// Its number among the uploaded models.
    pub at: usize,
    /// Its name in the app, and the uploaded file's.
    pub name: String,
    pub file: String,
    pub family: String,
    pub because: Vec<Text>,
    pub notes: Vec<Text>,
    pub questions: Vec<Asked>,
    /// All readings that fit by their families, the likeliest first, and which of them is taken.
    pub families: Vec<String>,
    pub taken: usize,
}

/// A question about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The place of `app.yaml` that it is about.
    pub place: String,
    pub topic: Topic,
    pub text: Text,
    /// What was put there.
    pub default: String,
}

/// The child, its arguments in the order that [`run_reading`] gives: folder, memory bytes, processor seconds, open files, 1 where confinement
/// is required. Prints a [`Reading`].
pub fn reading_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let dir = args.next().map(PathBuf::from);
    let (Some(dir), Some(limits)) = (dir, limits_of(&mut args)) else {
        eprintln!("usage: DIR MEMORY-BYTES CPU-SECONDS OPEN-FILES REQUIRED");
        return ExitCode::from(2);
    };
    let read = super::confine(&limits, &[&dir]).and_then(|_| order_in(&dir));
    print(&match read {
        Ok(order) => reading(&dir, order),
        Err(e) => refused(String::new(), &e),
    })
}

fn order_in(dir: &Path) -> Result<ReadingOrder> {
    let fail = |e: &dyn std::fmt::Display| AppError::new("check-not-started", format!("{ORDER}: {e}"));
    let mut bytes = Vec::new();
    File::open(dir.join(ORDER)).and_then(|file| file.take(MAX_ORDER).read_to_end(&mut bytes)).map_err(|e| fail(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| fail(&e))
}

fn refused(file: String, e: &AppError) -> Reading {
    let why = Text { zh: String::new(), en: e.message.clone() };
    Reading { refusal: Some(ReadingRefusal { file, code: e.code.to_owned(), why }), ..Reading::default() }
}

/// Reads what is to be read in a folder and makes the proposal.
pub fn reading(dir: &Path, order: ReadingOrder) -> Reading {
    let is_first = order.facts.is_none();
    let facts = match order.facts.clone() {
        Some(facts) => facts,
        None => match facts_of(dir, &order) {
            Ok(facts) => facts,
            Err((file, e)) => return refused(file, &e),
        },
    };
    let reading = proposal(&order, &facts);
    Reading { facts: is_first.then_some(facts), ..reading }
}

/// What the files say.
fn facts_of(dir: &Path, order: &ReadingOrder) -> std::result::Result<Facts, (String, AppError)> {
    let place = |path: &str| dir.join(FILES).join(path);
    let mut models = Vec::with_capacity(order.models.len());
    for path in &order.models {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        models.push(Known::read(&place(path), name).map_err(|e| (path.clone(), e))?);
    }
    let mut given = Given::default();
    if let Some(path) = &order.labels {
        let mut bytes = Vec::new();
        let read = File::open(place(path)).and_then(|file| file.take(MAX_LABELS_FILE).read_to_end(&mut bytes));
        read.map_err(|e| (path.clone(), AppError::new("file-missing", e.to_string())))?;
        let text =
            String::from_utf8(bytes).map_err(|_| (path.clone(), AppError::new("labels-unreadable", "it is not UTF-8".to_owned())))?;
        given.labels = propose::label_lines(&text);
    }
    let samples: Vec<PathBuf> = order.samples.iter().map(|path| place(path)).collect();
    let unread = |(file, e): (PathBuf, std::io::Error)| {
        let name = file.strip_prefix(dir.join(FILES)).unwrap_or(&file).display().to_string();
        (name, AppError::new("file-missing", e.to_string()))
    };
    scaffold::add_columns(&mut given, &samples).map_err(unread)?;
    let facts = Facts { models, given };
    if serde_json::to_vec(&facts).map_or(usize::MAX, |json| json.len()) > MAX_FACTS {
        let message = format!("names, shapes and metadata of the models are longer than {} MiB", MAX_FACTS >> 20);
        return Err((String::new(), AppError::new("model-too-wordy", message)));
    }
    Ok(facts)
}

fn proposal(order: &ReadingOrder, facts: &Facts) -> Reading {
    let form = &order.form;
    let all: Vec<usize> = (0..facts.models.len()).collect();
    let mut sorted = form.order.clone();
    sorted.sort_unstable();
    let running = if sorted == all { form.order.clone() } else { propose::finders_first(&facts.models) };
    let models: Vec<Known> = running.iter().filter_map(|at| facts.models.get(*at)).cloned().collect();
    let mut given = facts.given.clone();
    if !form.labels.is_empty() {
        given.labels.clone_from(&form.labels);
    }
    given.size = form.size.or(given.size);
    let wish = Wish {
        name: form.name.clone(),
        given: given.clone(),
        said: form.said.clone(),
        readings: running.iter().map(|at| form.readings.get(*at).copied().unwrap_or_default()).collect(),
        samples: order.samples.clone(),
        lang: form.lang.clone(),
    };
    let path_of = |at: usize| running.get(at).and_then(|at| order.models.get(*at)).cloned().unwrap_or_default();
    match propose::propose(&models, &wish) {
        Ok(proposed) => described(order, &running, &models, &given, proposed),
        Err(unfit) => {
            let (file, code, why) = match unfit {
                Unfit::Unknown(at, why) => (path_of(at), "export-unknown", why),
                Unfit::Apart(why) => (String::new(), "inputs-differ", why),
                Unfit::Models => (String::new(), "draft-models", Text::default()),
                Unfit::Samples => (String::new(), "draft-samples", Text::default()),
            };
            Reading { refusal: Some(ReadingRefusal { file, code: code.to_owned(), why }), ..Reading::default() }
        }
    }
}

/// The proposal as the parent is told it.
fn described(order: &ReadingOrder, running: &[usize], models: &[Known], given: &Given, proposed: Proposed) -> Reading {
    let Proposed { parts, listing, yaml, open } = proposed;
    let manifest = write::manifest(&parts, &listing);
    let runs = manifest.map(|manifest| serde_json::json!([manifest.input, manifest.steps, manifest.golden])).unwrap_or_default();
    let uploaded = |at: usize| running.get(at).and_then(|at| order.models.get(*at)).cloned().unwrap_or_default();
    let mut files = Vec::new();
    for (at, (part, known)) in parts.iter().zip(models).enumerate() {
        let model = uploaded(at);
        let folder = Path::new(&model).parent().unwrap_or(Path::new("")).to_owned();
        files.push((part.path.clone(), model));
        files.extend(known.data.iter().map(|data| (data.display().to_string(), folder.join(data).display().to_string())));
    }
    let samples = order.samples.iter().zip(&listing.samples);
    let samples = samples.map(|(uploaded, (input, expect))| (input.clone(), expect.clone(), uploaded.clone()));
    let first = parts.first().and_then(|part| part.readings.first());
    let post = first.and_then(|reading| reading.step.post.first());
    Reading {
        facts: None,
        input: first.map(|reading| reading.input.as_str().to_owned()).unwrap_or_default(),
        labels: post.map(words).unwrap_or_default(),
        size: first.and_then(|reading| match &reading.step.pre {
            Pre::Image(image) => Some((image.width, image.height)),
            _ => None,
        }),
        score: post.and_then(|post| match post {
            Post::Boxes(boxes) => Some(boxes.score),
            Post::Grid(grid) => Some(grid.score),
            _ => None,
        }),
        signs: write::signs(&parts).into_iter().map(|(id, _)| id).collect(),
        open: open.into_iter().collect(),
        texts: parts.iter().filter_map(|part| part.readings.first()).flat_map(|reading| reading.files.clone()).collect(),
        samples: samples.collect(),
        runs: Digest::of(runs.to_string().as_bytes()).to_string(),
        models: parts
            .iter()
            .zip(models)
            .enumerate()
            .map(|(at, (part, known))| {
                let given = if at == 0 { given.clone() } else { Given::default() };
                model_reading(at, running.get(at).copied().unwrap_or_default(), part, known, &given)
            })
            .collect(),
        files,
        yaml,
        refusal: None,
    }
}

/// Words of what a model tells apart, or of its values.
fn words(post: &Post) -> Vec<String> {
    let texts: Vec<&Text> = match post {
        Post::Values(values) => values.items.iter().map(|item| &item.text).collect(),
        post => post.labels().iter().map(|label| &label.text).collect(),
    };
    texts.into_iter().map(|text| text.get("zh").to_owned()).collect()
}

/// What the parent is told of the model that runs as this number.
fn model_reading(runs_as: usize, at: usize, part: &Part, known: &Known, given: &Given) -> ModelReading {
    let Some(first) = part.readings.first() else { return ModelReading::default() };
    let all = known.readings(given).unwrap_or_default();
    let questions = first.questions.iter().map(|question| Asked {
        place: write::place(runs_as, first, question.about),
        topic: question.about,
        text: question.text.clone(),
        default: question.default.clone(),
    });
    ModelReading {
        at,
        name: part.name.clone(),
        file: part.file.clone(),
        family: first.family.to_owned(),
        because: first.because.clone(),
        notes: first.notes.clone(),
        questions: questions.collect(),
        taken: all.iter().position(|other| other.family == first.family && other.because == first.because).unwrap_or_default(),
        families: all.iter().map(|other| other.family.to_owned()).collect(),
    }
}

/// Runs `exe args… DIR …` (see [`reading_main`]) on a folder with [`ORDER`] and [`FILES`], and returns what it prints; where it printed
/// nothing, a refusal with one of the reasons of [`super::run_check`]. Blocks for at most `wall` and a moment.
pub fn run_reading(exe: &Path, args: &[&str], dir: &Path, limits: &Limits, wall: Duration) -> Reading {
    let mut command = Command::new(exe);
    command.args(args).arg(dir).args(numbers_of(limits).map(|n| n.to_string()));
    let said = |code: String, detail: String| {
        let why = Text { zh: String::new(), en: detail };
        Reading { refusal: Some(ReadingRefusal { file: String::new(), code, why }), ..Reading::default() }
    };
    match supervise(command, wall) {
        Ok(ended) => ended.answer().unwrap_or_else(|| {
            let (code, detail) = ended.reason(wall);
            said(code, detail)
        }),
        Err(e) => said("check-not-started".to_owned(), e.to_string()),
    }
}
