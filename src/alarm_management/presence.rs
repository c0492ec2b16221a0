//! Whether an alarm is still present, and since when: the one place that asks. A report of an app tells of one moment and of no end, so its
//! alarm counts as present for [`PRESENT_FOR`] and as over after that.

use chrono::TimeDelta;

use crate::base::db::Timestamp;
use crate::telemetry::model::Alarm;

/// How long what was seen once counts as present.
pub const PRESENT_FOR: TimeDelta = TimeDelta::minutes(1);
/// An alarm that comes in so much later than it was raised is late: the line was down.
const LATE: TimeDelta = TimeDelta::minutes(10);

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

/// Raised after this moment, an alarm of an app is present.
pub fn present_since(now: Timestamp) -> Timestamp {
    now.minus(PRESENT_FOR)
}

impl Presence {
    /// Of an alarm of an app.
    pub fn of(alarm: &Alarm, now: Timestamp) -> Self {
        let last_at = alarm.raised_at;
        Self {
            last_at,
            ended_at: (last_at <= present_since(now)).then_some(last_at),
            count: 1,
            late: alarm.received_at > alarm.raised_at.plus(LATE),
        }
    }
}
