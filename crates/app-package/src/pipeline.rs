//! What an app does with its input: how it becomes tensors, which model reads them, how tensors become results, which alarms they raise.
//!
//! Format 1 says it as `models` and `pipeline`, format 2 as `steps` and `alarms`; the models of both are read as a [`ModelStep`]. What format 2 adds to the
//! parts that both have is left out of the JSON where it has its default, so that a package of format 1 keeps its bytes.

mod boxes;
mod happened;
mod looks;
mod own;
mod post;
mod pre;
mod scene;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::boxes::{Background, Beside, BoxForm, BoxGrid, BoxUnit, Keypoints, PostBoxes, RowLayout, RowPart};
pub use self::happened::{Crossings, Direction, EventKind, ProcedureState, TrueCrossings, TruthEvent};
pub use self::looks::{Look, looks};
pub use self::own::{DEFAULT_FUEL, DEFAULT_MEMORY_MIB, Given, Gives, WasmItem, WasmStep};
pub use self::post::{
    Activation, Blank, ErrorKind, Label, Post, PostAnomaly, PostClasses, PostGallery, PostGrid, PostSegments, PostText, PostValues, Reduce,
    ValueItem,
};
pub use self::pre::{
    Align, Band, ClipLayout, Color, Column, ColumnKind, Filter, Fit, Layout, Mel, MelFormula, MelNorm, Missing, Over, Pad, PreClip,
    PreColumns, PreImage, PreSound, PreWindow, Spectrum, SpectrumLayout, SpectrumLog, SpectrumNorm, SpectrumScale, Taper, Tiles,
    WindowLayout,
};
pub use self::scene::{
    Anchor, Drawn, Line, Procedure, ProcedureStep, Scene, Track, Zone, line_is_short, polygon_fault, segments_meet, side,
};
use crate::span::Span;
use crate::text::Text;

/// A step of format 2. In YAML: `model: {…}`, `track: {…}` or `wasm: {…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "an app has a few steps, and most are models")]
pub enum Step {
    /// Runs a model.
    Model(ModelStep),
    /// Follows what the steps before have found.
    Track(Track),
    /// Runs a vendor's own step.
    Wasm(WasmStep),
}

impl Step {
    /// The model that it runs.
    pub fn model(&self) -> Option<&ModelStep> {
        match self {
            Self::Model(step) => Some(step),
            Self::Track(_) | Self::Wasm(_) => None,
        }
    }
}

/// A model with all that leads to its tensors and from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelStep {
    /// Name under which the node serves the model by the Open Inference Protocol.
    pub name: String,
    /// Path in the package, for example `model.onnx`.
    pub file: String,
    /// Engine that runs the model.
    #[serde(default)]
    pub engine: EngineNeed,
    /// Run once for each object that the steps before found, on its part of the picture; once on the whole input where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Of>,
    /// Of moving pictures: runs after so long again, and its last answer stands until then; at each frame where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Input tensors by name, as the file declares them.
    pub inputs: Vec<Tensor>,
    /// Output tensors by name, as the file declares them; what the model really gives decides.
    pub outputs: Vec<Tensor>,
    /// Turns the app's input into the tensor of one input of the model.
    pub pre: Pre,
    /// The model's input that `pre` fills; may be absent where all others are fed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// The model's other inputs by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub feed: BTreeMap<String, Feed>,
    /// Outputs that become inputs of the next run on the same sound; zeros at its beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<Carried>,
    /// Turns output tensors into results, in order; may be empty where an own step reads the tensors.
    #[serde(default)]
    pub post: Vec<Post>,
}

impl ModelStep {
    /// A model `model` of the file `model.onnx` that is run once, without inputs and outputs declared yet.
    pub fn of_model(pre: Pre, into: Option<String>, post: Vec<Post>) -> Self {
        Self {
            name: "model".to_owned(),
            file: "model.onnx".to_owned(),
            engine: EngineNeed::default(),
            of: None,
            every: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            pre,
            into,
            feed: BTreeMap::new(),
            state: Vec::new(),
            post,
        }
    }
}

/// The objects that a step runs for, and the part of the picture that it sees of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Of {
    /// Labels of the objects; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What the box grows by on each side, as a share of that side; cut at the picture's border.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expand: f32,
    /// The shorter side of the box grows to the longer one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub square: bool,
    /// A turned box is turned upright, and one that is much higher than wide is laid down, as lines of text are read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub turn: bool,
    /// The part is turned, scaled and moved so that the object's points lie where the model has learnt them, in the place of all of the above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub align: Option<Alignment>,
    /// Run for so many objects, best first; 32 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Where the points of an object are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alignment {
    /// Eyes, nose and corners of the mouth, those at the left in the picture first, in 112 × 112 pixels as `norm_crop` of insightface.
    Arcface,
}

/// A state that a model hands on from run to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The input.
    #[serde(rename = "in")]
    pub into: String,
    /// The output.
    #[serde(rename = "out")]
    pub from: String,
}

/// What an input of a model is filled with beside the app's input. Numbers are converted to the input's own type, and shaped as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Feed {
    /// A number for every element.
    Number(f64),
    /// The elements in row-major order.
    Numbers(Vec<f64>),
    /// What is known of the app's input.
    Of(FeedOf),
}

/// What is known of a picture, two numbers each, or of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedOf {
    /// Height and width of the source picture in pixels.
    SourceSize,
    /// Width and height of the source picture in pixels.
    SourceSizeWh,
    /// Height and width in pixels that the picture has in the tensor, without a border.
    TensorSize,
    /// Factors by which height and width of the source picture became those in the tensor.
    ScaleYx,
    /// Samples of the sound in a second, one number.
    SampleRate,
}

/// One ONNX model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name under which the node serves the model by the Open Inference Protocol.
    pub name: String,
    /// Path in the package, for example `model.onnx`.
    pub file: String,
    /// Engine that runs the model.
    #[serde(default)]
    pub engine: EngineNeed,
    /// Input tensors by name.
    pub inputs: Vec<Tensor>,
    /// Output tensors by name.
    pub outputs: Vec<Tensor>,
}

/// An engine and its lowest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineNeed {
    /// Name of the engine; only `onnxruntime` today.
    pub name: String,
    /// Lowest version, `major.minor`.
    pub min: String,
}

impl Default for EngineNeed {
    fn default() -> Self {
        Self { name: "onnxruntime".into(), min: "1.17".into() }
    }
}

/// Name, element type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Name in the ONNX graph.
    pub name: String,
    /// Open Inference Protocol v2 datatype: `FP32`, `FP64`, `INT64`, `INT32`, `UINT8`, `BOOL`; in format 2 also `FP16`, `INT8`, `INT16`,
    /// `UINT16`, `UINT32`, `UINT64`, and of inputs `BYTES` for texts.
    pub datatype: String,
    /// Dimensions; -1 is dynamic.
    pub shape: Vec<i64>,
}

/// Pre-processing, post-processing, alarms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Turns the input into the model's (single) input tensor.
    pub pre: Pre,
    /// Turns output tensors into results, in order.
    #[serde(deserialize_with = "of_format_1")]
    pub post: Vec<Post>,
    /// Rules that raise alarms from results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmRule>,
}

/// Says of each classifier whether a softmax is applied, also where the file does not.
fn of_format_1<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<Post>, D::Error> {
    let mut posts = Vec::<Post>::deserialize(source)?;
    for post in &mut posts {
        if let Post::Classes(classes) = post {
            classes.softmax.get_or_insert(false);
        }
    }
    Ok(posts)
}

/// One pre-processing per input kind. In YAML: `image: {…}`, `window: {…}`, `columns: {…}`, `sound: {…}` or `clip: {…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pre {
    /// Picture → FP32 tensor.
    Image(PreImage),
    /// Last `length` rows of named columns → FP32 tensor.
    Window(PreWindow),
    /// Named columns of one row → FP32 tensor `[1, n]`, or a tensor for each.
    Columns(PreColumns),
    /// Windows of sound → FP32 tensors `[1, n]`.
    Sound(PreSound),
    /// The last frames of moving pictures → one FP32 tensor.
    Clip(PreClip),
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An alarm: a CEL condition over the results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmRule {
    /// Slug, unique in the app.
    pub id: String,
    /// CEL over `detections` (list of `{label, score, box}`), `classes` (list of `{label, score}` by score), `values` (map
    /// of id → number) and `params` (map); in format 2 also over `texts` (list of `{text, score}`) and what else detections have. Must give
    /// a bool.
    pub when: String,
    /// Level of the alarm.
    pub level: AlarmLevel,
    /// Text that is spoken and shown; `{place}` is the node's place, `{label}` the best label, `{value:ID}` a value, `{text}`
    /// the best text.
    pub text: Text,
    /// Of moving pictures: an episode begins when the condition has held for so long.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
    /// Of moving pictures: an episode ends when the condition has not held for so long; 5 s where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// Of moving pictures: what has an episode of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub per: Per,
}

/// What has episodes of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// The whole picture.
    #[default]
    Camera,
    /// Each object with a track: the rule sees it alone.
    Object,
    /// Each zone: the rule sees the objects in it.
    Zone,
}

/// How urgent an alarm is, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmLevel {
    /// To be looked at.
    Notice,
    /// To be acted on.
    Warning,
    /// People are in danger.
    Critical,
}
