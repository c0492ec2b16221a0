//! Finds the actor of a request: client certificate of a node, session cookie, or API token (`Bearer pht_…`, or Basic with the token as
//! password).
//!
//! A session that is over counts as none. An invalid token is an error, since its sender relies on it.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::app::App;
use crate::base::auth::{Actor, token};
use crate::base::error::Kind;
use crate::http::cookies;
use crate::http::margo::MargoError;
use crate::http::oci::OciError;
use crate::http::page::lang_of;
use crate::wire::oci::routes::challenge_for;
use crate::{account, fleet};

/// An API token found in the request, if any.
pub fn bearer_token(req: &actix_web::HttpRequest) -> Option<String> {
    let value = req.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        rest.starts_with(token::PREFIX).then(|| rest.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (_, password) = decoded.split_once(':')?;
        password.starts_with(token::PREFIX).then(|| password.to_owned())
    } else {
        None
    }
}

/// Client certificate of a TLS connection, verified by the handshake, in DER.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Option<Vec<u8>>);

/// The middleware. Static files and probes skip it.
pub async fn authenticate(req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let first = req.path().split('/').nth(1).unwrap_or_default();
    if matches!(first, "static" | "healthz" | "readyz" | "metrics" | "favicon.ico") {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    let Some(app) = req.app_data::<Data<App>>().cloned() else { return next.call(req).await.map(ServiceResponse::map_into_left_body) };
    let certificate = req.conn_data::<PeerCertificate>().and_then(|c| c.0.clone());
    let actor = if let Some(der) = certificate {
        fleet::service::authenticate_node(&app, &der).await
    } else if let Some(token) = bearer_token(req.request()) {
        account::service::authenticate_token(&app, &token).await
    } else if let Some(session) = cookies::read(req.request(), cookies::SESSION) {
        account::service::authenticate_session(&app, &session).await
    } else {
        Ok(Actor::Anonymous)
    };
    match actor {
        Ok(actor) => {
            req.extensions_mut().insert(actor);
            next.call(req).await.map(ServiceResponse::map_into_left_body)
        }
        Err(error) if matches!(first, "v2" | "token") => {
            let challenge = (error.kind == Kind::Unauthenticated).then(|| challenge_for(req.request(), &app, None, &error));
            let lang = lang_of(req.request());
            Ok(req.error_response(OciError { error, challenge, lang }).map_into_right_body())
        }
        Err(e) if first == "api" => Ok(req.error_response(MargoError(e)).map_into_right_body()),
        Err(e) => Ok(req.error_response(crate::http::api::ApiError(e)).map_into_right_body()),
    }
}
