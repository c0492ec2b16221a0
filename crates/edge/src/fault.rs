//! The one error type of the agent: a stable code, the part of the agent it came from and words for people.
//!
//! It maps one to one on the `error` object of Margo's deployment status, so a fault can always be reported as it is.

use std::borrow::Cow;

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable kebab-case word.
    pub code: Cow<'static, str>,
    /// Part of the agent: `identity`, `server`, `manifest`, `release`, `license`, `store`, `app`, `state`.
    pub source: &'static str,
    /// For people; never holds secrets.
    pub message: String,
}

impl Fault {
    /// A fault with a fixed code.
    pub fn new(code: &'static str, source: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), source, message: message.into() }
    }

    /// An input or output error on the local disk.
    pub fn disk(what: &str, error: &std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::StorageFull { "disk-full" } else { "disk" };
        Self::new(code, "store", format!("{what}: {error}"))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.source, self.message)
    }
}

impl std::error::Error for Fault {}
