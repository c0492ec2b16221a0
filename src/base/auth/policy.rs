//! Who may do what: one table. Services ask [`require`] (role and tenant) before anything else; list queries are scoped by
//! [`Actor::organization_id`]. What belongs to another organisation is `NotFound`, never `Forbidden`.
//!
//! The golden authorisation test walks every action × every role × own and other organisation.

use super::{Actor, OrgKind, Person, Role, Via};
use crate::base::error::{Error, Result};

crate::base::db::types::text_enum! {
    /// What an API token may be used for.
    pub enum Scope {
        /// Read what the person may read.
        Read = "read",
        /// Push to repositories and manage releases.
        Publish = "publish",
        /// Pull from repositories.
        Pull = "pull",
        /// Deploy to nodes.
        Deploy = "deploy",
        /// Place and cancel orders.
        Order = "order",
        /// Answer alarms.
        Answer = "answer",
        /// Show the wall of a control room, and nothing else.
        Wall = "wall",
    }
}

crate::base::db::types::text_enum! {
    /// A permission; [`permits`] says who has it.
    pub enum Action {
        /// See one's own account and sessions, and be told that something changed.
        ViewAccount = "view-account",
        /// See the organisation's people and invitations.
        ViewTeam = "view-team",
        /// Invite and remove colleagues.
        ManageTeam = "manage-team",
        /// Make and revoke one's own API tokens.
        ManageTokens = "manage-tokens",
        /// See the vendor's own apps and releases.
        ViewOwnApps = "view-own-apps",
        /// Upload releases, edit the listing's plans, submit.
        PublishApps = "publish-apps",
        /// Register and revoke the vendor's signing keys.
        ManageKeys = "manage-keys",
        /// Say who outside is told what happens, see how that goes.
        ManageWebhooks = "manage-webhooks",
        /// See orders placed with the vendor.
        ViewSales = "view-sales",
        /// See the operator's orders.
        ViewOrders = "view-orders",
        /// Place and cancel orders.
        PlaceOrders = "place-orders",
        /// See licences, download licence files.
        ViewLicenses = "view-licenses",
        /// See sites, nodes, deployments, alarms.
        ViewFleet = "view-fleet",
        /// See the wall of the control room.
        ViewWall = "view-wall",
        /// Acknowledge, judge and shelve alarms.
        AnswerAlarms = "answer-alarms",
        /// Take alarms out of service, and put them back.
        ManageAlarms = "manage-alarms",
        /// Add sites and nodes, remove nodes.
        ManageNodes = "manage-nodes",
        /// Deploy, update, remove apps on nodes; activates licences.
        Deploy = "deploy",
        /// See the moderation queue, cases, and which hidden test sets there are.
        ViewCases = "view-cases",
        DecideCases = "decide-cases",
        /// Make and retire hidden test sets.
        ManageEvaluation = "manage-evaluation",
        /// See all orders and payments.
        ViewPayments = "view-payments",
        ConfirmPayments = "confirm-payments",
        /// Suspend and revoke licences.
        RevokeLicenses = "revoke-licenses",
        /// Read the audit log.
        ViewAudit = "view-audit",
        /// See all organisations and people.
        ViewPeople = "view-people",
        /// See what was sent to people.
        ViewMessages = "view-messages",
        /// Make links to choose a new password, and confirm addresses, for people who cannot do it by mail.
        ResetPasswords = "reset-passwords",
        /// Recall a release.
        RecallReleases = "recall-releases",
        /// Suspend a listing, and let it go on.
        SuspendListings = "suspend-listings",
        /// Suspend an organisation, and let it go on.
        SuspendOrganizations = "suspend-organizations",
        /// Disable a person, end sessions and tokens of others.
        StopPeople = "stop-people",
    }
}

/// The table: may a role in an organisation of a kind do this (in their own organisation's matters)?
pub fn permits(kind: OrgKind, role: Role, action: Action) -> bool {
    use Action as A;
    use Role as R;
    match kind {
        OrgKind::Vendor => match action {
            A::ViewAccount | A::ViewTeam | A::ManageTokens | A::ViewOwnApps | A::PublishApps | A::ViewSales => true,
            A::ManageTeam | A::ManageKeys | A::ManageWebhooks => role == R::Owner,
            _ => false,
        },
        OrgKind::Operator => match action {
            A::ViewAccount | A::ViewTeam | A::ManageTokens | A::ViewOrders | A::ViewLicenses | A::ViewFleet | A::ViewWall => true,
            A::ManageTeam | A::ManageWebhooks => role == R::Owner,
            A::PlaceOrders => matches!(role, R::Owner | R::Member | R::Approver),
            A::AnswerAlarms => matches!(role, R::Owner | R::Member | R::Deployer),
            A::ManageNodes | A::Deploy | A::ManageAlarms => matches!(role, R::Owner | R::Deployer),
            _ => false,
        },
        OrgKind::Platform => match action {
            A::ViewAccount | A::ViewTeam | A::ManageTokens => true,
            A::ManageTeam
            | A::ViewPeople
            | A::RevokeLicenses
            | A::ManageEvaluation
            | A::ViewMessages
            | A::ResetPasswords
            | A::SuspendOrganizations
            | A::StopPeople => role == R::Administrator,
            A::ViewCases => matches!(role, R::Moderator | R::Administrator | R::Auditor),
            A::DecideCases | A::RecallReleases | A::SuspendListings => matches!(role, R::Moderator | R::Administrator),
            A::ViewPayments => matches!(role, R::Finance | R::Administrator | R::Auditor),
            A::ConfirmPayments => role == R::Finance,
            A::ViewAudit => matches!(role, R::Auditor | R::Administrator),
            _ => false,
        },
    }
}

/// The scope that an API token needs for an action; `None` where no token may do it. Sessions need no scope.
pub fn scope_of(action: Action) -> Option<Scope> {
    use Action as A;
    match action {
        A::ViewAccount
        | A::ViewTeam
        | A::ViewOwnApps
        | A::ViewSales
        | A::ViewOrders
        | A::ViewLicenses
        | A::ViewFleet
        | A::ViewCases
        | A::ViewPayments
        | A::ViewAudit
        | A::ViewPeople
        | A::ViewMessages => Some(Scope::Read),
        A::PublishApps => Some(Scope::Publish),
        A::Deploy | A::ManageNodes => Some(Scope::Deploy),
        A::PlaceOrders => Some(Scope::Order),
        A::AnswerAlarms | A::ManageAlarms => Some(Scope::Answer),
        A::ViewWall => Some(Scope::Wall),
        A::ManageTeam
        | A::ManageTokens
        | A::ManageKeys
        | A::ManageWebhooks
        | A::DecideCases
        | A::ManageEvaluation
        | A::ConfirmPayments
        | A::RevokeLicenses
        | A::ResetPasswords
        | A::RecallReleases
        | A::SuspendListings
        | A::SuspendOrganizations
        | A::StopPeople => None,
    }
}

/// The roles of a kind of organisation that may do this, with blanks between: pages name them to those who may not.
pub fn permitted_roles(kind: OrgKind, action: Action) -> String {
    let may: Vec<&str> = Role::of(kind).iter().filter(|role| permits(kind, **role, action)).map(|role| role.as_str()).collect();
    may.join(" ")
}

/// Checks role and scope; gives the person.
///
/// # Errors
/// `sign-in-required`, `not-permitted`, `token-scope`.
pub fn require(actor: &Actor, action: Action) -> Result<&Person> {
    let Actor::Person(person, via) = actor else { return Err(Error::unauthenticated("sign-in-required")) };
    if !permits(person.kind, person.role, action) {
        return Err(Error::forbidden("not-permitted").arg("roles", permitted_roles(person.kind, action)));
    }
    if let Via::Token { scopes, .. } = via
        && scope_of(action).is_none_or(|needed| !scopes.contains(&needed))
    {
        return Err(Error::forbidden("token-scope").arg("scope", scope_of(action).map_or("session", Scope::as_str)));
    }
    Ok(person)
}

/// As [`require`], also for the platform itself: a command on the machine that holds its data.
///
/// # Errors
/// As [`require`].
pub fn require_or_system(actor: &Actor, action: Action) -> Result<()> {
    if matches!(actor, Actor::System) { Ok(()) } else { require(actor, action).map(|_| ()) }
}

/// Checks role, scope and that the thing belongs to the actor's organisation; what belongs to another is `NotFound` with `missing`.
pub fn require_own<'a>(actor: &'a Actor, action: Action, owner_id: &str, missing: &'static str) -> Result<&'a Person> {
    let person = require(actor, action)?;
    if person.organization_id == owner_id { Ok(person) } else { Err(Error::not_found(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_of_a_tenant_reaches_the_platform() {
        for kind in [OrgKind::Vendor, OrgKind::Operator] {
            for role in Role::of(kind) {
                for action in [
                    Action::DecideCases,
                    Action::ManageEvaluation,
                    Action::ConfirmPayments,
                    Action::ViewAudit,
                    Action::RevokeLicenses,
                    Action::ViewPeople,
                    Action::ViewMessages,
                    Action::ResetPasswords,
                    Action::RecallReleases,
                    Action::SuspendListings,
                    Action::SuspendOrganizations,
                    Action::StopPeople,
                ] {
                    assert!(!permits(kind, *role, action), "{kind} {role} {action}");
                }
            }
        }
    }
}
