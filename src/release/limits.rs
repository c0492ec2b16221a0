//! How many checks an organisation may ask for: so many wait at once, and so many are begun in a day. Each may take minutes of a runner
//! that all share.

use chrono::TimeDelta;

use super::store;
use crate::base::config::Checks;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::rate::{self, Rate};

/// When to try again while checks wait: one takes seconds to minutes.
const TRY_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Counts a check that is asked for, in the caller's transaction.
///
/// # Errors
/// `too-many-checks`, `too-many-checks-waiting`.
pub fn count_check(conn: &mut Conn, organization_id: &str, settings: &Checks, now: Timestamp) -> Result<()> {
    spend_check(conn, organization_id, settings, now)?;
    match full(conn, organization_id, settings)? {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Measurements of a release that may be asked for in a day, and as many at once.
pub const MEASUREMENTS_PER_DAY: u32 = 3;

/// Counts a measurement that is asked for, in the caller's transaction; one that its developer asks for is one of their checks, too.
///
/// # Errors
/// `too-many-measurements`, `too-many-checks`.
pub fn count_measurement(conn: &mut Conn, release_id: &str, developer: Option<&str>, settings: &Checks, now: Timestamp) -> Result<()> {
    let bucket = (format!("measurements:{release_id}"), Rate::daily(MEASUREMENTS_PER_DAY));
    if let Some(wait) = rate::spend(conn, vec![bucket], now)? {
        return Err(Error::rate_limited("too-many-measurements").arg("max", MEASUREMENTS_PER_DAY).retry_after(wait));
    }
    developer.map_or(Ok(()), |organization_id| spend_check(conn, organization_id, settings, now))
}

fn spend_check(conn: &mut Conn, organization_id: &str, settings: &Checks, now: Timestamp) -> Result<()> {
    // The bucket is held from here on, so the second of two pushes at once sees the first one waiting.
    match rate::spend(conn, vec![bucket(organization_id, settings)], now)? {
        Some(wait) => Err(too_many(settings, wait)),
        None => Ok(()),
    }
}

fn bucket(organization_id: &str, settings: &Checks) -> (String, Rate) {
    (format!("checks:{organization_id}"), Rate::daily(settings.per_day))
}

fn too_many(settings: &Checks, wait: TimeDelta) -> Error {
    Error::rate_limited("too-many-checks").arg("max", settings.per_day).retry_after(wait)
}

/// Why no check can be asked for now, if that is so: looked at before bytes are taken for one, and again where it is counted.
pub fn refusal(conn: &mut Conn, organization_id: &str, settings: &Checks, now: Timestamp) -> Result<Option<Error>> {
    let (subject, rate) = bucket(organization_id, settings);
    match rate::waits(conn, subject, rate, now)? {
        Some(wait) => Ok(Some(too_many(settings, wait))),
        None => full(conn, organization_id, settings),
    }
}

/// Why no further check can wait now, if that is so.
fn full(conn: &mut Conn, organization_id: &str, settings: &Checks) -> Result<Option<Error>> {
    let most = settings.waiting_per_organization;
    let waits = store::count_checking(conn, organization_id)? >= most;
    Ok(waits.then(|| Error::rate_limited("too-many-checks-waiting").arg("max", most).retry_after(TRY_AGAIN)))
}
