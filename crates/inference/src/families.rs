//! Families of exported models: what a file's tensors and metadata say about how it wants to be used.
//!
//! A table, [`FAMILIES`], of what exporters write; each row reads the signs and gives the whole step of `app.yaml` that follows from them.
//! Nothing of it is kept in an app: a manifest is always written out in full, and these readings serve `pithead init` and the page on which
//! a model is dropped alone. What the signs leave open is asked ([`Question`]) and never guessed in silence; where two readings fit, both
//! are given. The tensors, decoders and pictures of each family were compared with the libraries that export it.
//! Invariant: no file, however it lies, panics here, and work is bounded by what [`crate::model_file`] keeps of it.

mod detectors;
mod facts;
mod labels;
mod obstacle;
pub mod parts;
pub mod propose;
mod python;
pub mod scaffold;
mod series;
mod tables;
mod text;
mod ultralytics;
pub mod write;
mod yaml;

#[cfg(test)]
mod tests;

use app_package::{
    manifest::InputKind,
    pipeline::{ModelStep, Post, Pre, PreImage, Tensor},
    text::Text,
};

use serde::{Deserialize, Serialize};

use self::facts::{Facts, Picture};
use crate::engine::Data;
use crate::model_file::{Header, Metadata, Signature};

pub use obstacle::obstacle;

/// Most tensors that are declared, as `app.yaml` takes them.
const MAX_INPUTS: usize = 64;
const MAX_OUTPUTS: usize = 64;

/// A way in which a model can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Name of the family, as in [`FAMILIES`].
    pub family: &'static str,
    /// How much speaks for it.
    pub evidence: Evidence,
    /// Another reading of the same signs is likelier.
    pub second: bool,
    /// What the app reads.
    pub input: InputKind,
    /// The step of `app.yaml`; the model's name and file are `model` and `model.onnx`.
    pub step: ModelStep,
    /// What it was concluded from.
    pub because: Vec<Text>,
    /// What the file does not say, with what was put in its place.
    pub questions: Vec<Question>,
    /// What the app does not use of the model.
    pub notes: Vec<Text>,
    /// Texts that the step reads beside the model, by their file's name.
    pub files: Vec<(String, String)>,
}

impl Proposal {
    /// A reading of a model that takes a picture alone, the likeliest.
    fn of_picture(
        family: &'static str,
        evidence: Evidence,
        (picture, image): (&Picture, PreImage),
        post: Post,
        because: Vec<Text>,
        questions: Vec<Question>,
    ) -> Self {
        let step = ModelStep::of_model(Pre::Image(image), Some(picture.name.clone()), vec![post]);
        Self { family, evidence, second: false, input: InputKind::Image, step, because, questions, notes: Vec::new(), files: Vec::new() }
    }
}

/// How much speaks for a reading, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// Shapes of tensors, which other families share.
    Shape,
    /// Names of tensors.
    Names,
    /// The exporter's own words.
    Metadata,
}

/// What a file does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub about: Topic,
    /// The question.
    pub text: Text,
    /// What was put in its place.
    pub default: String,
}

/// What a question is about: a place in the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// Labels of classes and boxes.
    Labels,
    /// Size of the picture.
    Size,
    /// How a picture becomes numbers: resizing, colours, mean.
    Picture,
    /// What makes scores of the numbers.
    Activation,
    /// Whether a class stands for nothing.
    Background,
    /// Names of the columns.
    Columns,
    /// How a window lies in its tensor.
    Window,
    /// Mean and standard deviation of a table's columns.
    Scaling,
    /// What the numbers are.
    Values,
    /// The objects that a later model runs for.
    Objects,
}

/// What the developer says beside the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Given {
    /// Words of the labels, in the model's order.
    pub labels: Vec<String>,
    /// Width and height of the picture.
    pub size: Option<(u32, u32)>,
    /// Names of a table's columns, in the model's order.
    pub columns: Vec<String>,
    /// Those of them that have empty cells in a sample.
    pub gaps: Vec<String>,
}

/// A row of the table.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    read: fn(&Facts<'_>) -> Vec<Proposal>,
}

/// What is known of exports, those with the clearest signs first.
pub const FAMILIES: &[Family] = &[
    // Ultralytics YOLOv5u to 26, every task
    Family { name: "yolo", read: ultralytics::yolo },
    // RT-DETR of Ultralytics
    Family { name: "rtdetr-ul", read: ultralytics::rtdetr },
    // YOLOv5 of the original repository, YOLOv7
    Family { name: "yolov5", read: detectors::yolov5 },
    // YOLOX
    Family { name: "yolox", read: detectors::yolox },
    // D-FINE, RT-DETR v1 and v2
    Family { name: "dfine", read: detectors::dfine },
    // RF-DETR, DETR and RT-DETR of Hugging Face
    Family { name: "detr", read: detectors::detr },
    // PaddleDetection: PP-YOLOE, PicoDet
    Family { name: "paddle", read: detectors::paddle },
    // MMDetection by MMDeploy
    Family { name: "mmdet", read: detectors::mmdet },
    // detectors of torchvision
    Family { name: "torchvision", read: detectors::torchvision },
    // anomalib
    Family { name: "anomalib", read: tables::anomalib },
    // PP-OCR, recognition
    Family { name: "ppocr-rec", read: text::recogniser },
    // PP-OCR, detection
    Family { name: "dbnet", read: text::detector },
    // semantic segmentation of torchvision and others
    Family { name: "segments", read: series::segments },
    // silero VAD
    Family { name: "silero", read: series::silero },
    // a DataFrame pipeline by skl2onnx
    Family { name: "frame", read: series::frame },
    // classifiers of timm and torchvision
    Family { name: "imagenet", read: tables::imagenet },
    // scikit-learn, LightGBM, XGBoost: one row of numbers
    Family { name: "columns", read: tables::columns },
    // windows of a time series
    Family { name: "timeseries", read: tables::timeseries },
];

/// How a model can be used; empty where no family fits, and then [`fn@obstacle`] says why. Readings that the exporter's own words speak for shut
/// out those by names, and these those by shapes; of equal ones the likelier is first.
pub fn recognise(signature: &Signature, metadata: &Metadata, given: &Given) -> Vec<Proposal> {
    let facts = Facts::new(signature, metadata, given);
    if obstacle::of(&facts).is_some() {
        return Vec::new();
    }
    let mut found: Vec<Proposal> = FAMILIES.iter().flat_map(|family| (family.read)(&facts)).collect();
    let best = found.iter().map(|proposal| proposal.evidence).max();
    found.retain(|proposal| Some(proposal.evidence) == best);
    found.sort_by_key(|proposal| proposal.second);
    for proposal in &mut found {
        proposal.step.inputs = tensors(&signature.inputs, MAX_INPUTS, true);
        proposal.step.outputs = tensors(&signature.outputs, MAX_OUTPUTS, false);
    }
    found
}

/// Tensors as `app.yaml` declares them; text is left out but where it goes in. Where the file leaves a shape to the engine, it is taken for
/// rows, or for a list of whole numbers.
fn tensors(headers: &[Header], max: usize, texts: bool) -> Vec<Tensor> {
    let declared = headers.iter().filter_map(|header| {
        let known = |word: &&str| (texts && *word == "BYTES") || Data::of(word, std::iter::empty()).is_some();
        let datatype = header.datatype().filter(known)?.to_owned();
        let open = || if facts::is_integer(header) { vec![-1] } else { vec![-1, -1] };
        Some(Tensor { name: header.name.clone(), datatype, shape: header.shape.clone().unwrap_or_else(open) })
    });
    declared.take(max).collect()
}

/// A shape as people write it.
fn shape(header: &Header) -> String {
    let dims: Vec<String> = header.shape.iter().flatten().map(|n| if *n < 0 { "?".to_owned() } else { n.to_string() }).collect();
    format!("[{}]", dims.join(","))
}

/// A tensor as people write it: its name and shape.
fn tensor(header: &Header) -> String {
    format!("{} {}", labels::plain(&header.name, 80), shape(header))
}

/// A text in both languages.
fn say(zh: impl Into<String>, en: impl Into<String>) -> Text {
    Text { zh: zh.into(), en: en.into() }
}

/// A question with what was put in place of its answer.
fn ask(about: Topic, zh: impl Into<String>, en: impl Into<String>, default: impl Into<String>) -> Question {
    Question { about, text: say(zh, en), default: default.into() }
}
