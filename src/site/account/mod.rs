//! What a person does with their own account.

use actix_web::web::ServiceConfig;

pub mod address;
pub mod confirm_address;
pub mod forgotten_password;
mod link_cookie;
pub mod messages;
pub mod new_password;
pub mod password;
pub mod profile;
pub mod sign_in;
pub mod team;
pub mod tokens;

#[cfg(test)]
mod tests;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(address::configure)
        .configure(confirm_address::configure)
        .configure(forgotten_password::configure)
        .configure(messages::configure)
        .configure(new_password::configure)
        .configure(password::configure)
        .configure(profile::configure)
        .configure(sign_in::configure)
        .configure(team::configure)
        .configure(tokens::configure);
}
