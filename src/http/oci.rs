//! The OCI Distribution error dialect (spec v1.1 §"Error Codes").

use actix_web::http::{StatusCode, header};
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
        "digest-invalid" => ("DIGEST_INVALID", StatusCode::BAD_REQUEST),
        "manifest-unknown" => ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
        "manifest-invalid" => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
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
        let (code, status) = oci_code(&self.error);
        let mut detail: serde_json::Map<_, _> = self.error.args.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        detail.insert("code".to_owned(), json!(self.error.code));
        let message = error_text(self.lang, self.error.code, &self.error.args);
        let mut response = HttpResponse::build(status);
        if let Some(challenge) = &self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, challenge.as_str()));
        }
        response.json(json!({"errors": [{"code": code, "message": message, "detail": detail}]}))
    }
}
