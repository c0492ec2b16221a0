//! Each family by a signature made by hand, with what the references say of its tensors.

mod hostile;
mod written;

use app_package::pipeline::{
    Activation, Align, Background, BoxForm, BoxGrid, BoxUnit, Color, Feed, FeedOf, Filter, Fit, Layout, Post, PostBoxes, PostClasses, Pre,
    PreImage, RowLayout, WindowLayout,
};

use super::*;
use crate::model_file::Header;

pub(super) const F32: u64 = 1;
pub(super) const I32: u64 = 6;
pub(super) const I64: u64 = 7;
pub(super) const TEXT: u64 = 8;

pub(super) type Tensors<'a> = &'a [(&'a str, u64, &'a [i64])];

pub(super) fn signature(inputs: Tensors<'_>, outputs: Tensors<'_>) -> Signature {
    let headers = |tensors: Tensors<'_>| {
        let header = |(name, element, shape): &(&str, u64, &[i64])| Header {
            name: (*name).to_owned(),
            element: *element,
            shape: Some(shape.to_vec()),
        };
        tensors.iter().map(header).collect()
    };
    let mut signature = Signature::default();
    (signature.inputs, signature.outputs) = (headers(inputs), headers(outputs));
    signature
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs.iter().copied().collect()
}

/// What Ultralytics' exporter writes, and more.
pub(super) fn ultralytics(task: &str, names: &str, more: &[(&str, &str)]) -> Metadata {
    let pairs =
        [("author", "Ultralytics"), ("task", task), ("stride", "32"), ("names", names), ("imgsz", "[320, 640]"), ("version", "8.4.190")];
    pairs.iter().chain(more).copied().collect()
}

/// The readings where the developer knows nothing beside the file.
pub(super) fn plainly(signature: &Signature, metadata: &Metadata) -> Vec<Proposal> {
    recognise(signature, metadata, &Given::default())
}

fn read(inputs: Tensors<'_>, outputs: Tensors<'_>, metadata: &Metadata) -> Vec<Proposal> {
    plainly(&signature(inputs, outputs), metadata)
}

/// The readings of a model that takes a picture of 640×640.
fn of_picture(outputs: Tensors<'_>, metadata: &Metadata) -> Vec<Proposal> {
    read(&[("images", F32, &[1, 3, 640, 640])], outputs, metadata)
}

fn families(found: &[Proposal]) -> Vec<&'static str> {
    found.iter().map(|proposal| proposal.family).collect()
}

fn asked(proposal: &Proposal) -> Vec<Topic> {
    proposal.questions.iter().map(|question| question.about).collect()
}

fn boxes(proposal: &Proposal) -> &PostBoxes {
    let Some(Post::Boxes(boxes)) = proposal.step.post.first() else { panic!("{proposal:?}") };
    boxes
}

fn classes(proposal: &Proposal) -> &PostClasses {
    let Some(Post::Classes(classes)) = proposal.step.post.first() else { panic!("{proposal:?}") };
    classes
}

fn image(proposal: &Proposal) -> &PreImage {
    let Pre::Image(image) = &proposal.step.pre else { panic!("{proposal:?}") };
    image
}

fn row(proposal: &Proposal) -> String {
    boxes(proposal).parts().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn ids(labels: &[app_package::pipeline::Label]) -> Vec<&str> {
    labels.iter().map(|label| label.id.as_str()).collect()
}

const TWO: &str = "{0: 'helmet', 1: \"head: 'bare'\"}";

#[test]
fn raw_heads_of_ultralytics() {
    // Two labels: six rows of anchors, which only the metadata tell from six numbers of final rows.
    let raw = read(
        &[("images", F32, &[1, 3, 160, 160])],
        &[("output0", F32, &[1, 6, 525])],
        &ultralytics("detect", TWO, &[("end2end", "False")]),
    );
    let [only] = raw.as_slice() else { panic!("{raw:?}") };
    assert_eq!((only.family, only.evidence, row(only).as_str()), ("yolo", Evidence::Metadata, "box scores"));
    let post = boxes(only);
    assert_eq!((post.layout, post.form, post.unit, post.iou), (RowLayout::Columns, BoxForm::Cxcywh, BoxUnit::Pixels, Some(0.7)));
    assert_eq!(ids(&post.labels), ["helmet", "head-bare"]);
    assert_eq!(post.labels[1].text.en, "head: 'bare'");
    assert_eq!(only.questions, []);
    let pre = image(only);
    assert_eq!(
        (pre.width, pre.height, pre.fit, pre.align, pre.fill.as_slice()),
        (160, 160, Fit::Letterbox, Align::Center, [114].as_slice())
    );
    assert_eq!((pre.filter, pre.color, pre.scale, pre.layout), (Filter::Linear, Color::Rgb, 255.0, Layout::Nchw));
    assert_eq!(only.step.into.as_deref(), Some("images"));
    assert_eq!(only.step.outputs[0].shape, [1, 6, 525]);
    // Where the shape is open the size is that of the metadata, height first.
    let open = read(&[("images", F32, &[-1, 3, -1, -1])], &[("output0", F32, &[-1, 6, -1])], &ultralytics("detect", TWO, &[]));
    assert_eq!((image(&open[0]).width, image(&open[0]).height, families(&open)), (640, 320, vec!["yolo"]));
    assert_eq!(open[0].questions, []);
}

#[test]
fn final_rows_of_ultralytics() {
    let six: Tensors<'_> = &[("output0", F32, &[1, 300, 6])];
    let names = "{0: 'a', 1: 'b', 2: 'c'}";
    let found = of_picture(six, &ultralytics("detect", names, &[("end2end", "True")]));
    assert_eq!(families(&found), ["yolo"]);
    assert_eq!(row(&found[0]), "box score class");
    let post = boxes(&found[0]);
    assert_eq!((post.form, post.unit, post.iou, post.layout), (BoxForm::Xyxy, BoxUnit::Pixels, None, RowLayout::Rows));
    let nms = of_picture(six, &ultralytics("detect", names, &[("end2end", "False"), ("args", "{'batch': 1, 'nms': True}")]));
    assert_eq!((families(&nms), row(&nms[0])), (vec!["yolo"], "box score class".to_owned()));
    // Neither the head nor nms: RT-DETR is as likely as not.
    let open = of_picture(six, &ultralytics("detect", names, &[("end2end", "False")]));
    assert_eq!(families(&open), ["rtdetr-ul", "yolo"]);
    let open = of_picture(six, &ultralytics("detect", names, &[]));
    assert_eq!(families(&open), ["yolo", "rtdetr-ul"]);
    assert!(open.iter().all(|proposal| proposal.notes.len() == 1), "{open:?}");
    // Nothing at all.
    let open = of_picture(six, &Metadata::default());
    assert_eq!(families(&open), ["yolo", "rtdetr-ul"]);
    assert_eq!((open[0].evidence, asked(&open[0])), (Evidence::Shape, vec![Topic::Labels]));
    assert_eq!((open[0].second, open[1].second), (false, true));
}

#[test]
fn rtdetr_of_ultralytics() {
    let head = |version| {
        metadata(&[
            ("author", "Ultralytics"),
            ("task", "detect"),
            ("names", TWO),
            ("head", "RTDETRDecoder"),
            ("end2end", "False"),
            ("version", version),
        ])
    };
    let six: Tensors<'_> = &[("output0", F32, &[1, 300, 6])];
    let found = of_picture(six, &head("8.4.190"));
    assert_eq!((families(&found), row(&found[0])), (vec!["rtdetr-ul"], "box score class".to_owned()));
    let (post, pre) = (boxes(&found[0]), image(&found[0]));
    assert_eq!((post.form, post.unit, post.iou), (BoxForm::Cxcywh, BoxUnit::Relative, None));
    assert_eq!((pre.fit, pre.filter, pre.scale), (Fit::Stretch, Filter::Linear, 255.0));
    // Two labels make six columns of scores too; earlier releases had those.
    let old = of_picture(six, &head("8.3.9"));
    assert_eq!(old.iter().map(row).collect::<Vec<_>>(), ["box scores", "box score class"]);
    let wide = of_picture(&[("output0", F32, &[1, 300, 84])], &Metadata::default());
    assert_eq!((families(&wide), row(&wide[0]), boxes(&wide[0]).labels.len()), (vec!["rtdetr-ul"], "box scores".to_owned(), 80));
}

#[test]
fn other_heads_of_ultralytics() {
    let masks: Tensors<'_> = &[("output0", F32, &[1, 38, 8400]), ("output1", F32, &[1, 32, 160, 160])];
    let found = of_picture(masks, &ultralytics("segment", TWO, &[]));
    assert_eq!((row(&found[0]), found[0].notes.len(), found.len()), ("box scores masks-32".to_owned(), 0, 1));
    let unnamed = of_picture(masks, &Metadata::default());
    assert_eq!((row(&unnamed[0]), boxes(&unnamed[0]).labels.len()), ("box scores masks-32".to_owned(), 2));
    let found = of_picture(
        &[("output0", F32, &[1, 300, 38]), ("output1", F32, &[1, 32, 160, 160])],
        &ultralytics("segment", TWO, &[("end2end", "True")]),
    );
    assert_eq!(row(&found[0]), "box score class masks-32");
    let pose = [("kpt_shape", "[17, 3]"), ("end2end", "False")];
    let found = of_picture(&[("output0", F32, &[1, 56, 8400])], &ultralytics("pose", "{0: 'person'}", &pose));
    assert_eq!(row(&found[0]), "box scores keypoints");
    let found = of_picture(&[("output0", F32, &[1, 300, 57])], &ultralytics("pose", "{0: 'person'}", &[("end2end", "True")]));
    assert_eq!(row(&found[0]), "box score class keypoints");
    let found = of_picture(&[("output0", F32, &[1, 7, 8400])], &ultralytics("obb", TWO, &[("end2end", "False")]));
    assert_eq!((row(&found[0]), boxes(&found[0]).form), ("box scores angle".to_owned(), BoxForm::Cxcywh));
    let found = of_picture(&[("output0", F32, &[1, 300, 7])], &ultralytics("obb", TWO, &[("end2end", "True")]));
    assert_eq!((row(&found[0]), boxes(&found[0]).form), ("box score class angle".to_owned(), BoxForm::Cxcywh));
    let found = of_picture(&[("output0", F32, &[1, 2])], &ultralytics("classify", TWO, &[]));
    let pre = image(&found[0]);
    assert_eq!((pre.fit, pre.crop, pre.filter, pre.mean.len()), (Fit::Crop, 1.0, Filter::LinearAntialias, 0));
    assert_eq!((classes(&found[0]).activation, ids(&classes(&found[0]).labels)), (Activation::None, vec!["helmet", "head-bare"]));
}

#[test]
fn yolov5_and_yolox() {
    let stride = metadata(&[("stride", "32"), ("names", "['a']")]);
    let found = of_picture(&[("output0", F32, &[1, 25_200, 6])], &stride);
    assert_eq!((families(&found), row(&found[0]), boxes(&found[0]).iou), (vec!["yolov5"], "box objectness scores".to_owned(), Some(0.45)));
    assert_eq!((found[0].evidence, boxes(&found[0]).grid), (Evidence::Metadata, BoxGrid::None));
    // By the number of rows alone: three a cell, or one.
    assert_eq!(families(&of_picture(&[("output", F32, &[1, 25_200, 85])], &Metadata::default())), ["yolov5"]);
    let grids: Tensors<'_> = &[("output", F32, &[1, 25_200, 7]), ("350", F32, &[1, 3, 80, 80, 7])];
    assert_eq!(families(&of_picture(grids, &Metadata::default())), ["yolov5"]);
    let found = read(&[("images", F32, &[1, 3, 416, 416])], &[("output", F32, &[1, 3_549, 6])], &Metadata::default());
    assert_eq!(families(&found), ["yolox", "yolov5"]);
    let pre = image(&found[0]);
    assert_eq!((pre.align, pre.color, pre.scale, pre.fill.as_slice()), (Align::TopLeft, Color::Bgr, 1.0, [114].as_slice()));
    assert_eq!((boxes(&found[0]).grid, ids(&boxes(&found[0]).labels)), (BoxGrid::Yolox, vec!["class-0"]));
    let open = read(&[("images", F32, &[1, 3, -1, -1])], &[("output", F32, &[1, -1, 85])], &Metadata::default());
    assert_eq!(families(&open), ["yolov5", "yolox"]);
    assert_eq!(asked(&open[0]), [Topic::Labels, Topic::Size]);
}

#[test]
fn the_detr_family() {
    let outputs: Tensors<'_> = &[("labels", I64, &[1, 300]), ("boxes", F32, &[1, 300, 4]), ("scores", F32, &[1, 300])];
    let inputs: Tensors<'_> = &[("images", F32, &[-1, 3, 640, 640]), ("orig_target_sizes", I64, &[-1, 2])];
    let found = read(inputs, outputs, &Metadata::default());
    assert_eq!((families(&found), row(&found[0]), asked(&found[0])), (vec!["dfine"], "box".to_owned(), vec![Topic::Labels]));
    assert_eq!(found[0].step.feed.get("orig_target_sizes"), Some(&Feed::Of(FeedOf::SourceSizeWh)));
    let post = boxes(&found[0]);
    assert_eq!((post.form, post.unit, image(&found[0]).filter), (BoxForm::Xyxy, BoxUnit::Source, Filter::LinearAntialias));
    assert_eq!((post.beside.class.as_deref(), post.beside.score.as_deref()), (Some("labels"), Some("scores")));

    let outputs: Tensors<'_> = &[("dets", F32, &[1, 300, 4]), ("labels", F32, &[1, 300, 4])];
    let inputs: Tensors<'_> = &[("input", F32, &[1, 3, 384, 384])];
    let found = read(inputs, outputs, &Metadata::default());
    assert_eq!((families(&found), asked(&found[0])), (vec!["detr"], vec![Topic::Labels, Topic::Background]));
    let (post, pre) = (boxes(&found[0]), image(&found[0]));
    assert_eq!((post.background, post.activation, post.labels.len()), (Background::Last, Activation::Sigmoid, 3));
    assert_eq!((post.form, post.unit, post.beside.scores.as_deref()), (BoxForm::Cxcywh, BoxUnit::Relative, Some("labels")));
    assert_eq!((pre.fit, pre.filter, pre.mean.as_slice()), (Fit::Stretch, Filter::LinearFloat, [0.485, 0.456, 0.406].as_slice()));
    let given = |labels: &[&str]| Given { labels: labels.iter().map(|label| (*label).to_owned()).collect(), ..Given::default() };
    let four = recognise(&signature(inputs, outputs), &Metadata::default(), &given(&["a", "b", "c", "d"]));
    assert_eq!((boxes(&four[0]).background, four[0].questions.len()), (Background::None, 0));
    let three = recognise(&signature(inputs, outputs), &Metadata::default(), &given(&["a", "b", "c"]));
    assert_eq!((boxes(&three[0]).background, three[0].questions.len()), (Background::Last, 0));

    let outputs: Tensors<'_> = &[("logits", F32, &[1, 100, 92]), ("pred_boxes", F32, &[1, 100, 4])];
    let alone = read(&[("pixel_values", F32, &[1, 3, 640, 640])], outputs, &Metadata::default());
    let activations = |found: &[Proposal]| found.iter().map(|proposal| boxes(proposal).activation).collect::<Vec<_>>();
    assert_eq!(activations(&alone), [Activation::Sigmoid, Activation::Softmax]);
    let masked = read(&[("pixel_values", F32, &[1, 3, 800, 800]), ("pixel_mask", I64, &[1, 800, 800])], outputs, &Metadata::default());
    assert_eq!((activations(&masked), boxes(&masked[0]).labels.len()), (vec![Activation::Softmax], 91));
    assert_eq!(masked[0].step.feed.get("pixel_mask"), Some(&Feed::Number(1.0)));
}

#[test]
fn paddle_mmdet_torchvision() {
    let inputs: Tensors<'_> = &[("im_shape", F32, &[-1, 2]), ("image", F32, &[-1, 3, 640, 640]), ("scale_factor", F32, &[-1, 2])];
    let found = read(inputs, &[("nms_0.tmp_0", F32, &[-1, 6]), ("nms_0.tmp_2", I32, &[-1])], &Metadata::default());
    assert_eq!((families(&found), row(&found[0])), (vec!["paddle"], "class score box".to_owned()));
    assert_eq!(boxes(&found[0]).beside.count.as_deref(), Some("nms_0.tmp_2"));
    assert_eq!((image(&found[0]).filter, image(&found[0]).std.len(), found[0].step.into.as_deref()), (Filter::Cubic, 3, Some("image")));
    assert_eq!(found[0].step.feed.get("scale_factor"), Some(&Feed::Of(FeedOf::ScaleYx)));
    assert_eq!(found[0].step.feed.get("im_shape"), Some(&Feed::Of(FeedOf::TensorSize)));

    let found =
        read(&[("input", F32, &[1, 3, 320, 320])], &[("dets", F32, &[1, 100, 5]), ("labels", I64, &[1, 100])], &Metadata::default());
    assert_eq!((families(&found), row(&found[0])), (vec!["mmdet"], "box score".to_owned()));
    assert_eq!(asked(&found[0]), [Topic::Labels, Topic::Picture]);

    let outputs: Tensors<'_> = &[("boxes", F32, &[-1, 4]), ("labels", I64, &[-1]), ("scores", F32, &[-1])];
    let found = read(&[("images", F32, &[1, 3, -1, -1])], outputs, &Metadata::default());
    assert_eq!((families(&found), boxes(&found[0]).background), (vec!["torchvision"], Background::First));
}

#[test]
fn classifiers_and_anomalies() {
    let mut graph = signature(&[("x", F32, &[-1, 3, 224, 224])], &[("y", F32, &[-1, 4])]);
    let lines = metadata(&[("character", "0\n90\n180\n270")]);
    let found = plainly(&graph, &lines);
    assert_eq!((families(&found), ids(&classes(&found[0]).labels)), (vec!["imagenet"], vec!["0", "90", "180", "270"]));
    assert_eq!((classes(&found[0]).activation, asked(&found[0])), (Activation::Softmax, vec![Topic::Picture, Topic::Activation]));
    let pre = image(&found[0]);
    assert_eq!((pre.fit, pre.crop, pre.filter, pre.mean.len()), (Fit::Crop, 0.875, Filter::LinearAntialias, 3));
    graph.softmax.insert("y".to_owned());
    assert_eq!(classes(&plainly(&graph, &lines)[0]).activation, Activation::None);
    let last = read(&[("input:0", F32, &[-1, 224, 224, 3])], &[("outputs", F32, &[-1, 2])], &Metadata::default());
    assert_eq!((image(&last[0]).layout, image(&last[0]).mean.len()), (Layout::Nhwc, 0));

    let outputs: Tensors<'_> = &[("pred_score", F32, &[1, 1]), ("pred_label", 9, &[1, 1]), ("anomaly_map", F32, &[1, 1, 256, 256])];
    let found = read(&[("input", F32, &[1, 3, 256, 256])], outputs, &Metadata::default());
    assert_eq!((families(&found), found[0].questions.len(), image(&found[0]).scale), (vec!["anomalib"], 0, 255.0));
    let Post::Anomaly(post) = &found[0].step.post[0] else { panic!("{:?}", found[0]) };
    assert_eq!((post.output.as_deref(), post.map.as_deref(), post.threshold), (Some("pred_score"), Some("anomaly_map"), 0.5));
}

#[test]
fn text_segments_and_sound() {
    // PaddleOCR appends a space to the alphabet, and a blank stands before it.
    let lines = metadata(&[("character", "a\n\u{3000}\nb")]);
    let found = plainly(&signature(&[("x", F32, &[-1, 3, 48, -1])], &[("softmax_11.tmp_0", F32, &[-1, -1, 5])]), &lines);
    let pre = image(&found[0]);
    assert_eq!((families(&found), pre.fit, pre.height, pre.widest, pre.color), (vec!["ppocr-rec"], Fit::Pad, 48, Some(3_200), Color::Bgr));
    assert_eq!(found[0].files, [("alphabet.txt".to_owned(), "a\n\u{3000}\nb\n \n".to_owned())]);
    let other = plainly(&signature(&[("x", F32, &[-1, 3, 48, -1])], &[("y", F32, &[-1, -1, 9])]), &lines);
    assert!(!families(&other).contains(&"ppocr-rec"), "an alphabet of another length");

    let found = read(&[("x", F32, &[-1, 3, -1, -1])], &[("sigmoid_0.tmp_0", F32, &[-1, 1, -1, -1])], &Metadata::default());
    assert_eq!((families(&found), image(&found[0]).fit, asked(&found[0])), (vec!["dbnet"], Fit::Multiple, vec![Topic::Picture]));

    let found = read(&[("input", F32, &[1, 3, 256, 320])], &[("out", F32, &[1, 4, 256, 320])], &Metadata::default());
    let Post::Segments(post) = &found[0].step.post[0] else { panic!("{:?}", found[0]) };
    assert_eq!((families(&found), post.labels.len(), post.background), (vec!["segments"], 4, Background::None));
    let three = Given { labels: ["a", "b", "c"].map(str::to_owned).to_vec(), ..Given::default() };
    let graph = signature(&[("input", F32, &[1, 3, 256, 320])], &[("out", F32, &[1, 4, 256, 320])]);
    let found = recognise(&graph, &Metadata::default(), &three);
    let Post::Segments(post) = &found[0].step.post[0] else { panic!("{:?}", found[0]) };
    assert_eq!((post.labels.len(), post.background, asked(&found[0])), (3, Background::First, vec![Topic::Picture]));

    let inputs: Tensors<'_> = &[("input", F32, &[-1, -1]), ("state", F32, &[2, -1, 128]), ("sr", I64, &[])];
    let found = read(inputs, &[("output", F32, &[-1, 1]), ("stateN", F32, &[-1, -1, -1])], &Metadata::default());
    let Pre::Sound(pre) = &found[0].step.pre else { panic!("{:?}", found[0]) };
    assert_eq!((families(&found), pre.context, found[0].step.state.len(), found[0].questions.len()), (vec!["silero"], 64, 1, 0));
    let inputs: Tensors<'_> = &[("input", F32, &[-1, -1]), ("sr", I64, &[]), ("h", F32, &[2, -1, 64]), ("c", F32, &[2, -1, 64])];
    let outputs: Tensors<'_> = &[("output", F32, &[-1, 1]), ("hn", F32, &[2, -1, 64]), ("cn", F32, &[2, -1, 64])];
    let found = read(inputs, outputs, &Metadata::default());
    let Pre::Sound(pre) = &found[0].step.pre else { panic!("{:?}", found[0]) };
    assert_eq!((pre.context, found[0].step.state.len()), (0, 2));

    let inputs: Tensors<'_> = &[("age", F32, &[-1, 1]), ("maker", TEXT, &[-1, 1]), ("hours", I64, &[-1, 1])];
    let found = read(inputs, &[("label", I64, &[-1]), ("probabilities", F32, &[-1, 2])], &Metadata::default());
    let Pre::Columns(pre) = &found[0].step.pre else { panic!("{:?}", found[0]) };
    assert_eq!((families(&found), pre.each, pre.names.len(), found[0].step.inputs.len()), (vec!["frame"], true, 3, 3));
}

#[test]
fn keypoints_have_names() {
    let pose = |more: &[(&str, &str)]| {
        let found = of_picture(
            &[("output0", F32, &[1, 14, 8400])],
            &ultralytics("pose", "{0: 'person'}", &[&[("kpt_shape", "[3, 3]"), ("end2end", "False")], more].concat()),
        );
        boxes(&found[0]).keypoints.clone().unwrap().names
    };
    assert_eq!(pose(&[]), ["point-1", "point-2", "point-3"]);
    assert_eq!(pose(&[("kpt_names", "{0: ['Nose', 'left_eye', 'Bar tip']}")]), ["nose", "left-eye", "bar-tip"]);
    // Names that are too few, or the same twice, are none.
    assert_eq!(pose(&[("kpt_names", "{0: ['a', 'b']}")]), pose(&[]));
    assert_eq!(pose(&[("kpt_names", "{0: ['a', 'A', 'b']}")]), pose(&[]));
}

#[test]
fn tables_and_series() {
    let boosted: Tensors<'_> = &[("label", I64, &[1]), ("probabilities", F32, &[1, 3])];
    let found = read(&[("X", F32, &[-1, 4])], boosted, &Metadata::default());
    assert_eq!(
        (families(&found), classes(&found[0]).labels.len(), classes(&found[0]).output.as_str()),
        (vec!["columns"], 3, "probabilities")
    );
    assert_eq!(asked(&found[0]), [Topic::Columns, Topic::Labels]);
    let words: Tensors<'_> = &[("label", TEXT, &[-1]), ("probabilities", F32, &[-1, 2])];
    let found = read(&[("X", F32, &[-1, 4])], words, &Metadata::default());
    assert_eq!((found[0].notes.len(), found[0].step.outputs.len()), (1, 1));
    let given = Given { columns: ["ch4", "风速", "t", "p"].map(str::to_owned).into(), ..Given::default() };
    let found = recognise(&signature(&[("X", F32, &[-1, 4])], &[("variable", F32, &[-1, 1])]), &Metadata::default(), &given);
    let Pre::Columns(columns) = &found[0].step.pre else { panic!("{found:?}") };
    assert_eq!(
        (columns.names.iter().map(|c| &c.name).collect::<Vec<_>>(), asked(&found[0])),
        (given.columns.iter().collect(), vec![Topic::Values])
    );
    assert_eq!(families(&read(&[("x", F32, &[1, 4])], &[("y", F32, &[1, 3])], &Metadata::default())), ["columns", "columns"]);

    let window = |shape: &[i64]| {
        let found = read(&[("x", F32, shape)], &[("y", F32, &[1, 1])], &Metadata::default());
        let [only] = found.as_slice() else { panic!("{found:?}") };
        let Pre::Window(window) = &only.step.pre else { panic!("{only:?}") };
        (only.family, window.length, window.columns.len(), window.layout)
    };
    assert_eq!(window(&[1, 48, 3]), ("timeseries", 48, 3, WindowLayout::TimeMajor));
    assert_eq!(window(&[-1, 3, 48]), ("timeseries", 48, 3, WindowLayout::ChannelMajor));
}

#[test]
fn obstacles_say_what_to_do() {
    let why = |inputs: Tensors<'_>, outputs: Tensors<'_>| {
        let signature = signature(inputs, outputs);
        assert_eq!(plainly(&signature, &Metadata::default()), []);
        obstacle(&signature, &Metadata::default(), &Given::default()).unwrap().en
    };
    let y: Tensors<'_> = &[("y", F32, &[1, 2])];
    // A state that goes in and does not come out.
    assert!(why(&[("input", F32, &[-1, 576]), ("state", F32, &[2, -1, 128]), ("sr", I64, &[])], y).contains("not known"));
    assert!(why(&[("x", F32, &[3, 2])], &[("label", I64, &[3]), ("probabilities", 0, &[])]).contains("ZipMap"));
    assert!(why(&[("x", F32, &[3, 2])], &[("y", F32, &[3, 2])]).contains("batch"));
    assert!(why(&[("images", F32, &[3, -1, -1])], y).contains("[3,h,w]"));
    assert!(why(&[("images", F32, &[1, 3, 640, 640])], &[("a", F32, &[1, 3, 80, 80, 85])]).contains("raw grids"));
    assert!(why(&[("x", F32, &[1, 2, 3, 4, 5, 6])], y).contains("not known"));
    assert!(why(&[("input.1", F32, &[-1, 3, 112, 112])], &[("683", F32, &[-1, 512])]).contains("embedding"));
    assert!(why(&[("input1", F32, &[1, 1, 64, -1])], &[("387", F32, &[1, -1])]).contains("not known"));
    assert!(why(&[], &[]).contains("no input"));
    let levels: Vec<(&str, u64, &[i64])> = vec![("o", F32, &[1, 100, 10]); 8];
    assert!(why(&[("image", F32, &[1, 3, 800, 608])], &levels).contains("PicoDet"));
    let known = signature(&[("images", F32, &[1, 3, 640, 640])], &[("output0", F32, &[1, 7, 8400])]);
    assert_eq!(obstacle(&known, &Metadata::default(), &Given::default()), None);
}
