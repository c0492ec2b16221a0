//! Endpoints for operation: `/healthz` (the process lives), `/readyz` (the database takes a write), `/metrics`, and what everybody may read of
//! whom to believe: JWKS, trust bundle, root documents, the signed list of recalled releases.

use actix_web::http::header;
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::base::app::App;
use crate::base::error::Error;
use crate::fleet::margo::orders::RevocationList;
use crate::http::api::ApiResult;
use crate::http::conditional::Whole;

/// A version of the root document never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Routes of both listeners.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.app_data(Data::new(RevocationList::default()))
        .route("/healthz", web::get().to(healthz))
        .route("/readyz", web::get().to(readyz))
        .route("/.well-known/jwks.json", web::get().to(jwks))
        .route("/.well-known/pithead/roots/{version}", web::get().to(root))
        .route("/.well-known/pithead/revocations", web::get().to(revocations))
        .route("/.well-known/margo", web::get().to(margo_discovery))
        .route("/.well-known/spiffe/bundle.json", web::get().to(trust_bundle));
}

/// Metrics: on the site's listener only, where a proxy can keep strangers out.
pub fn configure_metrics(cfg: &mut ServiceConfig) {
    cfg.route("/metrics", web::get().to(metrics));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok")
}

async fn readyz(app: Data<App>) -> ApiResult {
    app.ready.prove(&app.db).await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body("ready"))
}

async fn metrics(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(app.metrics.render())
}

async fn jwks(app: Data<App>) -> ApiResult {
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=300")).json(app.keys.get().jwks()))
}

/// A version of the root document, as it was signed.
async fn root(app: Data<App>, version: Path<String>) -> ApiResult {
    let version: u64 = version.parse().map_err(|_| Error::not_found("root"))?;
    let envelope = web::block(move || app.keys.envelope(version)).await.map_err(Error::internal)?.map_err(Error::internal)?;
    let envelope = envelope.ok_or_else(|| Error::not_found("root"))?;
    Ok(HttpResponse::Ok().content_type("application/json").insert_header((header::CACHE_CONTROL, IMMUTABLE)).body(envelope))
}

async fn revocations(req: HttpRequest, app: Data<App>, list: Data<RevocationList>) -> ApiResult {
    let list = list.get(&app).await?;
    Ok(Whole { kind: "application/json", keep: "no-cache", tag: &list.tag, bytes: list.bytes.clone() }.answer(&req))
}

/// Margo's discovery document: the address of the trust bundle.
async fn margo_discovery(req: HttpRequest, app: Data<App>) -> HttpResponse {
    // The node listener alone has TLS of its own. Never from the request's headers, which anybody writes.
    let server = &app.settings.server;
    let own = if req.app_config().secure() { &server.edge_url } else { &server.public_url };
    HttpResponse::Ok().json(json!({
        "trustDomain": app.ca.trust_domain(),
        "trustBundleUri": format!("{own}/.well-known/spiffe/bundle.json"),
    }))
}

/// SPIFFE trust bundle: the authority as a JWK (RFC 7517) with `use: x509-svid`.
async fn trust_bundle(app: Data<App>) -> ApiResult {
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=300")).json(app.ca.trust_bundle()?))
}
