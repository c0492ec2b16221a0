//! `/token`: `GET` with credentials in the header (distribution's token specification), `POST` with a form (its OAuth 2 specification).
//!
//! A form counts by what it holds alone: a browser's cookie, which a page of another site could send along, and a node's certificate are
//! passed over. So no CSRF value stands before it.

use actix_web::http::{Method, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::{not_allowed, pairs, told};
use super::routes::challenge_for;
use super::token::{self, TokenResponse};
use crate::account;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::token::PREFIX;
use crate::base::error::{Error, Kind, Result};
use crate::http::extract::{is_form, parse_form, read_body};
use crate::http::oci::{OciError, OciResult};

/// Longest form in bytes: one token, and the scopes of a few repositories.
const MAX_FORM: usize = 64 * 1024;

/// All of `/token`.
pub async fn handle(req: HttpRequest, app: Data<App>, actor: Actor, payload: Payload) -> OciResult {
    let granted = match *req.method() {
        Method::GET | Method::HEAD => by_header(&req, &app, &actor).await,
        Method::POST => by_form(&req, &app, payload).await,
        _ => return Ok(not_allowed(&req, &[Method::GET, Method::HEAD, Method::POST])),
    };
    match granted {
        Ok(granted) => Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(granted)),
        Err(error) => {
            let challenge = (error.kind == Kind::Unauthenticated).then(|| challenge_for(&req, &app, None, &error));
            Err(OciError { challenge, ..told(&req, error) })
        }
    }
}

/// The token leaves out rights that the caller lacks; only bad credentials are an error.
async fn by_header(req: &HttpRequest, app: &App, actor: &Actor) -> Result<TokenResponse> {
    if matches!(actor, Actor::Anonymous) && req.headers().contains_key(header::AUTHORIZATION) {
        return Err(Error::unauthenticated("token-invalid"));
    }
    let query = Fields(pairs(req));
    query.require_service()?;
    grant(app, actor, &query.scopes(), query.is("offline_token", "true")).await
}

async fn by_form(req: &HttpRequest, app: &App, payload: Payload) -> Result<TokenResponse> {
    if !is_form(req) {
        return Err(Error::invalid("form-malformed"));
    }
    let form = Fields(parse_form(&read_body(req, payload.into_inner(), MAX_FORM).await?)?);
    form.require_service()?;
    let missing = |field: &str| Error::invalid("grant-invalid").arg("field", field);
    let actor = match form.get("grant_type") {
        // As in the header, the password is an API token and the name beside it is passed over.
        "password" => match form.get("password") {
            "" => return Err(missing("password")),
            secret if secret.starts_with(PREFIX) => account::service::authenticate_token(app, secret).await?,
            _ => return Err(Error::unauthenticated("token-invalid")),
        },
        "refresh_token" => match form.get("refresh_token") {
            "" => return Err(missing("refresh_token")),
            refresh => token::refreshed(app, refresh).await?,
        },
        _ => return Err(missing("grant_type")),
    };
    grant(app, &actor, &form.scopes(), form.is("access_type", "offline")).await
}

async fn grant(app: &App, actor: &Actor, scopes: &[String], offline: bool) -> Result<TokenResponse> {
    let issued = token::issue(app, actor, scopes).await?;
    let refresh_token = if offline { token::issue_refresh(app, actor)? } else { None };
    Ok(TokenResponse { refresh_token, ..issued })
}

/// Fields of a query or a form.
struct Fields(Vec<(String, String)>);

impl Fields {
    /// First value of a field, or empty.
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    fn scopes(&self) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == "scope").map(|(_, value)| value.clone()).collect()
    }

    /// # Errors
    /// `service-unknown`.
    fn require_service(&self) -> Result<()> {
        let other = self.0.iter().any(|(name, value)| name == "service" && value != token::SERVICE);
        if other { Err(Error::invalid("service-unknown")) } else { Ok(()) }
    }
}
