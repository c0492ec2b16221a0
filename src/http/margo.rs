//! Errors as Margo's problem documents (RFC 9457, `application/problem+json`) with our stable `code` besides Margo's `type`.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use app_package::margo::{FieldFault, NOT_ACCEPTABLE, PROBLEM_PREFIX, PROBLEM_TYPE, SEMANTIC};
use serde::Serialize;

use crate::base::error::{Error, Kind};
use crate::base::i18n::{Lang, error_text};
use crate::http::page::status_of;

/// Result of a Margo handler.
pub type MargoResult = Result<HttpResponse, MargoError>;

/// Seconds after which a call may be tried again, where the error gives none.
const RETRY_AFTER: u32 = 5;

/// A domain error on its way to a Margo problem document. The middleware `errors` writes the body.
#[derive(Debug)]
pub struct MargoError(pub Error);

impl<E: Into<Error>> From<E> for MargoError {
    fn from(e: E) -> Self {
        Self(e.into())
    }
}

impl std::fmt::Display for MargoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for MargoError {
    fn status_code(&self) -> StatusCode {
        kind_of(&self.0).0
    }
}

/// Status and Margo's problem type.
fn kind_of(error: &Error) -> (StatusCode, Option<&'static str>) {
    match (error.kind, error.code) {
        (_, NOT_ACCEPTABLE) => (StatusCode::NOT_ACCEPTABLE, Some("server-cannot-generate-response")),
        (_, SEMANTIC) => (StatusCode::UNPROCESSABLE_ENTITY, Some("semantic-error")),
        (Kind::Invalid, _) => (StatusCode::BAD_REQUEST, Some("invalid-request")),
        // Margo knows no 401: a caller without an accepted certificate is `not-authorized`.
        (Kind::Unauthenticated | Kind::Forbidden, _) => (StatusCode::FORBIDDEN, Some("not-authorized")),
        (Kind::NotFound, "gateway-not-found") => (StatusCode::NOT_FOUND, Some("gateway-not-found")),
        (Kind::NotFound, "device-not-found") => (StatusCode::NOT_FOUND, Some("device-not-found")),
        (Kind::NotFound, "bundle-not-found") => (StatusCode::NOT_FOUND, Some("invalid-bundle")),
        (Kind::NotFound, "deployment-not-found") => (StatusCode::NOT_FOUND, Some("deployment-not-found")),
        (kind, _) => (status_of(kind), None),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'a str,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldFault>,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
    #[serde(rename = "request_id")]
    request_id: &'a str,
}

/// Writes the problem document.
pub fn write(lang: Lang, error: &Error, request_id: &str) -> HttpResponse {
    let (status, margo) = kind_of(error);
    let after = error.retry_after.unwrap_or(RETRY_AFTER);
    let retryable = matches!(error.kind, Kind::Unavailable | Kind::Full | Kind::RateLimited | Kind::Internal | Kind::Conflict);
    let problem = Problem {
        r#type: margo.map_or_else(|| "about:blank".to_owned(), |name| format!("{PROBLEM_PREFIX}{name}")),
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        code: error.code,
        detail: error_text(lang, error.code, &error.args),
        errors: error.fields.iter().map(|f| FieldFault { field: f.field.clone(), message: error_text(lang, f.code, &f.args) }).collect(),
        retryable,
        retry_after_seconds: retryable.then_some(after),
        request_id,
    };
    let mut response = HttpResponse::build(status);
    if retryable {
        response.insert_header((header::RETRY_AFTER, after));
    }
    // `json` keeps a content type that is set already.
    response.content_type(PROBLEM_TYPE).json(problem)
}
