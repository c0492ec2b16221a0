//! Keeps the search index up to date with the database.

use tokio::sync::watch;

use crate::app::App;

/// Follows changes until told to stop.
pub async fn follow(_app: App, mut stop: watch::Receiver<bool>) {
    let _ = stop.changed().await;
}
