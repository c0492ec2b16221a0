//! An installed app: its model, pipeline and rules, ready to answer.

use std::path::{Path, PathBuf};

use app_package::manifest::AppManifest;
use app_package::pipeline::Pre;

pub use crate::error::AppError;
use crate::{
    alarm::{Params, Rules},
    engine::{Data, Engine, Session, TensorData},
    error::Result,
    model_file,
    output::AppOutput,
    picture::{self, Geometry},
    post, table, tensors,
};

/// Longest input in bytes.
pub const MAX_INPUT: usize = 20_000_000;

/// One app with a loaded model. Not shareable between threads at the same time; open several for parallel work.
pub struct App {
    dir: PathBuf,
    manifest: AppManifest,
    session: Box<dyn Session>,
    rules: Rules,
    /// The model's input by name, its buffer used again for each prediction.
    input: [(String, TensorData); 1],
}

impl App {
    /// Opens the app whose files lie in `dir`. Codes: `file-missing`, `file-outside`, `not-onnx`, `external-data-…`,
    /// `engine-unsuitable`, `model-load`, `out-of-memory`, `tensor-mismatch`, `alarm-rule-…`.
    pub fn open(dir: &Path, manifest: AppManifest, engine: &dyn Engine, threads: usize) -> Result<Self> {
        let session = load(dir, &manifest, engine, threads)?;
        tensors::check(&manifest, session.inputs(), session.outputs())?;
        let rules = Rules::compile(&manifest.pipeline.alarms, &manifest.pipeline.post)?;
        Self::assemble(dir, manifest, session, rules)
    }

    /// An app out of a loaded model and compiled rules, both checked before.
    pub(crate) fn assemble(dir: &Path, manifest: AppManifest, session: Box<dyn Session>, rules: Rules) -> Result<Self> {
        let name = session.inputs().first().map(|i| i.name.clone()).unwrap_or_default();
        let shape = tensors::input_shape(&manifest.pipeline.pre);
        Params::new(&manifest.parameters, &serde_json::Map::new())?;
        let input = [(name, TensorData { shape, data: Data::F32(Vec::new()) })];
        Ok(Self { dir: dir.to_owned(), manifest, session, rules, input })
    }

    pub fn manifest(&self) -> &AppManifest {
        &self.manifest
    }

    /// The folder with the app's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model's real inputs and outputs, for the Open Inference Protocol's metadata.
    pub fn session(&self) -> &dyn Session {
        self.session.as_ref()
    }

    /// Answers for one picture or CSV. `params` are the operator's settings (defaults fill the rest); `place` goes into
    /// alarm texts. Codes: those of [`picture::decode`] and [`table::window`], `input-too-large`, `parameter-…`,
    /// `engine-failed`, `out-of-memory`, `tensor-shape`, `output-not-finite`.
    pub fn predict(&mut self, bytes: &[u8], params: &serde_json::Map<String, serde_json::Value>, place: &str) -> Result<AppOutput> {
        let params = Params::new(&self.manifest.parameters, params)?;
        let geometry = self.prepare(bytes)?;
        let outputs = self.session.run(&self.input)?;
        let mut result = post::run(&self.manifest.pipeline.post, &outputs, geometry.as_ref())?;
        self.rules.evaluate(&mut result, &params, place);
        Ok(result)
    }

    /// The model's raw outputs for one picture or CSV, before post-processing.
    pub(crate) fn outputs(&mut self, bytes: &[u8]) -> Result<Vec<(String, TensorData)>> {
        self.prepare(bytes)?;
        self.session.run(&self.input)
    }

    pub(crate) fn session_mut(&mut self) -> &mut dyn Session {
        self.session.as_mut()
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

    /// Fills the input tensor.
    fn prepare(&mut self, bytes: &[u8]) -> Result<Option<Geometry>> {
        if bytes.len() > MAX_INPUT {
            return Err(AppError::new("input-too-large", format!("the input has {} bytes; at most {MAX_INPUT} are read", bytes.len())));
        }
        let [(_, tensor)] = &mut self.input;
        let Data::F32(buffer) = &mut tensor.data else {
            return Err(AppError::new("tensor-datatype", "the pipeline makes FP32"));
        };
        match &self.manifest.pipeline.pre {
            Pre::Image(pre) => Ok(Some(picture::to_tensor(pre, picture::decode(bytes)?, buffer))),
            Pre::Window(pre) => table::window(pre, bytes, buffer).map(|()| None),
            Pre::Columns(pre) => table::columns(pre, bytes, buffer).map(|()| None),
        }
    }
}

/// Inspects and loads the manifest's model.
pub(crate) fn load(dir: &Path, manifest: &AppManifest, engine: &dyn Engine, threads: usize) -> Result<Box<dyn Session>> {
    let model = tensors::model(manifest)?;
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
