//! What listings show to everybody, read once for each change of the catalogue: such a page costs some twenty queries and the proof of its
//! signatures, and addresses with other queries (a source of visitors, a filter) are other pages for [`super::cached`].
//!
//! What is kept is thrown away with the pages. Each worker keeps its own, bounded by the number of versions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Result;
use crate::base::i18n::Lang;
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
    listings: HashMap<(Lang, String, String), Arc<Shown>>,
    versions: usize,
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
        if let Some(shown) = kept {
            return Ok(shown);
        }
        let shown = Arc::new(read(app, &Actor::Anonymous, lang, key.1.clone(), key.2.clone(), None).await?);
        self.keep(generation, key, shown.clone());
        Ok(shown)
    }

    fn keep(&self, generation: u64, key: (Lang, String, String), shown: Arc<Shown>) {
        let Ok(mut kept) = self.0.lock() else { return };
        let versions = shown.listing.releases.len() + 1;
        if kept.generation != generation || kept.versions + versions > MAX_VERSIONS {
            *kept = Kept { generation, ..Kept::default() };
        }
        if kept.listings.insert(key, shown).is_none() {
            kept.versions += versions;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use diesel::Connection as _;
    use diesel::connection::InstrumentationEvent;

    use super::*;
    use crate::testing::each_backend_with;
    use crate::testing::shop::shop;

    /// Counts the queries of all connections that read; of PostgreSQL there are two at least.
    async fn count_queries(app: &App) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let connections = if app.settings.database.url.starts_with("sqlite:") { 1 } else { 2 };
        let all = Arc::new(Barrier::new(connections));
        let watched = (0..connections).map(|_| {
            let (count, all) = (count.clone(), all.clone());
            app.db.read(move |conn| {
                conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
                    if matches!(event, InstrumentationEvent::StartQuery { query, .. } if query.to_string().contains(" FROM ")) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
                // Each takes a connection of its own.
                all.wait();
                Ok(())
            })
        });
        futures_util::future::try_join_all(watched).await.unwrap();
        count
    }

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
            assert_eq!(read(Lang::En).await, (id, first));
        })
        .await;
    }
}
