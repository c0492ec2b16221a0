//! What the signatures of a release prove, judged from their bytes: the platform's approval ([`ReleaseStatement`]) and the vendor's
//! own statement ([`VendorStatement`]). The server's pages and `pithead verify` judge with the same code.
//!
//! Both are in-toto statements in DSSE envelopes and are told apart by their predicate type. An envelope is only ever held against the keys
//! of the signer that it claims, so that no vendor's key can approve and the platform's key speaks for no vendor.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::dsse::{self, DsseError, Envelope, IN_TOTO_TYPE, PREDICATE_TYPE, ReleaseStatement, Statement, Subject};
use crate::keys::KeySet;

/// `predicateType` of [`VendorStatement`].
pub const VENDOR_PREDICATE_TYPE: &str = "urn:pithead:vendor-release:v1";
/// Verdict of a release that may run.
pub const APPROVED: &str = "approved";

/// What a vendor signs: that this is its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorStatement {
    /// Digest of the release's OCI manifest.
    pub digest: Digest,
    /// Vendor slug.
    pub vendor: String,
    /// App slug.
    pub app: String,
    /// Version of the release.
    pub version: semver::Version,
}

#[derive(Serialize, Deserialize)]
struct VendorPredicate {
    vendor: String,
    app: String,
    version: semver::Version,
}

impl VendorStatement {
    /// The in-toto Statement v1; the same bytes for the same values.
    pub fn to_payload(&self) -> Vec<u8> {
        let predicate = VendorPredicate { vendor: self.vendor.clone(), app: self.app.clone(), version: self.version.clone() };
        Statement::of(Subject::of(&self.vendor, &self.app, &self.digest), VENDOR_PREDICATE_TYPE, predicate).to_bytes()
    }

    /// Reads a statement; exactly one subject, named as the predicate says.
    pub fn from_payload(payload: &[u8]) -> Result<Self, DsseError> {
        let statement: Statement<VendorPredicate> = Statement::read(payload, VENDOR_PREDICATE_TYPE)?;
        let VendorPredicate { vendor, app, version } = &statement.predicate;
        let digest = statement.digest_of(vendor, app)?;
        Ok(Self { digest, vendor: vendor.clone(), app: app.clone(), version: version.clone() })
    }

    /// The signed envelope of this statement.
    pub fn sign(&self, keyid: &str, key: &SigningKey) -> Envelope {
        dsse::sign(IN_TOTO_TYPE, &self.to_payload(), keyid, key)
    }
}

/// The signer that an envelope claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    /// The platform that approved.
    Platform,
    /// The vendor whose release it is.
    Vendor,
}

/// What a signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A known key's signature fits, and it is about this release.
    Valid,
    /// A known key's signature fits, but it is about another digest, app or version.
    OtherRelease,
    /// The platform's signature fits, but its verdict is not [`APPROVED`].
    NotApproved,
    /// No key known here has this id.
    UnknownKey,
    /// A known key's signature does not fit: the envelope was changed, or was signed with another key.
    DoesNotFit,
    /// Bytes that are no envelope, or an envelope around something else.
    Malformed,
}

impl Standing {
    /// The word in JSON and text keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::OtherRelease => "other-release",
            Self::NotApproved => "not-approved",
            Self::UnknownKey => "unknown-key",
            Self::DoesNotFit => "does-not-fit",
            Self::Malformed => "malformed",
        }
    }
}

/// The release that signatures should be about.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Digest of the release's manifest.
    pub digest: &'a Digest,
    /// Vendor slug.
    pub vendor: &'a str,
    /// App slug.
    pub app: &'a str,
    /// Version of the release, where it is known beforehand.
    pub version: Option<&'a semver::Version>,
}

/// A signature, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Signer that the envelope claims; `None` where it claims neither.
    pub signer: Option<Signer>,
    /// Id of the key whose signature fits, else the key id named first, which may be a stranger's text.
    pub kid: String,
    /// What the signature is worth.
    pub standing: Standing,
    /// Version that the statement is about, where the signature is [`Standing::Valid`].
    pub version: Option<semver::Version>,
}

/// Judges an envelope's bytes. `vendor` holds the keys of just the vendor of the release.
pub fn judge(envelope: &[u8], expected: &Expected<'_>, platform: &KeySet, vendor: &KeySet) -> Judged {
    let malformed = |kid: String| Judged { signer: None, kid, standing: Standing::Malformed, version: None };
    let Ok(envelope) = Envelope::parse(envelope) else { return malformed(String::new()) };
    let named: String = envelope.signatures.first().map(|s| s.keyid.chars().take(200).collect()).unwrap_or_default();
    let Some(signer) = claimed(&envelope) else { return malformed(named) };
    let keys = if signer == Signer::Platform { platform } else { vendor };
    let (kid, standing, version) = match dsse::verify_by(&envelope, keys) {
        Ok((kid, payload)) => {
            let (standing, version) = read(signer, &payload, expected);
            (kid, standing, version)
        }
        Err(DsseError::UnknownKey) => (named, Standing::UnknownKey, None),
        Err(DsseError::BadSignature) => (named, Standing::DoesNotFit, None),
        Err(DsseError::Malformed | DsseError::NotAStatement) => (named, Standing::Malformed, None),
    };
    Judged { signer: Some(signer), kid, standing, version: version.filter(|_| standing == Standing::Valid) }
}

/// The signer that an envelope claims by its predicate type, before anything is verified.
fn claimed(envelope: &Envelope) -> Option<Signer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        predicate_type: String,
    }
    let payload = envelope.decoded().filter(|_| envelope.payload_type == IN_TOTO_TYPE)?;
    match serde_json::from_slice::<Kind>(&payload).ok()?.predicate_type.as_str() {
        PREDICATE_TYPE => Some(Signer::Platform),
        VENDOR_PREDICATE_TYPE => Some(Signer::Vendor),
        _ => None,
    }
}

/// Reads a payload whose signature fits.
fn read(signer: Signer, payload: &[u8], expected: &Expected<'_>) -> (Standing, Option<semver::Version>) {
    let (stated, verdict) = match signer {
        Signer::Vendor => match VendorStatement::from_payload(payload) {
            Ok(stated) => (stated, APPROVED.to_owned()),
            Err(_) => return (Standing::Malformed, None),
        },
        Signer::Platform => match ReleaseStatement::from_payload(payload) {
            Ok(ReleaseStatement { digest, vendor, app, version, verdict }) => (VendorStatement { digest, vendor, app, version }, verdict),
            Err(_) => return (Standing::Malformed, None),
        },
    };
    let same = stated.digest == *expected.digest
        && stated.vendor == expected.vendor
        && stated.app == expected.app
        && expected.version.is_none_or(|version| stated.version == *version);
    if !same {
        (Standing::OtherRelease, None)
    } else if verdict == APPROVED {
        (Standing::Valid, Some(stated.version))
    } else {
        (Standing::NotApproved, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    struct Setup {
        platform: (SigningKey, String, KeySet),
        vendor: (SigningKey, String, KeySet),
        statement: VendorStatement,
    }

    fn keys(seed: u8) -> (SigningKey, String, KeySet) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let mut set = KeySet::new();
        let kid = set.insert(key.verifying_key());
        (key, kid, set)
    }

    fn setup() -> Setup {
        let statement = VendorStatement {
            digest: Digest::of(b"manifest"),
            vendor: "deepseam".into(),
            app: "belt-watch".into(),
            version: semver::Version::new(1, 2, 0),
        };
        Setup { platform: keys(1), vendor: keys(2), statement }
    }

    fn approval(s: &VendorStatement, verdict: &str) -> ReleaseStatement {
        ReleaseStatement {
            digest: s.digest.clone(),
            vendor: s.vendor.clone(),
            app: s.app.clone(),
            version: s.version.clone(),
            verdict: verdict.into(),
        }
    }

    impl Setup {
        fn judge(&self, envelope: &Envelope) -> (Option<Signer>, Standing) {
            let s = &self.statement;
            let expected = Expected { digest: &s.digest, vendor: &s.vendor, app: &s.app, version: Some(&s.version) };
            let judged = judge(&envelope.to_bytes(), &expected, &self.platform.2, &self.vendor.2);
            assert_eq!(judged.version.is_some(), judged.standing == Standing::Valid);
            (judged.signer, judged.standing)
        }
    }

    #[test]
    fn each_signer_is_held_against_its_own_keys() {
        let s = setup();
        let vendor = Some(Signer::Vendor);
        let platform = Some(Signer::Platform);
        assert_eq!(s.judge(&s.statement.sign(&s.vendor.1, &s.vendor.0)), (vendor, Standing::Valid));
        assert_eq!(s.judge(&approval(&s.statement, APPROVED).sign(&s.platform.1, &s.platform.0)), (platform, Standing::Valid));
        // A vendor that approves itself, also under the platform's key id; a platform that speaks for a vendor.
        assert_eq!(s.judge(&approval(&s.statement, APPROVED).sign(&s.vendor.1, &s.vendor.0)), (platform, Standing::UnknownKey));
        assert_eq!(s.judge(&approval(&s.statement, APPROVED).sign(&s.platform.1, &s.vendor.0)), (platform, Standing::DoesNotFit));
        assert_eq!(s.judge(&s.statement.sign(&s.platform.1, &s.platform.0)), (vendor, Standing::UnknownKey));
        assert_eq!(s.judge(&approval(&s.statement, "rejected").sign(&s.platform.1, &s.platform.0)), (platform, Standing::NotApproved));
    }

    #[test]
    fn another_release_and_changed_bytes_are_seen() {
        let s = setup();
        let vendor = Some(Signer::Vendor);
        let sign = |statement: &VendorStatement| statement.sign(&s.vendor.1, &s.vendor.0);
        let others = [
            VendorStatement { digest: Digest::of(b"other"), ..s.statement.clone() },
            VendorStatement { app: "other".into(), ..s.statement.clone() },
            VendorStatement { vendor: "other".into(), ..s.statement.clone() },
            VendorStatement { version: semver::Version::new(1, 2, 1), ..s.statement.clone() },
        ];
        for other in others {
            assert_eq!(s.judge(&sign(&other)), (vendor, Standing::OtherRelease));
        }
        let good = sign(&s.statement);
        let changed = String::from_utf8(s.statement.to_payload()).unwrap().replace("1.2.0", "1.2.1");
        assert_eq!(s.judge(&Envelope { payload: STANDARD.encode(changed), ..good.clone() }), (vendor, Standing::DoesNotFit));
        let unsigned = Envelope { signatures: vec![], ..good.clone() };
        assert_eq!(s.judge(&unsigned), (vendor, Standing::UnknownKey));
        let retyped = Envelope { payload_type: "text/plain".into(), ..good };
        assert_eq!(s.judge(&retyped), (None, Standing::Malformed));
        // A payload signed well, whose subject is not what its predicate names.
        let lying = String::from_utf8(s.statement.to_payload()).unwrap().replace("deepseam/belt-watch", "deepseam/other");
        assert_eq!(s.judge(&dsse::sign(IN_TOTO_TYPE, lying.as_bytes(), &s.vendor.1, &s.vendor.0)), (vendor, Standing::Malformed));
    }

    #[test]
    fn the_payload_round_trips_and_is_no_approval() {
        let s = setup();
        let payload = s.statement.to_payload();
        assert_eq!(VendorStatement::from_payload(&payload).unwrap(), s.statement);
        assert_eq!(ReleaseStatement::from_payload(&payload), Err(DsseError::NotAStatement));
        assert_eq!(VendorStatement::from_payload(&approval(&s.statement, APPROVED).to_payload()), Err(DsseError::NotAStatement));
        let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(json["predicateType"], VENDOR_PREDICATE_TYPE);
        assert_eq!(json["subject"][0]["digest"]["sha256"], s.statement.digest.hex());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let s = setup();
        let expected = Expected { digest: &s.statement.digest, vendor: "a", app: "b", version: None };
        for bytes in [&b""[..], b"{}", b"[]", b"\xff\xfe", b"{\"payloadType\":\"\",\"payload\":\"%\",\"signatures\":[]}"] {
            assert_eq!(judge(bytes, &expected, &s.platform.2, &s.vendor.2).standing, Standing::Malformed);
        }
        let good = s.statement.sign(&s.vendor.1, &s.vendor.0).to_bytes();
        for cut in 0..good.len() {
            judge(&good[..cut], &expected, &s.platform.2, &s.vendor.2);
        }
    }
}
