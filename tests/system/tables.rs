//! Our tables and Python's, which is another program's reading of RFC 4180: the same texts are refused, and the others mean the same numbers.

use std::io::Write as _;
use std::process::{Command, Stdio};

use app_package::pipeline::{Column, PreWindow, WindowLayout};
use inference::table;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::demo::tool;

const CASES: usize = 5_000;
const SEED: u64 = 20_261_129;
const CELLS: [&str; 24] = [
    "1",
    "-2.5",
    " 3 ",
    "4e2",
    ".5",
    "6.",
    "+7",
    "",
    " ",
    "x",
    "1e400",
    "-1e39",
    "inf",
    "nan",
    "0x1",
    "1_0",
    "１",
    "5\" pipe",
    "\"q\"",
    "\"1\"",
    "\"a,b\"",
    "\"two\nlines\"",
    "\"say \"\"hi\"\"\"",
    "\"1\" \"",
];
/// What a damaged text gets.
const PIECES: [&str; 12] = ["\"", "\"\"", ",", ";", "\t", "\n", "\r\n", "\r", " ", "a", "9", "\u{feff}"];

fn text(rng: &mut StdRng) -> String {
    let end = ["\n", "\r\n", "\r"][rng.random_range(0..3)];
    let width = rng.random_range(1..5);
    let mut header: Vec<&str> = (0..width).map(|_| ["b", "c", "\"d, e\"", " f", "a"][rng.random_range(0..5)]).collect();
    header[rng.random_range(0..width)] = ["a", " a ", "\"a\""][rng.random_range(0..3)];
    let mut text = if rng.random_range(0..8) == 0 { "\u{feff}".to_owned() } else { String::new() };
    text += &header.join(",");
    // Mostly plain numbers, or hardly a text would be taken.
    let cells = if rng.random_range(0..3) == 0 { &CELLS[..] } else { &CELLS[..7] };
    for _ in 0..rng.random_range(0..9) {
        let row: Vec<&str> = (0..width).map(|_| cells[rng.random_range(0..cells.len())]).collect();
        text += end;
        text += &row.join(",");
    }
    text += ["", end][rng.random_range(0..2)];
    for _ in 0..[0, 0, 1, 2, 5][rng.random_range(0..5)] {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let at = places[rng.random_range(0..places.len())];
        if rng.random_range(0..3) == 0 && at < text.len() {
            text.remove(at);
        } else {
            text.insert_str(at, PIECES[rng.random_range(0..PIECES.len())]);
        }
    }
    text
}

#[test]
fn tables_mean_what_they_mean_elsewhere() {
    let mut rng = StdRng::seed_from_u64(SEED);
    let cases: Vec<(String, u32)> = (0..CASES).map(|_| (text(&mut rng), rng.random_range(1..4))).collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/tables.py");
    let mut python =
        Command::new(tool("TEST_PYTHON")).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    // It reads all before it answers, so neither waits for the other.
    python.stdin.take().unwrap().write_all(&serde_json::to_vec(&cases).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let theirs: Vec<(Option<Vec<f32>>, bool)> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs.len(), CASES);

    let (mut taken, mut quotes) = (0, 0);
    for ((text, length), (numbers, is_table)) in cases.iter().zip(&theirs) {
        let pre = PreWindow {
            columns: vec![Column::plain("a")],
            length: *length,
            layout: WindowLayout::Flat,
            mean: Vec::new(),
            std: Vec::new(),
            spectrum: None,
        };
        let mut out = Vec::new();
        let ours = table::window(&pre, text.as_bytes(), &mut out);
        assert_eq!(ours.as_ref().ok().map(|()| &out), numbers.as_ref(), "the last {length} of {text:?}: {ours:?}");
        assert_eq!(table::check(text.as_bytes()).is_ok(), *is_table, "{text:?}: {:?}", table::check(text.as_bytes()));
        taken += usize::from(ours.is_ok());
        quotes += usize::from(ours.is_err_and(|e| e.code == "csv-quote"));
    }
    assert!(
        taken > CASES / 10 && quotes > CASES / 100,
        "{taken} taken, {quotes} refused for their quotation marks: the texts are too much alike"
    );
}
