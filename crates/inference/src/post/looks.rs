//! What a tensor of an unexpected width looks like.

use app_package::pipeline::{PostBoxes, RowLayout, RowPart};

/// Mask coefficients of a row of Ultralytics' segmentation.
const MASKS: u16 = 32;
/// Numbers of the 17 keypoints of a row of Ultralytics' pose.
const KEYPOINTS: u16 = 51;

/// Says that a tensor's width is not that of the rows, and what would fit. `plane` are its last two dimensions.
pub(super) fn width_fault(p: &PostBoxes, output: &str, [a, b]: [usize; 2]) -> String {
    let (width, layout) = match p.layout {
        RowLayout::Rows => (b, ""),
        RowLayout::Columns => (a, " in its columns"),
    };
    let row = row_text(p.parts());
    let (labels, needed) = (p.labels.len(), p.width());
    let s = if labels == 1 { "" } else { "s" };
    let background = if p.classes() > labels { " and a background" } else { "" };
    let hint = families(p, [a, b]).map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("`boxes`: {output} ([{a}, {b}]) has rows of {width}{layout}; {row} with {labels} label{s}{background} needs {needed}{hint}")
}

fn row_text(parts: &[RowPart]) -> String {
    let words: Vec<String> = parts.iter().map(ToString::to_string).collect();
    format!("[{}]", words.join(", "))
}

/// What to write for a tensor of this shape, where one family gives such tensors, or two that the file does not tell apart; -1 is dynamic.
pub fn looks(p: &PostBoxes, shape: &[i64]) -> Option<String> {
    let [.., a, b] = shape else { return None };
    // No family has a width of 0, so what is dynamic fits none.
    let side = |d: &i64| usize::try_from(*d).unwrap_or(0);
    families(p, [side(a), side(b)])
}

fn families(p: &PostBoxes, [a, b]: [usize; 2]) -> Option<String> {
    let classes = p.classes();
    let mut found = Vec::new();
    for (layout, width) in [(RowLayout::Rows, b), (RowLayout::Columns, a)] {
        let (word, turned) = match layout {
            RowLayout::Rows => ("rows", "rows seem to be the rows"),
            RowLayout::Columns => ("columns", "columns seem to be the rows"),
        };
        let also = if layout == p.layout { String::new() } else { format!(" and `layout: {word}`") };
        if layout != p.layout && width == p.width() {
            found.push(format!("{turned}: write `layout: {word}`"));
            continue;
        }
        let raw = |more: u16| classes.checked_add(4 + usize::from(more)) == Some(width);
        let families: [(bool, &str, &[RowPart]); 4] = [
            (raw(0), "a YOLOv8 head", &[RowPart::Box, RowPart::Scores]),
            (raw(1), "a YOLOv5 head", &[RowPart::Box, RowPart::Objectness, RowPart::Scores]),
            (raw(MASKS), "a YOLOv8 head for masks", &[RowPart::Box, RowPart::Scores, RowPart::Skip(MASKS)]),
            (raw(KEYPOINTS), "a YOLOv8 head for keypoints", &[RowPart::Box, RowPart::Scores, RowPart::Skip(KEYPOINTS)]),
        ];
        for (fits, name, row) in families {
            if fits {
                found.push(format!("this looks like {name}: write `row: {}`{also}", row_text(row)));
            }
        }
        // Heads that end in the best rows have them as rows always.
        if layout == RowLayout::Rows {
            match width {
                6 => found.push(format!(
                    "six columns can be xyxy pixels (YOLO26, v10, nms=True) or cxcywh 0–1 (RT-DETR): \
                     write `row: [box, score, class]`{also} with `box` and `unit`"
                )),
                5 if classes != 1 => found.push(format!(
                    "this looks like MMDeploy: write `row: [box, score]`{also}, and in `beside` the output that holds the `class`"
                )),
                4 => found.push(format!("these are boxes alone: write `row: [box]`{also}, and in `beside` the outputs that hold the rest")),
                _ => {}
            }
        }
    }
    match found.as_slice() {
        [one] => Some(one.clone()),
        [one, other] => Some(format!("{one}; or {other}")),
        _ => None,
    }
}
