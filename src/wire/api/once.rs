//! Requests that change something: their body, their key (`Idempotency-Key`), and the answer, which is kept where there is a key, but for its
//! secrets.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::error::{Error, Result};
use crate::http::api::{ApiError, ApiResult};
use crate::http::extract::read_body;
use crate::once::model::{Answer, Key};
use crate::once::service;

/// Largest body in bytes: two hundred nodes and an app's parameters.
const LIMIT: usize = 64 * 1024;
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is that of a request before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A body, and the key of the request.
pub struct Asked<T> {
    pub input: T,
    pub key: Option<Key>,
}

/// The body of a call that needs none: nothing, or an empty object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl<T: DeserializeOwned + 'static> FromRequest for Asked<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, std::result::Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (payload, req) = (payload.take(), req.clone());
        Box::pin(async move {
            let bytes = read_body(&req, payload, LIMIT).await?;
            let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
            let input = serde_json::from_slice(text).map_err(Error::json)?;
            Ok(Self { input, key: key_of(&req, &bytes)? })
        })
    }
}

fn key_of(req: &HttpRequest, body: &[u8]) -> Result<Option<Key>> {
    let header = req.headers().get(KEY).map(|value| value.to_str().unwrap_or_default());
    header.map(|header| Key::of(header, req.method().as_str(), req.path(), body)).transpose()
}

/// The key of a DELETE, whose body means nothing (RFC 9110 §9.3.5).
pub struct Keyed(pub Option<Key>);

impl FromRequest for Keyed {
    type Error = ApiError;
    type Future = Ready<std::result::Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(key_of(req, &[]).map(Self).map_err(ApiError))
    }
}

/// The answer to what a change has made.
pub fn answer(status: StatusCode, body: &impl Serialize) -> Result<Answer> {
    Ok(Answer::new(status.as_u16(), serde_json::to_string(body)?))
}

/// The same where the answer has a secret: `kept` is the answer without it, the one that a request sent again gets.
pub fn secret_answer<T: Serialize>(status: StatusCode, body: &T, kept: &T) -> Result<Answer> {
    Ok(Answer { kept: Some(serde_json::to_string(kept)?), ..answer(status, body)? })
}

/// Makes a change once and answers it. Whoever has no right is refused before a transaction begins.
pub async fn once<F>(app: &App, actor: &Actor, action: Action, key: Option<Key>, f: F) -> ApiResult
where
    F: Fn(&mut Change<'_>) -> Result<Answer> + Send + 'static,
{
    policy::require(actor, action)?;
    let (answer, again) = service::change(app, actor, key, f).await?;
    let status = StatusCode::from_u16(answer.status).map_err(Error::internal)?;
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "application/json"));
    if again {
        response.insert_header((REPLAYED, "true"));
    }
    Ok(response.body(answer.body))
}
