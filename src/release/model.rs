//! The release, its states, and the one function that says which state follows.

use app_package::manifest::AppManifest;
use app_package::text::Text;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::base::db::{Json, Timestamp, schema};
use crate::base::error::{Error, Result};
use crate::registry::model::Visibility;

crate::base::db::types::text_enum! {
    pub enum ReleaseState {
        /// Known, nothing checked.
        Draft = "draft",
        /// The automatic check runs or waits for its turn.
        Checking = "checking",
        /// The check failed.
        Failed = "failed",
        /// The check passed; the vendor may submit.
        Ready = "ready",
        /// With a moderator.
        InReview = "in_review",
        /// A moderator wants something changed.
        ChangesRequested = "changes_requested",
        /// A moderator has refused it for good.
        Rejected = "rejected",
        /// Signed and for sale.
        Published = "published",
        /// Still runs, no longer for new deployments.
        Deprecated = "deprecated",
        /// Called back by the platform: nobody gets it any more. What runs goes on until its operator decides.
        Recalled = "recalled",
    }
}

crate::base::db::types::text_enum! {
    /// Whom a version is for.
    pub enum Channel {
        /// Everybody: it is what a listing shows and what is offered first.
        Stable = "stable",
        /// Those who try what comes next.
        Beta = "beta",
    }
}

impl Channel {
    /// The channel of a version whose vendor asks for one. A pre-release (Semantic Versioning 2.0.0 §9) is never stable.
    pub fn of(version: &semver::Version, wanted: Self) -> Self {
        if version.pre.is_empty() { wanted } else { Self::Beta }
    }
}

/// Longest message of a [`Deprecation`] in one language, in characters.
pub const MAX_DEPRECATION: usize = 500;

/// Why a version is no longer recommended, and what to take instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deprecation {
    /// What the vendor says.
    pub message: Text,
    /// Version of the same app to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

/// Why the platform has recalled a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// As the platform's people gave it; its buyers, its vendor and everybody who reads the listing see it.
    pub reason: String,
    pub at: Timestamp,
}

impl ReleaseState {
    /// States of a release that buyers have seen.
    pub const SHOWN: &'static [Self] = &[Self::Published, Self::Deprecated, Self::Recalled];

    /// Who may see the manifest of a release in this state, and whether it must stay: it stays while it may still be published, and for
    /// ever once it was.
    pub fn visibility(self) -> Visibility {
        match self {
            Self::Draft | Self::Failed | Self::Rejected => Visibility::Private,
            Self::Checking | Self::Ready | Self::InReview | Self::ChangesRequested | Self::Recalled => Visibility::Kept,
            Self::Published | Self::Deprecated => Visibility::Public,
        }
    }
}

/// What happens to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// All its bytes are here.
    Received,
    /// The check is to run again.
    Rechecked,
    CheckPassed,
    CheckFailed,
    /// The vendor asks for review.
    Submitted,
    /// A moderator asks for changes.
    ChangesRequested,
    /// A moderator refuses.
    Rejected,
    /// A moderator approves: the platform signs and lists it.
    Approved,
    /// The vendor steers people to a newer version.
    Deprecated,
    /// The platform calls it back.
    Recalled,
}

impl Event {
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Rechecked,
        Self::CheckPassed,
        Self::CheckFailed,
        Self::Submitted,
        Self::ChangesRequested,
        Self::Rejected,
        Self::Approved,
        Self::Deprecated,
        Self::Recalled,
    ];
}

/// The state after an event.
///
/// # Errors
/// `release-state`: the event is not possible in this state.
pub fn next(state: ReleaseState, event: Event) -> Result<ReleaseState> {
    use Event as E;
    use ReleaseState as S;
    match (state, event) {
        (S::Draft, E::Received) | (S::Failed, E::Rechecked) => Ok(S::Checking),
        (S::Checking, E::CheckPassed) => Ok(S::Ready),
        (S::Checking, E::CheckFailed) => Ok(S::Failed),
        (S::Ready | S::ChangesRequested, E::Submitted) => Ok(S::InReview),
        (S::InReview, E::ChangesRequested) => Ok(S::ChangesRequested),
        (S::InReview, E::Rejected) => Ok(S::Rejected),
        (S::InReview, E::Approved) => Ok(S::Published),
        (S::Published, E::Deprecated) => Ok(S::Deprecated),
        (S::Published | S::Deprecated, E::Recalled) => Ok(S::Recalled),
        _ => Err(Error::conflict("release-state").arg("state", state)),
    }
}

/// Whether some event leads from one state to the other.
pub fn follows(from: ReleaseState, to: ReleaseState) -> bool {
    Event::ALL.into_iter().any(|event| next(from, event).is_ok_and(|state| state == to))
}

/// One version of an app.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::releases)]
pub struct Release {
    /// `rel_…`.
    pub id: String,
    pub app_id: String,
    /// Semantic version; also the tag.
    pub version: String,
    /// Digest of the OCI manifest.
    pub digest: String,
    /// What its app.yaml says.
    pub manifest: Json<AppManifest>,
    /// Bytes of manifest, config and layers.
    pub size_bytes: i64,
    pub state: ReleaseState,
    /// Who uploaded it.
    pub created_by: String,
    /// When it was uploaded.
    pub created_at: Timestamp,
    /// Last change of state.
    pub updated_at: Timestamp,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Whom it is for.
    pub channel: Channel,
    /// The vendor's message and successor, once it is deprecated.
    pub deprecation: Option<Json<Deprecation>>,
    /// The platform's reason, once it is recalled.
    pub recall: Option<Json<Recall>>,
}

/// A release in a list of its developer, without its app.yaml.
#[derive(Debug, Clone, Queryable)]
pub struct ReleaseLine {
    /// `rel_…`.
    pub id: String,
    /// Short names of the developer and of the app.
    pub name: (String, String),
    /// Semantic version.
    pub version: String,
    /// Digest of the OCI manifest.
    pub digest: String,
    pub size_bytes: i64,
    pub state: ReleaseState,
    pub channel: Channel,
    pub created_at: Timestamp,
    /// Last change of state.
    pub updated_at: Timestamp,
    pub published_at: Option<Timestamp>,
    /// The platform's reason, once it is recalled.
    pub recall: Option<Json<Recall>>,
}

/// Address of a release in the vendor console.
pub fn address(app_slug: &str, version: &str) -> String {
    format!("/vendor/apps/{app_slug}/releases/{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_states_is_exactly_this() {
        use Event as E;
        use ReleaseState as S;
        let table = [
            (S::Draft, E::Received, S::Checking),
            (S::Checking, E::CheckPassed, S::Ready),
            (S::Checking, E::CheckFailed, S::Failed),
            (S::Failed, E::Rechecked, S::Checking),
            (S::Ready, E::Submitted, S::InReview),
            (S::ChangesRequested, E::Submitted, S::InReview),
            (S::InReview, E::ChangesRequested, S::ChangesRequested),
            (S::InReview, E::Rejected, S::Rejected),
            (S::InReview, E::Approved, S::Published),
            (S::Published, E::Deprecated, S::Deprecated),
            (S::Published, E::Recalled, S::Recalled),
            (S::Deprecated, E::Recalled, S::Recalled),
        ];
        for state in S::ALL.iter().copied() {
            for event in E::ALL {
                let expected = table.iter().find(|(s, e, _)| *s == state && *e == event).map(|(_, _, to)| *to);
                match next(state, event) {
                    Ok(to) => assert_eq!(Some(to), expected, "{state} {event:?}"),
                    Err(e) => {
                        assert_eq!(e.code, "release-state");
                        assert_eq!(expected, None, "{state} {event:?}");
                    }
                }
            }
        }
        assert!(follows(S::InReview, S::Rejected) && !follows(S::Rejected, S::InReview) && !follows(S::Ready, S::Published));
    }
}
