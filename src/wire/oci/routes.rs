//! `/v2/…` and `/token`: answers are those of distribution-spec v1.1, and no cookie is ever set.

use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use app_package::oci::{INDEX_TYPE, Index, MAX_MANIFEST_BYTES};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::access::{Caller, authorize};
use super::answer::{not_allowed, pairs, set, text, told};
use super::cache::Cache;
use super::path::Target;
use super::range::{self, RangeOutcome};
use super::rights::Action;
use super::token::RequestIdentity;
use super::{pull, token, upload};
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
    cfg.route("/token", web::get().to(get_token)).route("/v2", web::route().to(handle)).route("/v2/{tail:.*}", web::route().to(handle));
}

/// `GET /token?service=…&scope=…`: the token leaves out rights that the caller lacks; only bad credentials are an error.
async fn get_token(req: HttpRequest, app: Data<App>, actor: Actor) -> OciResult {
    if matches!(actor, Actor::Anonymous) && req.headers().contains_key(header::AUTHORIZATION) {
        return Err(Error::unauthenticated("token-invalid").into());
    }
    let query = pairs(&req);
    if query.iter().any(|(name, value)| name == "service" && value != token::SERVICE) {
        return Err(Error::invalid("service-unknown").into());
    }
    let scopes: Vec<String> = query.into_iter().filter(|(name, _)| name == "scope").map(|(_, value)| value).collect();
    let issued = token::issue(&app, &actor, &scopes).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(issued))
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
            Ok(Target::Manifest(name, reference)) => return get_manifest(app, cache, asking, name, reference).await,
            Ok(Target::Tags(name)) => return get_tags(req, app, asking, name).await,
            Ok(Target::Referrers(name, digest)) => return get_referrers(req, app, asking, name, digest).await,
            _ => {}
        }
    }
    let caller = asking.resolve(app).await?;
    require_csrf(req, &caller)?;
    match target {
        Ok(target) => dispatch(req, app, &caller, target, payload).await,
        // Anonymous callers get the same 401 for a path that names nothing as for any other.
        Err(_) if matches!(caller.actor, Actor::Anonymous) => Err(Error::unauthenticated("sign-in-required").into()),
        Err(e) => Err(Error::new(e.kind, e.code).into()),
    }
}

async fn dispatch(req: &HttpRequest, app: &App, caller: &Caller, target: &Target, payload: Payload) -> OciResult {
    let m = req.method();
    match target {
        Target::Base if is_read(m) => base(caller),
        Target::Blob(name, digest) if m == Method::DELETE => {
            let digest = parse_digest(digest)?;
            let repository = authorize(app, caller, name, Action::Delete).await?;
            blobs::delete(app, &caller.actor, repository, digest).await?;
            Ok(HttpResponse::Accepted().finish())
        }
        Target::Uploads(name) if m == Method::POST => upload::start(req, app, caller, name, payload).await,
        Target::Upload(name, id) => upload::proceed(req, app, caller, name, id, payload).await,
        Target::Manifest(name, reference) if m == Method::PUT => put_manifest(req, app, caller, name, reference, payload).await,
        Target::Manifest(name, reference) if m == Method::DELETE => {
            let repository = authorize(app, caller, name, Action::Delete).await?;
            manifests::delete(app, &caller.actor, repository, Reference::parse(reference)?).await?;
            Ok(HttpResponse::Accepted().finish())
        }
        _ => Ok(not_allowed()),
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
    format!("Bearer realm=\"{base}/token\",service=\"{}\"{}{fault}", token::SERVICE, scope.unwrap_or_default())
}

fn base(caller: &Caller) -> OciResult {
    if matches!(caller.actor, Actor::Anonymous) {
        return Err(Error::unauthenticated("sign-in-required").into());
    }
    Ok(HttpResponse::Ok().insert_header(("Docker-Distribution-Api-Version", "registry/2.0")).json(json!({})))
}

async fn get_blob(req: &HttpRequest, app: &App, asking: RequestIdentity, name: &RepositoryName, digest: &str) -> OciResult {
    let digest = parse_digest(digest)?;
    let size = pull::blob(app, asking, name, &digest).await?;
    // A client leaves out what HEAD finds, so a blob whose bytes are gone must not be found: the upload mends it.
    if req.method() == Method::HEAD && app.blobs.size(&digest).await? != Some(size) {
        return Err(Error::not_found("blob-unknown").into());
    }
    let etag = format!("\"{digest}\"");
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::ETAG, etag.as_str()))
        .insert_header(("Docker-Content-Digest", digest.as_str()));
    let fresh = text(req, &header::IF_RANGE).is_none_or(|v| v == etag);
    let (first, length) = match range::wanted(text(req, &header::RANGE).filter(|_| fresh), size) {
        RangeOutcome::All => (0, size),
        RangeOutcome::Part(first, last) => {
            response.status(StatusCode::PARTIAL_CONTENT).insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}")));
            (first, last - first + 1)
        }
        RangeOutcome::Nothing => {
            let mut refused = told(req, Error::invalid("range-invalid")).error_response();
            set(&mut refused, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(refused);
        }
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

async fn get_manifest(app: &App, cache: &Cache, asking: RequestIdentity, name: &RepositoryName, reference: &str) -> OciResult {
    let manifest = pull::manifest(app, cache, asking, name, reference).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, manifest.media_type.as_str()))
        .insert_header((header::ETAG, format!("\"{}\"", manifest.digest)))
        .insert_header(("Docker-Content-Digest", manifest.digest.as_str()))
        .body(manifest.content.clone()))
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
        return Ok(HttpResponse::UriTooLong()
            .json(json!({"errors": [{"code": "UNSUPPORTED", "message": "too-many-tags", "detail": {"max": MAX_TAGS}}]})));
    }
    // Check the rights before reading the body of up to four megabytes.
    let owner = authorize(app, caller, name, Action::Push).await?.organization_id;
    let media_type = text(req, &header::CONTENT_TYPE).and_then(|v| v.split(';').next()).unwrap_or_default().trim().to_owned();
    let reference = Reference::parse(reference)?;
    let by_digest = matches!(reference, Reference::Digest(_));
    let bytes = read_body(payload.into_inner(), MAX_MANIFEST_BYTES).await?;
    let turn = manifests::turn(app, &owner, bytes.len()).await?;
    let wanted = tags.clone();
    let read = move || Push::read(reference, wanted, &media_type, bytes).map(|push| (Arc::new(push), turn));
    let (push, _turn) = tokio::task::spawn_blocking(read).await.map_err(Error::internal)??;
    // Ask who pushes again: a body may take an hour, in which they may have lost the right. (Blobs need no second question: only a
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

async fn get_tags(req: &HttpRequest, app: &App, asking: RequestIdentity, name: &RepositoryName) -> OciResult {
    let query = pairs(req);
    let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let n = value("n").map(|v| v.parse::<u32>().map_err(|_| Error::invalid("page-size-invalid"))).transpose()?;
    let page = pull::tags(app, asking, name, n, value("last").unwrap_or_default()).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = &page.next {
        response
            .insert_header((header::LINK, format!("</v2/{name}/tags/list?n={}&last={}>; rel=\"next\"", page.items.len(), escape(last))));
    }
    Ok(response.json(json!({"name": name.as_str(), "tags": page.items})))
}

async fn get_referrers(req: &HttpRequest, app: &App, asking: RequestIdentity, name: &RepositoryName, digest: &str) -> OciResult {
    let digest = parse_digest(digest)?;
    let query = pairs(req);
    let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let artifact_type = value("artifactType").filter(|t| !t.is_empty()).map(ToOwned::to_owned);
    let page = pull::referrers(app, asking, name, &digest, artifact_type.clone(), value("last").unwrap_or_default()).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, INDEX_TYPE));
    if artifact_type.is_some() {
        response.insert_header(("OCI-Filters-Applied", "artifactType"));
    }
    if let Some(last) = &page.next {
        let filter = artifact_type.map(|t| format!("artifactType={}&", escape(&t))).unwrap_or_default();
        response.insert_header((header::LINK, format!("</v2/{name}/referrers/{digest}?{filter}last={}>; rel=\"next\"", escape(last))));
    }
    Ok(response.body(Index::of(page.items).to_bytes()))
}

fn escape(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}
