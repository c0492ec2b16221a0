//! Use cases.

use crate::app::App;
use crate::auth::Actor;
use crate::error::{Error, Result};

/// The node of a client certificate.
pub async fn authenticate_node(_app: &App, _der: &[u8]) -> Result<Actor> {
    Err(Error::unauthenticated("certificate-not-accepted"))
}
