//! Preconditions and ranges (RFC 9110 §13 and §14) of whatever has a strong tag: `"<digest of the bytes>"`.
//!
//! Preconditions come before ranges, as §13.2.2 orders them. Nothing has a date of its last change, so conditions on dates are passed over.

use actix_web::http::header::{self, EntityTag, Header as _, HeaderMap, IfMatch, IfNoneMatch};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _};

use super::answer::{set, told};
use crate::base::error::{Error, Result};
use crate::http::conditional::{Asked, condition, range};
use crate::registry::model::{Expected, Named};

/// The tag of a content, with its quotes.
pub fn tag(digest: &str) -> String {
    format!("\"{digest}\"")
}

/// What a changing request expects. A header that holds no tag matches nothing.
pub fn expected(req: &HttpRequest) -> Expected {
    let digests = |tags: Vec<EntityTag>, weak: bool| {
        Named::OneOf(tags.into_iter().filter(|tag| weak || !tag.weak).map(|tag| tag.tag().to_owned()).collect())
    };
    let has = |name| req.headers().contains_key(name);
    // §13.1.1: tags are compared strongly, so a weak one matches nothing; §13.1.2: weakly.
    let matches = has(header::IF_MATCH).then(|| match IfMatch::parse(req) {
        Ok(IfMatch::Any) => Named::Any,
        Ok(IfMatch::Items(tags)) => digests(tags, false),
        Err(_) => Named::OneOf(Vec::new()),
    });
    let matches_none = has(header::IF_NONE_MATCH).then(|| match IfNoneMatch::parse(req) {
        Ok(IfNoneMatch::Any) => Named::Any,
        Ok(IfNoneMatch::Items(tags)) => digests(tags, true),
        Err(_) => Named::OneOf(Vec::new()),
    });
    Expected { matches, matches_none }
}

/// Whether the preconditions of a read hold for a content: true where it is to be sent, false where its reader has it (304).
///
/// # Errors
/// `precondition-failed`: `If-Match` names another content.
pub fn wants(req: &HttpRequest, digest: &str) -> Result<bool> {
    match condition(req, &EntityTag::new_strong(digest.to_owned())) {
        None => Ok(true),
        Some(StatusCode::NOT_MODIFIED) => Ok(false),
        Some(_) => Err(Error::precondition("precondition-failed")),
    }
}

/// The answer to a reader who has the content: with the headers of the content but those of its body.
pub fn not_modified(headers: &HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::NotModified();
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::CONTENT_TYPE && *name != header::ACCEPT_RANGES) {
        response.append_header((name, value));
    }
    response.finish()
}

/// The part of a content that is to be sent; the answer itself where there is none (416).
///
/// # Errors
/// The answer.
#[allow(clippy::result_large_err, reason = "an answer is as large as it is, and made once a request")]
pub fn part(
    req: &HttpRequest,
    response: &mut HttpResponseBuilder,
    digest: &str,
    size: u64,
) -> std::result::Result<(u64, u64), HttpResponse> {
    // §14.2: ranges are of GET only.
    if req.method() != Method::GET {
        return Ok((0, size));
    }
    match range(req, &EntityTag::new_strong(digest.to_owned()), size) {
        Asked::All => Ok((0, size)),
        Asked::Part(first, last) => {
            response.status(StatusCode::PARTIAL_CONTENT).insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}")));
            Ok((first, last - first + 1))
        }
        Asked::Nothing => {
            let mut refused = told(req, Error::invalid("range-not-satisfiable")).error_response();
            set(&mut refused, header::CONTENT_RANGE, &format!("bytes */{size}"));
            Err(refused)
        }
    }
}

/// Sends a content that lies in memory, as its reader wants it. `response` has its further headers.
///
/// # Errors
/// `precondition-failed`.
pub fn send(req: &HttpRequest, mut response: HttpResponseBuilder, digest: &str, content: Bytes) -> Result<HttpResponse> {
    response.insert_header((header::ETAG, tag(digest))).insert_header((header::ACCEPT_RANGES, "bytes"));
    if !wants(req, digest)? {
        return Ok(not_modified(response.finish().headers()));
    }
    Ok(match part(req, &mut response, digest, content.len() as u64) {
        Ok((first, length)) => {
            let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(content.len());
            response.body(content.slice(place(first)..place(first.saturating_add(length))))
        }
        Err(refused) => refused,
    })
}
