//! Pages of the platform’s people: moderators, finance, auditors, administrators.

use actix_web::web::ServiceConfig;

pub mod audit;
pub mod audit_names;
pub mod cases;
pub mod evaluation;
pub mod licenses;
pub mod messages;
pub mod overview;
pub mod payments;
pub mod people;
pub mod reset_password;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(audit::configure)
        .configure(cases::configure)
        .configure(evaluation::configure)
        .configure(licenses::configure)
        .configure(messages::configure)
        .configure(overview::configure)
        .configure(payments::configure)
        .configure(people::configure)
        .configure(reset_password::configure);
}
