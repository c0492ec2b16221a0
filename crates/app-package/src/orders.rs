//! What the platform signs for its nodes besides releases and licences: what a node is to run ([`StateStatement`]), and which releases have lost
//! their approval ([`Revocations`]). Both are JSON in DSSE envelopes, each of a payload type of its own.

use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::digest::Digest;
use crate::dsse::{self, DsseError, Envelope};
use crate::keys::{KeySet, kid_of};

/// Payload type of [`StateStatement`].
const STATE_TYPE: &str = "application/vnd.pithead.state+json";
/// Releases of a list at most: the newest. What was recalled before stays unknown to whoever would pull it, and is told in each document.
pub const MAX_REVOKED: usize = 10_000;
/// Longest envelope of a list, in bytes.
pub const MAX_REVOCATIONS_BYTES: usize = 2 * 1024 * 1024;

/// Payload type of [`Revocations`].
const REVOCATIONS_TYPE: &str = "application/vnd.pithead.revocations+json";

/// That a node is to run what a state manifest lists. It ends, so that an old one cannot be kept alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateStatement {
    /// SPIFFE id of the node.
    pub node: String,
    /// Margo's `manifestVersion` in that manifest.
    pub manifest_version: u64,
    /// Digest of the manifest's bytes.
    pub digest: Digest,
    /// Newest version of the root document.
    pub root: u64,
    /// Newest version of the list of revoked releases; 0 where nothing was ever revoked.
    pub revocations: u64,
    /// Issued at, Unix seconds.
    pub issued: i64,
    /// From then on nothing new is begun by it, Unix seconds. What runs goes on.
    pub expires: i64,
    /// What the node has asked with, so that nobody answers it with an old statement; absent where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

impl StateStatement {
    /// The signed envelope.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        signed(STATE_TYPE, self, key)
    }

    /// The statement that a key of the set has signed.
    ///
    /// # Errors
    /// [`DsseError`].
    pub fn verify(envelope: &Envelope, keys: &KeySet) -> Result<Self, DsseError> {
        verified(STATE_TYPE, envelope, keys)
    }

    /// Whether something new may be begun by it.
    pub fn in_force(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() < self.expires
    }
}

/// Releases that are approved no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// Rises with each change of the list.
    pub version: u64,
    /// Digests of their manifests, sorted.
    pub releases: Vec<Digest>,
    /// Issued at, Unix seconds; absent in lists made before they had an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<i64>,
    /// From then on it tells nobody that a release is still approved, Unix seconds. What it names has lost its approval for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

impl Revocations {
    /// Whether the list may still be relied on.
    pub fn in_force(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_none_or(|expires| now.timestamp() < expires)
    }

    /// The signed envelope.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        signed(REVOCATIONS_TYPE, self, key)
    }

    /// The list that a key of the set has signed.
    ///
    /// # Errors
    /// [`DsseError`].
    pub fn verify(envelope: &Envelope, keys: &KeySet) -> Result<Self, DsseError> {
        verified(REVOCATIONS_TYPE, envelope, keys)
    }
}

fn signed(kind: &str, value: &impl Serialize, key: &SigningKey) -> Envelope {
    dsse::sign(kind, &serde_json::to_vec(value).unwrap_or_default(), &kid_of(&key.verifying_key()), key)
}

fn verified<T: DeserializeOwned>(kind: &str, envelope: &Envelope, keys: &KeySet) -> Result<T, DsseError> {
    let payload = dsse::verify(envelope, keys)?;
    if envelope.payload_type != kind {
        return Err(DsseError::Malformed);
    }
    serde_json::from_slice(&payload).map_err(|_| DsseError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_kind_by_its_own_key() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut keys = KeySet::new();
        keys.insert(key.verifying_key());
        let list = Revocations { version: 3, releases: vec![Digest::of(b"a")], issued: Some(5), expires: Some(9) };
        let envelope = list.sign(&key);
        assert_eq!(Revocations::verify(&envelope, &keys).unwrap(), list);
        let at = |t| DateTime::from_timestamp(t, 0).unwrap();
        assert!(list.in_force(at(8)) && !list.in_force(at(9)));
        let before: Revocations = serde_json::from_str(r#"{"version":2,"releases":[]}"#).unwrap();
        assert!(before.in_force(at(i64::from(u32::MAX))), "a list made before lists had an end");
        assert_eq!(Revocations::verify(&envelope, &KeySet::new()), Err(DsseError::UnknownKey));
        assert_eq!(StateStatement::verify(&envelope, &keys), Err(DsseError::Malformed));
        let state = StateStatement {
            node: "spiffe://a/b".into(),
            manifest_version: 1,
            digest: Digest::of(b"m"),
            root: 1,
            revocations: 3,
            issued: 10,
            expires: 20,
            nonce: None,
        };
        let mut envelope = state.sign(&key);
        assert_eq!(StateStatement::verify(&envelope, &keys).unwrap(), state);
        assert!(state.in_force(at(19)) && !state.in_force(at(20)));
        envelope.payload_type = "application/vnd.pithead.root+json".into();
        assert_eq!(StateStatement::verify(&envelope, &keys), Err(DsseError::BadSignature), "the type is signed, too");
    }
}
