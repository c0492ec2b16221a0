//! Deployments of the mine.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::once::{Asked, Keyed, answer, once};
use super::{Before, Listed, Made, words};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::Action;
use crate::base::db::Timestamp;
use crate::fleet::model::{DeploymentState, shown_name};
use crate::fleet::service::deployment::{self, DeploymentLine};
use crate::fleet::service::{DeployInput, deploy_in, remove_deployment_in};
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/deployments", web::get().to(list))
        .route("/api/v1/deployments", web::post().to(deploy))
        .route("/api/v1/deployments/{id}", web::get().to(show))
        .route("/api/v1/deployments/{id}", web::delete().to(remove));
}

/// An app on a node.
#[derive(Serialize, ToSchema)]
pub struct Deployment {
    pub id: String,
    /// Id and name of the node.
    pub node_id: String,
    pub node: String,
    /// Name of the node's site.
    pub site: String,
    /// Name of the app's repository, `vendor/app`.
    pub app: String,
    /// Release wanted, and its version.
    pub release: String,
    pub version: String,
    pub license: String,
    /// Values of the app's parameters.
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// Whether the mine wants the app on the node.
    pub wanted: bool,
    #[schema(schema_with = words::deployment_state)]
    pub state: DeploymentState,
    /// Why it failed.
    pub error: Option<String>,
    /// Why the platform has recalled the version.
    pub recalled: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<DeploymentLine> for Deployment {
    fn from(line: DeploymentLine) -> Self {
        let deployment = line.deployment;
        Self {
            id: deployment.id,
            node: shown_name(&line.node, &deployment.node_id).to_owned(),
            node_id: deployment.node_id,
            site: line.site,
            app: line.app.repository(),
            release: deployment.release_id,
            version: line.version,
            license: deployment.license_id,
            parameters: deployment.parameters.into_inner(),
            wanted: deployment.wanted,
            state: deployment.state,
            error: deployment.error,
            recalled: line.recall.map(|recall| recall.reason),
            created_at: deployment.created_at,
            updated_at: deployment.updated_at,
        }
    }
}

/// Deployments of the mine
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployments", params(Before),
    responses((status = 200, description = "A page of deployments", body = Listed<Deployment>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Before>) -> ApiResult {
    let rows = deployment::list_deployments(&app, &actor, query.0.before).await?;
    let page = Listed::of(rows, deployment::PAGE, "/api/v1/deployments", |line| line.deployment.id.clone(), Deployment::from);
    tagged(&req, &page)
}

/// One deployment of the mine
#[utoipa::path(get, path = "/api/v1/deployments/{id}", tag = "deployments",
    params(("id" = String, Path, description = "Id of the deployment")),
    responses((status = 200, description = "The deployment", body = Deployment)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let found = app.db.read(move |conn| deployment::detail_in(conn, &actor, &id)).await?;
    tagged(&req, &Deployment::from(found.line))
}

/// What to deploy where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeployments {
    /// Id of a published release.
    pub release: String,
    /// Id of a licence that covers it.
    pub license: String,
    /// Ids of the nodes.
    #[schema(min_items = 1, max_items = 200)]
    pub nodes: Vec<String>,
    /// Values by parameter name; one that is not named stays on each node as it is, or has the app's default where the app is new.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
}

/// The deployments on the named nodes.
#[derive(Serialize, ToSchema)]
pub struct Deployed {
    /// Ids, also of those on which nothing changes.
    pub deployments: Vec<String>,
}

/// Deploys a release to nodes, or changes what is there
///
/// All nodes, or none.
#[utoipa::path(post, path = "/api/v1/deployments", tag = "deployments", request_body = NewDeployments,
    params(("Idempotency-Key" = Option<String>, Header, description = "As for an order")),
    responses((status = 201, description = "The nodes are told", body = Deployed)))]
pub(super) async fn deploy(app: Data<App>, actor: Actor, asked: Asked<NewDeployments>) -> ApiResult {
    let NewDeployments { release, license, nodes, parameters } = asked.input;
    let input = DeployInput { release_id: release, license_id: license, node_ids: nodes, parameters };
    let handle = (**app).clone();
    let deploy = move |c: &mut Change<'_>| {
        let deployments = deploy_in(c, &handle, &input, None)?;
        answer(StatusCode::CREATED, &Deployed { deployments })
    };
    once(&app, &actor, Action::Deploy, asked.key, deploy).await
}

/// Takes an app off a node
#[utoipa::path(delete, path = "/api/v1/deployments/{id}", tag = "deployments",
    params(
        ("id" = String, Path, description = "Id of the deployment"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for an order"),
    ),
    responses((status = 202, description = "The node is told; it is gone once the node says so", body = Made)))]
pub(super) async fn remove(app: Data<App>, actor: Actor, id: Path<String>, key: Keyed) -> ApiResult {
    let id = id.into_inner();
    let remove = move |c: &mut Change<'_>| {
        remove_deployment_in(c, &id)?;
        answer(StatusCode::ACCEPTED, &Made { id: id.clone() })
    };
    once(&app, &actor, Action::Deploy, key.0, remove).await
}
