//! Small pieces of requests and answers.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};

use crate::base::error::Error;
use crate::http::oci::OciError;
use crate::http::page::lang_of;

/// The answer to a method that what was addressed does not know (RFC 9110 §15.5.6), and to OPTIONS.
pub fn not_allowed(req: &HttpRequest, known: &[Method]) -> HttpResponse {
    let allow = known.iter().chain([&Method::OPTIONS]).map(Method::as_str).collect::<Vec<_>>().join(", ");
    if req.method() == Method::OPTIONS {
        return HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish();
    }
    let mut refused = told(req, Error::no_method("method-not-allowed").arg("allow", &allow)).error_response();
    set(&mut refused, header::ALLOW, &allow);
    refused
}

/// An OCI error in the reader's language, for an answer that gets further headers.
pub fn told(req: &HttpRequest, error: Error) -> OciError {
    OciError { lang: lang_of(req), ..OciError::from(error) }
}

pub fn pairs(req: &HttpRequest) -> Vec<(String, String)> {
    serde_urlencoded::from_str(req.query_string()).unwrap_or_default()
}

pub fn text<'a>(req: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    req.headers().get(name).and_then(|v| v.to_str().ok())
}

pub fn set(response: &mut HttpResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
