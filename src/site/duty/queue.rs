//! A row of the list of alarms: one alarm, or in a flood all that one rule says of one place.

use super::board::Wanted;
use super::row::Row;
use crate::alarm_management::board::Entry;
use crate::alarm_management::flood::Group;
use crate::alarm_management::service::MOST_AT_ONCE;
use crate::http::page::Page;
use crate::telemetry::model::Level;

/// One row.
pub struct Line {
    /// The newest alarm.
    pub row: Row,
    /// How many alarms there are, and the address of their list; of one alarm none.
    pub group: Option<(usize, String)>,
    /// Ids of the alarms that are acknowledged with it, with commas between; empty where it cannot be chosen.
    pub ids: String,
    /// How many these are.
    pub chosen: usize,
    members: Vec<String>,
}

impl Line {
    pub fn of(page: &Page, group: &Group, wanted: &Wanted) -> Self {
        let can_be_chosen = |entry: &&Entry| entry.calls() && entry.level != Level::Critical;
        let ids: Vec<&str> = group.members().filter(can_be_chosen).take(MOST_AT_ONCE).map(|entry| entry.id.as_str()).collect();
        Self {
            row: Row::of(page, &group.newest),
            group: (group.count() > 1).then(|| (group.count(), wanted.at(&group.newest.rule_at()))),
            chosen: ids.len(),
            ids: ids.join(","),
            members: group.members().map(|entry| entry.id.clone()).collect(),
        }
    }

    /// Whether an alarm is in it.
    pub fn has(&self, id: &str) -> bool {
        self.members.iter().any(|member| member == id)
    }

    /// Whether more alarms are in it than can be acknowledged at a time.
    pub fn is_cut(&self) -> bool {
        self.chosen > 0 && self.chosen < self.members.len()
    }
}
