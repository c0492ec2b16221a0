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
    // The bucket is held from here on, so the second of two pushes at once sees the first one waiting.
    let bucket = (format!("checks:{organization_id}"), Rate::daily(settings.per_day));
    if let Some(wait) = rate::spend(conn, vec![bucket], now)? {
        return Err(Error::rate_limited("too-many-checks").arg("max", settings.per_day).retry_after(wait));
    }
    match full(conn, organization_id, settings)? {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Why no further check can wait now, if that is so.
pub fn full(conn: &mut Conn, organization_id: &str, settings: &Checks) -> Result<Option<Error>> {
    let most = settings.waiting_per_organization;
    let waits = store::count_checking(conn, organization_id)? >= most;
    Ok(waits.then(|| Error::rate_limited("too-many-checks-waiting").arg("max", most).retry_after(TRY_AGAIN)))
}
