//! Exports of Ultralytics: raw heads in columns, final rows, and RT-DETR, which looks like them.
//!
//! The name of a model says nothing: a YOLO26 comes with final rows or raw, and a raw head of two labels has six columns as final rows have
//! six numbers. The exporter's metadata decide, then widths; what neither tells is given in both readings.

use std::collections::HashSet;

use app_package::{
    pipeline::{Activation, Align, BoxForm, BoxUnit, Filter, Fit, Keypoints, Post, PostClasses, RowLayout, RowPart},
    text::Text,
};

use super::{
    Evidence, Proposal, Question,
    facts::{Facts, Picture, Ultralytics, boxes, dims, fixed, is_float, letterbox, may_be},
    labels, say, tensor,
};
use crate::model_file::Header;

/// Rows that final heads give at most, and that RT-DETR gives.
const FINAL_ROWS: usize = 300;
/// Fewest boxes of a raw head: a picture of 64 pixels gives 84.
const LEAST_CELLS: usize = 64;

/// What follows box and scores in a row.
#[derive(Default)]
struct Extra {
    width: usize,
    part: Option<RowPart>,
    prototypes: Option<String>,
    keypoints: Option<Keypoints>,
}

/// The joints of COCO, which a pose of 17 points has.
const JOINTS: [&str; 17] = [
    "nose",
    "left-eye",
    "right-eye",
    "left-ear",
    "right-ear",
    "left-shoulder",
    "right-shoulder",
    "left-elbow",
    "right-elbow",
    "left-wrist",
    "right-wrist",
    "left-hip",
    "right-hip",
    "left-knee",
    "right-knee",
    "left-ankle",
    "right-ankle",
];

fn extra(facts: &Facts<'_>, task: &str, said: Option<&Ultralytics>) -> Extra {
    let prototypes = facts.outputs.iter().skip(1).find_map(|output| {
        let [_, n, ..] = dims::<4>(output)?;
        Some((output.name.clone(), fixed(n).filter(|n| is_float(output) && *n < 1_000)?))
    });
    match (task, prototypes) {
        ("segment" | "", Some((name, width))) => {
            Extra { width, part: u16::try_from(width).ok().map(RowPart::Masks), prototypes: Some(name), keypoints: None }
        }
        ("pose", _) => {
            let (count, dims) = said.and_then(|said| said.keypoints).unwrap_or((JOINTS.len(), 3));
            let keypoints = Keypoints { names: points(count, said), dims };
            Extra { width: keypoints.width(), part: Some(RowPart::Keypoints), prototypes: None, keypoints: Some(keypoints) }
        }
        ("obb", _) => Extra { width: 1, part: Some(RowPart::Angle), ..Extra::default() },
        _ => Extra::default(),
    }
}

/// Names of so many points: the exporter's, else COCO's, else numbers.
fn points(count: usize, said: Option<&Ultralytics>) -> Vec<String> {
    let given = said.and_then(|said| said.points.as_ref()).filter(|names| names.len() == count);
    let slugs: Vec<String> = given.into_iter().flatten().map(|name| labels::slug(name, 60)).collect();
    let distinct = slugs.iter().all(|slug| !slug.is_empty()) && slugs.iter().collect::<HashSet<_>>().len() == count;
    if distinct && !slugs.is_empty() {
        return slugs;
    }
    if count == JOINTS.len() { JOINTS.map(str::to_owned).to_vec() } else { (1..=count).map(|n| format!("point-{n}")).collect() }
}

/// A reading of the rows.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Raw,
    Final,
    RtDetr,
    /// As RT-DETR was exported before Ultralytics 8.4.
    RtDetrScores,
}

/// The readings that fit, the likelier first.
fn readings(facts: &Facts<'_>, said: Option<&Ultralytics>, [a, b]: [i64; 2], extra: usize) -> Vec<Reading> {
    let plain = Ultralytics::default();
    let known = said.unwrap_or(&plain);
    let classes = facts.named();
    let six = may_be(b, 6 + extra);
    let wide = fixed(b).is_some_and(|b| b > 4 && classes.is_none_or(|c| b == 4 + c));
    let old = known.version.is_some_and(|version| version < (8, 4));
    if known.rtdetr == Some(true) {
        // With two labels six numbers are either.
        return match (six, wide) {
            (true, true) if known.version.is_none() => vec![Reading::RtDetr, Reading::RtDetrScores],
            (true, true) if old => vec![Reading::RtDetrScores, Reading::RtDetr],
            (true, _) => vec![Reading::RtDetr],
            (false, true) => vec![Reading::RtDetrScores],
            _ => Vec::new(),
        };
    }
    let six_alone = fixed(b) == Some(6 + extra) && fixed(a) != classes.map(|c| 4 + c + extra);
    if known.end2end == Some(true) || known.nms == Some(true) {
        return if six { vec![Reading::Final] } else { Vec::new() };
    }
    // Metadata without a head are of a release that wrote none, so RT-DETR stays possible; with another head it is not.
    let may_be_rtdetr = extra == 0 && known.rtdetr.is_none();
    if six_alone && fixed(a).is_none_or(|a| a <= 1_000) {
        return match (known.end2end, known.nms) {
            (Some(false), Some(false)) if may_be_rtdetr => vec![Reading::RtDetr],
            (Some(false), _) if may_be_rtdetr => vec![Reading::RtDetr, Reading::Final],
            _ if may_be_rtdetr => vec![Reading::Final, Reading::RtDetr],
            _ => vec![Reading::Final],
        };
    }
    if may_be_rtdetr && wide && fixed(a) == Some(FINAL_ROWS) && fixed(b) != Some(6) {
        return vec![Reading::RtDetrScores];
    }
    let columns = match (fixed(a), fixed(b)) {
        (Some(a), Some(b)) => a < b,
        (Some(a), None) => a <= labels::MAX_LABELS + 4 + extra,
        (None, Some(_)) => false,
        (None, None) => said.is_some(),
    };
    let mut found = Vec::new();
    // Without the exporter's words a few columns are no cells of a picture.
    let many = said.is_some() || fixed(b).is_none_or(|b| b >= LEAST_CELLS);
    if columns && many && fixed(a).is_none_or(|a| a > 4 + extra) {
        found.push(Reading::Raw);
    }
    if fixed(b).is_none() && fixed(a).is_none() && said.is_some() && known.end2end.is_none() {
        found.push(Reading::Final);
    }
    found
}

/// `yolo` of the table.
pub fn yolo(facts: &Facts<'_>) -> Vec<Proposal> {
    read(facts).into_iter().filter(|proposal| proposal.family == "yolo").collect()
}

/// `rtdetr-ul` of the table.
pub fn rtdetr(facts: &Facts<'_>) -> Vec<Proposal> {
    read(facts).into_iter().filter(|proposal| proposal.family == "rtdetr-ul").collect()
}

fn read(facts: &Facts<'_>) -> Vec<Proposal> {
    let (Some(picture), Some(output)) = (facts.only_picture(), facts.outputs.first()) else { return Vec::new() };
    let said = facts.ultralytics.as_ref();
    let task = said.map_or("", |said| said.task.as_str());
    if task == "classify" {
        return classify(facts, picture, output).into_iter().collect();
    }
    let Some([batch, a, b]) = dims::<3>(output) else { return Vec::new() };
    if !is_float(output) || !may_be(batch, 1) || (said.is_none() && facts.metadata.get("stride").is_some()) {
        return Vec::new();
    }
    let extra = extra(facts, task, said);
    // Without the exporter's words, outputs beside the first are those of masks or of another family.
    if said.is_none() && facts.outputs.len() > 1 + usize::from(extra.width > 0) {
        return Vec::new();
    }
    let found = readings(facts, said, [a, b], extra.width);
    let several = found.len() > 1;
    let proposals = found.into_iter().filter_map(|reading| detector(facts, picture, output, reading, &extra, several));
    proposals.enumerate().map(|(at, proposal)| Proposal { second: at > 0, ..proposal }).collect()
}

fn detector(facts: &Facts<'_>, picture: &Picture, output: &Header, reading: Reading, extra: &Extra, several: bool) -> Option<Proposal> {
    let mut questions = Vec::new();
    let [_, a, b] = dims::<3>(output)?;
    let scores = |width: i64, rest: usize| fixed(width).and_then(|width| width.checked_sub(4 + rest));
    let count = match reading {
        Reading::Raw => scores(a, extra.width),
        Reading::RtDetrScores => scores(b, 0),
        Reading::Final | Reading::RtDetr => None,
    };
    let labels = labels::resolve(facts, count, &mut questions)?;
    let mut image = facts.image(picture, 640, &mut questions);
    let mut row = match reading {
        Reading::Raw | Reading::RtDetrScores => vec![RowPart::Box, RowPart::Scores],
        Reading::Final | Reading::RtDetr => vec![RowPart::Box, RowPart::Score, RowPart::Class],
    };
    row.extend(extra.part);
    let is_yolo = matches!(reading, Reading::Raw | Reading::Final);
    let obb = facts.ultralytics.as_ref().is_some_and(|said| said.task == "obb");
    let (form, unit) = match reading {
        Reading::Final if !obb => (BoxForm::Xyxy, BoxUnit::Pixels),
        Reading::Raw | Reading::Final => (BoxForm::Cxcywh, BoxUnit::Pixels),
        Reading::RtDetr | Reading::RtDetrScores => (BoxForm::Cxcywh, BoxUnit::Relative),
    };
    let mut post = boxes(&output.name, labels, row, form, unit);
    (post.prototypes, post.keypoints) = (extra.prototypes.clone(), extra.keypoints.clone());
    if is_yolo {
        letterbox(&mut image, Align::Center);
    }
    if reading == Reading::Raw {
        (post.layout, post.iou) = (RowLayout::Columns, Some(0.7));
    }
    let family = if is_yolo { "yolo" } else { "rtdetr-ul" };
    let evidence = if facts.ultralytics.is_some() { Evidence::Metadata } else { Evidence::Shape };
    let because = because(facts, output, reading);
    let mut proposal = Proposal::of_picture(family, evidence, (picture, image), Post::Boxes(post), because, questions);
    if several {
        let (zh, en) = (
            "文件没有写明是哪一种；请用含有目标的图片核对检测框的位置",
            "the file does not say which of the readings it is; look at the boxes of a picture with an object",
        );
        proposal.notes.push(say(zh, en));
    }
    Some(proposal)
}

fn because(facts: &Facts<'_>, output: &Header, reading: Reading) -> Vec<Text> {
    let mut out = Vec::new();
    if let Some(said) = &facts.ultralytics {
        let version = said.version.map(|(major, minor)| format!(" {major}.{minor}")).unwrap_or_default();
        let task = if said.task.is_empty() { String::new() } else { format!(", task {}", labels::plain(&said.task, 40)) };
        out.push(say(format!("元数据：Ultralytics{version}{task}"), format!("metadata: Ultralytics{version}{task}")));
        let flags = [("end2end", said.end2end), ("nms", said.nms), ("RT-DETR head", said.rtdetr)];
        for (name, flag) in flags.into_iter().filter_map(|(name, flag)| Some((name, flag?))) {
            out.push(say(format!("元数据：{name} = {flag}"), format!("metadata: {name} is {flag}")));
        }
    } else {
        out.push(say("文件没有导出程序的元数据，只能看形状", "the file has no words of its exporter; the shapes alone tell"));
    }
    let (zh, en) = match reading {
        Reading::Raw => ("每列一个框：中心与宽高（像素），各类得分", "a box in each column: centre and size in pixels, a score per label"),
        Reading::Final => ("每行一个最终的框：像素坐标，得分，类别", "a final box in each row: pixels, score, class"),
        Reading::RtDetr => ("每行一个框：中心与宽高（0–1），得分，类别", "a box in each row: centre and size as shares, score, class"),
        Reading::RtDetrScores => {
            ("每行一个框：中心与宽高（0–1），各类得分", "a box in each row: centre and size as shares, a score per label")
        }
    };
    let output = tensor(output);
    out.push(say(format!("输出 {output}：{zh}"), format!("output {output}: {en}")));
    out
}

fn classify(facts: &Facts<'_>, picture: &Picture, output: &Header) -> Option<Proposal> {
    let [_, count] = dims::<2>(output)?;
    let mut questions: Vec<Question> = Vec::new();
    let labels = labels::resolve(facts, fixed(count), &mut questions)?;
    let mut image = facts.image(picture, 224, &mut questions);
    (image.fit, image.filter) = (Fit::Crop, Filter::LinearAntialias);
    let post = PostClasses { output: output.name.clone(), labels, softmax: None, activation: Activation::None, top: None };
    let output = tensor(output);
    let because = vec![
        say("元数据：Ultralytics, task classify", "metadata: Ultralytics, task classify"),
        say(format!("输出 {output}：概率，softmax 已在图中"), format!("output {output}: probabilities, softmax is in the graph")),
    ];
    Some(Proposal::of_picture("yolo", Evidence::Metadata, (picture, image), Post::Classes(post), because, questions))
}
