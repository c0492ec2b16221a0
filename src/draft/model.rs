//! The draft, and how the files of an upload are told apart.

use std::collections::HashSet;

use app_package::path::PackagePath;
use diesel::prelude::*;
use inference::app::MAX_INPUT;
use inference::families::propose::{MAX_MODELS, MAX_SAMPLES};
use inference::worker::{Facts, FormAnswers, Reading};
use serde::{Deserialize, Serialize};

use crate::base::db::{Json, Timestamp, schema};
use crate::base::error::{Error, Result};

/// Most files of a draft: models and samples with external data and labels.
const MAX_FILES: usize = 100;
/// Longest `.onnx` file in bytes: the protobuf library reads no longer message, so larger models have their weights beside them.
const MAX_MODEL: u64 = 2 << 30;
/// Most bytes of all files.
const MAX_BYTES: u64 = 8 << 30;
/// Longest file of labels in bytes.
const MAX_LABELS: u64 = 256 << 10;
/// Longest path of a file in bytes: it stands in an archive below a folder with the app's name.
const MAX_PATH: usize = 120;

crate::base::db::types::text_enum! {
    /// Where a draft is.
    pub enum DraftState {
        /// Its models are to be read.
        Reading = "reading",
        /// There is a proposal, or it is known why there is none.
        Read = "read",
        /// The expected results of its samples are to be made.
        Answering = "answering",
    }
}

/// A file of the upload, or one that was made for the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftFile {
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Digest; not known before it was sent.
    #[serde(default)]
    pub digest: String,
}

/// What came of answering the samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// [`Reading::runs`] of the proposal that answered.
    pub runs: String,
    /// Files that were made: expected results in the order of the samples, then texts beside the models, by their paths in the package.
    pub files: Vec<DraftFile>,
    /// How many of them are expected results.
    pub expected: usize,
    /// The app finds objects and has found none in any sample.
    pub blind: bool,
    /// Why not all are made: stable code, and words.
    pub fault: Option<(String, String)>,
    /// Name and version of the engine.
    pub engine: String,
}

/// An app that begins with its models.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::drafts)]
pub struct Draft {
    /// `drf_…`.
    pub id: String,
    pub organization_id: String,
    pub state: DraftState,
    /// Goes up with each change.
    pub revision: i64,
    pub files: Json<Vec<DraftFile>>,
    /// What the models say; none before they are read.
    pub facts: Json<Option<Facts>>,
    pub form: Json<FormAnswers>,
    pub reading: Json<Reading>,
    pub results: Json<Results>,
    pub created_by: String,
    pub created_at: Timestamp,
    /// From then on it is removed, and its files are collected.
    pub expires_at: Timestamp,
}

impl Draft {
    /// Whether its expected results are those of the app as it is proposed now.
    pub fn is_answered(&self) -> bool {
        let (reading, results) = (&*self.reading, &*self.results);
        !reading.samples.is_empty() && results.runs == reading.runs && results.fault.is_none() && results.expected == reading.samples.len()
    }
}

/// Files by what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sorted {
    pub models: Vec<String>,
    pub samples: Vec<String>,
    pub labels: Option<String>,
}

/// Tells the files of an upload apart by their names: models (`.onnx`), samples (pictures, tables, sound, AVI), labels (`.txt`); all else may
/// be a model's external data.
///
/// # Errors
/// `draft-no-model`, `draft-models`, `draft-samples`, `draft-files`, `draft-path`, `draft-labels`, and `draft-file-too-large` or
/// `draft-too-large`.
pub fn sorted(files: &[DraftFile]) -> Result<Sorted> {
    if files.len() > MAX_FILES {
        return Err(Error::invalid("draft-files").arg("max", MAX_FILES));
    }
    let (mut found, mut seen, mut sum) = (Sorted::default(), HashSet::new(), 0u64);
    for file in files {
        let is_plain = PackagePath::parse(&file.path).is_ok() && file.path.len() <= MAX_PATH;
        if !is_plain || !seen.insert(file.path.as_str()) {
            return Err(Error::invalid("draft-path").arg("path", &file.path).arg("max", MAX_PATH));
        }
        sum = sum.saturating_add(file.size);
        let name = file.path.to_lowercase();
        let extension = name.rsplit('.').next().unwrap_or_default();
        let max = match extension {
            "onnx" => {
                found.models.push(file.path.clone());
                MAX_MODEL
            }
            "jpg" | "jpeg" | "png" | "csv" | "wav" | "avi" => {
                found.samples.push(file.path.clone());
                MAX_INPUT as u64
            }
            "txt" => {
                if found.labels.replace(file.path.clone()).is_some() {
                    return Err(Error::invalid("draft-labels"));
                }
                MAX_LABELS
            }
            _ => MAX_BYTES,
        };
        if file.size > max {
            return Err(Error::too_large("draft-file-too-large").arg("path", &file.path).arg("mib", max.div_ceil(1 << 20)));
        }
    }
    if sum > MAX_BYTES {
        return Err(Error::too_large("draft-too-large").arg("gib", MAX_BYTES >> 30));
    }
    match (found.models.len(), found.samples.len()) {
        (0, _) => Err(Error::invalid("draft-no-model")),
        (models, _) if models > MAX_MODELS => Err(Error::invalid("draft-models").arg("max", MAX_MODELS)),
        (_, samples) if samples > MAX_SAMPLES => Err(Error::invalid("draft-samples").arg("max", MAX_SAMPLES)),
        _ => Ok(found),
    }
}
