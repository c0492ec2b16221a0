//! Texts in both languages of the platform, and how authors' programs mark what they write. Every text that we read is UTF-8.

use serde::{Deserialize, Serialize};

/// A text in both languages of the platform. At least one is not empty after validation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Simplified Chinese (`zh-CN`).
    #[serde(default)]
    pub zh: String,
    /// English.
    #[serde(default)]
    pub en: String,
}

impl Text {
    /// The text for a language tag (`zh…` or anything else), showing the other where one is missing.
    pub fn get(&self, lang: &str) -> &str {
        let (first, second) = if lang.starts_with("zh") { (&self.zh, &self.en) } else { (&self.en, &self.zh) };
        if first.is_empty() { second } else { first }
    }
}

/// The text without the byte-order mark that some editors and spreadsheets write first.
pub fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Whether this is UTF-16, by its mark or because its first two letters have a zero byte each; to say so is more help than "not UTF-8".
pub fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [1..=255, 0, 1..=255, 0, ..] | [0, 1..=255, 0, 1..=255, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told() {
        assert_eq!(unmarked("\u{feff}a".as_bytes()), b"a");
        assert_eq!(unmarked(b"a\xef\xbb\xbf"), b"a\xef\xbb\xbf");
        for bytes in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0{", b"{\0}\0", b"\0{\0}"] {
            assert!(is_utf16(bytes), "{bytes:?}");
        }
        for bytes in [&b""[..], b"{}", b"ab\0\0", b"a\0", "煤".as_bytes()] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }
}
