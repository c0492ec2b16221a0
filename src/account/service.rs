//! Use cases of accounts: signing up, in and out; who a request acts as.
//!
//! Colleagues are in [`super::team`], API tokens in [`super::tokens`].

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::model::{DecisionNote, Membership, Organization, Session, User, valid_email, valid_slug};
use super::{store, throttle};
use crate::audit;
use crate::audit::model::Record;
use crate::base::app::App;
use crate::base::auth::policy::Scope;
use crate::base::auth::{Actor, OrgKind, Person, Role, Via, password};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result};
use crate::base::ids;

pub use super::store::{find_organization_by_slug, find_user_by_email, get_organization, list_organizations};

/// How long a browser stays signed in.
pub const SESSION_HOURS: i64 = 12;
/// The last use of a session or token is noted at most this often: each note is a write.
const NOTE_EVERY: TimeDelta = TimeDelta::minutes(5);
/// Decisions on one subject that its page shows.
const MAX_NOTES: i64 = 50;

/// What signing up needs.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct SignUp {
    /// E-mail address.
    pub email: String,
    /// Person's name.
    pub name: String,
    pub password: String,
    /// `vendor` or `operator`.
    pub kind: String,
    /// Slug of the organisation.
    pub slug: String,
    /// Name of the organisation in Chinese; may be empty where the English one is not.
    pub name_zh: String,
    /// Name of the organisation in English.
    pub name_en: String,
}

/// Makes a person with a new organisation that they own. Gives user id and organisation id.
///
/// # Errors
/// Wrong fields; `email-taken`, `slug-taken`.
pub async fn sign_up(app: &App, input: SignUp) -> Result<(String, String)> {
    let kind = public_kind(&input)?;
    create_organization(app, input, kind, Role::Owner).await
}

/// As [`sign_up`], for a form from the network: at most so many from one address.
///
/// # Errors
/// Also `sign-up-throttled`.
pub async fn sign_up_from(app: &App, input: SignUp, address: &str) -> Result<(String, String)> {
    let kind = public_kind(&input)?;
    // Validate first: a form with mistakes must not use up the sign-up limit of its address.
    check_organization(app, &input)?;
    throttle::sign_up(app, address).await?;
    create_organization(app, input, kind, Role::Owner).await
}

fn public_kind(input: &SignUp) -> Result<OrgKind> {
    match input.kind.as_str() {
        "vendor" => Ok(OrgKind::Vendor),
        "operator" => Ok(OrgKind::Operator),
        _ => Err(Error::field("kind", "choose-one")),
    }
}

/// Adds a person to the platform's organisation, which is made with the first of them. For the command line: nobody signs up as the
/// platform.
pub async fn add_platform_person(app: &App, role: Role, email: &str, name: &str, password: &str, platform: &str) -> Result<()> {
    if let Some(known) = app.db.read(|conn| Ok(store::find_platform(conn)?)).await? {
        return add_member(app, &known.id, role, email, name, password).await.map(|_| ());
    }
    let input = SignUp {
        email: email.to_owned(),
        name: name.to_owned(),
        password: password.to_owned(),
        kind: OrgKind::Platform.to_string(),
        slug: "platform".to_owned(),
        name_zh: platform.to_owned(),
        name_en: platform.to_owned(),
    };
    create_platform(app, input, role).await.map(|_| ())
}

/// Makes the platform's organisation with its first person. Only for the command line, the demo loader and tests.
pub async fn create_platform(app: &App, input: SignUp, role: Role) -> Result<(String, String)> {
    create_organization(app, input, OrgKind::Platform, role).await
}

/// Checks the fields; gives the names, the slug and the person.
fn check_organization(app: &App, input: &SignUp) -> Result<(String, String, String, PendingUser)> {
    let mut faults = Faults::default();
    let name_zh = faults.text("name_zh", &input.name_zh, 0, 80);
    let name_en = faults.text("name_en", &input.name_en, 0, 80);
    if name_zh.is_empty() && name_en.is_empty() {
        faults.add("name_zh", "required");
    }
    let slug = input.slug.trim().to_lowercase();
    if !valid_slug(&slug) {
        faults.add("slug", "slug-invalid");
    }
    let user = new_user(app, &mut faults, &input.email, &input.name, &input.password);
    faults.check()?;
    Ok((name_zh, name_en, slug, user))
}

async fn create_organization(app: &App, input: SignUp, kind: OrgKind, role: Role) -> Result<(String, String)> {
    let (name_zh, name_en, slug, user) = check_organization(app, &input)?;
    let user = user.with_password(input.password).await?;
    let now = app.clock.now();
    let organization = Organization { id: ids::new("org"), kind, slug, name_zh, name_en, created_at: now };
    audit::change(app, &Actor::System, move |c| {
        store::insert_organization(c, &organization).or_conflict("slug-taken")?;
        let user_id = insert_member(c, &user, &organization.id, role, now)?;
        let detail = json!({"organization": organization.slug, "kind": kind, "role": role});
        c.audit_for(&organization.id, "organization.created", &organization.id, &detail);
        Ok((user_id, organization.id.clone()))
    })
    .await
}

/// Adds a new person to an organisation without an invitation. Only for the command line, the demo loader and tests; people use
/// invitations.
pub async fn add_member(app: &App, organization_id: &str, role: Role, email: &str, name: &str, password: &str) -> Result<String> {
    let mut faults = Faults::default();
    let user = new_user(app, &mut faults, email, name, password);
    faults.check()?;
    let user = user.with_password(password.to_owned()).await?;
    let (now, organization_id) = (app.clock.now(), organization_id.to_owned());
    audit::change(app, &Actor::System, move |c| {
        let user_id = insert_member(c, &user, &organization_id, role, now)?;
        c.audit_for(&organization_id, "member.added", &user_id, &json!({"organization": organization_id, "role": role}));
        Ok(user_id)
    })
    .await
}

/// Inserts a person with their first membership.
pub(super) fn insert_member(conn: &mut Conn, user: &User, organization_id: &str, role: Role, now: Timestamp) -> Result<String> {
    store::insert_user(conn, user).or_conflict("email-taken")?;
    let membership = Membership { organization_id: organization_id.to_owned(), user_id: user.id.clone(), role, created_at: now };
    store::insert_membership(conn, &membership).or_conflict("already-a-member")?;
    Ok(user.id.clone())
}

/// A person whose password is not hashed yet.
pub(super) struct PendingUser(User);

impl PendingUser {
    /// Hashes the password.
    pub(super) async fn with_password(mut self, password: String) -> Result<User> {
        self.0.password_hash = password::hash(password).await?;
        Ok(self.0)
    }
}

/// Checks the fields of a new person.
pub(super) fn new_user(app: &App, faults: &mut Faults, email: &str, name: &str, password: &str) -> PendingUser {
    let email = email.trim().to_lowercase();
    if !valid_email(&email) {
        faults.add("email", "email-invalid");
    }
    let name = faults.text("name", name, 1, 60);
    if password.chars().count() < password::MIN_CHARS {
        faults.add_with("password", "too-short", "min", password::MIN_CHARS);
    } else if password.len() > password::MAX_BYTES {
        faults.add_with("password", "too-long", "max", password::MAX_BYTES);
    }
    PendingUser(User { id: ids::new("usr"), email, name, password_hash: String::new(), disabled_at: None, created_at: app.clock.now() })
}

/// Signs a browser in; gives the value of the session cookie.
///
/// # Errors
/// `wrong-password` (also for an unknown account: which it was is not told), `sign-in-throttled`.
pub async fn sign_in(app: &App, email: &str, password: String, address: &str, user_agent: &str) -> Result<String> {
    let email = email.trim().to_lowercase();
    let attempt = throttle::password(app, &email, address).await?;
    let now = app.clock.now();
    let user = {
        let email = email.clone();
        app.db.read(move |conn| Ok(store::find_user_by_email(conn, &email)?.filter(|u| u.disabled_at.is_none()))).await?
    };
    let fits = password.len() <= password::MAX_BYTES && password::verify(password, user.as_ref().map(|u| u.password_hash.clone())).await?;
    let Some(user) = user.filter(|_| fits) else {
        attempt.failed(app).await?;
        return Err(Error::unauthenticated("wrong-password"));
    };
    let cookie = ids::secret();
    let session = Session {
        token_hash: ids::hash_secret(&cookie),
        user_id: user.id.clone(),
        organization_id: String::new(),
        csrf_token: ids::secret(),
        address: address.chars().take(60).collect(),
        user_agent: user_agent.chars().take(200).collect(),
        created_at: now,
        seen_at: now,
        expires_at: now.plus(TimeDelta::hours(SESSION_HOURS)),
        revoked_at: None,
    };
    audit::change(app, &Actor::System, move |c| {
        let organization_id = store::first_organization_of(c, &user.id)?.ok_or_else(|| Error::forbidden("no-organization"))?;
        c.audit_for(&organization_id, "person.signed-in", &user.id, &json!({}));
        store::insert_session(c, &Session { organization_id, ..session.clone() })?;
        attempt.succeeded_in(c)
    })
    .await?;
    Ok(cookie)
}

/// Ends the session of the actor.
pub async fn sign_out(app: &App, actor: &Actor) -> Result<()> {
    let Actor::Person(_, Via::Session { token_hash, .. }) = actor else { return Ok(()) };
    let (hash, now) = (token_hash.clone(), app.clock.now());
    app.db.write(move |conn| Ok(store::revoke_session(conn, &hash, now).map(|_| ())?)).await
}

/// Ends all other sessions of the person.
pub async fn sign_out_elsewhere(app: &App, actor: &Actor) -> Result<usize> {
    let person = actor.person()?;
    let Actor::Person(_, Via::Session { token_hash, .. }) = actor else {
        return Err(Error::forbidden("token-scope").arg("scope", "session"));
    };
    let (hash, user_id, now) = (token_hash.clone(), person.user_id.clone(), app.clock.now());
    app.db.write(move |conn| Ok(store::revoke_other_sessions(conn, &user_id, &hash, now)?)).await
}

/// The person's sessions that are not over, newest first.
pub async fn list_sessions(app: &App, actor: &Actor) -> Result<Vec<Session>> {
    let (user_id, now) = (actor.person()?.user_id.clone(), app.clock.now());
    app.db.read(move |conn| Ok(store::list_sessions(conn, &user_id, now)?)).await
}

/// Acts for another organisation of the person from now on.
///
/// # Errors
/// `organization`: not one of theirs.
pub async fn switch_organization(app: &App, actor: &Actor, organization_id: String) -> Result<()> {
    let user_id = actor.person()?.user_id.clone();
    let Actor::Person(_, Via::Session { token_hash, .. }) = actor else {
        return Err(Error::forbidden("token-scope").arg("scope", "session"));
    };
    let hash = token_hash.clone();
    app.db
        .write(move |conn| {
            store::find_person(conn, &user_id, &organization_id)?.ok_or_else(|| Error::not_found("organization"))?;
            store::set_session_organization(conn, &hash, &organization_id)?;
            Ok(())
        })
        .await
}

/// The actor of a session cookie; a session that is over is `Anonymous`.
pub async fn authenticate_session(app: &App, cookie: &str) -> Result<Actor> {
    if cookie.len() > 100 {
        return Ok(Actor::Anonymous);
    }
    let hash = ids::hash_secret(cookie);
    let now = app.clock.now();
    let found = app
        .db
        .read(move |conn| {
            let Some(session) = store::find_session(conn, &hash, now)? else { return Ok(None) };
            let Some(mut person) = store::find_person(conn, &session.user_id, &session.organization_id)? else { return Ok(None) };
            person.organizations = store::organizations_of(conn, &session.user_id)?;
            Ok(Some((person, session)))
        })
        .await?;
    let Some((person, session)) = found else { return Ok(Actor::Anonymous) };
    if session.seen_at.plus(NOTE_EVERY) <= now {
        let hash = session.token_hash.clone();
        noted(app.db.write(move |conn| Ok(store::note_session(conn, &hash, now.minus(NOTE_EVERY), now)?))).await;
    }
    Ok(Actor::Person(Box::new(person), Via::Session { csrf: session.csrf_token, token_hash: session.token_hash }))
}

/// Whether the session of an actor is not over and still acts for the same organisation.
pub async fn session_holds(app: &App, actor: &Actor) -> Result<bool> {
    let Actor::Person(person, Via::Session { token_hash, .. }) = actor else { return Ok(false) };
    let (hash, user_id, organization_id, now) =
        (token_hash.clone(), person.user_id.clone(), person.organization_id.clone(), app.clock.now());
    app.db
        .read(move |conn| {
            let session = store::find_session(conn, &hash, now)?.filter(|s| s.organization_id == organization_id);
            Ok(session.is_some() && store::find_person(conn, &user_id, &organization_id)?.is_some())
        })
        .await
}

/// The actor of an API token.
///
/// # Errors
/// `token-invalid`: unknown, expired, revoked, or its person is no member any more.
pub async fn authenticate_token(app: &App, token: &str) -> Result<Actor> {
    let hash = ids::hash_secret(token);
    let now = app.clock.now();
    let (person, token) = app
        .db
        .read(move |conn| {
            let invalid = || Error::unauthenticated("token-invalid");
            let token = store::find_token(conn, &hash, now)?.ok_or_else(invalid)?;
            let person = store::find_person(conn, &token.user_id, &token.organization_id)?.ok_or_else(invalid)?;
            Ok((person, token))
        })
        .await?;
    if token.used_at.is_none_or(|at| at.plus(NOTE_EVERY) <= now) {
        let id = token.id.clone();
        noted(app.db.write(move |conn| Ok(store::note_token(conn, &id, now.minus(NOTE_EVERY), now)?))).await;
    }
    let scopes = token.scopes.split(' ').filter_map(|s| s.parse::<Scope>().ok()).collect();
    Ok(Actor::Person(Box::new(person), Via::Token(scopes)))
}

/// Writes the time of a last use. It is for people to look at: a request neither fails nor waits long for it.
async fn noted(write: impl Future<Output = Result<usize>>) {
    match tokio::time::timeout(Duration::from_millis(500), write).await {
        Ok(Ok(_)) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "time of last use"),
        Err(_) => tracing::debug!("time of last use: the database is busy"),
    }
}

/// A member of an organisation, if they still are and are not disabled.
pub fn person_in(conn: &mut Conn, user_id: &str, organization_id: &str) -> Result<Option<Person>> {
    Ok(store::find_person(conn, user_id, organization_id)?)
}

/// A person as an actor, for platform code that acts on someone's behalf (demo loader, tests).
pub async fn actor_for(app: &App, user_id: &str, organization_id: &str) -> Result<Actor> {
    let (user_id, organization_id) = (user_id.to_owned(), organization_id.to_owned());
    let person = app.db.read(move |conn| person_in(conn, &user_id, &organization_id)).await?;
    person.map(|p| Actor::Person(Box::new(p), Via::System)).ok_or_else(|| Error::not_found("person"))
}

/// Ids of the platform's own organisations: whom to poke.
pub fn platform_organizations(conn: &mut Conn) -> Result<Vec<String>> {
    Ok(store::platform_ids(conn)?)
}

/// The decisions of some kinds on a subject, oldest first, the last fifty, with the names of those who decided. The caller has checked that
/// the reader may see the subject.
pub fn decision_notes(conn: &mut Conn, subject: &str, actions: &[&str]) -> Result<Vec<DecisionNote>> {
    let records = audit::service::records_on(conn, subject, actions, MAX_NOTES)?;
    let ids: Vec<&str> = records.iter().filter_map(|record| record.actor.strip_prefix("user:")).collect();
    let names = store::names_of(conn, &ids)?;
    let note = |record: Record| {
        let detail: serde_json::Value = serde_json::from_str(&record.detail).unwrap_or_default();
        let reason = detail.get("reason").and_then(|reason| reason.as_str()).unwrap_or_default().to_owned();
        let by = record.actor.strip_prefix("user:").and_then(|id| names.get(id)).cloned().unwrap_or_default();
        DecisionNote { action: record.action, at: record.at, by, reason }
    };
    Ok(records.into_iter().rev().map(note).collect())
}
