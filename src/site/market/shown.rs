//! What listings show to everybody, read once for each change of the catalogue, and again after [`Freshness`]: such a page costs some twenty
//! queries and the proof of its signatures, and addresses with other queries (a source of visitors, a filter) are other pages for
//! [`super::cached`].
//!
//! What is kept is thrown away with the pages. Each worker keeps its own, bounded by the number of versions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::base::page_cache::Freshness;
use crate::site::parts::listing::{Listing, read_listing};
use crate::trust;
use crate::trust::evidence::Evidence;

/// Versions of all listings that are kept, with their manifests.
const MAX_VERSIONS: usize = 256;

/// A listing and what is attached to the version it shows.
#[derive(Debug)]
pub struct Shown {
    pub listing: Listing,
    pub evidence: Evidence,
}

/// Reads a listing, for whoever it is.
///
/// # Errors
/// `listing`.
pub async fn read(app: &App, actor: &Actor, lang: Lang, vendor: String, slug: String, preview: Option<String>) -> Result<Shown> {
    let listing = read_listing(app, actor, lang, vendor, slug, preview).await?;
    let evidence = trust::evidence::of_release(app, &listing.subject()).await?;
    Ok(Shown { listing, evidence })
}

#[derive(Debug, Default)]
struct Kept {
    /// Of [`crate::base::page_cache::PageCache`], taken before the reads.
    generation: u64,
    listings: HashMap<(Lang, String, String), (Freshness, Arc<Shown>)>,
    versions: usize,
}

/// Versions that a listing holds.
fn versions(shown: &Shown) -> usize {
    shown.listing.releases.len() + 1
}

/// Listings as everybody sees them.
#[derive(Debug, Default)]
pub struct ShownListings(Mutex<Kept>);

impl ShownListings {
    /// A listing as strangers see it.
    ///
    /// # Errors
    /// `listing`.
    pub async fn to_strangers(&self, app: &App, lang: Lang, vendor: String, slug: String) -> Result<Arc<Shown>> {
        let generation = app.pages.generation();
        let key = (lang, vendor, slug);
        let kept = self.0.lock().ok().filter(|kept| kept.generation == generation).and_then(|kept| kept.listings.get(&key).cloned());
        if let Some((_, shown)) = kept.filter(|(fresh, _)| fresh.lasts(Instant::now())) {
            return Ok(shown);
        }
        let shown = Arc::new(read(app, &Actor::Anonymous, lang, key.1.clone(), key.2.clone(), None).await?);
        self.keep(generation, key, shown.clone());
        Ok(shown)
    }

    fn keep(&self, generation: u64, key: (Lang, String, String), shown: Arc<Shown>) {
        let Ok(mut kept) = self.0.lock() else { return };
        if let Some((_, before)) = kept.listings.remove(&key) {
            kept.versions -= versions(&before);
        }
        let more = versions(&shown);
        if kept.generation != generation || kept.versions + more > MAX_VERSIONS {
            *kept = Kept { generation, ..Kept::default() };
        }
        kept.versions += more;
        kept.listings.insert(key.clone(), (Freshness::begin(&key), shown));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::shop::shop;
    use crate::testing::{count_queries, each_backend_with};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_listing_is_read_once_until_something_changes() {
        let few = |settings: &mut crate::base::config::Settings| settings.database.connections = 1;
        each_backend_with(few, |app| async move {
            let shop = shop(&app).await;
            let queries = count_queries(&app).await;
            let kept = ShownListings::default();
            let read = async |lang: Lang| {
                let before = queries.load(Ordering::Relaxed);
                let shown = kept.to_strangers(&app, lang, "acme".into(), "belt".into()).await.unwrap();
                (shown.listing.app.id.clone(), queries.load(Ordering::Relaxed) - before)
            };
            let (id, first) = read(Lang::En).await;
            assert!(id == shop.listing.app_id && (1..=24).contains(&first), "{first} queries");
            assert_eq!(read(Lang::En).await, (id.clone(), 0));
            assert_eq!(read(Lang::Zh).await, (id.clone(), first), "the chain is in words");
            app.pages.clear();
            assert_eq!(read(Lang::En).await, (id.clone(), first));
            assert_eq!(read(Lang::En).await, (id.clone(), 0));
            for (fresh, _) in kept.0.lock().unwrap().listings.values_mut() {
                *fresh = Freshness::over();
            }
            assert_eq!(read(Lang::En).await, (id, first), "it is read again after a while");
        })
        .await;
    }
}
