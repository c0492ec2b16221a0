//! A vendor's signing key.

use app_package::keys::{self, KeySet};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::prelude::*;
use ed25519_dalek::VerifyingKey;

use crate::base::db::{Timestamp, schema};

/// Most keys in use at a time: a handful of build machines and a successor for each.
pub const MAX_ACTIVE: usize = 10;
/// Most keys that a vendor can ever have had, so that the list stays one page.
pub const MAX_EVER: usize = 100;

/// A public key that a vendor has registered.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::vendor_keys)]
pub struct VendorKey {
    /// `key_…`.
    pub id: String,
    pub organization_id: String,
    /// What the vendor calls it.
    pub name: String,
    /// RFC 7638 thumbprint: names the key in signatures and in the public set.
    pub kid: String,
    /// The 32 bytes, base64url.
    pub public_key: String,
    /// Who registered it.
    pub created_by: String,
    pub created_at: Timestamp,
    /// When it was taken out of use.
    pub revoked_at: Option<Timestamp>,
}

impl VendorKey {
    /// The key itself; none where the row is damaged.
    pub fn key(&self) -> Option<VerifyingKey> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.public_key).ok()?;
        let key = VerifyingKey::from_bytes(&<[u8; 32]>::try_from(bytes).ok()?).ok()?;
        (keys::kid_of(&key) == self.kid).then_some(key)
    }
}

/// A key as its row stores it, base64url.
pub fn encode(key: &VerifyingKey) -> String {
    URL_SAFE_NO_PAD.encode(key.as_bytes())
}

/// The keys in use, as a set that verifies. A revoked key is in no set: from then on its signatures are those of a stranger.
pub fn active_set(keys: &[VendorKey]) -> KeySet {
    let mut set = KeySet::new();
    for key in keys.iter().filter(|key| key.revoked_at.is_none()).filter_map(VendorKey::key) {
        set.insert(key);
    }
    set
}
