//! Rows and pure decisions about accounts.

use diesel::prelude::*;

use crate::auth::{OrgKind, Person, Role};
use crate::db::{Timestamp, schema};

/// An organisation.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::organizations)]
pub struct Organization {
    /// `org_…`.
    pub id: String,
    /// What it is.
    pub kind: OrgKind,
    /// Part of addresses and repository names.
    pub slug: String,
    /// Name in Chinese.
    pub name_zh: String,
    /// Name in English.
    pub name_en: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// A person.
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
    /// Since when nobody may sign in.
    pub disabled_at: Option<Timestamp>,
    /// Since when.
    pub created_at: Timestamp,
}

/// A person's place in an organisation.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::memberships)]
pub struct Membership {
    /// Organisation.
    pub organization_id: String,
    /// Person.
    pub user_id: String,
    /// Role.
    pub role: Role,
    /// Since when.
    pub created_at: Timestamp,
}

/// A signed-in browser.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::sessions)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub token_hash: String,
    /// Person.
    pub user_id: String,
    /// Organisation acted for.
    pub organization_id: String,
    /// Value that forms carry.
    pub csrf_token: String,
    /// Client address at sign-in.
    pub address: String,
    /// Browser at sign-in.
    pub user_agent: String,
    /// Sign-in.
    pub created_at: Timestamp,
    /// Last request, to the minute.
    pub seen_at: Timestamp,
    /// End.
    pub expires_at: Timestamp,
    /// Ended early.
    pub revoked_at: Option<Timestamp>,
}

/// The acting person out of the three rows.
pub fn person(user: User, organization: Organization, role: Role) -> Person {
    Person {
        user_id: user.id,
        name: user.name,
        email: user.email,
        organization_id: organization.id,
        organization_slug: organization.slug,
        organization_name: (organization.name_zh, organization.name_en),
        kind: organization.kind,
        role,
        organizations: Vec::new(),
    }
}
