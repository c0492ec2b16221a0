//! Housekeeping by the clock: what is kept for a time only.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::jobs::{self, Job};
use crate::base::pki::keys::ROOT_KEYS;
use crate::base::pki::{pins, roots};
use crate::base::rate;
use crate::{account, alarm_management, audit, draft, fleet, license, notice, once, site, telemetry, webhook};

/// Time between two runs. The rates bound what comes in between.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// How long a job that was given up is kept, for whoever looks into it.
const KEEP_FAILED: TimeDelta = TimeDelta::days(90);
/// Rows deleted in one transaction.
const BATCH: i64 = 500;
/// How often the folder of keys is asked for another root document.
const LOOK: Duration = Duration::from_secs(5);

/// How long before the root document's end it is told, each [`TELL_END`].
const WARN: TimeDelta = TimeDelta::days(365);
const TELL_END: TimeDelta = TimeDelta::days(1);

/// Takes root documents that an administrator's command has added, until the server stops. Says at the start where root keys lie beside the
/// server, which is where whoever takes the server would find them.
pub async fn follow_roots(app: App) {
    let folder = app.settings.data_dir.0.join("keys");
    if !roots::keys_here(&folder).is_empty() {
        tracing::warn!(folder = %folder.join(ROOT_KEYS).display(), "the root keys lie on this machine: move them to media that are kept apart");
    }
    let mut stop = app.stopping();
    let (mut seen, mut noted, mut told) = (app.keys.get().root.version, None, None);
    loop {
        // Whoever took it: whatever signs asks for the newest one, too.
        let keys = app.keys.get();
        let root = &keys.root;
        if seen != root.version {
            tracing::info!(version = root.version, "root document taken");
            seen = root.version;
            // Signatures are judged when they are shown.
            app.pages.clear();
        }
        if noted != Some(root.version) {
            match note_root(&app).await {
                Ok(()) => noted = Some(root.version),
                Err(e) => tracing::error!(error = %e, "the newest root document cannot be noted"),
            }
        }
        let (now, ends) = (app.clock.now(), Timestamp::from_unix(root.expires));
        if now.plus(WARN) > ends && told.is_none_or(|at: Timestamp| now >= at.plus(TELL_END)) {
            tracing::warn!(ends = %ends.utc(), "the root document ends, and nodes begin nothing new after that: sign the next one (pithead admin keys renew)");
            told = Some(now);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.changed() => return,
        }
        let own = app.clone();
        let look = move || {
            own.keys.refresh()?;
            own.ca.follow(own.keys.get().root.authorities())
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(error = %format!("{e:#}"), "the next root document cannot be taken"),
            Err(e) => tracing::error!(error = %e, "looking for root documents"),
        }
    }
}

/// Notes the newest root document in the database, which goes on with no older one after that, and in the audit log where trust has changed.
async fn note_root(app: &App) -> Result<()> {
    let (keys, new_keys) = (app.keys.get(), app.settings.trust.new_keys);
    audit::change(app, &Actor::System, move |c| {
        if let Some(sha256) = pins::note_newest(c, &keys, new_keys)? {
            c.audit("root.taken", "root", &json!({"version": keys.root.version, "sha256": sha256}));
        }
        Ok(())
    })
    .await
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
    let drafts = draft::service::prune(app).await?;
    let (told, answers) = (webhook::service::prune(app).await?, once::service::prune(app).await?);
    let responses = alarm_management::upkeep::prune(app).await?;
    license::tell::tell_ending(app).await?;
    let records = audit::retention::prune(app).await?;
    let pictures = site::market::pictures::prune(app).await?;
    let now = app.clock.now();
    while app.db.write(move |conn| rate::prune(conn, now, BATCH)).await? > 0 {}
    let before = now.minus(KEEP_FAILED);
    while app.db.write(move |conn| jobs::prune_failed(conn, before, BATCH)).await? > 0 {}
    tracing::info!(
        reports,
        responses,
        events,
        over,
        messages,
        told,
        answers,
        drafts,
        records,
        pictures,
        "old rows and small pictures deleted"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use app_package::dsse;
    use diesel::prelude::*;

    use super::*;
    use crate::base::db::schema::audit_records;
    use crate::base::pki::keys;
    use crate::testing::each_backend;

    #[tokio::test]
    async fn each_change_of_trust_leaves_one_record() {
        each_backend(|app| async move {
            let records = async || {
                let taken = audit_records::table.filter(audit_records::action.eq("root.taken")).select(audit_records::detail);
                app.db.read(move |conn| Ok(taken.load::<String>(conn)?)).await.unwrap()
            };
            note_root(&app).await.unwrap();
            assert!(records().await.is_empty(), "the first one");
            let folder = app.settings.data_dir.0.join("keys");
            let mut envelope = roots::draft(&folder, &app.keys.get().root, &roots::Next::Renew).unwrap();
            for path in roots::keys_here(&folder) {
                dsse::countersign(&mut envelope, &keys::read_key(&path).unwrap()).unwrap();
            }
            roots::take(&folder, &envelope).unwrap();
            app.keys.refresh().unwrap();
            for _ in 0..2 {
                note_root(&app).await.unwrap();
                let records = records().await;
                assert!(records.len() == 1 && records[0].contains("\"version\":2") && records[0].contains("sha256"), "{records:?}");
            }
        })
        .await;
    }
}
