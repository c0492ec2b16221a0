//! Pages that anybody may read: front page, catalogue, listings, comparison.

use actix_web::web::ServiceConfig;

pub mod cached;
pub mod catalogue;
pub mod compare;
pub mod follow;
pub mod known;
pub mod listing;
pub mod pictures;
pub mod scenarios;
pub mod shown;
#[cfg(test)]
mod tests;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(catalogue::configure)
        .configure(compare::configure)
        .configure(listing::configure)
        .configure(pictures::configure)
        .configure(scenarios::configure);
}
