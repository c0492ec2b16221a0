//! Garbage collection: blobs that no manifest and no hidden test set needs, bytes without a row, staged files without an upload.
//!
//! Runs beside everything else, also in several processes at once. Three rules keep it safe: nothing younger than the grace time is
//! looked at; whoever relies on a blob touches its row first, and each removal asks again, holding that row, whether it was touched; the
//! bytes go while the row is held. Manifests stay until somebody deletes them: an untagged one may be pulled by its digest.

use std::collections::HashSet;

use app_package::digest::Digest;
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;

use super::{links, store};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Timestamp, dialect};
use crate::base::error::{Error, Result};
use crate::base::storage::ALGORITHMS;

/// Rows of one transaction.
const BATCH: i64 = 100;

/// What was removed, or in a dry run would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CollectReport {
    /// Blobs that a repository held and no manifest of it names.
    pub links: u64,
    /// Blobs that no repository linked and no hidden test set needed.
    pub blobs: u64,
    /// Bytes of those `blobs`. A dry run leaves out blobs that only now lose their last link.
    pub bytes: u64,
    /// Blobs in the store that the database did not know.
    pub strays: u64,
    /// Staged uploads that the database did not know.
    pub staged: u64,
}

/// Collects garbage; with `dry_run` only counts it.
pub async fn collect(app: &App, dry_run: bool) -> Result<CollectReport> {
    let grace = TimeDelta::hours(app.settings.registry.grace_hours.max(1));
    let before = app.clock.now().minus(grace);
    let mut collected = CollectReport::default();
    links::complete(app).await?;
    unlink(app, before, dry_run, &mut collected).await?;
    loose(app, before, dry_run, &mut collected).await?;
    strays(app, before, dry_run, &mut collected).await?;
    staged(app, before, dry_run, &mut collected).await?;
    if !dry_run && collected != CollectReport::default() {
        let detail = json!(collected);
        audit::change(app, &Actor::System, move |c| {
            c.audit("garbage.collected", "registry", &detail);
            Ok(())
        })
        .await?;
    }
    Ok(collected)
}

/// Takes away links that no manifest of the repository needs. A manifest that comes later has touched what it names.
async fn unlink(app: &App, before: Timestamp, dry_run: bool, collected: &mut CollectReport) -> Result<()> {
    let mut last = String::new();
    loop {
        let after = last.clone();
        let page = app.db.read(move |conn| Ok(store::repositories_after(conn, &after, 500)?)).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last.clone_from(end);
        for repository_id in page {
            unlink_in(app, repository_id, before, dry_run, collected).await?;
        }
    }
}

async fn unlink_in(app: &App, repository_id: String, before: Timestamp, dry_run: bool, collected: &mut CollectReport) -> Result<()> {
    let mut last = String::new();
    loop {
        let (id, after) = (repository_id.clone(), last.clone());
        let idle = app
            .db
            .read(move |conn| {
                // While it is unknown what a damaged manifest names, nothing of its repository goes; `links::complete` has told of it.
                if store::has_unlinked(conn, &id)? {
                    return Ok(Vec::new());
                }
                Ok(store::idle_links(conn, &id, before, &after, BATCH)?)
            })
            .await?;
        let Some(end) = idle.last() else { return Ok(()) };
        last.clone_from(end);
        if dry_run {
            collected.links += idle.len() as u64;
            continue;
        }
        let id = repository_id.clone();
        collected.links += app.db.write_aside(move |conn| Ok(store::unlink_idle(conn, &id, &idle, before)?)).await? as u64;
    }
}

/// Removes blobs that nothing needs, row and bytes.
async fn loose(app: &App, before: Timestamp, dry_run: bool, collected: &mut CollectReport) -> Result<()> {
    let mut last = String::new();
    loop {
        let after = last.clone();
        let page = app.db.read(move |conn| Ok(store::loose_blobs(conn, before, &after, 500)?)).await?;
        let Some((end, _)) = page.last() else { return Ok(()) };
        last.clone_from(end);
        for (text, size) in page {
            let gone = if dry_run { true } else { remove_loose(app, text, before).await? };
            if gone {
                collected.blobs += 1;
                collected.bytes += u64::try_from(size).unwrap_or(0);
            }
        }
    }
}

async fn remove_loose(app: &App, text: String, before: Timestamp) -> Result<bool> {
    let (blobs, digest) = (app.blobs.clone(), Digest::parse(&text).map_err(Error::internal)?);
    app.db
        .write_aside(move |conn| {
            let gone = store::delete_loose(conn, &text, before)? == 1;
            if gone {
                blobs.delete_blocking(&digest)?;
            }
            Ok(gone)
        })
        .await
}

/// Removes bytes without a row: a server ended between storing them and writing the row.
async fn strays(app: &App, before: Timestamp, dry_run: bool, collected: &mut CollectReport) -> Result<()> {
    for algorithm in ALGORITHMS {
        for prefix in 0..=u8::MAX {
            let stored = app.blobs.list(algorithm, &format!("{prefix:02x}")).await?;
            let old: Vec<String> = stored.iter().filter(|b| b.modified < before.utc()).map(|b| b.digest.to_string()).collect();
            if old.is_empty() {
                continue;
            }
            let asked = old.clone();
            let known: HashSet<String> = app.db.read(move |conn| Ok(store::known_blobs(conn, &asked)?)).await?.into_iter().collect();
            for text in old.into_iter().filter(|digest| !known.contains(digest)) {
                let gone = if dry_run { true } else { remove_stray(app, text).await? };
                collected.strays += u64::from(gone);
            }
        }
    }
    Ok(())
}

async fn remove_stray(app: &App, text: String) -> Result<bool> {
    let (blobs, digest, now) = (app.blobs.clone(), Digest::parse(&text).map_err(Error::internal)?, app.clock.now());
    app.db
        .write_aside(move |conn| {
            // This transaction holds the blob's row, so whoever stores the same bytes now waits for its end, and then stores them again.
            if !dialect::claim_blob(conn, &text, now)? {
                return Ok(false);
            }
            blobs.delete_blocking(&digest)?;
            store::delete_claim(conn, &text)?;
            Ok(true)
        })
        .await
}

/// Removes staged files of no upload: a server ended between the last byte and the removal.
async fn staged(app: &App, before: Timestamp, dry_run: bool, collected: &mut CollectReport) -> Result<()> {
    let blobs = app.blobs.clone();
    let found = tokio::task::spawn_blocking(move || blobs.list_staged()).await.map_err(Error::internal)??;
    let old: Vec<String> = found.into_iter().filter(|(_, modified)| *modified < before.utc()).map(|(name, _)| name).collect();
    let asked = old.clone();
    let known: HashSet<String> = app.db.read(move |conn| Ok(store::known_uploads(conn, &asked)?)).await?.into_iter().collect();
    for name in old.into_iter().filter(|name| !known.contains(name)) {
        collected.staged += 1;
        if !dry_run {
            app.blobs.discard(&name).await?;
        }
    }
    Ok(())
}
