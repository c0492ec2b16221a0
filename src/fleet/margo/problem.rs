//! Errors as Margo's problem documents (RFC 9457, `application/problem+json`) with our stable `code` besides Margo's `type`.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use app_package::margo::{FieldFault, PROBLEM_PREFIX, PROBLEM_TYPE};
use serde::Serialize;

use crate::error::{Error, FieldError, Kind};
use crate::http::page::{error_text, status_of};
use crate::i18n::Lang;

/// Result of a Margo handler.
pub type MargoResult = Result<HttpResponse, MargoError>;

/// Code of a refused `Accept`.
pub const NOT_ACCEPTABLE: &str = "manifest-not-acceptable";
/// Code of a document with the right JSON and wrong content.
pub const SEMANTIC: &str = "semantic-error";
/// Seconds after which what cannot be done now may be tried again.
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

/// What is wrong with a document, field by field.
pub fn semantic(faults: Vec<FieldFault>) -> Error {
    let field = |f: FieldFault| FieldError { field: f.field, code: "margo-field", args: vec![("message", f.message)] };
    Error { fields: faults.into_iter().take(50).map(field).collect(), ..Error::invalid(SEMANTIC) }
}

/// One field.
pub fn field(name: &str, message: &str) -> Error {
    semantic(vec![FieldFault { field: name.to_owned(), message: message.to_owned() }])
}

/// Reads a JSON document: what is no JSON is a bad request, what has not its shape a semantic error.
pub fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| {
        if e.is_data() {
            field("", &e.to_string())
        } else {
            Error::invalid("json-malformed").arg("where", format!("{}:{}", e.line(), e.column())).source(e)
        }
    })
}

/// Status and Margo's problem type.
fn kind_of(error: &Error) -> (StatusCode, Option<&'static str>) {
    match (error.kind, error.code) {
        (_, NOT_ACCEPTABLE) => (StatusCode::NOT_ACCEPTABLE, Some("server-cannot-generate-response")),
        (_, SEMANTIC) => (StatusCode::UNPROCESSABLE_ENTITY, Some("semantic-error")),
        (Kind::Invalid, _) => (StatusCode::BAD_REQUEST, Some("invalid-request")),
        // Margo knows no 401: who shows no certificate, or one that is not accepted, is not authorised.
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
    let retryable = matches!(error.kind, Kind::Unavailable | Kind::RateLimited | Kind::Internal | Kind::Conflict);
    let problem = Problem {
        r#type: margo.map_or_else(|| "about:blank".to_owned(), |name| format!("{PROBLEM_PREFIX}{name}")),
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        code: error.code,
        detail: error_text(lang, error.code, &error.args),
        errors: error.fields.iter().map(|f| FieldFault { field: f.field.clone(), message: error_text(lang, f.code, &f.args) }).collect(),
        retryable,
        retry_after_seconds: retryable.then_some(RETRY_AFTER),
        request_id,
    };
    let mut response = HttpResponse::build(status);
    if retryable {
        response.insert_header((header::RETRY_AFTER, RETRY_AFTER));
    }
    // `json` keeps a content type that is set already.
    response.content_type(PROBLEM_TYPE).json(problem)
}
