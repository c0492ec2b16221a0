//! The shape of documents that devices send, as the `OpenAPI` has it. It is looked at before a document is read into its type, so that each fault is
//! named by its field, in our words and not in those of a parser.

use serde_json::{Map, Value};

use super::{FieldFault, is_extension_key};

/// Most faults that are named.
const MAX_FAULTS: usize = 50;
/// Longest key that is quoted, in characters.
const MAX_KEY: usize = 80;

/// What a value may be.
pub(super) enum Shape {
    Text,
    Flag,
    Number,
    /// A whole number from 0, or a text of its digits (the conformance runner sends one).
    Whole,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list with at least so many items.
    List(usize, &'static Shape),
    /// An object with keys of the sender's choice.
    Map,
    Object(&'static [Key], Others),
}

/// A key of an object.
pub(super) struct Key(pub(super) &'static str, pub(super) Need, pub(super) Shape);

/// Whether a key must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
    /// May be left out or `null`.
    Nullable,
}

/// What stands beside the known keys of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Anything; it is passed over.
    Free,
    Extensions,
    Nothing,
}

impl Shape {
    /// What is wrong with a document.
    pub(super) fn faults(&self, document: &Value) -> Vec<FieldFault> {
        let mut out = Vec::new();
        self.check(document, "", &mut out);
        out
    }

    fn check(&self, value: &Value, path: &str, out: &mut Vec<FieldFault>) {
        if out.len() >= MAX_FAULTS {
            return;
        }
        let wrong = match (self, value) {
            (Self::Text, Value::String(_))
            | (Self::Flag, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::Map, Value::Object(_)) => return,
            (Self::Whole, Value::Number(number)) if number.is_u64() => return,
            (Self::Whole, Value::String(digits)) if digits.parse::<u64>().is_ok() => return,
            (Self::Word(words), Value::String(word)) if words.contains(&word.as_str()) => return,
            (Self::List(least, _), Value::Array(items)) if items.len() < *least => format!("must have at least {least} item"),
            (Self::List(_, item), Value::Array(items)) => {
                return items.iter().enumerate().for_each(|(i, value)| item.check(value, &format!("{path}[{i}]"), out));
            }
            (Self::Object(keys, others), Value::Object(object)) => return check_keys(keys, *others, object, path, out),
            (Self::Text, _) => "must be a text".to_owned(),
            (Self::Flag, _) => "must be true or false".to_owned(),
            (Self::Number, _) => "must be a number".to_owned(),
            (Self::Whole, _) => "must be a whole number".to_owned(),
            (Self::Word(words), _) => format!("must be one of {}", words.join(", ")),
            (Self::List(..), _) => "must be a list".to_owned(),
            (Self::Map | Self::Object(..), _) => "must be an object".to_owned(),
        };
        out.push(FieldFault::new(path, wrong));
    }
}

fn check_keys(keys: &[Key], others: Others, object: &Map<String, Value>, path: &str, out: &mut Vec<FieldFault>) {
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for Key(key, need, shape) in keys {
        match object.get(*key) {
            None if *need == Need::Required => out.push(FieldFault::new(at(key), "is required")),
            None => {}
            Some(Value::Null) if *need == Need::Nullable => {}
            Some(value) => shape.check(value, &at(key), out),
        }
    }
    let known = |key: &str| keys.iter().any(|Key(known, ..)| *known == key);
    let allowed = |key: &str| match others {
        Others::Free => true,
        Others::Extensions => is_extension_key(key),
        Others::Nothing => false,
    };
    for key in object.keys().filter(|key| !known(key) && !allowed(key)) {
        if out.len() >= MAX_FAULTS {
            return;
        }
        out.push(FieldFault::new(at(&key.chars().take(MAX_KEY).collect::<String>()), "is no key of this document"));
    }
}
