//! The record and its hash.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::db::Timestamp;

/// The `previous_hash` of the first record.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, diesel::Queryable, diesel::Insertable, diesel::Selectable)]
#[diesel(table_name = crate::db::schema::audit_records)]
pub struct Record {
    /// 1, 2, 3, … without gaps.
    pub sequence: i64,
    /// When.
    pub at: Timestamp,
    /// `user:usr_…`, `node:nod_…` or `system`.
    pub actor: String,
    /// Organisation acted for.
    pub organization_id: Option<String>,
    /// What was decided, for example `release.approved`.
    pub action: String,
    /// On what: an id, for example `rel_…`.
    pub subject: String,
    /// JSON object with what matters for a reader.
    pub detail: String,
    /// Hash of the record before.
    pub previous_hash: String,
    /// SHA-256 in hex over [`Record::hashed`].
    pub hash: String,
}

impl Record {
    /// The text that is hashed: the fields but the hash, one a line (none of them can hold a line break but `detail`, which is last).
    fn hashed(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.previous_hash,
            self.sequence,
            self.at.rfc3339(),
            self.actor,
            self.organization_id.as_deref().unwrap_or("-"),
            self.action,
            self.subject,
            self.detail
        )
    }

    /// What `hash` must be.
    pub fn expected_hash(&self) -> String {
        hex::encode(Sha256::digest(self.hashed().as_bytes()))
    }
}

/// What the chain's check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum ChainVerdict {
    /// All records fit.
    Intact {
        /// How many.
        records: i64,
    },
    /// The first record that does not fit.
    Broken {
        /// Its sequence number (or the number that is missing).
        sequence: i64,
        /// `gap`, `previous-hash` or `hash`.
        fault: &'static str,
    },
}

/// Checks one record against the one before; gives the fault.
pub fn fault(previous: Option<(&str, i64)>, record: &Record) -> Option<(i64, &'static str)> {
    let (hash, sequence) = previous.unwrap_or((GENESIS, 0));
    if record.sequence != sequence + 1 {
        Some((sequence + 1, "gap"))
    } else if record.previous_hash != hash {
        Some((record.sequence, "previous-hash"))
    } else if record.hash != record.expected_hash() {
        Some((record.sequence, "hash"))
    } else {
        None
    }
}
