//! Pages of a mine: orders, licences, nodes, deployments.

use actix_web::web::ServiceConfig;

pub mod deploy;
pub mod deploy_parameters;
pub mod deploy_steps;
pub mod deployments;
pub mod licenses;
pub mod nodes;
pub mod orders;
pub mod plots;
mod precision;
pub mod sites;
pub mod today;
mod waiting;
pub mod webhooks;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(deploy::configure)
        .configure(deployments::configure)
        .configure(licenses::configure)
        .configure(nodes::configure)
        .configure(orders::configure)
        .configure(plots::configure)
        .configure(sites::configure)
        .configure(today::configure)
        .configure(webhooks::configure);
}
