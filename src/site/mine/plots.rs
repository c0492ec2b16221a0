//! /mine/nodes/{id}/plots.json: the data of the plots on a node's page.

use actix_web::http::header;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::api::ApiResult;
use crate::http::page::lang_of;
use crate::telemetry::plots::{Plot, Span};
use crate::telemetry::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/nodes/{id}/plots.json", web::get().to(plot));
}

#[derive(Deserialize)]
struct PlotQuery {
    app: Option<String>,
    plot: Option<String>,
    hours: Option<String>,
}

async fn plot(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, query: Query<PlotQuery>) -> ApiResult {
    let PlotQuery { app: deployment, plot, hours } = query.into_inner();
    let plot = plot.and_then(|p| p.parse().ok()).unwrap_or(Plot::Latency);
    let deployment = deployment.filter(|d| !d.is_empty());
    let data = service::plot(&app, &actor, lang_of(&req), id.into_inner(), deployment, plot, Span::of_hours(hours.as_deref())).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "private, no-store")).json(data))
}
