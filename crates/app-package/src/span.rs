//! Lengths of time in `app.yaml`: `0.6s`, `500ms`, `10m`, `8h`. Never frames, which mean another time at every rate.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest span.
pub const MAX: Duration = Duration::from_hours(24 * 7);
/// What a span may be written in, with the milliseconds of one; largest first, as [`Span`] is written.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time in whole milliseconds, at most [`MAX`]. However it was written, it is stored in the largest unit that holds it whole:
/// `0.6s` as `600ms`, `120s` as `2m`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// A span of so many milliseconds, at most [`MAX`].
    pub const fn millis(millis: u32) -> Self {
        Self(Duration::from_millis(millis as u64))
    }

    /// The time.
    pub fn get(self) -> Duration {
        self.0
    }

    /// The time in seconds.
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no length of time such as 0.6s");
        let end = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(end);
        let (_, one) = UNITS.into_iter().find(|(word, _)| *word == unit).ok_or_else(wrong)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 9) || !digits(part, 3) {
            return Err(wrong());
        }
        // Thousandths, so that no binary fraction comes between: 0.6 s are 600 ms.
        let thousandths = whole.parse::<u64>().map_err(|_| wrong())? * 1_000 + format!("{part:0<3}").parse::<u64>().map_err(|_| wrong())?;
        let millis = thousandths.checked_mul(one).filter(|n| n % 1_000 == 0).ok_or_else(wrong)? / 1_000;
        Some(Self(Duration::from_millis(millis))).filter(|span| span.0 <= MAX).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (word, one) = UNITS.into_iter().find(|(_, one)| millis > 0 && millis % one == 0).unwrap_or(("s", 1_000));
        write!(f, "{}{word}", millis / one)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_stored_in_one_way() {
        for (written, stored) in [
            ("0.6s", "600ms"),
            ("500ms", "500ms"),
            ("10m", "10m"),
            ("120s", "2m"),
            ("1.5h", "90m"),
            ("8h", "8h"),
            ("0s", "0s"),
            ("0.001s", "1ms"),
            ("168h", "168h"),
        ] {
            let span: Span = written.parse().unwrap();
            assert_eq!(span.to_string(), stored);
            assert_eq!(stored.parse::<Span>(), Ok(span));
        }
        assert_eq!("0.6s".parse::<Span>().map(Span::get), Ok(Duration::from_millis(600)));
        for wrong in
            ["", "5", "s", "5 s", "-1s", "1e3s", "1.s", ".5s", "5S", "5d", "0.0001s", "0.5ms", "169h", "9999999999s", "１s", "5sm", "nans"]
        {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
