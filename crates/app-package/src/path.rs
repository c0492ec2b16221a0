//! Paths of files inside a package.
//!
//! Invariant: a [`PackagePath`] joined to a folder stays inside that folder on every system we know.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest path, in bytes.
pub const MAX_BYTES: usize = 200;
/// Most parts of a path.
pub const MAX_PARTS: usize = 8;
/// Longest part, in bytes.
pub const MAX_PART_BYTES: usize = 100;

/// A relative path with `/` between its parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PackagePath(String);

/// Why a text is no package path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathFault {
    /// The text is empty.
    #[error("the path is empty")]
    Empty,
    /// More than [`MAX_BYTES`], or a part more than [`MAX_PART_BYTES`].
    #[error("the path is longer than 200 bytes, or a part of it is longer than 100 bytes")]
    TooLong,
    /// More than [`MAX_PARTS`] parts.
    #[error("the path has more than 8 parts")]
    TooDeep,
    /// Starts with `/`, or with a Windows drive.
    #[error("the path is absolute")]
    Absolute,
    /// Has a `..` part.
    #[error("the path has a .. part")]
    Parent,
    /// Has an empty or `.` part, or a part that some systems change (ends in a dot or space, starts with a space).
    #[error("the path has an empty part, a . part, or a part that begins or ends with a space or ends with a dot")]
    Part,
    /// Has a character that is not portable: control character, NUL, `\`, `:`, `*`, `?`, `"`, `<`, `>`, `|`.
    #[error("the path has a character that is not allowed in file names")]
    Character,
    /// Has a mark that joins the letter before it: the same name can be written in one character, and some systems take
    /// both for one file, others for two.
    #[error("the path has a letter that is written as two characters, a letter and a combining mark")]
    Combining,
}

impl PathFault {
    /// Stable error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "path-empty",
            Self::TooLong => "path-too-long",
            Self::TooDeep => "path-too-deep",
            Self::Absolute => "path-absolute",
            Self::Parent => "path-parent",
            Self::Part => "path-part",
            Self::Character => "path-character",
            Self::Combining => "path-combining",
        }
    }
}

impl PackagePath {
    /// Checks a path.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        if text.is_empty() {
            return Err(PathFault::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(PathFault::TooLong);
        }
        let mut head = text.chars();
        let drive = head.next().is_some_and(|c| c.is_ascii_alphabetic()) && head.next() == Some(':');
        if text.starts_with('/') || text.starts_with('\\') || drive {
            return Err(PathFault::Absolute);
        }
        // A `..` is looked for before other characters, so that `..\x` is reported as such.
        if text.split(['/', '\\']).any(|part| part == "..") {
            return Err(PathFault::Parent);
        }
        if text.chars().any(|c| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') || invisible(c)) {
            return Err(PathFault::Character);
        }
        if text.chars().any(combining) {
            return Err(PathFault::Combining);
        }
        if text.split('/').count() > MAX_PARTS {
            return Err(PathFault::TooDeep);
        }
        for part in text.split('/') {
            if part.len() > MAX_PART_BYTES {
                return Err(PathFault::TooLong);
            }
            if part.is_empty() || part.ends_with('.') || part.ends_with(' ') || part.starts_with(' ') {
                return Err(PathFault::Part);
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// What follows the last dot of the file name, in lower case; empty where there is none.
    pub fn extension(&self) -> String {
        extension(&self.0)
    }
}

/// What follows the last dot of the last part, in lower case; empty where there is none.
pub(crate) fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or_else(String::new, |(_, ext)| ext.to_ascii_lowercase())
}

/// Files that systems and programs lay beside one's own, besides those whose names begin with a dot (macOS and Windows).
const SYSTEM_FILES: [&str; 3] = ["__MACOSX", "Thumbs.db", "desktop.ini"];

/// Whether a file or a part of its path is hidden or the system's own. `pithead` and the browser leave such files out, and no package holds one.
pub fn is_left_out(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') || SYSTEM_FILES.iter().any(|name| part.eq_ignore_ascii_case(name)))
}

/// Marks that a composed form exists for: accents, the voice marks of kana, and the parts of Korean syllables.
fn combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}' | '\u{1161}'..='\u{1175}' | '\u{11a8}'..='\u{11c2}')
}

/// Characters that change how text around them is shown, or are not seen at all.
pub fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for PackagePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PackagePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for text in ["model.onnx", "golden/a b.png", "图片/封面.png", "a/b/c/d/e/f/g/h", ".hidden", "a..b/c...d", "caf\u{e9}.png"] {
            assert_eq!(PackagePath::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn tricks_are_refused_by_name() {
        let table = [
            ("", PathFault::Empty),
            ("/etc/passwd", PathFault::Absolute),
            ("\\\\host\\share", PathFault::Absolute),
            ("C:/x", PathFault::Absolute),
            ("c:x", PathFault::Absolute),
            ("..", PathFault::Parent),
            ("../x", PathFault::Parent),
            ("a/../../x", PathFault::Parent),
            ("a\\..\\x", PathFault::Parent),
            (".", PathFault::Part),
            ("a/./b", PathFault::Part),
            ("a//b", PathFault::Part),
            ("a/", PathFault::Part),
            ("a./b", PathFault::Part),
            ("a /b", PathFault::Part),
            ("a\\b", PathFault::Character),
            ("a\0b", PathFault::Character),
            ("a\nb", PathFault::Character),
            ("a:stream", PathFault::Absolute),
            ("ab:stream", PathFault::Character),
            ("x\u{202e}gnp.exe", PathFault::Character),
            ("cafe\u{301}.png", PathFault::Combining),
            ("か\u{3099}.png", PathFault::Combining),
            ("a/b/c/d/e/f/g/h/i", PathFault::TooDeep),
        ];
        for (text, fault) in table {
            assert_eq!(PackagePath::parse(text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_bytes() {
        assert!(PackagePath::parse(&"a".repeat(100)).is_ok());
        assert_eq!(PackagePath::parse(&"a".repeat(101)), Err(PathFault::TooLong));
        assert_eq!(PackagePath::parse(&"煤".repeat(34)), Err(PathFault::TooLong));
        let long = format!("{}/{}/{}", "a".repeat(100), "b".repeat(98), "c");
        assert_eq!(PackagePath::parse(&long), Err(PathFault::TooLong));
    }

    #[test]
    fn hidden_and_system_files_are_left_out() {
        for path in [".DS_Store", "golden/Thumbs.db", "thumbs.db", "Desktop.ini", "__MACOSX/golden/._0.csv", ".git/config", "a/.b/c", ".."]
        {
            assert!(is_left_out(path), "{path}");
        }
        for path in ["app.yaml", "golden/0.csv", "desktop.ini.txt", "a.b", "MACOSX"] {
            assert!(!is_left_out(path), "{path}");
        }
    }

    #[test]
    fn names_and_extensions() {
        let path = PackagePath::parse("media/Cover.PNG").unwrap();
        assert_eq!((path.file_name(), path.extension().as_str()), ("Cover.PNG", "png"));
        assert_eq!(PackagePath::parse("README").unwrap().extension(), "");
    }
}
