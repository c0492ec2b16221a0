//! What is open now, counted by who opened it: connections and requests of an address, event streams of an account, long polls of a node, and
//! what each of them has in a queue that all share.
//! Whoever has as many as they may is told to come again; so one of them cannot use up what all share.
//!
//! An entry goes with the last of what it counts, so there are never more of them than of open things. In this process only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;

use super::error::{Error, Result};

/// When to come again: by then what others let go of may be free.
const TRY_AGAIN: TimeDelta = TimeDelta::seconds(10);

/// Who asks, by what a request shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// A node, by the hash of its certificate, which the handshake has proved.
    Certificate([u8; 32]),
    /// A session or an API token, by its hash; it may be none.
    Secret([u8; 32]),
    /// A network.
    Network(String),
}

/// Whose things, and which of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Connections from a network.
    Connections(String),
    /// Connections with a node's certificate, by its hash.
    CertificateConnections([u8; 32]),
    /// Requests from a network.
    Requests(String),
    /// Requests with a node's certificate, by its hash.
    Certificate([u8; 32]),
    /// Event streams of a person.
    Streams(String),
    /// Long polls of a node.
    Polls(String),
    /// Large requests of reports of a node.
    Reports(String),
    /// Those of all nodes of an operator.
    OperatorReports(String),
    /// Requests of a class that have a turn or wait ([`super::load`]).
    Turns(Who),
    /// Large manifests that come from an organisation.
    Manifests(String),
    /// Alarm rules that are compiled for an organisation.
    Rules(String),
    /// Attached documents that are read for an organisation.
    Documents(String),
    /// Answers about dropped models that are followed for an organisation.
    Drafts(String),
}

type Counts = Arc<Mutex<HashMap<Whose, usize>>>;

/// The counts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Open(Counts);

/// One thing that is open; it is counted until this is dropped.
#[derive(Debug)]
pub struct Entry {
    counts: Counts,
    whose: Whose,
}

/// There are as many as there may be.
pub fn too_many() -> Error {
    Error::rate_limited("too-many-connections").retry_after(TRY_AGAIN)
}

impl Open {
    /// Counts one more, whatever there is; gives how many there are with it.
    pub fn count(&self, whose: Whose) -> (Entry, usize) {
        let entry = Entry { counts: self.0.clone(), whose };
        let Ok(mut counts) = self.0.lock() else { return (entry, 0) };
        let open = counts.entry(entry.whose.clone()).or_default();
        *open += 1;
        let open = *open;
        drop(counts);
        (entry, open)
    }

    /// Counts one more, of at most so many.
    ///
    /// # Errors
    /// `too-many-connections`.
    pub fn enter(&self, whose: Whose, most: usize) -> Result<Entry> {
        // Who is refused has been counted for this moment only: the entry is dropped.
        let (entry, open) = self.count(whose);
        if open > most { Err(too_many()) } else { Ok(entry) }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Ok(mut counts) = self.counts.lock() else { return };
        let Some(open) = counts.get_mut(&self.whose) else { return };
        *open = open.saturating_sub(1);
        if *open == 0 {
            counts.remove(&self.whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Kind;

    #[test]
    fn each_has_a_bound_of_their_own_and_nothing_stays_of_who_left() {
        let open = Open::default();
        let (mine, other) = (|| Whose::Streams("usr_1".into()), || Whose::Polls("usr_1".into()));
        let held: Vec<Entry> = (0..3).map(|_| open.enter(mine(), 3).unwrap()).collect();
        let refused = open.enter(mine(), 3).unwrap_err();
        assert_eq!((refused.kind, refused.code, refused.retry_after), (Kind::RateLimited, "too-many-connections", Some(10)));
        let beside = open.enter(other(), 3).unwrap();
        assert_eq!(open.0.lock().unwrap().len(), 2);
        drop(held);
        drop(open.enter(mine(), 3).unwrap());
        drop(beside);
        assert!(open.0.lock().unwrap().is_empty());
    }
}
