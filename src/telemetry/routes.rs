//! Routes of reports, plots and the alarm list.

use actix_web::http::header;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::Value;

use super::model::Filter;
use super::model::Level;
use super::plots::{Plot, Span};
use super::service;
use super::views::{AlarmRow, AlarmsPage};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::api::ApiResult;
use crate::http::extract::ApiJson;
use crate::http::page::{Page, PageResult, lang_of};
use crate::http::paging::paging;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/alarms", web::get().to(alarms)).route("/mine/nodes/{id}/plots.json", web::get().to(plot));
}

/// Routes of the node listener.
pub fn configure_edge(cfg: &mut ServiceConfig) {
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

#[derive(Deserialize)]
struct AlarmQuery {
    before: Option<String>,
    #[serde(default)]
    level: String,
    #[serde(default)]
    deployment: String,
}

async fn alarms(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<AlarmQuery>) -> PageResult {
    let AlarmQuery { before, level, deployment } = query.into_inner();
    let level: Option<Level> = level.parse().ok();
    let deployment =
        Some(deployment).filter(|d| !d.is_empty() && d.len() <= 60 && d.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let filter = Filter { before: before.clone(), level, deployment_id: deployment.clone() };
    let mut lines = service::list_alarms(&app, &actor, filter).await?;
    let page = Page::of(&req, "telemetry-alarms-title");
    let address = AlarmsPage::address(level, deployment.as_deref());
    let (previous, next) = paging(&mut lines, service::PAGE, &address, "before", before.as_deref(), |line| line.alarm.id.clone());
    let rows = lines.iter().map(|line| AlarmRow::of(&page, line)).collect();
    let live = before.is_none();
    page.clone().render(&AlarmsPage {
        page,
        rows,
        level: level.map_or("", Level::as_str),
        deployment: deployment.unwrap_or_default(),
        address,
        live,
        previous,
        next,
    })
}
