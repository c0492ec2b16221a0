//! Routes.

use actix_web::web::ServiceConfig;

/// Routes.
pub fn configure(_cfg: &mut ServiceConfig) {}

/// Routes of the node listener.
pub fn configure_edge(_cfg: &mut ServiceConfig) {}
