//! Extractors: the [`Actor`], and bodies with size limits and errors in our dialects.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::api::ApiError;
use super::page::PageError;
use crate::base::auth::Actor;
use crate::base::error::Error;

/// Largest form in bytes.
const FORM_LIMIT: usize = 512 * 1024;
/// Largest JSON body in bytes.
const JSON_LIMIT: usize = 2 * 1024 * 1024;

impl FromRequest for Actor {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(req.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}

/// Whether the Content-Type is that of a form. The CSRF check reads only such bodies, and another site's form can send the same bytes
/// as `text/plain`.
pub fn is_form(req: &HttpRequest) -> bool {
    let kind = req.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = kind.and_then(|v| v.split(';').next()).map(str::trim);
    essence.is_some_and(|v| v.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// A URL-encoded form. The CSRF middleware has checked it already.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = PageError;
    type Future = LocalBoxFuture<'static, Result<Self, PageError>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (payload, known) = (payload.take(), is_form(req));
        Box::pin(async move {
            if !known {
                return Err(Error::invalid("form-malformed").into());
            }
            let bytes = read_body(payload, FORM_LIMIT).await?;
            Ok(Self(serde_urlencoded::from_bytes(&bytes).map_err(|e| Error::invalid("form-malformed").source(e))?))
        })
    }
}

/// A form with repeated or unforeseen fields, as pairs in order.
#[derive(Debug)]
pub struct FormPairs(pub Vec<(String, String)>);

impl FromRequest for FormPairs {
    type Error = PageError;
    type Future = LocalBoxFuture<'static, Result<Self, PageError>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (payload, known) = (payload.take(), is_form(req));
        Box::pin(async move {
            if !known {
                return Err(Error::invalid("form-malformed").into());
            }
            let bytes = read_body(payload, FORM_LIMIT).await?;
            Ok(Self(serde_urlencoded::from_bytes(&bytes).map_err(|e| Error::invalid("form-malformed").source(e))?))
        })
    }
}

impl FormPairs {
    /// First value of a field, or empty.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// All values of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A JSON body, whatever its Content-Type says.
#[derive(Debug)]
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for ApiJson<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(_: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        Box::pin(async move {
            let bytes = read_body(payload, JSON_LIMIT).await?;
            Ok(Self(
                serde_json::from_slice(&bytes)
                    .map_err(|e| Error::invalid("json-malformed").arg("where", format!("{}:{}", e.line(), e.column())).source(e))?,
            ))
        })
    }
}

/// Time for a body's first bytes, and slowest pace after that: a mine's line may be slow, but a client that sends a byte a second only
/// holds a connection.
const FIRST_BYTES: Duration = Duration::from_secs(20);
const BYTES_PER_SECOND: usize = 1024;

/// Reads a body whole, up to a limit.
///
/// # Errors
/// `body-too-large`; `body-too-slow`; `body-broken` where the connection ends early.
pub async fn read_body(mut payload: Payload, limit: usize) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    let begin = Instant::now();
    loop {
        let pace = Duration::from_secs((bytes.len() / BYTES_PER_SECOND) as u64);
        let next = timeout_at(begin + FIRST_BYTES + pace, payload.next()).await;
        let Some(chunk) = next.map_err(|_| Error::invalid("body-too-slow"))? else { break };
        let chunk = chunk.map_err(|e| Error::invalid("body-broken").source(anyhow::anyhow!("{e}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Error::too_large("body-too-large").arg("bytes", limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The client's address: the peer's, or the last of `X-Forwarded-For` where the settings say that a proxy stands before us.
pub fn client_address(req: &HttpRequest, behind_proxy: bool) -> String {
    let forwarded = req
        .headers()
        .get("x-forwarded-for")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.rsplit(',').next())
        .and_then(|v| v.trim().parse::<IpAddr>().ok());
    match (behind_proxy, forwarded, req.peer_addr()) {
        (true, Some(ip), _) => ip.to_string(),
        (_, _, Some(peer)) => peer.ip().to_string(),
        _ => "unknown".into(),
    }
}
