//! How tensors become results.

use serde::{Deserialize, Serialize};

use super::boxes::{Background, PostBoxes, RowPart};
use super::{Layout, is_default};
use crate::text::Text;

/// One post-processing step. In YAML: `classes: {…}`, `boxes: {…}` and so on.
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
    /// What each cell of a grid is → one object per label, and its share of the picture.
    Segments(PostSegments),
    /// How unusual a picture is, or each of its cells → a value, and objects.
    Anomaly(PostAnomaly),
    /// Probabilities of characters along a line, `[1, steps, characters]` → a text (CTC).
    Text(PostText),
    /// A vector → what it is most alike in a gallery.
    Gallery(PostGallery),
}

impl Post {
    /// The labels that its results can have.
    pub fn labels(&self) -> &[Label] {
        match self {
            Self::Classes(p) => &p.labels,
            Self::Boxes(p) => &p.labels,
            Self::Grid(p) => &p.labels,
            Self::Segments(p) => &p.labels,
            Self::Anomaly(p) => std::slice::from_ref(&p.label),
            Self::Gallery(p) => &p.labels,
            Self::Values(_) | Self::Text(_) => &[],
        }
    }

    /// Whether its results are objects in a picture.
    pub fn finds(&self) -> bool {
        matches!(self, Self::Boxes(_) | Self::Grid(_) | Self::Segments(_) | Self::Anomaly(_))
    }

    /// Whether its objects have masks.
    pub fn masks(&self) -> bool {
        match self {
            Self::Boxes(p) => p.parts().iter().any(|part| matches!(part, RowPart::Masks(_))) || p.beside.masks.is_some(),
            Self::Segments(_) => true,
            Self::Anomaly(p) => p.map.is_some() || p.reconstruction.is_some(),
            _ => false,
        }
    }

    /// The values that it gives: id, words and unit.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Text, &str)> {
        let items: &[ValueItem] = if let Self::Values(p) = self { &p.items } else { &[] };
        let labels = match self {
            Self::Segments(_) | Self::Anomaly(_) => self.labels(),
            _ => &[],
        };
        let items = items.iter().map(|item| (item.id.as_str(), &item.text, item.unit.as_str()));
        items.chain(labels.iter().map(|label| (label.id.as_str(), &label.text, "")))
    }

    /// The file of the package that it reads, if any, with the keys that lead to it.
    pub fn file(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Text(p) => Some(("text.alphabet", &p.alphabet)),
            Self::Gallery(p) => Some(("gallery.vectors", &p.vectors)),
            _ => None,
        }
    }
}

/// Classes from a probability (or logit) tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostClasses {
    /// Output tensor.
    pub output: String,
    /// One label per element.
    pub labels: Vec<Label>,
    /// Apply softmax first; format 1's word for `activation: softmax`, which it always has and format 2 never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softmax: Option<bool>,
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
    /// What makes probabilities of the numbers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
    /// A group counts when the mean of its cells, of a turned box that of all cells in it, reaches this (0–1), and that mean is its score.
    /// Where absent, the score of an upright box is its largest cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f32>,
    /// Cells at the right of, below, and at the right and below of a cell that counts do so, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dilate: bool,
    /// The box of a group is the smallest that may be turned, of cells that touch at sides or corners.
    #[serde(default, skip_serializing_if = "is_default")]
    pub turn: bool,
    /// A turned box grows on all sides by its area times this divided by its circumference, as differentiable binarization needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclip: Option<f32>,
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
    /// Place of the number in the tensor, from 0, without leading dimensions of 1: `[2, 5]` is column 5 of row 2. Fewer places than there
    /// are dimensions name a part, of which `reduce` makes one number. Where absent, the items are the elements in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Vec<u32>>,
    /// What makes one number of a part.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reduce: Reduce,
}

impl ValueItem {
    /// The next element, as it is.
    pub fn new(id: impl Into<String>, text: Text) -> Self {
        Self { id: id.into(), text, unit: String::new(), scale: one(), offset: 0.0, at: None, reduce: Reduce::default() }
    }
}

/// One number of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduce {
    /// Their mean.
    #[default]
    Mean,
    /// The largest.
    Max,
    /// The least.
    Min,
    /// The last.
    Last,
}

/// What each cell of a grid over the tensor is: scores per class, or the class itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostSegments {
    /// Output tensor: `[1, classes, rows, columns]` (or `[1, rows, columns, classes]`), of which the largest class counts; or classes as
    /// numbers, `[1, rows, columns]`. One class alone counts where it reaches `score`.
    pub output: String,
    /// One label per class.
    pub labels: Vec<Label>,
    /// A class beside the labels that stands for nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub background: Background,
    /// What makes scores of the numbers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
    /// Where the classes are among the dimensions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layout: Layout,
    /// Least score of a cell of a class (0–1).
    #[serde(default, skip_serializing_if = "is_default")]
    pub score: f32,
    /// Least share of the picture (0–1) that a label must cover to be an object; its value is told in any case.
    #[serde(default, skip_serializing_if = "is_default")]
    pub least: f32,
}

/// How unusual a picture is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostAnomaly {
    /// Output tensor with one number; where absent, the largest of the map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Output tensor with a number per cell, `[1, 1, rows, columns]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// Output tensor that repeats the prepared input as the model has learnt it; what differs is the map, or of other inputs than pictures
    /// the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconstruction: Option<String>,
    /// How elements of a reconstruction differ.
    #[serde(default, skip_serializing_if = "is_default")]
    pub error: ErrorKind,
    /// Cells of the map that reach this are objects, by connected groups.
    pub threshold: f32,
    /// Id of the value and label of the objects.
    pub label: Label,
}

/// Difference of a reconstruction from what it repeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// Mean of squares.
    #[default]
    Mse,
    /// Mean of magnitudes.
    Mae,
}

/// A line of text, decoded as connectionist temporal classification (CTC) is: the likeliest character of each step, repeats once, blanks out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostText {
    /// Output tensor.
    pub output: String,
    /// Path of a text file in the package with a character a line.
    pub alphabet: String,
    /// Where the class is that stands for no character.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blank: Blank,
    /// What makes scores of the numbers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
}

/// Place of the blank among the classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blank {
    /// Before the characters.
    #[default]
    First,
    /// After the characters.
    Last,
}

/// A vector beside those of a gallery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostGallery {
    /// Output tensor.
    pub output: String,
    /// Labels of the gallery.
    pub labels: Vec<Label>,
    /// Path of a JSON file in the package: of each label's id a list of vectors.
    pub vectors: String,
    /// A label counts when the cosine of the angle to its nearest vector reaches this.
    pub threshold: f32,
}

fn one() -> f64 {
    1.0
}
