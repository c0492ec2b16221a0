//! Nodes.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::fleet::model::{Node, code_hash};
use crate::fleet::service::{self, node::IssuedCode};
use crate::fleet::views::{NodeFragment, NodeLive, NodeNewPage, NodePage, NodeRow, NodesPage};
use crate::http::cookies;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::paging;

/// Holds a fresh enrolment code for the page of its node, in the browser that asked for it; the platform keeps only the hash.
const CODE_COOKIE: &str = "enrollment-code";
/// Runs the agent on the node, in the data folder that enrolling uses.
const RUN_COMMAND: &str = "pithead-edge run --ort-lib /path/to/libonnxruntime.so";

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/nodes", web::get().to(list))
        .route("/mine/nodes/new", web::get().to(new))
        .route("/mine/nodes/new", web::post().to(create))
        .route("/mine/nodes/{id}", web::get().to(detail))
        .route("/mine/nodes/{id}/fragment", web::get().to(fragment))
        .route("/mine/nodes/{id}/code", web::post().to(new_code))
        .route("/mine/nodes/{id}/remove", web::post().to(remove));
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    before: Option<String>,
}

async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<ListQuery>) -> PageResult {
    let mut lines = service::node::list_nodes(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::node::PAGE, "/mine/nodes", "before", query.before.as_deref(), |l| l.node.id.clone());
    let page = Page::of(&req, "fleet-nodes-title");
    let rows = lines.iter().map(|l| NodeRow::of(&page, l, app.clock.now())).collect();
    let may_manage = policy::require(&actor, Action::ManageNodes).is_ok();
    page.clone().render(&NodesPage { page, rows, previous, next, may_manage })
}

#[derive(Debug, Default, Deserialize)]
struct NodeForm {
    #[serde(default)]
    site_id: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct NewQuery {
    site: Option<String>,
}

async fn new(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<NewQuery>) -> PageResult {
    let form = NodeForm { site_id: query.into_inner().site.unwrap_or_default(), name: String::new() };
    new_page(&req, &app, &actor, form, None).await
}

async fn new_page(req: &HttpRequest, app: &App, actor: &Actor, form: NodeForm, error: Option<Error>) -> PageResult {
    policy::require(actor, Action::ManageNodes)?;
    let sites = service::node::list_sites(app, actor).await?;
    let page = Page::of(req, "fleet-node-new-title");
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map(|e| FormErrors::of(&page, &e)).unwrap_or_default();
    page.clone().render_with(status, &NodeNewPage { page, sites, site_id: form.site_id, name: form.name, errors })
}

async fn create(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<NodeForm>) -> PageResult {
    match form_result(service::create_node(&app, &actor, &form.0.site_id, &form.0.name).await)? {
        Ok(issued) => with_code(&app, &issued),
        Err(error) => new_page(&req, &app, &actor, form.0, Some(error)).await,
    }
}

async fn new_code(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let issued = service::new_code(&app, &actor, &id).await?;
    with_code(&app, &issued)
}

/// To the node's page, with the code in a cookie that only this page gets.
fn with_code(app: &App, issued: &IssuedCode) -> PageResult {
    let path = format!("/mine/nodes/{}", issued.node_id);
    let cookie = Cookie::build(CODE_COOKIE, issued.code.clone())
        .path(path.clone())
        .http_only(true)
        .secure(app.settings.server.public_url.starts_with("https:"))
        .same_site(SameSite::Lax)
        .max_age(Duration::hours(app.settings.fleet.code_hours.clamp(1, 24 * 30)))
        .finish();
    let mut response = see_other_with(&path, "success", "fleet-code-ready", &[]);
    response.add_cookie(&cookie).map_err(|e| Error::internal(anyhow::anyhow!("{e}")))?;
    Ok(response)
}

/// The command to run on the node, where this browser holds the code that is open now.
fn command(req: &HttpRequest, app: &App, node: &Node) -> Option<String> {
    node.open_code(app.clock.now())?;
    let code = cookies::read(req, CODE_COOKIE)?;
    let known = code_hash(&code).is_some() && code_hash(&code) == node.code_hash;
    known.then(|| format!("pithead-edge enroll --server {} --code {code} --ca-pin {}", app.settings.server.edge_url, app.ca.pin()))
}

async fn detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "");
    let detail = service::node::node_detail(&app, &actor, page.locale(), &id).await?;
    detail.node.shown_name().clone_into(&mut page.title);
    let template = NodePage {
        live: NodeLive::of(&page, &app, &detail),
        command: command(&req, &app, &detail.node),
        run_command: RUN_COMMAND,
        code_until: detail.node.open_code(app.clock.now()).map(|at| page.datetime(&at)),
        may_manage: policy::require(&actor, Action::ManageNodes).is_ok(),
        may_deploy: policy::require(&actor, Action::Deploy).is_ok(),
        deployment_count: detail.deployments.len(),
        name: detail.node.shown_name().to_owned(),
        id: detail.node.id,
        site: detail.site,
        page,
    };
    template.page.clone().render(&template)
}

async fn fragment(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "");
    let detail = service::node::node_detail(&app, &actor, page.locale(), &id).await?;
    detail.node.shown_name().clone_into(&mut page.title);
    let live = NodeLive::of(&page, &app, &detail);
    page.clone().render(&NodeFragment { page, live })
}

async fn remove(app: Data<App>, actor: Actor, id: Path<String>) -> Result<HttpResponse, crate::http::page::PageError> {
    service::remove_node(&app, &actor, &id).await?;
    Ok(see_other_with("/mine/nodes", "success", "fleet-node-removed", &[]))
}
