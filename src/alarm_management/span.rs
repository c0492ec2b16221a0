//! From when to when alarms are asked for: by days of the mine on pages, by moments in programs. Who asks for what is no time is told so.

use chrono::{DateTime, Datelike as _, Utc};

use crate::base::db::Timestamp;
use crate::base::error::{Faults, Result};
use crate::base::i18n::begin_of_day;

/// From this moment on, and before that one; without one it is open on that side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// What was read, or the code of what is wrong with it.
type Read<T> = std::result::Result<T, &'static str>;

impl Span {
    /// From the begin of one day to the end of another (`2026-11-27`); an empty text is open.
    ///
    /// # Errors
    /// `from`, `to`: `day-malformed`, `span-reversed`.
    pub fn of_days(from: &str, to: &str) -> Result<Self> {
        let read = |text: &str, later: i64| -> Read<_> {
            if text.is_empty() { Ok(None) } else { begin_of_day(text, later).map(Some).ok_or("day-malformed") }
        };
        Self::of(read(from, 0), read(to, 1))
    }

    /// From one moment to before another, in RFC 3339.
    ///
    /// # Errors
    /// `from`, `to`: `time-malformed`, `span-reversed`.
    pub fn of_moments(from: Option<&str>, to: Option<&str>) -> Result<Self> {
        let read = |text: Option<&str>| -> Read<_> { text.map(moment).transpose() };
        Self::of(read(from), read(to))
    }

    fn of(from: Read<Option<Timestamp>>, to: Read<Option<Timestamp>>) -> Result<Self> {
        let mut faults = Faults::default();
        let mut sound = |field: &str, read: Read<Option<Timestamp>>| {
            read.unwrap_or_else(|code| {
                faults.add(field, code);
                None
            })
        };
        let span = Self { from: sound("from", from), to: sound("to", to) };
        if span.from.zip(span.to).is_some_and(|(from, to)| from >= to) {
            faults.add("to", "span-reversed");
        }
        faults.check()?;
        Ok(span)
    }

    /// What both have.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self { from: self.from.into_iter().chain(other.from).max(), to: self.to.into_iter().chain(other.to).min() }
    }
}

/// Years have four digits in UTC, too: SQLite compares times as texts.
fn moment(text: &str) -> Read<Timestamp> {
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| "time-malformed")?.with_timezone(&Utc);
    if (1970..=9998).contains(&at.year()) { Ok(Timestamp::new(at)) } else { Err("time-malformed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        moment(text).ok()
    }

    /// Fields with their codes.
    fn faults(span: Result<Span>) -> Vec<(String, &'static str)> {
        span.unwrap_err().fields.into_iter().map(|fault| (fault.field, fault.code)).collect()
    }

    #[test]
    fn days_are_the_mines() {
        let span = Span::of_days("2026-11-27", "2026-11-27").unwrap();
        assert_eq!(span, Span { from: at("2026-11-26T16:00:00Z"), to: at("2026-11-27T16:00:00Z") });
        assert_eq!(Span::of_days("", "").unwrap(), Span::default());
        assert_eq!(Span::of_days("2026-11-27", "").unwrap().to, None);
    }

    #[test]
    fn what_is_no_day_is_told() {
        for text in [
            "9999-99-99",
            "2026-02-30",
            "2026-2-3",
            "27.11.2026",
            "+2026-11-27",
            "12026-11-27",
            "-001-01-01",
            "9999-12-31",
            "1969-12-31",
            " ",
            "\0",
        ] {
            assert_eq!(faults(Span::of_days(text, "")), [("from".to_owned(), "day-malformed")], "{text:?}");
        }
        assert_eq!(faults(Span::of_days("x", "y")), [("from".to_owned(), "day-malformed"), ("to".to_owned(), "day-malformed")]);
        assert_eq!(faults(Span::of_days("2026-11-28", "2026-11-27")), [("to".to_owned(), "span-reversed")]);
    }

    #[test]
    fn what_is_no_moment_is_told() {
        let whole = Span::of_moments(Some("2026-11-27T08:00:00+08:00"), Some("2026-11-27T00:00:01Z")).unwrap();
        assert_eq!(whole, Span { from: at("2026-11-27T00:00:00Z"), to: at("2026-11-27T00:00:01Z") });
        for text in [
            "",
            "2026-11-27",
            "9999-99-99T00:00:00Z",
            "9999-12-31T23:59:59-08:00",
            "0000-01-01T00:00:00+08:00",
            "2026-11-27T08:00:00 08:00",
        ] {
            assert_eq!(faults(Span::of_moments(None, Some(text))), [("to".to_owned(), "time-malformed")], "{text:?}");
        }
        let same = Some("2026-11-27T00:00:00Z");
        assert_eq!(faults(Span::of_moments(same, same)), [("to".to_owned(), "span-reversed")]);
    }

    #[test]
    fn of_two_spans_the_narrower_counts() {
        let (long, short) = (Span::of_days("2026-11-01", "").unwrap(), Span::of_days("2026-11-03", "2026-11-04").unwrap());
        assert_eq!((long.within(short), short.within(long), long.within(Span::default())), (short, short, long));
    }
}
