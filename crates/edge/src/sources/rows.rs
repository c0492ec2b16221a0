//! The newest values of a source's sensors, joined into rows on a fixed clock.
//!
//! Invariants: a row is made of what is known at its time, whenever values came; what is not finite, out of range or too old is missing; rows
//! are bounded in cells.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::channels::{Channel, Sensors};

/// Most cells that are kept, 8 MiB.
const MOST_CELLS: usize = 1 << 20;

pub const OUT_OF_RANGE: &str = "sensor-out-of-range";
pub const UNREADABLE: &str = "sensor-unreadable";
pub const STUCK: &str = "sensor-stuck";
pub const LATE: &str = "sensor-late";

/// What is known of a channel.
#[derive(Debug, Clone, Default)]
struct Newest {
    /// The last value that could be read, and when it came.
    value: Option<(f64, Instant)>,
    /// Since when it is the same to the last bit.
    same: Option<Instant>,
    /// Why what came after it is none.
    unreadable: Option<String>,
}

/// A channel as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub name: String,
    /// What goes into a row now.
    pub value: Option<f64>,
    /// Time since the last value came.
    pub age: Option<Duration>,
    /// Code of what is wrong, and more about it.
    pub trouble: Option<(&'static str, String)>,
}

/// Values and rows of one source.
#[derive(Debug)]
pub struct Rows {
    channels: Vec<Channel>,
    stale: Duration,
    stuck: Option<Duration>,
    began: Instant,
    newest: Vec<Newest>,
    /// Row by row, the oldest first; NaN is missing.
    cells: VecDeque<f64>,
    /// Rows that are kept.
    kept: usize,
}

impl Rows {
    pub fn new(sensors: &Sensors, now: Instant) -> Self {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Self {
            channels: sensors.channels.clone(),
            stale: seconds(sensors.stale),
            stuck: sensors.stuck.map(seconds),
            began: now,
            newest: vec![Newest::default(); sensors.channels.len()],
            cells: VecDeque::new(),
            kept: 1,
        }
    }

    /// Takes what was read of a channel.
    pub fn take(&mut self, channel: usize, raw: f64, now: Instant) {
        let (Some(about), Some(newest)) = (self.channels.get(channel), self.newest.get_mut(channel)) else { return };
        let value = raw * about.scale + about.offset;
        if !value.is_finite() {
            newest.unreadable = Some("not a finite number".to_owned());
            return;
        }
        let same = newest.value.is_some_and(|(before, _)| before.to_bits() == value.to_bits());
        newest.same = newest.same.filter(|_| same).or(Some(now));
        newest.value = Some((value, now));
        newest.unreadable = None;
    }

    /// Notes that what came of a channel cannot be read. The value of before holds until it is too old.
    pub fn refuse(&mut self, channel: usize, why: &str) {
        if let Some(newest) = self.newest.get_mut(channel) {
            newest.unreadable = Some(why.chars().take(200).collect());
        }
    }

    fn reading(&self, about: &Channel, newest: &Newest, now: Instant) -> Reading {
        let age = newest.value.map(|(_, at)| now.saturating_duration_since(at));
        let outside = |value: f64| about.min.is_some_and(|min| value < min) || about.max.is_some_and(|max| value > max);
        let fresh = newest.value.filter(|_| age.is_some_and(|age| age <= self.stale)).map(|(value, _)| value);
        let stuck = self.stuck.zip(newest.same).is_some_and(|(most, since)| now.saturating_duration_since(since) > most);
        let trouble = match (fresh, &newest.unreadable) {
            (_, Some(why)) => Some((UNREADABLE, why.clone())),
            (Some(value), None) if outside(value) => Some((OUT_OF_RANGE, format!("{value:?}"))),
            (Some(value), None) if stuck => Some((STUCK, format!("{value:?}"))),
            (None, None) if now.saturating_duration_since(self.began) > self.stale => Some((LATE, String::new())),
            _ => None,
        };
        Reading { name: about.name.clone(), value: fresh.filter(|value| !outside(*value)), age, trouble }
    }

    /// How the channels stand, in their order.
    pub fn readings(&self, now: Instant) -> Vec<Reading> {
        self.channels.iter().zip(&self.newest).map(|(about, newest)| self.reading(about, newest, now)).collect()
    }

    /// No channel has had a value for so long that it is missing.
    pub fn silent(&self, now: Instant) -> bool {
        let heard = |newest: &Newest| newest.value.is_some_and(|(_, at)| now.saturating_duration_since(at) <= self.stale);
        now.saturating_duration_since(self.began) > self.stale && !self.newest.iter().any(heard)
    }

    /// Has at least so many rows kept from now on; the most that can be kept, where that is fewer.
    pub fn keep(&mut self, rows: usize) -> Result<(), usize> {
        let most = MOST_CELLS / self.channels.len().max(1);
        if rows > most {
            return Err(most);
        }
        self.kept = self.kept.max(rows);
        Ok(())
    }

    /// Adds the row of this time.
    pub fn row(&mut self, now: Instant) {
        let row: Vec<f64> = self.readings(now).iter().map(|reading| reading.value.unwrap_or(f64::NAN)).collect();
        self.cells.extend(row);
        let most = self.kept * self.channels.len();
        self.cells.drain(..self.cells.len().saturating_sub(most));
    }

    /// Rows that are there.
    pub fn count(&self) -> usize {
        self.cells.len() / self.channels.len().max(1)
    }

    /// The last rows as CSV (RFC 4180), with the channels' names above; none where there are fewer.
    pub fn csv(&self, rows: usize) -> Option<String> {
        let columns = self.channels.len();
        let before = self.count().checked_sub(rows)?;
        let quoted = |channel: &Channel| format!("\"{}\"", channel.name.replace('"', "\"\""));
        let mut csv = self.channels.iter().map(quoted).collect::<Vec<_>>().join(",");
        for (at, cell) in self.cells.iter().skip(before * columns).enumerate() {
            csv.push(if at % columns == 0 { '\n' } else { ',' });
            // A line that is empty is no row. Debug is short for large and small numbers, too.
            if cell.is_finite() {
                let _ = write!(csv, "{cell:?}");
            } else if columns == 1 {
                csv.push_str("nan");
            }
        }
        csv.push('\n');
        Some(csv)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rows(value: Value) -> (Rows, Instant) {
        let now = Instant::now();
        (Rows::new(&serde_json::from_value(value).unwrap(), now), now)
    }

    fn codes(rows: &Rows, now: Instant) -> Vec<&'static str> {
        rows.readings(now).into_iter().map(|reading| reading.trouble.map_or("", |(code, _)| code)).collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_newest_values_are_joined_and_old_ones_are_missing() {
        let (mut rows, start) = rows(
            json!({ "stale": 2, "channels": [{ "name": "a", "topic": "a", "scale": 0.5, "offset": 1 }, { "name": "b,\"c\"", "topic": "b" }] }),
        );
        rows.keep(4).unwrap();
        rows.row(start);
        rows.take(0, 2.0, start);
        rows.take(0, 4.0, start);
        rows.take(1, 1e300, start + SECOND);
        rows.row(start + SECOND);
        // At 2 s the first is as old as it may be; at 2.5 s it is too old.
        rows.row(start + SECOND * 2);
        rows.row(start + SECOND * 5 / 2);
        assert_eq!(rows.csv(4).unwrap(), "\"a\",\"b,\"\"c\"\"\"\n,\n3.0,1e300\n3.0,1e300\n,1e300\n");
        assert_eq!(rows.csv(1).unwrap().lines().last(), Some(",1e300"));
        assert_eq!((rows.count(), rows.csv(5)), (4, None));
        assert_eq!(codes(&rows, start + SECOND * 5 / 2), [LATE, ""]);
        rows.row(start + SECOND * 9);
        assert_eq!(rows.count(), 4, "the oldest goes");
        assert!(!rows.silent(start + SECOND * 3) && rows.silent(start + SECOND * 9));
    }

    #[test]
    fn a_single_column_has_no_empty_line() {
        let (mut rows, start) = rows(json!({ "channels": [{ "name": "a", "topic": "a" }] }));
        rows.row(start);
        assert_eq!(rows.csv(1).unwrap(), "\"a\"\nnan\n");
        assert_eq!(codes(&rows, start), [""], "nothing is late in the first seconds");
    }

    #[test]
    fn what_is_wrong_with_a_value_is_told() {
        let (mut rows, start) =
            rows(json!({ "stuck": 5, "channels": [{ "name": "a", "topic": "a", "min": 0, "max": 4 }, { "name": "b", "topic": "b" }] }));
        let value = |rows: &Rows, at: usize, now: Instant| rows.readings(now)[at].value;
        rows.take(0, 4.0, start);
        rows.take(1, f64::NAN, start);
        assert_eq!((value(&rows, 0, start), value(&rows, 1, start), codes(&rows, start)), (Some(4.0), None, vec!["", UNREADABLE]));
        for outside in [-0.1, 4.1] {
            rows.take(0, outside, start);
            assert_eq!((value(&rows, 0, start), codes(&rows, start)[0]), (None, OUT_OF_RANGE));
        }
        rows.take(1, 1.0, start);
        rows.refuse(1, "no number");
        assert_eq!((value(&rows, 1, start), codes(&rows, start)[1]), (Some(1.0), UNREADABLE), "the value of before holds");
        for second in 0..=6 {
            rows.take(1, 1.0, start + SECOND * second);
            assert_eq!(codes(&rows, start + SECOND * second)[1], if second > 5 { STUCK } else { "" }, "{second}");
        }
        assert_eq!(value(&rows, 1, start + SECOND * 6), Some(1.0));
        rows.take(1, 1.5, start + SECOND * 7);
        assert_eq!(codes(&rows, start + SECOND * 7)[1], "");
        rows.take(9, 1.0, start);
        assert_eq!(rows.keep(usize::MAX), Err(MOST_CELLS / 2));
    }
}
