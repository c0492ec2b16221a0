//! The words of every fault: what is wrong and what to do, by code.

/// One row: a code and its message in both languages. `{name}` quotes an argument, `{key}` the place.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Stable kebab-case word.
    pub code: &'static str,
    /// Simplified Chinese.
    pub zh: &'static str,
    /// English.
    pub en: &'static str,
}

/// Every argument name that a message may quote.
pub const ARGUMENTS: &[&str] = &["value", "hint", "detail"];

/// The table.
pub const MESSAGES: &[Message] = &[
    Message { code: "yaml-syntax", zh: "{detail}", en: "{detail}" },
    Message { code: "unknown-key", zh: "未知的键 {value}{hint}", en: "Unknown key {value}{hint}" },
];

/// The row of a code.
pub fn find(code: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.code == code)
}
