//! An installed app: its model, what leads to its tensors and from them, and its rules, ready to answer.

use std::path::{Path, PathBuf};

use app_package::manifest::AppManifest;
use app_package::pipeline::{Feed, FeedOf, ModelStep, Pre};

pub use crate::error::AppError;
use crate::{
    alarm::{Params, Rules},
    engine::{Data, Engine, Session, TensorData, TensorInfo},
    error::Result,
    geometry::Geometry,
    model_file,
    output::AppOutput,
    picture, post, table, tensors,
};

/// Longest input in bytes.
pub const MAX_INPUT: usize = 20_000_000;

/// One app with a loaded model. Not shareable between threads at the same time; open several for parallel work.
pub struct App {
    dir: PathBuf,
    manifest: AppManifest,
    step: ModelStep,
    session: Box<dyn Session>,
    rules: Rules,
    /// The prepared input, its buffer used again for each prediction where the model takes FP32.
    prepared: Vec<f32>,
    /// The model's inputs by name: first what [`ModelStep::pre`] fills, then what [`ModelStep::feed`] does.
    inputs: Vec<(String, TensorData)>,
    /// Datatype of the first input.
    datatype: String,
    /// Inputs that are told of the picture, by their place in `inputs`, with their datatypes.
    told: Vec<(usize, FeedOf, String)>,
}

impl App {
    /// Opens the app whose files lie in `dir`. Codes: `file-missing`, `file-outside`, `not-onnx`, `external-data-…`,
    /// `engine-unsuitable`, `model-load`, `out-of-memory`, `tensor-mismatch`, `alarm-rule-…`.
    pub fn open(dir: &Path, manifest: AppManifest, engine: &dyn Engine, threads: usize) -> Result<Self> {
        let session = load(dir, &manifest, engine, threads)?;
        tensors::check(&*tensors::step(&manifest)?, manifest.format, session.inputs(), session.outputs())?;
        let rules = Rules::compile(manifest.alarms(), manifest.posts())?;
        Self::assemble(dir, manifest, session, rules)
    }

    /// An app out of a loaded model and compiled rules, both checked before.
    pub(crate) fn assemble(dir: &Path, manifest: AppManifest, session: Box<dyn Session>, rules: Rules) -> Result<Self> {
        Params::new(&manifest.parameters, &serde_json::Map::new())?;
        let step = tensors::step(&manifest)?.into_owned();
        let main = tensors::main_input(&step, session.inputs())
            .ok_or_else(|| AppError::new("tensor-mismatch", "no input of the model is left for what is prepared"))?;
        let (name, datatype) = (main.name.clone(), main.datatype.clone());
        let mut inputs = vec![(name.clone(), TensorData { shape: tensors::input_shape(&step.pre), data: Data::F32(Vec::new()) })];
        let mut told = Vec::new();
        for info in session.inputs().iter().filter(|info| info.name != name) {
            let feed = step.feed.get(&info.name);
            let feed = feed.ok_or_else(|| AppError::new("tensor-mismatch", format!("nothing fills the input `{}`", info.name)))?;
            if let Feed::Of(of) = feed {
                told.push((inputs.len(), *of, info.datatype.clone()));
            }
            inputs.push((info.name.clone(), tensors::fed(feed, info)?));
        }
        Ok(Self { dir: dir.to_owned(), manifest, step, session, rules, prepared: Vec::new(), inputs, datatype, told })
    }

    pub fn manifest(&self) -> &AppManifest {
        &self.manifest
    }

    /// The folder with the app's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Answers for one picture or CSV. `params` are the operator's settings (defaults fill the rest); `place` goes into
    /// alarm texts. Codes: those of [`picture::decode`] and [`table::window`], `input-too-large`, `parameter-…`,
    /// `engine-failed`, `out-of-memory`, `tensor-shape`, `output-not-finite`.
    pub fn predict(&mut self, bytes: &[u8], params: &serde_json::Map<String, serde_json::Value>, place: &str) -> Result<AppOutput> {
        let params = Params::new(&self.manifest.parameters, params)?;
        let geometry = self.prepare(bytes)?;
        let outputs = self.session.run(&self.inputs)?;
        let mut result = post::run(&self.step.post, &outputs, geometry.as_ref())?;
        self.rules.evaluate(&mut result, &params, place);
        Ok(result)
    }

    /// The model's raw outputs for one picture or CSV, before post-processing.
    pub(crate) fn outputs(&mut self, bytes: &[u8]) -> Result<Vec<(String, TensorData)>> {
        self.prepare(bytes)?;
        self.session.run(&self.inputs)
    }

    /// Runs the model on this in the place of what is prepared; its other inputs are as at the last prediction.
    pub(crate) fn run_on(&mut self, prepared: TensorData) -> Result<Vec<(String, TensorData)>> {
        if let Some((_, tensor)) = self.inputs.first_mut() {
            *tensor = prepared;
        }
        let outcome = self.session.run(&self.inputs);
        if let Some((_, tensor)) = self.inputs.first_mut() {
            *tensor = TensorData { shape: tensors::input_shape(&self.step.pre), data: Data::F32(Vec::new()) };
        }
        outcome
    }

    /// The model's input that is prepared from the app's.
    pub(crate) fn main_input(&self) -> Option<&TensorInfo> {
        self.inputs.first().and_then(|(name, _)| self.session.inputs().iter().find(|info| &info.name == name))
    }

    /// Shape of what is prepared.
    pub(crate) fn input_shape(&self) -> Vec<i64> {
        tensors::input_shape(&self.step.pre)
    }

    /// Runs the model on tensors as they are. Code `tensor-shape` when a tensor's data does not fill its shape.
    pub fn infer(&mut self, inputs: &[(String, TensorData)]) -> Result<Vec<(String, TensorData)>> {
        for (name, tensor) in inputs {
            if TensorData::elements(&tensor.shape) != Some(tensor.data.len()) {
                return Err(AppError::new(
                    "tensor-shape",
                    format!("`{name}`: {:?} does not hold {} elements", tensor.shape, tensor.data.len()),
                ));
            }
            let known = self.session.inputs().iter().find(|i| &i.name == name);
            let Some(known) = known else {
                return Err(AppError::new("tensor-unknown", format!("the model has no input `{name}`")));
            };
            if known.datatype != tensor.data.datatype() {
                let message = format!("input `{name}` takes {}, not {}", known.datatype, tensor.data.datatype());
                return Err(AppError::new("tensor-datatype", message));
            }
        }
        self.session.run(inputs)
    }

    /// Fills the input tensors.
    fn prepare(&mut self, bytes: &[u8]) -> Result<Option<Geometry>> {
        if bytes.len() > MAX_INPUT {
            return Err(AppError::new("input-too-large", format!("the input has {} bytes; at most {MAX_INPUT} are read", bytes.len())));
        }
        // Where the model takes FP32, the tensor's own buffer is filled, and nothing is copied.
        let own = self.datatype == "FP32";
        if own && let Some((_, TensorData { data: Data::F32(buffer), .. })) = self.inputs.first_mut() {
            self.prepared = std::mem::take(buffer);
        }
        let buffer = &mut self.prepared;
        let geometry = match &self.step.pre {
            Pre::Image(pre) => Some(picture::to_tensor(pre, picture::decode(bytes)?, buffer)),
            Pre::Window(pre) => table::window(pre, bytes, buffer).map(|()| None)?,
            Pre::Columns(pre) => table::columns(pre, bytes, buffer).map(|()| None)?,
        };
        if let Some((_, tensor)) = self.inputs.first_mut() {
            tensor.data = if own {
                Data::F32(std::mem::take(buffer))
            } else {
                Data::of(&self.datatype, buffer.iter().copied().map(f64::from)).ok_or_else(|| tensors::unfillable(&self.datatype))?
            };
        }
        for (place, of, datatype) in &self.told {
            if let (Some((_, tensor)), Some(geometry)) = (self.inputs.get_mut(*place), &geometry) {
                tensor.data = Data::of(datatype, tensors::told(*of, geometry).into_iter()).ok_or_else(|| tensors::unfillable(datatype))?;
            }
        }
        Ok(geometry)
    }
}

/// Inspects and loads the manifest's model.
pub(crate) fn load(dir: &Path, manifest: &AppManifest, engine: &dyn Engine, threads: usize) -> Result<Box<dyn Session>> {
    let model = tensors::step(manifest)?;
    if model.engine.name != engine.name() || version(&model.engine.min) > version(engine.version()) {
        let message = format!("needs {} {}, this is {} {}", model.engine.name, model.engine.min, engine.name(), engine.version());
        return Err(AppError::new("engine-unsuitable", message));
    }
    let (path, _) = model_file::package_file(dir, &model.file)?;
    model_file::inspect(dir, &path)?;
    engine.load(&path, threads)
}

/// Major and minor number of a version; 0 for what is no number.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
