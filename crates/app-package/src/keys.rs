//! Ed25519 public keys by key id, as a JWK Set (RFC 7517, RFC 8037).
//!
//! Invariant: a [`KeySet`] holds no weak (small-order) key, and each key id once.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Most keys of a set; rotation needs a handful.
const MAX_KEYS: usize = 100;
/// Longest key id.
const MAX_KID_BYTES: usize = 200;

/// Public keys that signatures are checked with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
}

/// A JWK Set cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a JWK Set at all, or too many keys.
    #[error("not a JWK Set with at most 100 keys")]
    NotAKeySet,
    /// An Ed25519 key whose `x` is no point, or a weak one; the key id or its place.
    #[error("key {0} is not a usable Ed25519 public key")]
    BadKey(String),
    /// Two different keys with one id.
    #[error("key id {0} appears twice")]
    DuplicateKeyId(String),
}

impl KeyError {
    /// Stable error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAKeySet => "keyset-invalid",
            Self::BadKey(_) => "keyset-bad-key",
            Self::DuplicateKeyId(_) => "keyset-duplicate-kid",
        }
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct JwkIn {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
}

#[derive(Serialize)]
struct JwkOut<'a> {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: &'a str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
}

impl KeySet {
    /// An empty set, which verifies nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a JWK Set. Keys of other kinds or uses are passed over (RFC 7517 §5).
    pub fn from_jwks(jwks: &serde_json::Value) -> Result<Self, KeyError> {
        let Jwks { keys } = Jwks::deserialize(jwks).map_err(|_| KeyError::NotAKeySet)?;
        if keys.len() > MAX_KEYS {
            return Err(KeyError::NotAKeySet);
        }
        let mut set = Self::new();
        for (place, value) in keys.iter().enumerate() {
            let Ok(jwk) = JwkIn::deserialize(value) else { continue };
            if jwk.kty != "OKP" || jwk.crv != "Ed25519" || jwk.usage.is_some_and(|u| u != "sig") {
                continue;
            }
            let name = jwk.kid.clone().unwrap_or_else(|| place.to_string());
            let bad = || KeyError::BadKey(name.chars().take(MAX_KID_BYTES).collect());
            let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).ok().and_then(|b| <[u8; 32]>::try_from(b).ok()).ok_or_else(bad)?;
            let key = VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak()).ok_or_else(bad)?;
            let kid = jwk.kid.unwrap_or_else(|| kid_of(&key));
            if kid.is_empty() || kid.len() > MAX_KID_BYTES {
                return Err(bad());
            }
            if set.keys.insert(kid.clone(), key).is_some_and(|old| old != key) {
                return Err(KeyError::DuplicateKeyId(kid));
            }
        }
        Ok(set)
    }

    /// The JWK Set, keys sorted by id.
    pub fn to_jwks(&self) -> serde_json::Value {
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|(kid, key)| JwkOut {
                kty: "OKP",
                crv: "Ed25519",
                x: URL_SAFE_NO_PAD.encode(key.as_bytes()),
                kid,
                usage: "sig",
                alg: "EdDSA",
            })
            .collect();
        serde_json::json!({ "keys": keys })
    }

    /// Adds a key under its thumbprint and returns that id.
    pub fn insert(&mut self, key: VerifyingKey) -> String {
        let kid = kid_of(&key);
        self.keys.insert(kid.clone(), key);
        kid
    }

    /// Takes a key out.
    pub fn remove(&mut self, kid: &str) {
        self.keys.remove(kid);
    }

    /// Adds all keys of another set.
    pub fn extend(&mut self, other: &Self) {
        self.keys.extend(other.keys.iter().map(|(kid, key)| (kid.clone(), *key)));
    }

    /// The key with that id.
    pub fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The key id of a public key: its RFC 7638 thumbprint (SHA-256, base64url).
pub fn kid_of(key: &VerifyingKey) -> String {
    // Members in lexicographic order, no white space: RFC 7638 §3.
    let json = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(key.as_bytes()));
    URL_SAFE_NO_PAD.encode(Sha256::digest(json.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The key of RFC 8037 appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn thumbprint_of_rfc_8037_a3() {
        let set = KeySet::from_jwks(&json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": X}]})).unwrap();
        let kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert_eq!(kid_of(set.get(kid).unwrap()), kid);
    }

    #[test]
    fn jwks_round_trip() {
        let mut set = KeySet::new();
        let kid = set.insert(ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key());
        let again = KeySet::from_jwks(&set.to_jwks()).unwrap();
        assert_eq!(again, set);
        assert_eq!(again.len(), 1);
        assert!(again.get(&kid).is_some() && again.get("other").is_none());
    }

    #[test]
    fn other_kinds_and_uses_are_passed_over() {
        let jwks = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "use": "x509-svid"},
            {"kty": "OKP", "crv": "X25519", "x": X},
            {"kty": "OKP", "crv": "Ed25519", "x": X, "use": "enc"},
            {"no": "kty"}, 7
        ]});
        assert!(KeySet::from_jwks(&jwks).unwrap().is_empty());
    }

    #[test]
    fn bad_sets_are_refused() {
        let weak = URL_SAFE_NO_PAD.encode([1u8].into_iter().chain([0; 31]).collect::<Vec<_>>());
        let code = |v: serde_json::Value| KeySet::from_jwks(&v).unwrap_err().code();
        assert_eq!(code(json!([])), "keyset-invalid");
        assert_eq!(code(json!({"keys": vec![json!({}); 101]})), "keyset-invalid");
        assert_eq!(code(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]})), "keyset-bad-key");
        assert_eq!(code(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": weak}]})), "keyset-bad-key");
        let other = URL_SAFE_NO_PAD.encode(ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key().as_bytes());
        let twice = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a"}, {"kty": "OKP", "crv": "Ed25519", "x": other, "kid": "a"}]});
        assert_eq!(code(twice), "keyset-duplicate-kid");
    }
}
