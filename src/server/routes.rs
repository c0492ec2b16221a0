//! The route tables of both listeners.

use actix_web::error::QueryPayloadError;
use actix_web::web::{self, QueryConfig, ServiceConfig};

use crate::base::error::Error;
use crate::http::{api, assets, page};
use crate::server::middleware::no_route::rest;
use crate::{site, wire};

/// Routes of the site listener. The registry and the event stream stay outside compression.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.app_data(QueryConfig::default().error_handler(|e, _| page::PageError(malformed(e)).into()))
        .configure(wire::ops::configure)
        .configure(wire::ops::configure_metrics)
        .configure(assets::configure)
        .configure(site::events::configure)
        .configure(wire::oci::routes::configure)
        .service(
            web::scope("")
                .wrap(actix_web::middleware::Compress::default())
                .configure(wire::api::configure)
                .configure(site::account::configure)
                .configure(site::market::configure)
                .configure(site::vendor::configure)
                .configure(site::mine::configure)
                .configure(site::duty::configure)
                .configure(site::admin::configure)
                .service(rest()),
        );
}

/// Routes of the node listener (mutual TLS): Margo, enrolment, reports, and the registry for pulls.
pub fn edge_routes(cfg: &mut ServiceConfig) {
    cfg.app_data(QueryConfig::default().error_handler(|e, _| api::ApiError(malformed(e)).into()))
        .configure(wire::ops::configure)
        .configure(wire::oci::routes::configure)
        .configure(wire::margo::configure)
        .configure(wire::edge::configure)
        .service(rest());
}

/// A query that cannot be read, such as letters where a number belongs.
fn malformed(e: QueryPayloadError) -> Error {
    Error::invalid("query-malformed").source(e)
}
