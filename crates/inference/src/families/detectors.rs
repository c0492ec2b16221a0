//! Detectors of other exporters: `YOLOv5`, YOLOX, the DETR family, `PaddleDetection`, `MMDetection`, torchvision.

use app_package::{
    pipeline::{Activation, Align, Background, Beside, BoxForm, BoxGrid, BoxUnit, Color, Feed, FeedOf, Filter, Post, RowPart},
    text::Text,
};

use super::{
    Evidence, Proposal, Topic, ask,
    facts::{Facts, Picture, boxes, dims, fixed, is_float, is_integer, letterbox, may_be, normalise},
    labels, say, tensor,
};
use crate::model_file::Header;

/// What an output's name and shape say.
fn seen(output: &Header, zh: &str, en: &str) -> Text {
    let output = tensor(output);
    say(format!("输出 {output}：{zh}"), format!("output {output}: {en}"))
}

/// Rows `[1, n, 5 + labels]`: their output, number and labels.
fn rows<'a>(facts: &Facts<'a>) -> Option<(Picture, &'a Header, Option<usize>, usize)> {
    let picture = facts.only_picture()?.clone();
    // Exports of YOLOv5 before 6.1 have the raw grids beside the rows.
    let (output, grids) = facts.outputs.split_first()?;
    if grids.iter().any(|grid| dims::<5>(grid).is_none()) {
        return None;
    }
    let [batch, n, width] = dims::<3>(output)?;
    let classes = fixed(width)?.checked_sub(5).filter(|classes| *classes > 0)?;
    let tall = fixed(n).is_none_or(|n| n > classes + 5 && n != 300);
    (is_float(output) && may_be(batch, 1) && tall && facts.ultralytics.is_none()).then_some((picture, output, fixed(n), classes))
}

/// Cells of 8, 16 and 32 pixels in a picture whose size the file fixes.
fn cells(picture: &Picture) -> Option<usize> {
    let (width, height) = (usize::try_from(picture.width?).ok()?, usize::try_from(picture.height?).ok()?);
    Some([8, 16, 32].iter().map(|stride| (width / stride) * (height / stride)).sum())
}

/// `yolov5` of the table: rows with an objectness; three anchors a cell.
pub fn yolov5(facts: &Facts<'_>) -> Vec<Proposal> {
    let Some((picture, output, n, _)) = rows(facts) else { return Vec::new() };
    let cells = cells(&picture);
    let (fits, differs) = match (n, cells) {
        (Some(n), Some(cells)) => (n == 3 * cells, n == cells),
        _ => (false, false),
    };
    let metadata = facts.metadata.get("stride").is_some() && facts.names.is_some();
    let mut because = vec![seen(output, "每行：框、目标置信度、各类得分", "rows of box, objectness, a score per label")];
    if metadata {
        because.push(say("元数据只有 stride 与 names", "the metadata are stride and names alone"));
    }
    if fits {
        because.push(say("行数为每格三个锚框", "as many rows as three anchors a cell"));
    }
    let mut proposal = decoded("yolov5", facts, &picture, output, because);
    if let Some(proposal) = &mut proposal {
        proposal.evidence = if metadata { Evidence::Metadata } else { Evidence::Shape };
        if differs {
            // As YOLOv6 exports: a box for each cell, decoded in the graph.
            proposal.second = !metadata;
            let (zh, en) = (
                "行数为每格一个框：若检测框在图中已解码（YOLOv6），用这一种",
                "a row for each cell: right where the graph decodes the boxes (YOLOv6)",
            );
            proposal.because.push(say(zh, en));
        }
    }
    proposal.into_iter().collect()
}

fn decoded(family: &'static str, facts: &Facts<'_>, picture: &Picture, output: &Header, because: Vec<Text>) -> Option<Proposal> {
    let mut questions = Vec::new();
    let [_, _, width] = dims::<3>(output)?;
    let labels = labels::resolve(facts, fixed(width)?.checked_sub(5), &mut questions)?;
    let mut image = facts.image(picture, 640, &mut questions);
    letterbox(&mut image, Align::Center);
    let row = vec![RowPart::Box, RowPart::Objectness, RowPart::Scores];
    let mut post = boxes(&output.name, labels, row, BoxForm::Cxcywh, BoxUnit::Pixels);
    post.iou = Some(0.45);
    Some(Proposal::of_picture(family, Evidence::Shape, (picture, image), Post::Boxes(post), because, questions))
}

/// `yolox` of the table: rows as `YOLOv5` has them, to be decoded by their cell; one a cell.
pub fn yolox(facts: &Facts<'_>) -> Vec<Proposal> {
    let Some((picture, output, n, _)) = rows(facts) else { return Vec::new() };
    let one_a_cell = match (n, cells(&picture)) {
        (Some(n), Some(cells)) if n == cells => true,
        (Some(n), Some(cells)) if n == 3 * cells => return Vec::new(),
        _ => false,
    };
    let mut because = vec![seen(output, "每行：框、目标置信度、各类得分", "rows of box, objectness, a score per label")];
    because.push(if one_a_cell {
        say("行数为每格一个框（步长 8、16、32），未解码", "a row for each cell of strides 8, 16 and 32, not decoded")
    } else {
        say("行数未固定：也可能是 YOLOX", "the number of rows is open: it may be a YOLOX")
    });
    let Some(mut proposal) = decoded("yolox", facts, &picture, output, because) else { return Vec::new() };
    if let (app_package::pipeline::Pre::Image(image), Some(Post::Boxes(post))) = (&mut proposal.step.pre, proposal.step.post.first_mut()) {
        letterbox(image, Align::TopLeft);
        (image.color, image.scale) = (if picture.gray { Color::Gray } else { Color::Bgr }, 1.0);
        post.grid = BoxGrid::Yolox;
    }
    proposal.second = !one_a_cell;
    vec![proposal]
}

/// `dfine` of the table: labels, boxes and scores of the source picture, whose size goes in.
pub fn dfine(facts: &Facts<'_>) -> Vec<Proposal> {
    let Some(picture) = &facts.picture else { return Vec::new() };
    let sizes = facts.others().collect::<Vec<_>>();
    let [sizes] = sizes.as_slice() else { return Vec::new() };
    let found = (facts.float("boxes"), facts.integer("labels"), facts.float("scores"));
    let (Some(output), Some(_), Some(_)) = found else { return Vec::new() };
    if sizes.name != "orig_target_sizes" || !is_integer(sizes) {
        return Vec::new();
    }
    let mut questions = Vec::new();
    let Some(labels) = labels::resolve(facts, None, &mut questions) else { return Vec::new() };
    let mut image = facts.image(picture, 640, &mut questions);
    image.filter = Filter::LinearAntialias;
    let mut post = boxes(&output.name, labels, vec![RowPart::Box], BoxForm::Xyxy, BoxUnit::Source);
    post.beside = Beside { class: Some("labels".into()), score: Some("scores".into()), ..Beside::default() };
    let because = vec![
        say(
            "输入 images 与 orig_target_sizes（源图像的宽、高）",
            "input orig_target_sizes beside the picture: width and height of the source",
        ),
        seen(output, "源图像的像素坐标；另有 labels 与 scores", "pixels of the source picture, with labels and scores beside"),
    ];
    let mut proposal = Proposal::of_picture("dfine", Evidence::Names, (picture, image), Post::Boxes(post), because, questions);
    proposal.step.feed.insert(sizes.name.clone(), Feed::Of(FeedOf::SourceSizeWh));
    vec![proposal]
}

/// `detr` of the table: boxes as shares and logits, two tensors.
pub fn detr(facts: &Facts<'_>) -> Vec<Proposal> {
    let Some(picture) = &facts.picture else { return Vec::new() };
    let pair = |boxes: &str, logits: &str| Some((facts.float(boxes)?, facts.float(logits)?));
    let (output, logits, hugging) = match (pair("dets", "labels"), pair("pred_boxes", "logits")) {
        (Some((boxes, logits)), _) => (boxes, logits, false),
        (None, Some((boxes, logits))) => (boxes, logits, true),
        _ => return Vec::new(),
    };
    let (Some([_, _, four]), Some([_, _, width])) = (dims::<3>(output), dims::<3>(logits)) else { return Vec::new() };
    let others: Vec<&Header> = facts.others().collect();
    let masked = matches!(others.as_slice(), [mask] if mask.name == "pixel_mask");
    if !may_be(four, 4) || !(others.is_empty() || masked) {
        return Vec::new();
    }
    let make = |background: bool, softmax: bool, plain: bool| {
        let mut questions = Vec::new();
        let count = fixed(width).map(|width| width.saturating_sub(usize::from(background)));
        let labels = labels::resolve(facts, count, &mut questions)?;
        let mut image = facts.image(picture, 640, &mut questions);
        image.filter = if hugging { Filter::LinearAntialias } else { Filter::LinearFloat };
        if !plain {
            normalise(&mut image);
        }
        let mut post = boxes(&output.name, labels, vec![RowPart::Box], BoxForm::Cxcywh, BoxUnit::Relative);
        post.beside.scores = Some(logits.name.clone());
        post.activation = if softmax { Activation::Softmax } else { Activation::Sigmoid };
        if background {
            post.background = Background::Last;
        }
        Some((image, post, questions))
    };
    let because = vec![
        seen(output, "中心与宽高（0–1）", "centre and size as shares of the picture"),
        seen(logits, "各类的 logit", "a logit per label"),
    ];
    let mut out = Vec::new();
    if hugging {
        // RT-DETR of Hugging Face takes the picture alone and has no class for nothing; DETR has one, and mostly a mask of the border.
        let readings = if masked { vec![(true, true, false)] } else { vec![(false, false, true), (true, true, false)] };
        for (at, (background, softmax, plain)) in readings.into_iter().enumerate() {
            let Some((image, post, mut questions)) = make(background, softmax, plain) else { continue };
            let default = if softmax { "softmax, background last" } else { "sigmoid, no background" };
            let zh = "请对照 preprocessor_config.json：RT-DETR 用 sigmoid，DETR 用 softmax 且最后一类为背景";
            let en = "see preprocessor_config.json: RT-DETR has sigmoid, DETR softmax with a last class for nothing";
            questions.push(ask(Topic::Activation, zh, en, default));
            let mut proposal =
                Proposal::of_picture("detr", Evidence::Names, (picture, image), Post::Boxes(post), because.clone(), questions);
            proposal.second = at > 0;
            if masked {
                proposal.step.feed.insert("pixel_mask".into(), Feed::Number(1.0));
            }
            out.push(proposal);
        }
        return out;
    }
    // With as many labels as slots none is left for nothing.
    let (slots, known) = (fixed(width), facts.named());
    let background = slots.is_none() || known != slots;
    let sure = slots.is_some() && (known == slots || known.map(|n| n + 1) == slots);
    if let Some((image, post, mut questions)) = make(background, false, false) {
        if !sure {
            let zh = "类别数是否包含一个“无目标”槽位（last、first 或 none）？";
            let en = "does one of the slots stand for nothing (last, first or none)?";
            questions.push(ask(Topic::Background, zh, en, "last"));
        }
        out.push(Proposal::of_picture("detr", Evidence::Names, (picture, image), Post::Boxes(post), because, questions));
    }
    out
}

/// `paddle` of the table: class, score and corners in the source picture, the scale goes in.
pub fn paddle(facts: &Facts<'_>) -> Vec<Proposal> {
    let Some(picture) = &facts.picture else { return Vec::new() };
    let others: Vec<&Header> = facts.others().collect();
    let named = |name: &str| others.iter().any(|input| input.name == name && is_float(input));
    if !named("scale_factor") || others.iter().any(|input| !matches!(input.name.as_str(), "scale_factor" | "im_shape")) {
        return Vec::new();
    }
    let is_rows =
        |output: &&Header| is_float(output) && output.shape.as_ref().is_none_or(|s| s.len() == 2 && s.last().is_none_or(|n| may_be(*n, 6)));
    let Some(output) = facts.outputs.iter().find(is_rows) else { return Vec::new() };
    let count = facts.outputs.iter().find(|output| is_integer(output));
    if facts.outputs.len() > 2 {
        return Vec::new();
    }
    let mut questions = Vec::new();
    let Some(labels) = labels::resolve(facts, None, &mut questions) else { return Vec::new() };
    let mut image = facts.image(picture, 640, &mut questions);
    image.filter = Filter::Cubic;
    normalise(&mut image);
    let zh = "请对照 infer_cfg.yml：插值 interp、均值 mean、标准差 std（norm_type: none 时二者为空）";
    let en = "see infer_cfg.yml for interp, mean and std (with norm_type: none there is neither)";
    questions.push(ask(Topic::Picture, zh, en, "cubic, ImageNet"));
    let row = vec![RowPart::Class, RowPart::Score, RowPart::Box];
    let mut post = boxes(&output.name, labels, row, BoxForm::Xyxy, BoxUnit::Source);
    post.beside.count = count.map(|count| count.name.clone());
    let because = vec![
        say("输入 scale_factor（纵、横缩放比）", "input scale_factor beside the picture: scale of height and width"),
        seen(output, "每行：类别、得分、源图像的像素坐标", "rows of class, score, corners in the source picture"),
    ];
    let mut proposal = Proposal::of_picture("paddle", Evidence::Names, (picture, image), Post::Boxes(post), because, questions);
    proposal.step.feed.insert("scale_factor".into(), Feed::Of(FeedOf::ScaleYx));
    if named("im_shape") {
        proposal.step.feed.insert("im_shape".into(), Feed::Of(FeedOf::TensorSize));
    }
    vec![proposal]
}

/// `mmdet` of the table: boxes with their score, classes beside.
pub fn mmdet(facts: &Facts<'_>) -> Vec<Proposal> {
    let (Some(picture), Some(output)) = (facts.only_picture(), facts.float("dets")) else { return Vec::new() };
    if !dims::<3>(output).is_some_and(|[_, _, five]| may_be(five, 5)) || facts.integer("labels").is_none() {
        return Vec::new();
    }
    let mut questions = Vec::new();
    let Some(labels) = labels::resolve(facts, None, &mut questions) else { return Vec::new() };
    let mut image = facts.image(picture, 640, &mut questions);
    letterbox(&mut image, Align::TopLeft);
    // The border is 0 after the mean is taken off.
    (image.fill, image.scale) = (vec![124, 116, 104], 1.0);
    if !picture.gray {
        (image.mean, image.std) = (vec![123.675, 116.28, 103.53], vec![58.395, 57.12, 57.375]);
    }
    let zh = "请对照 pipeline.json：缩放、填充、通道顺序（to_rgb）、均值与标准差";
    let en = "see pipeline.json for resizing, padding, the order of channels (to_rgb), mean and std";
    questions.push(ask(Topic::Picture, zh, en, "letterbox top-left, rgb, 0–255, ImageNet"));
    let mut post = boxes(&output.name, labels, vec![RowPart::Box, RowPart::Score], BoxForm::Xyxy, BoxUnit::Pixels);
    post.beside.class = Some("labels".into());
    let because = vec![seen(output, "每行：像素坐标与得分；另有 labels", "rows of corners and score, with labels beside")];
    vec![Proposal::of_picture("mmdet", Evidence::Names, (picture, image), Post::Boxes(post), because, questions)]
}

/// `torchvision` of the table: boxes, labels from 1, scores.
pub fn torchvision(facts: &Facts<'_>) -> Vec<Proposal> {
    let found = (facts.float("boxes"), facts.integer("labels"), facts.float("scores"));
    let (Some(picture), (Some(output), Some(_), Some(_))) = (facts.only_picture(), found) else { return Vec::new() };
    let mut questions = Vec::new();
    let Some(labels) = labels::resolve(facts, None, &mut questions) else { return Vec::new() };
    let mut image = facts.image(picture, 800, &mut questions);
    letterbox(&mut image, Align::TopLeft);
    image.fill = vec![0];
    let zh = "模型自己缩放图像；这里只保持比例放进固定的大小";
    let en = "the model resizes by itself; here the picture is only fitted into a fixed size with its ratio kept";
    questions.push(ask(Topic::Picture, zh, en, "letterbox top-left"));
    let mut post = boxes(&output.name, labels, vec![RowPart::Box], BoxForm::Xyxy, BoxUnit::Pixels);
    post.beside = Beside { class: Some("labels".into()), score: Some("scores".into()), ..Beside::default() };
    post.background = Background::First;
    let because =
        vec![seen(output, "像素坐标；另有 labels（从 1 起）与 scores", "corners in pixels, with labels from 1 and scores beside")];
    vec![Proposal::of_picture("torchvision", Evidence::Names, (picture, image), Post::Boxes(post), because, questions)]
}
