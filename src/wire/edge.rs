//! What node agents call beside Margo: reports.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::api::ApiResult;
use crate::http::extract::ApiJson;
use crate::telemetry::service;

/// Routes of the node listener.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/edge/reports", web::post().to(reports));
}

/// The reports are read one by one, so that one that cannot be read holds back no other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reports {
    reports: Vec<Value>,
}

async fn reports(app: Data<App>, actor: Actor, input: ApiJson<Reports>) -> ApiResult {
    let taken = service::take(&app, &actor, input.0.reports).await?;
    Ok(HttpResponse::Ok().json(taken))
}
