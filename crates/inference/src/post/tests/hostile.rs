use super::*;

/// Numbers by xorshift, so that a failure comes again.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn float(&mut self) -> f32 {
        let odd = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, -0.0, 1e-40, -1.0, 1e9];
        match self.below(12) {
            0 => self.pick(&odd),
            1 => f32::from_bits(u32::try_from(self.next() >> 32).unwrap()),
            2..5 => f32::from(u16::try_from(self.below(100)).unwrap()),
            _ => f32::from(u16::try_from(self.below(1_000)).unwrap()) / 1_000.0,
        }
    }

    fn data(&mut self, n: usize) -> Data {
        match self.below(8) {
            0 => Data::I64((0..n).map(|_| self.next().cast_signed() >> self.pick(&[0, 40, 62])).collect()),
            1 => Data::I32((0..n).map(|_| i32::try_from(self.below(5)).unwrap() - 1).collect()),
            2 => Data::F64((0..n).map(|_| f64::from(self.float())).collect()),
            3 => Data::Bool((0..n).map(|_| self.below(2) == 0).collect()),
            _ => Data::F32((0..n).map(|_| self.float()).collect()),
        }
    }
}

fn sane(detections: &[Detection], geometry: &Geometry) {
    let [width, height] = geometry.source;
    assert!(detections.len() <= 300);
    for d in detections {
        let [x, y, w, h] = d.bbox;
        assert!(d.score.is_finite() && d.bbox.iter().all(|v| v.is_finite()), "{d:?}");
        assert!(x >= 0.0 && y >= 0.0 && w > 0.0 && h > 0.0 && x + w <= width * 1.0001 && y + h <= height * 1.0001, "{d:?}");
    }
}

#[test]
fn random_tensors_of_random_shapes_never_panic() {
    let mut noise = Noise(0x5eed_0001);
    let (mut good, mut some) = (0, 0);
    for _ in 0..6_000 {
        let classes = noise.below(4);
        let words = ["box", "scores", "objectness", "score", "class", "skip-2"];
        let words = [&words[..], &["masks-2", "keypoints", "angle"]].concat();
        let row: Vec<&str> = match noise.below(8) {
            6 => vec!["box", "scores", "masks-2", "keypoints"],
            7 => vec!["box", "score", "class", "angle"],
            0 => (0..noise.below(5)).map(|_| noise.pick(&words)).collect(),
            1 => vec!["box"],
            2 => vec!["box", "score", "class"],
            3 => vec!["class", "score", "box"],
            4 => vec!["box", "scores"],
            _ => Vec::new(),
        };
        let mut beside = json!({});
        for (part, tensor) in [("scores", "s"), ("score", "t"), ("class", "c"), ("count", "n")] {
            if noise.below(4) == 0 || (row == ["box"] && part != "count" && noise.below(2) == 0) {
                beside[part] = json!(tensor);
            }
        }
        let mut keys = json!({
            "row": row, "beside": beside, "score": noise.pick(&[0.0, 0.3, 1.0]), "layout": noise.pick(&["rows", "columns"]),
            "box": noise.pick(&["cxcywh", "xyxy", "xywh"]), "unit": noise.pick(&["pixels", "relative", "source"]),
            "activation": noise.pick(&["none", "sigmoid", "softmax"]), "background": noise.pick(&["none", "first", "last"]),
            "grid": noise.pick(&["none", "none", "none", "yolox"]), "agnostic": noise.below(2) == 0,
        });
        if row.contains(&"masks-2") || noise.below(9) == 0 {
            keys["prototypes"] = json!("p");
        } else if noise.below(9) == 0 {
            keys["beside"]["masks"] = json!("m");
        }
        if row.contains(&"keypoints") {
            keys["keypoints"] = json!({"names": ["head", "feet"], "dims": noise.pick(&[2, 3])});
        }
        if noise.below(2) == 0 {
            keys["iou"] = json!(noise.pick(&[0.0, 0.5, 1.0]));
            keys["max"] = json!(noise.pick(&[0, 5, u32::MAX]));
        }
        let step = step(&["a", "b", "c"][..classes], keys);
        let Post::Boxes(p) = &step else { unreachable!() };
        let (rows, width, all) = (noise.pick(&[0, 1, 2, 21, 84, 1_100]), p.width(), p.classes());
        let mut tensor = |name: &str, a: usize, b: usize| {
            let size = |n: usize| i64::try_from(n).unwrap();
            let mut shape = vec![size(a), size(b)];
            if noise.below(2) == 0 {
                shape.insert(0, 1);
            }
            let mut n = a * b;
            // Now and then a shape of another size, or one that lies.
            match noise.below(30) {
                0 => shape.swap(0, 1),
                1 => shape.push(noise.pick(&[-1, 0, 1, i64::MIN, i64::MAX])),
                2 => shape.clear(),
                3 => n = n.saturating_sub(1),
                4 => shape[0] = noise.pick(&[-1, 0, 7, i64::MAX]),
                _ => {}
            }
            (name.to_owned(), TensorData { shape, data: noise.data(n) })
        };
        let (a, b) = if p.layout == app_package::pipeline::RowLayout::Rows { (rows, width) } else { (width, rows) };
        let mut outputs = vec![tensor("o", a, b), tensor("s", rows, all), tensor("t", 1, rows), tensor("c", rows, 1), tensor("n", 1, 1)];
        for (name, channels) in [("p", 2), ("m", rows)] {
            let (h, w) = (noise.pick(&[0usize, 1, 16]), noise.pick(&[1usize, 16]));
            let shape = [1, channels, h, w].map(|n| i64::try_from(n).unwrap()).to_vec();
            outputs.push((name.to_owned(), TensorData { shape, data: noise.data(channels * h * w) }));
        }
        let geometry = if noise.below(2) == 0 { LETTERBOX } else { PLAIN };
        match run(std::slice::from_ref(&step), &outputs, Some(&geometry)) {
            Ok(out) => {
                good += 1;
                some += usize::from(!out.detections.is_empty());
                sane(&out.detections, &geometry);
            }
            Err(error) => assert!(["tensor-shape", "tensor-mismatch", "output-not-finite"].contains(&error.code), "{error}"),
        }
    }
    // The test would prove little if most of what it tries were refused.
    assert!(good > 1_000 && some > 200, "{good} {some}");
}

/// Format 1 as it was read before rows had parts: the reference for rows of `[box, objectness, scores]`.
fn first_format(labels: usize, threshold: f32, limit: f32, data: &[f32], geometry: &Geometry) -> Vec<(usize, u32, [u32; 4])> {
    let mut candidates = Vec::new();
    for row in data.chunks_exact(labels + 5) {
        let [cx, cy, w, h, objectness, scores @ ..] = row else { continue };
        if *objectness < threshold || objectness.is_nan() {
            continue;
        }
        let Some((label, best)) = scores.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let score = objectness * best;
        let corners = [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0];
        if score >= threshold && score.is_finite() && corners.iter().all(|v| v.is_finite()) && *w > 0.0 && *h > 0.0 {
            candidates.push((label, score, corners));
        }
    }
    candidates.sort_by(|a, b| b.1.total_cmp(&a.1));
    candidates.truncate(3_000);
    let mut kept: Vec<(usize, f32, [f32; 4])> = Vec::new();
    for candidate in candidates {
        if kept.len() >= 300 {
            break;
        }
        if kept.iter().all(|better| better.0 != candidate.0 || iou(&better.2, &candidate.2) <= limit) {
            kept.push(candidate);
        }
    }
    let boxes = kept.into_iter().filter_map(|(label, score, [l, t, r, b])| Some((label, score, geometry.to_source(l, t, r, b)?)));
    let mut found: Vec<_> = boxes.collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found.into_iter().map(|(label, score, bbox)| (label, score.to_bits(), bbox.map(f32::to_bits))).collect()
}

#[test]
fn rows_of_format_1_give_the_same_bits_as_before() {
    let mut noise = Noise(0x5eed_0002);
    let names = ["0", "1", "2", "3"];
    for round in 0..600 {
        let labels = 1 + noise.below(4);
        let rows = if round % 100 == 0 { 4_000 } else { noise.below(60) };
        let (threshold, limit) = (noise.pick(&[0.0, 0.1, 0.5]), noise.pick(&[0.0, 0.45, 1.0]));
        let data: Vec<f32> = (0..rows * (labels + 5)).map(|_| noise.float()).collect();
        let shape = [1, i64::try_from(rows).unwrap(), i64::try_from(labels + 5).unwrap()];
        let step = step(&names[..labels], json!({"score": threshold, "iou": limit}));
        let out = run(&[step], &named([("o", floats(&shape, &data))]), Some(&LETTERBOX)).unwrap().detections;
        let got: Vec<_> = out.iter().map(|d| (d.label.parse().unwrap(), d.score.to_bits(), d.bbox.map(f32::to_bits))).collect();
        assert_eq!(got, first_format(labels, threshold, limit, &data, &LETTERBOX), "round {round}");
    }
}

#[test]
fn layouts_agree_on_odd_numbers() {
    let mut noise = Noise(0x5eed_0003);
    for round in 0..300 {
        let (rows, classes) = (1 + noise.below(1_500), 1 + noise.below(3));
        let width = classes + 4;
        let data: Vec<f32> = (0..rows * width).map(|_| noise.float()).collect();
        let turned: Vec<f32> = (0..rows * width).map(|i| data[i % rows * width + i / rows]).collect();
        let size = |n: usize| i64::try_from(n).unwrap();
        let activation = noise.pick(&["none", "sigmoid", "softmax"]);
        let of = |layout: &str, shape: [i64; 3], data: &[f32]| {
            let keys = json!({"row": ["box", "scores"], "layout": layout, "activation": activation, "iou": 0.5});
            found(&step(&["a", "b", "c"][..classes], keys), &named([("o", floats(&shape, data))])).unwrap()
        };
        let by_row = of("rows", [1, size(rows), size(width)], &data);
        assert_eq!(by_row, of("columns", [1, size(width), size(rows)], &turned), "round {round}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_no_objects() {
    let step = step(&["a", "b"], json!({"row": ["box", "objectness", "scores"], "activation": "sigmoid"}));
    let good = [50.0, 50.0, 20.0, 20.0, 3.0, 4.0, -4.0];
    for at in 0..6 {
        for odd in [f32::NAN, f32::INFINITY] {
            let mut row = good;
            row[at] = odd;
            assert_eq!(found(&step, &named([("o", floats(&[1, 1, 7], &row))])).unwrap(), [], "{at} {odd}");
        }
    }
    assert_eq!(found(&step, &named([("o", floats(&[1, 1, 7], &good))])).unwrap().len(), 1);
}

#[test]
fn shapes_that_lie_are_refused() {
    let step = step(&["a", "b"], json!({"row": ["box", "scores"], "beside": {"count": "n"}}));
    let count = |n: f32| ("n", floats(&[1], &[n]));
    for (shape, len) in [
        (vec![1, -1, 6], 6),
        (vec![1, i64::MIN, 6], 6),
        (vec![1, 2, 6], 6),
        (vec![1, i64::MAX, 6], 6),
        (vec![i64::MAX, i64::MAX, 0], 0),
        (vec![2, 1, 6], 12),
        (vec![1, 1, 2, 3], 6),
        (vec![6], 6),
        (vec![], 1),
        (vec![], 0),
        (vec![1, i64::MAX, 0], 0),
    ] {
        let error = found(&step, &named([("o", floats(&shape, &vec![0.5; len])), count(1.0)])).unwrap_err();
        assert_eq!(error.code, "tensor-shape", "{shape:?}");
    }
    assert_eq!(found(&step, &named([("o", floats(&[1, 0, 6], &[])), count(5.0)])).unwrap(), []);
    assert_eq!(found(&step, &named([("o", floats(&[0, 6], &[])), count(0.0)])).unwrap(), []);
    for (shape, numbers, code) in [
        (vec![1], vec![f32::NAN], "output-not-finite"),
        (vec![1], vec![f32::INFINITY], "output-not-finite"),
        (vec![2], vec![1.0, 1.0], "tensor-shape"),
        (vec![0], vec![], "tensor-shape"),
    ] {
        let outputs = named([("o", floats(&[1, 1, 6], &[50.0, 50.0, 9.0, 9.0, 0.9, 0.1])), ("n", floats(&shape, &numbers))]);
        assert_eq!(found(&step, &outputs).unwrap_err().code, code, "{shape:?}");
    }
    // A part of another length, and one that is not there.
    let step = super::step(&["a"], json!({"row": ["box"], "beside": {"score": "t"}}));
    let rows = || ("o", floats(&[1, 2, 4], &[50.0, 50.0, 9.0, 9.0, 20.0, 20.0, 9.0, 9.0]));
    for len in [0, 1, 3, 400] {
        let error = found(&step, &named([rows(), ("t", floats(&[1, len], &vec![0.9; usize::try_from(len).unwrap()]))])).unwrap_err();
        assert_eq!((error.code, error.message), ("tensor-shape", format!("`boxes`: t has shape [1, {len}]; 2 rows need one number each")));
    }
    assert_eq!(found(&step, &named([rows()])).unwrap_err().message, "the model gave no output `t`");
}

#[test]
fn what_is_too_large_for_a_float_is_no_object() {
    // Finite as the model gives it, and no more so in the source picture, which is twice as large.
    let turned = step(&["a"], json!({"row": ["box", "score", "angle"]}));
    let rows = floats(&[1, 2, 6], &[0.0, 0.0, 3e38, 3e38, 0.9, 0.3, 32.0, 32.0, 20.0, 8.0, 0.8, 0.3]);
    let out = run(&[turned], &named([("o", rows)]), Some(&LETTERBOX)).unwrap();
    assert_eq!(out.detections.iter().map(|found| found.score).collect::<Vec<_>>(), [0.8]);
    // The mean of a turned box sums its cells up.
    let label = json!({"id": "a", "text": {"zh": "a", "en": "a"}});
    let grid: Post = serde_json::from_value(json!({"grid": {"output": "o", "labels": [label], "score": 0.4, "turn": true}})).unwrap();
    for (cell, found) in [(f32::MAX, 0), (0.5, 1)] {
        let cells = floats(&[1, 1, 12, 12], &[cell; 144]);
        assert_eq!(run(std::slice::from_ref(&grid), &named([("o", cells)]), Some(&PLAIN)).unwrap().detections.len(), found);
    }
}
