//! The stops, who may do each, and what one touches.

use serde::Serialize;

use crate::base::auth::policy::Action;
use crate::base::i18n::{Lang, Names};

/// Shortest and longest reason, in characters.
pub const MIN_REASON: usize = 3;
pub const MAX_REASON: usize = 500;

crate::base::db::types::text_enum! {
    /// Something that is stopped, or goes on. What can be undone has its opposite beside it; a recall, and the end of a session or token, are
    /// final.
    pub enum Stop {
        RecallRelease = "recall-release",
        SuspendListing = "suspend-listing",
        ResumeListing = "resume-listing",
        SuspendOrganization = "suspend-organization",
        ResumeOrganization = "resume-organization",
        DisablePerson = "disable-person",
        EnablePerson = "enable-person",
        /// All sessions of a person.
        EndSessions = "end-sessions",
        EndSession = "end-session",
        RevokeToken = "revoke-token",
    }
}

impl Stop {
    /// The right that it needs.
    pub fn permission(self) -> Action {
        match self {
            Self::RecallRelease => Action::RecallReleases,
            Self::SuspendListing | Self::ResumeListing => Action::SuspendListings,
            Self::SuspendOrganization | Self::ResumeOrganization => Action::SuspendOrganizations,
            Self::DisablePerson | Self::EnablePerson | Self::EndSessions | Self::EndSession | Self::RevokeToken => Action::StopPeople,
        }
    }

    /// Action in the audit log.
    pub fn recorded(self) -> &'static str {
        match self {
            Self::RecallRelease => "release.recalled",
            Self::SuspendListing => "listing.suspended",
            Self::ResumeListing => "listing.resumed",
            Self::SuspendOrganization => "organization.suspended",
            Self::ResumeOrganization => "organization.resumed",
            Self::DisablePerson => "person.disabled",
            Self::EnablePerson => "person.enabled",
            Self::EndSessions => "person.sessions-ended",
            Self::EndSession => "person.session-ended",
            Self::RevokeToken => "token.revoked",
        }
    }

    /// Whether it lets something go on.
    pub fn lifts(self) -> bool {
        matches!(self, Self::ResumeListing | Self::ResumeOrganization | Self::EnablePerson)
    }
}

/// How much a stop touches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reach {
    pub people: i64,
    /// Sessions that end.
    pub sessions: i64,
    /// API tokens that end.
    pub tokens: i64,
    pub listings: i64,
    /// Licences in force.
    pub licenses: i64,
    /// Deployments that are wanted.
    pub deployments: i64,
    /// Nodes of these deployments.
    pub nodes: i64,
    /// Organisations of these nodes.
    pub mines: i64,
}

impl Reach {
    /// What is touched, in words, without what is not.
    pub fn words(&self, lang: Lang) -> Vec<String> {
        let counts = [
            ("stop-reach-people", self.people),
            ("stop-reach-sessions", self.sessions),
            ("stop-reach-tokens", self.tokens),
            ("stop-reach-listings", self.listings),
            ("stop-reach-licenses", self.licenses),
            ("stop-reach-deployments", self.deployments),
            ("stop-reach-nodes", self.nodes),
            ("stop-reach-mines", self.mines),
        ];
        let touched = counts.into_iter().filter(|(_, n)| *n > 0);
        touched.map(|(key, n)| lang.format(key, &[("n", &n.to_string())])).collect()
    }
}

/// What a stop would do.
#[derive(Debug, Clone)]
pub struct Preview {
    pub stop: Stop,
    pub subject: Subject,
    pub reach: Reach,
}

/// What is stopped.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Id in the audit log, and of the page.
    pub id: String,
    pub name: Names,
    /// Its page.
    pub href: String,
}
