//! Upkeep of each day: removes what no decision needs any more (counts of attempts, sessions long over), and records older than the
//! settings want.

use chrono::TimeDelta;

use super::{store, throttle};
use crate::audit::retention;
use crate::base::app::App;
use crate::base::error::Result;
use crate::base::jobs::Job;

/// Time between two runs.
const EVERY: TimeDelta = TimeDelta::days(1);
/// Longest window of a count.
const KEEP_COUNTS: TimeDelta = TimeDelta::days(1);
/// Browser and address of a session that is over are known until then.
const KEEP_SESSIONS: TimeDelta = TimeDelta::days(throttle::KNOWN_DAYS);

/// Puts the next run into the queue, unless one waits.
pub async fn plan(app: &App) -> Result<()> {
    let at = app.clock.now().plus(EVERY);
    app.db.write(move |conn| Job::RemoveOld.enqueue_once(conn, at)).await
}

/// Removes what is old and plans the next run.
pub async fn remove_old(app: &App) -> Result<()> {
    // Plan the next run first, so that it comes even if this one fails for good.
    plan(app).await?;
    let now = app.clock.now();
    let (counts, sessions) = app
        .db
        .write(move |conn| {
            let counts = store::forget_attempts_before(conn, now.minus(KEEP_COUNTS))?;
            Ok((counts, store::delete_sessions_before(conn, now.minus(KEEP_SESSIONS))?))
        })
        .await?;
    let records = retention::prune(app).await?;
    tracing::info!(counts, sessions, records, "old rows removed");
    Ok(())
}
