//! Progress on standard error.

use std::io::{IsTerminal as _, Write as _};

use crate::base::i18n::Lang;

/// How far it is: on a terminal one line that is written anew, else a line for each file that is done.
pub struct Progress {
    total: u64,
    done: u64,
    terminal: bool,
    lines: bool,
}

impl Progress {
    /// Of so many bytes in all. Beside JSON nothing is written anew.
    pub fn new(total: u64, json: bool) -> Self {
        Self { total, done: 0, terminal: !json && std::io::stderr().is_terminal(), lines: true }
    }

    /// For people at a terminal only: what another's progress follows, or what is soon done.
    #[must_use]
    pub fn briefly(self) -> Self {
        Self { lines: false, ..self }
    }

    fn percent(&self, sent: u64) -> u64 {
        self.done.saturating_add(sent).saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100)
    }

    /// So many bytes of a file are through.
    pub fn show(&self, name: &str, sent: u64, size: u64, note: &str) {
        if self.terminal {
            eprint!("\r\u{1b}[K{:>3} %  {name}  {sent}/{size} {note}", self.percent(sent));
            // Nobody may be looking.
            let _ = std::io::stderr().flush();
        }
    }

    /// A file is through.
    pub fn done(&mut self, name: &str, size: u64, note: &str) {
        self.show(name, size, size, note);
        self.done = self.done.saturating_add(size);
        if !self.terminal && self.lines {
            eprintln!("{}", format!("{:>3} %  {name}  {size} {note}", self.percent(0)).trim_end());
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.terminal {
            eprint!("\r\u{1b}[K");
        }
    }

    /// All is through.
    pub fn end(&self, lang: Lang) {
        if self.terminal {
            eprintln!("\r\u{1b}[K100 %  {}", lang.format("cli-bytes", &[("n", &self.total.to_string())]));
        }
    }
}
