//! An installed app: its models, what leads to their tensors and from them, and its rules, ready to answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use app_package::manifest::{AppManifest, InputKind};
use app_package::pipeline::{Drawn, ModelStep, Of, Pre, Step};
use image::DynamicImage;

pub use crate::error::AppError;
use crate::{
    alarm::{Params, Rules},
    clip,
    draw::Trace,
    engine::{Engine, Session, TensorData},
    error::Result,
    frames::Frames,
    model_file,
    output::{AppOutput, Detection},
    own::{self, Own, OwnFigures, Seen},
    picture, post,
    stage::{Input, Raw, Stage},
    tensors,
    watch::{self, Kept},
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
    /// When an answer comes too late.
    deadline: Option<Instant>,
}

/// What an app does in one step.
#[expect(clippy::large_enum_variant, reason = "an app has a few steps, and most are models")]
enum Part {
    Model(Stage),
    Own(Box<Own>),
    /// Follows what was found so far; what it keeps is of the source, not of the app.
    Track,
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
        let own = own::all(dir, &manifest)?.into_iter().map(|(at, own)| (at, Part::Own(Box::new(own))));
        let tracks = manifest.steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Track(_)));
        let mut others: Vec<(usize, Part)> = own.chain(tracks.map(|(at, _)| (at, Part::Track))).collect();
        others.sort_by_key(|(at, _)| *at);
        for (at, part) in others {
            parts.insert(at.min(parts.len()), part);
        }
        Ok(Self { dir: dir.to_owned(), manifest, parts, rules, deadline: None })
    }

    pub fn manifest(&self) -> &AppManifest {
        &self.manifest
    }

    /// The folder with the app's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// From now on an answer that is not there by this time is the error `input-too-slow`: looked at before each step and each object, so a
    /// run of a model is not cut off.
    pub fn answer_by(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Answers for one picture, clip, CSV or WAV, with nothing drawn. `params` are the operator's settings (defaults fill the rest); `place` goes into
    /// alarm texts. Codes: those of [`picture::decode`], [`crate::table::window`] and [`crate::sound::read`], `input-too-large`,
    /// `parameter-…`, `engine-failed`, `out-of-memory`, `tensor-shape`, `output-not-finite`, `input-too-slow`, `wasm-…`.
    pub fn predict(&mut self, bytes: &[u8], params: &serde_json::Map<String, serde_json::Value>, place: &str) -> Result<AppOutput> {
        self.predict_drawn(bytes, &Drawn::default(), params, place)
    }

    /// As [`Self::predict`], with what is drawn in a clip. Its codes are those of [`clip::read`] and [`clip::Clip::frames`], too.
    pub fn predict_drawn(
        &mut self,
        bytes: &[u8],
        drawn: &Drawn,
        params: &serde_json::Map<String, serde_json::Value>,
        place: &str,
    ) -> Result<AppOutput> {
        drop(self.take_log());
        if self.manifest.input == InputKind::Video {
            return self.predict_traced(bytes, drawn, params, place).map(|(answer, _)| answer);
        }
        let params = Params::new(&self.manifest.parameters, params)?;
        let picture = self.read(bytes)?;
        let mut result = self.answer(picture.as_ref().map_or(Input::Bytes(bytes), Input::Picture), None)?;
        self.rules.evaluate(&mut result, &params, place);
        Ok(result)
    }

    /// As [`Self::predict`] for a picture that is decoded already, by an app of single pictures.
    pub fn predict_picture(
        &mut self,
        picture: &DynamicImage,
        params: &serde_json::Map<String, serde_json::Value>,
        place: &str,
    ) -> Result<AppOutput> {
        drop(self.take_log());
        let params = Params::new(&self.manifest.parameters, params)?;
        let mut result = self.answer(Input::Picture(picture), None)?;
        self.rules.evaluate(&mut result, &params, place);
        Ok(result)
    }

    /// As [`Self::predict_drawn`] for a clip, with what was seen in each frame.
    pub(crate) fn predict_traced(
        &mut self,
        bytes: &[u8],
        drawn: &Drawn,
        params: &serde_json::Map<String, serde_json::Value>,
        place: &str,
    ) -> Result<(AppOutput, Trace)> {
        drop(self.take_log());
        within(bytes)?;
        watch::clip(self, bytes, drawn, params, place)
    }

    /// What the steps say, without alarms; of moving pictures with what is kept from frame to frame.
    pub(crate) fn answer(&mut self, input: Input<'_>, mut kept: Option<&mut Kept>) -> Result<AppOutput> {
        let (named, deadline) = (self.manifest.names_models(), self.deadline);
        let mut result = AppOutput::default();
        let picture = if let Input::Picture(picture) = input { Some(picture) } else { None };
        // What the model before gave, for a step that reads tensors.
        let mut raw = Raw::default();
        for (at, part) in self.parts.iter_mut().enumerate() {
            in_time(deadline)?;
            let (name, of) = match part {
                Part::Model(stage) => (stage.step().name.clone(), stage.step().of.clone()),
                Part::Own(own) => (own.step().name.clone(), own.step().of.clone()),
                Part::Track => (String::new(), None),
            };
            let name = named.then_some(&name);
            let time = kept.as_deref().map(Kept::now).unwrap_or_default();
            match (part, of, picture) {
                (Part::Model(stage), Some(of), Some(picture)) => {
                    each(&of, picture, &mut result, name, |part, _| in_time(deadline).and_then(|()| stage.answer(Input::Picture(part))))?;
                }
                (Part::Own(own), Some(of), Some(picture)) => {
                    let source = [picture.width(), picture.height()];
                    // What becomes of the object itself is not its step's to say.
                    let mut apart = AppOutput::default();
                    each(&of, picture, &mut result, name, |part, object| {
                        in_time(deadline)?;
                        own.run(&Seen { time, ..Seen::of_object(object, part, source) }, &mut apart)
                    })?;
                }
                (Part::Model(stage), _, picture) => {
                    let answer;
                    (answer, raw) = match (kept.as_deref_mut(), picture) {
                        (Some(kept), Some(picture)) => kept.answer(at, stage, picture)?,
                        _ => stage.answer_raw(input)?,
                    };
                    merge(&mut result, answer, name);
                }
                (Part::Own(own), _, picture) => {
                    let before = result.clone();
                    let state = kept.as_deref_mut().and_then(|kept| kept.take_left(at));
                    let seen = Seen {
                        tensors: &raw.outputs,
                        geometry: raw.geometry.as_ref(),
                        time,
                        state: state.as_ref(),
                        ..Seen::of(&before, picture)
                    };
                    let answer = own.run(&seen, &mut result)?;
                    if let Some(kept) = kept.as_deref_mut() {
                        kept.leave(at, own.take_state());
                    }
                    merge(&mut result, answer, name);
                }
                (Part::Track, ..) => {
                    if let Some(kept) = kept.as_deref_mut() {
                        kept.follow(&mut result);
                    }
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

    /// The compiled rules.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The models' raw outputs for one input, of a clip for its first frame, before post-processing; of those that run for each object none.
    pub(crate) fn outputs(&mut self, bytes: &[u8]) -> Result<Vec<(String, TensorData)>> {
        let picture = self.read(bytes)?;
        let input = picture.as_ref().map_or(Input::Bytes(bytes), Input::Picture);
        let mut outputs = Vec::new();
        for stage in self.stages().filter(|stage| stage.step().of.is_none()) {
            let mut frames = Frames::default();
            let input = match (&stage.step().pre, &picture) {
                (Pre::Clip(pre), Some(picture)) => {
                    frames.keep(pre, picture, Duration::ZERO)?;
                    Input::Frames(&frames)
                }
                _ => input,
            };
            outputs.append(&mut stage.outputs(input)?);
        }
        Ok(outputs)
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

    /// Bounds the input, and decodes a picture once for all models, of a clip the first one.
    fn read(&self, bytes: &[u8]) -> Result<Option<DynamicImage>> {
        within(bytes)?;
        if self.manifest.input == InputKind::Video && !picture::is_known(bytes) {
            let clip = clip::read(bytes)?;
            let first = clip.frames().next();
            return first.transpose().map(|frame| frame.map(|(_, picture)| picture));
        }
        let sees = |part: &Part| matches!(part, Part::Model(stage) if matches!(stage.step().pre, Pre::Image(_) | Pre::Clip(_)));
        let reads_pictures = self.parts.iter().any(sees);
        if reads_pictures { picture::decode(bytes).map(Some) } else { Ok(None) }
    }
}

/// Code `input-too-slow`.
fn in_time(deadline: Option<Instant>) -> Result<()> {
    if deadline.is_some_and(|deadline| Instant::now() > deadline) {
        let message = "the answer takes longer than is waited for; cut the clip shorter, or give it fewer frames a second";
        return Err(AppError::new("input-too-slow", message));
    }
    Ok(())
}

/// Code `input-too-large`.
fn within(bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_INPUT {
        return Err(AppError::new("input-too-large", format!("the input has {} bytes; at most {MAX_INPUT} are read", bytes.len())));
    }
    Ok(())
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
        let points: Vec<[f32; 2]> = object.keypoints.iter().map(|point| [point.x, point.y]).collect();
        let shape = picture::Shape { bbox: object.bbox, outline: &object.outline(), turned: object.corners.is_some(), points: &points };
        let Some(part) = picture::cut(picture, of, &shape) else { continue };
        let mut answer = ask(&part.picture, object)?;
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
