//! The secret of a one-time link, on its way from the address to the form. The page that a link leads to keeps the secret in a cookie that
//! scripts cannot read and sends the browser on to its own address without it, so that the secret is not in the history, in a bookmark or in
//! what is sent as the page before.

use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::base::error::{Error, Result};
use crate::http::cookies;
use crate::http::page::see_other;

/// The cookie: `page:secret`.
const COOKIE: &str = "__Host-link";
/// Time to fill the form in, in seconds.
const SECONDS: i64 = 3600;

/// Query of the address in a link.
#[derive(Deserialize)]
pub struct Secret {
    pub secret: Option<String>,
}

/// The redirect to the page's own address.
pub fn keep(req: &HttpRequest, secret: &str) -> Result<HttpResponse> {
    let fits = !secret.is_empty() && secret.len() <= 100 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !fits {
        return Err(Error::gone("link-over"));
    }
    let path = req.path();
    with(see_other(path), &cookies::private(COOKIE, format!("{path}:{secret}"), SECONDS))
}

/// The secret that was kept for this page.
///
/// # Errors
/// `link-over`: there is none.
pub fn read(req: &HttpRequest) -> Result<String> {
    let value = cookies::read(req, COOKIE);
    let kept = value.as_deref().and_then(|value| value.split_once(':')).filter(|(path, _)| *path == req.path());
    kept.map(|(_, secret)| secret.to_owned()).ok_or_else(|| Error::gone("link-over"))
}

/// Deletes it with the answer to the form.
pub fn used(response: HttpResponse) -> Result<HttpResponse> {
    with(response, &cookies::expired(COOKIE))
}

fn with(mut response: HttpResponse, cookie: &actix_web::cookie::Cookie<'_>) -> Result<HttpResponse> {
    response.add_cookie(cookie).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    Ok(response)
}
