//! The node's time. Clocks of machines underground stand at 1970 after a dead battery, or run years ahead; a mine may set one back.
//!
//! Invariants: the time never falls below what is proved (when this program was built, when a verified licence was issued, the beginning of
//! the certificate's life, and the platform's time of the last answer with the time that this agent has run since); once the platform has
//! answered, its time holds, whatever the machine's clock says, but not against the certificate, which begins its whole life before it is
//! issued: so far a platform may have run ahead without the node being bound to that. What the machine's clock says wrong is told by
//! [`Clock::fault`] and stops nothing.
//!
//! `Date` of an answer is the word of whoever holds the line. So it counts only until the platform has signed a time in this run, and never ends
//! what a time that was signed (in a former run, too) lets run on: [`Clock::running`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use app_package::stream::ClockState;
use chrono::{DateTime, TimeDelta, Utc};

use crate::fault::Fault;
use crate::files;

/// File with the time that is proved, in seconds since 1970.
const FILE: &str = "proved-time";
/// File with the time that the platform signed last, and the running time since, in seconds since 1970.
const SIGNED: &str = "signed-time";
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
    /// The platform's time in this run: what it has signed, and until then what its last answer said.
    platform: Option<Known>,
    /// The time that the platform signed last, in this run or a former one.
    signed: Option<Known>,
    /// Whether that was in this run.
    fresh: bool,
    /// What the last answer said.
    told: Option<DateTime<Utc>>,
}

impl Inner {
    fn rise(&mut self, time: DateTime<Utc>) {
        if self.floor.now() < time {
            self.floor = Known { time, at: Instant::now() };
        }
    }

    /// Takes the platform's time, whatever was known before, but not against the certificate.
    fn believe(&mut self, time: DateTime<Utc>) {
        let known = Known { time: time.max(self.begun), at: Instant::now() };
        (self.floor, self.platform) = (known, Some(known));
    }
}

/// The clock of one data folder.
pub struct Clock {
    folder: Option<PathBuf>,
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
        let read = |name: &str| {
            let text = std::fs::read_to_string(data.join(name)).ok()?;
            text.trim().parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        };
        let clock = Self::with(Some(data.to_owned()), read(FILE), begun.unwrap_or_default());
        clock.lock().signed = read(SIGNED).map(|time| Known { time, at: Instant::now() });
        clock
    }

    /// A clock that knows nothing yet, for enrolment.
    pub fn fresh() -> Self {
        Self::with(None, None, DateTime::default())
    }

    fn with(folder: Option<PathBuf>, kept: Option<DateTime<Utc>>, begun: DateTime<Utc>) -> Self {
        // The program was built on a machine whose clock may have run ahead: the platform's word stands above it.
        let floor = Known { time: kept.unwrap_or_default().max(built()).max(begun), at: Instant::now() };
        Self { folder, inner: Mutex::new(Inner { begun, floor, platform: None, signed: None, fresh: false, told: None }) }
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

    /// What the time to go by is worth.
    pub fn state(&self) -> ClockState {
        match (self.platform().is_some(), self.fault().is_some()) {
            (false, _) => ClockState::Untrusted,
            (true, true) => ClockState::Adjusted,
            (true, false) => ClockState::Trusted,
        }
    }

    /// The time to judge by what runs: no word that nobody has signed ends it. Where the platform never signed a time, it is [`Self::now`].
    pub fn running(&self) -> DateTime<Utc> {
        let signed = self.lock().signed.map(Known::now);
        signed.map_or_else(|| self.now(), |signed| signed.max(self.documented()))
    }

    /// The time to judge by what is to begin: no word that nobody has signed sets it back.
    pub fn beginning(&self) -> DateTime<Utc> {
        let signed = self.lock().signed.map(Known::now);
        signed.map_or_else(|| self.now(), |signed| self.now().max(signed))
    }

    /// Whether the platform has signed a time in this run.
    pub fn is_signed(&self) -> bool {
        self.lock().fresh
    }

    /// Whether the platform should be asked for its time: what its answers say is not what it has signed.
    pub fn differs(&self) -> bool {
        let inner = self.lock();
        let signed = inner.signed.filter(|_| inner.fresh).map(Known::now);
        signed.zip(inner.told).is_some_and(|(signed, told)| (signed - told).abs() > TOLERANCE)
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
        inner.told = Some(time.to_utc());
        if !inner.fresh {
            inner.believe(time.to_utc());
        }
    }

    /// The platform has signed this time for a question of this node, just now. It is believed as [`Self::heard`] says, and holds against that.
    pub fn signed(&self, time: DateTime<Utc>) {
        let mut inner = self.lock();
        inner.believe(time);
        (inner.signed, inner.fresh) = (inner.platform, true);
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
        let Some(folder) = &self.folder else { return Ok(()) };
        let write = |name: &str, time: DateTime<Utc>| files::write_atomic(&folder.join(name), time.timestamp().to_string().as_bytes());
        let signed = self.lock().signed.map(Known::now);
        if let Some(signed) = signed {
            write(SIGNED, signed)?;
        }
        write(FILE, self.proved())
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
    fn what_nobody_signed_ends_nothing_and_keeps_no_word_alive() {
        let dir = Scratch::new();
        let far = |days: i64| day(365 * 80 + days);
        let near = |time: DateTime<Utc>, days: i64| (time - far(days)).abs() < TimeDelta::minutes(1);
        let clock = Clock::open(dir.path(), Some(far(-1)));
        // A server of before signs no time: its word is all there is.
        clock.heard(&far(0).to_rfc2822());
        assert!(near(clock.running(), 0) && !clock.differs());
        clock.signed(far(10));
        for told in [far(4000), far(-4000)] {
            clock.heard(&told.to_rfc2822());
            assert!(clock.differs(), "it is asked for what it signs");
            assert!(near(clock.now(), 10) && near(clock.running(), 10) && near(clock.beginning(), 10) && near(clock.proved(), 10));
        }
        clock.keep().unwrap();
        // The next run, which has nothing signed yet: neither a jump ahead nor one back.
        let next = Clock::open(dir.path(), Some(far(-1)));
        next.heard(&far(4000).to_rfc2822());
        assert!(near(next.now(), 4000) && near(next.running(), 10) && !next.differs());
        next.heard(&far(1).to_rfc2822());
        assert!(near(next.now(), 1) && near(next.running(), 10) && near(next.beginning(), 10));
        // A platform whose clock ran ahead and was set right is believed.
        next.signed(far(2));
        assert!(near(next.now(), 2) && near(next.running(), 2) && near(next.beginning(), 2) && next.platform().is_some());
        next.signed(far(-4000));
        assert!(next.running() >= far(-1), "not against the certificate");
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
