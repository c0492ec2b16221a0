//! Rendered pages for readers who are not signed in, by address, language and theme.
//!
//! All pages are out of date when anything in the catalogue changes (the follower of the search index watches for that), so a page is
//! wrong for a second at most. Pages that are out of date are kept for [`STALE`]: where too much is asked to make new ones, an old page is
//! better than none. Number and bytes are bounded; pages that were asked for once only go first.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

const MAX_PAGES: usize = 512;
/// Bytes of all pages; a listing has about 40 KiB.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long a page may be shown after it was made, where no new one can be made.
const STALE: Duration = Duration::from_mins(10);

#[derive(Debug)]
struct Kept {
    generation: u64,
    made: Instant,
    /// Whether it was asked for since it was made, or since there was no room.
    asked: bool,
    page: Bytes,
}

#[derive(Debug, Default)]
struct Pages {
    kept: HashMap<String, Kept>,
    bytes: usize,
}

impl Pages {
    fn full(&self, more: usize) -> bool {
        self.kept.len() >= MAX_PAGES || self.bytes + more > MAX_BYTES
    }

    /// Keeps what passes.
    fn retain(&mut self, mut passes: impl FnMut(&mut Kept) -> bool) {
        self.kept.retain(|_, kept| passes(kept));
        self.bytes = self.kept.values().map(|kept| kept.page.len()).sum();
    }
}

#[derive(Debug, Default)]
pub struct PageCache {
    generation: AtomicU64,
    pages: Mutex<Pages>,
}

impl PageCache {
    /// Number of changes so far: read it before the data of a page, and give it to [`Self::put`].
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A page that is up to date.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        let mut pages = self.pages.lock().ok()?;
        let kept = pages.kept.get_mut(key).filter(|kept| kept.generation == self.generation())?;
        kept.asked = true;
        Some(kept.page.clone())
    }

    /// A page that may be out of date, and its age.
    pub fn stale(&self, key: &str) -> Option<(Bytes, Duration)> {
        let mut pages = self.pages.lock().ok()?;
        let kept = pages.kept.get_mut(key)?;
        let age = kept.made.elapsed();
        kept.asked = true;
        (age <= STALE).then(|| (kept.page.clone(), age))
    }

    /// Keeps a page, unless something has changed since `generation`.
    pub fn put(&self, generation: u64, key: String, page: Bytes) {
        let Ok(mut pages) = self.pages.lock() else { return };
        if self.generation() != generation || page.len() > MAX_BYTES {
            return;
        }
        if pages.full(page.len()) {
            // A flood of addresses that are each asked for once must not drive out what everybody reads.
            pages.retain(|kept| std::mem::take(&mut kept.asked) && kept.made.elapsed() <= STALE);
            if pages.full(page.len()) {
                pages.retain(|_| false);
            }
        }
        pages.bytes += page.len();
        let before = pages.kept.insert(key, Kept { generation, made: Instant::now(), asked: false, page });
        pages.bytes -= before.map_or(0, |kept| kept.page.len());
    }

    /// Says that all pages are out of date.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn page(bytes: usize) -> Bytes {
        vec![b' '; bytes].into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_out_of_date_is_there_for_ten_minutes_more() {
        let cache = PageCache::default();
        cache.put(cache.generation(), "/".into(), page(1));
        let before = cache.generation();
        advance(Duration::from_mins(1)).await;
        assert!(cache.get("/").is_some());
        cache.clear();
        assert!(cache.get("/").is_none(), "something has changed");
        assert_eq!(cache.stale("/"), Some((page(1), Duration::from_mins(1))));
        cache.put(before, "/".into(), page(2));
        assert!(cache.get("/").is_none(), "it was read before the change");
        advance(Duration::from_secs(541)).await;
        assert_eq!(cache.stale("/"), None);
        cache.put(cache.generation(), "/".into(), page(3));
        assert_eq!(cache.get("/"), Some(page(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_once_drives_out_nothing_that_is_read_and_memory_is_bounded() {
        let cache = PageCache::default();
        cache.put(0, "/".into(), page(1));
        for n in 0..5_000 {
            cache.put(0, format!("/?n={n}"), page(1));
            assert!(n % 500 != 0 || cache.get("/").is_some(), "{n}");
        }
        let held = |cache: &PageCache| {
            let pages = cache.pages.lock().unwrap();
            let bytes: usize = pages.kept.values().map(|kept| kept.page.len()).sum();
            assert_eq!(pages.bytes, bytes);
            (pages.kept.len(), bytes)
        };
        assert!(held(&cache).0 <= MAX_PAGES && cache.get("/").is_some());
        for n in 0..40 {
            let key = format!("/large?n={n}");
            cache.put(0, key.clone(), page(1024 * 1024));
            assert!(cache.get(&key).is_some());
            assert!(held(&cache).1 <= MAX_BYTES, "{n}");
        }
        cache.put(0, "/whole".into(), page(MAX_BYTES + 1));
        assert!(cache.get("/whole").is_none());
    }
}
