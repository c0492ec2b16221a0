use std::time::{Duration, Instant};

use super::*;

/// The best label of each of 8,400 rows of `[84, 8400]`, as plain C does it: label by label for each row.
const BEST: &str = r#"(local $i i32) (local $c i32) (local $at i32) (local $best f32) (local $label i32) (local $s f32)
    (loop $rows
      (local.set $best (f32.const -1)) (local.set $c (i32.const 0))
      (local.set $at (i32.add (i32.add (local.get 0) (i32.const 134528)) (i32.shl (local.get $i) (i32.const 2))))
      (loop $labels
        (local.set $s (f32.load (local.get $at)))
        (if (f32.gt (local.get $s) (local.get $best)) (then (local.set $best (local.get $s)) (local.set $label (local.get $c))))
        (local.set $at (i32.add (local.get $at) (i32.const 33600)))
        (local.set $c (i32.add (local.get $c) (i32.const 1)))
        (br_if $labels (i32.lt_u (local.get $c) (i32.const 80))))
      (f32.store (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 2))) (f32.convert_i32_u (local.get $label)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $rows (i32.lt_u (local.get $i) (i32.const 8400))))
    i64.const 0"#;

/// Fuel is the same everywhere; the time, of which BENCHMARKS.md has the target, is only held against what no load explains: that the
/// interpreter is not optimised.
#[test]
fn eight_thousand_rows_take_fourteen_million_instructions() {
    let bytes = module("", "(drop (memory.grow (i32.const 50))) i32.const 131072", BEST);
    let mut own = own(json!({"in": ["tensors"], "fuel": 50_000_000}), &bytes).unwrap();
    let raw =
        [("output0".to_owned(), floats(&[1, 84, 8_400], &(0..84_usize * 8_400).map(|i| (i * 7 % 97) as f32 / 97.0).collect::<Vec<_>>()))];
    let seen = Seen { tensors: &raw, ..Seen::default() };
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        own.run(&seen, &mut AppOutput::default()).unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("84 × 8,400 floats: median {:?}, least {:?}, fuel {}", times[10], times[0], own.figures().most_fuel);
    assert!((13_000_000..16_000_000).contains(&own.figures().most_fuel), "{}", own.figures().most_fuel);
    assert!(times[0] < Duration::from_millis(300), "{:?}", times[0]);
}
