//! How calls to the server went: when it last answered, and what hinders the node now.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::fault::Fault;

/// File with the time of the last answer of the server, in seconds since 1970.
const FILE: &str = "last-contact";
/// Seconds between two writes of that file, to spare the disk.
const KEEP: i64 = 60;

/// The line to the server.
pub struct Link {
    file: PathBuf,
    clock: Arc<Clock>,
    /// Last answer of the server, also to a former run of the agent, in seconds since 1970; 0 where that is not known.
    last: AtomicI64,
    /// When that was last written to its file; 0 before the first write since the start.
    kept: AtomicI64,
    /// When the server last answered this run of the agent.
    answered: Mutex<Option<Instant>>,
    trouble: Mutex<Option<Fault>>,
    poll_trouble: Mutex<Option<(Instant, Fault)>>,
}

impl Link {
    /// The line of a data folder, with what a former run noted.
    pub fn open(data: &Path, clock: Arc<Clock>) -> Self {
        let file = data.join(FILE);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let last = text.trim().parse::<i64>().ok().filter(|at| *at <= clock.now().timestamp()).unwrap_or(0);
        Self {
            file,
            clock,
            last: AtomicI64::new(last),
            kept: AtomicI64::new(0),
            answered: Mutex::default(),
            trouble: Mutex::default(),
            poll_trouble: Mutex::default(),
        }
    }

    /// Remembers how the last call to the server went.
    pub fn contact<T>(&self, result: &Result<T, Fault>) {
        if result.is_ok() {
            let now = self.clock.now().timestamp();
            *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            self.last.store(now, Ordering::Relaxed);
            // The time of contact is written seldom, to spare the disk. It is shown to people only: losing it does no harm.
            if now - self.kept.load(Ordering::Relaxed) >= KEEP {
                self.kept.store(now, Ordering::Relaxed);
                if let Err(error) = std::fs::write(&self.file, now.to_string()) {
                    tracing::debug!(%error, "the last contact could not be noted");
                }
            }
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = result.as_ref().err().cloned();
    }

    fn answered(&self) -> Option<Instant> {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server has answered since this agent started.
    pub fn met(&self) -> bool {
        self.answered().is_some()
    }

    /// Last contact with the server, also before this agent started.
    pub fn last(&self) -> Option<DateTime<Utc>> {
        let at = self.last.load(Ordering::Relaxed);
        DateTime::from_timestamp(at, 0).filter(|_| at > 0)
    }

    /// What hindered the last call to the server.
    pub fn trouble(&self) -> Option<Fault> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers how the last poll for the desired state ended. Kept apart from [`Self::contact`]: reports may get through
    /// while the node takes no state.
    pub fn polled<T>(&self, result: &Result<T, Fault>) {
        let mut trouble = self.poll_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = result.as_ref().err().map(|fault| {
            let since = trouble.as_ref().filter(|(_, before)| before.code == fault.code).map_or_else(Instant::now, |(since, _)| *since);
            (since, fault.clone())
        });
    }

    /// Why the node takes no desired state; `None` when the last poll went well. A line that is down for everything is not
    /// told here: the platform sees that by itself, and the status page has [`Self::trouble`].
    pub fn poll_trouble(&self) -> Option<Fault> {
        let (since, fault) = self.poll_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let reached = self.answered().is_some_and(|at| at > since);
        (fault.code != "server-unreachable" || reached).then_some(fault)
    }
}
