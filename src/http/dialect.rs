//! In what form whoever asks is answered, by the address: people get pages, programs the errors of their protocol. Programs read English
//! unless they ask for another language.

use actix_web::HttpRequest;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};

use super::api::ApiError;
use super::margo::MargoError;
use super::oci::OciError;
use super::page::{PageError, lang_of};
use crate::base::error::Error;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A browser.
    Page,
    /// A program that reads problem documents.
    Api,
    /// A node's client of Margo.
    Margo,
    /// A registry client.
    Oci,
}

impl Dialect {
    /// By the first word of the path. The node listener, which has TLS of its own, serves programs only.
    pub fn of(req: &HttpRequest) -> Self {
        let secure = req.app_config().secure();
        match req.path().split('/').nth(1).unwrap_or_default() {
            "v2" | "token" => Self::Oci,
            "api" if secure => Self::Margo,
            "api" | "edge" | "events" | "static" | "healthz" | "readyz" | "metrics" | ".well-known" => Self::Api,
            // `pithead push` and the script of the page that uploads.
            "vendor" if req.path().starts_with("/vendor/upload/") => Self::Api,
            _ if secure || req.path().ends_with(".json") => Self::Api,
            _ => Self::Page,
        }
    }

    /// An error in this form.
    pub fn error(self, req: &HttpRequest, error: Error) -> actix_web::Error {
        match self {
            Self::Page => PageError(error).into(),
            Self::Api => ApiError(error).into(),
            Self::Margo => MargoError(error).into(),
            Self::Oci => OciError { error, challenge: None, lang: lang_of(req) }.into(),
        }
    }
}

/// The answer of a middleware that does not let a request pass.
pub fn refused(req: ServiceRequest, error: Error) -> ServiceResponse<BoxBody> {
    let error = Dialect::of(req.request()).error(req.request(), error);
    req.error_response(error)
}
