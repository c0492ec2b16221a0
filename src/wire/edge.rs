//! Endpoints of node agents that Margo leaves to the platform: `POST /edge/enroll` and `POST /edge/renew`, by which a node gets its
//! certificate; the signed statement on its desired state; reports; and pictures of alarms.

use actix_web::http::header;
use actix_web::web::{Data, Path, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::fleet::margo::{node, orders};
use crate::fleet::service::{Enrolment, enroll as enroll_node, renew as renew_node};
use crate::http::api::ApiResult;
use crate::http::extract::{ApiJson, ApiQuery, SMALL_JSON, read_body};
use crate::telemetry::pictures::{self, Frame};
use crate::telemetry::reading::Request;
use crate::telemetry::taking;

/// Routes of the node listener.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/edge/enroll", web::post().to(enroll))
        .route("/edge/renew", web::post().to(renew))
        .route("/edge/state", web::get().to(state))
        .route("/edge/reports", web::post().to(reports))
        .route("/edge/pictures/{episode}", web::put().to(picture))
        .route("/edge/pictures/{episode}/whole", web::put().to(whole_picture))
        .route("/edge/pictures/{episode}/whole", web::delete().to(no_whole_picture));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrol {
    code: String,
    csr_pem: String,
    #[serde(default)]
    agent_version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    csr_pem: String,
}

#[derive(Serialize)]
struct Identity<'a> {
    node_id: &'a str,
    spiffe_id: &'a str,
    certificate_pem: &'a str,
    trust_bundle_pem: &'a str,
    jwks: serde_json::Value,
    root: &'a RawValue,
    node_name: &'a str,
    site_name: &'a str,
    poll_seconds: u64,
    heartbeat_seconds: u64,
}

/// Enrols a node, which has no certificate yet: the code proves its right to one.
async fn enroll(app: Data<App>, input: ApiJson<Enrol, SMALL_JSON>) -> ApiResult {
    let Enrol { code, csr_pem, agent_version } = input.0;
    let enrolled = enroll_node(&app, code, csr_pem, agent_version).await?;
    answer(&app, HttpResponse::Created(), &enrolled)
}

async fn renew(app: Data<App>, actor: Actor, input: ApiJson<Renew, SMALL_JSON>) -> ApiResult {
    let enrolled = renew_node(&app, &actor, input.0.csr_pem).await?;
    answer(&app, HttpResponse::Ok(), &enrolled)
}

fn answer(app: &App, mut response: actix_web::HttpResponseBuilder, enrolled: &Enrolment) -> ApiResult {
    let keys = app.keys.get();
    let root = serde_json::from_slice::<&RawValue>(&keys.envelope)?;
    let identity = Identity {
        node_id: &enrolled.node_id,
        spiffe_id: &enrolled.issued.spiffe_id,
        certificate_pem: &enrolled.issued.chain_pem,
        trust_bundle_pem: &app.ca.present().bundle_pem(),
        jwks: keys.jwks(),
        root,
        node_name: &enrolled.node_name,
        site_name: &enrolled.site_name,
        poll_seconds: app.settings.fleet.poll_seconds,
        heartbeat_seconds: app.settings.fleet.heartbeat_seconds,
    };
    Ok(response.insert_header((header::CACHE_CONTROL, "no-store")).json(identity))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    nonce: Option<String>,
}

async fn state(app: Data<App>, actor: Actor, asked: web::Query<Asked>) -> ApiResult {
    let (node_id, _) = node(&actor)?;
    let statement = orders::statement(&app, &node_id, asked.into_inner().nonce).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(statement))
}

async fn reports(app: Data<App>, actor: Actor, input: ApiJson<Request>) -> ApiResult {
    let taken = taking::take(&app, &actor, input.0).await?;
    Ok(HttpResponse::Ok().json(taken))
}

async fn picture(
    req: HttpRequest,
    app: Data<App>,
    actor: Actor,
    episode: Path<String>,
    frame: ApiQuery<Frame>,
    payload: Payload,
) -> ApiResult {
    node(&actor)?;
    let bytes = read_body(&req, payload.into_inner(), pictures::MAX_SMALL).await?;
    pictures::take(&app, &actor, episode.into_inner(), frame.0, bytes.to_vec()).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn whole_picture(req: HttpRequest, app: Data<App>, actor: Actor, episode: Path<String>, payload: Payload) -> ApiResult {
    node(&actor)?;
    let bytes = read_body(&req, payload.into_inner(), pictures::MAX_WHOLE).await?;
    pictures::take_whole(&app, &actor, episode.into_inner(), bytes.to_vec()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The node has it no more.
async fn no_whole_picture(app: Data<App>, actor: Actor, episode: Path<String>) -> ApiResult {
    pictures::mark_gone(&app, &actor, episode.into_inner()).await?;
    Ok(HttpResponse::NoContent().finish())
}
