//! Whether an alarm is still present, and since when. An episode is present until the node says that it is over. A report of an
//! agent from before there were episodes tells of one moment, so its alarm counts as present for [`PRESENT_FOR`].

use chrono::TimeDelta;

use crate::base::db::Timestamp;
use crate::telemetry::model::Alarm;

/// How long what was seen once counts as present.
pub const PRESENT_FOR: TimeDelta = TimeDelta::minutes(1);

/// What is known of an alarm's course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// When it was seen last.
    pub last_at: Timestamp,
    /// When it ended; none while it is present.
    pub ended_at: Option<Timestamp>,
    /// How often it was seen.
    pub count: i64,
    /// Whether it came in long after it was raised.
    pub late: bool,
}

/// Raised after this moment, an alarm that was told of once is present.
pub fn present_since(now: Timestamp) -> Timestamp {
    now.minus(PRESENT_FOR)
}

impl Presence {
    /// Of an alarm of an app.
    pub fn of(alarm: &Alarm, now: Timestamp) -> Self {
        let once = alarm.episode.is_none() && alarm.raised_at > present_since(now);
        let ended_at = alarm.ended_at.filter(|_| !once);
        Self { last_at: alarm.last_at, ended_at, count: alarm.count, late: alarm.late }
    }
}
