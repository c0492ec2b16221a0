//! What a sensor source reads, as `sources.json` and the node's page write it: its channels, and how their values become rows.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// Most channels of a source.
const MOST: usize = 64;
/// Longest name, topic or pointer, in bytes.
const MAX_TEXT: usize = 1_000;
/// Seconds.
const SECONDS: std::ops::RangeInclusive<f64> = 0.1..=86_400.0;

/// The sensors of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensors {
    pub channels: Vec<Channel>,
    /// Seconds from one question to an app to the next.
    #[serde(default = "usual_every")]
    pub every: f64,
    /// Seconds after which a value is too old for a row.
    #[serde(default = "usual_stale")]
    pub stale: f64,
    /// Seconds after which a value that is the same to the last bit is told to be stuck; without it none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<f64>,
    /// PEM file in the data folder with the authorities of the broker; without it those of the system count.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca: String,
}

fn usual_every() -> f64 {
    10.0
}

fn usual_stale() -> f64 {
    60.0
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Column of the app's table or window.
    pub name: String,
    /// MQTT: topic, without wildcards.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// MQTT: where in the JSON the number is (RFC 6901); empty where the payload is the bare number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// Modbus: what is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<Register>,
    /// The value is what was read × `scale` + `offset`.
    #[serde(default = "one")]
    pub scale: f64,
    #[serde(default)]
    pub offset: f64,
    /// What the sensor can measure; a value outside is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// What a Modbus channel reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    pub table: Table,
    /// Address in the protocol, from 0: 40001 in a manual of registers is `holding` 0.
    pub address: u16,
    /// Of registers; coils and discrete inputs are 0 or 1.
    #[serde(rename = "type", default)]
    pub number: Number,
    /// Of numbers of two registers.
    #[serde(default)]
    pub words: Words,
    #[serde(default = "unit")]
    pub unit: u8,
}

fn unit() -> u8 {
    1
}

/// Where a Modbus channel lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Table {
    Holding,
    Input,
    Coil,
    Discrete,
}

/// What registers mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Number {
    #[default]
    U16,
    I16,
    U32,
    I32,
    F32,
}

/// Which of two registers comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Words {
    #[default]
    HighFirst,
    LowFirst,
}

impl Register {
    /// How many registers.
    pub fn count(&self) -> u16 {
        let wide = matches!(self.number, Number::U32 | Number::I32 | Number::F32);
        if wide && matches!(self.table, Table::Holding | Table::Input) { 2 } else { 1 }
    }

    /// The number that registers hold; none where they are of another count.
    pub fn number(&self, words: &[u16]) -> Option<f64> {
        let wide = |first: u16, second: u16| match self.words {
            Words::HighFirst => (u32::from(first) << 16) | u32::from(second),
            Words::LowFirst => (u32::from(second) << 16) | u32::from(first),
        };
        match (self.number, words) {
            (Number::U16, [word]) => Some(f64::from(*word)),
            (Number::I16, [word]) => Some(f64::from(word.cast_signed())),
            (Number::U32, [first, second]) => Some(f64::from(wide(*first, *second))),
            (Number::I32, [first, second]) => Some(f64::from(wide(*first, *second).cast_signed())),
            (Number::F32, [first, second]) => Some(f64::from(f32::from_bits(wide(*first, *second)))),
            _ => None,
        }
    }
}

impl Channel {
    fn refusal(&self, mqtt: bool) -> Option<&'static str> {
        let text = |text: &str| text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
        if self.name.trim().is_empty() || !text(&self.name) {
            return Some("name: missing, too long, or with signs that cannot be shown");
        }
        let numbers = [Some(self.scale), Some(self.offset), self.min, self.max];
        if !numbers.into_iter().flatten().all(f64::is_finite) || self.min.zip(self.max).is_some_and(|(min, max)| min > max) {
            return Some("scale, offset, min, max: finite numbers, min not above max");
        }
        if mqtt && (self.register.is_some() || self.topic.is_empty() || self.topic.contains(['+', '#']) || !text(&self.topic)) {
            return Some("a topic without + and #, and no register");
        }
        if mqtt && !(self.pointer.is_empty() || self.pointer.starts_with('/')) || !text(&self.pointer) {
            return Some("pointer: begins with /, as in RFC 6901");
        }
        if !mqtt && (!self.topic.is_empty() || !self.pointer.is_empty()) {
            return Some("a register, and no topic or pointer");
        }
        match &self.register {
            None if !mqtt => Some("a register is missing"),
            Some(register) if register.address > u16::MAX - (register.count() - 1) => Some("register.address: too high for its type"),
            _ => None,
        }
    }
}

impl Sensors {
    /// What is wrong; `mqtt` says of which kind the source is.
    pub fn refusal(&self, mqtt: bool) -> Option<String> {
        if self.channels.is_empty() || self.channels.len() > MOST {
            return Some(format!("channels: 1 to {MOST}"));
        }
        let times = [("every", Some(self.every)), ("stale", Some(self.stale)), ("stuck", self.stuck)];
        if let Some((key, _)) = times.iter().find(|(_, time)| time.is_some_and(|time| !SECONDS.contains(&time))) {
            return Some(format!("{key}: {} to {} seconds", SECONDS.start(), SECONDS.end()));
        }
        let inside = Path::new(&self.ca).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || self.ca.len() > MAX_TEXT {
            return Some("ca: a file in the data folder".to_owned());
        }
        let mut seen = BTreeSet::new();
        self.channels.iter().enumerate().find_map(|(at, channel)| {
            let twice = || (!seen.insert(channel.name.trim())).then_some("name: is there twice");
            channel.refusal(mqtt).or_else(twice).map(|why| format!("channels[{at}]: {why}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn registers_become_numbers_in_both_orders_of_words() {
        let of = |number: &str, words: &str| -> Register {
            serde_json::from_value(json!({ "table": "holding", "address": 0, "type": number, "words": words })).unwrap()
        };
        // 123456.789 as IEEE 754 is 0x47f12065; -2 is 0xfffffffe.
        for (number, words, registers, expected) in [
            ("u16", "high-first", &[0xfffe_u16][..], Some(65_534.0)),
            ("i16", "high-first", &[0xfffe], Some(-2.0)),
            ("u32", "high-first", &[1, 2], Some(65_538.0)),
            ("u32", "low-first", &[1, 2], Some(131_073.0)),
            ("i32", "high-first", &[0xffff, 0xfffe], Some(-2.0)),
            ("i32", "low-first", &[0xfffe, 0xffff], Some(-2.0)),
            ("f32", "high-first", &[0x47f1, 0x2065], Some(123_456.789_062_5)),
            ("f32", "low-first", &[0x2065, 0x47f1], Some(123_456.789_062_5)),
            ("f32", "high-first", &[1], None),
            ("u16", "high-first", &[1, 2], None),
        ] {
            let register = of(number, words);
            assert_eq!(register.number(registers), expected, "{number} {words}");
            assert_eq!(usize::from(register.count()), if number.ends_with("32") { 2 } else { 1 });
        }
        assert!(of("f32", "high-first").number(&[0x7fc0, 0]).is_some_and(f64::is_nan), "rows take it for missing");
    }

    #[test]
    fn what_is_set_wrongly_is_named() {
        let topic = json!({ "name": "a", "topic": "t" });
        let register = json!({ "name": "a", "register": { "table": "coil", "address": 65535 } });
        let refused = |value: Value, mqtt: bool| serde_json::from_value::<Sensors>(value).unwrap().refusal(mqtt);
        assert_eq!(refused(json!({ "channels": [topic] }), true), None);
        assert_eq!(refused(json!({ "channels": [register] }), false), None);
        for (value, mqtt, key) in [
            (json!({ "channels": [] }), true, "channels: 1"),
            (json!({ "channels": vec![topic.clone(); 65] }), true, "channels: 1"),
            (json!({ "channels": [topic, topic] }), true, "channels[1]: name"),
            (json!({ "channels": [register] }), true, "channels[0]: a topic"),
            (json!({ "channels": [topic] }), false, "channels[0]: a register"),
            (json!({ "channels": [{ "name": "a" }] }), false, "channels[0]: a register is missing"),
            (json!({ "channels": [{ "name": "a", "topic": "a/#" }] }), true, "channels[0]: a topic"),
            (json!({ "channels": [{ "name": "a", "topic": "a", "pointer": "x" }] }), true, "channels[0]: pointer"),
            (json!({ "channels": [{ "name": "a", "topic": "a", "min": 2, "max": 1 }] }), true, "channels[0]: scale"),
            (json!({ "channels": [topic], "every": 0 }), true, "every"),
            (json!({ "channels": [topic], "stuck": 1e9 }), true, "stuck"),
            (json!({ "channels": [topic], "ca": "../x" }), true, "ca"),
            (json!({ "channels": [topic], "ca": "/etc/x" }), true, "ca"),
            (
                json!({ "channels": [{ "name": "a", "register": { "table": "input", "address": 65535, "type": "f32" } }] }),
                false,
                "channels[0]: register.address",
            ),
        ] {
            assert!(refused(value.clone(), mqtt).is_some_and(|why| why.starts_with(key)), "{value}");
        }
        assert!(serde_json::from_value::<Sensors>(json!({ "channels": [], "rows": 1 })).is_err());
    }
}
