//! What a person does with their own account.

use actix_web::web::ServiceConfig;

pub mod once;
pub mod profile;
pub mod sign_in;
pub mod team;
pub mod tokens;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(profile::configure).configure(sign_in::configure).configure(team::configure).configure(tokens::configure);
}
