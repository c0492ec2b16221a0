//! Rendered pages for readers who are not signed in, by address, language and theme.
//!
//! The cache is cleared whole when anything in the catalogue changes (the follower of the search index watches for that), so a page is
//! stale for a second at most. The number of pages is bounded.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

const MAX_PAGES: usize = 512;

#[derive(Debug, Default)]
pub struct PageCache {
    generation: AtomicU64,
    pages: Mutex<HashMap<String, Bytes>>,
}

impl PageCache {
    /// Number of clearings so far: read it before the data of a page, and give it to [`Self::put`].
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.pages.lock().ok()?.get(key).cloned()
    }

    /// Keeps a page, unless something has changed since `generation`.
    pub fn put(&self, generation: u64, key: String, page: Bytes) {
        let Ok(mut pages) = self.pages.lock() else { return };
        if self.generation() != generation {
            return;
        }
        if pages.len() >= MAX_PAGES {
            pages.clear();
        }
        pages.insert(key, page);
    }

    /// Throws all pages away.
    pub fn clear(&self) {
        let Ok(mut pages) = self.pages.lock() else { return };
        self.generation.fetch_add(1, Ordering::AcqRel);
        pages.clear();
    }
}
