//! Alarms of the mine.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Both, Listed, words};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::fleet::model::shown_name;
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;
use crate::telemetry::model::{AlarmLine, Filter, Level};
use crate::telemetry::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/alarms", web::get().to(list)).route("/api/v1/alarms/{id}", web::get().to(show));
}

/// Which alarms.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Id of the last alarm of the page before; the newest come first.
    pub before: Option<String>,
    /// Only alarms of this level.
    #[param(schema_with = words::level)]
    pub level: Option<Level>,
    /// Only alarms of this deployment.
    pub deployment: Option<String>,
}

/// An alarm.
#[derive(Serialize, ToSchema)]
pub struct Alarm {
    pub id: String,
    #[schema(schema_with = words::level)]
    pub level: Level,
    /// Slug of the app's rule.
    pub rule: String,
    pub text: Both,
    pub deployment: String,
    /// Id and name of the node.
    pub node_id: String,
    pub node: String,
    /// Name of the node's site.
    pub site: String,
    /// Name of the app's repository, `vendor/app`.
    pub app: String,
    /// Digest of the release that raised it.
    pub digest: String,
    /// What the app saw.
    #[schema(value_type = Object)]
    pub result: Value,
    /// Camera or sensor; empty where the node was told of none.
    pub source: String,
    /// How many frames had it.
    pub count: i64,
    /// When it began, by the platform's clock.
    #[schema(value_type = String, format = DateTime)]
    pub raised_at: Timestamp,
    /// The last frame that had it.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    /// When it was over; null while it goes on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Whether it was more than ten minutes old when it came.
    pub late: bool,
    /// When it began by the node's clock, where that is off by more than a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub node_at: Option<Timestamp>,
    /// What raised it beside the release: version, parameters, place.
    #[schema(value_type = Object)]
    pub origin: Value,
    /// Time of receipt.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
}

impl From<AlarmLine> for Alarm {
    fn from(line: AlarmLine) -> Self {
        let alarm = line.alarm;
        Self {
            id: alarm.id,
            level: alarm.level,
            rule: alarm.rule,
            text: Both::of(alarm.text_zh, alarm.text_en),
            deployment: alarm.deployment_id,
            node: shown_name(&line.node, &alarm.node_id).to_owned(),
            node_id: alarm.node_id,
            site: line.site,
            app: format!("{}/{}", line.vendor, line.app),
            digest: alarm.release_digest,
            result: object(&alarm.result),
            origin: object(&alarm.origin),
            source: alarm.source,
            count: alarm.count,
            raised_at: alarm.raised_at,
            last_at: alarm.last_at,
            ended_at: alarm.ended_at,
            late: alarm.late,
            node_at: alarm.node_at,
            received_at: alarm.received_at,
        }
    }
}

/// Kept as an object; one that a damaged row holds is shown empty.
fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
}

/// Alarms of the mine
#[utoipa::path(get, path = "/api/v1/alarms", tag = "alarms", params(Wanted),
    responses((status = 200, description = "A page of alarms", body = Listed<Alarm>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Wanted>) -> ApiResult {
    let Wanted { before, level, deployment } = query.0;
    let mut narrowed = vec![];
    if let Some(level) = level {
        narrowed.push(("level", level.as_str()));
    }
    if let Some(deployment) = &deployment {
        narrowed.push(("deployment", deployment));
    }
    let query = serde_urlencoded::to_string(&narrowed).unwrap_or_default();
    let path = if query.is_empty() { "/api/v1/alarms".to_owned() } else { format!("/api/v1/alarms?{query}") };
    let rows = service::list_alarms(&app, &actor, Filter { before, level, deployment_id: deployment, ..Filter::default() }).await?;
    tagged(&req, &Listed::of(rows, service::PAGE, &path, |line| line.alarm.id.clone(), Alarm::from))
}

/// One alarm of the mine
#[utoipa::path(get, path = "/api/v1/alarms/{id}", tag = "alarms", params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "The alarm", body = Alarm)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let line = app.db.read(move |conn| service::alarm_in(conn, &actor, &id)).await?;
    tagged(&req, &Alarm::from(line))
}
