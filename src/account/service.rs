//! Use cases of accounts: signing up, people and organisations. What is asked of sessions is in [`super::sessions`] and offered here too.
//!
//! Colleagues are in [`super::team`], API tokens in [`super::tokens`].

use serde_json::json;

use super::model::{Credential, DecisionNote, Membership, Organization, User, valid_email, valid_slug};
use super::sign_in::Opening;
use super::{addresses, names, store, throttle};
use crate::audit::model::Record;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::{Actor, OrgKind, Person, Role, Via, password};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result};
use crate::base::i18n::Lang;
use crate::base::ids;
use crate::base::networks::network_of;

pub use super::sessions::{
    authenticate_credential, authenticate_screen, authenticate_session, authenticate_session_used, authenticate_token, end_session,
    idle_since, list_sessions, sign_out, sign_out_elsewhere, still_holds, switch_organization,
};
pub use super::sign_in::{Browser, SignedIn, sign_in, sign_in_on};
pub use super::store::{find_organization_by_slug, find_user_by_email, get_organization};

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
    let now = app.clock.now();
    create_organization(app, input, kind, Role::Owner, Some(now)).await
}

/// As [`sign_up`], for a form from the network: at most so many from one address, and the person has yet to prove theirs. Signs them in
/// without their password: strangers may have guessed at it for this address before.
///
/// # Errors
/// Also `sign-up-throttled`.
pub async fn sign_up_from(app: &App, input: SignUp, browser: Browser<'_>, lang: Lang) -> Result<SignedIn> {
    let (kind, address) = (public_kind(&input)?, browser.address);
    // Judging a password takes time: of one address few forms are looked at side by side.
    let _turn = app.gates.wait_address(&network_of(address)).await?;
    // Validate first: a form with mistakes must not use up the sign-up limit of its address.
    check_organization(app, &input, kind).await?;
    throttle::not_asking(app, address, SIGN_UP_THROTTLED).await?;
    throttle::sign_up(app, address).await?;
    let (organization, user) = prepare_organization(app, input, kind, None).await?;
    let ((opening, cookies), email) = (Opening::new(app, &user.id, browser), user.email.clone());
    // In one transaction: who saw an error would sign up again, and read that their address has an account.
    let made = audit::change(app, &Actor::System, move |c| {
        create_in(c, &organization, &user, Role::Owner)?;
        opening.open_in(c, Some(&organization.id), false)
    })
    .await;
    // The answer tells that the e-mail address has an account: who signs up is let in at once, without waiting for a mail. So it is said a
    // few times only, then the address signs up nobody for a while; and who has the account is told.
    if matches!(&made, Err(e) if e.code == "email-taken") {
        throttle::taken(app, address, SIGN_UP_THROTTLED).await?;
        addresses::tell_holder(app, email, lang).await?;
    }
    made.map(|()| cookies)
}

const SIGN_UP_THROTTLED: &str = "sign-up-throttled";

fn public_kind(input: &SignUp) -> Result<OrgKind> {
    match input.kind.as_str() {
        "vendor" => Ok(OrgKind::Vendor),
        "operator" => Ok(OrgKind::Operator),
        _ => Err(Error::field("kind", "choose-one")),
    }
}

/// Adds a person to the platform's organisation, which is made with the first of them. For the command line: nobody signs up as the
/// platform.
///
/// # Errors
/// `slug-taken`: somebody has the short name `slug`; without one the first free of `platform`, `platform-2`, … is taken.
pub async fn add_platform_person(
    app: &App,
    role: Role,
    email: &str,
    name: &str,
    password: &str,
    platform: &str,
    slug: Option<String>,
) -> Result<()> {
    if let Some(known) = app.db.read(|conn| Ok(store::find_platform(conn)?)).await? {
        return add_member(app, &known.id, role, email, name, password).await.map(|_| ());
    }
    let slug = match slug {
        Some(slug) => slug,
        None => app.db.read(free_platform_slug).await?,
    };
    let input = SignUp {
        email: email.to_owned(),
        name: name.to_owned(),
        password: password.to_owned(),
        kind: OrgKind::Platform.to_string(),
        slug,
        name_zh: platform.to_owned(),
        name_en: platform.to_owned(),
    };
    create_platform(app, input, role).await.map(|_| ())
}

/// Most short names that are tried for the platform.
const PLATFORM_SLUGS: u32 = 100;

fn free_platform_slug(conn: &mut Conn) -> Result<String> {
    for n in 1..=PLATFORM_SLUGS {
        let slug = if n == 1 { "platform".to_owned() } else { format!("platform-{n}") };
        if store::find_organization_by_slug(conn, &slug)?.is_none() {
            return Ok(slug);
        }
    }
    Err(Error::conflict("slug-taken"))
}

/// Makes the platform's organisation with its first person. Only for the command line, the demo loader and tests.
pub async fn create_platform(app: &App, input: SignUp, role: Role) -> Result<(String, String)> {
    let now = app.clock.now();
    create_organization(app, input, OrgKind::Platform, role, Some(now)).await
}

/// Checks the fields; gives the names, the slug and the person.
async fn check_organization(app: &App, input: &SignUp, kind: OrgKind) -> Result<(String, String, String, PendingUser)> {
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
    if kind != OrgKind::Platform {
        names::check_reserved(app, &mut faults, &slug, &name_zh, &name_en);
    }
    let own = [slug.as_str(), &name_zh, &name_en];
    let user = new_user(app, &mut faults, &input.email, &input.name, &input.password, &own).await?;
    faults.check()?;
    Ok((name_zh, name_en, slug, user))
}

async fn create_organization(
    app: &App,
    input: SignUp,
    kind: OrgKind,
    role: Role,
    email_verified_at: Option<Timestamp>,
) -> Result<(String, String)> {
    let (organization, user) = prepare_organization(app, input, kind, email_verified_at).await?;
    let made = (user.id.clone(), organization.id.clone());
    audit::change(app, &Actor::System, move |c| create_in(c, &organization, &user, role)).await?;
    Ok(made)
}

/// The rows of an organisation and its first person, checked.
async fn prepare_organization(
    app: &App,
    input: SignUp,
    kind: OrgKind,
    email_verified_at: Option<Timestamp>,
) -> Result<(Organization, User)> {
    let (name_zh, name_en, slug, user) = check_organization(app, &input, kind).await?;
    let user = User { email_verified_at, ..user.with_password(input.password).await? };
    let created_at = app.clock.now();
    Ok((Organization { id: ids::new("org"), kind, slug, name_zh, name_en, created_at, resembles: None }, user))
}

fn create_in(c: &mut Change<'_>, organization: &Organization, user: &User, role: Role) -> Result<()> {
    let now = c.now;
    store::insert_organization(c, organization).or_conflict("slug-taken")?;
    names::claim(c, organization)?;
    insert_member(c, user, &organization.id, role, now)?;
    let detail = json!({"organization": organization.slug, "kind": organization.kind, "role": role});
    c.audit_for(&organization.id, "organization.created", &organization.id, &detail);
    Ok(())
}

/// Adds a new person to an organisation without an invitation. Only for the command line, the demo loader and tests; people use
/// invitations.
pub async fn add_member(app: &App, organization_id: &str, role: Role, email: &str, name: &str, password: &str) -> Result<String> {
    let mut faults = Faults::default();
    let user = new_user(app, &mut faults, email, name, password, &[]).await?;
    faults.check()?;
    let user = User { email_verified_at: Some(app.clock.now()), ..user.with_password(password.to_owned()).await? };
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
        self.0.password_hash = password::hash(password::Line::Strangers, password).await?;
        Ok(self.0)
    }
}

/// Checks the fields of a new person. `own` are names of their organisation, which the password must not consist of.
pub(super) async fn new_user(app: &App, faults: &mut Faults, email: &str, name: &str, password: &str, own: &[&str]) -> Result<PendingUser> {
    let email = email.trim().to_lowercase();
    if !valid_email(&email) {
        faults.add("email", "email-invalid");
    }
    let name = faults.text("name", name, 1, 60);
    let own: Vec<&str> = own.iter().copied().chain([email.as_str(), &name]).collect();
    password::check(faults, "password", password, &own).await?;
    Ok(PendingUser(User {
        id: ids::new("usr"),
        email,
        name,
        password_hash: String::new(),
        disabled_at: None,
        created_at: app.clock.now(),
        email_verified_at: None,
    }))
}

/// A member of an organisation, if they still are and neither they nor the organisation are stopped.
pub fn person_in(conn: &mut Conn, user_id: &str, organization_id: &str) -> Result<Option<Person>> {
    Ok(store::find_person(conn, user_id, organization_id)?)
}

/// As [`person_in`], in the same query only while what they proved themselves with is not over; a session that was not used since `idle`
/// ([`idle_since`]) is.
pub fn holder_in(
    conn: &mut Conn,
    user_id: &str,
    organization_id: &str,
    credential: Option<&Credential>,
    idle: Timestamp,
    now: Timestamp,
) -> Result<Option<Person>> {
    Ok(store::find_holder(conn, user_id, organization_id, credential.map(|credential| (credential, idle, now)))?)
}

/// A person as an actor, for platform code that acts on someone's behalf (demo loader, tests).
pub async fn actor_for(app: &App, user_id: &str, organization_id: &str) -> Result<Actor> {
    let (user_id, organization_id) = (user_id.to_owned(), organization_id.to_owned());
    let person = app.db.read(move |conn| person_in(conn, &user_id, &organization_id)).await?;
    person.map(|p| Actor::Person(Box::new(p), Via::System)).ok_or_else(|| Error::not_found("person"))
}

/// What the name of an organisation looks like, where it looks like another's or the platform's.
pub fn resembles(conn: &mut Conn, organization_id: &str) -> Result<Option<String>> {
    Ok(store::get_organization(conn, organization_id)?.resembles)
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
