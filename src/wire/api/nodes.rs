//! Sites and nodes of the mine, and the codes by which nodes enrol. A code is told once: only its hash is stored, so an answer that is told
//! again is without it.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::once::{Asked, Keyed, Nothing, answer, once, secret_answer};
use super::{Before, Listed, Made, words};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::Action;
use crate::base::db::Timestamp;
use crate::base::error::Result;
use crate::fleet::model::{Node as Row, NodeState};
use crate::fleet::service::node::{self, IssuedCode};
use crate::fleet::service::{create_node_in, create_site_in, new_code_in, remove_node_in};
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;
use crate::once::model::Answer;
use crate::telemetry;
use crate::telemetry::sources::{NodeSource, SourceState};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/sites", web::get().to(sites))
        .route("/api/v1/sites", web::post().to(add_site))
        .route("/api/v1/nodes", web::get().to(list))
        .route("/api/v1/nodes", web::post().to(add))
        .route("/api/v1/nodes/{id}", web::get().to(show))
        .route("/api/v1/nodes/{id}", web::delete().to(remove))
        .route("/api/v1/nodes/{id}/code", web::post().to(new_code));
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
    /// Its cameras and other sources, as its last heartbeat told them.
    pub sources: Vec<Source>,
}

/// A camera or another source of a node.
#[derive(Serialize, ToSchema)]
pub struct Source {
    /// The node's name of it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `rtsp`, `file`, `snapshot` or `folder`.
    pub kind: String,
    #[schema(schema_with = words::source_state)]
    pub state: SourceState,
    /// Why it has failed.
    pub code: Option<String>,
    /// What is wrong with its picture: `black`, `frozen`, `covered`, `moved`, `blurred`, `glare`, `dark`.
    pub troubles: Vec<String>,
    /// Width and height of its pictures.
    pub size: Option<Vec<i64>>,
    /// Frames a second that apps are given.
    pub rate: f64,
    /// Apps that look at it, as the node's settings name them.
    pub apps: Vec<String>,
    /// Since when state, code and troubles are as they are.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl From<NodeSource> for Source {
    fn from(source: NodeSource) -> Self {
        Self {
            troubles: source.troubles().map(str::to_owned).collect(),
            apps: source.apps().map(str::to_owned).collect(),
            size: source.width.zip(source.height).map(|(width, height)| vec![width, height]),
            id: source.source_id,
            name: source.name,
            kind: source.kind,
            state: source.state,
            code: source.code,
            rate: source.rate,
            since: source.since,
        }
    }
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
    let (rows, now) = (node::list_bare(&app, &actor, query.0.before).await?, app.clock.now());
    let page = Listed::of(rows, node::PAGE, "/api/v1/nodes", |(node, _)| node.id.clone(), |(node, site)| Node::of(node, site, now));
    tagged(&req, &page)
}

/// One node of the mine
#[utoipa::path(get, path = "/api/v1/nodes/{id}", tag = "nodes", params(("id" = String, Path, description = "Id of the node")),
    responses((status = 200, description = "The node", body = NodeDetail)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let now = app.clock.now();
    let read = app.db.read(move |conn| Ok((node::detail_in(conn, &actor, &id)?, telemetry::sources::of_node(conn, &id)?)));
    let (found, sources) = read.await?;
    let sources = sources.into_iter().map(Source::from).collect();
    let deployments = found.deployments.into_iter().map(|(deployment, ..)| deployment.id).collect();
    tagged(&req, &NodeDetail { node: Node::of(found.node, found.site, now), deployments, sources })
}

/// A site to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSite {
    /// 1 to 60 characters; no other site of the mine has it.
    pub name: String,
}

/// Adds a site
#[utoipa::path(post, path = "/api/v1/sites", tag = "nodes", request_body = NewSite,
    params(("Idempotency-Key" = Option<String>, Header, description = "As for an order")),
    responses((status = 201, description = "It is there", body = Made)))]
pub(super) async fn add_site(app: Data<App>, actor: Actor, asked: Asked<NewSite>) -> ApiResult {
    let NewSite { name } = asked.input;
    let add = move |c: &mut Change<'_>| {
        let id = create_site_in(c, &name)?;
        answer(StatusCode::CREATED, &Made { id })
    };
    once(&app, &actor, Action::ManageNodes, asked.key, add).await
}

/// A node to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNode {
    /// Id of the site at which it stands.
    pub site_id: String,
    /// 1 to 60 characters; no other node of the site has it.
    pub name: String,
}

/// How a node enrols.
#[derive(Clone, Serialize, ToSchema)]
pub struct Enrolling {
    /// Id of the node.
    pub id: String,
    /// Code that enrols it, once. It is told once: null in the answer to a request that was sent again, for the platform keeps its hash
    /// only. Whoever has lost it asks for a new one.
    pub code: Option<String>,
    /// End of the code's validity.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Address of the node endpoint.
    pub server: String,
    /// Hash of the nodes' authority, by which the node knows the server before it is enrolled.
    pub ca_pin: String,
    /// The command that enrols it, to be run on the node; null where `code` is.
    pub enroll_command: Option<String>,
    /// The command that runs the agent from then on.
    pub run_command: String,
}

impl Enrolling {
    fn of(app: &App, issued: IssuedCode) -> Self {
        Self {
            id: issued.node_id,
            expires_at: issued.expires_at,
            server: app.settings.server.edge_url.clone(),
            ca_pin: app.ca.pin(),
            enroll_command: Some(node::enroll_command(app, &issued.code)),
            run_command: node::RUN_COMMAND.to_owned(),
            code: Some(issued.code),
        }
    }

    /// The answer, which is kept without the code.
    fn answer(self, status: StatusCode) -> Result<Answer> {
        let kept = Self { code: None, enroll_command: None, ..self.clone() };
        secret_answer(status, &self, &kept)
    }
}

/// Adds a node
///
/// It waits for its enrolment. An answer that is told again (`Idempotent-Replayed`) is without the code: where the first one was lost, ask
/// for a new code.
#[utoipa::path(post, path = "/api/v1/nodes", tag = "nodes", request_body = NewNode,
    params(("Idempotency-Key" = Option<String>, Header, description = "As for an order")),
    responses((status = 201, description = "It waits for its enrolment", body = Enrolling)))]
pub(super) async fn add(app: Data<App>, actor: Actor, asked: Asked<NewNode>) -> ApiResult {
    let (handle, NewNode { site_id, name }) = ((**app).clone(), asked.input);
    let add = move |c: &mut Change<'_>| Enrolling::of(&handle, create_node_in(c, &handle, &site_id, &name)?).answer(StatusCode::CREATED);
    once(&app, &actor, Action::ManageNodes, asked.key, add).await
}

/// Gives a node a new code
///
/// For a node that never enrolled, or that is set up anew. The code before is void at once; a certificate in force stays so until the new code
/// is used.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/code", tag = "nodes", request_body = Option<Nothing>,
    params(
        ("id" = String, Path, description = "Id of the node"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for an order"),
    ),
    responses((status = 200, description = "The code; as for a new node", body = Enrolling)))]
pub(super) async fn new_code(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Nothing>) -> ApiResult {
    let (handle, id) = ((**app).clone(), id.into_inner());
    let renew = move |c: &mut Change<'_>| Enrolling::of(&handle, new_code_in(c, &handle, &id)?).answer(StatusCode::OK);
    once(&app, &actor, Action::ManageNodes, asked.key, renew).await
}

/// Removes a node
///
/// Its deployments end and its seats are free.
#[utoipa::path(delete, path = "/api/v1/nodes/{id}", tag = "nodes",
    params(
        ("id" = String, Path, description = "Id of the node"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for an order"),
    ),
    responses((status = 200, description = "It is refused from its next call on", body = Made)))]
pub(super) async fn remove(app: Data<App>, actor: Actor, id: Path<String>, key: Keyed) -> ApiResult {
    let id = id.into_inner();
    let remove = move |c: &mut Change<'_>| {
        remove_node_in(c, &id)?;
        answer(StatusCode::OK, &Made { id: id.clone() })
    };
    once(&app, &actor, Action::ManageNodes, key.0, remove).await
}
