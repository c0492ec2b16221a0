//! The types of `app.yaml`, the description that a developer writes beside the model files.
//!
//! These are the canonical shape: the JSON of [`AppManifest`] (fields in this order, absent options left out) is the
//! OCI config blob of a release. Reading from YAML, with every fault and its line, is in [`crate::validate`].
//! Invariant: a value of these types that came through `validate::parse` is within all bounds stated there.

use serde::{Deserialize, Serialize};

/// A text in both languages of the platform. At least one is not empty after validation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Simplified Chinese (`zh-CN`).
    #[serde(default)]
    pub zh: String,
    /// English.
    #[serde(default)]
    pub en: String,
}

impl Text {
    /// The text for a language tag (`zh…` or anything else), showing the other where one is missing.
    pub fn get(&self, lang: &str) -> &str {
        let (first, second) = if lang.starts_with("zh") { (&self.zh, &self.en) } else { (&self.en, &self.zh) };
        if first.is_empty() { second } else { first }
    }
}

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
    /// Mono samples as CSV with one column `amplitude`.
    Audio,
}

impl InputKind {
    /// The word used in `app.yaml`, the database and URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Timeseries => "timeseries",
            Self::Tabular => "tabular",
            Self::Audio => "audio",
        }
    }
}

/// The whole of `app.yaml`, format 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppManifest {
    /// Version of this format; always 1.
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
    /// Models; exactly one.
    pub models: Vec<Model>,
    /// How input becomes tensors and tensors become results.
    pub pipeline: Pipeline,
    /// What the operator may set; a form is made from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// What a node must have.
    #[serde(default)]
    pub resources: Resources,
    /// Samples that every engine must reproduce; at least one, at most 50.
    pub golden: Vec<Golden>,
    /// What the developer says about training and limits.
    pub card: ModelCard,
    /// Pictures for the listing, first is the cover; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
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
    /// Open Inference Protocol v2 datatype: `FP32`, `FP64`, `INT64`, `INT32`, `UINT8`, `BOOL`.
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

/// Resize, scale and lay out a picture: `x = (pixel / 255 - mean) / std` per channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreImage {
    /// Target width in pixels.
    pub width: u32,
    /// Target height in pixels.
    pub height: u32,
    /// `stretch` (default) or `letterbox` (keeps the ratio, pads with grey 114).
    #[serde(default)]
    pub fit: Fit,
    /// `rgb` (default) or `gray`.
    #[serde(default)]
    pub color: Color,
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
}

/// Channels of the tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Three channels.
    #[default]
    Rgb,
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
    /// Rows `[1, n, 4 + 1 + labels]` (cx, cy, w, h in tensor pixels, objectness, class scores) → boxes after NMS.
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
    /// Apply softmax first.
    #[serde(default)]
    pub softmax: bool,
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

/// YOLO-like rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostBoxes {
    /// Output tensor.
    pub output: String,
    /// One label per class score.
    pub labels: Vec<Label>,
    /// Keep rows whose objectness × class score reaches this (0–1).
    pub score: f32,
    /// Non-maximum suppression: drop boxes whose `IoU` with a better one of the same label exceeds this (0–1).
    pub iou: f32,
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
}

/// Allowed difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Absolute part.
    pub absolute: f64,
    /// Relative part.
    pub relative: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { absolute: 1e-3, relative: 1e-2 }
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
    pub counts: Option<std::collections::BTreeMap<String, u32>>,
    /// Values by id, each `[truth, allowed difference]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<std::collections::BTreeMap<String, [f64; 2]>>,
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
