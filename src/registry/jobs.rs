//! Ending uploads that nobody finished. The job is enqueued when an upload starts, and again while uploads are left.

use chrono::TimeDelta;

use super::{store, uploads};
use crate::app::App;
use crate::error::Result;
use crate::jobs::Job;

/// Uploads ended in one transaction.
const BATCH: i64 = 200;

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
                    Job::ExpireUploads.enqueue_once(conn, next.plus(TimeDelta::minutes(1)))?;
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
