//! Content digests as in the OCI image specification: `algorithm:hex`.
//!
//! Invariant: a [`Digest`] is always one of `sha256:<64 lower-case hex>` or `sha512:<128 lower-case hex>`, so it is safe as a file name part.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A checked digest string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// A text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is sha256: and 64 lower-case hexadecimal digits (or sha512: and 128)")]
pub struct DigestError;

impl DigestError {
    /// Stable error code.
    pub fn code(self) -> &'static str {
        "digest-invalid"
    }
}

impl Digest {
    /// Checks algorithm, length and lower-case hex.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError)?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(DigestError),
        };
        let lower_hex = hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex.len() == length && lower_hex { Ok(Self(text.to_owned())) } else { Err(DigestError) }
    }

    /// SHA-256 of the bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }
}

/// SHA-256 over bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// An empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes given.
    pub fn finish(self) -> Digest {
        Digest(format!("sha256:{}", hex::encode(self.0.finalize())))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn of_matches_the_published_vector() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        assert_eq!(Digest::of(b"").hex(), EMPTY.trim_start_matches("sha256:"));
        assert_eq!(Digest::of(b"").algorithm(), "sha256");
    }

    #[test]
    fn hasher_in_pieces_equals_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"coal ");
        hasher.update(b"face");
        assert_eq!(hasher.finish(), Digest::of(b"coal face"));
    }

    #[test]
    fn parse_takes_both_algorithms_and_nothing_else() {
        assert!(Digest::parse(EMPTY).is_ok());
        assert!(Digest::parse(&format!("sha512:{}", "a".repeat(128))).is_ok());
        let bad = [
            String::new(),
            "sha256:".into(),
            "sha256".into(),
            EMPTY.to_uppercase(),
            format!("sha256:{}", "g".repeat(64)),
            format!("sha256:{}", "a".repeat(63)),
            format!("sha256:{}", "a".repeat(128)),
            format!("md5:{}", "a".repeat(32)),
            format!("sha256:{}/../../etc", "a".repeat(52)),
            format!(" {EMPTY}"),
        ];
        for text in bad {
            assert_eq!(Digest::parse(&text), Err(DigestError), "{text}");
        }
    }

    #[test]
    fn serde_checks() {
        assert_eq!(serde_json::from_str::<Digest>(&format!("\"{EMPTY}\"")).unwrap(), Digest::of(b""));
        assert!(serde_json::from_str::<Digest>("\"sha256:1\"").is_err());
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap(), format!("\"{EMPTY}\""));
    }
}
