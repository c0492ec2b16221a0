//! The alarms of one request: which begin, and which go on. An episode is one row, whichever of its records comes first.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::limits::{Gate, Passage};
use super::model::{self, Alarm, AlarmReport, LATE, OFF};
use super::streams::{Episode, EpisodeReport, Moment, Phase, Sent};
use crate::base::db::Timestamp;
use crate::base::ids;

/// What became of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    /// It is about another node's deployment, or a release or rule that cannot be.
    Refused,
    /// Its rate is used up: the node keeps it.
    HeldBack,
}

/// Whose alarms they are, and what the node may tell of.
pub struct Scope<'a> {
    pub organization_id: &'a str,
    pub node_id: &'a str,
    /// Deployments of the node, with their apps.
    pub own: &'a BTreeMap<String, String>,
    /// App id and digest of known releases.
    pub releases: BTreeSet<(String, String)>,
    pub now: Timestamp,
}

/// The rows that a request makes and changes.
pub struct Alarms<'a> {
    scope: Scope<'a>,
    gate: Gate,
    /// New ones, in the order of their coming.
    pub fresh: Vec<Alarm>,
    /// Rows that are there, by the node's name of the episode.
    held: BTreeMap<String, Alarm>,
    /// Names of those that have changed.
    changed: BTreeSet<String>,
}

impl<'a> Alarms<'a> {
    /// `held` are the node's rows of the episodes that the request tells of.
    pub fn new(scope: Scope<'a>, gate: Gate, held: Vec<Alarm>) -> Self {
        let held = held.into_iter().filter_map(|alarm| Some((alarm.episode.clone()?, alarm))).collect();
        Self { scope, gate, fresh: Vec::new(), held, changed: BTreeSet::new() }
    }

    /// Takes a report of an agent from before there were episodes, of this number and hash.
    pub fn report(&mut self, sequence: u64, hash: &str, at: Timestamp, report: &AlarmReport) -> Outcome {
        let Some(alarm) = self.made(hash, at, report) else { return Outcome::Refused };
        self.admit(sequence, alarm)
    }

    /// Takes a record of an episode.
    pub fn record(&mut self, sequence: u64, hash: &str, (moment, sent): (&Moment, &Sent), report: &EpisodeReport) -> Outcome {
        let now = self.scope.now;
        let at = moment.placed(sent, now);
        let Some(alarm) = self.made(hash, at, &report.alarm) else { return Outcome::Refused };
        let alarm = told(alarm, at, moment, &report.episode, now);
        let Some(name) = alarm.episode.clone() else { return self.admit(sequence, alarm) };
        if let Some(fresh) = self.fresh.iter_mut().find(|fresh| fresh.episode.as_ref() == Some(&name)) {
            go_on(fresh, alarm);
            return Outcome::Taken;
        }
        if let Some(held) = self.held.get_mut(&name) {
            go_on(held, alarm);
            self.changed.insert(name);
            return Outcome::Taken;
        }
        self.admit(sequence, alarm)
    }

    /// A row of an alarm that is over at once; none where it cannot be.
    fn made(&self, hash: &str, at: Timestamp, report: &AlarmReport) -> Option<Alarm> {
        let app_id = self.scope.own.get(&report.deployment_id)?;
        let digest = report.digest.to_string();
        if !self.scope.releases.contains(&(app_id.clone(), digest.clone())) || !model::is_rule(&report.rule) {
            return None;
        }
        Some(Alarm {
            id: ids::new("alm"),
            organization_id: self.scope.organization_id.to_owned(),
            node_id: self.scope.node_id.to_owned(),
            deployment_id: report.deployment_id.clone(),
            release_digest: digest,
            rule: report.rule.clone(),
            level: report.level,
            text_zh: model::text(&report.text.zh),
            text_en: model::text(&report.text.en),
            result: report.result.clone(),
            report_hash: hash.to_owned(),
            raised_at: at,
            received_at: self.scope.now,
            episode: None,
            source: String::new(),
            last_at: at,
            ended_at: Some(at),
            count: 1,
            late: at.plus(LATE) < self.scope.now,
            node_at: None,
            origin: model::no_result(),
        })
    }

    /// Lets a new row pass, or not.
    fn admit(&mut self, sequence: u64, mut alarm: Alarm) -> Outcome {
        match self.gate.admits(sequence, alarm.level, model::cost(&alarm.result)) {
            Passage::HeldBack => return Outcome::HeldBack,
            Passage::WithoutResult => alarm.result = model::no_result(),
            Passage::Whole => {}
        }
        self.fresh.push(alarm);
        Outcome::Taken
    }

    /// Time until what was held back may pass.
    pub fn wait(&self) -> Option<TimeDelta> {
        self.gate.waits()
    }

    /// Ends the request: the gate, new rows, changed rows.
    pub fn close(self) -> (Gate, Vec<Alarm>, Vec<Alarm>) {
        let Self { gate, fresh, mut held, changed, .. } = self;
        (gate, fresh, changed.iter().filter_map(|name| held.remove(name)).collect())
    }
}

/// What a record says of the episode.
fn told(alarm: Alarm, at: Timestamp, moment: &Moment, episode: &Episode, now: Timestamp) -> Alarm {
    // The frames were as long before the record as the node's clock says; the record is placed by the platform's.
    let placed = |time: Option<DateTime<Utc>>| {
        let before = time.map_or_else(TimeDelta::zero, |time| moment.at.signed_duration_since(time));
        at.minus(before.max(TimeDelta::zero()).min(TimeDelta::days(3650)))
    };
    let (raised_at, last_at) = (placed(episode.begun), placed(episode.last));
    let off = (at.utc() - moment.at).abs() > OFF;
    let name = episode.name().map(ToOwned::to_owned);
    let ended = name.is_none() || episode.phase == Phase::End;
    Alarm {
        raised_at,
        last_at: last_at.max(raised_at),
        ended_at: ended.then_some(last_at.max(raised_at)),
        count: model::count(episode.count).max(1),
        late: at.plus(LATE) < now,
        node_at: off.then(|| Timestamp::new(episode.begun.unwrap_or(moment.at))),
        source: episode.source(),
        origin: episode.origin.clone(),
        episode: name,
        ..alarm
    }
}

/// What a further record of the same episode changes.
fn go_on(known: &mut Alarm, more: Alarm) {
    known.raised_at = known.raised_at.min(more.raised_at);
    // A later word holds: what seemed over, since nobody told of it, may go on.
    known.ended_at = if more.last_at > known.last_at { more.ended_at } else { known.ended_at.max(more.ended_at) };
    known.last_at = known.last_at.max(more.last_at);
    known.count = known.count.max(more.count);
    // Its beginning, with what was seen, may come after what follows it.
    if known.result == model::no_result() {
        known.result = more.result;
    }
}
