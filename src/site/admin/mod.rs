//! Pages of the platform’s people: moderators, finance, auditors, administrators.

use actix_web::web::ServiceConfig;

pub mod audit;
pub mod audit_names;
pub mod cases;
pub mod evaluation;
pub mod licenses;
pub mod listings;
pub mod messages;
pub mod organizations;
pub mod overview;
pub mod payments;
pub mod people;
pub mod reset_password;
pub mod stops;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(audit::configure)
        .configure(cases::configure)
        .configure(evaluation::configure)
        .configure(licenses::configure)
        .configure(listings::configure)
        .configure(messages::configure)
        .configure(organizations::configure)
        .configure(overview::configure)
        .configure(payments::configure)
        .configure(people::configure)
        .configure(reset_password::configure)
        .configure(stops::configure);
}
