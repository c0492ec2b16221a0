//! Keeps the search index and the page cache up to date with the database: looks every second whether something has changed, here or
//! on another replica, and at once when woken by a change of our own.

use std::time::Duration;

use tokio::sync::watch;

use super::store;
use crate::base::app::App;
use crate::base::error::{Error, Result};

/// Follows changes until told to stop.
pub async fn follow(app: App, mut stop: watch::Receiver<bool>) {
    let mut known = None;
    loop {
        match refresh(&app, known.as_ref()).await {
            Ok(mark) => known = Some(mark),
            Err(e) => tracing::error!(error = %e, "search index"),
        }
        tokio::select! {
            () = app.wake_search.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Rebuilds where the mark of the database differs from `known`; gives the mark.
pub async fn refresh(app: &App, known: Option<&super::model::Mark>) -> Result<super::model::Mark> {
    let mark = app.db.read(|conn| Ok(store::mark(conn)?)).await?;
    if known == Some(&mark) {
        return Ok(mark);
    }
    let entries = app.db.read(|conn| Ok(store::search_entries(conn)?)).await?;
    let inner = app.clone();
    tokio::task::spawn_blocking(move || inner.search.rebuild(&entries)).await.map_err(Error::internal)??;
    app.pages.clear();
    Ok(mark)
}
