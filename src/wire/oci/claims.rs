//! Claims of a registry token (Docker Registry v2 "Token Authentication Implementation").

use serde::{Deserialize, Serialize};

use crate::account::model::Credential;

/// One entry of the access claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `repository`, or `registry` for the catalogue.
    #[serde(rename = "type")]
    pub kind: String,
    /// Repository name, or `catalog`.
    pub name: String,
    /// `pull`, `push`, `delete`; `*` of the catalogue.
    pub actions: Vec<String>,
}

impl Access {
    /// To the catalogue of repositories.
    pub fn catalog() -> Self {
        Self { kind: "registry".to_owned(), name: "catalog".to_owned(), actions: vec!["*".to_owned()] }
    }
}

/// Claims of a registry token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The platform's public address.
    pub iss: String,
    /// `user:<id>`, `node:<id>`, or empty for nobody.
    pub sub: String,
    /// Name of the service: [`super::token::SERVICE`].
    pub aud: String,
    /// End of validity, seconds since 1970.
    pub exp: i64,
    pub nbf: i64,
    pub iat: i64,
    /// Unique id of the token.
    pub jti: String,
    /// Granted actions by repository.
    pub access: Vec<Access>,
    /// Organisation that the subject acts for (ours, not of the spec).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// What a person got the token with, so that it ends with that (ours, not of the spec).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Credential>,
}

/// Claims of a token that gets further registry tokens, for a person only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshClaims {
    /// The platform's public address.
    pub iss: String,
    /// `user:<id>`.
    pub sub: String,
    /// Another one than that of registry tokens, so that neither is taken for the other.
    pub aud: String,
    /// End of validity, seconds since 1970.
    pub exp: i64,
    pub iat: i64,
    /// Unique id of the token.
    pub jti: String,
    /// Organisation that the subject acts for.
    pub org: String,
    /// What it was got with, and ends with.
    pub via: Credential,
}
