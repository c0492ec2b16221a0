//! Rendered pages for readers who are not signed in, kept in memory.

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::page::{PageResult, lang_of};

/// The request may be answered with a page that is out of date only: no turn to make a new one came in time.
#[derive(Debug)]
pub struct OldPageOnly(Error);

/// A page for everyone: from the cache where the reader is not signed in and has neither a one-time message nor a CSRF cookie.
pub async fn cached<F>(req: &HttpRequest, app: &App, actor: &Actor, make: F) -> PageResult
where
    F: AsyncFnOnce() -> PageResult,
{
    let Some(key) = key_of(req).filter(|_| matches!(actor, Actor::Anonymous)) else { return make().await };
    let old = req.extensions_mut().remove::<OldPageOnly>();
    if let Some(OldPageOnly(error)) = old {
        let (body, age) = app.pages.stale(&key).ok_or(error)?;
        let mut response = html(body);
        // RFC 7234 §5.5.1; RFC 9111 has left `Warning` out, and leaves it to `Age` alone.
        response.headers_mut().insert(header::WARNING, header::HeaderValue::from_static("110 - \"Response is Stale\""));
        response.headers_mut().insert(header::AGE, header::HeaderValue::from(age.as_secs()));
        return Ok(response);
    }
    if let Some(body) = app.pages.get(&key) {
        return Ok(html(body));
    }
    let generation = app.pages.generation();
    let response = make().await?;
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let body = actix_web::body::to_bytes(response.into_body()).await.map_err(|e| Error::internal(anyhow::anyhow!("page body: {e}")))?;
    app.pages.put(generation, key, body.clone());
    Ok(html(body))
}

/// Whether the answer to a request of a stranger lies ready: it costs no turn.
pub fn is_ready(req: &HttpRequest, app: &App) -> bool {
    req.method() == Method::GET && key_of(req).is_some_and(|key| app.pages.get(&key).is_some())
}

/// Lets a request of a stranger be answered with an old page instead of an error.
///
/// # Errors
/// The error, where there is no such page.
pub fn allow_old(req: &HttpRequest, app: &App, error: Error) -> Result<(), Error> {
    let known = req.method() == Method::GET && key_of(req).is_some_and(|key| app.pages.stale(&key).is_some());
    if !known {
        return Err(error);
    }
    req.extensions_mut().insert(OldPageOnly(error));
    Ok(())
}

/// The key of the page that everybody gets; none where this reader may get another one.
fn key_of(req: &HttpRequest) -> Option<String> {
    if cookies::read(req, cookies::FLASH).is_some() || cookies::read(req, cookies::CSRF).is_some() {
        return None;
    }
    // Any other word is no theme, and another key would hold the same page.
    let theme = cookies::read(req, cookies::THEME).filter(|theme| theme == "dark" || theme == "light").unwrap_or_default();
    Some(format!("{}|{theme}|{}", lang_of(req).tag(), req.uri()))
}

fn html(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").insert_header((header::VARY, "Cookie, Accept-Language")).body(body)
}

#[cfg(test)]
mod tests {
    use actix_web::cookie::Cookie;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn what_is_no_theme_makes_no_page_of_its_own() {
        let key = |theme: &str| {
            let theme = Cookie::new(cookies::THEME, theme.to_owned());
            key_of(&TestRequest::get().uri("/apps").cookie(theme).to_http_request()).unwrap()
        };
        assert_eq!(key("x".repeat(4000).as_str()), key("auto"));
        assert!(key("dark") != key("auto") && key("dark") != key("light"));
    }
}
