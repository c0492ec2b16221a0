//! What a person does with their own account.

use actix_web::web::ServiceConfig;

pub mod account;
pub mod once;
pub mod sign_in;
pub mod team;
pub mod tokens;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(account::configure).configure(sign_in::configure).configure(team::configure).configure(tokens::configure);
}
