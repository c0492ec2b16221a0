//! What an app does with its input: how it becomes tensors, which model reads them, how tensors become results, which alarms they raise.
//!
//! Format 1 says it as `models` and `pipeline`, format 2 as `steps` and `alarms`; both are read as a [`ModelStep`]. What format 2 adds to the
//! parts that both have is left out of the JSON where it has its default, so that a package of format 1 keeps its bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// Resize, scale and lay out a picture: `x = (pixel / scale - mean) / std` per channel, in the tensor's order of channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreImage {
    /// Target width in pixels.
    pub width: u32,
    /// Target height in pixels.
    pub height: u32,
    /// `stretch` (default), `letterbox` (keeps the ratio, pads with `fill`) or `crop` (keeps the ratio, cuts the middle out).
    #[serde(default)]
    pub fit: Fit,
    /// Of `crop`: share of the scaled picture's shorter side that is cut out; 0.875 scales the shorter side to 256 for a tensor of 224.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub crop: f64,
    /// Of `letterbox`: where the picture lies.
    #[serde(default, skip_serializing_if = "is_default")]
    pub align: Align,
    /// Of `letterbox`: the border, one number for all channels or one per channel of the tensor, 0–255; empty for 114.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fill: Vec<u8>,
    /// How pixels become others where the size changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: Filter,
    /// `rgb` (default), `bgr` or `gray`.
    #[serde(default)]
    pub color: Color,
    /// What pixels are divided by: 255 makes 0–1, 1 keeps 0–255.
    #[serde(default = "byte", skip_serializing_if = "is_byte")]
    pub scale: f32,
    /// `nchw` (default) or `nhwc` or `flat` (`[1, h*w*c]`, row-major HWC).
    #[serde(default)]
    pub layout: Layout,
    /// Mean per channel, or empty for 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// Standard deviation per channel, or empty for 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
}

/// How a picture meets the target size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Scale both sides.
    #[default]
    Stretch,
    /// Keep the ratio and pad.
    Letterbox,
    /// Keep the ratio and cut the middle out.
    Crop,
}

/// Where a letterboxed picture lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Align {
    /// In the middle, an odd pixel of border at the right or bottom.
    #[default]
    Center,
    /// At the left and top.
    TopLeft,
}

/// A filter, named after what it must equal to within a step of 255.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// `BILINEAR` of Pillow: the support grows when shrinking.
    #[default]
    LinearAntialias,
    /// `INTER_LINEAR` of `OpenCV` on bytes.
    Linear,
    /// The same on floats, not rounded: torchvision on a tensor with `antialias=False`.
    LinearFloat,
    /// `INTER_CUBIC` of `OpenCV` on bytes.
    Cubic,
    /// `BICUBIC` of Pillow.
    CubicAntialias,
    /// `INTER_AREA` of `OpenCV`.
    Area,
    /// `INTER_NEAREST` of `OpenCV`.
    Nearest,
}

/// Channels of the tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Three channels.
    #[default]
    Rgb,
    /// Three channels, blue first.
    Bgr,
    /// One channel, ITU-R BT.601 luma (0.299 R + 0.587 G + 0.114 B).
    Gray,
}

/// Order of the tensor's dimensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[1, c, h, w]`.
    #[default]
    Nchw,
    /// `[1, h, w, c]`.
    Nhwc,
    /// `[1, h*w*c]`.
    Flat,
}

/// A window of a time series: the last `length` rows; `x = (value - mean) / std` per column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreWindow {
    /// Column names in tensor order.
    pub columns: Vec<String>,
    /// Rows needed; fewer is an error to the caller.
    pub length: u32,
    /// `time-major` `[1, length, columns]`, `channel-major` `[1, columns, length]` or `flat` `[1, length*columns]` (time-major).
    #[serde(default)]
    pub layout: WindowLayout,
    /// Mean per column, or empty for 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// Standard deviation per column, or empty for 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
}

/// Order of a window's dimensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowLayout {
    /// `[1, length, columns]`.
    #[default]
    TimeMajor,
    /// `[1, columns, length]`.
    ChannelMajor,
    /// `[1, length*columns]`.
    Flat,
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreColumns {
    /// Column names in tensor order.
    pub names: Vec<String>,
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

/// Rows of boxes, as detectors give them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostBoxes {
    /// Output tensor that holds the rows.
    pub output: String,
    /// One label per class.
    pub labels: Vec<Label>,
    /// Keep rows whose score reaches this (0–1): objectness × class score, where there are both.
    pub score: f32,
    /// Non-maximum suppression: drop boxes whose `IoU` with a better one of the same label exceeds this (0–1); none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iou: Option<f32>,
    /// What a row holds, in order; its width is that of the tensor. Empty for format 1's `[box, objectness, scores]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row: Vec<RowPart>,
    /// Parts of the rows that are tensors of their own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub beside: Beside,
    /// Whether rows are the tensor's rows or its columns.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layout: RowLayout,
    /// The four numbers of a box.
    #[serde(rename = "box", default, skip_serializing_if = "is_default")]
    pub form: BoxForm,
    /// What a box is measured in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unit: BoxUnit,
    /// What makes scores of class scores and objectness.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
    /// A class beside the labels that stands for nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub background: Background,
    /// What boxes are relative to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grid: BoxGrid,
    /// Boxes of different labels suppress each other, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub agnostic: bool,
    /// Keep so many boxes, best first; 300 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Format 1's rows.
const FIRST_ROW: &[RowPart] = &[RowPart::Box, RowPart::Objectness, RowPart::Scores];

impl PostBoxes {
    /// What a row holds.
    pub fn parts(&self) -> &[RowPart] {
        if self.row.is_empty() { FIRST_ROW } else { &self.row }
    }

    /// Classes that the model tells apart, the background among them.
    pub fn classes(&self) -> usize {
        self.labels.len().saturating_add(usize::from(self.background != Background::None))
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        let width = |part: &RowPart| match part {
            RowPart::Box => 4,
            RowPart::Scores => self.classes(),
            RowPart::Objectness | RowPart::Score | RowPart::Class => 1,
            RowPart::Skip(n) => usize::from(*n),
        };
        self.parts().iter().map(width).fold(0, usize::saturating_add)
    }
}

/// A part of a row: `box`, `objectness`, `scores`, `score`, `class` or `skip-N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RowPart {
    /// Four numbers.
    Box,
    /// How sure it is that there is anything.
    Objectness,
    /// One number per class.
    Scores,
    /// The score of `class`.
    Score,
    /// The number of the class, from 0.
    Class,
    /// So many numbers that are not read, 1–999.
    Skip(u16),
}

impl std::str::FromStr for RowPart {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let skipped = || word.strip_prefix("skip-").filter(|n| !n.starts_with(['0', '+'])).and_then(|n| n.parse().ok());
        Ok(match word {
            "box" => Self::Box,
            "objectness" => Self::Objectness,
            "scores" => Self::Scores,
            "score" => Self::Score,
            "class" => Self::Class,
            _ => Self::Skip(skipped().filter(|n| (1..=999).contains(n)).ok_or_else(|| format!("`{word}` is no part of a row"))?),
        })
    }
}

impl TryFrom<String> for RowPart {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        word.parse()
    }
}

impl std::fmt::Display for RowPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Box => f.write_str("box"),
            Self::Objectness => f.write_str("objectness"),
            Self::Scores => f.write_str("scores"),
            Self::Score => f.write_str("score"),
            Self::Class => f.write_str("class"),
            Self::Skip(n) => write!(f, "skip-{n}"),
        }
    }
}

impl From<RowPart> for String {
    fn from(part: RowPart) -> Self {
        part.to_string()
    }
}

/// Output tensors that hold a part of each row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// One number per class and row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<String>,
    /// The score of `class`, one per row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// The number of the class, from 0, one per row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How many rows count, from the first; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
}

/// Where rows lie in their tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowLayout {
    /// `[1, rows, width]`, or `[rows, width]`.
    #[default]
    Rows,
    /// `[1, width, rows]`, or `[width, rows]`.
    Columns,
}

/// The four numbers of a box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxForm {
    /// Centre, width, height.
    #[default]
    Cxcywh,
    /// Two corners.
    Xyxy,
    /// Left, top, width, height.
    Xywh,
}

/// What a box is measured in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxUnit {
    /// Pixels of the tensor.
    #[default]
    Pixels,
    /// Shares of the tensor's sides.
    Relative,
    /// Pixels of the source picture.
    Source,
}

/// A class that stands for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// There is none.
    #[default]
    None,
    /// Before the labels, so that the first label is class 1.
    First,
    /// After the labels.
    Last,
}

/// What boxes are relative to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxGrid {
    /// Nothing.
    #[default]
    None,
    /// Cells of 8, 16 and 32 pixels, row by row: `xy = (xy + cell) * stride`, `wh = exp(wh) * stride`.
    Yolox,
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

fn whole() -> f64 {
    1.0
}

fn byte() -> f32 {
    255.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_whole(share: &f64) -> bool {
    share.to_bits() == whole().to_bits()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_byte(scale: &f32) -> bool {
    scale.to_bits() == byte().to_bits()
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
