//! What searches show to everybody, kept in memory until something in the catalogue changes, and for [`Freshness`] at most: whoever looks for
//! other words mostly finds apps that others have found, and then the database is not asked.
//!
//! What is kept is thrown away with the pages ([`super::cached`]). Each worker keeps its own, bounded by the number of apps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::base::page_cache::Freshness;
use crate::base::text_index::Found;
use crate::catalog::model::{Card, Facts, PricePlan, Scenario, SlugName};
use crate::catalog::query::CatalogQuery;
use crate::catalog::search::{self, Offered, SearchResult};
use crate::release::model::Recall;
use crate::site::parts::card::{Recalls, recalls_of};

/// Apps of which it is known where they stand, and of which it is known what their card shows.
const MAX_FACTS: usize = 20_000;
const MAX_CARDS: usize = 1_000;

/// What a catalogue page shows, but for what is its reader's own.
#[derive(Debug)]
pub struct Shown {
    pub found: SearchResult,
    pub recalls: Recalls,
    pub offered: Offered,
}

/// What the card of an app shows.
#[derive(Debug)]
struct KnownCard {
    card: Card,
    plans: Vec<PricePlan>,
    recall: Option<Recall>,
}

/// The same for all searches.
#[derive(Debug)]
struct Names {
    specialties: Vec<SlugName>,
    scenarios: Vec<Scenario>,
    /// Listed apps by scenario.
    counts: HashMap<String, i64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of [`crate::base::page_cache::PageCache`], taken before the reads.
    generation: u64,
    names: Option<(Freshness, Arc<Names>)>,
    /// None of an app that the index has and that is not listed.
    facts: HashMap<String, (Freshness, Option<Arc<Facts>>)>,
    cards: HashMap<String, (Freshness, Arc<KnownCard>)>,
}

/// What is known and lasts.
fn lasting<T: Clone>(known: Option<&(Freshness, T)>, now: Instant) -> Option<T> {
    known.filter(|(fresh, _)| fresh.lasts(now)).map(|(_, known)| known.clone())
}

/// The catalogue as searches of strangers have found it.
#[derive(Debug, Clone, Default)]
pub struct KnownCatalogue(Arc<Mutex<Kept>>);

impl KnownCatalogue {
    /// What a stranger's search for words shows.
    pub async fn search(&self, app: &App, query: &CatalogQuery) -> Result<Shown> {
        let generation = app.pages.generation();
        let (known, handle, asked) = (self.clone(), app.clone(), query.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let hits = handle.search.apps(&asked.q)?;
            Ok::<_, Error>((known.remember(generation, &handle, &asked, &hits)?, hits))
        });
        let (shown, hits) = looked.await.map_err(Error::internal)??;
        if let Some(shown) = shown {
            return Ok(shown);
        }
        let (known, handle, asked) = (self.clone(), app.clone(), query.clone());
        app.db
            .read(move |conn| {
                let (found, facts) = search::by_words(conn, &asked, &hits)?;
                let recalls = recalls_of(conn, &found.cards)?;
                let counts = search::counts_by_scenario(conn)?;
                let offered = search::offer(&handle, &asked, &found, &counts)?;
                known.keep(generation, Freshness::begin(&asked.q), hits.ids, facts, &found, &recalls, counts);
                Ok(Shown { found, recalls, offered })
            })
            .await
    }

    /// What a search shows that has found this in the index, where all of it is known.
    fn remember(&self, generation: u64, app: &App, query: &CatalogQuery, hits: &Found) -> Result<Option<Shown>> {
        let now = Instant::now();
        let known = {
            let kept = self.0.lock().ok().filter(|kept| kept.generation == generation);
            kept.and_then(|kept| {
                let facts: Option<Vec<Option<Arc<Facts>>>> = hits.ids.iter().map(|id| lasting(kept.facts.get(id), now)).collect();
                Some((lasting(kept.names.as_ref(), now)?, facts?))
            })
        };
        let Some((names, facts)) = known else { return Ok(None) };
        let arranged = search::arrange(query, hits, facts.into_iter().flatten().collect());
        let cards: Option<Vec<Arc<KnownCard>>> = match self.0.lock() {
            Ok(kept) if kept.generation == generation => arranged.ids.iter().map(|id| lasting(kept.cards.get(id), now)).collect(),
            _ => None,
        };
        let Some(cards) = cards else { return Ok(None) };
        let plans = cards.iter().flat_map(|known| known.plans.iter().cloned()).collect();
        let recalls = cards.iter().filter_map(|known| Some((known.card.app.release_id.clone()?, known.recall.clone()?))).collect();
        let shown = cards.iter().map(|known| known.card.clone()).collect();
        let found = arranged.with(shown, plans, names.specialties.clone(), names.scenarios.clone());
        let offered = search::offer(app, query, &found, &names.counts)?;
        Ok(Some(Shown { found, recalls, offered }))
    }

    #[expect(clippy::too_many_arguments, reason = "what one read has found")]
    fn keep(
        &self,
        generation: u64,
        fresh: Freshness,
        ids: Vec<String>,
        facts: Vec<Arc<Facts>>,
        found: &SearchResult,
        recalls: &Recalls,
        counts: HashMap<String, i64>,
    ) {
        let Ok(mut kept) = self.0.lock() else { return };
        if kept.generation != generation || kept.facts.len() + ids.len() > MAX_FACTS || kept.cards.len() + found.cards.len() > MAX_CARDS {
            *kept = Kept { generation, ..Kept::default() };
        }
        let names = Names { specialties: found.specialties.clone(), scenarios: found.scenarios.clone(), counts };
        kept.names = Some((fresh, Arc::new(names)));
        kept.facts.extend(ids.into_iter().map(|id| (id, (fresh, None))));
        kept.facts.extend(facts.into_iter().map(|facts| (facts.id.clone(), (fresh, Some(facts)))));
        for card in &found.cards {
            let plans = found.plans.iter().filter(|plan| plan.app_id == card.app.id).cloned().collect();
            let recall = card.app.release_id.as_ref().and_then(|id| recalls.get(id)).cloned();
            kept.cards.insert(card.app.id.clone(), (fresh, Arc::new(KnownCard { card: card.clone(), plans, recall })));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::site::market::follow;
    use crate::testing::shop::shop;
    use crate::testing::{count_queries, each_backend_with};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_search_asks_the_database_only_for_what_no_search_has_found() {
        let few = |settings: &mut crate::base::config::Settings| settings.database.connections = 1;
        each_backend_with(few, |app| async move {
            shop(&app).await;
            follow::refresh(&app, None).await.unwrap();
            let queries = count_queries(&app).await;
            let known = KnownCatalogue::default();
            let search = async |words: &str| {
                let before = queries.load(Ordering::Relaxed);
                let shown = known.search(&app, &CatalogQuery { q: words.into(), ..CatalogQuery::default() }).await.unwrap();
                (shown.found.cards.len(), shown.found.plans.len(), queries.load(Ordering::Relaxed) - before)
            };
            let (cards, plans, asked) = search("belt").await;
            assert!(cards == 1 && plans > 0 && asked > 0, "{cards} cards, {plans} plans, {asked} queries");
            // Other words that find the same, and some that find nothing.
            for (words, found) in [("belt", (1, plans, 0)), ("belts", (1, plans, 0)), ("zzzzzz", (0, 0, 0))] {
                assert_eq!(search(words).await, found, "{words}");
            }
            app.pages.clear();
            assert!(search("belt").await.2 > 0, "something has changed");
            assert_eq!(search("belts").await.2, 0);
            for (fresh, _) in known.0.lock().unwrap().facts.values_mut() {
                *fresh = Freshness::over();
            }
            assert!(search("belts").await.2 > 0, "deployments move no mark");
        })
        .await;
    }
}
