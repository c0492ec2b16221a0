//! JSON for programs: errors are RFC 9457 problem documents with our stable `code`.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETAG, EntityTag, VARY, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::conditional::condition;
use super::page::status_of;
use crate::base::error::Error;
use crate::base::i18n::{Lang, error_text};

/// Result of a JSON handler.
pub type ApiResult = Result<HttpResponse, ApiError>;

/// A domain error on its way to a problem document.
#[derive(Debug)]
pub struct ApiError(pub Error);

impl<E: Into<Error>> From<E> for ApiError {
    fn from(e: E) -> Self {
        Self(e.into())
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        status_of(self.0.kind)
    }
}

/// RFC 9457 problem document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`; `code` names the problem.
    pub r#type: &'static str,
    /// Reason phrase of the status.
    pub title: &'static str,
    pub status: u16,
    /// Stable word (docs/ERRORS.md).
    pub code: &'static str,
    /// Text for people.
    pub detail: String,
    /// Wrong fields; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<ProblemField>,
    /// Id of the request in the log.
    pub request_id: String,
}

/// One wrong field of a problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemField {
    /// JSON key or form field.
    pub field: String,
    /// Stable word.
    pub code: &'static str,
    /// Text for people.
    pub message: String,
}

/// Writes the problem document.
pub fn problem(lang: Lang, error: &Error, request_id: &str) -> HttpResponse {
    let status = status_of(error.kind);
    let errors = error
        .fields
        .iter()
        .map(|f| ProblemField { field: f.field.clone(), code: f.code, message: error_text(lang, f.code, &f.args) })
        .collect();
    let body = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        code: error.code,
        detail: error_text(lang, error.code, &error.args),
        errors,
        request_id: request_id.to_owned(),
    };
    let mut response = HttpResponse::build(status);
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 §15.5.2: whoever is asked to prove themselves is told how.
        response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"pithead\""));
    }
    response.content_type("application/problem+json").json(body)
}

/// The answer to a read, which its asker may hold: with a tag of its bytes, and 304 without a body where the request names that tag (RFC
/// 9110 §13.1.2). The tag is weak, for the bytes go out packed in one way or another; so of `If-Match` only `*` holds (§13.1.1).
///
/// # Errors
/// `precondition-failed`.
pub fn tagged(req: &HttpRequest, value: &impl Serialize) -> ApiResult {
    let body = serde_json::to_vec(value)?;
    let tag = EntityTag::new_weak(hex::encode(Sha256::digest(&body)).chars().take(32).collect());
    let held = match condition(req, &tag) {
        Some(StatusCode::PRECONDITION_FAILED) => return Err(Error::precondition("precondition-failed").into()),
        condition => condition == Some(StatusCode::NOT_MODIFIED),
    };
    let mut response = if held { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, tag.to_string())).insert_header((CACHE_CONTROL, "private, no-cache"));
    response.insert_header((VARY, "Authorization, Cookie"));
    Ok(if held { response.finish() } else { response.content_type("application/json").body(body) })
}
