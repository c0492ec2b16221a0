//! Searching the catalogue: by what narrows it alone, or by words, where the index says what fits and the database what is listed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::app::App;
use crate::base::db::Conn;
use crate::base::error::Result;
use crate::base::text_index::Found;
use crate::catalog::model::{Card, Facts, PricePlan, Scenario, SlugName};
use crate::catalog::query::{CatalogQuery, PAGE, Sort};
use crate::catalog::store;

/// What a catalogue page shows.
#[derive(Debug)]
pub struct SearchResult {
    /// Apps of this page.
    pub cards: Vec<Card>,
    /// Their active plans.
    pub plans: Vec<PricePlan>,
    /// Whether there is a next page.
    pub more: bool,
    /// Number of apps that the query finds.
    pub total: i64,
    /// Nothing has all of the words: these are near.
    pub near: bool,
    /// The words find more than [`MAX_HITS`](crate::base::text_index::MAX_HITS): all counts are of the best ones only.
    pub cut: bool,
    /// Counts by specialty, scenario, input and plan kind: what choosing another value would give.
    pub facets: [Vec<(String, i64)>; 4],
    /// Specialties in order.
    pub specialties: Vec<SlugName>,
    /// Scenarios in order.
    pub scenarios: Vec<Scenario>,
}

/// Searches the catalogue. Open to everyone.
pub fn search(conn: &mut Conn, app: &App, query: &CatalogQuery) -> Result<SearchResult> {
    if query.q.is_empty() {
        return browse(conn, query);
    }
    by_words(conn, query, &app.search.apps(&query.q)?).map(|(result, _)| result)
}

/// The catalogue without words, counted and cut by the database: it may be long.
fn browse(conn: &mut Conn, query: &CatalogQuery) -> Result<SearchResult> {
    let (cards, more) = store::list_cards(conn, query)?;
    let plan_counts = store::plan_facet(conn, query)?.into_iter().map(|(k, n)| (k.as_str().to_owned(), n)).collect();
    let facets =
        [store::facet(conn, query, "specialty")?, store::facet(conn, query, "scenario")?, store::facet(conn, query, "input")?, plan_counts];
    let total = store::count_found(conn, query)?;
    with_names(conn, cards, Arranged { more, total, facets, ..Arranged::default() })
}

/// The apps that the index has found for the words, with what is known of those that are listed, for whoever keeps that. They are
/// [`MAX_HITS`](crate::base::text_index::MAX_HITS) at most.
pub fn by_words(conn: &mut Conn, query: &CatalogQuery, found: &Found) -> Result<(SearchResult, Vec<Arc<Facts>>)> {
    let facts: Vec<_> = store::facts(conn, &found.ids)?.into_iter().map(Arc::new).collect();
    let arranged = arrange(query, found, facts.clone());
    let page: Vec<&str> = arranged.ids.iter().map(String::as_str).collect();
    let cards = store::cards_of(conn, &page)?;
    Ok((with_names(conn, cards, arranged)?, facts))
}

fn with_names(conn: &mut Conn, cards: Vec<Card>, of: Arranged) -> Result<SearchResult> {
    let ids: Vec<&str> = cards.iter().map(|card| card.app.id.as_str()).collect();
    let plans = store::plans_of(conn, &ids)?;
    let (specialties, scenarios) = (store::specialties(conn)?, store::scenarios(conn)?);
    Ok(of.with(cards, plans, specialties, scenarios))
}

/// What was found, in order, cut to a page and counted.
#[derive(Debug, Default)]
pub struct Arranged {
    /// Ids of the apps of the page.
    pub ids: Vec<String>,
    more: bool,
    total: i64,
    near: bool,
    cut: bool,
    facets: [Vec<(String, i64)>; 4],
}

impl Arranged {
    /// With what the page shows of it.
    pub fn with(self, cards: Vec<Card>, plans: Vec<PricePlan>, specialties: Vec<SlugName>, scenarios: Vec<Scenario>) -> SearchResult {
        let Self { more, total, near, cut, facets, .. } = self;
        SearchResult { cards, plans, more, total, near, cut, facets, specialties, scenarios }
    }
}

/// Arranges what the index has found, by what is known of the apps that are listed: they are counted here instead of eight times in the
/// database.
pub fn arrange(query: &CatalogQuery, found: &Found, listed: Vec<Arc<Facts>>) -> Arranged {
    let mut listed: HashMap<String, Arc<Facts>> = listed.into_iter().map(|facts| (facts.id.clone(), facts)).collect();
    let hits: Vec<Arc<Facts>> = found.ids.iter().filter_map(|id| listed.remove(id)).collect();
    let chosen = |chosen: &str, own: &str| chosen.is_empty() || chosen == own;
    // By facet, whether an app has the value chosen.
    let fits = |facts: &Facts| {
        [
            chosen(&query.specialty, &facts.specialty),
            chosen(&query.scenario, &facts.scenario),
            chosen(&query.input, &facts.input),
            query.plan.is_empty() || query.plan_kind().is_some_and(|kind| facts.plans.contains(&kind)),
        ]
    };
    let mut facets: [Vec<(String, i64)>; 4] = Default::default();
    for facts in &hits {
        let fits = fits(facts);
        let but = |facet: usize| fits.iter().enumerate().all(|(i, fits)| *fits || i == facet);
        let kinds = facts.plans.iter().map(|kind| kind.as_str()).collect();
        let values = [vec![facts.specialty.as_str()], vec![facts.scenario.as_str()], vec![facts.input.as_str()], kinds];
        for (facet, (counts, values)) in facets.iter_mut().zip(values).enumerate() {
            if but(facet) {
                for value in values {
                    count(counts, value);
                }
            }
        }
    }
    let mut rows: Vec<Arc<Facts>> = hits.into_iter().filter(|facts| fits(facts).iter().all(|fits| *fits)).collect();
    match query.order() {
        Sort::Fit => {}
        Sort::New => rows.sort_by(|a, b| (b.listed_at, &b.id).cmp(&(a.listed_at, &a.id))),
        Sort::Deployed => rows.sort_by(|a, b| (b.deployments, &b.id).cmp(&(a.deployments, &a.id))),
    }
    let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let from = rows.iter().position(|facts| facts.id == query.after).map_or(0, |last| last + 1);
    let ids = rows.iter().skip(from).take(PAGE).map(|facts| facts.id.clone()).collect();
    Arranged { ids, more: rows.len() > from + PAGE, total, near: found.near, cut: found.cut, facets }
}

fn count(counts: &mut Vec<(String, i64)>, value: &str) {
    match counts.iter_mut().find(|(own, _)| own == value) {
        Some((_, n)) => *n += 1,
        None => counts.push((value.to_owned(), 1)),
    }
}

/// Hits up to which scenarios are offered beside them.
const FEW: i64 = 3;
/// Scenarios without an app, and with one, that are offered at most.
const MAX_WANTED: usize = 3;
const MAX_NEAR: usize = 4;

/// Scenarios that fit what was looked for.
#[derive(Debug, Default)]
pub struct Offered {
    /// Those that have no app, best first.
    pub wanted: Vec<Scenario>,
    /// Those near them that have one, with the number of apps.
    pub near: Vec<(Scenario, i64)>,
}

/// Listed apps by scenario.
pub fn counts_by_scenario(conn: &mut Conn) -> Result<HashMap<String, i64>> {
    Ok(store::counts_by_scenario(conn)?.into_iter().collect())
}

/// What is offered beside few hits or none: the scenarios that fit the words, or the one chosen; `counts` are the listed apps by scenario. Open
/// to everyone.
pub fn offer(app: &App, query: &CatalogQuery, found: &SearchResult, counts: &HashMap<String, i64>) -> Result<Offered> {
    if found.total > FEW || !query.after.is_empty() || (query.q.is_empty() && query.scenario.is_empty()) {
        return Ok(Offered::default());
    }
    let mut slugs: Vec<String> = Vec::new();
    if !query.scenario.is_empty() {
        slugs.push(query.scenario.clone());
    }
    if !query.q.is_empty() {
        let fitting = app.search.scenarios(&query.q)?;
        // Of what has apps, scenarios that it only resembles say nothing.
        slugs.extend(fitting.ids.into_iter().filter(|_| !fitting.near || found.total == 0));
    }
    let apps_of = |scenario: &Scenario| counts.get(&scenario.slug).copied().unwrap_or(0);
    let scenario = |slug: &str| found.scenarios.iter().find(|scenario| scenario.slug == slug);
    let mut offered = Offered::default();
    for scenario in slugs.iter().filter_map(|slug| scenario(slug)) {
        match apps_of(scenario) {
            0 if offered.wanted.len() < MAX_WANTED && !offered.wanted.contains(scenario) => offered.wanted.push(scenario.clone()),
            0 => {}
            n => offered.near.push((scenario.clone(), n)),
        }
    }
    if let Some(specialty) = offered.wanted.first().map(|scenario| scenario.specialty.clone()) {
        let beside = found.scenarios.iter().filter(|scenario| scenario.specialty == specialty && apps_of(scenario) > 0);
        offered.near.extend(beside.map(|scenario| (scenario.clone(), apps_of(scenario))));
    }
    let mut seen = std::collections::HashSet::from([query.scenario.clone()]);
    offered.near.retain(|(scenario, _)| seen.insert(scenario.slug.clone()));
    offered.near.truncate(MAX_NEAR);
    Ok(offered)
}
