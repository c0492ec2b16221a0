//! Guessing is slow. Wrong passwords are counted, right ones never, and what they are counted by depends on where they come from:
//!
//! - a browser that signed in to the account before (its cookie proves it): by the account and that browser;
//! - an address from which the account signed in before: by the account and the address together, and by the address;
//! - anywhere else: by these, and for the account as a whole, with pauses that grow ([`ACCOUNT_FREE`]).
//!
//! So whoever sends wrong passwords holds up themselves and other strangers, but no known browser or address. IPv6 addresses count by
//! their /64. Attempts counted by the same subject stand in line, and those from one address pass a narrow gate, so that many at once get no
//! further than one after another; a known browser waits behind no stranger, but behind known ones of its address.

use chrono::TimeDelta;

use super::sign_in::Browser;
use super::{access, store};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::password::Line;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Result};
use crate::base::ids;
use crate::base::networks::network_of;
use crate::base::turns::Turn;

/// Time after which a count begins anew, but for the one of an account as a whole.
pub const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Wrong passwords for one account from one place in the window.
pub const PLACE: i64 = 5;
/// Wrong passwords from one address in the window; a mine's people may share one.
const ADDRESS: i64 = 30;
/// Wrong passwords for one account from all unknown places together before there are pauses. After m minutes there may be √m more: the
/// pauses are 1, 3, 5, 7, … minutes, so that a thousand addresses get 17 guesses in an hour and 47 in a day.
const ACCOUNT_FREE: i64 = 10;
/// Time after which the count of an account as a whole begins anew.
pub const ACCOUNT_WINDOW: TimeDelta = TimeDelta::days(1);
/// Days for which a browser or address stays known after a sign-in.
pub const KNOWN_DAYS: i64 = 180;
/// Addresses of a person that are looked at, the latest.
const KNOWN_ADDRESSES: i64 = 50;
/// Longest e-mail address in bytes (RFC 5321); a longer one is nobody's.
const MAX_EMAIL: usize = 254;
/// Begin of the subject of a known browser.
const DEVICE: &str = "device:";
/// Organisations signed up from one address in the window.
const SIGN_UPS: i64 = 20;
/// Times in a window that one address is told that an e-mail address has an account.
const TAKEN: i64 = 3;

/// An attempt with a password that may be made now. While it lives, others that are counted with it wait.
#[derive(Debug)]
pub struct Attempt {
    /// What a wrong password is counted by: subject and window. The first is the account at its place.
    subjects: Vec<(String, TimeDelta)>,
    email: String,
    address: String,
    _turns: Vec<Turn>,
}

/// Waits for the turn of an attempt with a password.
///
/// # Errors
/// `sign-in-throttled`: there were too many wrong passwords.
pub async fn password(app: &App, email: &str, browser: Browser<'_>) -> Result<Attempt> {
    let (address, device) = (browser.address, browser.secret());
    let cut = email.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_EMAIL).last().unwrap_or_default();
    let email = email.get(..cut).unwrap_or_default().to_owned();
    let (network, now) = (network_of(address), app.clock.now());
    let counted = {
        let (email, network, device_hash) = (email.clone(), network.clone(), device.map(ids::hash_secret));
        app.db.read(move |conn| Ok(counted_by(conn, &email, &network, device_hash.as_deref(), now)?)).await?
    };
    // All that are counted for the account as a whole stand in one line, others with those of their place.
    let line = counted.iter().find(|limit| limit.grows).or(counted.first()).map_or_else(String::new, |limit| limit.subject.clone());
    let gates = &app.gates;
    let turns = if line.starts_with(DEVICE) { gates.wait_browser(&network, &line).await? } else { gates.wait(&network, &line).await? };
    let subjects = counted.iter().map(|limit| (limit.subject.clone(), limit.window)).collect();
    app.db
        .read(move |conn| {
            for limit in &counted {
                let now = limit.now;
                if let Some((failures, begin)) = store::attempts(conn, &limit.subject, limit.window, now)?
                    && let Some(pause) = limit.pause(failures, begin)
                {
                    return Err(throttled("sign-in-throttled", pause));
                }
            }
            Ok(())
        })
        .await?;
    Ok(Attempt { subjects, email, address: address.to_owned(), _turns: turns })
}

/// A limit of wrong passwords.
struct Limit {
    subject: String,
    most: i64,
    window: TimeDelta,
    /// Whether more are allowed as time goes by.
    grows: bool,
    now: Timestamp,
}

impl Limit {
    /// The time until the next attempt, if it is not now.
    fn pause(&self, failures: i64, begin: Timestamp) -> Option<TimeDelta> {
        let over = failures - self.most;
        let passed = self.now.utc() - begin.utc();
        let wait = if self.grows { TimeDelta::minutes((over + 1).max(0).saturating_pow(2)) } else { self.window };
        (over >= 0 && passed < wait).then(|| wait.min(self.window) - passed)
    }
}

fn counted_by(conn: &mut Conn, email: &str, network: &str, device_hash: Option<&str>, now: Timestamp) -> diesel::QueryResult<Vec<Limit>> {
    let since = now.minus(TimeDelta::days(KNOWN_DAYS));
    let limit = |subject: String, most| Limit { subject, most, window: WINDOW, grows: false, now };
    if let Some(hash) = device_hash
        && store::knows_device(conn, email, hash, since)?
    {
        return Ok(vec![limit(format!("{DEVICE}{hash}:{email}"), PLACE)]);
    }
    let mut limits = vec![limit(format!("place:{network}:{email}"), PLACE), limit(format!("address:{network}"), ADDRESS)];
    let known = store::addresses_of(conn, email, since, KNOWN_ADDRESSES)?;
    if !known.iter().any(|address| network_of(address) == network) {
        let account = limit(format!("account:{email}"), ACCOUNT_FREE);
        limits.push(Limit { window: ACCOUNT_WINDOW, grows: true, ..account });
    }
    Ok(limits)
}

/// Counts an organisation that signs up.
///
/// # Errors
/// `sign-up-throttled`: there were too many from this address.
pub async fn sign_up(app: &App, address: &str) -> Result<()> {
    count(app, format!("sign-up:{}", network_of(address)), SIGN_UPS, "sign-up-throttled").await
}

/// Counts that an address is about to be told that an e-mail address has an account.
///
/// # Errors
/// `code`: it was told so too often.
pub async fn taken(app: &App, address: &str, code: &'static str) -> Result<()> {
    count(app, format!("taken:{}", network_of(address)), TAKEN, code).await
}

/// Whether an address was told too often that an e-mail address has an account.
///
/// # Errors
/// `code`.
pub async fn not_asking(app: &App, address: &str, code: &'static str) -> Result<()> {
    let (subject, now) = (format!("taken:{}", network_of(address)), app.clock.now());
    let told = app.db.read(move |conn| Ok(store::attempts(conn, &subject, WINDOW, now)?)).await?;
    if told.is_some_and(|(n, _)| n >= TAKEN) { Err(throttled(code, WINDOW)) } else { Ok(()) }
}

async fn count(app: &App, subject: String, most: i64, code: &'static str) -> Result<()> {
    let now = app.clock.now();
    // The count stays where the limit is reached, so the answer is decided outside of the transaction.
    let n = app.db.write_aside(move |conn| count_in(conn, &subject, WINDOW, now)).await?;
    if n > most { Err(throttled(code, WINDOW)) } else { Ok(()) }
}

/// Counts one of something for a subject, such as a wrong password of an account or a message to an address; gives how many there were in
/// the window. Whoever counts before they look needs no lock: on PostgreSQL the counter's row makes others wait until this is decided.
pub fn count_in(conn: &mut Conn, subject: &str, window: TimeDelta, now: Timestamp) -> Result<i64> {
    Ok(dialect::count_attempt(conn, subject, now, now.minus(window))?)
}

pub(super) fn throttled(code: &'static str, pause: TimeDelta) -> Error {
    Error::rate_limited(code).arg("minutes", pause.num_seconds().div_euclid(60) + 1).retry_after(pause)
}

impl Attempt {
    /// The password was wrong: counts it, and records it if it is the first of its place in the window, or the last that is looked at.
    pub async fn failed(self, app: &App) -> Result<()> {
        let address = self.address.clone();
        let (user, failures) = audit::change(app, &Actor::Anonymous, move |c| {
            let now = c.now;
            let mut at_place = 0;
            for (n, (subject, window)) in self.subjects.iter().enumerate() {
                let failures = count_in(c, subject, *window, now)?;
                at_place = if n == 0 { failures } else { at_place };
            }
            let user = store::find_user_by_email(c, &self.email)?.map(|user| user.id);
            if at_place == 1 || at_place == PLACE {
                access::wrong_password(c, user.as_deref(), &self.address, at_place)?;
            }
            Ok((user, at_place))
        })
        .await?;
        tracing::info!(user = user.as_deref().unwrap_or("unknown"), address, failures, "wrong password");
        Ok(())
    }

    /// Whether it comes from a browser that signed in to the account before.
    pub fn from_known_browser(&self) -> bool {
        self.subjects.first().is_some_and(|(subject, _)| subject.starts_with(DEVICE))
    }

    /// Where its password is hashed.
    pub fn line(&self) -> Line {
        if self.from_known_browser() { Line::Known } else { Line::Strangers }
    }

    /// The password was right: forgets the wrong ones of this place. Those for the account as a whole stay: strangers must not gain
    /// guesses because the person signs in.
    pub fn succeeded_in(&self, conn: &mut Conn) -> Result<()> {
        if let Some((place, _)) = self.subjects.first() {
            store::forget_attempts(conn, place)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_count_touches_nothing_that_is_kept() {
        crate::testing::each_backend(|app| async move {
            let mark = app.db.marks().now();
            sign_up(&app, "192.0.2.1").await.unwrap();
            assert_eq!(app.db.marks().now(), mark);
        })
        .await;
    }

    #[test]
    fn pauses_grow_and_the_window_ends_them() {
        let begin = Timestamp::from_unix(1_767_225_600);
        let at = |minutes: i64, failures: i64| {
            let limit = Limit {
                subject: String::new(),
                most: 10,
                window: ACCOUNT_WINDOW,
                grows: true,
                now: begin.plus(TimeDelta::minutes(minutes)),
            };
            limit.pause(failures, begin).map(|pause| pause.num_minutes())
        };
        assert_eq!((at(0, 9), at(0, 10), at(1, 10), at(1, 11), at(4, 11)), (None, Some(1), None, Some(3), None));
        assert_eq!((at(0, 60), at(60, 17), at(64, 17)), (Some(24 * 60), Some(4), None));
        // In an hour: 10 at once, and one after each of 1, 4, 9, 16, 25, 36 and 49 minutes.
        let mut failures = 0;
        for minute in 0..60 {
            while at(minute, failures).is_none() {
                failures += 1;
            }
        }
        assert_eq!(failures, 17);
    }
}
