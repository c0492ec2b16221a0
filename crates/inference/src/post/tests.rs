#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp, clippy::many_single_char_names, reason = "tests")]

mod hostile;
mod objects;
mod speed;
mod words;

use serde_json::{Value, json};

use super::*;
use crate::{
    engine::Data,
    output::{ClassScore, Detection},
};

/// A picture of 128 × 72 that is 64 × 36 in a tensor of 64 × 64.
const LETTERBOX: Geometry = Geometry { tensor: [64.0, 64.0], source: [128.0, 72.0], fitted: [64.0, 36.0], offset: [0.0, 14.0] };
/// A picture of 100 × 100 as it is.
const PLAIN: Geometry = Geometry { tensor: [100.0, 100.0], source: [100.0, 100.0], fitted: [100.0, 100.0], offset: [0.0, 0.0] };

/// Runs steps that read no files.
fn run(steps: &[Post], outputs: &[(String, TensorData)], geometry: Option<&Geometry>) -> Result<AppOutput> {
    super::run(&ready(Path::new("."), steps).unwrap(), outputs, geometry, None)
}

fn floats(shape: &[i64], data: &[f32]) -> TensorData {
    TensorData { shape: shape.into(), data: Data::F32(data.into()) }
}

/// A step `boxes` with these labels and keys.
fn step(labels: &[&str], keys: Value) -> Post {
    let labels: Vec<Value> = labels.iter().map(|id| json!({"id": id, "text": {"zh": id, "en": id}})).collect();
    let mut boxes = json!({"output": "o", "score": 0.5, "labels": labels});
    boxes.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(json!({ "boxes": boxes })).unwrap()
}

fn named<const N: usize>(outputs: [(&str, TensorData); N]) -> Vec<(String, TensorData)> {
    outputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
}

fn found(step: &Post, outputs: &[(String, TensorData)]) -> Result<Vec<(String, f32, [f32; 4])>> {
    let out = run(std::slice::from_ref(step), outputs, Some(&PLAIN))?;
    Ok(out.detections.into_iter().map(|d| (d.label, d.score, d.bbox)).collect())
}

fn object(label: &str, score: f32, bbox: [f32; 4]) -> (String, f32, [f32; 4]) {
    (label.into(), score, bbox)
}

/// Families against their own post-processing in numpy; see `make_rows.py`.
#[test]
fn each_family_gives_what_its_own_code_does() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../tests/rows.json")).unwrap();
    assert_eq!(cases.len(), 12);
    for case in &cases {
        let name = &case["name"];
        let pair = |key: &str| serde_json::from_value::<[f32; 2]>(case["geometry"][key].clone()).unwrap();
        let geometry = Geometry { tensor: pair("tensor"), source: pair("source"), fitted: pair("fitted"), offset: pair("offset") };
        let steps: Vec<Post> = serde_json::from_value(case["post"].clone()).unwrap();
        let outputs = case["outputs"].as_object().unwrap().iter().map(|(name, tensor)| {
            let shape = serde_json::from_value(tensor["shape"].clone()).unwrap();
            let data = match tensor.get("integers") {
                Some(integers) => Data::I64(serde_json::from_value(integers.clone()).unwrap()),
                None => Data::F32(serde_json::from_value(tensor["numbers"].clone()).unwrap()),
            };
            (name.clone(), TensorData::new(shape, data).unwrap())
        });
        let detections = run(&steps, &outputs.collect::<Vec<_>>(), Some(&geometry)).unwrap().detections;
        let expected: Vec<Detection> = serde_json::from_value(case["expect"].clone()).unwrap();
        assert_eq!(detections.len(), expected.len(), "{name}");
        for (got, wanted) in detections.iter().zip(&expected) {
            let same = got.bbox.iter().zip(&wanted.bbox).all(|(a, b)| (a - b).abs() < 0.002);
            assert!(got.label == wanted.label && (got.score - wanted.score).abs() < 1e-5 && same, "{name}: {got:?} is not {wanted:?}");
        }
    }
}

#[test]
fn rows_and_columns_mean_the_same() {
    // Two rows of 4 + 3: of equal class scores the last class is taken, in either layout.
    let rows = [20.0, 20.0, 10.0, 10.0, 0.2, 0.7, 0.7, 60.0, 60.0, 20.0, 10.0, 0.9, 0.1, 0.3];
    let columns: Vec<f32> = (0..14).map(|i| rows[i % 2 * 7 + i / 2]).collect();
    let wanted = vec![object("a", 0.9, [50.0, 55.0, 20.0, 10.0]), object("c", 0.7, [15.0, 15.0, 10.0, 10.0])];
    for (layout, shapes, data) in [("rows", [vec![1, 2, 7], vec![2, 7]], rows.to_vec()), ("columns", [vec![1, 7, 2], vec![7, 2]], columns)]
    {
        let step = step(&["a", "b", "c"], json!({"row": ["box", "scores"], "layout": layout}));
        for shape in shapes {
            assert_eq!(found(&step, &named([("o", floats(&shape, &data))])).unwrap(), wanted, "{layout} {shape:?}");
        }
    }
}

#[test]
fn forms_and_units_say_where_a_box_is() {
    let one = |keys: Value, four: [f32; 4], geometry: &Geometry| {
        let [a, b, c, d] = four;
        let outputs = named([("o", floats(&[1, 1, 5], &[a, b, c, d, 0.9]))]);
        let step = step(&["a"], keys);
        run(&[step], &outputs, Some(geometry)).unwrap().detections.first().map(|d| d.bbox)
    };
    let row = ["box", "score"];
    assert_eq!(one(json!({"row": row}), [32.0, 32.0, 8.0, 4.0], &LETTERBOX), Some([56.0, 32.0, 16.0, 8.0]));
    assert_eq!(one(json!({"row": row, "box": "xyxy"}), [28.0, 30.0, 36.0, 34.0], &LETTERBOX), Some([56.0, 32.0, 16.0, 8.0]));
    assert_eq!(one(json!({"row": row, "box": "xywh"}), [28.0, 30.0, 8.0, 4.0], &LETTERBOX), Some([56.0, 32.0, 16.0, 8.0]));
    assert_eq!(one(json!({"row": row, "unit": "relative"}), [0.5, 0.5, 0.125, 0.0625], &LETTERBOX), Some([56.0, 32.0, 16.0, 8.0]));
    assert_eq!(
        one(json!({"row": row, "box": "xyxy", "unit": "source"}), [56.0, -4.0, 72.0, 40.0], &LETTERBOX),
        Some([56.0, 0.0, 16.0, 40.0])
    );
    // Corners the wrong way round are no box, and one outside the picture is none.
    assert_eq!(one(json!({"row": row, "box": "xyxy"}), [36.0, 30.0, 28.0, 34.0], &LETTERBOX), None);
    assert_eq!(one(json!({"row": row}), [32.0, 4.0, 8.0, 4.0], &LETTERBOX), None);
}

#[test]
fn a_grid_of_yolox_counts_cells_row_by_row() {
    // 64 × 64 pixels: 64 cells of 8, 16 of 16, 4 of 32. Row 64 + 6 is the second line's third cell of 16 pixels.
    let mut rows = vec![0.0; 84 * 6];
    rows[70 * 6..71 * 6].copy_from_slice(&[0.5, -0.5, 0.0, 2f32.ln(), 0.8, 1.0]);
    let step = step(&["a"], json!({"grid": "yolox", "iou": 0.45}));
    let geometry = Geometry { tensor: [64.0, 64.0], source: [64.0, 64.0], fitted: [64.0, 64.0], offset: [0.0, 0.0] };
    let run = |outputs: Vec<_>| run(std::slice::from_ref(&step), &outputs, Some(&geometry));
    let out = run(named([("o", floats(&[1, 84, 6], &rows))])).unwrap();
    assert_eq!(out.detections, [Detection::new("a", 0.8, [32.0, 0.0, 16.0, 24.0])]);
    let error = run(named([("o", floats(&[1, 83, 6], &rows[6..]))])).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), ("tensor-shape", "`boxes`: o has 83 rows; `grid: yolox` on 64 × 64 pixels needs 84"));
}

#[test]
fn what_lies_beside_is_found_in_either_layout() {
    let boxes = floats(&[1, 3, 4], &[20.0, 20.0, 10.0, 10.0, 50.0, 50.0, 10.0, 10.0, 80.0, 80.0, 10.0, 10.0]);
    let step = step(&["a", "b"], json!({"row": ["box"], "beside": {"scores": "s"}}));
    let wanted = vec![object("b", 0.9, [15.0, 15.0, 10.0, 10.0]), object("a", 0.8, [75.0, 75.0, 10.0, 10.0])];
    let by_row = [0.1, 0.9, 0.2, 0.3, 0.8, 0.0];
    let by_class = [0.1, 0.2, 0.8, 0.9, 0.3, 0.0];
    for (shape, data) in [(vec![1, 3, 2], by_row), (vec![3, 2], by_row), (vec![1, 2, 3], by_class), (vec![1, 1, 2, 3], by_class)] {
        assert_eq!(found(&step, &named([("o", boxes.clone()), ("s", floats(&shape, &data))])).unwrap(), wanted, "{shape:?}");
    }
    for shape in [vec![1, 6], vec![6], vec![3, 1, 2], vec![2, 3, 1]] {
        let error = found(&step, &named([("o", boxes.clone()), ("s", floats(&shape, &by_row))])).unwrap_err();
        assert_eq!(error.code, "tensor-shape", "{shape:?}");
        assert!(error.message.contains("3 rows need 2 scores each"), "{error}");
    }
}

#[test]
fn classes_are_numbers_of_any_type() {
    let rows = floats(&[3, 5], &[20.0, 20.0, 10.0, 10.0, 0.9, 50.0, 50.0, 10.0, 10.0, 0.8, 80.0, 80.0, 10.0, 10.0, 0.7]);
    let keys = |background: &str| json!({"row": ["box", "score"], "beside": {"class": "c", "count": "n"}, "background": background});
    let count = |n| TensorData { shape: vec![1], data: Data::I32(vec![n]) };
    let labels = |background, class: Data, n| {
        let outputs = named([("o", rows.clone()), ("c", TensorData { shape: vec![1, 3, 1], data: class }), ("n", count(n))]);
        let found = found(&step(&["a", "b"], keys(background)), &outputs).unwrap();
        found.into_iter().map(|(label, _, _)| label).collect::<Vec<_>>()
    };
    for class in [Data::I64(vec![1, 0, 1]), Data::I32(vec![1, 0, 1]), Data::F32(vec![1.0, 0.0, 0.999])] {
        assert_eq!(labels("none", class, 3), ["b", "a", "b"]);
    }
    // Negative, too large and not a number are no object, nor is the background.
    assert_eq!(labels("none", Data::I64(vec![-1, 2, i64::MAX]), 3), [""; 0]);
    assert_eq!(labels("none", Data::F32(vec![f32::NAN, f32::INFINITY, -1.0]), 3), [""; 0]);
    assert_eq!(labels("first", Data::I64(vec![0, 1, 2]), 3), ["a", "b"]);
    assert_eq!(labels("last", Data::I64(vec![0, 1, 2]), 3), ["a", "b"]);
    // The count bounds the rows, and what is more or less than there can be is cut.
    assert_eq!(labels("none", Data::I64(vec![0, 1, 0]), 2), ["a", "b"]);
    assert_eq!(labels("none", Data::I64(vec![0, 1, 0]), 0), [""; 0]);
    assert_eq!(labels("none", Data::I64(vec![0, 1, 0]), -7), [""; 0]);
    assert_eq!(labels("none", Data::I64(vec![0, 1, 0]), 9_999), ["a", "b", "a"]);
}

#[test]
fn a_background_is_never_an_object() {
    // Logits of background, a, b: the background is the best of the first row, not of the second.
    let boxes = floats(&[1, 2, 4], &[20.0, 20.0, 10.0, 10.0, 50.0, 50.0, 10.0, 10.0]);
    let logits = floats(&[1, 2, 3], &[4.0, 2.0, 1.0, 0.0, 1.0, 3.0]);
    let labels = |activation: &str| {
        let keys = json!({"row": ["box"], "beside": {"scores": "s"}, "background": "first", "activation": activation});
        found(&step(&["a", "b"], keys), &named([("o", boxes.clone()), ("s", logits.clone())])).unwrap()
    };
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    assert_eq!(
        labels("sigmoid"),
        [object("b", sigmoid(3.0), [45.0, 45.0, 10.0, 10.0]), object("a", sigmoid(2.0), [15.0, 15.0, 10.0, 10.0])]
    );
    let [(label, score, _)] = <[_; 1]>::try_from(labels("softmax")).unwrap();
    assert!(label == "b" && (score - 0.843_795).abs() < 1e-5, "{label} {score}");
}

#[test]
fn objectness_and_one_label_need_no_class() {
    let rows = floats(&[1, 2, 5], &[20.0, 20.0, 10.0, 10.0, 2.0, 50.0, 50.0, 10.0, 10.0, -2.0]);
    let step = step(&["a"], json!({"row": ["box", "objectness"], "activation": "sigmoid"}));
    let found = found(&step, &named([("o", rows)])).unwrap();
    assert_eq!(found, [object("a", 1.0 / (1.0 + (-2f32).exp()), [15.0, 15.0, 10.0, 10.0])]);
}

#[test]
fn the_best_of_many_stay() {
    // 5,000 boxes of two labels on one spot: one of each label stays, or one alone, or the best 300, or as many as are asked for.
    let rows: Vec<f32> =
        (0u8..200).cycle().take(5_000).flat_map(|i| [50.0, 50.0, 20.0, 20.0, 0.5 + f32::from(i) / 400.0, f32::from(i % 2)]).collect();
    let outputs = named([("o", floats(&[1, 5_000, 6], &rows))]);
    let count = |keys: Value| {
        let mut all = json!({"row": ["box", "score", "class"]});
        all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let found = found(&step(&["a", "b"], all), &outputs).unwrap();
        assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
        found.len()
    };
    assert_eq!(count(json!({"iou": 0.5})), 2);
    assert_eq!(count(json!({"iou": 0.5, "agnostic": true})), 1);
    assert_eq!(count(json!({})), 300);
    assert_eq!(count(json!({"max": 7})), 7);
    assert_eq!(count(json!({"max": 4_000})), 300);
    assert_eq!(count(json!({"max": 1, "iou": 0.5})), 1);
    assert_eq!(count(json!({"max": 9, "iou": 1.0})), 9);
}

#[test]
fn classes_know_activations_and_the_best() {
    let labels = ["a", "b", "c"].map(|id| json!({"id": id, "text": {"zh": id, "en": id}}));
    let classes = |keys: Value| {
        let mut step = json!({"output": "o", "labels": labels});
        step.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let step: Post = serde_json::from_value(json!({ "classes": step })).unwrap();
        run(&[step], &named([("o", floats(&[1, 3], &[0.0, 2.0, 1.0]))]), None).unwrap().classes
    };
    let scores = |found: &[ClassScore]| found.iter().map(|c| (c.label.clone(), (c.score * 1_000.0).round())).collect::<Vec<_>>();
    let words = |pairs: &[(&str, f32)]| pairs.iter().map(|(label, score)| ((*label).to_owned(), *score)).collect::<Vec<_>>();
    assert_eq!(scores(&classes(json!({}))), words(&[("b", 2_000.0), ("c", 1_000.0), ("a", 0.0)]));
    assert_eq!(scores(&classes(json!({"activation": "sigmoid"}))), words(&[("b", 881.0), ("c", 731.0), ("a", 500.0)]));
    let softmax = words(&[("b", 665.0), ("c", 245.0), ("a", 90.0)]);
    assert_eq!(scores(&classes(json!({"activation": "softmax"}))), softmax);
    assert_eq!(classes(json!({"softmax": true})), classes(json!({"activation": "softmax"})));
    assert_eq!(scores(&classes(json!({"activation": "softmax", "top": 2}))), softmax[..2]);
    assert_eq!(classes(json!({"top": 9})).len(), 3);
}
