//! Damage done to texts, bytes and JSON, the same for the same seed.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use serde_json::{Value, json};

/// What parsers stumble over.
const WORDS: [&str; 26] = [
    "\"",
    "\\u0000",
    "\u{202e}",
    "\u{feff}",
    "煤",
    "🪨",
    "{",
    "[",
    "null",
    "1e999",
    "-1",
    "18446744073709551616",
    "../",
    "%00",
    "%ff",
    "\r\n",
    "\0",
    "'",
    "<b>",
    "&",
    "=",
    ";",
    "a=b=c",
    "-----BEGIN ",
    "==",
    "://",
];

pub fn pick<'a, T>(of: &'a [T], rng: &mut StdRng) -> &'a T {
    &of[rng.random_range(0..of.len())]
}

/// A text with words put in, pieces cut out and repeated, and letters changed.
pub fn damaged(text: &str, rng: &mut StdRng) -> String {
    String::from_utf8_lossy(&damaged_bytes(text.as_bytes(), rng)).into_owned()
}

/// The same of bytes that are no text.
pub fn damaged_bytes(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.random_range(0..3) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..40)).min(bytes.len());
        match rng.random_range(0..6) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let piece = bytes[at..end].repeat(*pick(&[1, 2, 30, 500], rng));
                bytes.splice(at..at, piece);
            }
            2 => bytes.truncate(at),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            4 => {
                let mut noise = vec![0; rng.random_range(1..20)];
                rng.fill_bytes(&mut noise);
                bytes.splice(at..at, noise);
            }
            _ => {
                let word = pick(&WORDS, rng).repeat(*pick(&[1, 1, 1, 300], rng));
                bytes.splice(at..at, word.into_bytes());
            }
        }
    }
    bytes
}

/// What stands in place of a value that was expected.
fn odd(rng: &mut StdRng) -> Value {
    let deep = |depth| (0..depth).fold(json!(0), |inner, _| json!([inner]));
    match rng.random_range(0..13) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(i64::MIN),
        5 => json!(1e308),
        6 => json!(""),
        7 => json!({}),
        8 => json!([]),
        9 => deep(*pick(&[2, 20, 100], rng)),
        10 => json!("9999-12-31T23:59:60+23:59"),
        11 => json!(pick(&WORDS, rng).repeat(*pick(&[1, 300, 3_000], rng))),
        _ => json!(damaged("2026-02-28T00:00:00Z", rng)),
    }
}

/// JSON that is still JSON, in which one value is missing, another one or of another kind: what stands around it is read all the same.
pub fn bent(value: &Value, rng: &mut StdRng) -> Value {
    let mut out = value.clone();
    let stops = rng.random_range(0..8) == 0;
    match &mut out {
        Value::Object(map) if !map.is_empty() && !stops => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = pick(&keys, rng);
            match rng.random_range(0..10) {
                0 => drop(map.remove(key)),
                1 => drop(map.insert(damaged(key, rng), odd(rng))),
                _ => map[key] = bent(&map[key], rng),
            }
        }
        Value::Array(list) if !list.is_empty() && !stops => {
            let at = rng.random_range(0..list.len());
            let one = list[at].clone();
            match rng.random_range(0..10) {
                0 => drop(list.remove(at)),
                1 => list.extend(std::iter::repeat_n(one, *pick(&[1, 100, 600], rng))),
                _ => list[at] = bent(&one, rng),
            }
        }
        _ => out = odd(rng),
    }
    out
}
