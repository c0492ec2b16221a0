//! What objects have beside their boxes, and what finds objects without rows.

use app_package::pipeline::Post;

use super::*;
use crate::output::{Keypoint, Mask};

fn post(step: Value) -> Post {
    serde_json::from_value(step).unwrap()
}

fn label(id: &str) -> Value {
    json!({"id": id, "text": {"zh": id, "en": id}})
}

#[test]
fn a_mask_is_where_prototypes_and_factors_are_above_zero() {
    // One box of 40 × 20 at (30, 40); one prototype is 1 in the left half of the tensor, the other everywhere.
    let step = step(&["a"], json!({"row": ["box", "score", "masks-2"], "box": "xyxy", "prototypes": "p"}));
    let rows = floats(&[1, 1, 7], &[30.0, 40.0, 70.0, 60.0, 0.9, 1.0, -0.5]);
    let plane: Vec<f32> = (0..100).map(|at| if at % 10 < 5 { 1.0 } else { 0.0 }).chain(std::iter::repeat_n(1.0, 100)).collect();
    let out = run(&[step], &named([("o", rows), ("p", floats(&[1, 2, 10, 10], &plane))]), Some(&PLAIN)).unwrap();
    let found = &out.detections[0];
    // 0.5 left of the middle, -0.5 right of it: the border is where both meet, at 50 of 100.
    assert_eq!(found.mask, Some(Mask { size: [20, 40], counts: vec![0, 400, 400] }));
    assert!((found.area.unwrap() - 0.04).abs() < 1e-6);
}

#[test]
fn a_mask_may_lie_beside_each_row_and_follows_the_letterbox() {
    // The tensor's middle rows hold the picture; the mask is its upper half.
    let step = step(&["a"], json!({"row": ["box", "score"], "box": "xyxy", "beside": {"masks": "m"}}));
    let rows = floats(&[1, 2, 5], &[0.0, 14.0, 64.0, 50.0, 0.9, 0.0, 14.0, 64.0, 50.0, 0.1]);
    let plane: Vec<f32> = (0..64 * 64).map(|at| if at / 64 < 32 { 3.0 } else { -3.0 }).collect();
    let outputs = named([("o", rows), ("m", floats(&[1, 2, 64, 64], &[plane.clone(), plane].concat()))]);
    let out = run(std::slice::from_ref(&step), &outputs, Some(&LETTERBOX)).unwrap();
    assert_eq!(out.detections[0].bbox, [0.0, 0.0, 128.0, 72.0]);
    assert_eq!(out.detections[0].mask.as_ref().unwrap().counts[..3], [0, 36, 36]);
    let short = named([("o", outputs[0].1.clone()), ("m", floats(&[1, 1, 64, 64], &[1.0; 4096]))]);
    assert_eq!(run(&[step], &short, Some(&LETTERBOX)).unwrap_err().code, "tensor-shape");
}

#[test]
fn points_are_told_in_the_picture() {
    let keys = json!({"row": ["box", "scores", "keypoints"], "keypoints": {"names": ["head", "feet"], "dims": 3}});
    let row = [32.0, 32.0, 20.0, 20.0, 0.9, 32.0, 14.0, 0.8, 64.0, 50.0, 0.1];
    let out = run(&[step(&["a"], keys)], &named([("o", floats(&[1, 1, 11], &row))]), Some(&LETTERBOX)).unwrap();
    let point = |name: &str, x, y, score| Keypoint { name: name.into(), x, y, score };
    assert_eq!(out.detections[0].keypoints, [point("head", 64.0, 0.0, 0.8), point("feet", 128.0, 72.0, 0.1)]);
    let mut odd = row;
    odd[6] = f32::NAN;
    let keys = json!({"row": ["box", "scores", "keypoints"], "keypoints": {"names": ["head", "feet"], "dims": 3}});
    assert_eq!(run(&[step(&["a"], keys)], &named([("o", floats(&[1, 1, 11], &odd))]), Some(&PLAIN)).unwrap_err().code, "output-not-finite");
}

#[test]
fn a_turned_box_has_corners_and_its_own_suppression() {
    let keys = json!({"row": ["box", "scores", "angle"], "iou": 0.5});
    // A cross: upright boxes around them are one and the same, the turned ones overlap by a third.
    let row = |angle: f32, score: f32| [50.0, 50.0, 40.0, 8.0, score, angle];
    let (quarter, half) = (std::f32::consts::FRAC_PI_4, std::f32::consts::PI);
    let rows = [row(quarter, 0.9), row(-quarter, 0.8), row(quarter + half, 0.7)].concat();
    let out = run(&[step(&["a"], keys)], &named([("o", floats(&[1, 3, 6], &rows))]), Some(&PLAIN)).unwrap();
    assert_eq!(out.detections.iter().map(|d| d.score).collect::<Vec<_>>(), [0.9, 0.8]);
    let found = &out.detections[0];
    let [x, y, w, h] = found.bbox;
    assert!((x - 33.03).abs() < 0.01 && (y - 33.03).abs() < 0.01 && (w - h).abs() < 1e-3, "{:?}", found.bbox);
    assert!((overlap(found, &out.detections[1])) < 0.2);
    let [a, b, ..] = found.corners.unwrap();
    assert!(((b[0] - a[0]).hypot(b[1] - a[1]) - 40.0).abs() < 1e-3);
}

#[test]
fn segments_are_shares_of_the_picture_and_masks() {
    let step = post(json!({"segments": {"output": "o", "labels": [label("water"), label("coal")], "background": "first", "least": 0.2}}));
    // Two by two cells, three classes: nothing, water, coal, coal.
    let planes = [[0.9, 0.1, 0.1, 0.1], [0.05, 0.6, 0.2, 0.1], [0.05, 0.3, 0.7, 0.8]].concat();
    let expect = |out: AppOutput| {
        let values: Vec<(String, f64)> = out.values.iter().map(|v| (v.id.clone(), v.value)).collect();
        assert_eq!(values, [("water".to_owned(), 0.25), ("coal".to_owned(), 0.5)]);
        let of = |label: &str| out.detections.iter().find(|d| d.label == label).unwrap();
        assert_eq!((out.detections.len(), of("coal").bbox), (2, [0.0, 50.0, 100.0, 50.0]));
        assert_eq!((of("water").bbox, of("water").area), ([50.0, 0.0, 50.0, 50.0], Some(0.25)));
    };
    expect(run(std::slice::from_ref(&step), &named([("o", floats(&[1, 3, 2, 2], &planes))]), Some(&PLAIN)).unwrap());
    // The same with channels last, and as numbers of classes.
    let last: Vec<f32> =
        (0..4).flat_map(|cell| (0..3).map(move |class| (class, cell))).map(|(class, cell)| planes[class * 4 + cell]).collect();
    let nhwc =
        post(json!({"segments": {"output": "o", "labels": [label("water"), label("coal")], "background": "first", "layout": "nhwc"}}));
    expect(run(&[nhwc], &named([("o", floats(&[1, 2, 2, 3], &last))]), Some(&PLAIN)).unwrap());
    let classes = TensorData { shape: vec![1, 2, 2], data: Data::I64(vec![0, 1, 2, 2]) };
    expect(run(std::slice::from_ref(&step), &named([("o", classes)]), Some(&PLAIN)).unwrap());
    let wide = named([("o", floats(&[1, 4, 1, 1], &[0.0; 4]))]);
    assert_eq!(run(&[step], &wide, Some(&PLAIN)).unwrap_err().code, "tensor-shape");
    // One class alone: half, or what is given.
    let one = |score: Value| {
        let mut step = json!({"output": "o", "labels": [label("water")]});
        step.as_object_mut().unwrap().extend(score.as_object().unwrap().clone());
        run(&[post(json!({ "segments": step }))], &named([("o", floats(&[1, 1, 2, 2], &[0.2, 0.4, 0.6, 0.9]))]), Some(&PLAIN))
            .unwrap()
            .values[0]
            .value
    };
    assert_eq!((one(json!({})), one(json!({"score": 0.3})), one(json!({"activation": "sigmoid"}))), (0.5, 0.75, 1.0));
    // The border of a letterbox is no part of the picture.
    let step = post(json!({"segments": {"output": "o", "labels": [label("water"), label("coal")]}}));
    let rows: Vec<f32> = (0..2 * 64 * 64).map(|at| if (at / 4096 == 0) == (at % 4096 / 64 < 32) { 1.0 } else { 0.0 }).collect();
    let out = run(&[step], &named([("o", floats(&[1, 2, 64, 64], &rows))]), Some(&LETTERBOX)).unwrap();
    assert_eq!((out.values[0].value, out.values[1].value), (0.5, 0.5));
}

#[test]
fn anomalies_are_a_number_and_groups_of_cells() {
    let step = |keys: Value| {
        let mut step = json!({"threshold": 0.5, "label": label("odd")});
        step.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        post(json!({ "anomaly": step }))
    };
    let mut map = [0.0; 100];
    (map[22], map[23], map[88]) = (0.6, 0.9, 0.7);
    let outputs = named([("s", floats(&[1], &[0.8])), ("m", floats(&[1, 1, 10, 10], &map))]);
    let out = run(&[step(json!({"output": "s", "map": "m"}))], &outputs, Some(&PLAIN)).unwrap();
    assert_eq!((out.values[0].id.as_str(), out.values[0].value), ("odd", f64::from(0.8f32)));
    let boxes: Vec<(f32, [f32; 4])> = out.detections.iter().map(|d| (d.score, d.bbox)).collect();
    assert_eq!(boxes, [(0.9, [20.0, 20.0, 20.0, 10.0]), (0.7, [80.0, 80.0, 10.0, 10.0])]);
    let out = run(&[step(json!({"map": "m"}))], &outputs, Some(&PLAIN)).unwrap();
    assert_eq!(out.values[0].value, f64::from(0.9f32));
    // A reconstruction is held against what the model was given.
    let again = named([("r", floats(&[1, 2, 1, 2], &[1.0, 0.0, 3.0, 0.5]))]);
    let given = floats(&[1, 2, 1, 2], &[0.0, 0.0, 1.0, 0.0]);
    let steps = ready(Path::new("."), &[step(json!({"reconstruction": "r", "error": "mae"}))]).unwrap();
    let out = super::super::run(&steps, &again, Some(&PLAIN), Some(&given)).unwrap();
    assert_eq!((out.values[0].value, out.detections[0].bbox), (1.5, [0.0, 0.0, 50.0, 100.0]));
    let out = super::super::run(&steps, &again, None, Some(&given)).unwrap();
    assert_eq!((out.values[0].value, out.detections.len()), (0.875, 0));
    assert_eq!(super::super::run(&steps, &again, None, None).unwrap_err().code, "tensor-shape");
}

#[test]
fn text_is_the_best_path() {
    let dir = std::env::temp_dir().join(format!("pithead-alphabet-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("a.txt"), "K\n煤\n \n").unwrap();
    std::fs::write(dir.join("bad.txt"), "K\n\nJ\n").unwrap();
    let read = |keys: Value, shape: &[i64], steps: &[[f32; 4]]| {
        let mut step = json!({"output": "o", "alphabet": "a.txt"});
        step.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let steps_of = ready(&dir, &[post(json!({ "text": step }))]).unwrap();
        super::super::run(&steps_of, &named([("o", floats(shape, &steps.concat()))]), None, None).map(|out| out.texts[0].clone())
    };
    let blank = [0.9, 0.0, 0.1, 0.0];
    let (k, coal, space) = ([0.1, 0.8, 0.1, 0.0], [0.2, 0.1, 0.6, 0.1], [0.0, 0.0, 0.0, 1.0]);
    let text = read(json!({}), &[1, 7, 4], &[k, k, blank, k, space, coal, blank]).unwrap();
    assert_eq!(text.text, "KK 煤");
    assert!((text.score - 0.8).abs() < 1e-6, "of the first of each run: {}", text.score);
    assert_eq!(read(json!({}), &[7, 1, 4], &[k, k, blank, k, space, coal, blank]).unwrap(), text, "steps first");
    assert_eq!(read(json!({"blank": "last"}), &[1, 3, 4], &[blank, k, space]).unwrap().text, "K煤");
    assert_eq!(read(json!({}), &[1, 2, 4], &[blank, blank]).unwrap(), crate::output::TextOut::default());
    assert_eq!(read(json!({}), &[1, 4, 4, 2], &[k; 8]).unwrap_err().code, "tensor-shape");
    assert_eq!(read(json!({}), &[1, 1, 4], &[[f32::NAN; 4]]).unwrap_err().code, "output-not-finite");
    // The score is a mean: the sum of what a float holds may be more than it holds.
    let most = [[0.0, f32::MAX, 0.0, 0.0], [0.0, 0.0, f32::MAX, 0.0]];
    assert_eq!(read(json!({"activation": "none"}), &[1, 2, 4], &most).unwrap().score, f32::MAX);
    let bad = post(json!({"text": {"output": "o", "alphabet": "bad.txt"}}));
    assert_eq!(ready(&dir, &[bad]).map(|_| ()).unwrap_err().code, "alphabet-unreadable");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_gallery_knows_whom_it_has_seen() {
    let dir = std::env::temp_dir().join(format!("pithead-gallery-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let gallery = |text: &str| {
        std::fs::write(dir.join("g.json"), text).unwrap();
        let step = json!({"output": "o", "labels": [label("a"), label("b")], "vectors": "g.json", "threshold": 0.7});
        ready(&dir, &[post(json!({ "gallery": step }))])
    };
    let steps = gallery(r#"{"a": [[1, 0, 0], [0, 3, 0]], "b": [[0, 0, 1]]}"#).unwrap();
    let of = |vector: &[f32]| {
        let out = super::super::run(&steps, &named([("o", floats(&[1, 3], vector))]), None, None);
        out.map(|out| out.classes.iter().map(|c| (c.label.clone(), c.score)).collect::<Vec<_>>())
    };
    assert_eq!(of(&[0.0, 0.5, 0.0]).unwrap(), [("a".to_owned(), 1.0)]);
    assert_eq!(of(&[1.0, 1.0, 1.0]).unwrap()[0].0, "unknown");
    assert_eq!(of(&[0.0; 3]).unwrap(), [("unknown".to_owned(), 0.0)]);
    assert_eq!(of(&[1.0; 2]).unwrap_err().code, "tensor-shape");
    for text in ["{}", r#"{"a": [[1]], "b": [[1, 2]]}"#, r#"{"a": [[0]], "b": [[1]]}"#, r#"{"a": [[1]], "b": [[1]], "c": [[1]]}"#, "[]"] {
        assert_eq!(gallery(text).map(|_| ()).unwrap_err().code, "vectors-unreadable", "{text}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn values_have_places() {
    let item = |id: &str, at: &[u32], reduce: &str| json!({"id": id, "text": {"en": id}, "at": at, "reduce": reduce});
    let items = [item("median", &[1], "mean"), item("peak", &[2], "max"), item("first", &[1, 0], "last"), item("all", &[], "min")];
    let step = post(json!({"values": {"output": "o", "items": items}}));
    let forecast = floats(&[1, 3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 7.0]);
    let out = run(std::slice::from_ref(&step), &named([("o", forecast)]), None).unwrap();
    assert_eq!(out.values.iter().map(|v| v.value).collect::<Vec<_>>(), [3.5, 7.0, 3.0, 1.0]);
    for shape in [&[1, 2, 3][..], &[6], &[1, 1, 1, 6]] {
        assert_eq!(run(std::slice::from_ref(&step), &named([("o", floats(shape, &[0.0; 6]))]), None).unwrap_err().code, "tensor-shape");
    }
}

#[test]
fn a_heat_map_of_text_gives_turned_boxes() {
    let turned = |keys: Value| {
        let mut step = json!({"output": "o", "labels": [label("text")], "score": 0.3, "turn": true});
        step.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        post(json!({ "grid": step }))
    };
    // A bar of 5 cells across a diagonal of 60.
    let bar = |x: f32, y: f32| (x - y).abs() <= 3.5 && (20.0..=140.0).contains(&(x + y));
    let cells: Vec<f32> = (0..100 * 100u16).map(|at| if bar(f32::from(at % 100), f32::from(at / 100)) { 0.8 } else { 0.0 }).collect();
    let outputs = named([("o", floats(&[1, 1, 100, 100], &cells))]);
    let found = run(&[turned(json!({}))], &outputs, Some(&PLAIN)).unwrap().detections;
    let sides = |d: &Detection| {
        let [a, b, c, _] = d.corners.unwrap();
        let (one, other) = ((b[0] - a[0]).hypot(b[1] - a[1]), (c[0] - b[0]).hypot(c[1] - b[1]));
        (one.max(other), one.min(other))
    };
    let (long, short) = sides(&found[0]);
    assert!(found.len() == 1 && (long - 84.8).abs() < 1.5 && (short - 4.95).abs() < 1.5, "{long} {short}");
    assert!((found[0].score - 0.8).abs() < 0.1);
    let (grown, thick) = sides(&run(&[turned(json!({"unclip": 1.6}))], &outputs, Some(&PLAIN)).unwrap().detections[0]);
    let more = long * short * 1.6 / (long + short);
    // Corners are whole pixels, before and after they move.
    assert!((grown - long - more).abs() < 3.0 && (thick - short - more).abs() < 3.0, "{grown} {thick}");
    assert!(run(&[turned(json!({"mean": 0.9}))], &outputs, Some(&PLAIN)).unwrap().detections.is_empty());
    let (_, dilated) = sides(&run(&[turned(json!({"dilate": true}))], &outputs, Some(&PLAIN)).unwrap().detections[0]);
    assert!(dilated >= short, "{dilated} {short}");
}
