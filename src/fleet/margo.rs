//! Margo.

use actix_web::web::ServiceConfig;

/// Routes.
pub fn configure(_cfg: &mut ServiceConfig) {}
