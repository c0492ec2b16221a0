//! Damage done to texts, the same for the same seed.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

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
    let mut bytes = text.as_bytes().to_vec();
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
    String::from_utf8_lossy(&bytes).into_owned()
}
