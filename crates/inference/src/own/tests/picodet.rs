//! The steps of the documentation: what their sources say, and PicoDet as its publisher decodes it.

use super::*;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../docs/own-step/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Numbers of 0 to 1 with 24 bits, as `tests/own/picodet.py` makes them.
fn noise(n: u64, seed: u64) -> impl Iterator<Item = f32> {
    (0..n).map(move |i| (((i + seed) * 2_654_435_761 % (1 << 32)) >> 8) as f32 / 16_777_216.0)
}

#[test]
fn picodet_is_decoded_as_its_publisher_does() {
    let (mut scores, mut distances) = (Vec::new(), Vec::new());
    for level in 0..4_u64 {
        let stride = 8 << level;
        let cells = 608_u64.div_ceil(stride) * 800_u64.div_ceil(stride);
        let score = noise(cells * 10, level * 1_000_003).enumerate().map(|(i, h)| if i % 997 == 0 { 0.9 * h } else { 0.3 * h });
        let distance = noise(cells * 32, level * 7_000_003 + 17).map(|h| (h - 0.5) * 6.0);
        let rows = i64::try_from(cells).unwrap();
        scores.push((format!("scores{level}"), floats(&[1, rows, 10], &score.collect::<Vec<_>>())));
        distances.push((format!("distances{level}"), floats(&[1, rows, 32], &distance.collect::<Vec<_>>())));
    }
    scores.append(&mut distances);
    let mut own = own(json!({"in": ["tensors"], "unit": "pixels", "fuel": 50_000_000}), &file("picodet.wasm")).unwrap();
    own.known.labels = (0..10).map(|i| i.to_string()).collect();
    let size = [608.0, 800.0];
    let geometry = Geometry { tensor: size, source: size, fitted: size, offset: [0.0; 2] };
    let seen = Seen { tensors: &scores, geometry: Some(&geometry), ..Seen::default() };
    let found = own.run(&seen, &mut AppOutput::default()).unwrap();
    let mut found = found.detections;
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    // Rows of label, score, left, top, right, bottom.
    let expected: Vec<[f32; 6]> = serde_json::from_str(include_str!("../../../tests/own/picodet.json")).unwrap();
    assert_eq!(found.len(), expected.len());
    let mut worst = 0_f32;
    for (own, [label, score, left, top, right, bottom]) in found.iter().zip(expected) {
        assert_eq!(own.label, label.to_string(), "{own:?}");
        assert!((own.score - score).abs() < 1e-6, "{own:?}");
        let [x, y, w, h] = own.bbox;
        worst = [x - left, y - top, x + w - right, y + h - bottom].iter().fold(worst, |worst, d| worst.max(d.abs()));
    }
    println!("{} objects, boxes differ by at most {worst} pixels, fuel {}", found.len(), own.figures().most_fuel);
    assert!(worst < 0.01, "{worst}");
    // Of another model: it says what it needs and ends itself.
    let fewer = Seen { tensors: &scores[..7], ..seen };
    assert_eq!(own.run(&fewer, &mut AppOutput::default()).map(|_| ()).unwrap_err().code, "wasm-trap");
    assert_eq!(own.take_log(), ["eight outputs are needed: four of scores, then four of distances"]);
}

#[test]
fn bare_heads_are_counted() {
    let items = json!([{"id": "bare", "text": {"en": "bare"}}]);
    let mut own = own(json!({"out": "values", "items": items}), &file("bare-heads.wasm")).unwrap();
    let mut count = |objects: &[Detection]| {
        let found = AppOutput { detections: objects.to_vec(), ..AppOutput::default() };
        let answer = own.run(&Seen::of(&found, None), &mut found.clone()).unwrap();
        (answer.values[0].value, own.take_log().len())
    };
    let person = |x| Detection::new("person", 0.9, [x, 10.0, 20.0, 40.0]);
    let helmet = Detection::new("helmet", 0.8, [15.0, 10.0, 5.0, 5.0]);
    assert_eq!(count(&[]), (0.0, 0));
    assert_eq!(count(&[person(10.0), helmet.clone()]), (0.0, 0));
    assert_eq!(count(&[person(10.0), helmet, person(60.0), person(80.0)]), (2.0, 1));
}
