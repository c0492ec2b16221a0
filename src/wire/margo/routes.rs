//! The endpoints. Every call comes from a node whose certificate is accepted now; bytes are served exactly as stored, under their digest;
//! a digest is served only to the node whose document it is, and reads as not found for anyone else.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, EntityTag, HeaderName, HeaderValue};
use actix_web::web::{self, Data, Path, Payload, ServiceConfig};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use app_package::margo::{BUNDLE_TYPE, DEPLOYMENT_TYPE, MANIFEST_TYPE};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use super::negotiate::accepts;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::base::live::Poke;
use crate::base::load::Admission;
use crate::base::open::Whose;
use crate::fleet::margo::served::{self, Kind};
use crate::fleet::margo::{desired_topic, documents, node, own_device, status};
use crate::fleet::service::Caller;
use crate::http::conditional::{Whole, condition};
use crate::http::extract::read_body;
use crate::http::margo::{MargoError, MargoResult};

/// Header with the newest version of the root document, an extension of ours.
const ROOT_VERSION: HeaderName = HeaderName::from_static("x-pithead-root");
/// Largest body of a call, in bytes.
const BODY_LIMIT: usize = 128 * 1024;
/// Longest wait of a long poll, in seconds: a node is heard of when a poll begins (`fleet::model::ONLINE_WITHIN`).
const MAX_WAIT: u64 = 15;
/// Long polls of a node at a time: those before a restart of its agent may still wait.
const MAX_POLLS: usize = 4;
/// How often a long poll reads the database by itself: another replica may have written the new state.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Routes of the node listener.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/capabilities/{device_id:.*}", web::put().to(put_capabilities))
        .route("/api/v1/capabilities/{device_id:.*}", web::delete().to(delete_capabilities))
        .route("/api/v1/deployments", web::get().to(get_manifest))
        .route("/api/v1/deployments/{deployment_id}/status", web::post().to(post_status))
        .route("/api/v1/deployments/{deployment_id}/{digest}", web::get().to(get_deployment))
        .route("/api/v1/bundles/{digest}", web::get().to(get_bundle));
}

async fn put_capabilities(req: HttpRequest, app: Data<App>, actor: Actor, device_id: Path<String>, payload: Payload) -> MargoResult {
    let (node_id, _) = node(&actor)?;
    own_device(&node_id, &device_id)?;
    let body = read_body(&req, payload.into_inner(), BODY_LIMIT).await?;
    let created = served::put_capabilities(&app, &actor, &body).await?;
    Ok(if created { HttpResponse::Created().finish() } else { HttpResponse::Ok().finish() })
}

async fn delete_capabilities(app: Data<App>, actor: Actor, device_id: Path<String>) -> MargoResult {
    let (node_id, _) = node(&actor)?;
    own_device(&node_id, &device_id)?;
    served::delete_capabilities(&app, &actor).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Deserialize)]
struct Wait {
    #[serde(default)]
    wait: Option<String>,
}

impl Wait {
    /// Seconds to wait, an extension of ours; 0 where the value is no number.
    fn seconds(&self) -> u64 {
        self.wait.as_deref().and_then(|w| w.parse().ok()).unwrap_or(0).min(MAX_WAIT)
    }
}

/// The desired state; with `?wait=`, the answer waits while the node has the present one.
async fn get_manifest(req: HttpRequest, app: Data<App>, actor: Actor) -> MargoResult {
    let (node_id, organization_id) = node(&actor)?;
    let malformed = |e| Error::invalid("query-malformed").source(e);
    let query: Wait = serde_urlencoded::from_str(req.query_string()).map_err(malformed)?;
    if !accepts(&req, MANIFEST_TYPE) {
        return Err(Error::invalid(app_package::margo::NOT_ACCEPTABLE).into());
    }
    let _entry = match query.seconds() {
        0 => None,
        _ => Some(app.open.enter(Whose::Polls(node_id.clone()), MAX_POLLS)?),
    };
    let caller = req.extensions().get::<Caller>().cloned().unwrap_or_else(|| Caller::new(node_id.clone(), organization_id.clone()));
    served::called(&app, &caller).await?;
    // Subscribe before the first read, so that a change in between is not missed.
    let mut pokes = app.live.subscribe();
    let mut stopping = app.stopping();
    let topic = desired_topic(&node_id);
    let deadline = Instant::now() + Duration::from_secs(query.seconds());
    let mut known = caller.digest(&app);
    loop {
        let digest = match known.take() {
            Some(digest) => digest,
            None => served::manifest_digest(&app, &node_id).await?,
        };
        if !has(&req, &digest)? {
            let content = served::document(&app, &node_id, &digest, Kind::Manifest).await?;
            return Ok(told(&app, fresh(&digest, MANIFEST_TYPE, "private, no-cache", content)));
        }
        let now = Instant::now();
        if now >= deadline || *stopping.borrow() {
            return Ok(told(&app, not_modified(&digest, "private, no-cache")));
        }
        // Who waits takes the turn of nobody.
        req.extensions_mut().remove::<Admission>();
        let look = deadline.min(now + LOOK_EVERY);
        loop {
            tokio::select! {
                () = sleep_until(look) => break,
                _ = stopping.changed() => break,
                poke = pokes.recv() => match poke {
                    Ok(Poke { organization_id: o, topic: t }) if o == organization_id && t == topic => break,
                    Ok(_) => {}
                    // This poll missed pokes: the state may have changed.
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(not_modified(&digest, "private, no-cache")),
                },
            }
        }
    }
}

const IMMUTABLE: &str = "private, max-age=31536000, immutable";

async fn get_deployment(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>) -> MargoResult {
    let (node_id, _) = node(&actor)?;
    let (deployment_id, digest) = path.into_inner();
    let content = served::document(&app, &node_id, &digest, Kind::Deployment).await?;
    if !documents::is_of(&content, &deployment_id) {
        return Err(Error::not_found(Kind::Deployment.missing()).into());
    }
    whole(&req, &digest, DEPLOYMENT_TYPE, content)
}

async fn get_bundle(req: HttpRequest, app: Data<App>, actor: Actor, digest: Path<String>) -> MargoResult {
    let (node_id, _) = node(&actor)?;
    let content = served::document(&app, &node_id, &digest, Kind::Bundle).await?;
    whole(&req, &digest, BUNDLE_TYPE, content)
}

/// Whether the caller has what a digest names (RFC 9110 §13).
///
/// # Errors
/// `precondition-failed`.
fn has(req: &HttpRequest, digest: &str) -> Result<bool, MargoError> {
    match condition(req, &EntityTag::new_strong(digest.to_owned())) {
        Some(StatusCode::PRECONDITION_FAILED) => Err(Error::precondition("precondition-failed").into()),
        condition => Ok(condition.is_some()),
    }
}

/// What never changes, by conditions and ranges.
fn whole(req: &HttpRequest, digest: &str, kind: &str, content: Vec<u8>) -> MargoResult {
    has(req, digest)?;
    let mut response = Whole { kind, keep: IMMUTABLE, tag: digest, bytes: content.into() }.answer(req);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(response)
}

/// Says which root document is the newest, so that nodes ask for it.
fn told(app: &App, mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(ROOT_VERSION, HeaderValue::from(app.keys.get().root.version));
    response
}

fn etag(digest: &str) -> HeaderValue {
    // A digest of a stored document is plain ASCII.
    HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

// A proxy between may pack what it passes on: `Vary` has caches keep the two apart.
fn fresh(digest: &str, media_type: &'static str, cache: &'static str, content: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::ETAG, etag(digest)))
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header((header::VARY, "Accept-Encoding"))
        .body(content)
}

fn not_modified(digest: &str, cache: &'static str) -> HttpResponse {
    HttpResponse::NotModified()
        .insert_header((header::ETAG, etag(digest)))
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header((header::VARY, "Accept-Encoding"))
        .finish()
}

async fn post_status(req: HttpRequest, app: Data<App>, actor: Actor, deployment_id: Path<String>, payload: Payload) -> MargoResult {
    let (node_id, _) = node(&actor)?;
    let body = read_body(&req, payload.into_inner(), BODY_LIMIT).await?;
    status::post(&app, &actor, &node_id, &deployment_id, &body).await?;
    Ok(HttpResponse::Ok().finish())
}
