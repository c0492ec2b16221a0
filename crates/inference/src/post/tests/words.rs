use super::*;

const DETECTOR: [&str; 3] = ["helmet", "head", "vest"];

/// The message for a tensor that does not fit these keys.
fn message(labels: &[&str], keys: Value, shape: &[i64]) -> String {
    let tensor = TensorData { shape: shape.into(), data: Data::F32(vec![0.0; TensorData::elements(shape).unwrap()]) };
    let error = found(&step(labels, keys), &named([("o", tensor)])).unwrap_err();
    assert_eq!(error.code, "tensor-shape", "{error}");
    error.message
}

#[test]
fn a_width_that_does_not_fit_is_spelled_out() {
    let labels: Vec<String> = (0..80).map(|i| format!("l{i}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let raw = json!({"row": ["box", "scores"]});
    let columns = json!({"row": ["box", "scores"], "layout": "columns"});
    assert_eq!(message(&labels, raw.clone(), &[1, 100, 7]), "`boxes`: o ([100, 7]) has rows of 7; [box, scores] with 80 labels needs 84");
    assert_eq!(
        message(&labels, columns, &[1, 7, 100]),
        "`boxes`: o ([7, 100]) has rows of 7 in its columns; [box, scores] with 80 labels needs 84"
    );
    let read = message(&labels, raw, &[1, 84, 8_400]);
    assert!(read.ends_with("needs 84; write `layout: columns`"), "{read}");
    let read = message(&labels, json!({}), &[84, 8_400]);
    assert!(read.ends_with("needs 85; this looks like YOLOv8: write `row: [box, scores], layout: columns`"), "{read}");
}

#[test]
fn a_family_that_fits_is_named() {
    let hint = |keys: Value, shape: &[i64]| {
        message(&DETECTOR, keys, shape).split_once("; ").unwrap().1.split_once("; ").map(|(_, h)| h.to_owned())
    };
    let v8 = "this looks like YOLOv8: write `row: [box, scores]`";
    assert_eq!(hint(json!({}), &[1, 100, 7]).unwrap(), v8);
    let v5 = "this looks like YOLOv5: write `row: [box, objectness, scores]`";
    assert_eq!(hint(json!({"row": ["box", "scores"]}), &[1, 100, 8]).unwrap(), v5);
    let rows = "write `layout: rows`";
    assert_eq!(hint(json!({"row": ["box", "scores"], "layout": "columns"}), &[1, 100, 7]).unwrap(), rows);
    let masks = "this looks like YOLOv8-seg: write `row: [box, scores, skip-32]`";
    assert_eq!(hint(json!({"row": ["box", "scores"], "layout": "columns"}), &[1, 39, 100]).unwrap(), masks);
    let mm = "this looks like MMDeploy: write `row: [box, score], beside: {class: …}`";
    assert_eq!(hint(json!({}), &[1, 100, 5]).unwrap(), mm);
    let alone = "write `row: [box], beside: {scores: …}`";
    assert_eq!(hint(json!({}), &[1, 100, 4]).unwrap(), alone);
    assert_eq!(hint(json!({}), &[1, 100, 11]), None);
}

#[test]
fn six_columns_have_two_readings() {
    let six = "this looks like YOLO26, YOLOv10, nms=True: write `row: [box, score, class], box: xyxy`; \
               or this looks like RT-DETR: write `row: [box, score, class], unit: relative`";
    let read = message(&DETECTOR, json!({}), &[1, 300, 6]);
    assert!(read.ends_with(&format!("needs 8; {six}")), "{read}");
    // Two labels without objectness make six columns, too.
    let read = message(&["a", "b"], json!({}), &[1, 300, 6]);
    assert!(read.ends_with(&format!("write `row: [box, scores]`; or {six}")), "{read}");
}

#[test]
fn what_the_manifest_forgets_or_says_twice_is_named() {
    let rows = |w: usize| floats(&[1, 1, i64::try_from(w).unwrap()], &vec![0.9; w]);
    for (keys, width, words) in [
        (json!({"row": ["scores", "score"]}), 4, "hold no `box`"),
        (json!({"row": ["box", "score", "score", "class"]}), 7, "`score` stands twice in `row`"),
        (json!({"row": ["box", "scores"], "beside": {"scores": "o"}}), 7, "need 3 scores each"),
        (json!({"row": ["box", "scores", "class"]}), 8, "leave `class` and `score` out"),
        (json!({"row": ["box", "class"]}), 5, "nothing says how sure it is"),
        (json!({"row": ["box", "score"]}), 5, "nothing tells the labels apart"),
    ] {
        let error = found(&step(&DETECTOR, keys.clone()), &named([("o", rows(width))])).unwrap_err();
        assert!(error.message.contains(words), "{keys}: {error}");
    }
}
