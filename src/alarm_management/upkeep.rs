//! How long answers are kept: as long as alarms.

use chrono::TimeDelta;

use super::store;
use crate::base::app::App;
use crate::base::error::Result;

/// Rows of each table deleted in one transaction.
const BATCH: i64 = 500;

/// Deletes answers, acts, ended suppressions and ended alarms of the platform over the age of alarms. Gives how many rows went.
pub async fn prune(app: &App) -> Result<usize> {
    let before = app.clock.now().minus(TimeDelta::days(app.settings.telemetry.keep_alarm_days));
    let mut deleted = 0;
    loop {
        match app.db.write(move |conn| Ok(store::prune(conn, before, BATCH)?)).await? {
            0 => return Ok(deleted),
            gone => deleted += gone,
        }
    }
}
