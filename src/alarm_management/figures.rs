//! The figures by which a chief judges the alarms of a mine (EEMUA 191, ISA-18.2 §16.5), over thirty days. Pure but for their reading.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::model::Verdict;
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Timestamp;
use crate::base::error::Result;
use crate::base::i18n::{Names, local_offset};
use crate::telemetry::model::Level;

/// Days that the figures are of.
pub const DAYS: i64 = 30;
/// Most alarms that are read: more are a flood of thirty days, and the figures say of how many they are.
pub const MOST: i64 = 100_000;
/// A slot in which alarms are counted, and most of a slot that a person can answer.
const SLOT: TimeDelta = TimeDelta::minutes(10);
const MOST_OF_A_SLOT: usize = 10;
/// A point with so many alarms within a minute chatters.
const CHATTERS: usize = 3;
/// What has been unacknowledged for so long is standing, present or over.
pub const STANDING: TimeDelta = TimeDelta::hours(24);
/// Points that the page names.
const SHOWN: usize = 10;

/// An alarm as the figures need it.
#[derive(Debug, Clone)]
pub struct Raised {
    pub at: Timestamp,
    pub level: Level,
    pub subject: String,
    pub rule: String,
    /// Time from receipt to acknowledgement, where it was acknowledged.
    pub answered_after: Option<TimeDelta>,
    pub verdict: Option<Verdict>,
}

/// A point with how much of all it raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub subject: String,
    pub rule: String,
    pub count: usize,
    /// Most of it within a minute.
    pub within_a_minute: usize,
    pub judged_false: usize,
    pub judged: usize,
}

/// The figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Alarms of the whole time, without notices.
    pub count: usize,
    /// By day, the oldest first: the day's begin, and how many.
    pub days: Vec<(Timestamp, usize)>,
    pub a_day: f64,
    /// Average and peak of ten minutes, and the share of slots over ten, in percent.
    pub a_slot: f64,
    pub peak: usize,
    pub over: f64,
    /// Share of critical alarms among those that call, in percent.
    pub critical: f64,
    /// Share of the ten busiest points, in percent.
    pub top: f64,
    pub busiest: Vec<Busy>,
    /// The busiest of those that chatter, and how many do.
    pub chattering: Vec<Busy>,
    pub chatter: usize,
    /// Median and 90th percentile of the time to acknowledge, and how many were never acknowledged.
    pub median: Option<TimeDelta>,
    pub slowest: Option<TimeDelta>,
    pub unanswered: usize,
    /// By verdict.
    pub real: usize,
    pub judged_false: usize,
    pub test: usize,
}

/// A part of a whole, for what is drawn and for shares.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53, drawn and shown with one decimal")]
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn share(part: usize, whole: usize) -> f64 {
    100.0 * ratio(part, whole)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53, shown with one decimal")]
fn each(count: usize, of: i64) -> f64 {
    if of <= 0 { 0.0 } else { count as f64 / of as f64 }
}

/// The most of some times, the oldest first, within a minute.
fn within_a_minute(times: &[Timestamp]) -> usize {
    let mut most = 0;
    let mut first = 0;
    for (last, at) in times.iter().enumerate() {
        while times.get(first).is_some_and(|begin| *begin <= at.minus(TimeDelta::minutes(1))) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

impl Figures {
    /// Of alarms between two moments, the oldest first.
    pub fn of(raised: &[Raised], from: Timestamp, now: Timestamp) -> Self {
        let (ahead, day) = (i64::from(local_offset().local_minus_utc()), 86_400);
        let begin_of = |at: Timestamp| Timestamp::from_unix((at.unix() + ahead).div_euclid(day) * day - ahead);
        let mut days: BTreeMap<Timestamp, usize> = BTreeMap::new();
        let mut at = begin_of(from);
        while at <= now {
            days.insert(at, 0);
            at = at.plus(TimeDelta::days(1));
        }
        let mut slots: BTreeMap<i64, usize> = BTreeMap::new();
        let mut points: BTreeMap<(&str, &str), Vec<&Raised>> = BTreeMap::new();
        for alarm in raised {
            *days.entry(begin_of(alarm.at)).or_default() += 1;
            *slots.entry(alarm.at.unix().div_euclid(SLOT.num_seconds())).or_default() += 1;
            points.entry((&alarm.subject, &alarm.rule)).or_default().push(alarm);
        }
        let all_slots = usize::try_from((now.utc() - from.utc()).num_minutes() / 10).unwrap_or(0).max(1);
        let mut busy: Vec<Busy> = points
            .into_iter()
            .map(|((subject, rule), alarms)| Busy {
                subject: subject.to_owned(),
                rule: rule.to_owned(),
                count: alarms.len(),
                within_a_minute: within_a_minute(&alarms.iter().map(|alarm| alarm.at).collect::<Vec<_>>()),
                judged_false: alarms.iter().filter(|alarm| alarm.verdict == Some(Verdict::False)).count(),
                judged: alarms.iter().filter(|alarm| alarm.verdict.is_some()).count(),
            })
            .collect();
        busy.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.subject, &a.rule).cmp(&(&b.subject, &b.rule))));
        let mut answered: Vec<TimeDelta> = raised.iter().filter_map(|alarm| alarm.answered_after).collect();
        answered.sort_unstable();
        let judged = |verdict| raised.iter().filter(|alarm| alarm.verdict == Some(verdict)).count();
        let count = raised.len();
        let top = busy.iter().take(10).map(|point| point.count).sum();
        Self {
            count,
            a_day: each(count, (now.utc() - from.utc()).num_days()),
            days: days.into_iter().collect(),
            a_slot: each(count, i64::try_from(all_slots).unwrap_or(i64::MAX)),
            peak: slots.values().copied().max().unwrap_or(0),
            over: share(slots.values().filter(|n| **n > MOST_OF_A_SLOT).count(), all_slots),
            critical: share(raised.iter().filter(|alarm| alarm.level == Level::Critical).count(), count),
            top: share(top, count),
            chattering: busy.iter().filter(|point| point.within_a_minute >= CHATTERS).take(SHOWN).cloned().collect(),
            chatter: busy.iter().filter(|point| point.within_a_minute >= CHATTERS).count(),
            busiest: busy.into_iter().take(SHOWN).collect(),
            median: answered.get(answered.len() / 2).copied(),
            slowest: answered.get(answered.len() * 9 / 10).copied(),
            unanswered: count - answered.len(),
            real: judged(Verdict::Real),
            judged_false: judged(Verdict::False),
            test: judged(Verdict::Test),
        }
    }
}

/// What a chief's page is made of.
#[derive(Debug, Clone)]
pub struct Report {
    pub figures: Figures,
    /// Where each subject is: site and node; and the app's title.
    pub names: BTreeMap<String, (String, Names)>,
    /// Unacknowledged for longer than [`STANDING`], at most a hundred.
    pub standing: usize,
    /// Whether there were more than [`MOST`].
    pub cut: bool,
}

/// The figures of the operator's last thirty days.
pub async fn report(app: &App, actor: &Actor) -> Result<Report> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let now = app.clock.now();
    let from = now.minus(TimeDelta::days(DAYS));
    app.db
        .read(move |conn| {
            let raised = store::raised(conn, &owner, from, MOST)?;
            let cut = i64::try_from(raised.len()).unwrap_or(i64::MAX) >= MOST;
            let figures = Figures::of(&raised, from, now);
            let subjects: Vec<String> = figures.busiest.iter().chain(&figures.chattering).map(|point| point.subject.clone()).collect();
            let names = store::subject_names(conn, &subjects)?;
            let standing = store::standing(conn, &owner, now.minus(STANDING), 100)?;
            Ok(Report { figures, names, standing, cut })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_764_000_000 + seconds)
    }

    fn alarm(seconds: i64, rule: &str, level: Level, answered: Option<i64>, verdict: Option<Verdict>) -> Raised {
        Raised {
            at: at(seconds),
            level,
            subject: "dep_1".into(),
            rule: rule.into(),
            answered_after: answered.map(TimeDelta::seconds),
            verdict,
        }
    }

    #[test]
    fn figures_are_counted_by_hand() {
        // Two days: four of `bolt` within a minute, then one of `smoke` a day later.
        let mut raised: Vec<Raised> =
            [0, 10, 20, 30].into_iter().map(|n| alarm(n, "bolt", Level::Warning, Some(n + 1), Some(Verdict::False))).collect();
        raised.push(alarm(86_400, "smoke", Level::Critical, None, Some(Verdict::Real)));
        let figures = Figures::of(&raised, at(0), at(2 * 86_400));
        assert_eq!((figures.count, figures.peak, figures.unanswered), (5, 4, 1));
        assert!((figures.a_day - 2.5).abs() < 1e-9 && (figures.critical - 20.0).abs() < 1e-9 && (figures.top - 100.0).abs() < 1e-9);
        assert!((figures.a_slot - 5.0 / 288.0).abs() < 1e-9 && figures.over.abs() < 1e-9);
        assert_eq!((figures.median, figures.slowest), (Some(TimeDelta::seconds(21)), Some(TimeDelta::seconds(31))));
        assert_eq!((figures.real, figures.judged_false, figures.test), (1, 4, 0));
        assert_eq!(figures.chattering.iter().map(|p| (p.rule.as_str(), p.within_a_minute)).collect::<Vec<_>>(), [("bolt", 4)]);
        assert_eq!(figures.days.iter().map(|(_, n)| n).sum::<usize>(), 5);
        assert_eq!(Figures::of(&[], at(0), at(86_400)).median, None);
    }

    #[test]
    fn all_that_chatters_is_counted_and_ten_are_named() {
        let raised: Vec<Raised> = (0..36).map(|n| alarm(n, &format!("rule-{}", n % 12), Level::Warning, None, None)).collect();
        let figures = Figures::of(&raised, at(0), at(6000));
        assert_eq!((figures.chatter, figures.chattering.len()), (12, SHOWN));
    }

    #[test]
    fn a_slot_over_ten_counts_once() {
        let raised: Vec<Raised> = (0..12).map(|n| alarm(n, "bolt", Level::Warning, None, None)).collect();
        let figures = Figures::of(&raised, at(0), at(6000));
        assert_eq!(figures.peak, 12);
        assert!((figures.over - 10.0).abs() < 1e-9, "one of ten slots");
    }
}
