//! A fault of a package: what is wrong, where, and what to do about it, in both languages.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::validate::messages;

/// Longest argument that is quoted in a message, in characters.
const MAX_ARG_CHARS: usize = 80;

/// One fault. Its JSON is `{code, line, key, args, message: {zh, en}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable kebab-case word; a row of the message table.
    pub code: &'static str,
    /// 1-based line in `app.yaml`, where it has one.
    pub line: Option<u32>,
    /// Place in `app.yaml` such as `models[0].file`, or the path of a file; empty for the whole.
    pub key: String,
    /// What the message quotes, by placeholder name.
    pub args: BTreeMap<&'static str, String>,
}

impl Fault {
    /// A fault without line and arguments.
    pub fn new(code: &'static str, key: impl Into<String>) -> Self {
        Self { code, line: None, key: key.into(), args: BTreeMap::new() }
    }

    /// Adds a line.
    #[must_use]
    pub fn at(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }

    /// Adds an argument, shortened and freed of control characters: arguments are the developer's text, shown to others.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        let mut shown: String = value.chars().filter(|c| !c.is_control() && !crate::path::invisible(*c)).take(MAX_ARG_CHARS).collect();
        if value.chars().count() > MAX_ARG_CHARS {
            shown.push('…');
        }
        self.args.insert(name, shown);
        self
    }

    /// What is wrong and what to do, in the language of a tag (`zh…` or anything else for English).
    pub fn message(&self, lang: &str) -> String {
        let zh = lang.starts_with("zh");
        let template = messages::find(self.code).map_or("", |m| if zh { m.zh } else { m.en });
        let mut out = String::with_capacity(template.len() + 32);
        let mut rest = template;
        // One pass, so that braces inside an argument are never read as a placeholder.
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, tail)) = after.split_once('}') else { break };
            match name {
                "key" => out.push_str(&self.key),
                // Lists are joined with commas; Chinese has a stop of its own for them.
                "list" if zh => out.push_str(&self.args.get(name).map_or_else(String::new, |list| list.replace(", ", "、"))),
                _ => out.push_str(self.args.get(name).map_or("", String::as_str)),
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{} [{}]", self.message("en"), self.code)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Fault", 5)?;
        out.serialize_field("code", self.code)?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("key", &self.key)?;
        out.serialize_field("args", &self.args)?;
        out.serialize_field("message", &BTreeMap::from([("en", self.message("en")), ("zh", self.message("zh"))]))?;
        out.end()
    }
}

#[derive(Deserialize)]
struct Wire {
    code: String,
    line: Option<u32>,
    #[serde(default)]
    key: String,
    #[serde(default)]
    args: BTreeMap<String, String>,
}

/// Reads what [`Serialize`] wrote (a check's report crosses a process boundary). Only known codes and arguments are taken.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let code = messages::find(&wire.code).ok_or_else(|| D::Error::custom("unknown fault code"))?.code;
        let mut fault = Self { code, line: wire.line, key: wire.key, args: BTreeMap::new() };
        for (name, value) in wire.args {
            if let Some(known) = messages::ARGUMENTS.iter().find(|known| **known == name) {
                fault = fault.with(known, value);
            }
        }
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_fills_placeholders_once() {
        let fault = Fault::new("unknown-key", "models[0].{value}").at(3).with("value", "{key}");
        assert!(fault.message("en").contains("{key}"), "{}", fault.message("en"));
        assert_ne!(fault.message("en"), fault.message("zh-CN"));
    }

    #[test]
    fn chinese_lists_have_chinese_stops() {
        let fault = Fault::new("exactly-one-key", "x").with("list", "image, window");
        assert!(fault.message("zh").contains("：image、window。"), "{}", fault.message("zh"));
        assert!(fault.message("en").contains(": image, window."), "{}", fault.message("en"));
    }

    #[test]
    fn arguments_are_cut_and_cleaned() {
        let fault = Fault::new("unknown-key", "x").with("value", format!("a\u{1b}[31m\u{202e}{}", "b".repeat(500)));
        let shown = &fault.args["value"];
        assert_eq!(shown.chars().count(), MAX_ARG_CHARS + 1);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}') && shown.ends_with('…'));
    }

    #[test]
    fn json_has_both_languages_and_reads_back() {
        let fault = Fault::new("unknown-key", "modles").at(9).with("value", "modles").with("hint", "models");
        let json = serde_json::to_value(&fault).unwrap();
        assert_eq!(json["line"], 9);
        assert_eq!(json["message"]["zh"], fault.message("zh"));
        assert_eq!(serde_json::from_value::<Fault>(json).unwrap(), fault);
        assert!(serde_json::from_str::<Fault>(r#"{"code":"made-up","line":null}"#).is_err());
    }
}
