//! What reads neither a picture nor one tensor of numbers: sound with a state, an input for each column, and grids of classes.

use std::collections::BTreeMap;

use app_package::{
    manifest::InputKind,
    pipeline::{
        Activation, Background, Carried, Column, ColumnKind, Feed, FeedOf, Layout, Missing, ModelStep, Over, Post, PostSegments,
        PostValues, Pre, PreColumns, PreSound, ValueItem,
    },
};

use super::{
    Evidence, Proposal, Topic, ask,
    facts::{Facts, dims, fixed, is_float, is_integer, may_be, normalise},
    labels, say, shape,
    tables::{fill_gaps, proposals},
};
use crate::model_file::Header;

/// Most columns of a step, as `app.yaml` takes them.
const MAX_COLUMNS: usize = 60;
/// Cells on a side of a grid, at least: fewer are no picture.
const LEAST_CELLS: usize = 4;

/// `silero` of the table: windows of speech with a state that goes from one to the next.
pub fn silero(facts: &Facts<'_>) -> Vec<Proposal> {
    let taken = |name: &str| facts.inputs.iter().find(|input| input.name == name);
    let (Some(input), Some(output)) = (taken("input").filter(|input| is_float(input)), facts.outputs.first()) else { return Vec::new() };
    let pairs: &[(&str, &str)] = if taken("state").is_some() { &[("state", "stateN")] } else { &[("h", "hn"), ("c", "cn")] };
    let given = |name: &str| facts.outputs.iter().any(|output| output.name == name);
    if taken("sr").is_none() || !pairs.iter().all(|(into, from)| taken(into).is_some() && given(from)) {
        return Vec::new();
    }
    let carried = pairs.iter().map(|(into, from)| Carried { into: (*into).to_owned(), from: (*from).to_owned() });
    // Version 5 and later look back at the end of the window before: without it every answer is near 0.
    let context = if pairs.len() == 1 { 64 } else { 0 };
    let sound = PreSound { rate: 16_000, length: 512, context, hop: None, scale: 1.0, over: Over::Max, spectrum: None };
    let item = ValueItem::new("speech", say("语音", "Speech"));
    let post = PostValues { output: output.name.clone(), items: vec![item] };
    let step = ModelStep {
        feed: BTreeMap::from([("sr".to_owned(), Feed::Of(FeedOf::SampleRate))]),
        state: carried.collect(),
        ..ModelStep::of_model(Pre::Sound(sound), Some(input.name.clone()), vec![Post::Values(post)])
    };
    vec![Proposal {
        family: "silero",
        evidence: Evidence::Names,
        second: false,
        input: InputKind::Audio,
        step,
        because: vec![say(
            format!("输入 {}：silero VAD 的一窗声音、状态与采样率", shape(input)),
            format!("input {}: a window of sound, a state and the rate of silero VAD", shape(input)),
        )],
        questions: Vec::new(),
        notes: Vec::new(),
        files: Vec::new(),
    }]
}

/// `frame` of the table: an input for each column, as `skl2onnx` makes them of a `DataFrame`.
pub fn frame(facts: &Facts<'_>) -> Vec<Proposal> {
    let column = |input: &Header| dims::<2>(input).is_some_and(|[batch, n]| n == 1 && may_be(batch, 1));
    let known = |input: &Header| is_float(input) || is_integer(input) || input.datatype() == Some("BYTES");
    let all = facts.inputs.iter().all(|input| column(input) && known(input) && labels::plain(&input.name, 100) == input.name);
    if facts.inputs.len() < 2 || facts.inputs.len() > MAX_COLUMNS || !all {
        return Vec::new();
    }
    let of = |input: &Header| {
        let text = input.datatype() == Some("BYTES");
        let kind = if text { ColumnKind::Text } else { ColumnKind::Number };
        Column { kind, missing: Missing::Refuse, ..Column::plain(&input.name) }
    };
    let mut names: Vec<Column> = facts.inputs.iter().map(of).collect();
    let zh = "训练时允许缺值的列，请写 missing: nan（文字列写 missing: empty）";
    let en = "of columns that may be empty as they were in training, write missing: nan (of texts missing: empty)";
    let mut questions = vec![ask(Topic::Columns, zh, en, "refuse")];
    fill_gaps(facts, &mut names, Missing::Nan, &mut questions);
    let pre = Pre::Columns(PreColumns { names, each: true });
    let n = facts.inputs.len();
    let because = say(format!("{n} 个输入：每列一个"), format!("{n} inputs, one for each column"));
    proposals(facts, ("frame", InputKind::Tabular), None, &pre, &because, &questions)
}

/// `segments` of the table: a class for each cell of a picture.
pub fn segments(facts: &Facts<'_>) -> Vec<Proposal> {
    let (Some(picture), Some(output)) = (facts.only_picture(), facts.outputs.iter().find(|output| is_float(output))) else {
        return Vec::new();
    };
    let Some([batch, classes, h, w]) = dims::<4>(output) else { return Vec::new() };
    let grid = [h, w].iter().all(|side| fixed(*side).is_none_or(|side| side >= LEAST_CELLS));
    // Auxiliary heads of torchvision give the same again.
    let same = facts.outputs.iter().all(|other| dims::<4>(other).is_some_and(|[_, n, ..]| n == classes));
    let Some(count) = fixed(classes).filter(|n| (2..=labels::MAX_LABELS).contains(n)) else { return Vec::new() };
    if !may_be(batch, 1) || !grid || !same || facts.ultralytics.is_some() {
        return Vec::new();
    }
    let mut questions = Vec::new();
    // A class for what is none of the labels is mostly the first.
    let background = if facts.named().is_none_or(|n| n == count) { Background::None } else { Background::First };
    let named = count - usize::from(background == Background::First);
    let Some(labels) = labels::resolve(facts, Some(named), &mut questions) else { return Vec::new() };
    let mut image = facts.image(picture, 512, &mut questions);
    normalise(&mut image);
    let zh = "请对照训练代码：缩放、通道顺序、除数、均值与标准差";
    let en = "see the training code for resizing, the order of channels, the divisor, mean and std";
    questions.push(ask(Topic::Picture, zh, en, "rgb, /255, ImageNet, stretch"));
    if background == Background::None {
        let zh = "若有一类表示“背景”，请从 labels 中删去，并写 background: first 或 last";
        let en = "where a class stands for nothing, take it out of labels and write background: first or last";
        questions.push(ask(Topic::Background, zh, en, "none"));
    }
    let post = PostSegments {
        output: output.name.clone(),
        labels,
        background,
        activation: Activation::Softmax,
        layout: Layout::Nchw,
        score: 0.0,
        least: 0.0,
    };
    let because = say(
        format!("输出 {}：每格 {count} 类的得分", shape(output)),
        format!("output {}: scores of {count} classes for each cell", shape(output)),
    );
    vec![Proposal::of_picture("segments", Evidence::Shape, (picture, image), Post::Segments(post), vec![because], questions)]
}
