//! Registry tokens: `GET /token` gives a JWT with its holder's rights in some repositories (distribution token spec).
//!
//! The token grants all that the actor holds on the named repositories, not only what was asked: some clients (oras-py) keep their
//! first token for every later step. Signed with the platform key (`EdDSA`, `kid`), so that mirrors can verify it too.

use std::sync::Arc;

use chrono::TimeDelta;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;

use super::access::{self, Caller};
use super::cache::{self, Cache, Key};
use super::claims::{Access, Claims};
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
/// How long a token is valid.
const LIFE: TimeDelta = TimeDelta::minutes(15);
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

/// Makes a token for an actor with all their rights in the named repositories.
pub async fn issue(app: &App, actor: &Actor, scopes: &[String]) -> Result<TokenResponse> {
    let (asking, names, now) = (actor.clone(), named(scopes), app.clock.now());
    let access = app
        .db
        .read(move |conn| {
            let mut access = Vec::new();
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
        iss: app.settings.server.public_url.clone(),
        sub: if matches!(actor, Actor::Anonymous) { String::new() } else { actor.label() },
        aud: SERVICE.to_owned(),
        exp: now.plus(LIFE).unix(),
        nbf: now.unix(),
        iat: now.unix(),
        jti: ids::new("rtk"),
        access,
        org: actor.organization_id().map(ToOwned::to_owned),
        via: if let Actor::Person(_, via) = actor { Credential::of(via) } else { None },
    };
    let token = sign(&claims, &app.keys.signing, &app.keys.kid)?;
    Ok(TokenResponse { access_token: token.clone(), token, expires_in: LIFE.num_seconds(), issued_at: now })
}

fn sign(claims: &Claims, key: &SigningKey, kid: &str) -> Result<String> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.to_owned());
    let der: Vec<u8> = PKCS8_PREFIX.iter().chain(key.as_bytes()).copied().collect();
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&der)).map_err(Error::internal)
}

/// Checks signature, algorithm, audience, issuer and time. The signature of a token is verified only once: the keys do not change while
/// the process runs.
///
/// # Errors
/// `token-invalid`, without saying why.
pub fn verify(app: &App, cache: &Cache, token: &str) -> Result<Arc<Claims>> {
    if token.len() > MAX_TOKEN {
        return Err(invalid());
    }
    verify_known(app, cache, token, cache::key(&[token.as_bytes()]))
}

fn verify_known(app: &App, cache: &Cache, token: &str, key: Key) -> Result<Arc<Claims>> {
    let claims = if let Some(known) = cache.claims(&key) {
        known
    } else {
        let proved = Arc::new(prove(app, token)?);
        cache.keep_claims(key, proved.clone());
        proved
    };
    let now = app.clock.now().unix();
    if claims.nbf <= now && now < claims.exp { Ok(claims) } else { Err(invalid()) }
}

fn invalid() -> Error {
    Error::unauthenticated("token-invalid")
}

/// Claims of a token with our signature, without a check of its time.
fn prove(app: &App, token: &str) -> Result<Claims> {
    let header = jsonwebtoken::decode_header(token).map_err(|e| invalid().source(e))?;
    let key = header.kid.as_deref().and_then(|kid| app.keys.set.get(kid)).ok_or_else(invalid)?;
    // The library must not check the time: the app's clock does, which tests can move. The rest is checked here or below.
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_audience(&[SERVICE]);
    validation.set_issuer(&[&app.settings.server.public_url]);
    let data =
        jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(key.as_bytes()), &validation).map_err(|e| invalid().source(e))?;
    let claims = data.claims;
    let fits = claims.aud == SERVICE && claims.iss == app.settings.server.public_url;
    if fits { Ok(claims) } else { Err(invalid()) }
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
        let key = cache::key(&[bearer.as_bytes()]);
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
