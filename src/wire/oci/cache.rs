//! Memory for repeated pulls: the claims of tokens whose signature has been verified, and manifests as the holder of a token last got
//! them.
//!
//! A kept manifest is good for a second, and only while this process has written nothing that touches its repository's organisation, its
//! holder or the holder's organisation ([`Marks`]): so a change that was answered (a tag moved, a manifest deleted, a licence revoked)
//! shows at the next request, and what others do leaves it. What time ends (a licence), and what another process writes, show when the
//! second is over. Refusals and missing manifests are never kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::claims::Claims;
use crate::base::db::{Marks, Timestamp};

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
    /// Taken before the manifest was read.
    mark: u64,
    at: Timestamp,
    /// Names of whom it concerns.
    of: Vec<String>,
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

    /// A kept manifest that is younger than [`LIFE`], if no write has touched whom it concerns since.
    pub fn manifest(&self, key: &Key, marks: &Marks, now: Timestamp) -> Option<Arc<CachedManifest>> {
        let manifests = self.manifests.lock().ok()?;
        // `at <= now`: a clock that was set back must not prolong an entry's life.
        let fresh = |kept: &&CacheEntry| kept.at <= now && now < kept.at.plus(LIFE) && marks.hold(kept.mark, &kept.of);
        manifests.get(key).filter(fresh).map(|kept| kept.manifest.clone())
    }

    /// Keeps a manifest that was read after `mark` and `at` were taken; it concerns those named in `of`.
    pub fn keep_manifest(&self, key: Key, mark: u64, at: Timestamp, of: Vec<String>, manifest: Arc<CachedManifest>) {
        if manifest.content.len() > MAX_CONTENT {
            return;
        }
        let Ok(mut manifests) = self.manifests.lock() else { return };
        make_room(&mut manifests);
        manifests.insert(key, CacheEntry { mark, at, of, manifest });
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
    use crate::base::db::Touched;

    fn served(content: &'static [u8]) -> Arc<CachedManifest> {
        Arc::new(CachedManifest { digest: "sha256:1".into(), media_type: "m".into(), content: Bytes::from_static(content) })
    }

    #[test]
    fn a_manifest_lives_a_second_and_until_a_write_that_touches_it() {
        let (cache, marks) = (Cache::default(), Marks::default());
        let (key, other) = (key(&[b"token", b"acme/belt", b"latest"]), key(&[b"token", b"acme/belt", b"1.0.0"]));
        let at = Timestamp::from_unix(1_767_225_600);
        cache.keep_manifest(key, marks.now(), at, vec!["org_acme".into(), "org_mine".into()], served(b"{}"));
        let moved = |ms| at.plus(TimeDelta::milliseconds(ms));
        assert_eq!(cache.manifest(&key, &marks, at), Some(served(b"{}")));
        assert_eq!(cache.manifest(&key, &marks, moved(999)), Some(served(b"{}")));
        assert_eq!(cache.manifest(&key, &marks, moved(1000)), None, "too old");
        assert_eq!(cache.manifest(&key, &marks, moved(-1)), None, "from the future");
        assert_eq!(cache.manifest(&other, &marks, at), None);
        marks.note(Touched::Only(["org_other".to_owned()].into()));
        assert_eq!(cache.manifest(&key, &marks, at), Some(served(b"{}")), "somebody else's");
        marks.note(Touched::Only(["org_mine".to_owned()].into()));
        assert_eq!(cache.manifest(&key, &marks, at), None);
    }

    #[test]
    fn memory_is_bounded() {
        static LARGE: [u8; MAX_CONTENT + 1] = [b' '; MAX_CONTENT + 1];
        let (cache, marks) = (Cache::default(), Marks::default());
        let at = Timestamp::from_unix(1_767_225_600);
        cache.keep_manifest(key(&[b"large"]), 0, at, Vec::new(), served(&LARGE));
        assert_eq!(cache.manifest(&key(&[b"large"]), &marks, at), None);
        for n in 0..=MAX {
            cache.keep_manifest(key(&[&n.to_be_bytes()]), 0, at, Vec::new(), served(b"{}"));
        }
        assert_eq!(cache.manifests.lock().unwrap().len(), 1, "the last one");
        assert!(cache.manifest(&key(&[&MAX.to_be_bytes()]), &marks, at).is_some());
    }

    #[test]
    fn words_do_not_run_together() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
