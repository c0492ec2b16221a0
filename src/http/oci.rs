//! The OCI Distribution error dialect (spec v1.1 §"Error Codes").

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use super::page::status_of;
use crate::base::error::{Error, Kind};
use crate::base::i18n::{Lang, error_text};

/// Result of a registry handler.
pub type OciResult = Result<HttpResponse, OciError>;

/// A domain error on its way to an OCI error body: `message` is for people, `detail.code` is our own code.
#[derive(Debug)]
pub struct OciError {
    pub error: Error,
    /// `WWW-Authenticate` header of a 401.
    pub challenge: Option<String>,
    /// Language of the message.
    pub lang: Lang,
}

impl<E: Into<Error>> From<E> for OciError {
    fn from(e: E) -> Self {
        Self { error: e.into(), challenge: None, lang: Lang::En }
    }
}

impl std::fmt::Display for OciError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

/// The OCI code and status of an error: by our code where OCI has a code for it, else by kind.
fn oci_code(error: &Error) -> (&'static str, StatusCode) {
    match error.code {
        "blob-unknown" => ("BLOB_UNKNOWN", StatusCode::NOT_FOUND),
        "upload-unknown" => ("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND),
        "upload-invalid" => ("BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST),
        "range-invalid" => ("BLOB_UPLOAD_INVALID", StatusCode::RANGE_NOT_SATISFIABLE),
        "range-not-satisfiable" => ("UNSUPPORTED", StatusCode::RANGE_NOT_SATISFIABLE),
        "too-many-tags-at-once" => ("UNSUPPORTED", StatusCode::URI_TOO_LONG),
        "digest-invalid" => ("DIGEST_INVALID", StatusCode::BAD_REQUEST),
        "manifest-unknown" => ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
        "manifest-invalid" => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
        "tag-invalid" => ("TAG_INVALID", StatusCode::BAD_REQUEST),
        // Docker's registry has this code for lists.
        "page-size-invalid" => ("PAGINATION_NUMBER_INVALID", StatusCode::BAD_REQUEST),
        "grant-invalid" | "form-malformed" | "service-unknown" => ("UNSUPPORTED", StatusCode::BAD_REQUEST),
        "precondition-failed" => ("DENIED", StatusCode::PRECONDITION_FAILED),
        "manifest-blob-unknown" => ("MANIFEST_BLOB_UNKNOWN", StatusCode::BAD_REQUEST),
        "name-invalid" => ("NAME_INVALID", StatusCode::BAD_REQUEST),
        "name-unknown" => ("NAME_UNKNOWN", StatusCode::NOT_FOUND),
        "size-invalid" => ("SIZE_INVALID", StatusCode::BAD_REQUEST),
        _ => match error.kind {
            Kind::Unauthenticated => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED),
            Kind::Forbidden => ("DENIED", StatusCode::FORBIDDEN),
            Kind::Full => ("DENIED", StatusCode::INSUFFICIENT_STORAGE),
            Kind::NotFound => ("NAME_UNKNOWN", StatusCode::NOT_FOUND),
            Kind::RateLimited => ("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS),
            Kind::TooLarge => ("SIZE_INVALID", StatusCode::PAYLOAD_TOO_LARGE),
            // A conflict, such as an immutable tag: the registry refuses whatever the caller's rights are.
            Kind::Conflict => ("DENIED", StatusCode::CONFLICT),
            Kind::Invalid => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
            kind => ("UNSUPPORTED", status_of(kind)),
        },
    }
}

impl ResponseError for OciError {
    fn status_code(&self) -> StatusCode {
        oci_code(&self.error).1
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = refusal(self.lang, &self.error);
        if let Some(challenge) = self.challenge.as_ref().and_then(|challenge| HeaderValue::from_str(challenge).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Writes the error body.
pub fn refusal(lang: Lang, error: &Error) -> HttpResponse {
    let (code, status) = oci_code(error);
    let mut detail: serde_json::Map<_, _> = error.args.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    detail.insert("code".to_owned(), json!(error.code));
    let message = error_text(lang, error.code, &error.args);
    HttpResponse::build(status)
        // Old clients know a registry by it, on the 401 of `/v2/` too.
        .insert_header(("Docker-Distribution-Api-Version", "registry/2.0"))
        .json(json!({"errors": [{"code": code, "message": message, "detail": detail}]}))
}
