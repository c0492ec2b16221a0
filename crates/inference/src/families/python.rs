//! Dicts and lists as Python prints them, which exporters put into metadata: `{0: 'a', 1: "b:c"}`, `[640, 640]`, `{'nms': False}`.
//!
//! Read by hand, never evaluated. What does not end, is nested or longer than [`MAX_ITEMS`] gives nothing at all rather than a part.

use std::{iter::Peekable, str::Chars};

/// Most items that are read.
const MAX_ITEMS: usize = 4_096;

/// A key of a dict, or the place in a list, with a scalar value; a nested value is passed over.
pub type Pairs = Vec<(String, String)>;

/// The items of a dict or list.
pub fn pairs(text: &str) -> Option<Pairs> {
    let mut reader = Reader { chars: text.trim().chars().peekable() };
    let (close, keyed) = match reader.chars.next()? {
        '{' => ('}', true),
        '[' => (']', false),
        '(' => (')', false),
        _ => return None,
    };
    let mut out = Pairs::new();
    let mut place = 0usize;
    loop {
        reader.blank();
        if reader.took(close) {
            break;
        }
        place += 1;
        if place > MAX_ITEMS {
            return None;
        }
        let key = if keyed {
            let key = reader.scalar()?;
            reader.blank();
            if !reader.took(':') {
                return None;
            }
            key
        } else {
            (place - 1).to_string()
        };
        reader.blank();
        if reader.chars.peek().is_some_and(|c| matches!(c, '[' | '(' | '{')) {
            reader.nested()?;
        } else {
            out.push((key, reader.scalar()?));
        }
        reader.blank();
        if !reader.took(',') && reader.chars.peek() != Some(&close) {
            return None;
        }
    }
    reader.blank();
    reader.chars.next().is_none().then_some(out)
}

/// The value of a key.
pub fn value<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn blank(&mut self) {
        while self.chars.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn took(&mut self, c: char) -> bool {
        self.chars.next_if_eq(&c).is_some()
    }

    /// A quoted text, a number or a word.
    fn scalar(&mut self) -> Option<String> {
        match self.chars.peek()? {
            '\'' | '"' => self.quoted(),
            _ => {
                let mut word = String::new();
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '+' | '_')) {
                    word.push(c);
                }
                (!word.is_empty()).then_some(word)
            }
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let quote = self.chars.next()?;
        let mut text = String::new();
        loop {
            match self.chars.next()? {
                c if c == quote => return Some(text),
                '\\' => match self.chars.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'x' => text.push(self.code(2)?),
                    'u' => text.push(self.code(4)?),
                    'U' => text.push(self.code(8)?),
                    other => text.push(other),
                },
                c => text.push(c),
            }
        }
    }

    /// A character by its number in hexadecimal digits; one that is none, such as half of a pair, is shown as such.
    fn code(&mut self, digits: u32) -> Option<char> {
        let mut number = 0u32;
        for _ in 0..digits {
            number = (number << 4) | self.chars.next()?.to_digit(16)?;
        }
        Some(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Passes over a nested value; only the depth is counted, so that a deep one costs no stack.
    fn nested(&mut self) -> Option<()> {
        let mut depth = 0u32;
        loop {
            match self.chars.peek()? {
                '\'' | '"' => {
                    self.quoted()?;
                    continue;
                }
                '[' | '(' | '{' => depth = depth.saturating_add(1),
                ']' | ')' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.chars.next();
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        pairs(text)
    }

    fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn dicts_and_lists_are_read() {
        assert_eq!(
            read(r#"{0: 'a', 1: "b:c", 2: "it's", 3: 'a\'b\\'}"#),
            Some(own(&[("0", "a"), ("1", "b:c"), ("2", "it's"), ("3", "a'b\\")]))
        );
        assert_eq!(read("[640, 320]"), Some(own(&[("0", "640"), ("1", "320")])));
        assert_eq!(read("{'nms': False, 'classes': [1, [2, ']']], 'x': None,}"), Some(own(&[("nms", "False"), ("x", "None")])));
        assert_eq!(read(r#"{"0": "\u5b89\x41"}"#), Some(own(&[("0", "安A")])));
        assert_eq!(read(" { } "), Some(own(&[])));
        assert_eq!(read("(17, 3)"), Some(own(&[("0", "17"), ("1", "3")])));
        assert_eq!(read("{0: '安全帽', 1: '{x}, y'}"), Some(own(&[("0", "安全帽"), ("1", "{x}, y")])));
    }

    #[test]
    fn what_is_broken_gives_nothing() {
        for text in [
            "",
            "a",
            "{",
            "{0",
            "{0:",
            "{0: 'a",
            "{0: 'a'",
            "{0: 'a'} x",
            "{0 'a'}",
            "{0: 'a' 1: 'b'}",
            r"{0: '\",
            r"{0: '\u12'}",
            "[1 2]",
            "{0: }",
            "[(]",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
        assert_eq!(read(&"{0:".repeat(20_000)), None);
        assert_eq!(read(&format!("[{}]", "1,".repeat(MAX_ITEMS + 1))), None);
        assert_eq!(read(&format!("[{}]", "1,".repeat(MAX_ITEMS))).map(|found| found.len()), Some(MAX_ITEMS));
    }
}
