//! Who acts ([`Actor`]) and what they may do ([`policy`]); passwords and bearer tokens.

pub mod known;
pub mod password;
pub mod policy;
pub mod token;

use crate::base::error::{Error, Result};
use crate::base::i18n::Names;

crate::base::db::types::text_enum! {
    /// Side of the market on which an organisation stands.
    pub enum OrgKind {
        /// Lists apps.
        Vendor = "vendor",
        /// Runs mines.
        Operator = "operator",
        /// Runs this platform.
        Platform = "platform",
    }
}

crate::base::db::types::text_enum! {
    /// A person's part in an organisation; [`policy`] says what it allows.
    pub enum Role {
        /// May do everything in their organisation.
        Owner = "owner",
        /// Daily work.
        Member = "member",
        /// Operators: approves spending.
        Approver = "approver",
        /// Operators: deploys to nodes.
        Deployer = "deployer",
        /// Platform: decides cases.
        Moderator = "moderator",
        /// Platform: confirms payments.
        Finance = "finance",
        /// Platform: reads everything that is recorded.
        Auditor = "auditor",
        /// Platform: people, settings.
        Administrator = "administrator",
    }
}

impl Role {
    /// The roles that an organisation of a kind has.
    pub fn of(kind: OrgKind) -> &'static [Self] {
        match kind {
            OrgKind::Vendor => &[Self::Owner, Self::Member],
            OrgKind::Operator => &[Self::Owner, Self::Member, Self::Approver, Self::Deployer],
            OrgKind::Platform => &[Self::Administrator, Self::Moderator, Self::Finance, Self::Auditor],
        }
    }
}

/// A signed-in person with the organisation they act for.
#[derive(Debug, Clone)]
pub struct Person {
    pub user_id: String,
    /// Name as shown.
    pub name: String,
    /// Sign-in address.
    pub email: String,
    /// Whether they proved that the address is theirs.
    pub email_verified: bool,
    pub organization_id: String,
    /// Organisation slug; first part of its repositories.
    pub organization_slug: String,
    /// Organisation names, zh and en.
    pub organization_name: Names,
    /// Kind of the organisation.
    pub kind: OrgKind,
    /// Role in that organisation.
    pub role: Role,
    /// All organisations of the person: id, name zh, name en. Filled for browser sessions only.
    pub organizations: Vec<(String, String, String)>,
}

/// How an actor proved who they are.
#[derive(Debug, Clone)]
pub enum Via {
    /// Browser session, with its CSRF token and the hash that names it.
    Session {
        /// Token that every form carries.
        csrf: String,
        /// Primary key of the session.
        token_hash: String,
    },
    /// API token, or a registry token made with one or with a session.
    Token {
        /// `tok_…` or `rtk_…`.
        id: String,
        scopes: Vec<policy::Scope>,
    },
    /// Platform code acting on its own (jobs, demo set-up).
    System,
}

/// Who makes a request. Every service function takes one.
#[derive(Debug, Clone, Default)]
pub enum Actor {
    /// Nobody is signed in.
    #[default]
    Anonymous,
    /// A person, by session, token, or (tests and the demo loader) directly.
    Person(Box<Person>, Via),
    /// An enrolled node, proved by its certificate.
    Node {
        node_id: String,
        /// The operator that owns it.
        organization_id: String,
    },
    /// The platform itself.
    System,
}

impl Actor {
    /// The person, or `Unauthenticated`.
    pub fn person(&self) -> Result<&Person> {
        match self {
            Self::Person(person, _) => Ok(person),
            _ => Err(Error::unauthenticated("sign-in-required")),
        }
    }

    /// The person, where no API token acts for them.
    ///
    /// # Errors
    /// `sign-in-required`, `token-scope`.
    pub fn person_themselves(&self) -> Result<&Person> {
        match self {
            Self::Person(_, Via::Token { .. }) => Err(Error::forbidden("token-scope").arg("scope", "session")),
            _ => self.person(),
        }
    }

    /// The person, if any.
    pub fn as_person(&self) -> Option<&Person> {
        match self {
            Self::Person(person, _) => Some(person),
            _ => None,
        }
    }

    /// Short name in audit records: `user:usr_…`, `node:nod_…`, `system`.
    pub fn label(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".into(),
            Self::Person(person, _) => format!("user:{}", person.user_id),
            Self::Node { node_id, .. } => format!("node:{node_id}"),
            Self::System => "system".into(),
        }
    }

    /// The organisation acted for, if any.
    pub fn organization_id(&self) -> Option<&str> {
        match self {
            Self::Person(person, _) => Some(&person.organization_id),
            Self::Node { organization_id, .. } => Some(organization_id),
            _ => None,
        }
    }
}
