//! Identifiers, numbers in a row, and random secrets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::db::{Conn, dialect};
use super::error::Result;

/// A new id: the kind's prefix and a `UUIDv7` without hyphens, for example `ord_0199…`. Sorts by time.
pub fn new(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// Whether a text that somebody sent can be an id at all.
pub fn is_sound(text: &str) -> bool {
    !text.is_empty() && text.len() <= 60 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The next number of a counter, 1 at first. Holds the counter until the transaction ends, so that no number is left out.
pub fn number(conn: &mut Conn, counter: &str) -> Result<i64> {
    Ok(dialect::count_up(conn, counter)?)
}

/// Length of a [`secret`].
pub const SECRET_CHARS: usize = 43;

/// 256 random bits from the operating system, in base64url.
pub fn secret() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

/// Random bytes from a generator that the operating system seeds.
pub fn random<const N: usize>() -> [u8; N] {
    let mut out = [0u8; N];
    rand::fill(&mut out[..]);
    out
}

/// SHA-256 in hex: how high-entropy secrets (sessions, tokens, codes) are stored. A slow hash is only needed for passwords.
pub fn hash_secret(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}
