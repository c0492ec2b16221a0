//! /mine/webhooks: addresses that are told what happens.

use actix_web::web::{self, ServiceConfig};

use crate::site::parts::webhooks::{again, create, list, remove, renew, show, switch_on, test};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/webhooks", web::get().to(list::<false>))
        .route("/mine/webhooks", web::post().to(create::<false>))
        .route("/mine/webhooks/{id}", web::get().to(show::<false>))
        .route("/mine/webhooks/{id}/renew", web::post().to(renew::<false>))
        .route("/mine/webhooks/{id}/test", web::post().to(test::<false>))
        .route("/mine/webhooks/{id}/again", web::post().to(again::<false>))
        .route("/mine/webhooks/{id}/on", web::post().to(switch_on::<false>))
        .route("/mine/webhooks/{id}/remove", web::post().to(remove::<false>));
}
