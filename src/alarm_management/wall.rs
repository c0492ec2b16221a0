//! What a wall of a control room shows: the mine by its places, what calls, and how the last day went. It is read by people of the mine, and by a
//! screen that can do nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::board::{self, Entry, Origin, Summary};
use super::model::{Filter, split_subject};
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Timestamp;
use crate::base::error::Result;
use crate::base::i18n::Names;
use crate::catalog;
use crate::fleet::model::heard_lately;
use crate::telemetry::model::Level;

/// Alarms that a wall lists.
const SHOWN: i64 = 7;
/// Alarms that are looked through for the places.
const MOST: i64 = 200;

/// A site.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub name: String,
    pub online: usize,
    pub nodes: usize,
    pub apps: usize,
    /// The worst that calls there.
    pub worst: Option<Level>,
    /// When something was raised there last, of what is open.
    pub last: Option<Timestamp>,
}

/// A specialty of the mine, with the nodes whose apps work there.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    pub slug: String,
    pub name: Names,
    pub online: usize,
    pub nodes: usize,
    /// What calls there first.
    pub calls: Option<Entry>,
    pub calling: usize,
}

/// An hour: its begin, and how many alarms of each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    pub begin: Timestamp,
    pub critical: usize,
    pub warning: usize,
}

#[derive(Debug, Clone)]
pub struct Wall {
    pub summary: Summary,
    pub open: Vec<Entry>,
    pub places: Vec<Place>,
    pub zones: Vec<Zone>,
    pub hours: Vec<Hour>,
}

/// The last 24 hours of some alarms.
pub fn hours(raised: &[(Timestamp, Level)], now: Timestamp) -> Vec<Hour> {
    let end = now.unix().div_euclid(3600) + 1;
    let mut hours: Vec<Hour> =
        (end - 24..end).map(|hour| Hour { begin: Timestamp::from_unix(hour * 3600), critical: 0, warning: 0 }).collect();
    for (at, level) in raised {
        let place = usize::try_from(at.unix().div_euclid(3600) - (end - 24)).unwrap_or(usize::MAX);
        if let Some(hour) = hours.get_mut(place) {
            *(if *level == Level::Critical { &mut hour.critical } else { &mut hour.warning }) += 1;
        }
    }
    hours
}

/// The wall of the actor's mine.
pub async fn wall(app: &App, actor: &Actor) -> Result<Wall> {
    let owner = policy::require(actor, Action::ViewWall)?.organization_id.clone();
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            let summary = board::summary_in(conn, &owner, now)?;
            let mut open: Vec<Entry> =
                board::list_in(conn, &owner, &Filter::default(), None, now, MOST)?.into_iter().map(|(entry, _)| entry).collect();
            let (nodes, apps) = (store::nodes_of(conn, &owner)?, store::specialties_of(conn, &owner)?);
            let names: BTreeMap<String, Names> =
                catalog::service::specialties(conn)?.into_iter().map(|specialty| (specialty.slug, specialty.name)).collect();
            let hours = hours(&summary.raised, now);
            let mut places: BTreeMap<String, Place> = BTreeMap::new();
            let mut up: BTreeSet<&str> = BTreeSet::new();
            for (id, site, seen_at) in &nodes {
                let place = places.entry(site.clone()).or_insert_with(|| Place { name: site.clone(), ..Place::default() });
                place.nodes += 1;
                if heard_lately(*seen_at, now) {
                    place.online += 1;
                    up.insert(id);
                }
            }
            let site_of: BTreeMap<&str, &str> = nodes.iter().map(|(id, site, _)| (id.as_str(), site.as_str())).collect();
            let mut zones: BTreeMap<&str, (Zone, BTreeSet<&str>)> = BTreeMap::new();
            let mut zone_of: BTreeMap<&str, &str> = BTreeMap::new();
            for (deployment, node, specialty) in &apps {
                if let Some(place) = site_of.get(node.as_str()).and_then(|site| places.get_mut(*site)) {
                    place.apps += 1;
                }
                zones.entry(specialty).or_default().1.insert(node);
                zone_of.insert(deployment, specialty);
                zone_of.entry(node).or_insert(specialty);
            }
            for entry in &open {
                if let Some(place) = site(entry).and_then(|site| places.get_mut(site)) {
                    if entry.calls() {
                        place.worst = place.worst.max(Some(entry.level));
                    }
                    place.last = place.last.max(Some(entry.raised_at));
                }
                if let Some((zone, _)) =
                    zone_of.get(split_subject(entry.point().0).0).and_then(|zone| zones.get_mut(zone)).filter(|_| entry.calls())
                {
                    zone.calling += 1;
                    zone.calls.get_or_insert_with(|| entry.clone());
                }
            }
            let zones = zones.into_iter().map(|(slug, (zone, nodes))| Zone {
                name: names.get(slug).cloned().unwrap_or_default(),
                slug: slug.to_owned(),
                online: nodes.iter().filter(|node| up.contains(*node)).count(),
                nodes: nodes.len(),
                ..zone
            });
            let zones = zones.collect();
            open.truncate(usize::try_from(SHOWN).unwrap_or_default());
            Ok(Wall { summary, open, places: places.into_values().collect(), zones, hours })
        })
        .await
}

fn site(entry: &Entry) -> Option<&str> {
    match &entry.origin {
        Origin::App(line) => Some(&line.site),
        Origin::Equipment(line) => line.node.as_ref().map(|(_, _, site)| site.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn hours_end_with_the_present_one() {
        let now = Timestamp::from_unix(1_764_000_000 + 1800);
        let raised =
            [(now, Level::Critical), (now.minus(TimeDelta::hours(1)), Level::Warning), (now.minus(TimeDelta::days(2)), Level::Warning)];
        let hours = hours(&raised, now);
        assert_eq!(hours.len(), 24);
        assert_eq!(hours.last().map(|hour| (hour.begin.unix(), hour.critical, hour.warning)), Some((1_764_000_000, 1, 0)));
        assert_eq!(hours.iter().map(|hour| hour.critical + hour.warning).sum::<usize>(), 2);
    }
}
