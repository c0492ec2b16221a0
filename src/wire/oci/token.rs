//! Registry tokens, as `/token` ([`super::grant`]) gives them: a JWT with its holder's rights in some repositories (distribution token spec),
//! and a second kind that only gets further ones of the first.
//!
//! The token grants all that the actor holds on the named repositories, not only what was asked: some clients (oras-py) keep their
//! first token for every later step. Signed with the key of the role `token` (`EdDSA`, `kid`), which the root document names.

use std::sync::Arc;

use chrono::TimeDelta;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::access::{self, Caller};
use super::cache::{self, Cache, Key};
use super::claims::{Access, Claims, RefreshClaims};
use crate::account;
use crate::account::model::Credential;
use crate::base::app::App;
use crate::base::auth::policy::Scope;
use crate::base::auth::{Actor, Via};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::ids;
use crate::fleet;
use crate::registry::model::RepositoryName;

/// Audience of our tokens and name of the service in challenges.
pub const SERVICE: &str = "pithead";
/// Audience of the tokens that get others.
const REFRESH: &str = "pithead-refresh";
/// How long a token is valid.
const LIFE: TimeDelta = TimeDelta::minutes(15);
/// How long one that gets others is valid, at most: it ends with what it was got with.
const REFRESH_LIFE: TimeDelta = TimeDelta::days(30);
/// Scope of the catalogue of repositories.
pub const CATALOG: &str = "registry:catalog:*";
/// Repositories in one token.
const MAX_SCOPES: usize = 20;
/// Longest token that is accepted, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// DER of a PKCS#8 v1 Ed25519 private key up to the 32 seed bytes (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Answer of the token endpoint.
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    pub token: String,
    /// The same token, by its OAuth 2 name.
    pub access_token: String,
    /// Seconds of validity.
    pub expires_in: i64,
    /// RFC 3339.
    pub issued_at: Timestamp,
    /// What was granted, as scopes with blanks between.
    pub scope: String,
    /// Gets further tokens, where one was asked for and there is something that it can end with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// Repositories named in `scope` values: each has any number of `repository:<name>:<actions>`, separated by spaces. Other scopes are
/// ignored: the endpoint grants what it can and gives no error.
fn named(scopes: &[String]) -> Vec<RepositoryName> {
    let mut names: Vec<RepositoryName> = Vec::new();
    for scope in scopes.iter().flat_map(|s| s.split_ascii_whitespace()) {
        let name =
            scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')).and_then(|(name, _)| RepositoryName::parse(name).ok());
        if let Some(name) = name
            && !names.contains(&name)
            && names.len() < MAX_SCOPES
        {
            names.push(name);
        }
    }
    names
}

fn issuer(app: &App) -> String {
    app.settings.server.public_url.clone()
}

fn credential_of(actor: &Actor) -> Option<Credential> {
    if let Actor::Person(_, via) = actor { Credential::of(via) } else { None }
}

/// Makes a token for an actor with all their rights in the named repositories.
pub async fn issue(app: &App, actor: &Actor, scopes: &[String]) -> Result<TokenResponse> {
    let (asking, names, now) = (actor.clone(), named(scopes), app.clock.now());
    let catalog = scopes.iter().flat_map(|s| s.split_ascii_whitespace()).any(|scope| scope == CATALOG);
    let access = app
        .db
        .read(move |conn| {
            let mut access = Vec::new();
            if catalog && access::may_list(&asking) {
                access.push(Access::catalog());
            }
            // At most MAX_SCOPES, in practice one or two.
            for name in names {
                let actions = access::rights(conn, &asking, &name, now)?.words();
                if !actions.is_empty() {
                    access.push(Access { kind: "repository".to_owned(), name: name.as_str().to_owned(), actions });
                }
            }
            Ok(access)
        })
        .await?;
    let claims = Claims {
        iss: issuer(app),
        sub: if matches!(actor, Actor::Anonymous) { String::new() } else { actor.label() },
        aud: SERVICE.to_owned(),
        exp: now.plus(LIFE).unix(),
        nbf: now.unix(),
        iat: now.unix(),
        jti: ids::new("rtk"),
        access,
        org: actor.organization_id().map(ToOwned::to_owned),
        via: credential_of(actor),
    };
    let scope = claims.access.iter().map(|a| format!("{}:{}:{}", a.kind, a.name, a.actions.join(","))).collect::<Vec<_>>().join(" ");
    let keys = app.keys.get();
    let token = sign(&claims, &keys.token.key, &keys.token.kid)?;
    let expires_in = LIFE.num_seconds();
    Ok(TokenResponse { access_token: token.clone(), token, expires_in, issued_at: now, scope, refresh_token: None })
}

/// Makes a token that gets further ones for an actor; none where they proved themselves with nothing that it could end with.
pub fn issue_refresh(app: &App, actor: &Actor) -> Result<Option<String>> {
    let (Some(via), Some(org)) = (credential_of(actor), actor.organization_id()) else { return Ok(None) };
    let now = app.clock.now();
    let claims = RefreshClaims {
        iss: issuer(app),
        sub: actor.label(),
        aud: REFRESH.to_owned(),
        exp: now.plus(REFRESH_LIFE).unix(),
        iat: now.unix(),
        jti: ids::new("rft"),
        org: org.to_owned(),
        via,
    };
    let keys = app.keys.get();
    sign(&claims, &keys.token.key, &keys.token.kid).map(Some)
}

/// The actor of a token that gets others, if what it was got with still holds: the API token or session, the person, their membership.
///
/// # Errors
/// `token-invalid`, without saying why.
pub async fn refreshed(app: &App, token: &str) -> Result<Actor> {
    if token.len() > MAX_TOKEN {
        return Err(invalid());
    }
    let claims: RefreshClaims = prove(app, token, REFRESH)?;
    let now = app.clock.now().unix();
    if claims.iat > now || now >= claims.exp {
        return Err(invalid());
    }
    let actor = account::service::authenticate_credential(app, &claims.via, &claims.org).await?;
    if actor.label() == claims.sub { Ok(actor) } else { Err(invalid()) }
}

fn sign<T: Serialize>(claims: &T, key: &SigningKey, kid: &str) -> Result<String> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.to_owned());
    let der: Vec<u8> = PKCS8_PREFIX.iter().chain(key.as_bytes()).copied().collect();
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&der)).map_err(Error::internal)
}

/// Checks signature, algorithm, audience, issuer and time. The signature of a token is verified once for each root document.
///
/// # Errors
/// `token-invalid`, without saying why.
pub fn verify(app: &App, cache: &Cache, token: &str) -> Result<Arc<Claims>> {
    if token.len() > MAX_TOKEN {
        return Err(invalid());
    }
    verify_known(app, cache, token, claims_key(app, token))
}

/// Another root document may distrust the key that signed.
fn claims_key(app: &App, token: &str) -> Key {
    cache::key(&[&app.keys.get().root.version.to_be_bytes(), token.as_bytes()])
}

fn verify_known(app: &App, cache: &Cache, token: &str, key: Key) -> Result<Arc<Claims>> {
    let claims = if let Some(known) = cache.claims(&key) {
        known
    } else {
        let proved: Arc<Claims> = Arc::new(prove(app, token, SERVICE)?);
        cache.keep_claims(key, proved.clone());
        proved
    };
    let now = app.clock.now().unix();
    if claims.nbf <= now && now < claims.exp { Ok(claims) } else { Err(invalid()) }
}

fn invalid() -> Error {
    Error::unauthenticated("token-invalid")
}

/// Claims of a token with our signature for an audience, without a check of its time.
fn prove<T: DeserializeOwned>(app: &App, token: &str, audience: &str) -> Result<T> {
    let header = jsonwebtoken::decode_header(token).map_err(|e| invalid().source(e))?;
    let keys = app.keys.get();
    let key = header.kid.as_deref().and_then(|kid| keys.token.set.get(kid)).ok_or_else(invalid)?;
    // The library must not check the time: the app's clock does, which tests can move. The rest is checked here or below.
    let mut validation = Validation::new(Algorithm::EdDSA);
    // Both must be there: the library compares what it finds.
    validation.set_required_spec_claims(&["aud", "iss"]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_audience(&[audience]);
    validation.set_issuer(&[&app.settings.server.public_url]);
    let key = DecodingKey::from_ed_der(key.as_bytes());
    jsonwebtoken::decode::<T>(token, &key, &validation).map(|data| data.claims).map_err(|e| invalid().source(e))
}

/// The caller as the request names it, before the database confirms it. Whether a token's holder is still a member or an enrolled node
/// is checked in the same read as the content, and so is what they got the token with: [`RequestIdentity::caller`].
#[derive(Debug, Clone)]
pub struct RequestIdentity {
    holder: Holder,
    token: Option<(Key, Arc<Claims>)>,
}

#[derive(Debug, Clone)]
enum Holder {
    /// The actor that the authentication middleware found, or an anonymous one.
    Known(Actor),
    Node {
        node_id: String,
        organization_id: String,
    },
    User {
        user_id: String,
        organization_id: String,
        /// A session that was last used before is over, and so is what it was good for.
        idle: Timestamp,
    },
}

impl From<Actor> for RequestIdentity {
    fn from(actor: Actor) -> Self {
        Self { holder: Holder::Known(actor), token: None }
    }
}

impl RequestIdentity {
    /// Combines the actor that the authentication middleware found with a registry token (`Authorization: Bearer`), if one was sent.
    ///
    /// # Errors
    /// `token-invalid`; a node that shows a certificate must be the token's own.
    pub fn of(app: &App, cache: &Cache, actor: Actor, bearer: Option<&str>) -> Result<Self> {
        let Some(bearer) = bearer else { return Ok(actor.into()) };
        if bearer.len() > MAX_TOKEN {
            return Err(invalid());
        }
        let key = claims_key(app, bearer);
        let claims = verify_known(app, cache, bearer, key)?;
        if matches!(actor, Actor::Node { .. }) && claims.sub != actor.label() {
            return Err(invalid());
        }
        let holder = match (claims.sub.split_once(':'), claims.org.clone()) {
            (None, _) => Holder::Known(Actor::Anonymous),
            (Some(("node", node)), Some(organization_id)) => Holder::Node { node_id: node.to_owned(), organization_id },
            (Some(("user", user)), Some(organization_id)) => {
                Holder::User { user_id: user.to_owned(), organization_id, idle: account::service::idle_since(app, app.clock.now()) }
            }
            _ => return Err(invalid()),
        };
        Ok(Self { holder, token: Some((key, claims)) })
    }

    /// The key of the token that was sent.
    pub fn token(&self) -> Option<&Key> {
        self.token.as_ref().map(|(key, _)| key)
    }

    /// The confirmed caller: a token's person must still be a member, and the API token or session behind it not be over; a token's node must
    /// still be enrolled.
    ///
    /// # Errors
    /// `token-invalid`.
    pub fn caller(&self, conn: &mut Conn, now: Timestamp) -> Result<Caller> {
        let actor = match &self.holder {
            Holder::Known(actor) => actor.clone(),
            // A removed node loses access at once, not when its token ends.
            Holder::Node { node_id, organization_id } if fleet::service::identity::is_enrolled(conn, node_id)? => {
                Actor::Node { node_id: node_id.clone(), organization_id: organization_id.clone() }
            }
            Holder::Node { .. } => return Err(invalid()),
            Holder::User { user_id, organization_id, idle } => {
                let (_, claims) = self.token.as_ref().ok_or_else(invalid)?;
                let via = claims.via.as_ref();
                let person = account::service::holder_in(conn, user_id, organization_id, via, *idle, now)?.ok_or_else(invalid)?;
                // All registry scopes: the access claim, made from the session or API token behind it, narrows them.
                Actor::Person(Box::new(person), Via::Token { id: claims.jti.clone(), scopes: vec![Scope::Publish, Scope::Pull] })
            }
        };
        Ok(Caller { actor, claims: self.token.as_ref().map(|(_, claims)| claims.clone()) })
    }

    /// The confirmed caller, in a database read of its own.
    ///
    /// # Errors
    /// As [`Self::caller`].
    pub async fn resolve(self, app: &App) -> Result<Caller> {
        match self {
            Self { holder: Holder::Known(actor), token: None } => Ok(actor.into()),
            asking => {
                let now = app.clock.now();
                app.db.read(move |conn| asking.caller(conn, now)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_repeat_and_share_a_value_and_others_are_passed_over() {
        let scopes = [
            "repository:a/b:pull,push repository:a/c:*".to_owned(),
            "repository:a/b:delete".into(),
            "registry:catalog:*".into(),
            "repository:A:pull".into(),
        ];
        let names: Vec<_> = named(&scopes).into_iter().map(|n| n.as_str().to_owned()).collect();
        assert_eq!(names, ["a/b", "a/c"]);
        let many: Vec<String> = (0..100).map(|n| format!("repository:a/r{n}:pull")).collect();
        assert_eq!(named(&many).len(), MAX_SCOPES);
    }
}
