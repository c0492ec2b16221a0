//! Rows and pure decisions about accounts.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::base::auth::{OrgKind, Person, Role, Via};
use crate::base::db::{Timestamp, schema};
use crate::base::i18n::Names;

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::organizations)]
pub struct Organization {
    /// `org_…`.
    pub id: String,
    pub kind: OrgKind,
    /// Part of addresses and repository names.
    pub slug: String,
    /// Name in Chinese.
    pub name_zh: String,
    /// Name in English.
    pub name_en: String,
    pub created_at: Timestamp,
    /// What its name looks like: the short name of another organisation, or a word of the platform.
    pub resembles: Option<String>,
}

crate::base::db::types::text_enum! {
    /// What a mine wants of pictures of its alarms.
    pub enum AlarmPictures {
        /// Blurred by the node.
        Blurred = "blurred",
        /// As the camera saw them.
        Plain = "plain",
        /// None.
        Off = "off",
    }
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::users)]
pub struct User {
    /// `usr_…`.
    pub id: String,
    /// Lower-case address.
    pub email: String,
    /// Name as shown.
    pub name: String,
    /// PHC string.
    pub password_hash: String,
    /// Since when this person may not sign in.
    pub disabled_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// When they proved that the address is theirs.
    pub email_verified_at: Option<Timestamp>,
}

/// A person's place in an organisation.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::memberships)]
pub struct Membership {
    pub organization_id: String,
    pub user_id: String,
    pub role: Role,
    pub created_at: Timestamp,
}

/// A signed-in browser.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::sessions)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub token_hash: String,
    pub user_id: String,
    /// Organisation acted for.
    pub organization_id: String,
    /// CSRF token that forms carry.
    pub csrf_token: String,
    /// Client address at sign-in.
    pub address: String,
    /// Browser at sign-in.
    pub user_agent: String,
    /// Time of the sign-in.
    pub created_at: Timestamp,
    /// Last request, to five minutes.
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    /// When it was ended early.
    pub revoked_at: Option<Timestamp>,
    /// SHA-256 of the browser's cookie that outlives its sessions.
    pub device_hash: Option<String>,
}

/// The acting person out of the three rows.
pub fn person(user: User, organization: Organization, role: Role) -> Person {
    Person {
        user_id: user.id,
        name: user.name,
        email: user.email,
        email_verified: user.email_verified_at.is_some(),
        organization_id: organization.id,
        organization_slug: organization.slug,
        organization_name: Names { zh: organization.name_zh, en: organization.name_en },
        kind: organization.kind,
        role,
        organizations: Vec::new(),
    }
}

/// A person as administrators find them.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = schema::users)]
pub struct FoundPerson {
    pub id: String,
    pub name: String,
    pub email: String,
    /// When the address was proved to be theirs.
    pub email_verified_at: Option<Timestamp>,
    /// Since when they may not sign in.
    pub disabled_at: Option<Timestamp>,
    /// Why not.
    pub disabled_reason: Option<String>,
    pub created_at: Timestamp,
}

/// A colleague as listed.
#[derive(Debug, Clone, Queryable)]
pub struct TeamMember {
    pub user_id: String,
    pub name: String,
    pub email: String,
    pub role: Role,
    /// Member since.
    pub since: Timestamp,
}

/// An invitation of a colleague.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::invitations)]
pub struct Invitation {
    /// `inv_…`.
    pub id: String,
    /// Organisation to join.
    pub organization_id: String,
    /// Invited address.
    pub email: String,
    /// Role to get.
    pub role: Role,
    /// SHA-256 of the link's secret.
    pub token_hash: String,
    /// User who invited.
    pub invited_by: String,
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// When it was used.
    pub accepted_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl Invitation {
    /// Whether it can be accepted.
    pub fn open_at(&self, now: Timestamp) -> bool {
        self.accepted_at.is_none() && self.revoked_at.is_none() && self.expires_at > now
    }
}

crate::base::db::types::text_enum! {
    /// What a one-time link is for.
    pub enum LinkPurpose {
        /// To choose a new password, by mail.
        ResetPassword = "reset-password",
        /// To choose a new password, handed over by an administrator or from the command line.
        ResetByHand = "reset-by-hand",
        /// To prove that an address is the person's.
        ProveAddress = "prove-address",
    }
}

impl LinkPurpose {
    /// Those that choose a new password.
    pub const RESETS: &[Self] = &[Self::ResetPassword, Self::ResetByHand];
    /// Those that prove an address.
    pub const PROOFS: &[Self] = &[Self::ProveAddress];
}

/// A link that is used once.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::one_time_links)]
pub struct OneTimeLink {
    /// `otl_…`.
    pub id: String,
    pub purpose: LinkPurpose,
    /// Whose it is.
    pub user_id: String,
    /// Address that it is sent to, or is to prove.
    pub email: String,
    /// SHA-256 of the link's secret.
    pub token_hash: String,
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// When another one took its place.
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::api_tokens)]
pub struct ApiToken {
    /// `tok_…`.
    pub id: String,
    /// Organisation it acts for.
    pub organization_id: String,
    /// Person it acts as.
    pub user_id: String,
    /// Name that the person gave it.
    pub name: String,
    /// SHA-256 of the text.
    pub token_hash: String,
    /// Scopes, separated by spaces.
    pub scopes: String,
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// Last used, to five minutes.
    pub used_at: Option<Timestamp>,
    /// When it was ended early.
    pub revoked_at: Option<Timestamp>,
}

/// What a person proved themselves with. What is made with it ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// An API token, by its id.
    ApiToken(String),
    /// A browser's session, by its hash.
    Session(String),
}

impl Credential {
    /// None for platform code.
    pub fn of(via: &Via) -> Option<Self> {
        match via {
            Via::Session { token_hash, .. } => Some(Self::Session(token_hash.clone())),
            Via::Token { id, .. } => Some(Self::ApiToken(id.clone())),
            Via::System => None,
        }
    }
}

/// `[a-z0-9]+(-[a-z0-9]+)*`, 2 to 40 characters: one component of an OCI repository name.
pub fn valid_slug(slug: &str) -> bool {
    (2..=40).contains(&slug.len())
        && slug.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// Roughly an e-mail address: one `@`, before it letters, digits and the signs that people use, a dot in the domain, at most 254 bytes
/// (RFC 5321). Quoted local parts are legal and used by nobody.
pub fn valid_email(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    !local.is_empty()
        && email.len() <= 254
        && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c))
        && domain.split('.').count() >= 2
        && domain.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-'))
}

/// A decision as the page of its subject shows it: who, when, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionNote {
    /// Action of the audit record, as `license.suspended`.
    pub action: String,
    pub at: Timestamp,
    /// Name of the person who decided; empty where it was no person.
    pub by: String,
    /// The reason in the record; empty where it has none.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_repository_components() {
        for good in ["ab", "acme", "acme-2", "a-b-c"] {
            assert!(valid_slug(good), "{good}");
        }
        for bad in ["", "a", "-a", "a-", "a--b", "A", "ä", "a_b", "../x", &"a".repeat(41)] {
            assert!(!valid_slug(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_need_the_usual_parts() {
        for good in ["a@b.cn", "矿工@example.com", "x+y@sub.example.org"] {
            assert!(valid_email(good), "{good}");
        }
        for bad in ["", "a", "a@b", "@b.cn", "\"x<b>\"@v.example", "a\u{202e}b@c.cn", "a b@c.cn", "a@.cn", "a@b..cn", "a@b.cn\n"] {
            assert!(!valid_email(bad), "{bad}");
        }
    }
}
