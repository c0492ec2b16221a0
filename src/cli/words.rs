//! What goes wrong on this machine, in the reader's language.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::base::i18n::Lang;

/// Says what could not be done to a file, and why.
pub trait Cannot<T> {
    /// `verb` is `read` or `write`.
    fn cannot(self, lang: Lang, verb: &str, path: &Path) -> anyhow::Result<T>;
}

impl<T> Cannot<T> for std::io::Result<T> {
    fn cannot(self, lang: Lang, verb: &str, path: &Path) -> anyhow::Result<T> {
        self.map_err(|e| {
            let path = path.display().to_string();
            anyhow::anyhow!(lang.format(&format!("cli-cannot-{verb}"), &[("path", &path), ("reason", &reason(lang, &e))]))
        })
    }
}

/// Why the system refused; its own words where we have none.
pub fn reason(lang: Lang, e: &Error) -> String {
    let key = match e.kind() {
        ErrorKind::NotFound => "cli-io-not-found",
        ErrorKind::PermissionDenied => "cli-io-permission",
        ErrorKind::AlreadyExists => "cli-io-exists",
        ErrorKind::IsADirectory => "cli-io-is-folder",
        ErrorKind::NotADirectory => "cli-io-no-folder",
        ErrorKind::StorageFull => "cli-io-full",
        ErrorKind::InvalidData => "cli-io-no-text",
        _ => return e.to_string(),
    };
    lang.t(key)
}

/// A path as people read it.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
