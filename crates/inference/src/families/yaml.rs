//! Writes a manifest as YAML with comments, in the order in which people read it.
//!
//! Every text is written so that it is read back as it was: plain where it is a simple word, else in double quotes with all that a reader
//! could take otherwise escaped.

use std::collections::{BTreeMap, BTreeSet};

use app_package::path::invisible;
use serde_json::{Map, Value};

/// Keys in the order in which they are written, for all levels; others follow by name.
const ORDER: &[&str] = &[
    "format",
    "id",
    "name",
    "file",
    "version",
    "title",
    "summary",
    "description",
    "changes",
    "specialty",
    "scenario",
    "safety",
    "license",
    "zh",
    "en",
    "engine",
    "min",
    "input",
    "datatype",
    "shape",
    "inputs",
    "outputs",
    "models",
    "pipeline",
    "model",
    "pre",
    "into",
    "feed",
    "post",
    "image",
    "window",
    "columns",
    "names",
    "width",
    "height",
    "length",
    "fit",
    "crop",
    "align",
    "fill",
    "filter",
    "color",
    "scale",
    "layout",
    "mean",
    "std",
    "boxes",
    "classes",
    "grid",
    "values",
    "output",
    "row",
    "beside",
    "box",
    "unit",
    "activation",
    "background",
    "score",
    "iou",
    "agnostic",
    "max",
    "top",
    "labels",
    "items",
    "text",
    "offset",
    "steps",
    "alarms",
    "parameters",
    "resources",
    "cpu",
    "memory_mib",
    "architectures",
    "golden",
    "expect",
    "tolerance",
    "absolute",
    "relative",
    "card",
    "training_data",
    "limits",
    "metrics",
    "media",
];
/// Longest line that is not broken into a block.
const WIDTH: usize = 130;
/// Most keys of a mapping on one line.
const MAX_KEYS: usize = 5;
/// What begins a comment that has the developer look at a line.
pub const MARK: &str = "# edit";

/// Comments of a place, by its path such as `steps[0].model.pre.image.width`.
#[derive(Debug, Default)]
pub struct Comments {
    /// Lines above it.
    pub above: BTreeMap<String, Vec<String>>,
    /// Lines that are marked.
    pub marked: BTreeSet<String>,
}

/// The lines of a mapping.
pub fn lines(value: &Value, path: &str, comments: &Comments) -> Vec<String> {
    let Value::Object(map) = value else { return vec![flow(value)] };
    let mut out = Vec::new();
    for (key, value) in ordered(map) {
        let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        out.extend(comments.above.get(&place).into_iter().flatten().map(|line| format!("# {line}")));
        let mark = if comments.marked.contains(&place) { format!("  {MARK}") } else { String::new() };
        let short = flow(value);
        if is_leaf(value) && short.len() + key.len() <= WIDTH && !commented(value, &place, comments) {
            out.push(format!("{}: {short}{mark}", scalar(key)));
            continue;
        }
        out.push(format!("{}:{mark}", scalar(key)));
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    out.extend(list_item(item, &format!("{place}[{at}]"), comments));
                }
            }
            _ => out.extend(lines(value, &place, comments).into_iter().map(|line| format!("  {line}"))),
        }
    }
    out
}

/// Lines of an item with its dash, which stands before the first line that is no comment.
fn list_item(item: &Value, place: &str, comments: &Comments) -> Vec<String> {
    let short = flow(item);
    let inner =
        if is_leaf(item) && short.len() <= WIDTH && !commented(item, place, comments) { vec![short] } else { lines(item, place, comments) };
    let first = inner.iter().position(|line| !line.starts_with('#')).unwrap_or_default();
    inner.iter().enumerate().map(|(at, line)| if at == first { format!("  - {line}") } else { format!("    {line}") }).collect()
}

/// Whether a place below this one has a comment, which one line could not hold.
fn commented(value: &Value, path: &str, comments: &Comments) -> bool {
    let has = |place: &str, inner: &Value| {
        comments.marked.contains(place) || comments.above.contains_key(place) || commented(inner, place, comments)
    };
    match value {
        Value::Object(map) => map.iter().any(|(key, inner)| has(&format!("{path}.{key}"), inner)),
        Value::Array(items) => items.iter().enumerate().any(|(at, inner)| has(&format!("{path}[{at}]"), inner)),
        _ => false,
    }
}

/// Whether a value is simple enough for one line: nothing in it is a list of mappings or a mapping of mappings of mappings.
fn is_leaf(value: &Value) -> bool {
    fn depth(value: &Value) -> u32 {
        match value {
            Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    let short = !matches!(value, Value::Object(map) if map.len() > MAX_KEYS);
    short && depth(value) <= 2 && !matches!(value, Value::Array(items) if items.iter().any(Value::is_object))
}

fn ordered(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    let rank = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
    entries.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    entries
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> = ordered(map).into_iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A number in as few digits as tell it from its neighbours: most are FP32, which JSON widens to more digits than anybody wrote.
#[expect(clippy::cast_possible_truncation, reason = "compared with the number itself afterwards")]
fn number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(wide) if number.is_f64() => {
            let narrow = wide as f32;
            if f64::from(narrow).to_bits() == wide.to_bits() { narrow.to_string() } else { wide.to_string() }
        }
        _ => number.to_string(),
    }
}

/// A text: plain where nothing reads it otherwise, else in quotes.
pub fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];
    let mut chars = text.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || invisible(c) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                out.extend(format!("\\U{:08X}", u32::from(c)).chars());
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
