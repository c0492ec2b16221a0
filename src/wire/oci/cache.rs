//! Memory for repeated pulls: the claims of tokens whose signature has been verified, and manifests as the holder of a token last got
//! them.
//!
//! A kept manifest is good for a second, and only until this process writes anything to the database: so a change that was answered (a tag
//! moved, a manifest deleted, a licence revoked) shows at the next request, and no code has to know which change concerns which manifest.
//! Writes of another process, and a licence that ends by itself, show when the second is over. Refusals and missing manifests are never
//! kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::claims::Claims;
use crate::base::db::Timestamp;

/// How long a manifest is kept.
const LIFE: TimeDelta = TimeDelta::seconds(1);
/// Most entries of each map; a map that is full is emptied.
const MAX: usize = 512;
/// Largest manifest that is kept, in bytes. Usual ones have a few thousand.
const MAX_CONTENT: usize = 32 * 1024;

/// Hash that stands for a token, or for a token with a request: a token is a secret, and up to 16 KiB long.
pub type Key = [u8; 32];

/// The key of some byte strings.
pub fn key(words: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for word in words {
        // Hash the length, too, so that the border between two words counts.
        hash.update(word.len().to_be_bytes());
        hash.update(word);
    }
    hash.finalize().into()
}

/// A manifest as it is served.
#[derive(Debug, PartialEq, Eq)]
pub struct CachedManifest {
    /// Digest of `content`.
    pub digest: String,
    /// `Content-Type` it was pushed with.
    pub media_type: String,
    /// The exact bytes.
    pub content: Bytes,
}

#[derive(Debug)]
struct CacheEntry {
    /// Value of [`crate::base::db::Db::generation`] before the manifest was read.
    generation: u64,
    at: Timestamp,
    manifest: Arc<CachedManifest>,
}

/// Claims of verified tokens, and manifests that were served within the last second.
#[derive(Debug, Default)]
pub struct Cache {
    tokens: Mutex<HashMap<Key, Arc<Claims>>>,
    manifests: Mutex<HashMap<Key, CacheEntry>>,
}

impl Cache {
    /// Claims of a token whose signature was verified. The caller checks whether the token is still valid.
    pub fn claims(&self, token: &Key) -> Option<Arc<Claims>> {
        self.tokens.lock().ok()?.get(token).cloned()
    }

    /// Keeps the claims of a verified token.
    pub fn keep_claims(&self, token: Key, claims: Arc<Claims>) {
        let Ok(mut tokens) = self.tokens.lock() else { return };
        make_room(&mut tokens);
        tokens.insert(token, claims);
    }

    /// A kept manifest that is younger than [`LIFE`], if the database has not been written since.
    pub fn manifest(&self, key: &Key, generation: u64, now: Timestamp) -> Option<Arc<CachedManifest>> {
        let manifests = self.manifests.lock().ok()?;
        // `at <= now`: a clock that was set back must not prolong an entry's life.
        let fresh = |kept: &&CacheEntry| kept.generation == generation && kept.at <= now && now < kept.at.plus(LIFE);
        manifests.get(key).filter(fresh).map(|kept| kept.manifest.clone())
    }

    /// Keeps a manifest that was read after `generation` and `at` were taken.
    pub fn keep_manifest(&self, key: Key, generation: u64, at: Timestamp, manifest: Arc<CachedManifest>) {
        if manifest.content.len() > MAX_CONTENT {
            return;
        }
        let Ok(mut manifests) = self.manifests.lock() else { return };
        make_room(&mut manifests);
        manifests.insert(key, CacheEntry { generation, at, manifest });
    }
}

fn make_room<V>(map: &mut HashMap<Key, V>) {
    if map.len() >= MAX {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(content: &'static [u8]) -> Arc<CachedManifest> {
        Arc::new(CachedManifest { digest: "sha256:1".into(), media_type: "m".into(), content: Bytes::from_static(content) })
    }

    #[test]
    fn a_manifest_lives_a_second_and_until_the_next_write() {
        let cache = Cache::default();
        let (key, other) = (key(&[b"token", b"acme/belt", b"latest"]), key(&[b"token", b"acme/belt", b"1.0.0"]));
        let at = Timestamp::from_unix(1_767_225_600);
        cache.keep_manifest(key, 7, at, served(b"{}"));
        let moved = |ms| at.plus(TimeDelta::milliseconds(ms));
        assert_eq!(cache.manifest(&key, 7, at), Some(served(b"{}")));
        assert_eq!(cache.manifest(&key, 7, moved(999)), Some(served(b"{}")));
        assert_eq!(cache.manifest(&key, 7, moved(1000)), None, "too old");
        assert_eq!(cache.manifest(&key, 7, moved(-1)), None, "from the future");
        assert_eq!(cache.manifest(&key, 8, at), None, "something was written");
        assert_eq!(cache.manifest(&other, 7, at), None);
    }

    #[test]
    fn memory_is_bounded() {
        static LARGE: [u8; MAX_CONTENT + 1] = [b' '; MAX_CONTENT + 1];
        let cache = Cache::default();
        let at = Timestamp::from_unix(1_767_225_600);
        cache.keep_manifest(key(&[b"large"]), 0, at, served(&LARGE));
        assert_eq!(cache.manifest(&key(&[b"large"]), 0, at), None);
        for n in 0..=MAX {
            cache.keep_manifest(key(&[&n.to_be_bytes()]), 0, at, served(b"{}"));
        }
        assert_eq!(cache.manifests.lock().unwrap().len(), 1, "the last one");
        assert!(cache.manifest(&key(&[&MAX.to_be_bytes()]), 0, at).is_some());
    }

    #[test]
    fn words_do_not_run_together() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
