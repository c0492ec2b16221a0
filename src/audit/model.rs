//! The record and its hash.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::base::auth::{Actor, OrgKind};
use crate::base::db::{Timestamp, Touched};
use crate::base::i18n::begin_of_day;

/// The `previous_hash` of the first record.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The one chain of all records that were written before there was a chain for each organisation. Nothing is added to it.
pub const OLD_CHAIN: &str = "0";

/// Chain of the platform's own organisations and of what the platform does by itself.
pub const PLATFORM_CHAIN: &str = "platform";

/// Chain of what was refused: wrong passwords, requests without the right. It says nothing about what the platform decided, and is kept
/// for a shorter time.
pub const ACCESS_CHAIN: &str = "access";

/// The chain of an actor: of the organisation that a person acts for, of the node, or of the platform.
pub fn chain_of(actor: &Actor) -> String {
    match actor {
        Actor::Person(person, _) if person.kind != OrgKind::Platform => person.organization_id.clone(),
        Actor::Node { node_id, .. } => format!("node:{node_id}"),
        Actor::Person(..) | Actor::System | Actor::Anonymous => PLATFORM_CHAIN.to_owned(),
    }
}

/// What a change touches. Who acts changes what is theirs: their organisation's, or what belongs to them in others, such as their sessions;
/// only the platform changes what is somebody else's. What it does for an organisation is recorded in that one's chain, with the subject.
pub fn touched(actor: &Actor, records: &[DraftRecord]) -> Touched {
    let mut names = BTreeSet::new();
    match actor {
        Actor::System if records.is_empty() => return Touched::Everything,
        Actor::Person(person, _) if person.kind == OrgKind::Platform => return Touched::Everything,
        Actor::Person(..) | Actor::Node { .. } => names.extend([chain_of(actor), actor.label()]),
        // Nobody has anything of their own.
        Actor::System | Actor::Anonymous => {}
    }
    for record in records {
        match record.chain.as_str() {
            PLATFORM_CHAIN => return Touched::Everything,
            ACCESS_CHAIN => {}
            chain => names.extend([chain.to_owned(), record.subject.clone()]),
        }
    }
    Touched::Only(names)
}

/// A recorded decision.
#[derive(Debug, Clone, PartialEq, Serialize, diesel::Queryable, diesel::Insertable, diesel::Selectable)]
#[diesel(table_name = crate::base::db::schema::audit_records)]
pub struct Record {
    /// `0` (the old one), an organisation's id, `platform`, `access` or `node:nod_…`.
    pub chain: String,
    /// 1, 2, 3, … in the chain, without gaps.
    pub sequence: i64,
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
    /// The text that is hashed: the fields but the hash, one a line (none of them can hold a line break but `detail`, which is last). The
    /// records of the old chain name no chain.
    fn hashed(&self) -> String {
        let chain = if self.chain == OLD_CHAIN { String::new() } else { format!("{}\n", self.chain) };
        format!(
            "{chain}{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}",
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

    /// The `hash` that follows from the other fields.
    pub fn expected_hash(&self) -> String {
        hex::encode(Sha256::digest(self.hashed().as_bytes()))
    }
}

/// A record that has no place in its chain yet.
#[derive(Debug, Clone)]
pub struct DraftRecord {
    pub(super) chain: String,
    actor: String,
    organization_id: Option<String>,
    action: String,
    subject: String,
    detail: String,
}

impl DraftRecord {
    /// Draft for an actor's decision.
    pub fn of(chain: String, actor: &Actor, action: &str, subject: &str, detail: &serde_json::Value) -> Self {
        Self {
            chain,
            actor: actor.label(),
            organization_id: actor.organization_id().map(ToOwned::to_owned),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: detail.to_string(),
        }
    }

    /// The record that follows the last of its chain.
    pub fn following(self, (last, previous_hash): (i64, String), at: Timestamp) -> Record {
        let mut record = Record {
            chain: self.chain,
            sequence: last + 1,
            at,
            actor: self.actor,
            organization_id: self.organization_id,
            action: self.action,
            subject: self.subject,
            detail: self.detail,
            previous_hash,
            hash: String::new(),
        };
        record.hash = record.expected_hash();
        record
    }
}

/// Where a page of the log begins: behind the record of this time, chain and number. As text `micros.chain.sequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition {
    pub at: Timestamp,
    pub chain: String,
    /// Number in the chain.
    pub sequence: i64,
}

impl LogPosition {
    /// Position of a record.
    pub fn of(record: &Record) -> Self {
        Self { at: record.at, chain: record.chain.clone(), sequence: record.sequence }
    }

    /// Reads a position's text; `None` where it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let (micros, rest) = text.split_once('.')?;
        let (chain, sequence) = rest.rsplit_once('.')?;
        let at = Timestamp::new(DateTime::from_timestamp_micros(micros.parse().ok()?)?);
        Some(Self { at, chain: chain.to_owned(), sequence: sequence.parse().ok()? })
    }
}

impl std::fmt::Display for LogPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.at.utc().timestamp_micros(), self.chain, self.sequence)
    }
}

/// Actions that the log's filter offers; the text of each is `audit-action-…`. An action that is missing here is shown by its code.
pub const ACTIONS: &[&str] = &[
    "organization.created",
    "person.signed-in",
    "password.changed",
    "password.reset-asked",
    "password.reset-issued",
    "password.reset",
    "address.changed",
    "address.proved",
    "address.confirmed",
    "person.signed-out",
    "session.ended",
    "sign-in.failed",
    "access.refused",
    "access.left-out",
    "audit.pruned",
    "member.added",
    "member.invited",
    "invitation.accepted",
    "invitation.revoked",
    "member.removed",
    "token.created",
    "token.revoked",
    "organization.suspended",
    "organization.resumed",
    "person.disabled",
    "person.enabled",
    "person.sessions-ended",
    "person.session-ended",
    "vendor-key.added",
    "vendor-key.revoked",
    "repository.created",
    "manifest.pushed",
    "manifest.deleted",
    "tag.deleted",
    "app.created",
    "release.received",
    "release.checked",
    "release.rechecked",
    "release.measuring",
    "release.measured",
    "release.submitted",
    "release.published",
    "release.promoted",
    "release.deprecated",
    "release.recalled",
    "release.signed-again",
    "root.taken",
    "case.opened",
    "case.approved",
    "case.changes-requested",
    "case.rejected",
    "evaluation.set-created",
    "evaluation.set-retired",
    "evaluation.scored",
    "plan.added",
    "plan.retired",
    "scenario.followed",
    "scenario.unfollowed",
    "listing.shown",
    "listing.hidden",
    "listing.suspended",
    "listing.resumed",
    "order.placed",
    "order.paid",
    "order.delivered",
    "order.cancelled",
    "payment.confirmed",
    "license.issued",
    "license.activated",
    "license.deactivated",
    "license.suspended",
    "license.reinstated",
    "license.revoked",
    "site.created",
    "node.created",
    "node.code-issued",
    "node.enrolled",
    "node.certificate-renewed",
    "node.removed",
    "webhook.created",
    "webhook.secret-renewed",
    "webhook.removed",
    "webhook.switched-on",
    "webhook.switched-off",
    "webhook.tested",
    "webhook.sent-again",
    "deployment.requested",
    "deployment.removal-requested",
    "quota.set",
    "blob.deleted",
    "garbage.collected",
    "alarm.acknowledged",
    "alarm.judged",
    "alarm.shelved",
    "alarm.unshelved",
    "alarm.taken-out",
    "alarm.put-back",
    "alarm.picture-asked",
    "alarm.pictures-chosen",
];

/// What a reader looks for; empty parts let everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// An id, an order's number or reference, a person's address or name, an organisation's slug or name.
    #[serde(alias = "subject")]
    pub q: String,
    pub action: String,
    /// First local day, `2026-11-27`.
    pub from: String,
    /// Last local day.
    pub to: String,
}

impl Filter {
    /// Trims the fields and bounds their lengths.
    #[must_use]
    pub fn tidy(self) -> Self {
        let tidy = |text: String, max: usize| text.trim().chars().take(max).collect();
        Self { q: tidy(self.q, 80), action: tidy(self.action, 60), from: tidy(self.from, 10), to: tidy(self.to, 10) }
    }

    /// Begin of the first day and end of the last. A text that is no date does not narrow.
    pub fn span(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        (begin_of_day(&self.from, 0), begin_of_day(&self.to, 1))
    }

    /// Whether anything narrows.
    pub fn narrows(&self) -> bool {
        *self != Self::default()
    }
}

/// Name of what an id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName {
    pub zh: String,
    pub en: String,
    /// Its page, where it has one.
    pub href: Option<String>,
}

/// A head as a seal holds it.
#[derive(Debug, Clone, PartialEq, Eq, diesel::Queryable, diesel::Insertable, diesel::Selectable)]
#[diesel(table_name = crate::base::db::schema::audit_seal_leaves)]
pub struct Leaf {
    pub chain: String,
    /// Number of its newest record at that time.
    pub sequence: i64,
    /// Hash of that record.
    pub hash: String,
    /// Number of the seal.
    pub number: i64,
}

/// What the check of all chains and seals found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum ChainVerdict {
    /// All records fit.
    Intact {
        /// How many records.
        records: i64,
        /// In how many chains.
        chains: i64,
        /// Number of the newest seal; 0 where nothing is sealed yet.
        seals: i64,
        /// How many seals a key of the log has signed. The others are from before seals were signed, or by keys that are trusted no more;
        /// one that is signed covers them.
        signed: i64,
        /// Whether a seal is noted outside the database; without that nothing tells whether the newest ones are missing.
        noted: bool,
    },
    /// The first record that does not fit.
    Broken {
        /// Its chain; empty where it is a seal that does not fit.
        chain: String,
        /// Its sequence number (or the number that is missing), or the number of the seal; 0 for the note.
        sequence: i64,
        /// Of a record: `gap`, `previous-hash`, `hash`; `base` where no seal holds the newest record that was removed, or one that is too young; `head` or `sealed`
        /// where the newest records are not those that the chain's head or a seal names. Of a seal: one of [`SEAL_FAULTS`].
        fault: &'static str,
    },
}

/// What can be wrong with a seal: it does not fit its leaves or the seal before; its signature does not fit; it has none, and one before it
/// has; its key is none of the log's; the one that is noted outside the database is not there; the note cannot be read.
pub const SEAL_FAULTS: [&str; 6] = ["seal", "signature", "unsigned", "key", "noted", "note"];

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

/// Ids that a search text stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSearch {
    /// Subjects of records.
    pub subjects: Vec<String>,
    /// Actors of records.
    pub actors: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::i18n::Lang;

    #[test]
    fn every_action_has_words() {
        for action in ACTIONS {
            let key = format!("audit-action-{}", action.replace('.', "-"));
            assert!(Lang::ALL.iter().all(|lang| lang.has(&key)), "{key}");
        }
    }

    #[test]
    fn every_fault_of_a_seal_has_words() {
        for fault in SEAL_FAULTS {
            assert!(Lang::ALL.iter().all(|lang| lang.has(&format!("audit-seal-{fault}"))), "{fault}");
        }
    }

    #[test]
    fn who_changes_what_is_somebody_elses_touches_everything() {
        let node = Actor::Node { node_id: "nod_1".into(), organization_id: "org_mine".into() };
        let record = |chain: &str| DraftRecord::of(chain.to_owned(), &Actor::System, "person.signed-in", "usr_1", &serde_json::json!({}));
        let only = |names: &[&str]| Touched::Only(names.iter().map(|&name| name.to_owned()).collect());
        let cases = [
            (&node, vec![], only(&["node:nod_1"])),
            (&node, vec![record("org_mine")], only(&["node:nod_1", "org_mine", "usr_1"])),
            (&node, vec![record(PLATFORM_CHAIN)], Touched::Everything),
            (&Actor::System, vec![], Touched::Everything),
            (&Actor::System, vec![record("org_a"), record("org_b")], only(&["org_a", "org_b", "usr_1"])),
            (&Actor::System, vec![record("org_a"), record(PLATFORM_CHAIN)], Touched::Everything),
            (&Actor::System, vec![record(ACCESS_CHAIN)], only(&[])),
            (&Actor::Anonymous, vec![], only(&[])),
        ];
        for (actor, records, expected) in cases {
            assert_eq!(touched(actor, &records), expected, "{actor:?} {records:?}");
        }
    }

    #[test]
    fn days_are_those_of_the_platform() {
        let filter = Filter { from: "2026-11-27".into(), to: "2026-11-27".into(), ..Filter::default() };
        let (from, to) = filter.span();
        assert_eq!(from.unwrap().rfc3339(), "2026-11-26T16:00:00.000000Z");
        assert_eq!(to.unwrap().rfc3339(), "2026-11-27T16:00:00.000000Z");
        assert_eq!(Filter { from: "yesterday".into(), ..Filter::default() }.span(), (None, None));
    }
}
