//! Upkeep: ending uploads that nobody finished, collecting garbage. The first is enqueued when an upload starts, and again while uploads
//! are left; the second at the server's start, and again by itself.

use chrono::TimeDelta;

use super::{collect, store, uploads};
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::base::jobs::Job;

/// Uploads ended in one transaction.
const BATCH: i64 = 200;

/// Looks for uploads to end a minute after one is over, and a day from now at the latest: what is planned further ahead runs at once, for it
/// counts as planned by a clock that was ahead.
pub fn plan_expiry(conn: &mut Conn, over: Timestamp, now: Timestamp) -> Result<()> {
    Job::ExpireUploads.enqueue_once(conn, over.plus(TimeDelta::minutes(1)).min(now.plus(TimeDelta::days(1))))
}

/// Ends uploads that nobody finished: first the row (nobody can go on with it then), then the staged bytes.
pub async fn expire_uploads(app: &App) -> Result<()> {
    loop {
        let now = app.clock.now();
        let ended = app
            .db
            .write(move |conn| {
                let ids = store::expired_uploads(conn, now, BATCH)?;
                let mut ended = Vec::with_capacity(ids.len());
                for id in ids {
                    store::delete_upload(conn, &id)?;
                    ended.push(id);
                }
                if ended.is_empty()
                    && let Some(next) = store::next_expiry(conn)?
                {
                    plan_expiry(conn, next, now)?;
                }
                Ok(ended)
            })
            .await?;
        if ended.is_empty() {
            return Ok(());
        }
        for id in &ended {
            app.blobs.discard(id).await?;
            uploads::forget(id);
        }
        tracing::info!(count = ended.len(), "uploads expired");
    }
}

/// Puts the next collection of garbage into the queue, unless one waits or the settings want none.
pub async fn plan_collection(app: &App) -> Result<()> {
    let hours = app.settings.registry.collect_hours;
    if hours == 0 {
        return Ok(());
    }
    let at = app.clock.now().plus(TimeDelta::hours(hours));
    app.db.write(move |conn| Job::CollectGarbage.enqueue_once(conn, at)).await
}

/// Collects garbage and plans the next time.
pub async fn collect_garbage(app: &App) -> Result<()> {
    // Plan the next collection first, so that it comes even if this one fails for good.
    plan_collection(app).await?;
    let collected = collect::collect(app, false).await?;
    tracing::info!(?collected, "garbage collected");
    Ok(())
}
