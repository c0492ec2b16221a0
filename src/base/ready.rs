//! Whether this process can do its work: the database takes a write. Asked as often as anybody likes, proved at most once a second.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::db::Db;
use super::error::{Error, Result};

/// How long an outcome holds.
const HOLDS: Duration = Duration::from_secs(1);
/// A write that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last outcome: none where the write went well, else the code of what was wrong.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<(Instant, Option<&'static str>)>>);

impl Readiness {
    /// Proves a write, or says how the last one went.
    ///
    /// # Errors
    /// `disk-full`, `database-busy`, `internal`: what hinders a write.
    pub async fn prove(&self, db: &Db) -> Result<()> {
        let mut known = self.0.lock().await;
        let fault = match *known {
            Some((at, fault)) if at.elapsed() < HOLDS => fault,
            _ => {
                let written = tokio::time::timeout(PATIENCE, db.prove()).await;
                let outcome = written.unwrap_or_else(|_| Err(Error::unavailable("database-busy")));
                if let Err(e) = &outcome {
                    tracing::error!(error = %e, "the database takes no write");
                }
                let fault = outcome.err().map(|e| e.code);
                *known = Some((Instant::now(), fault));
                fault
            }
        };
        fault.map_or(Ok(()), |code| Err(Error::unavailable(code)))
    }
}
