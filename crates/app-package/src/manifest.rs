//! The types of `app.yaml`, the description that a developer writes beside the model files.
//!
//! These are the canonical shape: the JSON of [`AppManifest`] (fields in this order, absent options left out) is the
//! OCI config blob of a release. Reading from YAML, with every fault and its line, is in [`crate::validate`].
//! Invariant: a value of these types that came through `validate::parse` is within all bounds stated there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pipeline::{
    AlarmRule, Drawn, Gives, Label, Model, ModelStep, Pipeline, Post, Procedure, Scene, Step, Track, TrueCrossings, TruthEvent, WasmStep,
    is_default,
};
use crate::span::Span;
use crate::text::Text;

/// Versions of the format that are read and run.
pub const FORMATS: [u32; 2] = [1, 2];

/// What an app reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// One PNG or JPEG picture.
    Image,
    /// CSV, one row per instant, fixed rate, first row names the columns.
    Timeseries,
    /// CSV, one row per case, first row names the columns; the first data row is used.
    Tabular,
    /// Moving pictures, of which the app keeps what it needs from frame to frame: Motion-JPEG in AVI. A PNG or JPEG picture is one of a
    /// single frame. Of format 2.
    Video,
    /// Mono samples as CSV with one column `amplitude`; for a `sound` step of format 2 a WAV file.
    Audio,
}

impl InputKind {
    /// The word used in `app.yaml`, the database and URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Timeseries => "timeseries",
            Self::Tabular => "tabular",
            Self::Audio => "audio",
        }
    }
}

/// The whole of `app.yaml`. What differs between the formats is read through [`Self::model_steps`] and [`Self::alarms`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppManifest {
    /// Version of this format: 1, or 2 where `steps` stand in place of `models` and `pipeline`.
    pub format: u32,
    /// Slug, `[a-z0-9]+(-[a-z0-9]+)*`, at most 60 characters; second part of the repository name.
    pub name: String,
    /// Semantic version of the release; also its OCI tag.
    pub version: semver::Version,
    /// Title, at most 80 characters each.
    pub title: Text,
    /// One sentence, at most 240 characters each.
    pub summary: Text,
    /// Paragraphs separated by blank lines, at most 8,000 characters each.
    #[serde(default)]
    pub description: Text,
    /// What changed in this version, at most 4,000 characters each.
    #[serde(default)]
    pub changes: Text,
    /// Specialty slug of the taxonomy, for example `main-haulage`.
    pub specialty: String,
    /// Scenario slug of the taxonomy, for example `belt-foreign-object`.
    pub scenario: String,
    /// Safety-class apps raise alarms that protect people: they never stop on licence expiry.
    #[serde(default)]
    pub safety: bool,
    /// SPDX licence expression of the package, or `LicenseRef-Proprietary`.
    pub license: String,
    /// What the app reads.
    pub input: InputKind,
    /// Frames a second that an app of moving pictures wants; 5 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Models of format 1; exactly one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// How input becomes tensors and tensors become results, in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// What is done with the input, in format 2, in order; at least one step runs a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What the operator draws in the picture of each camera.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scene: Scene,
    /// What people must do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub procedures: Vec<Procedure>,
    /// Rules that raise alarms from results, in format 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmRule>,
    /// What the operator may set; a form is made from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// What a node must have.
    #[serde(default)]
    pub resources: Resources,
    /// Providers that may run the models in the CPU's place, best first; the CPU is always there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<Provider>,
    /// Samples that every engine must reproduce; at least one, at most 50.
    pub golden: Vec<Golden>,
    /// What the developer says about training and limits.
    pub card: ModelCard,
    /// Pictures for the listing, first is the cover; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

impl AppManifest {
    /// The steps that run models in order, whichever format says it. Empty only for a value that did not come through `validate::parse`.
    pub fn model_steps(&self) -> Vec<Cow<'_, ModelStep>> {
        if !self.steps.is_empty() {
            return self.own_models().map(Cow::Borrowed).collect();
        }
        let first = self.models.first().zip(self.pipeline.as_ref());
        let step = first.map(|(model, pipeline)| ModelStep {
            name: model.name.clone(),
            file: model.file.clone(),
            engine: model.engine.clone(),
            of: None,
            every: None,
            inputs: model.inputs.clone(),
            outputs: model.outputs.clone(),
            pre: pipeline.pre.clone(),
            into: None,
            feed: BTreeMap::new(),
            state: Vec::new(),
            post: pipeline.post.clone(),
        });
        step.into_iter().map(Cow::Owned).collect()
    }

    /// What turns tensors into results, in order.
    pub fn posts(&self) -> impl Iterator<Item = &Post> {
        let steps = self.own_models().flat_map(|step| &step.post);
        steps.chain(self.pipeline.iter().flat_map(|pipeline| &pipeline.post))
    }

    /// The models of format 2.
    fn own_models(&self) -> impl Iterator<Item = &ModelStep> {
        self.steps.iter().filter_map(Step::model)
    }

    /// The vendor's own steps, in order.
    pub fn wasm_steps(&self) -> impl Iterator<Item = &WasmStep> {
        self.steps.iter().filter_map(|step| if let Step::Wasm(step) = step { Some(step) } else { None })
    }

    /// The labels that results can have, with their words; some may come twice.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.posts().flat_map(Post::labels).chain(self.wasm_steps().flat_map(|step| &step.labels))
    }

    /// The values that results can have: id, words and unit.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Text, &str)> {
        let own = self.wasm_steps().flat_map(|step| &step.items);
        self.posts().flat_map(Post::values).chain(own.map(|item| (item.id.as_str(), &item.text, item.unit.as_str())))
    }

    /// Whether the app finds objects in a picture.
    pub fn finds(&self) -> bool {
        self.posts().any(Post::finds) || self.wasm_steps().any(|step| step.out == Gives::Objects)
    }

    /// Whether a result says which step gave it: of one alone it is plain.
    pub fn names_models(&self) -> bool {
        self.steps.iter().filter(|step| !matches!(step, Step::Track(_))).count() > 1
    }

    /// The step that follows objects from frame to frame.
    pub fn track(&self) -> Option<&Track> {
        self.steps.iter().find_map(|step| if let Step::Track(track) = step { Some(track) } else { None })
    }

    /// Frames a second that the app wants of moving pictures.
    pub fn frame_rate(&self) -> f64 {
        self.fps.unwrap_or(5.0)
    }

    /// Rules that raise alarms from results.
    pub fn alarms(&self) -> &[AlarmRule] {
        self.pipeline.as_ref().map_or(&self.alarms, |pipeline| &pipeline.alarms)
    }
}

/// A value that the operator sets at deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Slug in snake case, used in rules as `params.<name>`.
    pub name: String,
    /// Type of the value.
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    /// Default value; its JSON type fits `kind`.
    pub default: serde_json::Value,
    /// Lowest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Highest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Allowed words of a `choice`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Label of the form field.
    pub title: Text,
    /// Help below the field.
    #[serde(default)]
    pub help: Text,
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    /// Up to 200 characters.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// true or false.
    Boolean,
    /// One of `choices`.
    Choice,
}

/// What a node must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processor cores, may be a fraction.
    pub cpu: f64,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Margo architecture words.
    pub architectures: Vec<String>,
    /// Accelerators, such as `gpu`; empty for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accelerators: Vec<String>,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: 1.0, memory_mib: 512, architectures: vec!["amd64".into(), "arm64".into()], accelerators: Vec::new() }
    }
}

/// What ONNX Runtime runs a model on, in its own words: an execution provider. All but the CPU are of libraries that a machine may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own; golden samples are proved on it first, and it serves where no other one does.
    Cpu,
    /// Intel's, on processors.
    OpenVino,
    /// NVIDIA's, on graphics processors.
    Cuda,
    /// Huawei's, on Ascend processors.
    Cann,
}

impl Provider {
    /// Those that an app may name.
    pub const NAMED: [Self; 3] = [Self::OpenVino, Self::Cuda, Self::Cann];

    /// The word used in `app.yaml`, settings and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::Cuda => "cuda",
            Self::Cann => "cann",
        }
    }
}

/// An input with the output that every engine must give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Slug, unique.
    pub name: String,
    /// Path of the input file.
    pub input: String,
    /// Path of the expected result: the JSON of `inference::AppOutput` without alarms.
    pub expect: String,
    /// Allowed difference of a score or value: `|a - b| <= absolute + relative * |b|`; boxes also by `IoU` >= 0.9.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// What is really there, for accuracy; absent where nobody labelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    /// Of moving pictures: what is drawn in them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scene: Drawn,
    /// What the operator has set, in the place of defaults.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub parameters: serde_json::Map<String, serde_json::Value>,
}

/// Allowed difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Absolute part.
    pub absolute: f64,
    /// Relative part.
    pub relative: f64,
    /// Allowed difference of when an event begins and ends; 1 s where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { absolute: 1e-3, relative: 1e-2, time: None }
    }
}

/// Ground truth of a golden sample. A sample is right when all that is given fits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// Label of the best class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Number of detections, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<String, u32>>,
    /// Values by id, each `[truth, allowed difference]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<BTreeMap<String, [f64; 2]>>,
    /// Texts that can be read: of the whole input, then on objects from top to bottom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Vec<String>>,
    /// What happened in a clip. Of the kinds that it names (alarms, stays, crossings, procedures) nothing else may have happened; where it
    /// is empty, nothing at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<TruthEvent>>,
    /// How often lines were crossed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crossings: Option<TrueCrossings>,
}

/// What the developer says of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Where the training data came from.
    pub training_data: Text,
    /// What the model must not be used for, where it fails.
    pub limits: Text,
    /// Figures on held-out data.
    pub metrics: Vec<Metric>,
}

/// One figure of the model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Name of the figure, for example `accuracy`, `macro-f1`, `rmse`, `mae`, `r2`.
    pub name: String,
    /// What it is called. Without it pages show the words that the platform has for the name, or the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The figure.
    pub value: f64,
    /// What chance or the trivial model reaches on the same data.
    pub baseline: f64,
    /// Held-out data: what and how many samples.
    pub dataset: Text,
}

/// A picture for the listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// Path of a PNG, JPEG or WebP file, at most 2 MiB.
    pub file: String,
    /// Text for those who cannot see the picture.
    pub alt: Text,
}
