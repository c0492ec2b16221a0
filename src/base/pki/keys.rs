//! The platform's Ed25519 signing key and the JWK set that verifies it.

use std::path::Path;

use anyhow::Context as _;
use app_package::keys::{self, KeySet};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};

/// Signing key with its id, and the public keys that verify. There is no rotation yet: the set holds this key alone.
#[derive(Debug, Clone)]
pub struct PlatformKeys {
    /// Signs licences, tokens and release statements.
    pub signing: SigningKey,
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// Public keys that verify the platform's signatures.
    pub set: KeySet,
}

impl PlatformKeys {
    /// Loads `<dir>/platform.pem`, or makes it.
    pub fn load_or_make(dir: &Path) -> anyhow::Result<Self> {
        let pem = super::load_or_make(&dir.join("platform.pem"), || {
            let key = SigningKey::from_bytes(&crate::base::ids::random::<32>());
            Ok(key.to_pkcs8_pem(LineEnding::LF).context("platform key")?.to_string())
        })?;
        let signing = SigningKey::from_pkcs8_pem(&pem).context("platform key is damaged")?;
        let public = signing.verifying_key();
        let kid = keys::kid_of(&public);
        let mut set = KeySet::default();
        set.insert(public);
        Ok(Self { signing, kid, set })
    }
}
