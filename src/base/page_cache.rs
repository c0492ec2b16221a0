//! Rendered pages for readers who are not signed in, by address, language and theme.
//!
//! All pages are out of date when anything in the catalogue changes: the follower of the search index watches for that, a second behind at
//! most. What pages show beside the catalogue (nodes that call, deployments, organisations) moves no mark, so each page is made anew
//! after [`FRESH`] in any case; of kept parts of pages the same holds, and a page of such is two times as old at most. Pages that are out
//! of date are kept for [`STALE`]: where too much is asked to make new ones, an old page is better than none. Number and bytes are bounded;
//! pages that were asked for once only go first.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

const MAX_PAGES: usize = 512;
/// Bytes of all pages and their keys; a listing has about 40 KiB.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Greatest age of what is shown as it is now.
const FRESH: Duration = Duration::from_secs(30);
/// How long a page may be shown after it was made, where no new one can be made.
const STALE: Duration = Duration::from_mins(10);

/// When something was read, and how long it may be shown.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    made: Instant,
    lasts: Duration,
}

impl Freshness {
    /// Begins now. It lasts for [`FRESH`] at most and two thirds of it at least, by the name: what was made in one moment is not all made
    /// anew in one.
    pub fn begin(name: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let earlier = FRESH / 3 * u32::from(hasher.finish().to_be_bytes()[0]) / 256;
        Self { made: Instant::now(), lasts: FRESH.saturating_sub(earlier) }
    }

    /// One that is over.
    #[cfg(test)]
    pub fn over() -> Self {
        Self { made: Instant::now(), lasts: Duration::ZERO }
    }

    /// Whether it lasts at a time.
    pub fn lasts(&self, now: Instant) -> bool {
        now.duration_since(self.made) < self.lasts
    }
}

#[derive(Debug)]
struct Kept {
    generation: u64,
    fresh: Freshness,
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
        self.bytes = self.kept.iter().map(|(key, kept)| key.len() + kept.page.len()).sum();
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
        let current = |kept: &&mut Kept| kept.generation == self.generation() && kept.fresh.lasts(Instant::now());
        let kept = pages.kept.get_mut(key).filter(current)?;
        kept.asked = true;
        Some(kept.page.clone())
    }

    /// A page that may be out of date, and its age.
    pub fn stale(&self, key: &str) -> Option<(Bytes, Duration)> {
        let mut pages = self.pages.lock().ok()?;
        let kept = pages.kept.get_mut(key)?;
        let age = kept.fresh.made.elapsed();
        kept.asked = true;
        (age <= STALE).then(|| (kept.page.clone(), age))
    }

    /// Keeps a page, unless something has changed since `generation`.
    pub fn put(&self, generation: u64, key: String, page: Bytes) {
        let Ok(mut pages) = self.pages.lock() else { return };
        let (name, fresh) = (key.len(), Freshness::begin(&key));
        let bytes = name + page.len();
        if self.generation() != generation || bytes > MAX_BYTES {
            return;
        }
        if pages.full(bytes) {
            // A flood of addresses that are each asked for once must not drive out what everybody reads.
            pages.retain(|kept| std::mem::take(&mut kept.asked) && kept.fresh.made.elapsed() <= STALE);
            if pages.full(bytes) {
                pages.retain(|_| false);
            }
        }
        pages.bytes += bytes;
        let before = pages.kept.insert(key, Kept { generation, fresh, asked: false, page });
        pages.bytes -= before.map_or(0, |kept| name + kept.page.len());
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
        advance(Duration::from_secs(15)).await;
        assert!(cache.get("/").is_some());
        cache.clear();
        assert!(cache.get("/").is_none(), "something has changed");
        assert_eq!(cache.stale("/"), Some((page(1), Duration::from_secs(15))));
        cache.put(before, "/".into(), page(2));
        assert!(cache.get("/").is_none(), "it was read before the change");
        advance(Duration::from_secs(586)).await;
        assert_eq!(cache.stale("/"), None);
        cache.put(cache.generation(), "/".into(), page(3));
        assert_eq!(cache.get("/"), Some(page(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_made_anew_after_half_a_minute_though_nothing_has_changed_and_not_all_at_once() {
        let cache = PageCache::default();
        let keys: Vec<String> = (0..100).map(|n| format!("/?n={n}")).collect();
        for key in &keys {
            cache.put(0, key.clone(), page(1));
        }
        let current = || keys.iter().filter(|key| cache.get(key).is_some()).count();
        advance(Duration::from_secs(19)).await;
        assert_eq!(current(), keys.len());
        advance(Duration::from_secs(6)).await;
        assert!((20..80).contains(&current()), "{}", current());
        advance(Duration::from_secs(5)).await;
        assert_eq!(current(), 0);
        assert_eq!(cache.stale("/?n=1"), Some((page(1), FRESH)), "better than none");
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
            let bytes: usize = pages.kept.iter().map(|(key, kept)| key.len() + kept.page.len()).sum();
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
        cache.put(0, "/whole".into(), page(MAX_BYTES));
        assert!(cache.get("/whole").is_none(), "its name counts");
    }
}
