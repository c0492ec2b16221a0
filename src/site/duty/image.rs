//! /duty/alarms/{id}/picture: the bytes of the pictures that came with alarms.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::conditional::private_jpeg;
use crate::http::page::PageResult;
use crate::telemetry::pictures::{self, Size};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/duty/alarms/{id}/picture", web::get().to(small)).route("/duty/alarms/{id}/picture/whole", web::get().to(whole));
}

async fn small(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    Ok(private_jpeg(&req, pictures::read(&app, &actor, id.into_inner(), Size::Small).await?))
}

async fn whole(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    Ok(private_jpeg(&req, pictures::read(&app, &actor, id.into_inner(), Size::Whole).await?))
}
