//! Housekeeping by the clock: what is kept for a time only.

use std::time::Duration;

use chrono::TimeDelta;

use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::base::jobs::{self, Job};
use crate::base::pki::keys::ROOT_KEYS;
use crate::base::pki::roots;
use crate::base::rate;
use crate::{account, audit, fleet, license, notice, once, site, telemetry, webhook};

/// Time between two runs. The rates bound what comes in between.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// How long a job that was given up is kept, for whoever looks into it.
const KEEP_FAILED: TimeDelta = TimeDelta::days(90);
/// Rows deleted in one transaction.
const BATCH: i64 = 500;
/// How often the folder of keys is asked for another root document.
const LOOK: Duration = Duration::from_secs(5);

/// Takes root documents that an administrator's command has added, until the server stops. Says at the start where root keys lie beside the
/// server, which is where whoever takes the server would find them.
pub async fn follow_roots(app: App) {
    let folder = app.settings.data_dir.0.join("keys");
    if !roots::keys_here(&folder).is_empty() {
        tracing::warn!(folder = %folder.join(ROOT_KEYS).display(), "the root keys lie on this machine: move them to media that are kept apart");
    }
    let mut stop = app.stopping();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.changed() => return,
        }
        let own = app.clone();
        let look = move || {
            let taken = own.keys.refresh()?;
            own.ca.follow(own.keys.get().root.authorities())?;
            anyhow::Ok(taken)
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(true)) => tracing::info!(version = app.keys.get().root.version, "root document taken"),
            Ok(Ok(false)) => {}
            Ok(Err(e)) => tracing::error!(error = %format!("{e:#}"), "the next root document cannot be taken"),
            Err(e) => tracing::error!(error = %e, "looking for root documents"),
        }
    }
}

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
    let (told, answers) = (webhook::service::prune(app).await?, once::service::prune(app).await?);
    license::tell::tell_ending(app).await?;
    let records = audit::retention::prune(app).await?;
    let pictures = site::market::pictures::prune(app).await?;
    let now = app.clock.now();
    while app.db.write(move |conn| rate::prune(conn, now, BATCH)).await? > 0 {}
    let before = now.minus(KEEP_FAILED);
    while app.db.write(move |conn| jobs::prune_failed(conn, before, BATCH)).await? > 0 {}
    tracing::info!(reports, events, over, messages, told, answers, records, pictures, "old rows and small pictures deleted");
    Ok(())
}
