//! All organisations and people, for administrators.

use super::model::{ApiToken, DecisionNote, FoundPerson, Organization, Session, TeamMember};
use super::sessions::idle_since;
use super::{service, standing, store};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Role};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{QueryResultExt as _, Result};
use crate::base::i18n::Names;

/// Organisations or people on one page.
pub const PAGE: i64 = 50;
/// Longest text that is searched for, in characters.
const MAX_QUERY: usize = 80;
/// A place after all ids: they are ASCII letters, digits and `_`.
const END: &str = "~";

/// An organisation in the list.
#[derive(Debug, Clone)]
pub struct OrganizationLine {
    pub organization: Organization,
    /// Since when it is suspended.
    pub suspended_at: Option<Timestamp>,
    pub members: i64,
}

fn tidy(q: &str) -> String {
    q.trim().chars().take(MAX_QUERY).collect()
}

/// Organisations whose name or slug contains a text, before an id, newest first; one more than a page where there are more.
pub async fn organizations(app: &App, actor: &Actor, q: &str, before: Option<String>) -> Result<Vec<OrganizationLine>> {
    policy::require(actor, Action::ViewPeople)?;
    let (q, before) = (tidy(q), before.unwrap_or_else(|| END.into()));
    app.db
        .read(move |conn| {
            let rows = store::search_organizations(conn, &q, &before, PAGE + 1)?;
            let ids: Vec<&str> = rows.iter().map(|(o, _)| o.id.as_str()).collect();
            let counts = store::member_counts(conn, &ids)?;
            let line = |(organization, suspended_at): (Organization, Option<Timestamp>)| {
                let members = counts.get(&organization.id).copied().unwrap_or_default();
                OrganizationLine { organization, suspended_at, members }
            };
            Ok(rows.into_iter().map(line).collect())
        })
        .await
}

/// People whose name or address contains a text, before an id, newest first; one more than a page where there are more.
pub async fn people(app: &App, actor: &Actor, q: &str, before: Option<String>) -> Result<Vec<FoundPerson>> {
    policy::require(actor, Action::ViewPeople)?;
    let (q, before) = (tidy(q), before.unwrap_or_else(|| END.into()));
    app.db.read(move |conn| Ok(store::search_people(conn, &q, &before, PAGE + 1)?)).await
}

/// What administrators see of an organisation.
#[derive(Debug, Clone)]
pub struct OrganizationDetail {
    pub organization: Organization,
    /// Why it is suspended.
    pub suspended: Option<String>,
    pub members: Vec<TeamMember>,
    /// What was decided on it, oldest first.
    pub notes: Vec<DecisionNote>,
}

/// One organisation.
///
/// # Errors
/// `organization`.
pub fn organization_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<OrganizationDetail> {
    policy::require(actor, Action::ViewPeople)?;
    let organization = store::get_organization(conn, id).or_not_found("organization")?;
    let suspended = standing::suspension(conn, id)?;
    let members = store::list_members(conn, id)?;
    let notes = service::decision_notes(conn, id, &["organization.suspended", "organization.resumed"])?;
    Ok(OrganizationDetail { organization, suspended, members, notes })
}

/// What administrators see of a person.
#[derive(Debug, Clone)]
pub struct PersonDetail {
    pub person: FoundPerson,
    /// Organisations: id, names, role.
    pub memberships: Vec<(String, Names, Role)>,
    /// Sessions that are not over.
    pub sessions: Vec<Session>,
    /// Tokens that are not over.
    pub tokens: Vec<ApiToken>,
    /// What was decided on them, oldest first.
    pub notes: Vec<DecisionNote>,
}

/// One person.
///
/// # Errors
/// `person`.
pub async fn person(app: &App, actor: &Actor, id: String) -> Result<PersonDetail> {
    policy::require_or_system(actor, Action::ViewPeople)?;
    let now = app.clock.now();
    let idle = idle_since(app, now);
    app.db
        .read(move |conn| {
            let person = store::found_person(conn, &id).or_not_found("person")?;
            let memberships = store::memberships_of(conn, &id)?;
            let sessions = store::list_sessions(conn, &id, idle, now)?;
            let tokens = store::tokens_of(conn, &id, now)?;
            let actions = ["person.disabled", "person.enabled", "person.sessions-ended", "person.session-ended"];
            let notes = service::decision_notes(conn, &id, &actions)?;
            Ok(PersonDetail { person, memberships, sessions, tokens, notes })
        })
        .await
}
