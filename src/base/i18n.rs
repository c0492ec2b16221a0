//! Texts for people, in zh-CN and en, from `locales/<lang>/*.ftl` (Fluent), embedded in the binary.
//!
//! Messages without variables are formatted once at start-up. A missing key shows as the key itself; a test keeps that from happening.

use std::collections::HashMap;
use std::sync::OnceLock;

use chrono::{Datelike as _, FixedOffset, NaiveDate, NaiveTime, TimeDelta};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use rust_embed::RustEmbed;

use crate::base::db::Timestamp;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/locales"]
struct Files;

/// A language of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Lang {
    /// Simplified Chinese; the default.
    #[serde(rename = "zh-CN")]
    Zh,
    #[serde(rename = "en")]
    En,
}

impl Lang {
    /// Both languages.
    pub const ALL: [Self; 2] = [Self::Zh, Self::En];

    /// BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Zh => "zh-CN",
            Self::En => "en",
        }
    }

    /// From a tag such as `zh`, `zh-CN`, `en-GB`.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("zh") {
            Some(Self::Zh)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::En)
        } else {
            None
        }
    }

    /// The language that an `Accept-Language` header prefers (RFC 9110 §12.5.4); none where it names neither.
    pub fn negotiate(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for item in header.split(',').take(20) {
            let mut parts = item.trim().split(';');
            let Some(lang) = parts.next().and_then(|tag| Self::from_tag(tag.trim())) else { continue };
            let q = parts.find_map(|p| p.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if q > 0.0 && best.is_none_or(|(b, _)| q > b) {
                best = Some((q, lang));
            }
        }
        best.map(|(_, lang)| lang)
    }

    /// The text of this language, or the other text where it is empty.
    pub fn pick<'a>(self, zh: &'a str, en: &'a str) -> &'a str {
        let (first, second) = if self == Self::Zh { (zh, en) } else { (en, zh) };
        if first.is_empty() { second } else { first }
    }

    /// The message of a key without variables.
    pub fn t(self, key: &str) -> String {
        texts(self).plain.get(key).cloned().unwrap_or_else(|| key.to_owned())
    }

    /// Whether the key exists.
    pub fn has(self, key: &str) -> bool {
        texts(self).bundle.has_message(key)
    }

    /// The message of a key with variables.
    pub fn format(self, key: &str, args: &[(&str, &str)]) -> String {
        let texts = texts(self);
        let Some(pattern) = texts.bundle.get_message(key).and_then(|m| m.value()) else { return key.to_owned() };
        let mut values = FluentArgs::new();
        for (name, value) in args {
            // Numbers go in as numbers, so that plural rules work; all else as text.
            let value = value.parse::<i64>().map_or_else(|_| FluentValue::from(*value), FluentValue::from);
            values.set(*name, value);
        }
        texts.bundle.format_pattern(pattern, Some(&values), &mut Vec::new()).into_owned()
    }

    /// `¥1,280.00` in both languages.
    pub fn money(self, fen: i64) -> String {
        let sign = if fen < 0 { "-" } else { "" };
        let fen = fen.unsigned_abs();
        format!("{sign}¥{}.{:02}", group(fen / 100), fen % 100)
    }

    /// A count with grouped thousands.
    pub fn count(self, n: i64) -> String {
        format!("{}{}", if n < 0 { "-" } else { "" }, group(n.unsigned_abs()))
    }

    /// Date in the platform's time zone.
    pub fn date(self, at: Timestamp) -> String {
        let local = at.utc().with_timezone(&local_offset());
        match self {
            Self::Zh => local.format("%Y-%m-%d").to_string(),
            Self::En => local.format("%-d %b %Y").to_string(),
        }
    }

    /// Date and time in the platform's time zone, to the minute.
    pub fn datetime(self, at: Timestamp) -> String {
        let local = at.utc().with_timezone(&local_offset());
        match self {
            Self::Zh => local.format("%Y-%m-%d %H:%M").to_string(),
            Self::En => local.format("%-d %b %Y, %H:%M").to_string(),
        }
    }

    /// Date and time in the platform's time zone, to the second.
    pub fn moment(self, at: Timestamp) -> String {
        format!("{}:{}", self.datetime(at), at.utc().format("%S"))
    }

    /// How long ago, in the largest unit; `static/js/ages.js` goes on with the same words.
    pub fn ago(self, at: Timestamp, now: Timestamp) -> String {
        let passed = (now.utc() - at.utc()).max(TimeDelta::zero());
        let (key, n) = if passed.num_seconds() < 10 {
            ("ago-now", passed.num_seconds())
        } else if passed.num_seconds() < 60 {
            ("ago-seconds", passed.num_seconds())
        } else if passed.num_minutes() < 60 {
            ("ago-minutes", passed.num_minutes())
        } else if passed.num_hours() < 48 {
            ("ago-hours", passed.num_hours())
        } else {
            ("ago-days", passed.num_days())
        };
        self.format(key, &[("n", &n.to_string())])
    }

    /// Bytes in IEC units.
    pub fn bytes(self, n: i64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = to_f64(n.max(0));
        let mut unit = units.first().copied().unwrap_or_default();
        for next in units.iter().skip(1) {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
    }
}

/// Exact up to 2^53; larger numbers are rounded, which a shown size can bear.
fn to_f64(n: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let value = n as f64;
    value
}

fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// China Standard Time (UTC+8): the platform's time zone.
pub fn local_offset() -> FixedOffset {
    FixedOffset::east_opt(8 * 3600).unwrap_or_else(|| chrono::Offset::fix(&chrono::Utc))
}

/// Begin of a day in the platform's time zone, as forms send it (`2026-11-27`), so many days later; none where that is no day. Years have four
/// digits, for SQLite compares times as texts.
pub fn begin_of_day(text: &str, later: i64) -> Option<Timestamp> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|day| text.len() == 10 && (1970..=9998).contains(&day.year()))?;
    let local =
        day.checked_add_signed(TimeDelta::try_days(later)?)?.and_time(NaiveTime::MIN).and_local_timezone(local_offset()).single()?;
    Some(Timestamp::new(local.to_utc()))
}

struct Texts {
    bundle: FluentBundle<FluentResource>,
    plain: HashMap<String, String>,
}

fn texts(lang: Lang) -> &'static Texts {
    static ZH: OnceLock<Texts> = OnceLock::new();
    static EN: OnceLock<Texts> = OnceLock::new();
    match lang {
        Lang::Zh => ZH.get_or_init(|| load(lang)),
        Lang::En => EN.get_or_init(|| load(lang)),
    }
}

fn load(lang: Lang) -> Texts {
    let id = lang.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![id]);
    // Isolation marks around variables would show up in attributes and copied text.
    bundle.set_use_isolating(false);
    let mut plain = HashMap::new();
    let prefix = format!("{}/", lang.tag());
    for path in Files::iter().filter(|p| p.starts_with(&prefix)) {
        let Some(file) = Files::get(&path) else { continue };
        let source = String::from_utf8_lossy(&file.data).into_owned();
        let keys: Vec<String> =
            source.lines().filter_map(|l| l.split_once(" =").map(|(k, _)| k)).filter(|k| is_key(k)).map(ToOwned::to_owned).collect();
        let resource = FluentResource::try_new(source).unwrap_or_else(|(partial, errors)| {
            tracing::error!(path = %path, ?errors, "locale file has faults");
            partial
        });
        if let Err(errors) = bundle.add_resource(resource) {
            tracing::error!(path = %path, ?errors, "locale file repeats keys");
        }
        for key in keys {
            let Some(pattern) = bundle.get_message(&key).and_then(|m| m.value()) else { continue };
            let mut errors = Vec::new();
            let text = bundle.format_pattern(pattern, None, &mut errors).into_owned();
            plain.insert(key, text);
        }
    }
    Texts { bundle, plain }
}

fn is_key(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_alphabetic()) && line.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The text of an error for people: the message `error-<code>`.
pub fn error_text(lang: Lang, code: &str, args: &[(&'static str, String)]) -> String {
    // `bytes` is a plain number for programs; show people a unit with it.
    let readable = |(name, value): &(&'static str, String)| match (*name, value.parse()) {
        ("bytes", Ok(n)) => (*name, lang.bytes(n)),
        _ => (*name, value.clone()),
    };
    let args: Vec<(&str, String)> = args.iter().map(readable).collect();
    let args: Vec<(&str, &str)> = args.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let key = format!("error-{code}");
    if lang.has(&key) { lang.format(&key, &args) } else { lang.format("error-unknown", &[("code", code)]) }
}

/// What something is called in both languages; of a row its two columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, diesel::Queryable)]
pub struct Names {
    pub zh: String,
    pub en: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_language_is_negotiated() {
        assert_eq!(Lang::negotiate("en-GB,en;q=0.9"), Some(Lang::En));
        assert_eq!(Lang::negotiate("fr, zh-TW;q=0.5, en;q=0.4"), Some(Lang::Zh));
        assert_eq!(Lang::negotiate("fr"), None);
        assert_eq!(Lang::negotiate(""), None);
    }

    #[test]
    fn money_is_grouped() {
        assert_eq!(Lang::Zh.money(12_800_000), "¥128,000.00");
        assert_eq!(Lang::En.money(5), "¥0.05");
    }

    #[test]
    fn both_languages_have_the_same_keys() {
        let keys = |lang: Lang| {
            let mut keys: Vec<String> = texts(lang).plain.keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(Lang::Zh), keys(Lang::En));
    }
}
