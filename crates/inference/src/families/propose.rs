//! From what is known of an app's models, and what its developer says beside, to its `app.yaml`: what `pithead init` writes, and what the
//! platform's form shows.
//!
//! [`Known::read`] is the only part that looks at a file; it is run where hostile files may be read. All else works on what it kept, which
//! is bounded, so that a model is read once however often its developer changes an answer.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use app_package::{manifest::InputKind, pipeline::Post, text::Text};
use serde::{Deserialize, Serialize};

use super::{
    Given, Proposal,
    labels::{plain, slug},
    obstacle,
    parts::{self, Part},
    recognise,
    write::{self, Listing, Said},
};
use crate::{
    error::AppError,
    model_file::{self, Metadata, Signature},
};

/// Most samples, as `app.yaml` takes them.
pub const MAX_SAMPLES: usize = 50;
/// Most models, as `app.yaml` takes them.
pub const MAX_MODELS: usize = 6;
/// Longest name of an app, in characters.
pub const MAX_APP_NAME: usize = 60;
/// Longest side of a picture that a model takes, in pixels.
const MAX_SIDE: u32 = 4_096;
/// Longest name of a model, and longest word of a label, in characters.
const MAX_NAME: usize = 40;
const MAX_WORD: usize = 200;

/// What a model's file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The file as its developer names it.
    pub file: String,
    /// Bytes of the model with its external data.
    pub bytes: u64,
    /// Its external data, by their places from the model's folder.
    pub data: Vec<PathBuf>,
    pub signature: Signature,
    pub metadata: Metadata,
}

impl Known {
    /// Reads a model's file; its external data lie below its folder.
    ///
    /// # Errors
    /// Those of [`model_file::inspect`].
    pub fn read(model: &Path, file: String) -> Result<Self, AppError> {
        let root = model.parent().unwrap_or(model);
        let data = model_file::external_data(root, model)?.into_iter();
        Ok(Self {
            file,
            bytes: model_file::inspect(root, model)?.bytes,
            data: data.map(|path| path.strip_prefix(root).map(Path::to_owned).unwrap_or(path)).collect(),
            signature: model_file::signature(root, model)?,
            metadata: model_file::metadata(root, model)?,
        })
    }

    /// How it can be used, the likeliest first; what stands in the way where there is none.
    ///
    /// # Errors
    /// The words of [`fn@obstacle`].
    pub fn readings(&self, given: &Given) -> Result<Vec<Proposal>, Text> {
        let found = recognise(&self.signature, &self.metadata, given);
        if found.is_empty() { Err(obstacle(&self.signature, &self.metadata, given).unwrap_or_default()) } else { Ok(found) }
    }
}

/// What the developer says of the app beside the files of its models.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Slug of the app.
    pub name: String,
    /// What is known of the first model.
    pub given: Given,
    /// What a listing says, and answers to questions.
    pub said: Said,
    /// Which reading of each model is taken, by its number from 0; the likeliest where none is said.
    pub readings: Vec<usize>,
    /// Names of the samples' files.
    pub samples: Vec<String>,
    /// Language of comments, `zh` or `en`.
    pub lang: String,
}

/// An app as it is proposed.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// The models with their readings, that of `app.yaml` first.
    pub parts: Vec<Part>,
    /// What goes with the models' steps.
    pub listing: Listing,
    /// The text of `app.yaml`.
    pub yaml: String,
    /// Places of `app.yaml` that the developer has to fill in or to look at, such as `specialty`.
    pub open: BTreeSet<String>,
}

/// Why nothing is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// No model, or more than `app.yaml` takes.
    Models,
    /// More samples than `app.yaml` takes.
    Samples,
    /// No family fits the model of this number, and why.
    Unknown(usize, Text),
    /// The models do not make one app.
    Apart(Text),
}

/// What can be proposed for models, each after the first for what those before it find.
pub fn propose(models: &[Known], wish: &Wish) -> Result<Proposed, Unfit> {
    if models.is_empty() || models.len() > MAX_MODELS {
        return Err(Unfit::Models);
    }
    if wish.samples.len() > MAX_SAMPLES {
        return Err(Unfit::Samples);
    }
    // What the developer says beside the files is said of the first.
    let none = Given::default();
    let givens = std::iter::once(&wish.given).chain(std::iter::repeat(&none));
    let mut parts = Vec::with_capacity(models.len());
    for (at, ((model, given), (name, path))) in models.iter().zip(givens).zip(names(models, &wish.name)).enumerate() {
        let mut readings = model.readings(given).map_err(|why| Unfit::Unknown(at, why))?;
        let taken = wish.readings.get(at).copied().unwrap_or_default();
        if taken < readings.len() {
            readings.swap(0, taken);
        }
        parts.push(Part { name, path, file: model.file.clone(), readings });
    }
    parts::join(&mut parts).map_err(Unfit::Apart)?;
    let input = parts.first().and_then(|part| part.readings.first()).map_or(InputKind::Image, |reading| reading.input);
    let samples =
        (1..).zip(&wish.samples).map(|(n, sample)| (format!("golden/{n}.{}", sample_extension(input, sample)), format!("golden/{n}.json")));
    let licenses: BTreeSet<&str> = models.iter().filter_map(|model| model.metadata.get("license")).collect();
    let listing = Listing {
        name: wish.name.clone(),
        bytes: models.iter().map(|model| model.bytes).fold(0, u64::saturating_add),
        licenses: licenses.into_iter().map(str::to_owned).collect(),
        samples: samples.collect(),
        said: wish.said.clone(),
    };
    if let Some(least) = wish.said.score {
        set_score(&mut parts, least);
    }
    let yaml = write::app_yaml(&parts, &listing, &wish.lang);
    let open = write::open(&parts, &listing);
    Ok(Proposed { parts, listing, yaml, open })
}

/// Sets the least score of what the first model finds.
fn set_score(parts: &mut [Part], least: f32) {
    let posts = parts.first_mut().and_then(|part| part.readings.first_mut()).map(|reading| &mut reading.step.post);
    for post in posts.into_iter().flatten() {
        if let Some(score) = score_of(post) {
            *score = least;
        }
    }
}

/// The least score of what a post-processing finds, where it has one that a developer chooses.
fn score_of(post: &mut Post) -> Option<&mut f32> {
    match post {
        Post::Boxes(boxes) => Some(&mut boxes.score),
        Post::Grid(grid) => Some(&mut grid.score),
        _ => None,
    }
}

/// An order of models in which those that find objects come first: the others may run for what is found.
pub fn finders_first(models: &[Known]) -> Vec<usize> {
    let finds = |at: &usize| {
        let readings = models.get(*at).and_then(|model| model.readings(&Given::default()).ok()).unwrap_or_default();
        readings.first().is_some_and(|reading| reading.step.post.iter().any(Post::finds))
    };
    let mut order: Vec<usize> = (0..models.len()).collect();
    order.sort_by_key(|at| !finds(at));
    order
}

/// Name and path of each model in the app: of one alone the app's own name, of several those of their files.
fn names(models: &[Known], app: &str) -> Vec<(String, String)> {
    if models.len() == 1 {
        return vec![(app.to_owned(), "model.onnx".to_owned())];
    }
    let mut taken = BTreeSet::new();
    let named = models.iter().enumerate().map(|(at, model)| {
        let mut name = slug(&Path::new(&model.file).file_stem().unwrap_or_default().to_string_lossy(), MAX_NAME);
        if name.is_empty() || taken.contains(&name) {
            name = (at + 1..=at + 1 + taken.len()).map(|n| format!("model-{n}")).find(|name| !taken.contains(name)).unwrap_or_default();
        }
        taken.insert(name.clone());
        let path = format!("{name}.onnx");
        (name, path)
    });
    named.collect()
}

/// The extension of a sample in the app; a picture's by its name as far as `app.yaml` takes it.
fn sample_extension(input: InputKind, sample: &str) -> &'static str {
    match input {
        InputKind::Image if extension(Path::new(sample)) == "png" => "png",
        InputKind::Image => "jpg",
        InputKind::Video => "avi",
        InputKind::Audio => "wav",
        InputKind::Timeseries | InputKind::Tabular => "csv",
    }
}

/// What follows the last dot of a name, in lower case.
pub fn extension(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// The name of an app whose developer gives none: that of the first model's file.
pub fn app_name(file: &str) -> String {
    let stem = slug(&Path::new(file).file_stem().unwrap_or_default().to_string_lossy(), MAX_APP_NAME);
    if stem.is_empty() { "app".to_owned() } else { stem }
}

/// Whether a text is a name that `app.yaml` takes.
pub fn is_app_name(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= MAX_APP_NAME && text.split('-').all(part)
}

/// Width and height out of a text such as `640x640`, width first.
pub fn size(text: &str) -> Option<(u32, u32)> {
    let side = |text: &str| text.trim().parse().ok().filter(|n| (1..=MAX_SIDE).contains(n));
    let (width, height) = text.split_once(['x', 'X', '×'])?;
    Some((side(width)?, side(height)?))
}

/// Words of labels out of a text, one a line, as `classes.txt` of the labelling tools has them.
pub fn label_lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| plain(line, MAX_WORD));
    let mut words: Vec<String> = lines.take(super::labels::MAX_LABELS + 1).collect();
    while words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_has_a_name_of_its_own() {
        let models = |files: &[&str]| files.iter().map(|file| Known { file: (*file).to_owned(), ..Known::default() }).collect::<Vec<_>>();
        let named = |files| names(&models(files), "app").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(named(&["model-2.onnx", "检测.onnx", "model-3.onnx"]), ["model-2", "model-3", "model-4"]);
        assert_eq!(named(&["a/best.onnx", "b/best.onnx"]), ["best", "model-2"]);
    }

    #[test]
    fn sizes_names_and_labels() {
        assert_eq!(size("640x480"), Some((640, 480)));
        assert_eq!(size("640 × 480"), Some((640, 480)));
        for text in ["", "640", "x", "640x", "0x5", "5000x5", "-1x5", "1x2x3"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert!(is_app_name("belt-2") && is_app_name("a"));
        for text in ["", "-", "a-", "A", "a_b", "安", &"a".repeat(61)] {
            assert!(!is_app_name(text), "{text}");
        }
        assert_eq!(app_name("Helmet best.onnx"), "helmet-best");
        assert_eq!(app_name("安全帽.onnx"), "app");
        // An empty line in between is a class without a name, one at the end is none.
        assert_eq!(label_lines("helmet\r\n\n安全带\n\n"), ["helmet", "", "安全带"]);
        assert_eq!(label_lines(&"x\n".repeat(5_000)).len(), super::super::labels::MAX_LABELS + 1);
    }
}
