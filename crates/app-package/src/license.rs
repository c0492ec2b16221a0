//! Licences: the signed claims (JWT, `EdDSA`), and the verdict about a use of an app.
//!
//! `verify` decides who signed; `evaluate` decides whether the terms cover a use now. Both are pure; the clock is passed in.
//! Safety-class apps never stop: for them only new deployments and updates can be refused.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

mod token;

pub use token::{LicenseError, sign, verify};

/// Clock difference between platform and node that is overlooked at the beginning of a licence, in seconds.
pub const CLOCK_SKEW_SECONDS: i64 = 300;

/// Claims of a licence, as the platform signs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Issuer: the platform.
    pub iss: String,
    /// Organisation id of the operator.
    pub sub: String,
    /// Licence id.
    pub jti: String,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Valid from, Unix seconds.
    pub nbf: i64,
    /// First second at which the licence is no longer valid, Unix seconds; absent when perpetual. See [`end_of_local_day`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// `vendor/app`.
    pub app: String,
    /// Semver requirement, for example `^1` or `*`.
    pub versions: String,
    /// Plan slug.
    pub plan: String,
    /// SPIFFE ids of the nodes that this copy is bound to.
    pub nodes: Vec<String>,
    /// Most nodes at one time.
    pub node_limit: u32,
    /// Days after `exp` in which running goes on with a warning.
    pub grace_days: u32,
    /// What happens when the terms are not met.
    pub enforcement: Enforcement,
    /// The app is of safety class.
    pub safety: bool,
    /// Release digests; empty for any release of the versions.
    #[serde(default)]
    pub digests: Vec<String>,
}

/// What happens when the terms are not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// Running goes on with a warning where only time or count is exceeded.
    Advisory,
    /// Running stops.
    Block,
}

impl Enforcement {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Advisory => "advisory",
            Self::Block => "block",
        }
    }
}

/// Whether the owner of the terms keeps them in force, suspends or revokes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// In force.
    #[default]
    Active,
    /// Held back for a time.
    Suspended,
    /// Taken back for good.
    Revoked,
}

/// Terms that a use is judged by: the claims of a token, or the platform's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// In force, suspended or revoked.
    pub standing: Standing,
    /// `vendor/app`.
    pub app: String,
    /// Versions covered.
    pub versions: semver::VersionReq,
    /// Digests covered; empty for any.
    pub digests: Vec<Digest>,
    /// Valid from.
    pub not_before: DateTime<Utc>,
    /// First instant at which the licence is no longer valid; `None` when perpetual.
    pub expires: Option<DateTime<Utc>>,
    /// Days of grace.
    pub grace_days: u32,
    /// SPIFFE ids of activated nodes.
    pub nodes: Vec<String>,
    /// Most nodes at one time.
    pub node_limit: u32,
}

impl Claims {
    /// The terms of a copy in force. Errors where a claim does not have its shape.
    pub fn terms(&self) -> Result<Terms, LicenseError> {
        let instant = |seconds: i64| DateTime::from_timestamp(seconds, 0).ok_or(LicenseError::Shape);
        let digests = self.digests.iter().map(|d| Digest::parse(d).map_err(|_| LicenseError::Shape)).collect::<Result<_, _>>()?;
        Ok(Terms {
            standing: Standing::Active,
            app: self.app.clone(),
            versions: semver::VersionReq::parse(&self.versions).map_err(|_| LicenseError::Shape)?,
            digests,
            not_before: instant(self.nbf)?,
            expires: self.exp.map(instant).transpose()?,
            grace_days: self.grace_days,
            nodes: self.nodes.clone(),
            node_limit: self.node_limit,
        })
    }
}

/// What a licence is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Put the app on a node where it is not.
    Deploy,
    /// Replace the app by another version.
    Update,
    /// Go on running what is installed.
    Run,
}

/// A use to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Time of the use.
    pub now: DateTime<Utc>,
    /// SPIFFE id of the node; `None` where no node is chosen yet.
    pub node: Option<&'a str>,
    /// `vendor/app`.
    pub app: &'a str,
    /// Version.
    pub version: &'a semver::Version,
    /// Digest of the release.
    pub digest: &'a Digest,
    /// Purpose of the use.
    pub purpose: Purpose,
    /// Nodes activated now, `node` included where it is one of them.
    pub active_nodes: u32,
}

/// What the terms say about a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The use is covered.
    Valid {
        /// First instant at which the licence is no longer valid; `None` when perpetual.
        until: Option<DateTime<Utc>>,
    },
    /// The licence begins later.
    NotYetValid,
    /// The licence is over.
    Expired {
        /// Until then running goes on; `None` when there was no grace or it has ended.
        grace_until: Option<DateTime<Utc>>,
    },
    /// The platform holds the licence back.
    Suspended,
    /// The licence is taken back for good.
    Revoked,
    /// One more node would be too many.
    TooManyNodes {
        /// The limit.
        limit: u32,
    },
    /// The licence is not activated for this node.
    NodeNotActivated,
    /// The licence covers other versions or digests.
    VersionNotCovered,
    /// A licence for another app.
    ScopeMismatch,
}

impl Verdict {
    /// Stable kebab-case word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Valid { .. } => "valid",
            Self::NotYetValid => "not-yet-valid",
            Self::Expired { .. } => "expired",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::TooManyNodes { .. } => "too-many-nodes",
            Self::NodeNotActivated => "node-not-activated",
            Self::VersionNotCovered => "version-not-covered",
            Self::ScopeMismatch => "scope-mismatch",
        }
    }

    /// Whether the use may happen.
    ///
    /// Deploy and Update need a valid licence. Run goes on: always for safety class (an app that guards people is never
    /// stopped by paperwork); in the grace period; and under advisory enforcement where only time, count or a suspension stands
    /// against it, not where the licence is revoked or for something else.
    pub fn allows(self, purpose: Purpose, safety: bool, enforcement: Enforcement) -> bool {
        if matches!(self, Self::Valid { .. }) {
            return true;
        }
        if purpose != Purpose::Run {
            return false;
        }
        let advisory = enforcement == Enforcement::Advisory;
        safety
            || match self {
                Self::Expired { grace_until: Some(_) } | Self::Valid { .. } => true,
                Self::Expired { grace_until: None } | Self::NotYetValid | Self::Suspended | Self::TooManyNodes { .. } => advisory,
                Self::Revoked | Self::NodeNotActivated | Self::VersionNotCovered | Self::ScopeMismatch => false,
            }
    }
}

/// Judges a use. The first guard that fails is the verdict; what nobody can mend comes first.
pub fn evaluate(terms: &Terms, context: &Context<'_>) -> Verdict {
    if terms.app != context.app {
        return Verdict::ScopeMismatch;
    }
    match terms.standing {
        Standing::Revoked => return Verdict::Revoked,
        Standing::Suspended => return Verdict::Suspended,
        Standing::Active => {}
    }
    let digest_covered = terms.digests.is_empty() || terms.digests.contains(context.digest);
    if !covers(&terms.versions, context.version) || !digest_covered {
        return Verdict::VersionNotCovered;
    }
    let activated = context.node.is_some_and(|node| terms.nodes.iter().any(|known| known == node));
    // A node that is already activated is pushed out only from new deployments when the limit was lowered below what runs.
    let full = if activated { context.active_nodes > terms.node_limit } else { context.active_nodes >= terms.node_limit };
    if full && (!activated || context.purpose == Purpose::Deploy) {
        return Verdict::TooManyNodes { limit: terms.node_limit };
    }
    if !activated && context.node.is_some() {
        return Verdict::NodeNotActivated;
    }
    // Times are compared by their difference, so that adding the clock skew cannot overflow.
    if terms.not_before.signed_duration_since(context.now) > TimeDelta::seconds(CLOCK_SKEW_SECONDS) {
        return Verdict::NotYetValid;
    }
    match terms.expires {
        Some(expires) if context.now >= expires => {
            let end = expires.checked_add_days(Days::new(terms.grace_days.into())).unwrap_or(DateTime::<Utc>::MAX_UTC);
            Verdict::Expired { grace_until: Some(end).filter(|end| context.now < *end) }
        }
        until => Verdict::Valid { until },
    }
}

/// Whether a requirement covers a version. `*` covers pre-releases too; otherwise semver's rule, which takes a pre-release only
/// where the requirement names one of the same version.
fn covers(versions: &semver::VersionReq, version: &semver::Version) -> bool {
    *versions == semver::VersionReq::STAR || versions.matches(version)
}

/// The instant at which a licence ends that is valid through a date: midnight after that date, where the mine is.
pub fn end_of_local_day(date: NaiveDate, offset: FixedOffset) -> DateTime<Utc> {
    date.succ_opt()
        .and_then(|next| next.and_time(NaiveTime::MIN).and_local_timezone(offset).single())
        .map_or(DateTime::<Utc>::MAX_UTC, |local| local.with_timezone(&Utc))
}

#[cfg(test)]
mod tests;
