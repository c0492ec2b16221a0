//! JSON for programs: errors are RFC 9457 problem documents with our stable `code`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;

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
#[derive(Debug, Serialize)]
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
    /// Wrong fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemField>,
    /// Id of the request in the log.
    pub request_id: String,
}

/// One wrong field of a problem.
#[derive(Debug, Serialize)]
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
    HttpResponse::build(status).content_type("application/problem+json").json(body)
}

/// The answer to any path that no route of the node listener knows.
pub async fn not_found(_req: HttpRequest) -> ApiResult {
    Err(Error::not_found("page").into())
}
