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
    output::{AppOutput, Detection},
    own::{self, Own, OwnFigures, Seen},
    picture, post,
    stage::{Input, Raw, Stage},
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
    /// What it does, in order; at least one model.
    parts: Vec<Part>,
    rules: Rules,
}

/// What an app does in one step.
enum Part {
    Model(Stage),
    Own(Box<Own>),
}

impl App {
    /// Opens the app whose files lie in `dir`. Codes: `file-missing`, `file-outside`, `not-onnx`, `external-data-…`,
    /// `engine-unsuitable`, `model-load`, `out-of-memory`, `tensor-mismatch`, `alphabet-unreadable`, `vectors-unreadable`, `wasm-…`,
    /// `alarm-rule-…`.
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
        let models = steps.zip(sessions).map(|(step, session)| Stage::new(dir, step, session).map(Part::Model));
        let mut parts = models.collect::<Result<Vec<_>>>()?;
        for (at, own) in own::all(dir, &manifest)? {
            parts.insert(at.min(parts.len()), Part::Own(Box::new(own)));
        }
        Ok(Self { dir: dir.to_owned(), manifest, parts, rules })
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
    /// `parameter-…`, `engine-failed`, `out-of-memory`, `tensor-shape`, `output-not-finite`, `wasm-…`.
    pub fn predict(&mut self, bytes: &[u8], params: &serde_json::Map<String, serde_json::Value>, place: &str) -> Result<AppOutput> {
        let params = Params::new(&self.manifest.parameters, params)?;
        let mut result = self.answer(bytes)?;
        self.rules.evaluate(&mut result, &params, place);
        Ok(result)
    }

    /// What the steps say, without alarms.
    fn answer(&mut self, bytes: &[u8]) -> Result<AppOutput> {
        let picture = self.read(bytes)?;
        let input = picture.as_ref().map_or(Input::Bytes(bytes), Input::Picture);
        let named = self.manifest.names_models();
        drop(self.take_log());
        let mut result = AppOutput::default();
        // What the model before gave, for a step that reads tensors.
        let mut raw = Raw::default();
        for part in &mut self.parts {
            let (name, of) = match part {
                Part::Model(stage) => (stage.step().name.clone(), stage.step().of.clone()),
                Part::Own(own) => (own.step().name.clone(), own.step().of.clone()),
            };
            let name = named.then_some(&name);
            match (part, of, &picture) {
                (Part::Model(stage), Some(of), Some(picture)) => {
                    each(&of, picture, &mut result, name, |part, _| stage.answer(Input::Picture(part)))?;
                }
                (Part::Own(own), Some(of), Some(picture)) => {
                    let source = [picture.width(), picture.height()];
                    // What becomes of the object itself is not its step's to say.
                    let mut apart = AppOutput::default();
                    each(&of, picture, &mut result, name, |part, object| own.run(&Seen::of_object(object, part, source), &mut apart))?;
                }
                (Part::Model(stage), ..) => {
                    let answer;
                    (answer, raw) = stage.answer_raw(input)?;
                    merge(&mut result, answer, name);
                }
                (Part::Own(own), _, picture) => {
                    let before = result.clone();
                    let seen = Seen { tensors: &raw.outputs, geometry: raw.geometry.as_ref(), ..Seen::of(&before, picture.as_ref()) };
                    let answer = own.run(&seen, &mut result)?;
                    merge(&mut result, answer, name);
                }
            }
            post::best_first(&mut result);
        }
        Ok(result)
    }

    /// Lines that own steps logged for the last input, each with the step's name; once.
    pub fn take_log(&mut self) -> Vec<String> {
        let log = |own: &mut Own| {
            let name = own.step().name.clone();
            own.take_log().into_iter().map(move |line| format!("{name}: {line}"))
        };
        self.own_steps().flat_map(log).collect()
    }

    /// The own steps in order.
    pub(crate) fn own_steps(&mut self) -> impl Iterator<Item = &mut Own> {
        self.parts.iter_mut().filter_map(|part| if let Part::Own(own) = part { Some(own.as_mut()) } else { None })
    }

    /// Figures of the own steps over all inputs so far.
    pub fn own_figures(&mut self) -> Vec<OwnFigures> {
        self.own_steps().map(|own| own.figures().clone()).collect()
    }

    /// The models' raw outputs for one input, before post-processing; of those that run for each object none.
    pub(crate) fn outputs(&mut self, bytes: &[u8]) -> Result<Vec<(String, TensorData)>> {
        let picture = self.read(bytes)?;
        let input = picture.as_ref().map_or(Input::Bytes(bytes), Input::Picture);
        let whole = self.stages().filter(|stage| stage.step().of.is_none());
        let outputs: Vec<_> = whole.map(|stage| stage.outputs(input)).collect::<Result<_>>()?;
        Ok(outputs.into_iter().flatten().collect())
    }

    /// The models in order.
    pub(crate) fn stages(&mut self) -> impl Iterator<Item = &mut Stage> {
        self.parts.iter_mut().filter_map(|part| if let Part::Model(stage) = part { Some(stage) } else { None })
    }

    /// Shape of what the first model is given; -1 where it follows the input.
    pub(crate) fn input_shape(&mut self) -> Vec<i64> {
        self.stages().next().map(|stage| stage.input_shape()).unwrap_or_default()
    }

    /// Runs a model on tensors as they are; the first one where no name is given. Codes `model-unknown`, and those of the tensors.
    pub fn infer(&mut self, model: Option<&str>, inputs: &[(String, TensorData)]) -> Result<Vec<(String, TensorData)>> {
        let stage = self.stages().find(|stage| model.is_none_or(|model| stage.step().name == model));
        stage.ok_or_else(|| AppError::new("model-unknown", "the app has no model of this name"))?.infer(inputs)
    }

    /// Bounds the input, and decodes a picture once for all models.
    fn read(&self, bytes: &[u8]) -> Result<Option<DynamicImage>> {
        if bytes.len() > MAX_INPUT {
            return Err(AppError::new("input-too-large", format!("the input has {} bytes; at most {MAX_INPUT} are read", bytes.len())));
        }
        let reads_pictures = self.parts.iter().any(|part| matches!(part, Part::Model(stage) if matches!(stage.step().pre, Pre::Image(_))));
        if reads_pictures { picture::decode(bytes).map(Some) } else { Ok(None) }
    }
}

/// Adds what a step says of the whole input.
fn merge(result: &mut AppOutput, mut answer: AppOutput, model: Option<&String>) {
    name(&mut answer, model);
    result.detections.append(&mut answer.detections);
    result.classes.append(&mut answer.classes);
    result.values.append(&mut answer.values);
    result.texts.append(&mut answer.texts);
}

/// Says which step it was.
fn name(answer: &mut AppOutput, model: Option<&String>) {
    answer.detections.iter_mut().for_each(|detection| detection.model = model.cloned());
    answer.classes.iter_mut().for_each(|class| class.model = model.cloned());
}

/// Asks a step about the objects found so far, best first, each with its part of the picture, and adds what it says to each of them. What it
/// finds in their parts of the picture is found in the picture.
fn each(
    of: &Of,
    picture: &DynamicImage,
    result: &mut AppOutput,
    model: Option<&String>,
    mut ask: impl FnMut(&DynamicImage, &Detection) -> Result<AppOutput>,
) -> Result<()> {
    let most = of.max.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_OBJECTS);
    let mut found = Vec::new();
    let wanted = result.detections.iter_mut().filter(|d| of.labels.is_empty() || of.labels.contains(&d.label));
    for object in wanted.take(most) {
        let Some(part) = picture::cut(picture, of, object.bbox, &object.outline(), object.corners.is_some()) else { continue };
        let mut answer = ask(&part.picture, object)?;
        name(&mut answer, model);
        object.said.classes.append(&mut answer.classes);
        object.said.values.append(&mut answer.values);
        if let Some(text) = answer.texts.into_iter().next() {
            object.said.text = Some(text);
        }
        let share = area(&part.picture) / area(picture);
        found.extend(answer.detections.into_iter().map(|detection| moved(detection, part.origin, share)));
    }
    result.detections.append(&mut found);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "pictures have at most 40 million pixels")]
fn area(picture: &DynamicImage) -> f32 {
    (u64::from(picture.width()) * u64::from(picture.height())) as f32
}

/// A detection of a part of the picture, which is that share of it, in the whole.
fn moved(mut detection: Detection, [x, y]: [f32; 2], share: f32) -> Detection {
    let [left, top, w, h] = detection.bbox;
    detection.bbox = [left + x, top + y, w, h];
    if let Some(corners) = &mut detection.corners {
        *corners = corners.map(|[cx, cy]| [cx + x, cy + y]);
    }
    for point in &mut detection.keypoints {
        (point.x, point.y) = (point.x + x, point.y + y);
    }
    detection.area = detection.area.map(|area| area * share);
    detection
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
