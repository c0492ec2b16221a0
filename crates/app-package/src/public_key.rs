//! One Ed25519 public key as people paste it: PEM of a `SubjectPublicKeyInfo` (RFC 8410), or a JWK (RFC 8037).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::spki::Error as SpkiError;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use serde::Deserialize;

/// Longest text that is looked at, in bytes.
pub const MAX_BYTES: usize = 4096;

/// Why a text is no public key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// More than [`MAX_BYTES`].
    #[error("longer than 4096 bytes")]
    TooLong,
    /// A private key, which must never leave its owner.
    #[error("this is a private key")]
    Private,
    /// A key of another kind or use, such as RSA, ECDSA, X25519.
    #[error("not an Ed25519 key for signatures")]
    OtherKind,
    /// A point of small order: its signatures prove nothing.
    #[error("the key is weak")]
    Weak,
    /// Neither PEM nor JWK, or damaged.
    #[error("neither a PEM public key nor a JWK")]
    Malformed,
}

impl PublicKeyError {
    /// Stable error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "key-too-long",
            Self::Private => "key-private",
            Self::OtherKind => "key-other-kind",
            Self::Weak => "key-weak",
            Self::Malformed => "key-malformed",
        }
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    d: Option<serde::de::IgnoredAny>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
}

/// Reads a public key; white space around it and a byte-order mark do not matter.
pub fn parse(text: &str) -> Result<VerifyingKey, PublicKeyError> {
    if text.len() > MAX_BYTES {
        return Err(PublicKeyError::TooLong);
    }
    let text = text.trim_start_matches('\u{feff}').trim();
    let key = if text.starts_with('{') { from_jwk(text)? } else { from_pem(text)? };
    if key.is_weak() { Err(PublicKeyError::Weak) } else { Ok(key) }
}

fn from_jwk(text: &str) -> Result<VerifyingKey, PublicKeyError> {
    let jwk: Jwk = serde_json::from_str(text).map_err(|_| PublicKeyError::Malformed)?;
    if jwk.d.is_some() {
        return Err(PublicKeyError::Private);
    }
    let signs = jwk.usage.is_none_or(|u| u == "sig") && jwk.alg.is_none_or(|a| matches!(a.as_str(), "EdDSA" | "Ed25519"));
    if jwk.kty != "OKP" || jwk.crv != "Ed25519" || !signs {
        return Err(PublicKeyError::OtherKind);
    }
    let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    VerifyingKey::from_bytes(&bytes.ok_or(PublicKeyError::Malformed)?).map_err(|_| PublicKeyError::Malformed)
}

fn from_pem(text: &str) -> Result<VerifyingKey, PublicKeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(PublicKeyError::Private);
    }
    // Text files of Windows end their lines in two characters; PEM allows both endings.
    VerifyingKey::from_public_key_pem(text).map_err(|e| match e {
        SpkiError::OidUnknown { .. } | SpkiError::AlgorithmParametersMissing => PublicKeyError::OtherKind,
        _ if text.starts_with("-----BEGIN CERTIFICATE") || text.starts_with("-----BEGIN RSA PUBLIC") => PublicKeyError::OtherKind,
        _ => PublicKeyError::Malformed,
    })
}

/// The key as PEM, to paste elsewhere.
pub fn to_pem(key: &VerifyingKey) -> String {
    key.to_public_key_pem(LineEnding::LF).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;

    /// The key of RFC 8037 appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    /// The example of RFC 8410 §10.1.
    const RFC_8410: &str =
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    const P256: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\nq9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----";

    #[test]
    fn pem_and_jwk_are_read() {
        assert_eq!(to_pem(&parse(RFC_8410).unwrap()), RFC_8410);
        assert!(parse(&format!("\u{feff}{RFC_8410}")).is_ok());
        assert!(parse(&format!("\r\n{}  ", RFC_8410.replace('\n', "\r\n"))).is_ok());
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","use":"sig","kid":"any","alg":"EdDSA"}}"#);
        assert_eq!(URL_SAFE_NO_PAD.encode(parse(&jwk).unwrap().as_bytes()), X);
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let jwk = |rest: &str| parse(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"{rest}}}"#)).unwrap_err().code();
        assert_eq!(jwk(r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#), "key-private");
        assert_eq!(jwk(r#","use":"enc""#), "key-other-kind");
        assert_eq!(jwk(r#","alg":"ES256""#), "key-other-kind");
        let private = SigningKey::from_bytes(&[5; 32]).to_pkcs8_pem(LineEnding::LF).unwrap();
        let weak = URL_SAFE_NO_PAD.encode([1u8].into_iter().chain([0; 31]).collect::<Vec<_>>());
        let weak_pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----";
        let table = [
            ("", "key-malformed"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB", "key-malformed"),
            ("{", "key-malformed"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, "key-malformed"),
            (r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#, "key-other-kind"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "key-other-kind"),
            (P256, "key-other-kind"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "key-other-kind"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "key-malformed"),
            (private.as_str(), "key-private"),
            (&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{weak}"}}"#), "key-weak"),
            (weak_pem, "key-weak"),
            (&" ".repeat(MAX_BYTES + 1), "key-too-long"),
        ];
        for (text, code) in table {
            assert_eq!(parse(text).map_err(PublicKeyError::code).unwrap_err(), code, "{}", text.chars().take(80).collect::<String>());
        }
    }
}
