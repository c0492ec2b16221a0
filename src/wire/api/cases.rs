//! Cases of the platform's moderators.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Both, Listed, words};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;
use crate::http::paging::paging;
use crate::moderation::model::{CaseLine, CaseState};
use crate::moderation::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/cases", web::get().to(list));
}

/// Which cases.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Decided ones, the newest first, instead of open ones, the oldest first.
    #[serde(default)]
    pub decided: bool,
    /// Id of the last case of the page before.
    pub from: Option<String>,
}

/// A release that was submitted.
#[derive(Serialize, ToSchema)]
pub struct Case {
    pub id: String,
    #[schema(schema_with = words::case_state)]
    pub state: CaseState,
    pub release: String,
    pub version: String,
    /// Name of the app's repository, `vendor/app`.
    pub app: String,
    pub title: Both,
    /// Name of the developer.
    pub vendor: Both,
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    /// Why it was decided so; empty while it is open.
    pub reason: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

impl From<CaseLine> for Case {
    fn from(line: CaseLine) -> Self {
        Self {
            id: line.case.id,
            state: line.case.state,
            release: line.case.release_id,
            version: line.version,
            app: format!("{}/{}", line.vendor.slug, line.app.slug),
            title: line.app.name.into(),
            vendor: line.vendor.name.into(),
            opened_at: line.case.opened_at,
            reason: line.case.reason,
            decided_at: line.case.decided_at,
        }
    }
}

/// Cases of the platform
#[utoipa::path(get, path = "/api/v1/cases", tag = "cases", params(Wanted),
    responses((status = 200, description = "A page of cases", body = Listed<Case>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Wanted>) -> ApiResult {
    let Wanted { decided, from } = query.0;
    let (path, (_, mut rows)) = if decided {
        ("/api/v1/cases?decided=true", service::list_decided(&app, &actor, from).await?)
    } else {
        ("/api/v1/cases", service::list_open(&app, &actor, from).await?)
    };
    let (_, next) = paging(&mut rows, service::PAGE, path, "from", None, |line| line.case.id.clone());
    tagged(&req, &Listed { items: rows.into_iter().map(Case::from).collect(), next })
}
