//! `/v2/…` and `/token`: answers are those of distribution-spec v1.1, and no cookie is ever set.

use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::http::{Method, header};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::oci::MAX_MANIFEST_BYTES;
use serde_json::json;

use super::access::{Caller, authorize, find};
use super::answer::{not_allowed, pairs, text};
use super::cache::Cache;
use super::path::Target;
use super::rights::Action;
use super::token::RequestIdentity;
use super::{conditions, grant, lists, pull, token, upload};
use crate::base::app::App;
use crate::base::auth::{Actor, Via};
use crate::base::error::{Error, Kind, Result};
use crate::http::csrf;
use crate::http::extract::read_body;
use crate::http::oci::{OciError, OciResult};
use crate::http::page::lang_of;
use crate::registry::manifests::Push;
use crate::registry::model::{Reference, RepositoryName, parse_digest, parse_tag};
use crate::registry::{blobs, manifests};
use crate::release::arrival;

/// Tags that one PUT may set.
const MAX_TAGS: usize = 10;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/token", web::route().to(grant::handle))
        .route("/v2", web::route().to(handle))
        .route("/v2/{tail:.*}", web::route().to(handle));
}

/// All of `/v2/`: finds caller and target, then calls the target's handler; a 401 gets the challenge for just this request.
async fn handle(req: HttpRequest, app: Data<App>, cache: Data<Cache>, actor: Actor, payload: Payload) -> OciResult {
    let target = Target::parse(req.match_info().get("tail").unwrap_or_default());
    let mut result = answer(&req, &app, &cache, actor, &target, payload).await;
    if let Err(OciError { error, challenge, lang }) = &mut result {
        *lang = lang_of(&req);
        if error.kind == Kind::Unauthenticated {
            let name = target.ok().and_then(|t| t.name().cloned());
            *challenge = Some(challenge_for(&req, &app, name.as_ref(), error));
        }
    }
    result
}

async fn answer(req: &HttpRequest, app: &App, cache: &Cache, actor: Actor, target: &Result<Target>, payload: Payload) -> OciResult {
    let asking = asking_of(req, app, cache, actor)?;
    if is_read(req.method()) {
        // Reads look up the caller's rights in the same database read as the content.
        match target {
            Ok(Target::Blob(name, digest)) => return get_blob(req, app, asking, name, digest).await,
            Ok(Target::Manifest(name, reference)) => return get_manifest(req, app, cache, asking, name, reference).await,
            Ok(Target::Tags(name)) => return lists::tags(req, app, asking, name).await,
            Ok(Target::Referrers(name, digest)) => return lists::referrers(req, app, asking, name, digest).await,
            Ok(Target::Catalog) => return lists::catalog(req, app, asking).await,
            _ => {}
        }
    }
    let caller = asking.resolve(app).await?;
    require_csrf(req, &caller)?;
    match target {
        // Anonymous callers get the same 401 for a path that names nothing, and for a method that it does not know, as for any other.
        _ if matches!(caller.actor, Actor::Anonymous) => Err(Error::unauthenticated("sign-in-required").into()),
        Ok(target) => dispatch(req, app, &caller, target, payload).await,
        Err(e) => Err(Error::new(e.kind, e.code).into()),
    }
}

async fn dispatch(req: &HttpRequest, app: &App, caller: &Caller, target: &Target, payload: Payload) -> OciResult {
    let m = req.method();
    match target {
        Target::Base if is_read(m) => Ok(base()),
        Target::Blob(name, digest) if m == Method::DELETE => {
            let digest = parse_digest(digest)?;
            let repository = authorize(app, caller, name, Action::Delete).await?;
            conditions::expected(req).check(Some(digest.as_str()))?;
            blobs::delete(app, &caller.actor, repository, digest).await?;
            Ok(HttpResponse::Accepted().finish())
        }
        Target::Uploads(name) if m == Method::POST => upload::start(req, app, caller, name, payload).await,
        Target::Upload(name, id) if target.methods().contains(m) => upload::proceed(req, app, caller, name, id, payload).await,
        Target::Manifest(name, reference) if m == Method::PUT => put_manifest(req, app, caller, name, reference, payload).await,
        Target::Manifest(name, reference) if m == Method::DELETE => {
            let repository = authorize(app, caller, name, Action::Delete).await?;
            manifests::delete(app, &caller.actor, repository, Reference::parse(reference)?, conditions::expected(req)).await?;
            Ok(HttpResponse::Accepted().finish())
        }
        _ => Ok(not_allowed(req, target.methods())),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The caller as the request names it, before the database confirms it.
fn asking_of(req: &HttpRequest, app: &App, cache: &Cache, actor: Actor) -> Result<RequestIdentity> {
    let authorization = req.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let bearer = authorization
        .and_then(|v| v.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    RequestIdentity::of(app, cache, actor, bearer.filter(|t| !t.starts_with(crate::base::auth::token::PREFIX)))
}

/// A changing request by a browser's session must carry its CSRF value in a header: the site's middleware checks that too, but the node
/// listener has no such middleware.
fn require_csrf(req: &HttpRequest, caller: &Caller) -> Result<()> {
    if let Actor::Person(_, Via::Session { csrf: expected, .. }) = &caller.actor
        && !is_read(req.method())
    {
        let sent = req.headers().get("x-csrf-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !csrf::fits(expected, sent) {
            return Err(Error::forbidden("csrf"));
        }
    }
    Ok(())
}

/// `WWW-Authenticate` of a 401: `Bearer realm="<server.public_url>/token",service="pithead",scope="repository:<name>:<actions of this request>"`.
pub fn challenge_for(req: &HttpRequest, app: &App, name: Option<&RepositoryName>, error: &Error) -> String {
    // Never from the request: whoever can set `Host` or `X-Forwarded-Host` would choose where clients send their passwords.
    let base = app.settings.server.public_url.as_str();
    let catalog = || (req.path() == "/v2/_catalog").then(|| format!(",scope=\"{}\"", token::CATALOG));
    let scope = name.map(|name| {
        let action = match *req.method() {
            Method::GET | Method::HEAD => Action::Pull,
            Method::DELETE if !req.path().contains("/blobs/uploads/") => Action::Delete,
            _ => Action::Push,
        };
        format!(",scope=\"repository:{name}:{}\"", action.scope())
    });
    let fault = match error.code {
        "token-scope" => ",error=\"insufficient_scope\"",
        "token-invalid" => ",error=\"invalid_token\"",
        _ => "",
    };
    format!("Bearer realm=\"{base}/token\",service=\"{}\"{}{fault}", token::SERVICE, scope.or_else(catalog).unwrap_or_default())
}

fn base() -> HttpResponse {
    HttpResponse::Ok().insert_header(("Docker-Distribution-Api-Version", "registry/2.0")).json(json!({}))
}

async fn get_blob(req: &HttpRequest, app: &App, asking: RequestIdentity, name: &RepositoryName, digest: &str) -> OciResult {
    let digest = parse_digest(digest)?;
    let size = pull::blob(app, asking, name, &digest).await?;
    // A client leaves out what HEAD finds, so a blob whose bytes are gone must not be found: the upload mends it.
    if req.method() == Method::HEAD && app.blobs.size(&digest).await? != Some(size) {
        return Err(Error::not_found("blob-unknown").into());
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::ETAG, conditions::tag(digest.as_str())))
        .insert_header(("Docker-Content-Digest", digest.as_str()));
    if !conditions::wants(req, digest.as_str())? {
        return Ok(conditions::not_modified(response.finish().headers()));
    }
    let (first, length) = match conditions::part(req, &mut response, digest.as_str(), size) {
        Ok(part) => part,
        Err(refused) => return Ok(refused),
    };
    if req.method() == Method::HEAD {
        return Ok(response.body(SizedStream::new(length, futures_util::stream::empty::<std::io::Result<web::Bytes>>())));
    }
    if let Some(address) = app.blobs.address(&digest).await? {
        // Redirect GET to the store, which serves ranges too; not HEAD, since the address is signed for GET only.
        return Ok(HttpResponse::TemporaryRedirect()
            .insert_header((header::LOCATION, address))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header(("Docker-Content-Digest", digest.as_str()))
            .finish());
    }
    Ok(response.body(SizedStream::new(length, app.blobs.read(&digest, first, length).await?)))
}

async fn get_manifest(
    req: &HttpRequest,
    app: &App,
    cache: &Cache,
    asking: RequestIdentity,
    name: &RepositoryName,
    reference: &str,
) -> OciResult {
    let manifest = pull::manifest(app, cache, asking, name, reference).await?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, manifest.media_type.as_str()))
        .insert_header(("Docker-Content-Digest", manifest.digest.as_str()));
    Ok(conditions::send(req, response, &manifest.digest, manifest.content.clone())?)
}

async fn put_manifest(
    req: &HttpRequest,
    app: &App,
    caller: &Caller,
    name: &RepositoryName,
    reference: &str,
    payload: Payload,
) -> OciResult {
    let tags = pairs(req).into_iter().filter(|(k, _)| k == "tag").map(|(_, v)| parse_tag(&v)).collect::<Result<Vec<_>>>()?;
    if tags.len() > MAX_TAGS {
        return Err(Error::invalid("too-many-tags-at-once").arg("max", MAX_TAGS).into());
    }
    // Check the rights before reading the body of up to four megabytes. A new repository is made once the body is read: it may be refused.
    let owner = match find(app, caller, name, Action::Push).await? {
        Some(repository) => repository.organization_id,
        None => caller.actor.person()?.organization_id.clone(),
    };
    let media_type = text(req, &header::CONTENT_TYPE).and_then(|v| v.split(';').next()).unwrap_or_default().trim().to_owned();
    let reference = Reference::parse(reference)?;
    let by_digest = matches!(reference, Reference::Digest(_));
    let bytes = read_body(req, payload.into_inner(), MAX_MANIFEST_BYTES).await?;
    let turn = manifests::turn(app, &owner, bytes.len()).await?;
    let (wanted, expected) = (tags.clone(), conditions::expected(req));
    let read = move || Push::read(reference, wanted, &media_type, bytes).map(|push| (Arc::new(push.expecting(expected)), turn));
    let (push, _turn) = tokio::task::spawn_blocking(read).await.map_err(Error::internal)??;
    // Ask who pushes again: a body may take ten minutes, in which they may have lost the right. (Blobs need no second question: only a
    // manifest makes them reachable.)
    let caller = caller.confirmed(app).await?;
    let repository = authorize(app, &caller, name, Action::Push).await?;
    arrival::push(app, &caller.actor, repository, push.clone()).await?;
    let mut response = HttpResponse::Created();
    response
        .insert_header((header::LOCATION, format!("/v2/{name}/manifests/{}", push.digest)))
        .insert_header(("Docker-Content-Digest", push.digest.as_str()));
    if let Some(subject) = push.subject() {
        response.insert_header(("OCI-Subject", subject));
    }
    for tag in tags.iter().filter(|_| by_digest) {
        response.append_header(("OCI-Tag", tag.as_str()));
    }
    Ok(response.finish())
}
