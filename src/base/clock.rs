//! The clock: the machine's, or one that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

use crate::base::db::Timestamp;

#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Microseconds since 1970, moved by a test.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at a time.
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.utc().timestamp_micros())))
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::new(Utc::now()),
            Self::Manual(at) => Timestamp::new(DateTime::from_timestamp_micros(at.load(Ordering::SeqCst)).unwrap_or_default()),
        }
    }

    /// Moves a manual clock; does nothing to the real one.
    pub fn advance(&self, by: TimeDelta) {
        if let (Self::Manual(at), Some(by)) = (self, by.num_microseconds()) {
            at.fetch_add(by, Ordering::SeqCst);
        }
    }
}
