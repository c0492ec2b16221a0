//! Which family of exports a tensor of boxes may be of, by its shape.

use super::{RowLayout, RowPart};

/// Mask coefficients of a row of Ultralytics' segmentation.
const MASKS: u16 = 32;
/// Numbers of the 17 keypoints of a row of Ultralytics' pose.
const KEYPOINTS: u16 = 51;

/// What may be written for a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Who exports such tensors; empty where it may be anybody.
    pub family: &'static str,
    /// The keys of `boxes`, as YAML.
    pub keys: String,
}

/// How many readings are told; of more than these none is likely.
const MOST: usize = 3;

/// What fits the last two dimensions of a tensor, where the app has so many classes, and rows of this layout and width now.
pub fn looks(classes: usize, layout: RowLayout, width: usize, [a, b]: [usize; 2]) -> Vec<Look> {
    let mut found = Vec::new();
    for (other, w) in [(RowLayout::Rows, b), (RowLayout::Columns, a)] {
        let word = if other == RowLayout::Rows { "layout: rows" } else { "layout: columns" };
        let mut look = |family: &'static str, keys: &str| {
            let parts = [keys, if other == layout { "" } else { word }];
            found.push(Look { family, keys: parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ") });
        };
        if other != layout && w == width {
            look("", "");
            continue;
        }
        let raw = |more: u16| classes.checked_add(4 + usize::from(more)) == Some(w);
        let heads: [(bool, &str, &[RowPart]); 4] = [
            (raw(0), "YOLOv8", &[RowPart::Box, RowPart::Scores]),
            (raw(1), "YOLOv5", &[RowPart::Box, RowPart::Objectness, RowPart::Scores]),
            (raw(MASKS), "YOLOv8-seg", &[RowPart::Box, RowPart::Scores, RowPart::Skip(MASKS)]),
            (raw(KEYPOINTS), "YOLOv8-pose", &[RowPart::Box, RowPart::Scores, RowPart::Skip(KEYPOINTS)]),
        ];
        for (_, family, row) in heads.into_iter().filter(|(fits, ..)| *fits) {
            let words: Vec<String> = row.iter().map(ToString::to_string).collect();
            look(family, &format!("row: [{}]", words.join(", ")));
        }
        // Heads that end in the best rows have them as rows always.
        if other == RowLayout::Rows {
            match w {
                6 => {
                    look("YOLO26, YOLOv10, nms=True", "row: [box, score, class], box: xyxy");
                    look("RT-DETR", "row: [box, score, class], unit: relative");
                }
                5 if classes != 1 => look("MMDeploy", "row: [box, score], beside: {class: …}"),
                4 => look("", "row: [box], beside: {scores: …}"),
                _ => {}
            }
        }
    }
    if found.len() > MOST { Vec::new() } else { found }
}
