//! Sites and nodes of the mine.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Before, Listed, words};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::fleet::model::{Node as Row, NodeState};
use crate::fleet::service::node;
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/sites", web::get().to(sites))
        .route("/api/v1/nodes", web::get().to(list))
        .route("/api/v1/nodes/{id}", web::get().to(show));
}

/// A mine or a part of it.
#[derive(Serialize, ToSchema)]
pub struct Site {
    pub id: String,
    pub name: String,
    pub nodes: i64,
    /// Nodes that are up.
    pub online: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// An edge node.
#[derive(Serialize, ToSchema)]
pub struct Node {
    pub id: String,
    pub name: String,
    /// Id and name of its site.
    pub site_id: String,
    pub site: String,
    /// State of its identity.
    #[schema(schema_with = words::node_state)]
    pub state: NodeState,
    /// Whether it was heard of lately.
    pub online: bool,
    /// Last call.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub seen_at: Option<Timestamp>,
    pub agent_version: Option<String>,
    /// What its agent says is wrong with it, as `code: words`.
    pub trouble: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub certificate_expires_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl Node {
    fn of(node: Row, site: String, now: Timestamp) -> Self {
        Self {
            name: node.shown_name().to_owned(),
            online: node.online(now),
            id: node.id,
            site_id: node.site_id,
            site,
            state: node.state,
            seen_at: node.seen_at,
            agent_version: node.agent_version,
            trouble: node.trouble,
            certificate_expires_at: node.certificate_expires_at,
            created_at: node.created_at,
        }
    }
}

/// A node with what is on it.
#[derive(Serialize, ToSchema)]
pub struct NodeDetail {
    #[serde(flatten)]
    pub node: Node,
    /// Ids of the deployments on it.
    pub deployments: Vec<String>,
}

/// Sites of the mine
///
/// A mine has 500 at most; they come at once.
#[utoipa::path(get, path = "/api/v1/sites", tag = "nodes", responses((status = 200, description = "All sites", body = Listed<Site>)))]
pub(super) async fn sites(req: HttpRequest, app: Data<App>, actor: Actor) -> ApiResult {
    let item = |line: node::SiteLine| Site {
        id: line.site.id,
        name: line.site.name,
        nodes: line.nodes,
        online: line.online,
        created_at: line.site.created_at,
    };
    let items = node::list_sites(&app, &actor).await?.into_iter().map(item).collect();
    tagged(&req, &Listed { items, next: None })
}

/// Nodes of the mine
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", params(Before),
    responses((status = 200, description = "A page of nodes", body = Listed<Node>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Before>) -> ApiResult {
    let (rows, now) = (node::list_nodes(&app, &actor, query.0.before).await?, app.clock.now());
    let page = Listed::of(rows, node::PAGE, "/api/v1/nodes", |line| line.node.id.clone(), |line| Node::of(line.node, line.site, now));
    tagged(&req, &page)
}

/// One node of the mine
#[utoipa::path(get, path = "/api/v1/nodes/{id}", tag = "nodes", params(("id" = String, Path, description = "Id of the node")),
    responses((status = 200, description = "The node", body = NodeDetail)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let now = app.clock.now();
    let found = app.db.read(move |conn| node::detail_in(conn, &actor, &id)).await?;
    let deployments = found.deployments.into_iter().map(|(deployment, ..)| deployment.id).collect();
    tagged(&req, &NodeDetail { node: Node::of(found.node, found.site, now), deployments })
}
