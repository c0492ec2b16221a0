//! The one error of the domain. It knows nothing of HTTP: `http::{page, api, oci, margo}` turn it into their dialects.
//!
//! `code` is a stable kebab-case word (docs/ERRORS.md) whose text for people is the locale message `error-<code>` with `args`;
//! `source` is logged once with the request id and never shown. A bare `?` on something unforeseen is [`Kind::Internal`].

use std::fmt;

use app_package::path::invisible;
use chrono::TimeDelta;

/// Kind of failure; decides the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input is wrong; see `fields`.
    Invalid,
    /// Nobody is signed in, or the token is no good.
    Unauthenticated,
    /// Known to exist, but not for this actor.
    Forbidden,
    /// Does not exist, or may not be seen.
    NotFound,
    /// Is there, and has no such method; the argument `allow` names those that it has.
    NoMethod,
    /// Clashes with what is there now.
    Conflict,
    /// What is there is not what the request expects.
    Precondition,
    /// Was there and never comes back.
    Gone,
    /// Larger than a limit.
    TooLarge,
    /// Asked too often.
    RateLimited,
    /// Cannot be done now, may work later.
    Unavailable,
    /// There is no room to store it.
    Full,
    /// A fault of the platform.
    Internal,
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Name of the form field or JSON key.
    pub field: String,
    /// Code; its text is `error-<code>`.
    pub code: &'static str,
    /// Values for the text.
    pub args: Vec<(&'static str, String)>,
}

/// Why something was not done.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    /// Stable word.
    pub code: &'static str,
    /// Values for the text.
    pub args: Vec<(&'static str, String)>,
    /// Wrong fields, for [`Kind::Invalid`].
    pub fields: Vec<FieldError>,
    /// Seconds after which it is worth another try, for [`Kind::RateLimited`], [`Kind::Unavailable`] and [`Kind::Full`]; the header `Retry-After`.
    pub retry_after: Option<u32>,
    /// Underlying error; for the log only.
    pub source: Option<anyhow::Error>,
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),+ $(,)?) => {
        $($(#[$doc])* pub fn $name(code: &'static str) -> Self { Self::new(Kind::$kind, code) })+
    };
}

impl Error {
    /// An error of a kind with its code.
    pub fn new(kind: Kind, code: &'static str) -> Self {
        Self { kind, code, args: Vec::new(), fields: Vec::new(), retry_after: None, source: None }
    }

    constructors! {
        /// [`Kind::Invalid`] without a field.
        invalid => Invalid,
        /// [`Kind::Unauthenticated`].
        unauthenticated => Unauthenticated,
        /// [`Kind::Forbidden`].
        forbidden => Forbidden,
        /// [`Kind::NotFound`].
        not_found => NotFound,
        /// [`Kind::NoMethod`].
        no_method => NoMethod,
        /// [`Kind::Conflict`].
        conflict => Conflict,
        /// [`Kind::Precondition`].
        precondition => Precondition,
        /// [`Kind::Gone`].
        gone => Gone,
        /// [`Kind::TooLarge`].
        too_large => TooLarge,
        /// [`Kind::RateLimited`].
        rate_limited => RateLimited,
        /// [`Kind::Unavailable`].
        unavailable => Unavailable,
        /// [`Kind::Full`].
        full => Full,
    }

    /// [`Kind::Internal`]: a fault of the platform.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self { source: Some(source.into()), ..Self::new(Kind::Internal, "internal") }
    }

    /// [`Kind::Invalid`] with one wrong field.
    pub fn field(field: impl Into<String>, code: &'static str) -> Self {
        Self::invalid("invalid-input").and_field(field, code)
    }

    /// [`Kind::Invalid`]: JSON that is none, or not what is expected: which key, or where. What was sent may stand in it, so it is cut.
    pub fn json(source: serde_json::Error) -> Self {
        let why: String = source.to_string().chars().take(200).collect();
        Self::invalid("json-malformed").arg("why", why).source(source)
    }

    /// Adds a wrong field.
    #[must_use]
    pub fn and_field(mut self, field: impl Into<String>, code: &'static str) -> Self {
        self.fields.push(FieldError { field: field.into(), code, args: Vec::new() });
        self
    }

    /// Says after how long to try again, in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, after: TimeDelta) -> Self {
        // Rounded up: a second too early is refused again.
        self.retry_after = u32::try_from((after + TimeDelta::milliseconds(999)).num_seconds()).ok();
        self
    }

    /// Adds a value for the text.
    #[must_use]
    pub fn arg(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.args.push((name, value.to_string()));
        self
    }

    /// Whether a transaction ended because another one was in its way: it may go through if it runs again from the start.
    pub fn is_collision(&self) -> bool {
        self.source.as_ref().and_then(|source| source.downcast_ref()).is_some_and(collides)
    }

    /// Adds the underlying error, for the log.
    #[must_use]
    pub fn source(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for (name, value) in &self.args {
            write!(f, " {name}={value}")?;
        }
        for field in &self.fields {
            write!(f, " {}:{}", field.field, field.code)?;
        }
        if let Some(source) = &self.source {
            write!(f, ": {source:#}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Whether an error is SQLSTATE 40001 or 40P01. Diesel has no kind for a deadlock (40P01) and hides the code, so it is told by its words:
/// most translations of PostgreSQL keep the English one. A deadlock that is not recognised is not run again, and shows as a fault.
fn collides(e: &diesel::result::Error) -> bool {
    use diesel::result::{DatabaseErrorKind, Error as Diesel};
    const DEADLOCK: [&str; 4] = ["deadlock", "死锁", "死結", "デッドロック"];
    match e {
        Diesel::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        Diesel::DatabaseError(DatabaseErrorKind::Unknown, info) => {
            let message = info.message().to_lowercase();
            DEADLOCK.iter().any(|word| message.contains(word))
        }
        _ => false,
    }
}

/// The words of a database's error; of a commit that failed and could not be taken back, those of the commit.
fn words(e: &diesel::result::Error) -> String {
    use diesel::result::Error as Diesel;
    match e {
        Diesel::DatabaseError(_, info) => info.message().to_lowercase(),
        Diesel::RollbackErrorOnCommit { commit_error, .. } => words(commit_error),
        _ => String::new(),
    }
}

/// Whether the database has no room: `SQLITE_FULL`, SQLSTATE 53100. Diesel hides both codes, so they are told by their words; those of
/// PostgreSQL hold the system's for `ENOSPC`, in the language of its server.
fn is_full(e: &diesel::result::Error) -> bool {
    const FULL: [&str; 5] =
        ["database or disk is full", "no space left on device", "设备上没有空间", "設備上沒有空間", "デバイスに空き領域がありません"];
    let words = words(e);
    FULL.iter().any(|full| words.contains(full))
}

/// Whether another program holds SQLite's file (`SQLITE_BUSY`, `SQLITE_LOCKED`) longer than a connection waits for it.
fn is_locked(e: &diesel::result::Error) -> bool {
    let words = words(e);
    words.contains("database is locked") || words.contains("database table is locked")
}

impl From<diesel::result::Error> for Error {
    fn from(e: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error as Diesel};
        match &e {
            // PostgreSQL takes no NUL in a text, neither to keep nor to look for ("invalid byte sequence … 0x00"); addresses and forms
            // may hold one. Its words are those of the server's language, the byte is not.
            Diesel::DatabaseError(DatabaseErrorKind::Unknown, info) if info.message().contains("0x00") => {
                Self::invalid("control-characters").source(e)
            }
            _ if collides(&e) => Self::unavailable("database-busy").retry_after(TimeDelta::seconds(1)).source(e),
            _ if is_locked(&e) => Self::unavailable("database-busy").retry_after(TimeDelta::seconds(5)).source(e),
            _ if is_full(&e) => super::room::full().source(e),
            _ => Self::internal(e),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => super::room::full().source(e),
            _ => Self::internal(e),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Self {
        Self::internal(e)
    }
}

impl From<anyhow::Error> for Error {
    fn from(e: anyhow::Error) -> Self {
        Self::internal(e)
    }
}

/// Collects wrong fields of a form, to show all at once.
#[derive(Debug, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Notes a wrong field.
    pub fn add(&mut self, field: impl Into<String>, code: &'static str) {
        self.0.push(FieldError { field: field.into(), code, args: Vec::new() });
    }

    /// Notes a wrong field with a value for its text.
    pub fn add_with(&mut self, field: impl Into<String>, code: &'static str, name: &'static str, value: impl fmt::Display) {
        self.0.push(FieldError { field: field.into(), code, args: vec![(name, value.to_string())] });
    }

    /// Adds a number that is not from `min` to `max`.
    pub fn add_range(&mut self, field: impl Into<String>, min: impl fmt::Display, max: impl fmt::Display) {
        let args = vec![("min", min.to_string()), ("max", max.to_string())];
        self.0.push(FieldError { field: field.into(), code: "out-of-range", args });
    }

    /// Checks a text's length in characters after trimming (`too-short`, `too-long`); gives the trimmed text.
    pub fn text(&mut self, field: &str, value: &str, min: usize, max: usize) -> String {
        let value = value.trim();
        let n = value.chars().count();
        if n < min {
            self.add_with(field, if n == 0 { "required" } else { "too-short" }, "min", min);
        } else if n > max {
            self.add_with(field, "too-long", "max", max);
        } else if value.chars().any(|c| invisible(c) || c.is_control() && c != '\n' && c != '\r' && c != '\t') {
            // Also characters that change the direction of text: an organisation must look like what it is called.
            self.add(field, "control-characters");
        }
        value.to_owned()
    }

    /// The same of a text of one line.
    pub fn line(&mut self, field: &str, value: &str, min: usize, max: usize) -> String {
        let value = self.text(field, value, min, max);
        if value.contains(['\n', '\r', '\t']) {
            self.add(field, "control-characters");
        }
        value
    }

    /// `Ok` where nothing was noted.
    pub fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error { fields: self.0, ..Error::invalid("invalid-input") }) }
    }
}

/// Turns database errors into errors of the domain.
pub trait QueryResultExt<T> {
    /// A missing row is [`Kind::NotFound`] with this code.
    fn or_not_found(self, code: &'static str) -> Result<T>;
    /// A unique violation is [`Kind::Conflict`] with this code.
    fn or_conflict(self, code: &'static str) -> Result<T>;
}

impl<T> QueryResultExt<T> for diesel::QueryResult<T> {
    fn or_not_found(self, code: &'static str) -> Result<T> {
        self.map_err(|e| if matches!(e, diesel::result::Error::NotFound) { Error::not_found(code) } else { e.into() })
    }

    fn or_conflict(self, code: &'static str) -> Result<T> {
        use diesel::result::{DatabaseErrorKind, Error as Diesel};
        self.map_err(|e| {
            if matches!(e, Diesel::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) { Error::conflict(code) } else { e.into() }
        })
    }
}

/// Checks the count of a conditional update: one row, or [`Kind::Conflict`] with this code.
pub fn exactly_one(rows: usize, code: &'static str) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::conflict(code)) }
}

#[cfg(test)]
mod tests {
    use diesel::result::{DatabaseErrorKind, Error as Diesel};

    use super::*;

    #[test]
    fn what_the_database_cannot_do_now_is_no_fault_of_ours() {
        let of = |words: &str| Error::from(Diesel::DatabaseError(DatabaseErrorKind::Unknown, Box::new(words.to_owned())));
        for (words, kind, code) in [
            ("database is locked", Kind::Unavailable, "database-busy"),
            ("database or disk is full", Kind::Full, "disk-full"),
            ("could not extend file \"base/16384/2619\": No space left on device", Kind::Full, "disk-full"),
            ("disk I/O error", Kind::Internal, "internal"),
        ] {
            let e = of(words);
            assert_eq!((e.kind, e.code, e.retry_after.is_some()), (kind, code, kind != Kind::Internal), "{words}");
            assert!(!e.is_collision(), "it has waited already");
        }
        assert_eq!(Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull)).code, "disk-full");
        assert_eq!(Error::from(std::io::Error::from(std::io::ErrorKind::NotFound)).code, "internal");
    }

    #[test]
    fn a_wait_is_rounded_up() {
        let after = |ms| Error::rate_limited("x").retry_after(TimeDelta::milliseconds(ms)).retry_after;
        assert_eq!([after(1), after(1_000), after(1_001)], [Some(1), Some(1), Some(2)]);
    }
}
