//! The folder of a new app: the model with its external data, the samples, `app.yaml`.
//!
//! Nothing that is there is written over: a file in the way is an error that names it, and `app.yaml` is written last, so that a
//! folder without one holds no app; what was copied is taken away again where something fails.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use app_package::{fault::Fault, manifest::InputKind, oci::SOURCE_FILE, text::Text, validate};

use super::{
    Given, Proposal, obstacle, recognise,
    write::{Listing, app_yaml},
};
use crate::{
    app::MAX_INPUT,
    error::AppError,
    model_file::{self, Metadata, Signature},
    output::AppOutput,
    table,
};

/// Most samples, as `app.yaml` takes them.
pub const MAX_SAMPLES: usize = 50;
/// The model's name in the folder.
const MODEL: &str = "model.onnx";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The model.
    pub model: PathBuf,
    /// The folder to write.
    pub dir: PathBuf,
    /// Slug of the app.
    pub name: String,
    /// What the developer knows.
    pub given: Given,
    /// Samples to copy: pictures, or tables.
    pub samples: Vec<PathBuf>,
    /// Language of comments, `zh` or `en`.
    pub lang: String,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The readings of the model, that of `app.yaml` first.
    pub proposals: Vec<Proposal>,
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
    /// The model is none, or its external data are not beside it.
    Model(AppError),
    /// No family fits.
    Unknown(Text),
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
    // Its real place: external data are named from there.
    let model = fs::canonicalize(&order.model).map_err(|e| Refusal::Read(order.model.clone(), e))?;
    let root = model.parent().unwrap_or(&model);
    let (signature, metadata) = read(root, &model).map_err(Refusal::Model)?;
    let mut given = order.given.clone();
    if given.columns.is_empty() {
        given.columns = order.samples.first().map(|sample| columns(sample)).transpose()?.unwrap_or_default();
    }
    let proposals = recognise(&signature, &metadata, &given);
    let Some(first) = proposals.first() else {
        return Err(Refusal::Unknown(obstacle(&signature, &metadata, &given).unwrap_or_default()));
    };
    let samples = (1..).zip(&order.samples).map(|(n, sample)| {
        let extension = match first.input {
            InputKind::Image => picture(sample),
            InputKind::Video => "avi".to_owned(),
            InputKind::Audio => "wav".to_owned(),
            InputKind::Timeseries | InputKind::Tabular => "csv".to_owned(),
        };
        (format!("golden/{n}.{extension}"), format!("golden/{n}.json"))
    });
    let data = model_file::external_data(root, &model).map_err(Refusal::Model)?;
    let listing = Listing {
        name: order.name.clone(),
        file: order.model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        bytes: data.iter().chain([&model]).filter_map(|file| Some(file.metadata().ok()?.len())).sum(),
        license: metadata.get("license").map(str::to_owned),
        samples: samples.collect(),
    };
    let yaml = app_yaml(&proposals, &listing, &order.lang);
    validate::parse(&yaml).map_err(Refusal::Faults)?;
    let mut copies = vec![(model.clone(), order.dir.join(MODEL))];
    copies.extend(data.iter().map(|file| (file.clone(), order.dir.join(file.strip_prefix(root).unwrap_or(file)))));
    copies.extend(order.samples.iter().zip(&listing.samples).map(|(sample, (input, _))| (sample.clone(), order.dir.join(input))));
    let beside: Vec<(PathBuf, &[u8])> = first.files.iter().map(|(name, bytes)| (order.dir.join(name), bytes.as_slice())).collect();
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
    Ok(Draft { proposals, expected, marked })
}

/// Writes the expected results of the samples that were answered.
pub fn write_expected(draft: &Draft, results: &[AppOutput]) -> Result<(), Refusal> {
    for (path, result) in draft.expected.iter().zip(results) {
        write_new(path, &result.to_file())?;
    }
    Ok(())
}

fn read(root: &Path, model: &Path) -> Result<(Signature, Metadata), AppError> {
    Ok((model_file::signature(root, model)?, model_file::metadata(root, model)?))
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

/// Names of a table's columns; none of a picture, nor of what is no table, which its run will say.
fn columns(sample: &Path) -> Result<Vec<String>, Refusal> {
    if extension(sample) != "csv" {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    let read = File::open(sample).and_then(|file| file.take(MAX_INPUT as u64).read_to_end(&mut bytes));
    read.map_err(|e| Refusal::Read(sample.to_owned(), e))?;
    Ok(table::header(&bytes).unwrap_or_default())
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
