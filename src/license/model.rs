//! Rows, and the pure decisions: how long a licence lasts, which versions it covers, what it allows now.

use app_package::digest::Digest;
use app_package::license::{self as terms, Claims, Context, Purpose, Standing, Terms, Verdict, end_of_local_day};
use chrono::{FixedOffset, Months, TimeDelta};
use diesel::prelude::*;

use crate::base::config;
use crate::base::db::{Timestamp, schema};
use crate::base::error::{Error, Result};
use crate::catalog::model::PlanKind;

crate::base::db::types::text_enum! {
    /// What the platform has done to a licence.
    pub enum LicenseState {
        /// In force.
        Active = "active",
        /// Suspended until an administrator reinstates it.
        Suspended = "suspended",
        /// Revoked for good.
        Revoked = "revoked",
    }
}

crate::base::db::types::text_enum! {
    /// What happens on a node when the terms are not met.
    pub enum Enforcement {
        /// The app runs on, and the node warns.
        Advisory = "advisory",
        /// The node stops the app.
        Block = "block",
    }
}

impl From<Enforcement> for terms::Enforcement {
    fn from(value: Enforcement) -> Self {
        match value {
            Enforcement::Advisory => Self::Advisory,
            Enforcement::Block => Self::Block,
        }
    }
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::licenses)]
pub struct License {
    /// `lic_…`.
    pub id: String,
    /// The paid order.
    pub order_id: String,
    pub organization_id: String,
    /// The vendor that sold the licence.
    pub vendor_id: String,
    pub app_id: String,
    /// What was bought.
    pub plan_kind: PlanKind,
    /// Semver requirement.
    pub versions: String,
    /// Seats owned.
    pub node_limit: i64,
    /// Seats used.
    pub nodes_active: i64,
    /// Valid from.
    pub starts_at: Timestamp,
    /// First moment at which the licence is no longer valid; none when perpetual.
    pub ends_at: Option<Timestamp>,
    /// Days after the end in which the app goes on running.
    pub grace_days: i64,
    /// What a node does when the terms are not met.
    pub enforcement: Enforcement,
    /// The app guards people, so it never stops.
    pub safety: bool,
    pub state: LicenseState,
    pub created_at: Timestamp,
    /// Last decision on the licence. Activations do not count.
    pub updated_at: Timestamp,
}

/// A seat: a licence bound to a node.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::activations)]
pub struct Activation {
    /// `act_…`.
    pub id: String,
    pub license_id: String,
    pub node_id: String,
    pub activated_by: String,
    pub activated_at: Timestamp,
}

/// What [`super::service::issue_in`] needs of a paid order.
#[derive(Debug, Clone)]
pub struct IssueInput {
    pub order_id: String,
    pub organization_id: String,
    /// The vendor that sells.
    pub vendor_id: String,
    pub app_id: String,
    /// What was bought.
    pub plan_kind: PlanKind,
    pub trial_days: i64,
    pub nodes: i64,
}

/// The end of a licence that begins now: always the end of a day where the mine is, so that nothing stops in the middle of a shift's
/// paperwork. The rest of the first day is given on top.
pub fn ends_at(kind: PlanKind, trial_days: i64, now: Timestamp, offset: FixedOffset) -> Option<Timestamp> {
    let today = now.utc().with_timezone(&offset).date_naive();
    let last_day = match kind {
        PlanKind::Perpetual => return None,
        PlanKind::Subscription => today.checked_add_months(Months::new(12)),
        PlanKind::Trial => today.checked_add_signed(TimeDelta::days(trial_days.clamp(1, 3650))),
    };
    last_day.map(|day| Timestamp::new(end_of_local_day(day, offset)))
}

/// The versions that a licence covers. A licence for a time (subscription, trial) covers every version of that time; a perpetual one
/// covers the major version that was current, with all its corrections, as software is sold.
pub fn versions(kind: PlanKind, latest: &semver::Version) -> String {
    match kind {
        PlanKind::Subscription | PlanKind::Trial => "*".to_owned(),
        PlanKind::Perpetual => format!("^{}", latest.major),
    }
}

/// The UTC offset by which licences end: that of the settings, else the platform's local one.
pub fn offset(settings: &config::License) -> FixedOffset {
    settings.utc_offset_hours.checked_mul(3600).and_then(FixedOffset::east_opt).unwrap_or_else(crate::base::i18n::local_offset)
}

impl License {
    /// In force, suspended or revoked.
    pub fn standing(&self) -> Standing {
        match self.state {
            LicenseState::Active => Standing::Active,
            LicenseState::Suspended => Standing::Suspended,
            LicenseState::Revoked => Standing::Revoked,
        }
    }

    /// The terms by which a use is judged. `app` is `vendor/app`, `nodes` are SPIFFE ids of activated nodes.
    pub fn terms(&self, app: String, nodes: Vec<String>) -> Result<Terms> {
        Ok(Terms {
            standing: self.standing(),
            app,
            versions: semver::VersionReq::parse(&self.versions).map_err(Error::internal)?,
            digests: Vec::new(),
            not_before: self.starts_at.utc(),
            expires: self.ends_at.map(Timestamp::utc),
            grace_days: u32::try_from(self.grace_days).unwrap_or(0),
            nodes,
            node_limit: u32::try_from(self.node_limit).unwrap_or(u32::MAX),
        })
    }

    /// The claims that the platform signs for these nodes and digests (none: any release of the versions). The same terms always give the
    /// same claims, so that an unchanged deployment keeps its digest.
    pub fn claims(&self, issuer: &str, app: String, nodes: Vec<String>, digests: Vec<String>) -> Claims {
        Claims {
            iss: issuer.to_owned(),
            sub: self.organization_id.clone(),
            jti: self.id.clone(),
            iat: self.created_at.unix(),
            nbf: self.starts_at.unix(),
            exp: self.ends_at.map(Timestamp::unix),
            app,
            versions: self.versions.clone(),
            plan: self.plan_kind.as_str().to_owned(),
            nodes,
            node_limit: u32::try_from(self.node_limit).unwrap_or(u32::MAX),
            grace_days: u32::try_from(self.grace_days).unwrap_or(0),
            enforcement: self.enforcement.into(),
            safety: self.safety,
            digests,
        }
    }

    /// The verdict on standing and time alone, whatever version and node, for pages about the licence as a whole.
    pub fn verdict_at(&self, now: Timestamp) -> Verdict {
        let version = semver::Version::new(0, 0, 0);
        let digest = Digest::of(b"");
        let Ok(terms) = self.terms(String::new(), Vec::new()) else { return Verdict::VersionNotCovered };
        let terms = Terms { versions: semver::VersionReq::STAR, node_limit: u32::MAX, ..terms };
        let context =
            Context { now: now.utc(), node: None, app: "", version: &version, digest: &digest, purpose: Purpose::Deploy, active_nodes: 0 };
        terms::evaluate(&terms, &context)
    }

    /// Whether a version is covered.
    pub fn covers(&self, version: &semver::Version) -> bool {
        semver::VersionReq::parse(&self.versions).is_ok_and(|req| covers(&req, version))
    }

    /// The word of the badge (`state-…`): the verdict, with the last 30 days and the days of grace told apart.
    pub fn shown_state(&self, now: Timestamp) -> &'static str {
        match self.verdict_at(now) {
            Verdict::Valid { until: Some(until) } if until - now.utc() < ENDING_SOON => "ending",
            Verdict::Expired { grace_until: Some(_) } => "grace",
            verdict => verdict.code(),
        }
    }

    /// The last day on which the licence is valid, as the last second of that day.
    pub fn last_day(&self) -> Option<Timestamp> {
        self.ends_at.map(|end| end.minus(TimeDelta::seconds(1)))
    }
}

/// Whether a requirement holds; `*` also covers pre-releases.
fn covers(req: &semver::VersionReq, version: &semver::Version) -> bool {
    *req == semver::VersionReq::STAR || req.matches(version)
}

/// What an operator's licences of an app let it pull.
#[derive(Debug, Clone, Default)]
pub struct PullTerms {
    /// Versions that licences in force cover: valid, or in their days of grace.
    in_force: Vec<semver::VersionReq>,
    /// A licence lets what is installed run on, so a node may fetch again what it runs. Safety apps run on when a licence has ended.
    pub may_run: bool,
}

impl PullTerms {
    /// The terms of an app's licences at a time.
    pub fn of(licenses: &[License], now: Timestamp) -> Self {
        let mut terms = Self::default();
        for license in licenses {
            let verdict = license.verdict_at(now);
            // A revoked licence gives no pulls, even where the installed app may go on.
            terms.may_run |=
                license.state != LicenseState::Revoked && verdict.allows(Purpose::Run, license.safety, license.enforcement.into());
            let in_force = matches!(verdict, Verdict::Valid { .. } | Verdict::Expired { grace_until: Some(_) });
            terms.in_force.extend(semver::VersionReq::parse(&license.versions).ok().filter(|_| in_force));
        }
        terms
    }

    /// Whether a licence is in force.
    pub fn cover_any(&self) -> bool {
        !self.in_force.is_empty()
    }

    /// Whether a licence in force covers every version.
    pub fn cover_all(&self) -> bool {
        self.in_force.contains(&semver::VersionReq::STAR)
    }

    /// Whether a licence in force covers a version.
    pub fn cover(&self, version: &semver::Version) -> bool {
        self.in_force.iter().any(|req| covers(req, version))
    }
}

/// A licence "ends soon" in its last 30 days: time enough for an order and its approval.
pub const ENDING_SOON: TimeDelta = TimeDelta::days(30);

/// The error for a use that the verdict refuses.
pub fn refusal(verdict: Verdict) -> Error {
    match verdict {
        Verdict::TooManyNodes { limit } => Error::conflict("too-many-nodes").arg("limit", limit),
        Verdict::NotYetValid => Error::conflict("license-not-yet-valid"),
        Verdict::Expired { .. } => Error::conflict("license-expired"),
        Verdict::Suspended => Error::conflict("license-suspended"),
        Verdict::Revoked => Error::conflict("license-revoked"),
        Verdict::NodeNotActivated => Error::conflict("license-node-not-activated"),
        Verdict::VersionNotCovered => Error::conflict("license-version-not-covered"),
        Verdict::ScopeMismatch | Verdict::Valid { .. } => Error::conflict("license-scope-mismatch"),
    }
}

crate::base::db::types::text_enum! {
    /// What an administrator does to a licence.
    pub enum LicenseDecision {
        /// Suspends an active licence.
        Suspend = "suspend",
        /// Puts a suspended licence in force again.
        Reinstate = "reinstate",
        /// Revokes the licence for good.
        Revoke = "revoke",
    }
}

impl LicenseDecision {
    /// The licence's states in which the decision is possible, and the state after it.
    pub fn transition(self) -> (&'static [LicenseState], LicenseState) {
        match self {
            Self::Suspend => (&[LicenseState::Active], LicenseState::Suspended),
            Self::Reinstate => (&[LicenseState::Suspended], LicenseState::Active),
            Self::Revoke => (&[LicenseState::Active, LicenseState::Suspended], LicenseState::Revoked),
        }
    }

    /// Action in the audit log.
    pub fn action(self) -> &'static str {
        match self {
            Self::Suspend => "license.suspended",
            Self::Reinstate => "license.reinstated",
            Self::Revoke => "license.revoked",
        }
    }
}
