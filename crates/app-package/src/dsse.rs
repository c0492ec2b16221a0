//! DSSE envelopes (secure-systems-lab/dsse v1) around in-toto Statements: the platform's signature on a release. The vendor's is in
//! [`crate::evidence`].
//!
//! Only Ed25519. A signature covers the pre-authentication encoding [`pae`], never the bare payload.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::keys::{KeySet, kid_of};

/// Payload type of in-toto statements.
pub const IN_TOTO_TYPE: &str = "application/vnd.in-toto+json";
/// `_type` of an in-toto Statement v1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of [`ReleaseStatement`].
pub const PREDICATE_TYPE: &str = "urn:pithead:release:v1";
/// Longest envelope that is read, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 64 * 1024;
/// Most signatures that are looked at.
const MAX_SIGNATURES: usize = 16;

/// A signed payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Media type of the payload.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// Base64 of the payload.
    pub payload: String,
    /// Signatures, at least one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// Key id, a hint for finding the key.
    #[serde(default)]
    pub keyid: String,
    /// Base64 of the 64 signature bytes.
    pub sig: String,
}

/// An envelope or its statement is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// Not JSON of an envelope, too long, or base64 that does not decode.
    #[error("not a DSSE envelope")]
    Malformed,
    /// No signature names a key of the set.
    #[error("signed with a key that is not trusted here")]
    UnknownKey,
    /// A known key's signature does not fit.
    #[error("the signature does not fit")]
    BadSignature,
    /// The signed payload is not a release statement.
    #[error("the signed payload is not a release statement")]
    NotAStatement,
}

impl DsseError {
    /// Stable error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "signature-malformed",
            Self::UnknownKey => "signature-unknown-key",
            Self::BadSignature => "signature-invalid",
            Self::NotAStatement => "signature-not-a-release",
        }
    }
}

impl Envelope {
    /// Reads an envelope from JSON, of [`MAX_ENVELOPE_BYTES`] at most.
    pub fn parse(bytes: &[u8]) -> Result<Self, DsseError> {
        Self::parse_within(bytes, MAX_ENVELOPE_BYTES)
    }

    /// Reads an envelope from JSON, of so many bytes at most.
    pub fn parse_within(bytes: &[u8], max: usize) -> Result<Self, DsseError> {
        if bytes.len() > max {
            return Err(DsseError::Malformed);
        }
        serde_json::from_slice(bytes).map_err(|_| DsseError::Malformed)
    }

    /// The JSON that is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The payload, not verified.
    pub fn decoded(&self) -> Option<Vec<u8>> {
        decode(&self.payload)
    }
}

/// Pre-authentication encoding: `DSSEv1 LEN(type) type LEN(body) body`.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Signs a payload.
pub fn sign(payload_type: &str, payload: &[u8], keyid: &str, key: &SigningKey) -> Envelope {
    let signature = key.sign(&pae(payload_type, payload));
    Envelope {
        payload_type: payload_type.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: vec![EnvelopeSignature { keyid: keyid.to_owned(), sig: STANDARD.encode(signature.to_bytes()) }],
    }
}

/// Adds a key's signature to an envelope; one that it has by this key is replaced.
///
/// # Errors
/// [`DsseError::Malformed`]: the payload is no base64, or there are as many signatures as are looked at.
pub fn countersign(envelope: &mut Envelope, key: &SigningKey) -> Result<(), DsseError> {
    let payload = decode(&envelope.payload).ok_or(DsseError::Malformed)?;
    let keyid = kid_of(&key.verifying_key());
    envelope.signatures.retain(|signature| signature.keyid != keyid);
    if envelope.signatures.len() >= MAX_SIGNATURES {
        return Err(DsseError::Malformed);
    }
    let sig = STANDARD.encode(key.sign(&pae(&envelope.payload_type, &payload)).to_bytes());
    envelope.signatures.push(EnvelopeSignature { keyid, sig });
    Ok(())
}

/// The payload, when at least one signature by a key of the set fits. The caller checks the payload type.
pub fn verify(envelope: &Envelope, keys: &KeySet) -> Result<Vec<u8>, DsseError> {
    verify_by(envelope, keys).map(|(_, payload)| payload)
}

/// As [`verify`], with the id of the key whose signature fits.
pub fn verify_by(envelope: &Envelope, keys: &KeySet) -> Result<(String, Vec<u8>), DsseError> {
    let payload = decode(&envelope.payload).ok_or(DsseError::Malformed)?;
    let message = pae(&envelope.payload_type, &payload);
    let mut known = false;
    for signature in envelope.signatures.iter().take(MAX_SIGNATURES) {
        let Some(key) = keys.get(&signature.keyid) else { continue };
        known = true;
        let bytes = decode(&signature.sig).ok_or(DsseError::Malformed)?;
        let parsed = Signature::from_slice(&bytes).map_err(|_| DsseError::Malformed)?;
        if key.verify_strict(&message, &parsed).is_ok() {
            return Ok((signature.keyid.clone(), payload));
        }
    }
    Err(if known { DsseError::BadSignature } else { DsseError::UnknownKey })
}

/// Decodes base64 in the standard or the URL-safe alphabet: the DSSE specification allows both.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// What the platform signs when it publishes a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseStatement {
    /// Digest of the release's OCI manifest.
    pub digest: Digest,
    /// Vendor slug.
    pub vendor: String,
    /// App slug.
    pub app: String,
    /// Version of the release.
    pub version: semver::Version,
    /// Outcome of the review, for example `approved`.
    pub verdict: String,
}

/// An in-toto Statement v1 with a predicate of ours.
#[derive(Serialize, Deserialize)]
pub(crate) struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    pub(crate) predicate: P,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Subject {
    name: String,
    digest: std::collections::BTreeMap<String, String>,
}

impl Subject {
    /// A release: `vendor/app` and its digest.
    pub(crate) fn of(vendor: &str, app: &str, digest: &Digest) -> Self {
        Self { name: format!("{vendor}/{app}"), digest: [(digest.algorithm().to_owned(), digest.hex().to_owned())].into() }
    }
}

impl<P: Serialize> Statement<P> {
    pub(crate) fn of(subject: Subject, predicate_type: &str, predicate: P) -> Self {
        Self { kind: STATEMENT_TYPE.to_owned(), subject: vec![subject], predicate_type: predicate_type.to_owned(), predicate }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl<P: serde::de::DeserializeOwned> Statement<P> {
    /// Reads a statement of a predicate type.
    pub(crate) fn read(payload: &[u8], predicate_type: &str) -> Result<Self, DsseError> {
        let statement: Self = serde_json::from_slice(payload).map_err(|_| DsseError::NotAStatement)?;
        let fits = statement.kind == STATEMENT_TYPE && statement.predicate_type == predicate_type;
        if fits { Ok(statement) } else { Err(DsseError::NotAStatement) }
    }

    /// Digest of the statement's one subject, which must be this app.
    pub(crate) fn digest_of(&self, vendor: &str, app: &str) -> Result<Digest, DsseError> {
        let [subject] = self.subject.as_slice() else { return Err(DsseError::NotAStatement) };
        if subject.name != format!("{vendor}/{app}") {
            return Err(DsseError::NotAStatement);
        }
        let hex = subject.digest.get("sha256").ok_or(DsseError::NotAStatement)?;
        Digest::parse(&format!("sha256:{hex}")).map_err(|_| DsseError::NotAStatement)
    }
}

#[derive(Serialize, Deserialize)]
struct Predicate {
    vendor: String,
    app: String,
    version: semver::Version,
    verdict: String,
}

impl ReleaseStatement {
    /// The in-toto Statement v1; the same bytes for the same values.
    pub fn to_payload(&self) -> Vec<u8> {
        let predicate =
            Predicate { vendor: self.vendor.clone(), app: self.app.clone(), version: self.version.clone(), verdict: self.verdict.clone() };
        Statement::of(Subject::of(&self.vendor, &self.app, &self.digest), PREDICATE_TYPE, predicate).to_bytes()
    }

    /// Reads a statement; exactly one subject, named as the predicate says.
    pub fn from_payload(payload: &[u8]) -> Result<Self, DsseError> {
        let statement: Statement<Predicate> = Statement::read(payload, PREDICATE_TYPE)?;
        let digest = statement.digest_of(&statement.predicate.vendor, &statement.predicate.app)?;
        let Predicate { vendor, app, version, verdict } = statement.predicate;
        Ok(Self { digest, vendor, app, version, verdict })
    }

    /// The signed envelope of this statement.
    pub fn sign(&self, keyid: &str, key: &SigningKey) -> Envelope {
        sign(IN_TOTO_TYPE, &self.to_payload(), keyid, key)
    }

    /// Verifies an envelope and reads its statement.
    pub fn verify(envelope: &Envelope, keys: &KeySet) -> Result<Self, DsseError> {
        let payload = verify(envelope, keys)?;
        if envelope.payload_type != IN_TOTO_TYPE {
            return Err(DsseError::NotAStatement);
        }
        Self::from_payload(&payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (SigningKey, String, KeySet, ReleaseStatement) {
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut keys = KeySet::new();
        let kid = keys.insert(key.verifying_key());
        let statement = ReleaseStatement {
            digest: Digest::of(b"manifest"),
            vendor: "deepseam".into(),
            app: "belt-watch".into(),
            version: semver::Version::new(1, 2, 0),
            verdict: "approved".into(),
        };
        (key, kid, keys, statement)
    }

    #[test]
    fn pae_is_the_specification_example() {
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
        assert_eq!(pae("煤", b"x"), "DSSEv1 3 煤 1 x".as_bytes(), "lengths are bytes");
    }

    #[test]
    fn statement_signs_and_verifies_through_json() {
        let (key, kid, keys, statement) = setup();
        let envelope = Envelope::parse(&statement.sign(&kid, &key).to_bytes()).unwrap();
        assert_eq!(ReleaseStatement::verify(&envelope, &keys).unwrap(), statement);
    }

    #[test]
    fn payload_is_in_toto_v1() {
        let (_, _, _, statement) = setup();
        let json: serde_json::Value = serde_json::from_slice(&statement.to_payload()).unwrap();
        assert_eq!(json["_type"], STATEMENT_TYPE);
        assert_eq!(json["subject"][0]["name"], "deepseam/belt-watch");
        assert_eq!(json["subject"][0]["digest"]["sha256"], Digest::of(b"manifest").hex());
        assert_eq!(json["predicate"]["version"], "1.2.0");
    }

    #[test]
    fn tampering_is_seen() {
        let (key, kid, keys, statement) = setup();
        let good = statement.sign(&kid, &key);
        let changed = Envelope { payload: STANDARD.encode(b"{}"), ..good.clone() };
        assert_eq!(verify(&changed, &keys), Err(DsseError::BadSignature));
        let retyped = Envelope { payload_type: "text/plain".into(), ..good.clone() };
        assert_eq!(verify(&retyped, &keys), Err(DsseError::BadSignature));
        let mut stranger = good.clone();
        stranger.signatures[0].keyid = "someone".into();
        assert_eq!(verify(&stranger, &keys), Err(DsseError::UnknownKey));
        let unsigned = Envelope { signatures: vec![], ..good.clone() };
        assert_eq!(verify(&unsigned, &keys), Err(DsseError::UnknownKey));
        let mut short = good.clone();
        short.signatures[0].sig = "AAAA".into();
        assert_eq!(verify(&short, &keys), Err(DsseError::Malformed));
        let garbage = Envelope { payload: "%%%".into(), ..good };
        assert_eq!(verify(&garbage, &keys), Err(DsseError::Malformed));
    }

    #[test]
    fn one_good_signature_among_strangers_is_enough() {
        let (key, kid, keys, statement) = setup();
        let mut envelope = statement.sign(&kid, &key);
        envelope.signatures.insert(0, EnvelopeSignature { keyid: "stranger".into(), sig: "AAAA".into() });
        assert!(verify(&envelope, &keys).is_ok());
    }

    #[test]
    fn signed_but_not_a_release() {
        let (key, kid, keys, statement) = setup();
        let other = sign("text/plain", &statement.to_payload(), &kid, &key);
        assert_eq!(ReleaseStatement::verify(&other, &keys), Err(DsseError::NotAStatement));
        let lying = String::from_utf8(statement.to_payload()).unwrap().replace("deepseam/belt-watch", "deepseam/other");
        let envelope = sign(IN_TOTO_TYPE, lying.as_bytes(), &kid, &key);
        assert_eq!(ReleaseStatement::verify(&envelope, &keys), Err(DsseError::NotAStatement));
        assert_eq!(Envelope::parse(b"[1]"), Err(DsseError::Malformed));
        assert_eq!(Envelope::parse(&vec![b' '; MAX_ENVELOPE_BYTES + 1]), Err(DsseError::Malformed));
    }
}
