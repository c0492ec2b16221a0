//! States of alarms after ISA-18.2, the acts of people, and rows.

use chrono::TimeDelta;
use diesel::prelude::*;

use crate::base::auth::policy::Action;
use crate::base::db::{Timestamp, schema};
use crate::base::error::{Error, Faults, Result};
use crate::base::ids;
use crate::telemetry::model::Level;

/// Longest shelf: one shift (ISA-18.2 leaves the time to the site; a shift is what one person can remember).
pub const SHIFT: TimeDelta = TimeDelta::hours(8);
/// Longest shelf of a critical alarm.
const CRITICAL_SHELF: TimeDelta = TimeDelta::hours(1);
/// Longest note or reason, in characters.
pub const MAX_NOTE: usize = 500;

crate::base::db::types::text_enum! {
    /// What an alarm was, by whoever answered it.
    pub enum Verdict {
        Real = "real",
        False = "false",
        Test = "test",
    }
}

crate::base::db::types::text_enum! {
    /// Why alarms of a point do not call.
    pub enum SuppressionKind {
        /// For a time that ends by itself.
        Shelved = "shelved",
        /// Until somebody puts it back.
        OutOfService = "out-of-service",
    }
}

crate::base::db::types::text_enum! {
    /// What a person has done.
    pub enum ActKind {
        Acknowledged = "acknowledged",
        Judged = "judged",
        Shelved = "shelved",
        Unshelved = "unshelved",
        TakenOut = "taken-out",
        PutBack = "put-back",
    }
}

impl ActKind {
    /// Its word in the audit log.
    pub fn recorded(self) -> &'static str {
        match self {
            Self::Acknowledged => "alarm.acknowledged",
            Self::Judged => "alarm.judged",
            Self::Shelved => "alarm.shelved",
            Self::Unshelved => "alarm.unshelved",
            Self::TakenOut => "alarm.taken-out",
            Self::PutBack => "alarm.put-back",
        }
    }
}

crate::base::db::types::text_enum! {
    /// Where an alarm stands (ISA-18.2, figure 3).
    pub enum AlarmState {
        /// Present, and nobody has acknowledged it.
        Active = "active",
        /// Over, and nobody has acknowledged it.
        Returned = "returned",
        /// Present and acknowledged.
        Acknowledged = "acknowledged",
        /// Over and acknowledged.
        Normal = "normal",
        Shelved = "shelved",
        OutOfService = "out-of-service",
    }
}

impl AlarmState {
    pub fn of(present: bool, acknowledged: bool, suppressed: Option<SuppressionKind>) -> Self {
        match (suppressed, present, acknowledged) {
            (Some(SuppressionKind::OutOfService), ..) => Self::OutOfService,
            (Some(SuppressionKind::Shelved), ..) => Self::Shelved,
            (None, true, false) => Self::Active,
            (None, false, false) => Self::Returned,
            (None, true, true) => Self::Acknowledged,
            (None, false, true) => Self::Normal,
        }
    }
}

crate::base::db::types::text_enum! {
    /// What the platform itself raises alarms of.
    pub enum EquipmentKind {
        /// A node is not heard from. Subject: the node.
        NodeLost = "node-lost",
        /// An app that should run has failed. Subject: the deployment.
        AppLost = "app-lost",
        /// Subject: the node.
        ClockWrong = "clock-wrong",
        /// Subject: the node.
        DiskFull = "disk-full",
        /// Subject: the licence.
        LicenceEnding = "licence-ending",
        /// A camera, or another source of a node, by which nobody can see anything. Subject: [`source_subject`].
        SourceLost = "source-lost",
    }
}

impl EquipmentKind {
    /// Its priority: what blinds the mine is worth a warning; what has days to go is for the journal.
    pub fn level(self) -> Level {
        match self {
            Self::NodeLost | Self::AppLost | Self::ClockWrong | Self::DiskFull | Self::SourceLost => Level::Warning,
            Self::LicenceEnding => Level::Notice,
        }
    }
}

/// Subject of an alarm about a source: its node and the node's name of it, which is a slug of at most 60 bytes.
pub fn source_subject(node_id: &str, source_id: &str) -> String {
    format!("{node_id}:{source_id}")
}

/// The id in a subject, and of a source's subject the node's name of it.
pub fn split_subject(subject: &str) -> (&str, Option<&str>) {
    subject.split_once(':').map_or((subject, None), |(node_id, source_id)| (node_id, Some(source_id)))
}

/// What a person does with an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Acknowledge,
    /// Says what it was; acknowledges it, too. `instead_of` is the verdict that the person saw.
    Judge {
        verdict: Verdict,
        instead_of: Option<Verdict>,
    },
    /// Shelves the alarm's point for so many minutes.
    Shelve {
        minutes: i64,
    },
    Unshelve,
    /// Takes the alarm's point out of service.
    TakeOut,
    PutBack,
}

impl Act {
    /// The right that it needs.
    pub fn action(self) -> Action {
        match self {
            Self::Acknowledge | Self::Judge { .. } | Self::Shelve { .. } | Self::Unshelve => Action::AnswerAlarms,
            Self::TakeOut | Self::PutBack => Action::ManageAlarms,
        }
    }

    /// The note as it is kept: whoever silences a point says why.
    ///
    /// # Errors
    /// `note`: too long, or a reason that is missing.
    pub fn note(self, note: &str) -> Result<String> {
        let mut faults = Faults::default();
        let least = if matches!(self, Self::Shelve { .. } | Self::TakeOut) { 2 } else { 0 };
        let note = faults.text("note", note, least, MAX_NOTE);
        faults.check()?;
        Ok(note)
    }
}

/// When a shelf of so many minutes ends.
///
/// # Errors
/// `minutes`: less than one, or longer than a shift; of a critical alarm, than an hour.
pub fn shelf_end(level: Level, minutes: i64, now: Timestamp) -> Result<Timestamp> {
    let longest = if level == Level::Critical { CRITICAL_SHELF } else { SHIFT };
    if !(1..=longest.num_minutes()).contains(&minutes) {
        let mut faults = Faults::default();
        faults.add_range("minutes", 1, longest.num_minutes());
        faults.check()?;
    }
    Ok(now.plus(TimeDelta::minutes(minutes)))
}

/// What is needed of an alarm to act on it: its point is a rule at a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub subject: String,
    pub rule: String,
    /// The level by which its shelf is bounded.
    pub level: Level,
}

/// What was answered to an alarm.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::alarm_responses)]
pub struct Response {
    pub alarm_id: String,
    pub organization_id: String,
    /// Name of the person, as it was then.
    pub acknowledged_by: String,
    pub acknowledged_at: Timestamp,
    pub verdict: Option<Verdict>,
}

/// A point that does not call.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::alarm_suppressions)]
pub struct Suppression {
    /// `sup_…`
    pub id: String,
    pub organization_id: String,
    pub subject: String,
    pub rule: String,
    pub kind: SuppressionKind,
    pub reason: String,
    /// Name of the person, as it was then.
    pub made_by: String,
    pub made_at: Timestamp,
    /// When it ends by itself.
    pub ends_at: Option<Timestamp>,
    /// When somebody ended it.
    pub ended_at: Option<Timestamp>,
}

/// What a person has done with an alarm.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::alarm_acts)]
pub struct ActRow {
    /// `act_…`; ids are in the order of the acts.
    pub id: String,
    pub organization_id: String,
    pub alarm_id: String,
    pub kind: ActKind,
    pub verdict: Option<Verdict>,
    pub note: String,
    /// End of a shelf.
    pub ends_at: Option<Timestamp>,
    pub user_id: String,
    /// Name of the person, as it was then.
    pub made_by: String,
    pub at: Timestamp,
}

/// An alarm of the platform.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::equipment_alarms)]
pub struct EquipmentAlarm {
    /// `alm_…`, as those of apps, so that both are in one order.
    pub id: String,
    pub organization_id: String,
    pub kind: EquipmentKind,
    /// Id of the node, the deployment or the licence, or [`source_subject`].
    pub subject: String,
    pub level: Level,
    pub began_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// A rule at a subject and, of an app's alarm, at a camera or sensor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleAt {
    pub subject: String,
    pub rule: String,
    /// Empty where the node was told of none, and of the platform's alarms.
    pub source: String,
}

/// Which alarms of a desk are asked for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub show: Show,
    pub level: Option<Level>,
    pub site_id: Option<String>,
    pub app_id: Option<String>,
    pub deployment_id: Option<String>,
    pub place: Option<RuleAt>,
    pub verdict: Option<Verdict>,
    /// From this moment on, and before that one, by the time at which they were raised.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

crate::base::db::types::text_enum! {
    /// The lists of a board.
    #[derive(Default)]
    pub enum Show {
        /// What calls: unacknowledged, then acknowledged and still present; without notices, which need no answer.
        #[default]
        Open = "open",
        Shelved = "shelved",
        OutOfService = "out-of-service",
        /// All, the newest first.
        History = "history",
    }
}

/// A place in a list: a band of the order, and the id of the last alarm shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub band: usize,
    pub id: String,
}

impl Cursor {
    /// Behind an alarm, by its id as somebody sent it.
    ///
    /// # Errors
    /// `query-malformed`: no id looks like that.
    pub fn behind(band: usize, id: &str) -> Result<Self> {
        if ids::is_sound(id) { Ok(Self { band, id: id.to_owned() }) } else { Err(Error::invalid("query-malformed")) }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.band, self.id)
    }
}

impl std::str::FromStr for Cursor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let malformed = || Error::invalid("query-malformed");
        let (band, id) = text.split_once('.').ok_or_else(malformed)?;
        Self::behind(band.parse().map_err(|_| malformed())?, id)
    }
}

/// A shift of eight hours, by the mine's time: 0 to 8, 8 to 16, 16 to 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    pub from: Timestamp,
    pub to: Timestamp,
    /// 0 by night, 1 by day, 2 late.
    pub number: i64,
}

impl Shift {
    /// The shift of a moment.
    pub fn at(moment: Timestamp) -> Self {
        let length = SHIFT.num_seconds();
        let ahead = i64::from(crate::base::i18n::local_offset().local_minus_utc());
        let local = moment.unix() + ahead;
        let from = local - local.rem_euclid(length);
        let start = Timestamp::from_unix(from - ahead);
        Self { from: start, to: start.plus(SHIFT), number: from.rem_euclid(86_400) / length }
    }

    /// The shift before.
    #[must_use]
    pub fn before(self) -> Self {
        Self::at(self.from.minus(TimeDelta::seconds(1)))
    }
}

/// More alarms than a person can answer, from this moment on: a flood begins with ten new alarms in ten minutes at a desk and ends with fewer
/// than five (EEMUA 191, ISA-18.2 §16.5). `raised` are the times of the last day, the oldest first.
pub fn flood_since(raised: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    const WINDOW: TimeDelta = TimeDelta::minutes(10);
    const BEGINS: usize = 10;
    const ENDS: usize = 5;
    let mut since: Option<Timestamp> = None;
    let mut window = std::collections::VecDeque::new();
    // Falls below the end where the fifth of the newest leaves the window.
    let ended = |window: &std::collections::VecDeque<Timestamp>, at: Timestamp| {
        window.iter().filter(|raised| **raised > at.minus(WINDOW)).count() < ENDS
    };
    for at in raised {
        if since.is_some() && ended(&window, *at) {
            since = None;
        }
        window.push_back(*at);
        while window.front().is_some_and(|first| *first <= at.minus(WINDOW)) {
            window.pop_front();
        }
        if since.is_none() && window.len() >= BEGINS {
            since = Some(*at);
        }
    }
    since.filter(|_| !ended(&window, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_764_000_000 + seconds)
    }

    #[test]
    fn states_are_those_of_the_standard() {
        use SuppressionKind::{OutOfService, Shelved};
        let of = AlarmState::of;
        assert_eq!((of(true, false, None), of(false, false, None)), (AlarmState::Active, AlarmState::Returned));
        assert_eq!((of(true, true, None), of(false, true, None)), (AlarmState::Acknowledged, AlarmState::Normal));
        assert_eq!(of(true, false, Some(Shelved)), AlarmState::Shelved);
        assert_eq!(of(false, true, Some(OutOfService)), AlarmState::OutOfService);
    }

    #[test]
    fn a_shelf_ends_within_a_shift_and_within_an_hour_where_lives_hang_on_it() {
        for (level, minutes, fits) in [
            (Level::Warning, 480, true),
            (Level::Warning, 481, false),
            (Level::Critical, 60, true),
            (Level::Critical, 61, false),
            (Level::Notice, 0, false),
            (Level::Notice, i64::MIN, false),
        ] {
            assert_eq!(shelf_end(level, minutes, at(0)).is_ok(), fits, "{level} {minutes}");
        }
        assert_eq!(shelf_end(Level::Critical, 60, at(0)).unwrap(), at(3600));
    }

    #[test]
    fn whoever_silences_says_why() {
        for (act, note, fits) in [
            (Act::Acknowledge, "", true),
            (Act::Shelve { minutes: 1 }, " ", false),
            (Act::Shelve { minutes: 1 }, "belt stands", true),
            (Act::TakeOut, "", false),
            (Act::PutBack, "", true),
        ] {
            assert_eq!(act.note(note).is_ok(), fits, "{act:?} {note:?}");
        }
        assert!(Act::Acknowledge.note(&"x".repeat(MAX_NOTE + 1)).is_err());
    }

    #[test]
    fn shifts_are_of_the_mines_day() {
        // 07:59:59 and 08:00:00 at UTC+8.
        let day = |text: &str| Timestamp::new(text.parse().unwrap());
        let night = Shift::at(day("2026-11-29T23:59:59Z"));
        let morning = Shift::at(day("2026-11-30T00:00:00Z"));
        assert_eq!((night.number, morning.number), (0, 1));
        assert_eq!((night.to, morning.before()), (morning.from, night));
        assert_eq!(morning.to, day("2026-11-30T08:00:00Z"));
        assert_eq!(Shift::at(day("2026-11-30T15:59:59Z")).number, 2);
    }

    #[test]
    fn a_flood_begins_with_ten_in_ten_minutes_and_ends_below_five() {
        let nine: Vec<Timestamp> = (0..9).map(|n| at(n * 10)).collect();
        assert_eq!(flood_since(&nine, at(100)), None);
        let ten: Vec<Timestamp> = (0..10).map(|n| at(n * 10)).collect();
        assert_eq!(flood_since(&ten, at(100)), Some(at(90)));
        // The sixth is of second 50, so at 650 four are left.
        assert_eq!(flood_since(&ten, at(649)), Some(at(90)));
        assert_eq!(flood_since(&ten, at(650)), None);
        // Ten in eleven minutes are none; a second one begins anew.
        let slow: Vec<Timestamp> = (0..10).map(|n| at(n * 70)).collect();
        assert_eq!(flood_since(&slow, at(640)), None);
        let twice: Vec<Timestamp> = ten.iter().copied().chain((0..10).map(|n| at(7200 + n))).collect();
        assert_eq!(flood_since(&twice, at(7300)), Some(at(7209)));
    }

    #[test]
    fn a_subject_names_its_source() {
        assert_eq!(split_subject(&source_subject("nod_1", "belt-3")), ("nod_1", Some("belt-3")));
        assert_eq!(split_subject("dep_1"), ("dep_1", None));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor { band: 2, id: "alm_1".into() };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for text in ["", "alm_1", "x.alm_1", "0.", "1.a'b", "-1.alm"] {
            assert!(text.parse::<Cursor>().is_ok_and(|c| c.id.is_empty()) || text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
