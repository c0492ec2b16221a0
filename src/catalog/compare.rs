//! Apps side by side: which ones an address asks for, and what is read of them.
//!
//! Invariants: only listed apps are compared, each with the release that its listing shows; no table is asked app by app.

use std::collections::HashMap;

use inference::check::CheckReport;

use super::model::Card;
use super::model::{AppRow, Plan};
use super::query::CatalogQuery;
use super::store;
use crate::base::app::App;
use crate::base::db::Conn;
use crate::base::error::Result;
use crate::evaluation::service::Outcomes;
use crate::release::model::Release;
use crate::{evaluation, release};

/// Apps on one page at the most: more columns cannot be read.
pub const MAX: usize = 4;
/// Apps that are offered to be added.
const MAX_OFFERED: usize = 12;
/// Longest slug of an organisation or app that is looked up.
const MAX_SLUG: usize = 64;

fn is_slug(text: &str) -> bool {
    (1..=MAX_SLUG).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

/// Slugs of vendor and app.
pub type Address = (String, String);

/// Apps that an address asks for: the values of `app` (`vendor/app`), each once, [`MAX`] at the most; and whether more were named.
/// What is no address of an app stays among them without slugs, so that it is told to be missing.
pub fn wanted(pairs: Vec<(String, String)>) -> (Vec<Address>, bool) {
    let mut wanted: Vec<Address> = Vec::new();
    for value in pairs.into_iter().filter(|(name, _)| name == "app").map(|(_, value)| value) {
        let slugs = value.split_once('/').filter(|(vendor, app)| is_slug(vendor) && is_slug(app));
        let address = slugs.map(|(vendor, app)| (vendor.to_owned(), app.to_owned())).unwrap_or_default();
        if wanted.contains(&address) {
            continue;
        }
        if wanted.len() == MAX {
            return (wanted, true);
        }
        wanted.push(address);
    }
    (wanted, false)
}

/// The page of some apps.
pub fn address<'a>(apps: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query: Vec<String> = apps.into_iter().map(|(vendor, app)| format!("app={vendor}/{app}")).collect();
    if query.is_empty() { "/compare".into() } else { format!("/compare?{}", query.join("&")) }
}

/// One app of a comparison.
#[derive(Debug)]
pub struct Compared {
    /// The app and its vendor.
    pub card: Card,
    /// The release that its listing shows.
    pub release: Release,
    /// That release's check report.
    pub report: Option<CheckReport>,
}

/// What the page shows.
#[derive(Debug)]
pub struct Comparison {
    /// The apps, in the order of the address.
    pub apps: Vec<Compared>,
    /// Active plans of these apps.
    pub plans: Vec<Plan>,
    /// Hidden test sets on which any of them was tried, with what each got.
    pub sets: Vec<Outcomes>,
    /// Apps that fit beside them, where there is room: of the first one's scenario, or else its specialty, or else its kind of input.
    pub offered: Vec<Card>,
    /// Scenarios: slug, specialty, name zh, name en.
    pub scenarios: Vec<(String, String, String, String)>,
}

/// Reads apps to be shown side by side; those that are not listed are left out. Open to everyone.
pub async fn compare(app: &App, wanted: Vec<Address>) -> Result<Comparison> {
    app.db
        .read(move |conn| {
            let cards = store::cards_at(conn, &wanted)?;
            let ids: Vec<&str> = cards.iter().map(|(app, _)| app.id.as_str()).collect();
            let plans = store::plans_of(conn, &ids)?;
            let releases: Vec<&str> = cards.iter().filter_map(|(app, _)| app.release_id.as_deref()).collect();
            let sets = evaluation::service::outcomes_of(conn, &releases)?;
            let mut reports = release::service::check_reports(conn, &releases)?;
            let mut releases: HashMap<String, Release> =
                release::service::get_all(conn, &releases)?.into_iter().map(|r| (r.id.clone(), r)).collect();
            let offered = match cards.first() {
                Some((first, _)) if cards.len() < MAX => offered(conn, first, &ids)?,
                _ => Vec::new(),
            };
            let of = |card: Card| {
                let release = releases.remove(card.0.release_id.as_deref()?)?;
                let report = reports.remove(&release.id);
                Some(Compared { card, release, report })
            };
            let apps = cards.into_iter().filter_map(of).collect();
            Ok(Comparison { apps, plans, sets, offered, scenarios: store::scenarios(conn)? })
        })
        .await
}

fn offered(conn: &mut Conn, first: &AppRow, shown: &[&str]) -> Result<Vec<Card>> {
    let all = CatalogQuery::default();
    for query in [
        CatalogQuery { scenario: first.scenario.clone(), ..all.clone() },
        CatalogQuery { specialty: first.specialty.clone(), ..all.clone() },
        CatalogQuery { input: first.input.clone(), ..all },
    ] {
        let (mut cards, _) = store::list_cards(conn, &query, None)?;
        cards.retain(|(app, _)| !shown.contains(&app.id.as_str()));
        cards.truncate(MAX_OFFERED);
        if !cards.is_empty() {
            return Ok(cards);
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_each_app_once_and_four_at_the_most() {
        let pairs = |values: &[&str]| values.iter().map(|v| ("app".to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let is = |vendor: &str, app: &str| (vendor.to_owned(), app.to_owned());
        assert_eq!(wanted(Vec::new()), (Vec::new(), false));
        assert_eq!(wanted(pairs(&["a/x", "b/y", "a/x"])), (vec![is("a", "x"), is("b", "y")], false));
        assert_eq!(wanted(vec![("other".into(), "a/x".into())]), (Vec::new(), false));
        let (apps, cut) = wanted(pairs(&["a/1", "a/2", "a/3", "a/4", "a/4", "a/5"]));
        assert_eq!((apps.len(), cut), (MAX, true));
        // Hostile values name nothing, and count as one.
        let long = format!("{}/{}", "矿".repeat(5000), "x".repeat(5000));
        let (apps, _) = wanted(pairs(&["", "no-slash", "a/b/c", "a/\0", "<b>/x", &long, "a/x"]));
        assert_eq!(apps, [is("", ""), is("a", "x")]);
    }

    #[test]
    fn the_address_of_some_apps_is_read_back() {
        assert_eq!(address([]), "/compare");
        assert_eq!(address([("a", "x"), ("b", "y")]), "/compare?app=a/x&app=b/y");
    }
}
