//! The folder of a new app: the models with their external data, the samples, `app.yaml`.
//!
//! Nothing that is there is written over: a file in the way is an error that names it, and `app.yaml` is written last, so that a
//! folder without one holds no app; what was copied is taken away again where something fails.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use app_package::{fault::Fault, manifest::InputKind, oci::SOURCE_FILE, text::Text, validate};

use super::{
    Given, Proposal,
    labels::slug,
    obstacle,
    parts::{self, Part},
    recognise,
    write::{Listing, app_yaml},
};
use crate::{app::MAX_INPUT, error::AppError, model_file, output::AppOutput, table};

/// Most samples, as `app.yaml` takes them.
pub const MAX_SAMPLES: usize = 50;
/// Most models, as `app.yaml` takes them.
pub const MAX_MODELS: usize = 6;
/// Longest name of a model.
const MAX_NAME: usize = 40;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The models, 1 to [`MAX_MODELS`]: each after the first runs for what those before it find.
    pub models: Vec<PathBuf>,
    /// The folder to write.
    pub dir: PathBuf,
    /// Slug of the app.
    pub name: String,
    /// What the developer knows of the first model.
    pub given: Given,
    /// Samples to copy: pictures, or tables.
    pub samples: Vec<PathBuf>,
    /// Language of comments, `zh` or `en`.
    pub lang: String,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The models with their readings, that of `app.yaml` first.
    pub parts: Vec<Part>,
    /// Paths of the expected results, for the samples in their order.
    pub expected: Vec<PathBuf>,
    /// Marked lines of `app.yaml`.
    pub marked: usize,
}

/// Why nothing, or not all, was written.
#[derive(Debug)]
pub enum Refusal {
    /// `app.yaml` is there already.
    Taken(PathBuf),
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file cannot be written.
    Write(PathBuf, io::Error),
    /// The model of this file is none, or its external data are not beside it.
    Model(PathBuf, AppError),
    /// No family fits this file.
    Unknown(PathBuf, Text),
    /// The models do not make one app.
    Apart(Text),
    /// No model, or more than `app.yaml` takes.
    Models,
    /// More samples than `app.yaml` takes.
    Samples(usize),
    /// What was written would not be read back; the model has names or shapes that `app.yaml` does not take.
    Faults(Vec<Fault>),
}

/// Writes the folder.
pub fn lay_out(order: &Order) -> Result<Draft, Refusal> {
    let source = order.dir.join(SOURCE_FILE);
    if source.symlink_metadata().is_ok() {
        return Err(Refusal::Taken(source));
    }
    if order.samples.len() > MAX_SAMPLES {
        return Err(Refusal::Samples(order.samples.len()));
    }
    if order.models.is_empty() || order.models.len() > MAX_MODELS {
        return Err(Refusal::Models);
    }
    let mut given = order.given.clone();
    if given.columns.is_empty() && !order.samples.is_empty() {
        let tables = order.samples.iter().filter_map(|sample| columns(sample).transpose()).collect::<Result<Vec<_>, _>>()?;
        given.columns = tables.first().map(|(names, _)| names.clone()).unwrap_or_default();
        given.gaps = tables.into_iter().flat_map(|(_, gaps)| gaps).collect::<BTreeSet<_>>().into_iter().collect();
    }
    // What the developer says beside the files is said of the first.
    let none = Given::default();
    let givens = std::iter::once(&given).chain(std::iter::repeat(&none));
    let sources = order.models.iter().zip(givens).map(|(file, given)| source_of(file, given));
    let mut sources = sources.collect::<Result<Vec<_>, _>>()?;
    let names = names(order);
    let mut parts: Vec<Part> = sources.iter_mut().zip(names).map(|(source, (name, path))| source.part(name, path)).collect();
    parts::join(&mut parts).map_err(Refusal::Apart)?;
    let Some(first) = parts.first().and_then(|part| part.readings.first()) else { return Err(Refusal::Models) };
    let samples = (1..).zip(&order.samples).map(|(n, sample)| {
        let extension = match first.input {
            InputKind::Image => picture(sample),
            InputKind::Video => "avi".to_owned(),
            InputKind::Audio => "wav".to_owned(),
            InputKind::Timeseries | InputKind::Tabular => "csv".to_owned(),
        };
        (format!("golden/{n}.{extension}"), format!("golden/{n}.json"))
    });
    let files = || sources.iter().flat_map(|source| source.data.iter().chain([&source.model]));
    let licenses: BTreeSet<String> = sources.iter().filter_map(|source| source.license.clone()).collect();
    let listing = Listing {
        name: order.name.clone(),
        bytes: files().filter_map(|file| Some(file.metadata().ok()?.len())).sum(),
        licenses: licenses.into_iter().collect(),
        samples: samples.collect(),
    };
    let yaml = app_yaml(&parts, &listing, &order.lang);
    validate::parse(&yaml).map_err(Refusal::Faults)?;
    let mut copies: Vec<(PathBuf, PathBuf)> =
        sources.iter().zip(&parts).map(|(source, part)| (source.model.clone(), order.dir.join(&part.path))).collect();
    for source in &sources {
        copies.extend(source.data.iter().map(|file| (file.clone(), order.dir.join(file.strip_prefix(source.root()).unwrap_or(file)))));
    }
    copies.extend(order.samples.iter().zip(&listing.samples).map(|(sample, (input, _))| (sample.clone(), order.dir.join(input))));
    let beside = parts.iter().flat_map(|part| part.readings.first()).flat_map(|reading| &reading.files);
    let beside: Vec<(PathBuf, &[u8])> = beside.map(|(name, bytes)| (order.dir.join(name), bytes.as_slice())).collect();
    let mut written = Vec::new();
    let mut write = || {
        for (from, to) in &copies {
            folder(to.parent().unwrap_or(&order.dir))?;
            if copy(from, to)? {
                written.push(to);
            }
        }
        for (path, bytes) in &beside {
            write_new(path, bytes)?;
            written.push(path);
        }
        write_new(&source, yaml.as_bytes())
    };
    write().inspect_err(|_| {
        // Half a folder would be in the way of the next try.
        for file in &written {
            let _ = fs::remove_file(file);
        }
    })?;
    let marked = yaml.lines().filter(|line| line.ends_with(super::yaml::MARK) && !line.starts_with('#')).count();
    let expected = listing.samples.iter().map(|(_, expect)| order.dir.join(expect)).collect();
    Ok(Draft { parts, expected, marked })
}

/// Writes the expected results of the samples that were answered.
pub fn write_expected(draft: &Draft, results: &[AppOutput]) -> Result<(), Refusal> {
    for (path, result) in draft.expected.iter().zip(results) {
        write_new(path, &result.to_file())?;
    }
    Ok(())
}

/// A model's file with what it says of itself.
struct Source {
    /// Its real place: external data are named from there.
    model: PathBuf,
    /// The file as its developer names it.
    file: String,
    /// Its external data.
    data: Vec<PathBuf>,
    license: Option<String>,
    readings: Vec<Proposal>,
}

impl Source {
    fn root(&self) -> &Path {
        self.model.parent().unwrap_or(&self.model)
    }

    fn part(&mut self, name: String, path: String) -> Part {
        Part { name, path, file: self.file.clone(), readings: std::mem::take(&mut self.readings) }
    }
}

fn source_of(file: &Path, given: &Given) -> Result<Source, Refusal> {
    let model = fs::canonicalize(file).map_err(|e| Refusal::Read(file.to_owned(), e))?;
    let root = model.parent().unwrap_or(&model);
    let no_model = |e| Refusal::Model(file.to_owned(), e);
    let signature = model_file::signature(root, &model).map_err(no_model)?;
    let metadata = model_file::metadata(root, &model).map_err(no_model)?;
    let readings = recognise(&signature, &metadata, given);
    if readings.is_empty() {
        return Err(Refusal::Unknown(file.to_owned(), obstacle(&signature, &metadata, given).unwrap_or_default()));
    }
    let data = model_file::external_data(root, &model).map_err(no_model)?;
    let license = metadata.get("license").map(str::to_owned);
    Ok(Source { file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(), data, license, readings, model })
}

/// Name and path of each model in the app: of one alone the app's own name, of several those of their files.
fn names(order: &Order) -> Vec<(String, String)> {
    if order.models.len() == 1 {
        return vec![(order.name.clone(), "model.onnx".to_owned())];
    }
    let mut taken = BTreeSet::new();
    let named = order.models.iter().enumerate().map(|(at, file)| {
        let mut name = slug(&file.file_stem().unwrap_or_default().to_string_lossy(), MAX_NAME);
        if name.is_empty() || !taken.insert(name.clone()) {
            name = format!("model-{}", at + 1);
        }
        let path = format!("{name}.onnx");
        (name, path)
    });
    named.collect()
}

/// What follows the last dot of a name, in lower case.
fn extension(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// The extension of a picture, by its name as far as `app.yaml` takes it.
fn picture(sample: &Path) -> String {
    match extension(sample).as_str() {
        "png" => "png".to_owned(),
        _ => "jpg".to_owned(),
    }
}

/// Names of a table's columns, and those with empty cells; none of a picture, nor of what is no table, which its run will say.
fn columns(sample: &Path) -> Result<Option<(Vec<String>, Vec<String>)>, Refusal> {
    if extension(sample) != "csv" {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = File::open(sample).and_then(|file| file.take(MAX_INPUT as u64).read_to_end(&mut bytes));
    read.map_err(|e| Refusal::Read(sample.to_owned(), e))?;
    Ok(table::header(&bytes).and_then(|names| Ok((names, table::gaps(&bytes)?))).ok())
}

fn folder(dir: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(dir).map_err(|e| Refusal::Write(dir.to_owned(), e))
}

/// Copies a file to a new one; false for a file that is its own target.
fn copy(from: &Path, to: &Path) -> Result<bool, Refusal> {
    if let (Ok(from), Ok(to)) = (fs::canonicalize(from), fs::canonicalize(to))
        && from == to
    {
        return Ok(false);
    }
    let mut source = File::open(from).map_err(|e| Refusal::Read(from.to_owned(), e))?;
    let fail = |e| Refusal::Write(to.to_owned(), e);
    let mut target = OpenOptions::new().write(true).create_new(true).open(to).map_err(fail)?;
    io::copy(&mut source, &mut target).map(|_| true).map_err(fail)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Refusal> {
    let fail = |e| Refusal::Write(path.to_owned(), e);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(fail)?;
    file.write_all(bytes).map_err(fail)
}
