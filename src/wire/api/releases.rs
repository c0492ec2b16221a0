//! Releases of the developer.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::once::{Asked, answer, once};
use super::{Before, Listed, Made, words};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::Action;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;
use crate::moderation;
use crate::moderation::model::CaseState;
use crate::moderation::submission::submit_in;
use crate::release::model::{Channel, ReleaseLine, ReleaseState};
use crate::release::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/releases", web::get().to(list))
        .route("/api/v1/releases/{id}", web::get().to(show))
        .route("/api/v1/releases/{id}/submit", web::post().to(submit));
}

/// One version of an app.
#[derive(Serialize, ToSchema)]
pub struct Release {
    pub id: String,
    /// Name of the app's repository, `vendor/app`.
    pub app: String,
    pub version: String,
    /// Digest of the OCI manifest.
    pub digest: String,
    /// Bytes of manifest, config and layers.
    pub size_bytes: i64,
    #[schema(schema_with = words::release_state)]
    pub state: ReleaseState,
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Last change of state.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub published_at: Option<Timestamp>,
    /// Why the platform has recalled it.
    pub recalled: Option<String>,
}

impl Release {
    fn of(line: ReleaseLine) -> Self {
        Self {
            id: line.id,
            app: format!("{}/{}", line.name.0, line.name.1),
            version: line.version,
            digest: line.digest,
            size_bytes: line.size_bytes,
            state: line.state,
            channel: line.channel,
            created_at: line.created_at,
            updated_at: line.updated_at,
            published_at: line.published_at,
            recalled: line.recall.map(|recall| recall.into_inner().reason),
        }
    }
}

/// What a moderator has decided.
#[derive(Serialize, ToSchema)]
pub struct Decision {
    #[schema(schema_with = words::case_state)]
    pub state: CaseState,
    /// Empty where there is none.
    pub reason: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

/// A release with its check and the last decision on it.
#[derive(Serialize, ToSchema)]
pub struct ReleaseDetail {
    #[serde(flatten)]
    pub release: Release,
    /// Whether its last check has passed; null where there was none.
    pub passed: Option<bool>,
    pub decision: Option<Decision>,
}

/// The developer's releases
#[utoipa::path(get, path = "/api/v1/releases", tag = "releases", params(Before),
    responses((status = 200, description = "A page of releases", body = Listed<Release>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Before>) -> ApiResult {
    let rows = service::list_own(&app, &actor, query.0.before).await?;
    tagged(&req, &Listed::of(rows, service::PAGE, "/api/v1/releases", |row| row.id.clone(), Release::of))
}

/// One release of the developer
#[utoipa::path(get, path = "/api/v1/releases/{id}", tag = "releases", params(("id" = String, Path, description = "Id of the release")),
    responses((status = 200, description = "The release", body = ReleaseDetail)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let read = move |conn: &mut Conn| -> Result<ReleaseDetail> {
        let release = Release::of(service::own_in(conn, &actor, &id)?);
        let decision = moderation::service::latest_decision(conn, &id)?;
        let decision = decision.map(|d| Decision { state: d.state, reason: d.reason, decided_at: d.decided_at });
        let passed = service::check_report(conn, &id)?.map(|report| report.passed);
        Ok(ReleaseDetail { release, passed, decision })
    };
    tagged(&req, &app.db.read(read).await?)
}

/// What is submitted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Whom the version is for; a pre-release is always beta.
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
}

/// Submits a checked release for review
#[utoipa::path(post, path = "/api/v1/releases/{id}/submit", tag = "releases", request_body = Submission,
    params(
        ("id" = String, Path, description = "Id of the release"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for an order"),
    ),
    responses((status = 200, description = "Its case is open", body = Made)))]
pub(super) async fn submit(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Submission>) -> ApiResult {
    let (id, channel) = (id.into_inner(), asked.input.channel);
    let submit = move |c: &mut Change<'_>| {
        submit_in(c, &id, channel)?;
        answer(StatusCode::OK, &Made { id: id.clone() })
    };
    once(&app, &actor, Action::PublishApps, asked.key, submit).await
}
