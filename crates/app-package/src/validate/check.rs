//! Walks the tree along the table of the format: unknown and missing keys, types, bounds. Builds the JSON value on the way.

use serde_json::{Map, Value, json};

use super::near::nearest;
use super::schema::{APP, APP_2, Field, Kind};
use super::yaml::{Data, Node};
use super::{Faults, license};
use crate::fault::Fault;
use crate::path::{PackagePath, invisible};
use crate::pipeline::RowPart;
use crate::span::Span;

/// The JSON of the tree; parts with faults are left out, so it is only whole when there was no fault.
pub(super) fn walk(root: &Node, faults: &mut Faults) -> Option<Value> {
    let format = root.get("format").and_then(Node::integer);
    value(root, if format == Some(2) { &APP_2 } else { &APP }, "", faults)
}

fn value(node: &Node, kind: &Kind, key: &str, faults: &mut Faults) -> Option<Value> {
    if faults.is_full() {
        return None;
    }
    if node.is_null() && !matches!(kind, Kind::Unit) {
        faults.push(Fault::new("empty-value", key).at(node.line));
        return None;
    }
    let found = match kind {
        Kind::Obj(fields) => return object(node, fields, key, faults),
        Kind::Variant(variants) => return variant(node, variants, key, faults),
        Kind::List(min, max, item) => return list(node, (*min, *max), item, key, faults),
        Kind::MapOf(max, item) => return map_of(node, *max, item, key, faults),
        Kind::Text(max) => return text(node, *max, true, key, faults),
        Kind::LineOr(_, full) if matches!(node.data, Data::Map(_)) => return value(node, full, key, faults),
        Kind::NumOr(min, max, _) if node.number().is_some() => return value(node, &Kind::Num(*min, *max), key, faults),
        Kind::NumOr(_, _, words) => return value(node, &Kind::OneOf(words), key, faults),
        Kind::OptionalText(max) => return text(node, *max, false, key, faults),
        Kind::Scalar => scalar(node),
        Kind::Format => integer(node)
            .and_then(|n| if (1..=2).contains(&n) { Ok(json!(n)) } else { Err(Fault::new("format-unsupported", "").with("value", n)) }),
        Kind::Bool => node.bool().map(Value::Bool).ok_or_else(|| wrong(node, "bool")),
        Kind::Int(min, max) => integer(node).and_then(|n| if (*min..=*max).contains(&n) { Ok(json!(n)) } else { Err(range(n, min, max)) }),
        Kind::Num(min, max) => number(node).and_then(|n| if *min <= n && n <= *max { Ok(json!(n)) } else { Err(range(n, min, max)) }),
        Kind::OneOf(words) => line(node, 100).and_then(|word| {
            if words.contains(&word) {
                Ok(json!(word))
            } else {
                Err(Fault::new("not-one-of", "").with("value", word).with("list", words.join(", ")))
            }
        }),
        Kind::Slug(max) => line(node, *max).and_then(|s| shape(s, is_slug(s), "slug-shape")),
        Kind::Ident => line(node, 60).and_then(|s| shape(s, is_slug(&s.replace('_', "-")), "ident-shape")),
        Kind::Snake => line(node, 60).and_then(|s| shape(s, is_snake(s), "snake-shape")),
        Kind::LineOrNone(_) if matches!(&node.data, Data::Scalar { text, .. } if text.is_empty()) => Ok(json!("")),
        Kind::Line(max) | Kind::LineOr(max, _) | Kind::LineOrNone(max) => line(node, *max).map(Value::from),
        Kind::License => line(node, 100).and_then(|text| license::check(text).map(|()| text.into())),
        Kind::Unit => match &node.data {
            Data::Scalar { text, plain } if text.is_empty() || (*plain && node.is_null()) => Ok(json!("")),
            _ => line(node, 24).map(Value::from),
        },
        Kind::Lines(max) => lines(node, *max).map(Value::from),
        Kind::Version => line(node, 64).and_then(version),
        Kind::MinVersion => line(node, 20).and_then(|s| shape(s, is_min_version(s), "min-version-shape")),
        Kind::RowPart => line(node, 20).and_then(|s| shape(s, s.parse::<RowPart>().is_ok(), "row-part")),
        Kind::Span(min, max) => line(node, 20).and_then(|text| span(text, (*min, *max))),
        Kind::Feed(max, words) => feed(node, *max, words),
        Kind::Path(extensions) => line(node, crate::path::MAX_BYTES).and_then(|s| path(s, extensions)),
    };
    match found {
        Ok(value) => Some(value),
        Err(fault) => {
            faults.push(Fault { key: key.to_owned(), line: Some(node.line), ..fault });
            None
        }
    }
}

fn object(node: &Node, fields: &[Field], key: &str, faults: &mut Faults) -> Option<Value> {
    let Data::Map(entries) = &node.data else {
        faults.push(Fault { key: key.to_owned(), ..wrong(node, "map") }.at(node.line));
        return None;
    };
    let mut out = Map::new();
    let mut whole = true;
    for entry in entries {
        let place = join(key, &entry.key);
        let Some(field) = fields.iter().find(|field| field.name == entry.key) else {
            whole = false;
            let known = fields.iter().map(|field| field.name);
            let fault = Fault::new("unknown-key", shown(&place)).at(entry.line).with("value", &entry.key);
            faults.push(match nearest(&entry.key, known.clone()) {
                Some(hint) => Fault { code: "unknown-key-hint", ..fault }.with("hint", hint),
                None => fault.with("list", known.collect::<Vec<_>>().join(", ")),
            });
            continue;
        };
        match value(&entry.value, &field.kind, &place, faults) {
            Some(value) => {
                out.insert(entry.key.clone(), value);
            }
            None => whole = false,
        }
    }
    for field in fields.iter().filter(|field| field.required && node.get(field.name).is_none()) {
        whole = false;
        faults.push(Fault::new("missing-key", join(key, field.name)).at(node.line).with("value", field.name));
    }
    whole.then_some(Value::Object(out))
}

fn variant(node: &Node, variants: &[Field], key: &str, faults: &mut Faults) -> Option<Value> {
    let words = || variants.iter().map(|v| v.name).collect::<Vec<_>>().join(", ");
    let [entry] = node.entries() else {
        faults.push(Fault::new("exactly-one-key", key).at(node.line).with("list", words()));
        return None;
    };
    let Some(field) = variants.iter().find(|v| v.name == entry.key) else {
        faults.push(Fault::new("exactly-one-key", shown(&join(key, &entry.key))).at(entry.line).with("list", words()));
        return None;
    };
    let inner = value(&entry.value, &field.kind, &join(key, field.name), faults)?;
    Some(Value::Object([(field.name.to_owned(), inner)].into_iter().collect()))
}

fn list(node: &Node, (min, max): (usize, usize), item: &Kind, key: &str, faults: &mut Faults) -> Option<Value> {
    let Data::List(items) = &node.data else {
        faults.push(Fault { key: key.to_owned(), ..wrong(node, "list") }.at(node.line));
        return None;
    };
    if !(min..=max).contains(&items.len()) {
        faults.push(Fault::new("list-length", key).at(node.line).with("value", items.len()).with("min", min).with("max", max));
    }
    let found: Vec<_> = items.iter().take(max).enumerate().map(|(i, node)| value(node, item, &format!("{key}[{i}]"), faults)).collect();
    found.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
}

fn map_of(node: &Node, max: usize, item: &Kind, key: &str, faults: &mut Faults) -> Option<Value> {
    let Data::Map(entries) = &node.data else {
        faults.push(Fault { key: key.to_owned(), ..wrong(node, "map") }.at(node.line));
        return None;
    };
    if entries.len() > max {
        faults.push(Fault::new("list-length", key).at(node.line).with("value", entries.len()).with("min", 0).with("max", max));
    }
    let mut out = Map::new();
    for entry in entries.iter().take(max) {
        out.insert(entry.key.clone(), value(&entry.value, item, &shown(&join(key, &entry.key)), faults)?);
    }
    Some(Value::Object(out))
}

fn text(node: &Node, max: usize, needed: bool, key: &str, faults: &mut Faults) -> Option<Value> {
    let Data::Map(entries) = &node.data else {
        faults.push(Fault::new("text-shape", key).at(node.line));
        return None;
    };
    let mut out = Map::new();
    let mut whole = true;
    for entry in entries {
        let place = join(key, &entry.key);
        if entry.key != "zh" && entry.key != "en" {
            whole = false;
            faults.push(Fault::new("unknown-key", shown(&place)).at(entry.line).with("value", &entry.key).with("list", "zh, en"));
        } else if entry.value.is_null() || entry.value.text() == Some("") {
            // An unfilled language is allowed while the other is there.
        } else {
            match lines(&entry.value, max) {
                Ok(text) => {
                    out.insert(entry.key.clone(), text.into());
                }
                Err(fault) => {
                    whole = false;
                    faults.push(Fault { key: place, line: Some(entry.value.line), ..fault });
                }
            }
        }
    }
    if whole && needed && out.is_empty() {
        faults.push(Fault::new("text-empty", key).at(node.line));
        return None;
    }
    whole.then_some(Value::Object(out))
}

/// Text, number or boolean by YAML's core rules.
fn scalar(node: &Node) -> Result<Value, Fault> {
    if let Some(flag) = node.bool() {
        Ok(flag.into())
    } else if let Some(n) = node.integer() {
        Ok(n.into())
    } else if node.number().is_some() {
        number(node).map(|n| json!(n))
    } else {
        match &node.data {
            Data::Scalar { text, .. } if text.is_empty() => Ok(json!("")),
            _ => lines(node, 200).map(Value::from),
        }
    }
}

/// A number, a list of numbers, or one of some words.
fn feed(node: &Node, max: usize, words: &[&str]) -> Result<Value, Fault> {
    if let Data::List(items) = &node.data {
        if items.is_empty() || items.len() > max {
            return Err(Fault::new("list-length", "").with("value", items.len()).with("min", 1).with("max", max));
        }
        return items.iter().map(|item| number(item).map(|n| json!(n))).collect::<Result<Vec<_>, _>>().map(Value::Array);
    }
    if node.number().is_some() {
        return number(node).map(|n| json!(n));
    }
    let word = line(node, 100)?;
    if words.contains(&word) {
        Ok(word.into())
    } else {
        Err(Fault::new("feed-shape", "").with("value", word).with("list", words.join(", ")))
    }
}

/// A length of time, as it is stored.
fn span(text: &str, (min, max): (u32, u32)) -> Result<Value, Fault> {
    let span: Span = text.parse().map_err(|_| Fault::new("span-shape", "").with("value", text))?;
    let (min, max) = (Span::millis(min), Span::millis(max));
    if (min..=max).contains(&span) { Ok(span.to_string().into()) } else { Err(range(span, min, max)) }
}

fn integer(node: &Node) -> Result<i64, Fault> {
    node.integer().ok_or_else(|| wrong(node, "int"))
}

fn number(node: &Node) -> Result<f64, Fault> {
    let n = node.number().ok_or_else(|| wrong(node, "number"))?;
    if n.is_finite() { Ok(n) } else { Err(Fault::new("number-not-finite", "")) }
}

/// Text of one line.
fn line(node: &Node, max: usize) -> Result<&str, Fault> {
    let text = lines(node, max)?;
    if text.contains(['\n', '\t']) { Err(Fault::new("text-one-line", "")) } else { Ok(text) }
}

/// Text of 1 to `max` characters.
fn lines(node: &Node, max: usize) -> Result<&str, Fault> {
    let Data::Scalar { text, .. } = &node.data else { return Err(wrong(node, "text")) };
    let length = text.chars().count();
    if text.trim().is_empty() {
        Err(Fault::new("empty-value", ""))
    } else if length > max {
        Err(Fault::new("text-too-long", "").with("value", length).with("max", max))
    } else if text.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || invisible(c)) {
        Err(Fault::new("text-control", ""))
    } else {
        Ok(text)
    }
}

fn version(text: &str) -> Result<Value, Fault> {
    match semver::Version::parse(text) {
        // An OCI tag cannot hold the `+` of build metadata.
        Ok(version) if !version.build.is_empty() => Err(Fault::new("version-build", "").with("value", text)),
        Ok(version) => Ok(version.to_string().into()),
        Err(_) => Err(Fault::new("version-shape", "").with("value", text)),
    }
}

fn path(text: &str, extensions: &[&str]) -> Result<Value, Fault> {
    let path = PackagePath::parse(text).map_err(|fault| Fault::new(fault.code(), "").with("value", text))?;
    if extensions.is_empty() || extensions.contains(&path.extension().as_str()) {
        Ok(path.as_str().into())
    } else {
        Err(Fault::new("file-extension", "").with("value", text).with("list", extensions.join(", ")))
    }
}

fn shape(text: &str, fits: bool, code: &'static str) -> Result<Value, Fault> {
    if fits { Ok(text.into()) } else { Err(Fault::new(code, "").with("value", text)) }
}

fn is_slug(text: &str) -> bool {
    text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn is_snake(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_min_version(text: &str) -> bool {
    let number = |part: &str| (1..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor))
}

fn wrong(node: &Node, wanted: &'static str) -> Fault {
    let code = match wanted {
        "bool" => "wrong-type-bool",
        "int" => "wrong-type-int",
        "number" => "wrong-type-number",
        "list" => "wrong-type-list",
        "map" => "wrong-type-map",
        _ => "wrong-type-text",
    };
    Fault::new(code, "").with("value", node.text().unwrap_or(if matches!(node.data, Data::List(_)) { "[…]" } else { "{…}" }))
}

fn range(value: impl ToString, min: impl ToString, max: impl ToString) -> Fault {
    Fault::new("out-of-range", "").with("value", value).with("min", min).with("max", max)
}

pub(super) fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

/// A place with foreign text in it, fit to be shown.
fn shown(place: &str) -> String {
    place.chars().filter(|c| !c.is_control() && !invisible(*c)).take(120).collect()
}
