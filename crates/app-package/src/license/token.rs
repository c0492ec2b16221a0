//! Signing and verifying licence tokens: JWT with `alg` `EdDSA` pinned, key chosen by `kid`.

use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

use super::Claims;
use crate::keys::KeySet;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// Most nodes and digests of one licence copy.
const MAX_LIST: usize = 1_000;
/// Longest text claim, in bytes.
const MAX_TEXT: usize = 300;
/// DER of a PKCS#8 v1 Ed25519 private key up to the 32 seed bytes (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A token is no licence of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LicenseError {
    /// Not a JWT, or too long.
    #[error("not a licence token")]
    Malformed,
    /// Another algorithm than `EdDSA`, or another `typ`.
    #[error("the licence token is not signed with EdDSA")]
    Algorithm,
    /// No `kid`, or one that is not in the set.
    #[error("the licence is signed with a key that is not trusted here")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the licence's signature does not fit")]
    BadSignature,
    /// Signed by us, but a claim is missing or has not its shape.
    #[error("a claim of the licence is missing or malformed")]
    Shape,
    /// The signing key cannot be used; a fault of the platform.
    #[error("the licence cannot be signed")]
    Signing,
}

impl LicenseError {
    /// Stable error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "license-malformed",
            Self::Algorithm => "license-algorithm",
            Self::UnknownKey => "license-unknown-key",
            Self::BadSignature => "license-bad-signature",
            Self::Shape => "license-shape",
            Self::Signing => "license-signing-failed",
        }
    }
}

/// Signs claims. Errors when the claims are out of bounds, so that nothing is issued that no node would take.
pub fn sign(claims: &Claims, key: &SigningKey, kid: &str) -> Result<String, LicenseError> {
    check(claims)?;
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.to_owned());
    let der: Vec<u8> = PKCS8_PREFIX.iter().chain(key.as_bytes()).copied().collect();
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&der)).map_err(|_| LicenseError::Signing)
}

/// Checks signature and shape. Time, node, app and version are for [`super::evaluate`].
pub fn verify(token: &str, keys: &KeySet) -> Result<Claims, LicenseError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(LicenseError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| LicenseError::Malformed)?;
    if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some("JWT") {
        return Err(LicenseError::Algorithm);
    }
    let key = header.kid.as_deref().and_then(|kid| keys.get(kid)).ok_or(LicenseError::UnknownKey)?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let data = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(key.as_bytes()), &validation).map_err(|error| {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature => LicenseError::BadSignature,
            ErrorKind::Json(_) => LicenseError::Shape,
            _ => LicenseError::Malformed,
        }
    })?;
    check(&data.claims)?;
    Ok(data.claims)
}

fn check(claims: &Claims) -> Result<(), LicenseError> {
    let texts = [&claims.iss, &claims.sub, &claims.jti, &claims.app, &claims.versions, &claims.plan];
    let texts_fit = texts.iter().all(|text| !text.is_empty() && text.len() <= MAX_TEXT);
    let lists_fit = claims.nodes.len() <= MAX_LIST && claims.digests.len() <= MAX_LIST && claims.nodes.iter().all(|n| n.len() <= MAX_TEXT);
    let app_fits = claims.app.split('/').count() == 2 && claims.app.split('/').all(|part| !part.is_empty());
    if !texts_fit || !lists_fit || !app_fits {
        return Err(LicenseError::Shape);
    }
    claims.terms().map(|_| ())
}
