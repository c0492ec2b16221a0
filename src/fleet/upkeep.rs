//! How long the history of deployments is kept: the newest events of each, and for a time those of deployments that are gone. Each
//! transaction deletes few rows, so that others pass between two.

use chrono::TimeDelta;

use super::store;
use crate::base::app::App;
use crate::base::error::Result;

/// Rows deleted in one transaction.
const BATCH: i64 = 500;

/// Deletes events over number or age. Gives how many rows went.
pub async fn prune(app: &App) -> Result<usize> {
    let settings = &app.settings.fleet;
    let (keep, before) = (settings.keep_events, app.clock.now().minus(TimeDelta::days(settings.keep_removed_days)));
    let mut deleted = 0;
    loop {
        let gone = app.db.write(move |conn| Ok(store::delete_events_of_removed(conn, before, BATCH)?)).await?;
        deleted += gone;
        if gone == 0 {
            break;
        }
    }
    loop {
        let long = app.db.read(move |conn| Ok(store::with_events_over(conn, keep, BATCH)?)).await?;
        if long.is_empty() {
            return Ok(deleted);
        }
        for (deployment_id, held) in long {
            let over = (held - keep).min(BATCH);
            deleted += app.db.write(move |conn| Ok(store::delete_oldest_events(conn, &deployment_id, over)?)).await?;
        }
    }
}
