//! A list in a flood: what one rule says of one place becomes one row, so that a person sees what is wrong and not how often it was told. Nothing
//! is left out: each alarm is in a row, and what is critical stands alone.

use std::collections::BTreeMap;

use super::board::{Entry, Listed};
use super::model::RuleAt;
use crate::telemetry::model::Level;

/// Alarms of one page of such a list: enough for a flood, and few enough to be read at once.
pub const PAGE: i64 = 500;

/// Alarms that make one row.
#[derive(Debug, Clone)]
pub struct Group {
    /// The first in the order of the list, which is the newest.
    pub newest: Entry,
    /// The others, in that order.
    pub others: Vec<Entry>,
}

impl Group {
    pub fn members(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.newest).chain(&self.others)
    }

    pub fn count(&self) -> usize {
        1 + self.others.len()
    }
}

/// Each alarm by itself.
pub fn alone(listed: Listed) -> Vec<Group> {
    listed.into_iter().map(|(newest, _)| Group { newest, others: Vec::new() }).collect()
}

/// Alarms by rule and place, apart for each part of the list. A row stands where its newest alarm does.
pub fn grouped(listed: Listed) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<(usize, RuleAt), usize> = BTreeMap::new();
    for (entry, cursor) in listed {
        if entry.level == Level::Critical {
            groups.push(Group { newest: entry, others: Vec::new() });
            continue;
        }
        let place = *places.entry((cursor.band, entry.rule_at())).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.others.push(entry),
            None => groups.push(Group { newest: entry, others: Vec::new() }),
        }
    }
    groups
}
