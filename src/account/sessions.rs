//! Sessions: signing in and out, who a request acts as, what ends when.
//!
//! A session is over when it is ended, after `sessions.hours`, and where it was not used for `sessions.idle_minutes`.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::model::{Session, User};
use super::throttle::Attempt;
use super::{passwords, standing, store, throttle};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::policy::{self, Action, Scope};
use crate::base::auth::{Actor, Person, Via, password};
use crate::base::db::Timestamp;
use crate::base::error::{Error, Result, exactly_one};
use crate::base::ids;

/// The last use of a session or token is noted at most this often: each note is a write.
const NOTE_EVERY: TimeDelta = TimeDelta::minutes(5);

/// Where a request to sign in comes from.
#[derive(Debug, Clone, Copy)]
pub struct Browser<'a> {
    /// Client address.
    pub address: &'a str,
    pub user_agent: &'a str,
    /// Value of its cookie from an earlier sign-in.
    pub device: Option<&'a str>,
}

/// The cookies of a browser that has signed in.
#[derive(Debug)]
pub struct SignedIn {
    pub session: String,
    /// Outlives the session, so that the browser is known next time.
    pub device: String,
}

/// As [`sign_in_on`], for a program that keeps no second cookie; gives the value of the session cookie.
pub async fn sign_in(app: &App, email: &str, password: String, address: &str, user_agent: &str) -> Result<String> {
    Ok(sign_in_on(app, email, password, Browser { address, user_agent, device: None }).await?.session)
}

/// Signs a browser in.
///
/// # Errors
/// `wrong-password` (also for an unknown account: which it was is not told), `sign-in-throttled`; with the right password, the reason of
/// the platform: `person-disabled`, `organization-suspended` where the person has no other; `no-organization`.
pub async fn sign_in_on(app: &App, email: &str, password: String, browser: Browser<'_>) -> Result<SignedIn> {
    let email = email.trim().to_lowercase();
    // What is no secret of ours is no cookie of ours.
    let browser = Browser { device: browser.device.filter(|secret| secret.len() == ids::SECRET_CHARS), ..browser };
    let attempt = throttle::password_on(app, &email, browser.address, browser.device).await?;
    let user = app.db.read(move |conn| Ok(store::find_user_by_email(conn, &email)?)).await?;
    let fits = password.len() <= password::MAX_BYTES && password::verify(password, user.as_ref().map(|u| u.password_hash.clone())).await?;
    let Some(user) = user.filter(|_| fits) else {
        attempt.failed(app).await?;
        return Err(Error::unauthenticated("wrong-password"));
    };
    open(app, user, attempt, browser).await
}

/// Opens a session for a person who has proved their password.
///
/// # Errors
/// As [`sign_in_on`]; `wrong-password` also where the password was replaced meanwhile.
pub(super) async fn open(app: &App, user: User, attempt: Attempt, browser: Browser<'_>) -> Result<SignedIn> {
    let Browser { address, user_agent, device } = browser;
    let now = app.clock.now();
    let cookies = SignedIn { session: ids::secret(), device: device.map_or_else(ids::secret, ToOwned::to_owned) };
    let session = Session {
        token_hash: ids::hash_secret(&cookies.session),
        user_id: user.id.clone(),
        organization_id: String::new(),
        csrf_token: ids::secret(),
        address: address.chars().take(60).collect(),
        user_agent: user_agent.chars().take(200).collect(),
        created_at: now,
        seen_at: now,
        expires_at: now.plus(TimeDelta::hours(app.settings.sessions.hours)),
        revoked_at: None,
        device_hash: Some(ids::hash_secret(&cookies.device)),
    };
    let id = user.id.clone();
    audit::change(app, &Actor::System, move |c| {
        if !passwords::still_in(c, &user)? {
            return Err(Error::unauthenticated("wrong-password"));
        }
        standing::require_enabled(c, &user.id)?;
        let Some(organization_id) = store::first_organization_of(c, &user.id)? else {
            return Err(match store::suspended_reason_for(c, &user.id)? {
                Some(reason) => Error::forbidden("organization-suspended").arg("reason", reason),
                None => Error::forbidden("no-organization"),
            });
        };
        let person = store::find_person(c, &user.id, &organization_id)?.ok_or_else(|| Error::forbidden("no-organization"))?;
        let detail = json!({"address": session.address, "known_browser": attempt.from_known_browser()});
        c.audit_as(&Actor::Person(Box::new(person), Via::System), "person.signed-in", &user.id, &detail);
        store::insert_session(c, &Session { organization_id, ..session.clone() })?;
        attempt.succeeded_in(c)
    })
    .await?;
    tracing::info!(user = id, address, "signed in");
    Ok(cookies)
}

/// Ends the session of the actor.
pub async fn sign_out(app: &App, actor: &Actor, address: &str) -> Result<()> {
    let Actor::Person(person, Via::Session { token_hash, .. }) = actor else { return Ok(()) };
    let (hash, user_id, address) = (token_hash.clone(), person.user_id.clone(), address.to_owned());
    tracing::info!(user = user_id, address, "signed out");
    audit::change(app, actor, move |c| {
        c.uncounted();
        let now = c.now;
        if store::revoke_session(c, &hash, &user_id, now)? == 1 {
            c.audit("person.signed-out", &user_id, &json!({"address": address}));
        }
        Ok(())
    })
    .await
}

/// The hash of the actor's own session, for what only a session may do.
pub(super) fn own_session(actor: &Actor) -> Result<(&Person, &str)> {
    let person = actor.person()?;
    match actor {
        Actor::Person(_, Via::Session { token_hash, .. }) => Ok((person, token_hash)),
        _ => Err(Error::forbidden("token-scope").arg("scope", "session")),
    }
}

/// Ends all other sessions of the person.
pub async fn sign_out_elsewhere(app: &App, actor: &Actor) -> Result<usize> {
    let (person, hash) = own_session(actor)?;
    let (hash, user_id) = (hash.to_owned(), person.user_id.clone());
    audit::change(app, actor, move |c| {
        c.uncounted();
        let now = c.now;
        let ended = store::revoke_other_sessions(c, &user_id, &hash, now)?;
        if ended > 0 {
            c.audit("session.ended", &user_id, &json!({"sessions": ended}));
        }
        Ok(ended)
    })
    .await
}

/// Ends a session of the person by the hash that names it.
///
/// # Errors
/// `session-over`: it is over, or another person's.
pub async fn end_session(app: &App, actor: &Actor, token_hash: String) -> Result<()> {
    let user_id = own_session(actor)?.0.user_id.clone();
    audit::change(app, actor, move |c| {
        c.uncounted();
        let now = c.now;
        exactly_one(store::revoke_session(c, &token_hash, &user_id, now)?, "session-over")?;
        c.audit("session.ended", &user_id, &json!({"sessions": 1}));
        Ok(())
    })
    .await
}

/// The person's sessions that are not over, newest first.
pub async fn list_sessions(app: &App, actor: &Actor) -> Result<Vec<Session>> {
    let (user_id, now) = (policy::require(actor, Action::ViewAccount)?.user_id.clone(), app.clock.now());
    let idle = idle_since(app, now);
    app.db.read(move |conn| Ok(store::list_sessions(conn, &user_id, idle, now)?)).await
}

/// Acts for another organisation of the person from now on.
///
/// # Errors
/// `organization`: not one of theirs; `organization-suspended`.
pub async fn switch_organization(app: &App, actor: &Actor, organization_id: String) -> Result<()> {
    let (person, hash) = own_session(actor)?;
    let (hash, user_id) = (hash.to_owned(), person.user_id.clone());
    app.db
        .write(move |conn| {
            if store::find_person(conn, &user_id, &organization_id)?.is_none() {
                let own = store::organizations_of(conn, &user_id)?.iter().any(|(id, ..)| *id == organization_id);
                if own {
                    standing::require_going(conn, &organization_id)?;
                }
                return Err(Error::not_found("organization"));
            }
            store::set_session_organization(conn, &hash, &organization_id)?;
            Ok(())
        })
        .await
}

/// Sessions that were last used before that are over.
pub fn idle_since(app: &App, now: Timestamp) -> Timestamp {
    now.minus(TimeDelta::minutes(app.settings.sessions.idle_minutes))
}

/// The actor of a session cookie; a session that is over is `Anonymous`. `used` says that the person does something: what a page does by
/// itself keeps no session alive.
pub async fn authenticate_session_used(app: &App, cookie: &str, used: bool) -> Result<Actor> {
    if cookie.len() > 100 {
        return Ok(Actor::Anonymous);
    }
    let hash = ids::hash_secret(cookie);
    let now = app.clock.now();
    let idle = idle_since(app, now);
    let found = app
        .db
        .read(move |conn| {
            let Some(session) = store::find_session(conn, &hash, idle, now)? else { return Ok(None) };
            let Some(mut person) = store::find_person(conn, &session.user_id, &session.organization_id)? else { return Ok(None) };
            person.organizations = store::organizations_of(conn, &session.user_id)?;
            Ok(Some((person, session)))
        })
        .await?;
    let Some((person, session)) = found else { return Ok(Actor::Anonymous) };
    if used && session.seen_at.plus(NOTE_EVERY) <= now {
        let hash = session.token_hash.clone();
        noted(app.db.write(move |conn| Ok(store::note_session(conn, &hash, now.minus(NOTE_EVERY), now)?))).await;
    }
    Ok(Actor::Person(Box::new(person), Via::Session { csrf: session.csrf_token, token_hash: session.token_hash }))
}

/// As [`authenticate_session_used`], for something that the person does.
pub async fn authenticate_session(app: &App, cookie: &str) -> Result<Actor> {
    authenticate_session_used(app, cookie, true).await
}

/// What a long stream relies on, to look at again while it lasts.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Hash of a session's cookie.
    Session(String),
    /// Hash of an API token.
    Token(String),
}

/// Whether what an actor proved themselves with still holds, for the same organisation.
pub async fn still_holds(app: &App, proof: &Proof, organization_id: &str) -> Result<bool> {
    let (proof, organization_id, now) = (proof.clone(), organization_id.to_owned(), app.clock.now());
    let idle = idle_since(app, now);
    app.db
        .read(move |conn| {
            let held = match proof {
                Proof::Session(hash) => store::find_session(conn, &hash, idle, now)?.map(|s| (s.user_id, s.organization_id)),
                Proof::Token(hash) => store::find_token(conn, &hash, now)?.map(|t| (t.user_id, t.organization_id)),
            };
            let Some((user_id, organization)) = held.filter(|(_, organization)| *organization == organization_id) else { return Ok(false) };
            Ok(store::find_person(conn, &user_id, &organization)?.is_some())
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
    Ok(Actor::Person(Box::new(person), Via::Token { id: token.id, scopes }))
}

/// Writes the time of a last use. It is for people to look at: a request neither fails nor waits long for it.
async fn noted(write: impl Future<Output = Result<usize>>) {
    match tokio::time::timeout(Duration::from_millis(500), write).await {
        Ok(Ok(_)) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "time of last use"),
        Err(_) => tracing::debug!("time of last use: the database is busy"),
    }
}
