//! Bearer secrets: API tokens `pht_<secret>`. Shown once, stored as SHA-256 (they carry 256 random bits, so a slow hash adds nothing).

use crate::base::ids;

/// Prefix by which a leaked token is easily found and recognised.
pub const PREFIX: &str = "pht_";

/// A new token: the text to show once, and the hash to store.
pub fn new() -> (String, String) {
    let token = format!("{PREFIX}{}", ids::secret());
    let hash = ids::hash_secret(&token);
    (token, hash)
}
