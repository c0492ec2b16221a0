//! Sessions: signing out, who a request acts as, what ends when.
//!
//! A session is over when it is ended, after `sessions.hours`, and where it was not used for `sessions.idle_minutes`.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::model::{ApiToken, Credential, Session};
use super::{standing, store};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::policy::{self, Action, Scope};
use crate::base::auth::{Actor, Person, Via};
use crate::base::db::{Conn, Timestamp, Touched};
use crate::base::error::{Error, Kind, Result, exactly_one};
use crate::base::ids;

/// The last use of a session or token is noted at most this often: each note is a write.
const NOTE_EVERY: TimeDelta = TimeDelta::minutes(5);

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
    if person.organization_id == organization_id {
        return Ok(());
    }
    let (hash, user_id) = (hash.to_owned(), person.user_id.clone());
    let touched = Touched::Only([user_id.clone()].into());
    app.db
        .write_touching(touched, move |conn| {
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
        noted(app.db.write_aside(move |conn| Ok(store::note_session(conn, &hash, now.minus(NOTE_EVERY), now)?))).await;
    }
    Ok(Actor::Person(Box::new(person), Via::Session { csrf: session.csrf_token, token_hash: session.token_hash }))
}

/// As [`authenticate_session_used`], for something that the person does.
pub async fn authenticate_session(app: &App, cookie: &str) -> Result<Actor> {
    authenticate_session_used(app, cookie, true).await
}

/// Whether what a person proved themselves with still holds, for the same organisation: a long stream looks again while it lasts.
pub async fn still_holds(app: &App, credential: &Credential, organization_id: &str) -> Result<bool> {
    let (credential, organization_id, now) = (credential.clone(), organization_id.to_owned(), app.clock.now());
    let idle = idle_since(app, now);
    app.db
        .read(move |conn| {
            let held = match credential {
                Credential::Session(hash) => store::find_session(conn, &hash, idle, now)?.map(|s| (s.user_id, s.organization_id)),
                Credential::ApiToken(id) => store::find_token_by_id(conn, &id, now)?.map(|t| (t.user_id, t.organization_id)),
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
    let (mark, now) = (app.db.marks().now(), app.clock.now());
    if let Some(actor) = app.known_tokens.actor(&hash, app.db.marks(), now) {
        return Ok(actor);
    }
    let asked = hash.clone();
    let (actor, token) = token_actor(app, now, move |conn| store::find_token(conn, &asked, now)).await?;
    app.known_tokens.keep(hash, (mark, now), token.expires_at, &token.id, &actor);
    Ok(actor)
}

/// The actor of a screen that was signed in with a token; nobody where the token is over, as of a session. A cookie is sent along by whatever page
/// of another site, so a token that opens more than the wall counts for nothing here.
pub async fn authenticate_screen(app: &App, token: &str) -> Result<Actor> {
    match authenticate_token(app, token).await {
        Ok(actor) if matches!(&actor, Actor::Person(_, Via::Token { scopes, .. }) if scopes.as_slice() == [Scope::Wall]) => Ok(actor),
        Ok(_) => Ok(Actor::Anonymous),
        Err(e) if e.kind == Kind::Unauthenticated => Ok(Actor::Anonymous),
        Err(e) => Err(e),
    }
}

/// The actor whom something proves that was seen before, for the same organisation.
///
/// # Errors
/// `token-invalid`: the token or session is over, or its person is no member any more.
pub async fn authenticate_credential(app: &App, credential: &Credential, organization_id: &str) -> Result<Actor> {
    let (now, credential) = (app.clock.now(), credential.clone());
    let actor = match credential {
        Credential::ApiToken(id) => token_actor(app, now, move |conn| store::find_token_by_id(conn, &id, now)).await?.0,
        Credential::Session(hash) => {
            let idle = idle_since(app, now);
            let read = move |conn: &mut Conn| {
                let Some(session) = store::find_session(conn, &hash, idle, now)? else { return Ok(None) };
                let person = store::find_person(conn, &session.user_id, &session.organization_id)?;
                Ok(person.map(|person| (person, Via::Session { csrf: session.csrf_token, token_hash: session.token_hash })))
            };
            let (person, via) = app.db.read(read).await?.ok_or_else(invalid)?;
            Actor::Person(Box::new(person), via)
        }
    };
    if actor.organization_id() == Some(organization_id) { Ok(actor) } else { Err(invalid()) }
}

fn invalid() -> Error {
    Error::unauthenticated("token-invalid")
}

/// The actor of the API token that a query finds; its use is noted.
async fn token_actor(
    app: &App,
    now: Timestamp,
    find: impl FnOnce(&mut Conn) -> diesel::QueryResult<Option<ApiToken>> + Send + 'static,
) -> Result<(Actor, ApiToken)> {
    let (person, token) = app
        .db
        .read(move |conn| {
            let token = find(conn)?.ok_or_else(invalid)?;
            let person = store::find_person(conn, &token.user_id, &token.organization_id)?.ok_or_else(invalid)?;
            Ok((person, token))
        })
        .await?;
    if token.used_at.is_none_or(|at| at.plus(NOTE_EVERY) <= now) {
        let id = token.id.clone();
        noted(app.db.write_aside(move |conn| Ok(store::note_token(conn, &id, now.minus(NOTE_EVERY), now)?))).await;
    }
    let scopes = token.scopes.split(' ').filter_map(|s| s.parse::<Scope>().ok()).collect();
    Ok((Actor::Person(Box::new(person), Via::Token { id: token.id.clone(), scopes }), token))
}

/// Writes the time of a last use. It is for people to look at: a request neither fails nor waits long for it.
async fn noted(write: impl Future<Output = Result<usize>>) {
    match tokio::time::timeout(Duration::from_millis(500), write).await {
        Ok(Ok(_)) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "time of last use"),
        Err(_) => tracing::debug!("time of last use: the database is busy"),
    }
}
