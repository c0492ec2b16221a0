//! An installed app: its models, what leads to their tensors and from them, and its rules, ready to answer.

use std::path::{Path, PathBuf};

use app_package::manifest::AppManifest;
use app_package::pipeline::{ModelStep, Of, Pre};
use image::DynamicImage;

pub use crate::error::AppError;
use crate::{
    alarm::{Params, Rules},
    engine::{Engine, Session, TensorData},
    error::Result,
    model_file,
    output::AppOutput,
    picture, post,
    stage::{Input, Stage},
    tensors,
};

/// Longest input in bytes.
pub const MAX_INPUT: usize = 20_000_000;
/// Objects that a step runs for, where the app does not say.
const MAX_OBJECTS: usize = 32;

/// One app with its loaded models. Not shareable between threads at the same time; open several for parallel work.
pub struct App {
    dir: PathBuf,
    manifest: AppManifest,
    /// The models in order; at least one.
    stages: Vec<Stage>,
    rules: Rules,
}

impl App {
    /// Opens the app whose files lie in `dir`. Codes: `file-missing`, `file-outside`, `not-onnx`, `external-data-…`,
    /// `engine-unsuitable`, `model-load`, `out-of-memory`, `tensor-mismatch`, `alphabet-unreadable`, `vectors-unreadable`, `alarm-rule-…`.
    pub fn open(dir: &Path, manifest: AppManifest, engine: &dyn Engine, threads: usize) -> Result<Self> {
        let sessions = load(dir, &manifest, engine, threads)?;
        check(&manifest, &sessions)?;
        let rules = Rules::compile(&manifest)?;
        Self::assemble(dir, manifest, sessions, rules)
    }

    /// An app out of loaded models and compiled rules, all checked before.
    pub(crate) fn assemble(dir: &Path, manifest: AppManifest, sessions: Vec<Box<dyn Session>>, rules: Rules) -> Result<Self> {
        Params::new(&manifest.parameters, &serde_json::Map::new())?;
        let steps = manifest.model_steps().into_iter().map(std::borrow::Cow::into_owned);
        let stages = steps.zip(sessions).map(|(step, session)| Stage::new(dir, step, session)).collect::<Result<_>>()?;
        Ok(Self { dir: dir.to_owned(), manifest, stages, rules })
    }

    pub fn manifest(&self) -> &AppManifest {
        &self.manifest
    }

    /// The folder with the app's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Answers for one picture, CSV or WAV. `params` are the operator's settings (defaults fill the rest); `place` goes into
    /// alarm texts. Codes: those of [`picture::decode`], [`crate::table::window`] and [`crate::sound::read`], `input-too-large`,
    /// `parameter-…`, `engine-failed`, `out-of-memory`, `tensor-shape`, `output-not-finite`.
    pub fn predict(&mut self, bytes: &[u8], params: &serde_json::Map<String, serde_json::Value>, place: &str) -> Result<AppOutput> {
        let params = Params::new(&self.manifest.parameters, params)?;
        let mut result = self.answer(bytes)?;
        self.rules.evaluate(&mut result, &params, place);
        Ok(result)
    }

    /// What the models say, without alarms.
    fn answer(&mut self, bytes: &[u8]) -> Result<AppOutput> {
        let picture = self.read(bytes)?;
        let input = picture.as_ref().map_or(Input::Bytes(bytes), Input::Picture);
        let named = self.manifest.names_models();
        let mut result = AppOutput::default();
        for stage in &mut self.stages {
            let name = stage.step().name.clone();
            match (stage.step().of.clone(), &picture) {
                (Some(of), Some(picture)) => each(stage, &of, picture, &mut result, named.then_some(&name))?,
                _ => merge(&mut result, stage.answer(input)?, named.then_some(&name)),
            }
            post::best_first(&mut result);
        }
        Ok(result)
    }

    /// The models' raw outputs for one input, before post-processing; of those that run for each object none.
    pub(crate) fn outputs(&mut self, bytes: &[u8]) -> Result<Vec<(String, TensorData)>> {
        let picture = self.read(bytes)?;
        let input = picture.as_ref().map_or(Input::Bytes(bytes), Input::Picture);
        let whole = self.stages.iter_mut().filter(|stage| stage.step().of.is_none());
        let outputs: Vec<_> = whole.map(|stage| stage.outputs(input)).collect::<Result<_>>()?;
        Ok(outputs.into_iter().flatten().collect())
    }

    /// The models in order.
    pub(crate) fn stages(&mut self) -> &mut [Stage] {
        &mut self.stages
    }

    /// Shape of what the first model is given; -1 where it follows the input.
    pub(crate) fn input_shape(&self) -> Vec<i64> {
        self.stages.first().map(Stage::input_shape).unwrap_or_default()
    }

    /// Runs a model on tensors as they are; the first one where no name is given. Codes `model-unknown`, and those of the tensors.
    pub fn infer(&mut self, model: Option<&str>, inputs: &[(String, TensorData)]) -> Result<Vec<(String, TensorData)>> {
        let stage = self.stages.iter_mut().find(|stage| model.is_none_or(|model| stage.step().name == model));
        stage.ok_or_else(|| AppError::new("model-unknown", "the app has no model of this name"))?.infer(inputs)
    }

    /// Bounds the input, and decodes a picture once for all models.
    fn read(&self, bytes: &[u8]) -> Result<Option<DynamicImage>> {
        if bytes.len() > MAX_INPUT {
            return Err(AppError::new("input-too-large", format!("the input has {} bytes; at most {MAX_INPUT} are read", bytes.len())));
        }
        let reads_pictures = self.stages.first().is_some_and(|stage| matches!(stage.step().pre, Pre::Image(_)));
        if reads_pictures { picture::decode(bytes).map(Some) } else { Ok(None) }
    }
}

/// Adds what a model says of the whole input.
fn merge(result: &mut AppOutput, mut answer: AppOutput, model: Option<&String>) {
    name(&mut answer, model);
    result.detections.append(&mut answer.detections);
    result.classes.append(&mut answer.classes);
    result.values.append(&mut answer.values);
    result.texts.append(&mut answer.texts);
}

/// Says which model it was.
fn name(answer: &mut AppOutput, model: Option<&String>) {
    answer.detections.iter_mut().for_each(|detection| detection.model = model.cloned());
    answer.classes.iter_mut().for_each(|class| class.model = model.cloned());
}

/// Runs a model for the objects found so far, best first, and adds what it says to each of them. What it finds in their parts of the picture
/// is found in the picture.
fn each(stage: &mut Stage, of: &Of, picture: &DynamicImage, result: &mut AppOutput, model: Option<&String>) -> Result<()> {
    let most = of.max.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_OBJECTS);
    let mut found = Vec::new();
    let wanted = result.detections.iter_mut().filter(|d| of.labels.is_empty() || of.labels.contains(&d.label));
    for object in wanted.take(most) {
        let points: Vec<[f32; 2]> = object.keypoints.iter().map(|point| [point.x, point.y]).collect();
        let shape = picture::Shape { bbox: object.bbox, outline: &object.outline(), turned: object.corners.is_some(), points: &points };
        let Some(part) = picture::cut(picture, of, &shape) else { continue };
        let mut answer = stage.answer(Input::Picture(&part.picture))?;
        name(&mut answer, model);
        object.said.classes.append(&mut answer.classes);
        object.said.values.append(&mut answer.values);
        if let Some(text) = answer.texts.into_iter().next() {
            object.said.text = Some(text);
        }
        let share = picture::area(&part.picture) / picture::area(picture);
        found.extend(answer.detections.into_iter().map(|detection| detection.moved(part.origin, share)));
    }
    result.detections.append(&mut found);
    Ok(())
}

/// Holds the steps against the loaded models. Code `tensor-mismatch`.
pub(crate) fn check(manifest: &AppManifest, sessions: &[Box<dyn Session>]) -> Result<()> {
    let steps = manifest.model_steps();
    if steps.is_empty() || steps.len() != sessions.len() {
        return Err(AppError::new("model-missing", "the manifest names no model"));
    }
    for (step, session) in steps.iter().zip(sessions) {
        let outcome = tensors::check(step, manifest.format, session.inputs(), session.outputs());
        outcome.map_err(|e| told(&e, step, steps.len()))?;
    }
    Ok(())
}

/// A fault of one of several models says of which.
pub(crate) fn told(error: &AppError, step: &ModelStep, models: usize) -> AppError {
    let whose = if models > 1 { format!("model `{}`: ", step.name) } else { String::new() };
    AppError::new(error.code, format!("{whose}{}", error.message))
}

/// Inspects and loads the manifest's models.
pub(crate) fn load(dir: &Path, manifest: &AppManifest, engine: &dyn Engine, threads: usize) -> Result<Vec<Box<dyn Session>>> {
    let steps = manifest.model_steps();
    let load = |step: &ModelStep| {
        if step.engine.name != engine.name() || version(&step.engine.min) > version(engine.version()) {
            let message = format!("needs {} {}, this is {} {}", step.engine.name, step.engine.min, engine.name(), engine.version());
            return Err(AppError::new("engine-unsuitable", message));
        }
        let (path, _) = model_file::package_file(dir, &step.file)?;
        model_file::inspect(dir, &path)?;
        engine.load(&path, threads)
    };
    steps.iter().map(|step| load(step).map_err(|e| told(&e, step, steps.len()))).collect()
}

/// Major and minor number of a version; 0 for what is no number.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
