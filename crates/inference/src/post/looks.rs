//! What is said of a tensor of boxes whose width is not that of the rows.

use app_package::pipeline::{PostBoxes, RowLayout, RowPart, looks};

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
    let readings = looks(p.classes(), p.layout, needed, [a, b]).into_iter().map(|look| match look.family {
        "" => format!("write `{}`", look.keys),
        family => format!("this looks like {family}: write `{}`", look.keys),
    });
    let readings = readings.collect::<Vec<_>>().join("; or ");
    let hint = if readings.is_empty() { readings } else { format!("; {readings}") };
    format!("`boxes`: {output} ([{a}, {b}]) has rows of {width}{layout}; {row} with {labels} label{s}{background} needs {needed}{hint}")
}

fn row_text(parts: &[RowPart]) -> String {
    let words: Vec<String> = parts.iter().map(ToString::to_string).collect();
    format!("[{}]", words.join(", "))
}
