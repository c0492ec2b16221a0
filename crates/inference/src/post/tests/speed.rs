use std::time::{Duration, Instant};

use super::*;

/// Boxes of 80 labels in 8,400 rows; each `every`th row holds an object, a part of them on the same spot.
fn head(every: usize, columns: bool) -> TensorData {
    let (rows, width) = (8_400, 84);
    let mut data = vec![0.0; rows * width];
    for row in 0..rows {
        let mut put = |column: usize, value: f32| {
            data[if columns { column * rows + row } else { row * width + column }] = value;
        };
        let spread = |n: usize, of: usize| f32::from(u16::try_from(row * n % of).unwrap());
        for (column, value) in [spread(37, 600), spread(61, 600), 20.0 + spread(7, 50), 20.0 + spread(11, 50)].into_iter().enumerate() {
            put(column, value);
        }
        for class in 0..80 {
            put(4 + class, spread(class + 3, 97) / 1_000.0);
        }
        if row % every == 0 {
            put(4 + row % 7, 0.5 + spread(13, 400) / 1_000.0);
        }
    }
    let shape = if columns { vec![1, 84, 8_400] } else { vec![1, 8_400, 84] };
    TensorData { shape, data: Data::F32(data) }
}

/// The limit is that of an unoptimised build on a busy machine; an optimised one takes about a hundredth of it.
#[test]
fn eight_thousand_rows_take_little() {
    let labels: Vec<String> = (0..80).map(|i| format!("l{i}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let geometry = Geometry { tensor: [640.0, 640.0], source: [640.0, 640.0], fitted: [640.0, 640.0], offset: [0.0, 0.0] };
    for every in [100, 20, 1] {
        for layout in ["columns", "rows"] {
            let step = step(&labels, json!({"row": ["box", "scores"], "layout": layout, "score": 0.25, "iou": 0.7}));
            let outputs = named([("o", head(every, layout == "columns"))]);
            let mut times = Vec::new();
            let mut found = 0;
            for _ in 0..20 {
                let start = Instant::now();
                found = run(std::slice::from_ref(&step), &outputs, Some(&geometry)).unwrap().detections.len();
                times.push(start.elapsed());
            }
            times.sort();
            println!("{} candidates in {layout}: {:?} (least {:?}), {found} boxes", 8_400 / every, times[10], times[0]);
            assert!(times[0] < Duration::from_millis(150), "{layout}: {:?}", times[0]);
        }
    }
}
