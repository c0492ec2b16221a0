//! A secret that was just made, on its way to the page that shows it once.
//!
//! The answer to a form is a redirect, so that reloading repeats nothing; the secret is stored nowhere but as a hash, and must not be in an
//! address. It therefore travels in a cookie that scripts cannot read, that lasts a minute, and that the page showing the secret deletes.
//! The cookie discloses nothing new: the browser gets the secret in any case. There is one: of two secrets made before either is shown, the
//! later one stays.

use actix_web::{HttpRequest, HttpResponse};

use crate::base::auth::Actor;
use crate::base::error::{Error, Result};
use crate::http::cookies;
use crate::http::page::see_other;

/// The cookie: `what:usr_…:secret`.
const COOKIE: &str = "__Host-once";
/// Time for the redirect, in seconds.
const SECONDS: i64 = 60;

/// The redirect to the page that shows the secret. `what` names that page alone, so that another one neither shows the secret nor deletes it.
pub fn see(path: &str, what: &str, actor: &Actor, secret: &str) -> Result<HttpResponse> {
    let value = format!("{what}:{}:{secret}", actor.person()?.user_id);
    with(see_other(path), &cookies::private(COOKIE, value, SECONDS))
}

/// The secret that is to be shown to this person, if there is one.
pub fn read(req: &HttpRequest, what: &str, actor: &Actor) -> Option<String> {
    let value = cookies::read(req, COOKIE)?;
    let (kind, rest) = value.split_once(':')?;
    let (user_id, secret) = rest.split_once(':')?;
    let theirs = kind == what && actor.as_person().is_some_and(|person| person.user_id == user_id);
    let fits = !secret.is_empty() && secret.len() <= 200 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (theirs && fits).then(|| secret.to_owned())
}

/// Deletes the cookie with the page that shows the secret. Where the page has none to show, the cookie may be another page's, and stays.
pub fn shown(response: HttpResponse, shows: bool) -> Result<HttpResponse> {
    if shows { with(response, &cookies::expired(COOKIE)) } else { Ok(response) }
}

fn with(mut response: HttpResponse, cookie: &actix_web::cookie::Cookie<'_>) -> Result<HttpResponse> {
    response.add_cookie(cookie).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    Ok(response)
}
