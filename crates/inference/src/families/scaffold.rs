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

use app_package::{fault::Fault, oci::SOURCE_FILE, pipeline::Post, text::Text, validate};

use super::{
    Given,
    parts::Part,
    propose::{Known, MAX_MODELS, MAX_SAMPLES, Proposed, Unfit, Wish, extension, propose},
};
use crate::{app::MAX_INPUT, error::AppError, output::AppOutput, table};

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

impl Draft {
    /// What the models' outputs become.
    pub fn posts(&self) -> impl Iterator<Item = &Post> {
        self.parts.iter().filter_map(|part| part.readings.first()).flat_map(|reading| &reading.step.post)
    }
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
    // Counted before any is read.
    if order.samples.len() > MAX_SAMPLES {
        return Err(Refusal::Samples(order.samples.len()));
    }
    if order.models.is_empty() || order.models.len() > MAX_MODELS {
        return Err(Refusal::Models);
    }
    let mut given = order.given.clone();
    let models = order.models.iter().map(|file| fs::canonicalize(file).map_err(|e| Refusal::Read(file.clone(), e)));
    let models = models.collect::<Result<Vec<PathBuf>, _>>()?;
    let read = |(file, model): (&PathBuf, &PathBuf)| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Known::read(model, name).map_err(|e| Refusal::Model(file.clone(), e))
    };
    let known = order.models.iter().zip(&models).map(read).collect::<Result<Vec<Known>, _>>()?;
    add_columns(&mut given, &order.samples).map_err(|(file, e)| Refusal::Read(file, e))?;
    let names = order.samples.iter().map(|sample| sample.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let wish = Wish { name: order.name.clone(), given, samples: names.collect(), lang: order.lang.clone(), ..Wish::default() };
    let Proposed { parts, listing, yaml, .. } = propose(&known, &wish).map_err(|unfit| match unfit {
        Unfit::Models => Refusal::Models,
        Unfit::Samples => Refusal::Samples(order.samples.len()),
        Unfit::Unknown(at, why) => Refusal::Unknown(order.models.get(at).cloned().unwrap_or_default(), why),
        Unfit::Apart(why) => Refusal::Apart(why),
    })?;
    validate::parse(&yaml).map_err(Refusal::Faults)?;
    let mut copies: Vec<(PathBuf, PathBuf)> =
        models.iter().zip(&parts).map(|(model, part)| (model.clone(), order.dir.join(&part.path))).collect();
    for (model, known) in models.iter().zip(&known) {
        let root = model.parent().unwrap_or(model);
        copies.extend(known.data.iter().map(|file| (root.join(file), order.dir.join(file))));
    }
    // Models may share a file.
    let mut known = BTreeSet::new();
    copies.retain(|copy| known.insert(copy.clone()));
    copies.extend(order.samples.iter().zip(&listing.samples).map(|(sample, (input, _))| (sample.clone(), order.dir.join(input))));
    let beside = parts.iter().filter_map(|part| part.readings.first()).flat_map(|reading| &reading.files);
    let beside: Vec<(PathBuf, &str)> = beside.map(|(name, text)| (order.dir.join(name), text.as_str())).collect();
    let mut written = Vec::new();
    let mut write = || {
        for (from, to) in &copies {
            folder(to.parent().unwrap_or(&order.dir))?;
            if copy(from, to)? {
                written.push(to);
            }
        }
        for (path, text) in &beside {
            write_new(path, text.as_bytes())?;
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
    let expected = listing.samples.iter().map(|(_, expect)| order.dir.join(expect)).collect();
    Ok(Draft { marked: marked(&yaml), parts, expected })
}

/// Marked lines of an `app.yaml` that is in effect.
fn marked(yaml: &str) -> usize {
    yaml.lines().filter(|line| line.ends_with(super::yaml::MARK) && !line.starts_with('#')).count()
}

/// Whether an app that finds objects has found none in any sample: its check would pass a model that finds nothing.
pub fn blind<'a>(mut posts: impl Iterator<Item = &'a Post>, results: &[AppOutput]) -> bool {
    let finds = posts.any(|post| matches!(post, Post::Boxes(_) | Post::Grid(_)));
    finds && !results.is_empty() && results.iter().all(|result| result.detections.is_empty())
}

/// Writes the expected results of the samples that were answered.
pub fn write_expected(draft: &Draft, results: &[AppOutput]) -> Result<(), Refusal> {
    for (path, result) in draft.expected.iter().zip(results) {
        write_new(path, &result.to_file())?;
    }
    Ok(())
}

/// Names of a table's columns, and those of them with gaps, out of the samples that are tables; what is said already stays.
///
/// # Errors
/// The sample that cannot be read.
pub fn add_columns(given: &mut Given, samples: &[PathBuf]) -> Result<(), (PathBuf, io::Error)> {
    if !given.columns.is_empty() {
        return Ok(());
    }
    let tables = samples.iter().filter_map(|sample| columns(sample).map_err(|e| (sample.clone(), e)).transpose());
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    given.columns = tables.first().map(|(names, _)| names.clone()).unwrap_or_default();
    given.gaps = tables.into_iter().flat_map(|(_, gaps)| gaps).collect::<BTreeSet<_>>().into_iter().collect();
    Ok(())
}

/// Names of a table's columns, and those with empty cells; none of a picture, nor of what is no table, which its run will say.
fn columns(sample: &Path) -> io::Result<Option<(Vec<String>, Vec<String>)>> {
    if extension(sample) != "csv" {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(sample)?.take(MAX_INPUT as u64).read_to_end(&mut bytes)?;
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
