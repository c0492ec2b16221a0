//! /vendor/webhooks: addresses that are told what happens.

use actix_web::web::{self, ServiceConfig};

use crate::site::parts::webhooks::{again, create, list, remove, renew, show, switch_on, test};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor/webhooks", web::get().to(list::<true>))
        .route("/vendor/webhooks", web::post().to(create::<true>))
        .route("/vendor/webhooks/{id}", web::get().to(show::<true>))
        .route("/vendor/webhooks/{id}/renew", web::post().to(renew::<true>))
        .route("/vendor/webhooks/{id}/test", web::post().to(test::<true>))
        .route("/vendor/webhooks/{id}/again", web::post().to(again::<true>))
        .route("/vendor/webhooks/{id}/on", web::post().to(switch_on::<true>))
        .route("/vendor/webhooks/{id}/remove", web::post().to(remove::<true>));
}
