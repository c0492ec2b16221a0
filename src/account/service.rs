//! Use cases of accounts.

use super::store;
use crate::app::App;
use crate::auth::policy::Scope;
use crate::auth::{Actor, Via};
use crate::error::{Error, Result};
use crate::ids;

/// The actor of a session cookie; a session that is over is `Anonymous`.
pub async fn authenticate_session(app: &App, cookie: &str) -> Result<Actor> {
    if cookie.len() > 100 {
        return Ok(Actor::Anonymous);
    }
    let hash = ids::hash_secret(cookie);
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            let Some(session) = store::find_session(conn, &hash, now)? else { return Ok(Actor::Anonymous) };
            let person = store::find_person(conn, &session.user_id, &session.organization_id)?;
            Ok(person.map_or(Actor::Anonymous, |p| Actor::Person(Box::new(p), Via::Session { csrf: session.csrf_token, token_hash: hash })))
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
    app.db
        .read(move |conn| {
            let invalid = || Error::unauthenticated("token-invalid");
            let (user_id, organization_id, scopes) = store::find_token(conn, &hash, now)?.ok_or_else(invalid)?;
            let person = store::find_person(conn, &user_id, &organization_id)?.ok_or_else(invalid)?;
            let scopes = scopes.split(' ').filter_map(|s| s.parse::<Scope>().ok()).collect();
            Ok(Actor::Person(Box::new(person), Via::Token(scopes)))
        })
        .await
}

/// A person as an actor, for platform code that acts on someone's behalf (demo loader, tests).
pub async fn actor_for(app: &App, user_id: &str, organization_id: &str) -> Result<Actor> {
    let (user_id, organization_id) = (user_id.to_owned(), organization_id.to_owned());
    let person = app.db.read(move |conn| Ok(store::find_person(conn, &user_id, &organization_id)?)).await?;
    person.map(|p| Actor::Person(Box::new(p), Via::System)).ok_or_else(|| Error::not_found("person"))
}
