//! What is kept of reports, and for how long: alarms by number and age, samples by age. Each transaction deletes few rows, so that others
//! pass between two.

use chrono::TimeDelta;

use super::{model, store};
use crate::base::app::App;
use crate::base::error::Result;

/// Rows deleted in one transaction.
const BATCH: i64 = 500;

/// Deletes alarms over the number that an operator may keep, or over their age, and samples of nodes that have fallen silent. Gives how
/// many rows went.
pub async fn prune(app: &App) -> Result<usize> {
    let (settings, now) = (&app.settings.telemetry, app.clock.now());
    let (keep, before) = (settings.keep_alarms, now.minus(TimeDelta::days(settings.keep_alarm_days)));
    app.db
        .write(move |conn| {
            store::end_alarms_of_removed(conn)?;
            store::delete_sources_of_removed(conn)?;
            let open = store::open_alarms(conn, model::forgotten_before(now), BATCH)?.into_iter();
            let forgotten = open.filter(|(_, raised, last, heard)| heard.is_some_and(|heard| model::is_forgotten(*raised, *last, heard)));
            Ok(store::end_alarms(conn, &forgotten.map(|(id, ..)| id).collect::<Vec<_>>())?)
        })
        .await?;
    let mut deleted = 0;
    loop {
        let gone = app.db.write(move |conn| Ok(store::delete_alarms_before(conn, before, BATCH)?)).await?;
        deleted += gone;
        if gone == 0 {
            break;
        }
    }
    loop {
        let mut progress = false;
        for (organization_id, held) in app.db.read(move |conn| Ok(store::with_alarms_over(conn, keep, BATCH)?)).await? {
            let mut over = held - keep;
            while over > 0 {
                let (id, batch) = (organization_id.clone(), over.min(BATCH));
                let gone = app.db.write(move |conn| Ok(store::delete_oldest_alarms(conn, &id, batch)?)).await?;
                deleted += gone;
                if gone == 0 {
                    break;
                }
                progress = true;
                over -= batch;
            }
        }
        if !progress {
            break;
        }
    }
    // A node that reports has its old samples deleted as it goes.
    let old = now.minus(model::KEEP);
    loop {
        let silent = app.db.read(move |conn| Ok(store::silent_with_samples(conn, old, BATCH)?)).await?;
        if silent.is_empty() {
            return Ok(deleted);
        }
        for (node_id, deployment_ids) in silent {
            deleted += app.db.write(move |conn| Ok(store::prune(conn, &node_id, &deployment_ids, old)?)).await?;
        }
    }
}
