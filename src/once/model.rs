//! The key of a request, and the answer that is kept.

use chrono::TimeDelta;
use diesel::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::base::db::{Timestamp, schema};
use crate::base::error::{Error, Result};

/// How long an answer is kept.
pub const KEEP: TimeDelta = TimeDelta::hours(24);
/// Longest key in characters.
const MAX_KEY: usize = 255;
/// Answers of a person in an organisation that are kept at a time.
pub const MAX_KEPT: i64 = 10_000;

/// A request that is made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// As its sender chose it.
    pub key: String,
    /// SHA-256 of method, path and body, hex: another request with the same key is told by it.
    pub request_hash: String,
}

impl Key {
    /// Reads the header: a string of structured fields (RFC 8941 §3.3.3), or its bare characters, as many senders have it.
    ///
    /// # Errors
    /// `idempotency-key-invalid`.
    pub fn of(header: &str, method: &str, path: &str, body: &[u8]) -> Result<Self> {
        let text = header.trim();
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let fits = (1..=MAX_KEY).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if !fits {
            return Err(Error::invalid("idempotency-key-invalid").arg("max", MAX_KEY));
        }
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), b"\n", path.as_bytes(), b"\n", body] {
            hash.update(part);
        }
        Ok(Self { key: bare.to_owned(), request_hash: hex::encode(hash.finalize()) })
    }
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// JSON that is kept, and told again, in the place of `body`: that of an answer with a secret, for what is kept lies in the database as it
    /// is. None where `body` itself is kept.
    pub kept: Option<String>,
}

impl Answer {
    /// An answer that is kept as it is.
    pub fn new(status: u16, body: String) -> Self {
        Self { status, body, kept: None }
    }

    /// What is kept of it.
    pub fn kept(&self) -> &str {
        self.kept.as_deref().unwrap_or(&self.body)
    }
}

/// A kept answer.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::kept_answers)]
pub struct Kept {
    /// The organisation that its sender acted for: what it was told is not for another of the sender's organisations.
    pub organization_id: String,
    pub user_id: String,
    pub idempotency_key: String,
    /// As in [`Key`].
    pub request_hash: String,
    /// 0 while the change is under way, which only its own transaction sees.
    pub status: i64,
    pub body: String,
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_string_with_or_without_quotes() {
        let key = |header: &str| Key::of(header, "POST", "/x", b"{}").map(|key| key.key).map_err(|e| e.code);
        assert_eq!(key("\"8e03978e-40d5\"").unwrap(), "8e03978e-40d5");
        assert_eq!(key(" 8e03978e-40d5 ").unwrap(), "8e03978e-40d5");
        for wrong in ["", "\"\"", "\"", "a b", "a\"b", "ä", &"x".repeat(MAX_KEY + 1)] {
            assert_eq!(key(wrong), Err("idempotency-key-invalid"), "{wrong}");
        }
        assert!(key(&"x".repeat(MAX_KEY)).is_ok());
    }

    #[test]
    fn method_path_and_body_tell_requests_apart() {
        let hash = |method, path, body: &[u8]| Key::of("k", method, path, body).unwrap().request_hash;
        let first = hash("POST", "/a", b"{}");
        assert_eq!(first, hash("POST", "/a", b"{}"));
        for (method, path, body) in [("DELETE", "/a", b"{}".as_slice()), ("POST", "/b", b"{}"), ("POST", "/a", b"{ }")] {
            assert_ne!(first, hash(method, path, body));
        }
    }
}
