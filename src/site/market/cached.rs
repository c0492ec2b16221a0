//! Rendered pages for readers who are not signed in, kept in memory.

use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::page::{PageResult, lang_of};

/// A page for everyone: from the cache where the reader is not signed in and has neither a one-time message nor a CSRF cookie.
pub async fn cached<F>(req: &HttpRequest, app: &App, actor: &Actor, make: F) -> PageResult
where
    F: AsyncFnOnce() -> PageResult,
{
    let plain =
        matches!(actor, Actor::Anonymous) && cookies::read(req, cookies::FLASH).is_none() && cookies::read(req, cookies::CSRF).is_none();
    if !plain {
        return make().await;
    }
    let theme = cookies::read(req, cookies::THEME).unwrap_or_default();
    let key = format!("{}|{theme}|{}", lang_of(req).tag(), req.uri());
    let html = |body: Bytes| {
        HttpResponse::Ok().content_type("text/html; charset=utf-8").insert_header((header::VARY, "Cookie, Accept-Language")).body(body)
    };
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
