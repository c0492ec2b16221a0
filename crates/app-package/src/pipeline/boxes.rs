//! Rows of boxes: what detectors of every family give, spelled out.

use serde::{Deserialize, Serialize};

use super::{Activation, Label, is_default};

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
    /// Output `[1, channels, rows, columns]` that `masks-N` are the factors of: a cell of the mask is the sum of the products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prototypes: Option<String>,
    /// The points that `keypoints` are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypoints: Option<Keypoints>,
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
            RowPart::Objectness | RowPart::Score | RowPart::Class | RowPart::Angle => 1,
            RowPart::Keypoints => self.keypoints.as_ref().map_or(0, Keypoints::width),
            RowPart::Masks(n) | RowPart::Skip(n) => usize::from(*n),
        };
        self.parts().iter().map(width).fold(0, usize::saturating_add)
    }
}

/// Points of an object, such as the joints of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keypoints {
    /// Their names in order.
    pub names: Vec<String>,
    /// Numbers of a point: 2 (`x`, `y`) or 3 (with its score).
    pub dims: u8,
}

impl Keypoints {
    /// Numbers of all points.
    pub fn width(&self) -> usize {
        self.names.len().saturating_mul(usize::from(self.dims))
    }
}

/// A part of a row: `box`, `objectness`, `scores`, `score`, `class`, `masks-N`, `keypoints`, `angle` or `skip-N`.
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
    /// So many factors of the prototypes of a mask, 1–999.
    Masks(u16),
    /// The numbers of the points.
    Keypoints,
    /// What the box is turned by around its centre, in radians, clockwise in a picture.
    Angle,
    /// So many numbers that are not read, 1–999.
    Skip(u16),
}

impl std::str::FromStr for RowPart {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let counted = |kind: &str| -> Option<u16> {
            let n = word.strip_prefix(kind).filter(|n| !n.starts_with(['0', '+']))?;
            n.parse().ok().filter(|n| (1..=999).contains(n))
        };
        Ok(match word {
            "box" => Self::Box,
            "objectness" => Self::Objectness,
            "scores" => Self::Scores,
            "score" => Self::Score,
            "class" => Self::Class,
            "keypoints" => Self::Keypoints,
            "angle" => Self::Angle,
            _ => {
                let masks = counted("masks-").map(Self::Masks);
                masks.or_else(|| counted("skip-").map(Self::Skip)).ok_or_else(|| format!("`{word}` is no part of a row"))?
            }
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
            Self::Keypoints => f.write_str("keypoints"),
            Self::Angle => f.write_str("angle"),
            Self::Masks(n) => write!(f, "masks-{n}"),
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
    /// A mask per row over the whole tensor, `[1, rows, height, width]`: a cell belongs to the object where its number is above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<String>,
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
