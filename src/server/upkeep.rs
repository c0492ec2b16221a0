//! Housekeeping by the clock: what is kept for a time only.

use chrono::TimeDelta;

use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::base::jobs::{self, Job};
use crate::base::rate;
use crate::{account, audit, fleet, notice, site, telemetry};

/// Time between two runs. The rates bound what comes in between.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// How long a job that was given up is kept, for whoever looks into it.
const KEEP_FAILED: TimeDelta = TimeDelta::days(90);
/// Rows deleted in one transaction.
const BATCH: i64 = 500;

/// Puts the next run into the queue, unless one waits.
pub async fn plan(app: &App, after: TimeDelta) -> Result<()> {
    let at = app.clock.now().plus(after);
    app.db.write(move |conn| Job::PruneHistory.enqueue_once(conn, at)).await
}

/// Deletes what is over its number or age, and plans the next run.
pub async fn prune(app: &App) -> Result<()> {
    // Plan the next run first, so that it comes even if this one fails for good.
    plan(app, EVERY).await?;
    if app.settings.database.url.starts_with("sqlite:") {
        let room = app.room.clone();
        tokio::task::spawn_blocking(move || room.lay_aside()).await.map_err(Error::internal)?;
    }
    let (reports, events) = (telemetry::upkeep::prune(app).await?, fleet::upkeep::prune(app).await?);
    let (over, messages) = (account::upkeep::prune(app).await?, notice::jobs::prune(app).await?);
    let records = audit::retention::prune(app).await?;
    let pictures = site::market::pictures::prune(app).await?;
    let now = app.clock.now();
    while app.db.write(move |conn| rate::prune(conn, now, BATCH)).await? > 0 {}
    let before = now.minus(KEEP_FAILED);
    while app.db.write(move |conn| jobs::prune_failed(conn, before, BATCH)).await? > 0 {}
    tracing::info!(reports, events, over, messages, records, pictures, "old rows and small pictures deleted");
    Ok(())
}
