//! Pages of a developer: apps, releases, registry, keys, sales.

use actix_web::web::ServiceConfig;

pub mod apps;
pub mod console;
pub mod documents;
mod draft_form;
pub mod drafts;
pub mod keys;
pub mod plans;
pub mod registry;
pub mod releases;
pub mod sales;
pub mod upload;
pub mod webhooks;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(upload::configure)
        .configure(apps::configure)
        .configure(documents::configure)
        .configure(drafts::configure)
        .configure(keys::configure)
        .configure(plans::configure)
        .configure(registry::configure)
        .configure(releases::configure)
        .configure(sales::configure)
        .configure(webhooks::configure);
}
