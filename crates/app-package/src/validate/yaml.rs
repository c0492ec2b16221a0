//! YAML text → a small tree with line numbers.
//!
//! Stricter than YAML: one document, no anchors, aliases or merge keys (the way of "alias bombs"), no tags, text keys, no key
//! twice, depth at most [`MAX_DEPTH`]. Plain scalars keep their text, so that the schema, not YAML's guessing, decides what
//! they are: `min: 1.10` stays `1.10` where a text is wanted.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::Faults;
use crate::fault::Fault;

/// Deepest nesting; the format itself needs 9.
const MAX_DEPTH: usize = 20;
/// Most nodes; 256 KiB of `[,,,` would otherwise be costly.
const MAX_NODES: usize = 50_000;

/// A node with its 1-based line.
#[derive(Debug)]
pub(super) struct Node {
    pub line: u32,
    pub data: Data,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Data {
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub line: u32,
    pub value: Node,
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The items; none of anything but a list.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// The entries; none of anything but a map.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The text under a key.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }

    /// A plain `~`, `null` or nothing (YAML 1.2.2 §10.3.2).
    pub fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// A plain boolean.
    pub fn bool(&self) -> Option<bool> {
        match &self.data {
            Data::Scalar { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A plain decimal whole number.
    pub fn integer(&self) -> Option<i64> {
        match &self.data {
            Data::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        }
    }

    /// A plain number; may be infinite (`1e999`, `.inf`) or NaN (`.nan`), which the caller refuses.
    pub fn number(&self) -> Option<f64> {
        match &self.data {
            Data::Scalar { text, plain: true } => match text.as_str() {
                ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
                ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "-.Inf" | "-.INF" => Some(f64::INFINITY),
                text if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => text.parse().ok(),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A list or map that is not closed yet.
struct Open {
    line: u32,
    /// The key that waits for its value, with its line; `None` in it when the key was not a text.
    key: Option<(Option<String>, u32)>,
    keys: HashSet<String>,
    data: Data,
}

/// The tree, or `None` with a fault when there is none. Faults that do not hinder reading on are told and reading goes on.
pub(super) fn read(yaml: &str, faults: &mut Faults) -> Option<Node> {
    let mut stack: Vec<Open> = Vec::new();
    let mut root: Option<Node> = None;
    let mut documents = 0;
    let mut nodes = 0;
    let mut parser = Parser::new_from_str(yaml);
    // Events are pulled one by one: the parser's own `load` recurses as deep as the input wants.
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => {
                let line = line(error.marker().line());
                faults.push(Fault::new("yaml-syntax", "").at(line).with("detail", error.info()));
                return None;
            }
        };
        let line = line(span.start.line());
        nodes += 1;
        if nodes > MAX_NODES {
            faults.push(Fault::new("yaml-too-complex", "").at(line));
            return None;
        }
        let done = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    faults.push(Fault::new("yaml-documents", "").at(line));
                    return None;
                }
                continue;
            }
            Event::Alias(_) => {
                faults.push(Fault::new("yaml-alias", "").at(line));
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_extras(anchor, tag.is_some(), line, faults);
                Node { line, data: Data::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain } }
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_extras(anchor, tag.is_some(), line, faults);
                stack.push(Open { line, key: None, keys: HashSet::new(), data: Data::List(Vec::new()) });
                if stack.len() > MAX_DEPTH {
                    faults.push(Fault::new("yaml-too-deep", "").at(line).with("max", MAX_DEPTH));
                    return None;
                }
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_extras(anchor, tag.is_some(), line, faults);
                stack.push(Open { line, key: None, keys: HashSet::new(), data: Data::Map(Vec::new()) });
                if stack.len() > MAX_DEPTH {
                    faults.push(Fault::new("yaml-too-deep", "").at(line).with("max", MAX_DEPTH));
                    return None;
                }
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(open) => Node { line: open.line, data: open.data },
                None => continue,
            },
        };
        match stack.last_mut() {
            None => root = Some(done),
            Some(parent) => parent.add(done, faults),
        }
    }
    match root {
        Some(node) if matches!(node.data, Data::Map(_)) => Some(node),
        Some(node) if !node.is_null() => {
            faults.push(Fault::new("yaml-not-a-map", "").at(node.line));
            None
        }
        _ => {
            faults.push(Fault::new("yaml-empty", ""));
            None
        }
    }
}

impl Open {
    fn add(&mut self, node: Node, faults: &mut Faults) {
        match &mut self.data {
            Data::List(items) => items.push(node),
            Data::Scalar { .. } => {}
            Data::Map(entries) => match self.key.take() {
                None => {
                    let line = node.line;
                    let text = match node.data {
                        Data::Scalar { text, .. } if text == "<<" => {
                            faults.push(Fault::new("yaml-alias", "").at(line));
                            None
                        }
                        Data::Scalar { text, .. } if !text.is_empty() => Some(text),
                        _ => {
                            faults.push(Fault::new("key-not-text", "").at(line));
                            None
                        }
                    };
                    self.key = Some((text, line));
                }
                Some((None, _)) => {}
                Some((Some(key), line)) => {
                    if self.keys.insert(key.clone()) {
                        entries.push(Entry { key, line, value: node });
                    } else {
                        faults.push(Fault::new("duplicate-key", "").at(line).with("value", key));
                    }
                }
            },
        }
    }
}

fn refuse_extras(anchor: usize, tagged: bool, line: u32, faults: &mut Faults) {
    if anchor > 0 {
        faults.push(Fault::new("yaml-alias", "").at(line));
    }
    if tagged {
        faults.push(Fault::new("yaml-tag", "").at(line));
    }
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX).max(1)
}
