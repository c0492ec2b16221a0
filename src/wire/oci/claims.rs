//! Claims of a registry token (Docker Registry v2 "Token Authentication Implementation").

use serde::{Deserialize, Serialize};

use crate::account::model::Credential;

/// One entry of the access claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Always `repository`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Repository name.
    pub name: String,
    /// `pull`, `push`, `delete`.
    pub actions: Vec<String>,
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
