//! Licences of the mine.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Before, Both, Listed, words};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::catalog::model::PlanKind;
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;
use crate::license::model::{Enforcement, LicenseState};
use crate::license::service::{self, LicenseLine};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/licenses", web::get().to(list)).route("/api/v1/licenses/{id}", web::get().to(show));
}

/// A licence.
#[derive(Serialize, ToSchema)]
pub struct License {
    pub id: String,
    /// The paid order.
    pub order: String,
    /// Name of the app's repository, `vendor/app`.
    pub app: String,
    pub title: Both,
    #[schema(schema_with = words::plan_kind)]
    pub plan_kind: PlanKind,
    /// Versions that it covers, a requirement of Semantic Versioning.
    pub versions: String,
    /// Nodes that may have it, and those that have.
    pub node_limit: i64,
    pub nodes_active: i64,
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// First moment at which it is over; null where it never is.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Days after the end in which the app goes on running.
    pub grace_days: i64,
    #[schema(schema_with = words::enforcement)]
    pub enforcement: Enforcement,
    #[schema(schema_with = words::license_state)]
    pub state: LicenseState,
    /// What it allows at this moment: `valid`, `ending`, `grace`, `expired`, …
    pub standing: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Last decision on it.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl License {
    fn of(line: LicenseLine, now: Timestamp) -> Self {
        let license = line.license;
        Self {
            standing: license.shown_state(now).to_owned(),
            app: line.app.repository(),
            title: Both::of(line.app.title_zh, line.app.title_en),
            id: license.id,
            order: license.order_id,
            plan_kind: license.plan_kind,
            versions: license.versions,
            node_limit: license.node_limit,
            nodes_active: license.nodes_active,
            starts_at: license.starts_at,
            ends_at: license.ends_at,
            grace_days: license.grace_days,
            enforcement: license.enforcement,
            state: license.state,
            created_at: license.created_at,
            updated_at: license.updated_at,
        }
    }
}

/// Licences of the mine
#[utoipa::path(get, path = "/api/v1/licenses", tag = "licenses", params(Before),
    responses((status = 200, description = "A page of licences", body = Listed<License>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Before>) -> ApiResult {
    let (rows, now) = (service::list(&app, &actor, query.0.before).await?, app.clock.now());
    let page = Listed::of(rows, service::PAGE, "/api/v1/licenses", |line| line.license.id.clone(), |line| License::of(line, now));
    tagged(&req, &page)
}

/// One licence of the mine
#[utoipa::path(get, path = "/api/v1/licenses/{id}", tag = "licenses", params(("id" = String, Path, description = "Id of the licence")),
    responses((status = 200, description = "The licence", body = License)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let now = app.clock.now();
    let found = app.db.read(move |conn| service::detail_in(conn, &actor, &id)).await?;
    tagged(&req, &License::of(found.line, now))
}
