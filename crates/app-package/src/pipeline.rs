//! What an app does with its input: how it becomes tensors, which model reads them, how tensors become results, which alarms they raise.
//!
//! Format 1 says it as `models` and `pipeline`, format 2 as `steps` and `alarms`; both are read as a [`ModelStep`]. What format 2 adds to the
//! parts that both have is left out of the JSON where it has its default, so that a package of format 1 keeps its bytes.

mod boxes;
mod pre;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::boxes::{Background, Beside, BoxForm, BoxGrid, BoxUnit, PostBoxes, RowLayout, RowPart};
pub use self::pre::{Align, Color, Filter, Fit, Layout, PreColumns, PreImage, PreWindow, WindowLayout};
use crate::text::Text;

/// A step of format 2. In YAML: `model: {…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Runs a model.
    Model(ModelStep),
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
    /// Turns output tensors into results, in order.
    pub post: Vec<Post>,
}

/// What an input of a model is filled with beside the app's input. Numbers are converted to the input's own type, and shaped as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Feed {
    /// A number for every element.
    Number(f64),
    /// The elements in row-major order.
    Numbers(Vec<f64>),
    /// What is known of the picture.
    Of(FeedOf),
}

/// What is known of a picture, two numbers each.
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
    /// `UINT16`, `UINT32`, `UINT64`.
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
    pub post: Vec<Post>,
    /// Rules that raise alarms from results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmRule>,
}

/// One pre-processing per input kind. In YAML: `image: {…}`, `window: {…}` or `columns: {…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pre {
    /// Picture → FP32 tensor.
    Image(PreImage),
    /// Last `length` rows of named columns → FP32 tensor.
    Window(PreWindow),
    /// Named columns of one row → FP32 tensor `[1, n]`.
    Columns(PreColumns),
}

/// One post-processing step. In YAML: `classes: {…}`, `boxes: {…}`, `grid: {…}` or `values: {…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Post {
    /// Probabilities `[1, n]` → classes sorted by score.
    Classes(PostClasses),
    /// Rows such as `[1, n, 4 + 1 + labels]` → boxes, after non-maximum suppression where it is asked for.
    Boxes(PostBoxes),
    /// Heat map `[1, labels, rows, columns]` of probabilities → one box per connected group of cells.
    Grid(PostGrid),
    /// Numbers `[1, n]` → named values with units.
    Values(PostValues),
}

/// Classes from a probability (or logit) tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostClasses {
    /// Output tensor.
    pub output: String,
    /// One label per element.
    pub labels: Vec<Label>,
    /// Apply softmax first; format 1's word for `activation: softmax`.
    #[serde(default)]
    pub softmax: bool,
    /// What makes scores of the numbers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
    /// Keep so many classes, best first; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<u32>,
}

/// What makes scores of a model's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// They are scores.
    #[default]
    None,
    /// `1 / (1 + exp(-x))` of each.
    Sigmoid,
    /// `exp(x) / sum of exp` over the labels.
    Softmax,
}

/// A label's slug with its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Slug used in results and rules.
    pub id: String,
    /// Words shown.
    pub text: Text,
}

/// Probability heat map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostGrid {
    /// Output tensor.
    pub output: String,
    /// One label per channel.
    pub labels: Vec<Label>,
    /// A cell counts when its probability reaches this (0–1).
    pub score: f32,
}

/// Named numbers: `value = raw * scale + offset`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostValues {
    /// Output tensor.
    pub output: String,
    /// One item per element.
    pub items: Vec<ValueItem>,
}

/// One named number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueItem {
    /// Slug used in results and rules.
    pub id: String,
    /// Words shown.
    pub text: Text,
    /// Unit as printed, for example `%` or `°C`; may be empty.
    #[serde(default)]
    pub unit: String,
    /// Factor, 1 by default.
    #[serde(default = "one")]
    pub scale: f64,
    /// Summand, 0 by default.
    #[serde(default)]
    pub offset: f64,
}

fn one() -> f64 {
    1.0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An alarm: a CEL condition over the results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmRule {
    /// Slug, unique in the app.
    pub id: String,
    /// CEL over `detections` (list of `{label, score, box}`), `classes` (list of `{label, score}` by score), `values` (map
    /// of id → number) and `params` (map); must give a bool.
    pub when: String,
    /// Level of the alarm.
    pub level: AlarmLevel,
    /// Text that is spoken and shown; `{place}` is the node's place, `{label}` the best label, `{value:ID}` a value.
    pub text: Text,
}

/// How urgent an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmLevel {
    /// To be looked at.
    Notice,
    /// To be acted on.
    Warning,
    /// People are in danger.
    Critical,
}
