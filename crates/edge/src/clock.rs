//! The node's time. Clocks of machines underground stand at 1970 after a dead battery, or run years ahead; a mine may set one back.
//!
//! Invariants: the time never falls below what is proved (when this program was built, when a verified licence was issued, the beginning of
//! the certificate's life, and the platform's time of the last answer with the time that this agent has run since); once the platform has
//! answered, its time holds, whatever the machine's clock says, but not against the certificate, which begins its whole life before it is
//! issued: so far a platform may have run ahead without the node being bound to that. What the machine's clock says wrong is told by
//! [`Clock::fault`] and stops nothing.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::fault::Fault;
use crate::files;

/// File with the time that is proved, in seconds since 1970.
const FILE: &str = "proved-time";
/// Difference from the proved time that is no fault of the machine's clock.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// A time known at a moment of this run; it goes on with the machine's steady clock.
#[derive(Clone, Copy)]
struct Known {
    time: DateTime<Utc>,
    at: Instant,
}

impl Known {
    fn now(self) -> DateTime<Utc> {
        TimeDelta::from_std(self.at.elapsed()).ok().and_then(|passed| self.time.checked_add_signed(passed)).unwrap_or(self.time)
    }
}

struct Inner {
    /// Beginning of the certificate's life: nobody's word sets the time before that.
    begun: DateTime<Utc>,
    /// Lower bound of the time, from former runs, documents and the program.
    floor: Known,
    /// Time of the platform's last answer in this run.
    platform: Option<Known>,
}

impl Inner {
    fn rise(&mut self, time: DateTime<Utc>) {
        if self.floor.now() < time {
            self.floor = Known { time, at: Instant::now() };
        }
    }
}

/// The clock of one data folder.
pub struct Clock {
    file: Option<PathBuf>,
    inner: Mutex<Inner>,
}

/// Time of the sources of this program, where the build says it.
fn built() -> DateTime<Utc> {
    option_env!("SOURCE_DATE_EPOCH").and_then(|seconds| DateTime::from_timestamp(seconds.parse().ok()?, 0)).unwrap_or_default()
}

/// The time to go by: the platform's where it is known, else the machine's, and never less than the proved one.
pub fn judged(system: DateTime<Utc>, floor: DateTime<Utc>, platform: Option<DateTime<Utc>>) -> DateTime<Utc> {
    platform.unwrap_or(system).max(floor)
}

/// The machine's clock where it is wrong, with the time that it should show at least.
pub fn wrong(system: DateTime<Utc>, floor: DateTime<Utc>, platform: Option<DateTime<Utc>>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let ahead = platform.filter(|platform| system > *platform + TOLERANCE);
    let behind = Some(platform.unwrap_or(floor).max(floor)).filter(|proved| system < *proved - TOLERANCE);
    ahead.or(behind).map(|right| (system, right))
}

impl Clock {
    /// The clock of a data folder. `begun` is the beginning of the life of the node's certificate.
    pub fn open(data: &Path, begun: Option<DateTime<Utc>>) -> Self {
        let file = data.join(FILE);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let kept = text.trim().parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        Self::with(Some(file), kept, begun.unwrap_or_default())
    }

    /// A clock that knows nothing yet, for enrolment.
    pub fn fresh() -> Self {
        Self::with(None, None, DateTime::default())
    }

    fn with(file: Option<PathBuf>, kept: Option<DateTime<Utc>>, begun: DateTime<Utc>) -> Self {
        // The program was built on a machine whose clock may have run ahead: the platform's word stands above it.
        let floor = Known { time: kept.unwrap_or_default().max(built()).max(begun), at: Instant::now() };
        Self { file, inner: Mutex::new(Inner { begun, floor, platform: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> (DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>) {
        let inner = self.lock();
        (Utc::now(), inner.floor.now(), inner.platform.map(Known::now))
    }

    /// The time to go by.
    pub fn now(&self) -> DateTime<Utc> {
        let (system, floor, platform) = self.parts();
        judged(system, floor, platform)
    }

    /// The time that is proved, which the machine's clock does not move.
    pub fn proved(&self) -> DateTime<Utc> {
        let (_, floor, platform) = self.parts();
        platform.unwrap_or(floor).max(floor)
    }

    /// The time that the certificate proves, which no clock of a machine or of the platform moves.
    pub fn documented(&self) -> DateTime<Utc> {
        self.lock().begun
    }

    /// The platform's time, once it has answered in this run.
    pub fn platform(&self) -> Option<DateTime<Utc>> {
        self.parts().2
    }

    /// The platform's time (`Date` of an answer over a connection whose other end was verified). It is believed whatever was known before:
    /// a platform whose clock was wrong for a day must not bind its nodes to it for ever. Only the certificate stands against it.
    pub fn heard(&self, date: &str) {
        let Ok(time) = DateTime::parse_from_rfc2822(date) else { return };
        let mut inner = self.lock();
        let known = Known { time: time.to_utc().max(inner.begun), at: Instant::now() };
        (inner.floor, inner.platform) = (known, Some(known));
    }

    /// A certificate of this node was verified whose life begins at this time: it is at least that late.
    pub fn certified(&self, time: DateTime<Utc>) {
        let mut inner = self.lock();
        inner.begun = inner.begun.max(time);
        inner.rise(time);
    }

    /// A licence issued at this time was verified: it is at least that late, as long as the platform has not said better in this run.
    pub fn licensed(&self, time: DateTime<Utc>) {
        let mut inner = self.lock();
        if inner.platform.is_none() {
            inner.rise(time);
        }
    }

    /// Writes the proved time down, for the next run. Time that passes without contact counts too, so that setting the machine's clock back
    /// before each start does not make a licence last for ever.
    pub fn keep(&self) -> Result<(), Fault> {
        let Some(file) = &self.file else { return Ok(()) };
        files::write_atomic(file, self.proved().timestamp().to_string().as_bytes())
    }

    /// Says that the machine's clock is wrong, if it is. Code `clock-wrong`.
    pub fn fault(&self) -> Option<Fault> {
        let (system, floor, platform) = self.parts();
        let (shown, right) = wrong(system, floor, platform)?;
        let text = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC").to_string();
        let words = if shown < right { "at least " } else { "" };
        Some(Fault::new(
            "clock-wrong",
            "clock",
            format!("the machine's clock says {}, it is {words}{}; set it and look at its battery", text(shown), text(right)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn day(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(n)
    }

    #[test]
    fn time_never_falls_below_the_proved_one() {
        assert_eq!(judged(day(0), day(100), None), day(100));
        assert_eq!(judged(day(120), day(100), None), day(120));
        // The platform's time holds against a clock that runs ahead, and against one that stands still.
        assert_eq!(judged(day(400), day(100), Some(day(101))), day(101));
        assert_eq!(judged(day(0), day(100), Some(day(101))), day(101));
        assert_eq!(judged(day(400), day(100), Some(day(90))), day(100));
    }

    #[test]
    fn a_wrong_clock_is_named() {
        let minute = TimeDelta::minutes(1);
        assert_eq!(wrong(day(0), day(100), None), Some((day(0), day(100))));
        assert_eq!(wrong(day(400), day(100), None), None, "without the platform a later time may be right");
        assert_eq!(wrong(day(400), day(100), Some(day(101))), Some((day(400), day(101))));
        assert_eq!(wrong(day(100), day(100), Some(day(101))), Some((day(100), day(101))));
        for near in [day(101) - minute * 4, day(101), day(101) + minute * 4] {
            assert_eq!(wrong(near, day(100), Some(day(101))), None);
        }
    }

    #[test]
    fn what_is_proved_outlives_the_agent() {
        let dir = Scratch::new();
        let clock = Clock::open(dir.path(), Some(day(10)));
        assert!(clock.proved() >= day(10) && clock.platform().is_none());
        // The machine's clock is right for this test, but the platform says that it is 2055.
        clock.heard("Fri, 01 Jan 2055 00:00:00 GMT");
        assert_eq!(clock.now().format("%Y").to_string(), "2055");
        assert_eq!(clock.fault().unwrap().code, "clock-wrong");
        clock.keep().unwrap();
        let next = Clock::open(dir.path(), Some(day(10)));
        assert_eq!(next.now().format("%Y").to_string(), "2055");
        assert!(next.platform().is_none() && next.fault().is_some());
        // A platform that was wrong and is right again is believed.
        next.heard("Fri, 01 Jan 2049 00:00:00 GMT");
        assert_eq!(next.now().format("%Y").to_string(), "2049");
        next.heard("no date");
        assert_eq!(next.now().format("%Y").to_string(), "2049");
    }

    #[test]
    fn the_platform_corrects_a_program_that_was_built_ahead() {
        let clock = Clock::with(None, Some(day(365 * 90)), DateTime::default());
        clock.heard(&day(365 * 20).to_rfc2822());
        assert!(clock.proved() < day(365 * 21) && clock.now() < day(365 * 21));
        // What the build says counts as such a note: it is no document.
        let dir = Scratch::new();
        assert_eq!(Clock::open(dir.path(), Some(day(10))).documented(), day(10));
        assert_eq!(Clock::fresh().documented(), DateTime::UNIX_EPOCH);
    }

    #[test]
    fn documents_prove_a_time_and_the_platform_stands_against_licences_only() {
        let dir = Scratch::new();
        let far = |years: i64| day(365 * years);
        let clock = Clock::open(dir.path(), Some(far(80)));
        assert!(clock.proved() >= far(80) && Clock::fresh().proved() >= built());
        clock.licensed(far(90));
        clock.licensed(far(85));
        assert!(clock.proved() >= far(90) && clock.now() >= far(90));
        // The platform takes back what a licence said, and no licence binds the time after that.
        clock.heard(&far(82).to_rfc2822());
        clock.licensed(far(90));
        assert!((far(82)..far(83)).contains(&clock.now()) && (far(82)..far(83)).contains(&clock.proved()));
        assert_eq!(clock.documented(), far(80), "neither licences nor the platform move what TLS goes by");
        // Not what the certificate said, whichever came first.
        clock.heard(&far(79).to_rfc2822());
        assert!(clock.now() >= far(80) && clock.platform() >= Some(far(80)));
        clock.certified(far(84));
        assert!(clock.now() >= far(84));
        clock.heard(&far(83).to_rfc2822());
        assert!(clock.now() >= far(84) && clock.proved() >= far(84));
        clock.keep().unwrap();
        assert!(Clock::open(dir.path(), None).proved() >= far(84));
    }
}
