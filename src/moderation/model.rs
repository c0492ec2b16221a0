//! The case, and the decisions that a moderator can take on it.

use diesel::prelude::*;

use crate::base::db::{Json, Timestamp, schema};
use crate::base::error::{Faults, Result};
use crate::catalog::model::SlugName;
use crate::release::difference::Flag;

/// Shortest reason, in characters, of a decision that the vendor must act on.
pub const MIN_REASON: usize = 10;
/// Longest reason in characters.
pub const MAX_REASON: usize = 2000;

crate::base::db::types::text_enum! {
    pub enum CaseState {
        /// Waits for a moderator.
        Open = "open",
        /// The release may be sold.
        Approved = "approved",
        /// The vendor must change something.
        ChangesRequested = "changes_requested",
        /// The release is refused for good.
        Rejected = "rejected",
    }
}

crate::base::db::types::text_enum! {
    /// What a moderator decides.
    pub enum ModerationDecision {
        Approve = "approve",
        /// Sends the release back to its vendor.
        RequestChanges = "request-changes",
        Reject = "reject",
    }
}

impl ModerationDecision {
    /// The state of a case after this decision.
    pub fn outcome(self) -> CaseState {
        match self {
            Self::Approve => CaseState::Approved,
            Self::RequestChanges => CaseState::ChangesRequested,
            Self::Reject => CaseState::Rejected,
        }
    }

    /// Action in the audit log.
    pub fn action(self) -> &'static str {
        match self {
            Self::Approve => "case.approved",
            Self::RequestChanges => "case.changes-requested",
            Self::Reject => "case.rejected",
        }
    }

    /// The reason, trimmed. An approval needs none; a vendor who must act reads one of at least [`MIN_REASON`] characters.
    pub fn reason(self, text: &str) -> Result<String> {
        let mut faults = Faults::default();
        let least = if self == Self::Approve { 0 } else { MIN_REASON };
        let text = faults.text("reason", text, least, MAX_REASON);
        faults.check()?;
        Ok(text)
    }
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::cases)]
pub struct Case {
    /// `cas_…`.
    pub id: String,
    /// The release to be decided on.
    pub release_id: String,
    pub app_id: String,
    pub organization_id: String,
    pub state: CaseState,
    /// Why the moderator decided so; empty while the case is open.
    pub reason: String,
    /// Who submitted the release.
    pub opened_by: String,
    pub opened_at: Timestamp,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    /// Why a moderator should look twice.
    pub flags: Json<Vec<Flag>>,
}

/// The decision on a release, for its vendor.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct CaseDecision {
    /// Outcome; never [`CaseState::Open`].
    pub state: CaseState,
    pub reason: String,
    pub decided_at: Option<Timestamp>,
}

/// A case in a list.
#[derive(Debug, Clone, Queryable)]
pub struct CaseLine {
    pub case: Case,
    /// Version of its release.
    pub version: String,
    pub app: SlugName,
    pub vendor: SlugName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_needs_a_reason_and_an_approval_does_not() {
        assert_eq!(ModerationDecision::Approve.reason("  ").unwrap(), "");
        for decision in [ModerationDecision::RequestChanges, ModerationDecision::Reject] {
            assert_eq!(decision.reason("  ").unwrap_err().fields[0].code, "required");
            assert_eq!(decision.reason("太短").unwrap_err().fields[0].code, "too-short");
            assert_eq!(decision.reason(&"长".repeat(2001)).unwrap_err().fields[0].code, "too-long");
            assert_eq!(decision.reason("  金标样本太少,请补充到二十个  ").unwrap(), "金标样本太少,请补充到二十个");
        }
        assert_eq!(ModerationDecision::Approve.reason("bell\u{7}").unwrap_err().fields[0].code, "control-characters");
    }
}
