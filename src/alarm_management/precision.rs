//! How often an app was right, by those who answered its alarms: the share of real ones among real and false, by version and week. Tests of an alarm
//! say nothing of it. Few verdicts say nothing either, and are left out.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::figures::ratio;
use super::model::Verdict;
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Timestamp;
use crate::base::error::Result;
use crate::base::i18n::local_offset;

/// Weeks that are looked back.
pub const WEEKS: i64 = 12;
/// Fewest verdicts of a week that are shown.
pub const LEAST: usize = 5;
/// Most verdicts that are read, the newest.
const MOST: i64 = 20_000;
const WEEK: i64 = 7 * 86_400;
/// 1970-01-01 was a Thursday: seconds from the Monday before.
const TO_MONDAY: i64 = 3 * 86_400;

/// A verdict on an alarm: the version that raised it, and when.
pub type Judged = (String, Timestamp, Verdict);

/// The verdicts of a week on a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Week {
    pub version: String,
    /// Monday, by the mine's time.
    pub begin: Timestamp,
    pub real: usize,
    pub judged_false: usize,
}

impl Week {
    pub fn verdicts(&self) -> usize {
        self.real + self.judged_false
    }

    /// From 0 to 1.
    pub fn precision(&self) -> f64 {
        ratio(self.real, self.verdicts())
    }
}

fn monday(at: Timestamp) -> Timestamp {
    let ahead = i64::from(local_offset().local_minus_utc()) + TO_MONDAY;
    Timestamp::from_unix((at.unix() + ahead).div_euclid(WEEK) * WEEK - ahead)
}

/// Weeks with [`LEAST`] verdicts or more, by version, then by time.
pub fn weeks(judged: &[Judged]) -> Vec<Week> {
    let mut weeks: BTreeMap<(Option<semver::Version>, &str, Timestamp), Week> = BTreeMap::new();
    for (version, at, verdict) in judged {
        let begin = monday(*at);
        let empty = || Week { version: version.clone(), begin, real: 0, judged_false: 0 };
        let week = weeks.entry((semver::Version::parse(version).ok(), version.as_str(), begin)).or_insert_with(empty);
        match verdict {
            Verdict::Real => week.real += 1,
            Verdict::False => week.judged_false += 1,
            Verdict::Test => {}
        }
    }
    weeks.into_values().filter(|week| week.verdicts() >= LEAST).collect()
}

/// The weeks of an app at the operator's mine.
pub async fn of_app(app: &App, actor: &Actor, app_id: &str) -> Result<Vec<Week>> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let (app_id, since) = (app_id.to_owned(), monday(app.clock.now()).minus(TimeDelta::weeks(WEEKS - 1)));
    app.db.read(move |conn| Ok(weeks(&store::judged(conn, &owner, &app_id, since, MOST)?))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::new(text.parse().unwrap())
    }

    #[test]
    fn a_week_begins_on_monday_by_the_mines_time() {
        // 2026-11-30 is a Monday.
        let monday_morning = at("2026-11-29T16:00:00Z");
        assert_eq!(monday(at("2026-11-29T15:59:59Z")), at("2026-11-22T16:00:00Z"));
        assert_eq!(monday(monday_morning), monday_morning);
        assert_eq!(monday(at("2026-12-06T15:59:59Z")), monday_morning);
    }

    #[test]
    fn precision_is_of_real_and_false_by_version_and_week_and_of_enough_of_them() {
        let (first, second) = (at("2026-11-24T00:00:00Z"), at("2026-12-01T00:00:00Z"));
        let of = |version: &str, at: Timestamp, verdict: Verdict, n: usize| vec![(version.to_owned(), at, verdict); n];
        let judged = [
            of("10.0.0", second, Verdict::Real, 5),
            of("9.0.0", first, Verdict::Real, 3),
            of("9.0.0", first, Verdict::False, 1),
            of("9.0.0", first, Verdict::Test, 9),
            of("9.0.0", second, Verdict::Real, 4),
            of("9.0.0", second, Verdict::False, 4),
        ]
        .concat();
        let found = weeks(&judged);
        let told: Vec<(&str, Timestamp, usize, usize)> =
            found.iter().map(|week| (week.version.as_str(), week.begin, week.real, week.judged_false)).collect();
        assert_eq!(told, [("9.0.0", monday(second), 4, 4), ("10.0.0", monday(second), 5, 0)], "four verdicts are too few");
        assert!((found[0].precision() - 0.5).abs() < 1e-12 && (found[1].precision() - 1.0).abs() < 1e-12);
        assert!(weeks(&[]).is_empty());
    }
}
