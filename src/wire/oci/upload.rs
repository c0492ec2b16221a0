//! Uploads on the wire: mount, whole at once, or in chunks.

use actix_web::http::header::HeaderName;
use actix_web::http::{Method, header};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _};
use app_package::digest::Digest;

use super::access::{Caller, authorize, find, source_of_mount};
use super::answer::{pairs, set, text, told};
use super::range;
use super::rights::Action;
use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::http::oci::OciResult;
use crate::registry::model::{Repository, RepositoryName, Upload, parse_digest};
use crate::registry::uploads::{self, Chunk};

/// `POST …/blobs/uploads/`: mount, or the whole blob at once (`?digest=`), or a new upload.
pub async fn start(req: &HttpRequest, app: &App, caller: &Caller, name: &RepositoryName, payload: Payload) -> OciResult {
    let query = pairs(req);
    let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    if value("digest-algorithm").is_some_and(|a| !matches!(a, "sha256" | "sha512")) {
        return Err(Error::invalid("digest-invalid").into());
    }
    let digest = value("digest").map(parse_digest).transpose()?;
    let mounted = value("mount").map(parse_digest).transpose()?;
    let from = value("from").map(RepositoryName::parse);
    let repository = authorize(app, caller, name, Action::Push).await?;
    let user_id = &caller.actor.person()?.user_id;
    if let Some(mounted) = mounted
        && mount(app, caller, &repository, &mounted, from).await?
    {
        return Ok(created_blob(name, mounted.as_str()));
    }
    let upload = uploads::start(app, user_id, &repository).await?;
    let Some(digest) = digest else { return Ok(progress(&mut HttpResponse::Accepted(), name, &upload)) };
    let chunk = Chunk { range: None, length: content_length(req)? };
    if let Err(e) = uploads::finish(app, &upload, &digest, chunk, payload).await {
        // Cancel the upload: the client never got its id and cannot resume it. The upload may be gone already.
        let _ = uploads::cancel(app, &upload).await;
        return Err(e.into());
    }
    Ok(created_blob(name, digest.as_str()))
}

/// Links a blob of the repository `from`, or, without `from`, of any repository of the same organisation. Gives false where right,
/// repository or blob is missing, without telling which: the client uploads instead.
async fn mount(app: &App, caller: &Caller, into: &Repository, digest: &Digest, from: Option<Result<RepositoryName>>) -> Result<bool> {
    let source = match from {
        None => None,
        Some(from) => {
            // A malformed source name is treated like a missing source.
            let Ok(from) = from else { return Ok(false) };
            let Some(source) = source_of_mount(app, caller, into, &from).await? else { return Ok(false) };
            Some(source)
        }
    };
    uploads::mount(app, into, digest, source.as_ref()).await
}

/// An upload that is going on: PATCH, PUT, GET, DELETE.
pub async fn proceed(req: &HttpRequest, app: &App, caller: &Caller, name: &RepositoryName, id: &str, payload: Payload) -> OciResult {
    // Where there is no repository there is no upload; a GET must make none.
    let repository = find(app, caller, name, Action::Push).await?.ok_or_else(|| Error::not_found("upload-unknown"))?;
    let user_id = &caller.actor.person()?.user_id;
    let upload = uploads::find(app, user_id, &repository.id, id).await?;
    let result = match *req.method() {
        Method::PATCH => append(req, app, name, &upload, payload).await,
        Method::PUT => finish(req, app, name, &upload, payload).await,
        Method::DELETE => uploads::cancel(app, &upload).await.map(|()| HttpResponse::NoContent().finish()),
        _ => Ok(progress(&mut HttpResponse::NoContent(), name, &upload)),
    };
    match result {
        // A chunk out of order: answer with the upload's position, from which the client can go on.
        Err(e) if e.code == "range-invalid" => {
            let upload = uploads::find(app, user_id, &repository.id, id).await?;
            let mut refused = told(req, e).error_response();
            for (name, value) in progress_headers(name, &upload) {
                set(&mut refused, name, &value);
            }
            Ok(refused)
        }
        other => Ok(other?),
    }
}

async fn append(req: &HttpRequest, app: &App, name: &RepositoryName, upload: &Upload, payload: Payload) -> Result<HttpResponse> {
    let upload = uploads::append(app, upload, chunk_of(req)?, payload).await?;
    Ok(progress(&mut HttpResponse::Accepted(), name, &upload))
}

async fn finish(req: &HttpRequest, app: &App, name: &RepositoryName, upload: &Upload, payload: Payload) -> Result<HttpResponse> {
    let query = pairs(req);
    let digest = query.iter().find(|(k, _)| k == "digest").ok_or_else(|| Error::invalid("digest-invalid"))?;
    let digest = parse_digest(&digest.1)?;
    let mut chunk = chunk_of(req)?;
    if chunk.length == Some(0) {
        // Ignore the `Content-Range` of an empty closing PUT: it has no chunk.
        chunk.range = None;
    }
    uploads::finish(app, upload, &digest, chunk, payload).await?;
    Ok(created_blob(name, digest.as_str()))
}

fn chunk_of(req: &HttpRequest) -> Result<Chunk> {
    let range = match req.headers().get(header::CONTENT_RANGE) {
        None => None,
        Some(value) => Some(value.to_str().ok().and_then(range::chunk).ok_or_else(|| Error::invalid("range-invalid"))?),
    };
    Ok(Chunk { range, length: content_length(req)? })
}

fn content_length(req: &HttpRequest) -> Result<Option<u64>> {
    text(req, &header::CONTENT_LENGTH).map(|v| v.trim().parse().map_err(|_| Error::invalid("size-invalid"))).transpose()
}

fn progress(response: &mut HttpResponseBuilder, name: &RepositoryName, upload: &Upload) -> HttpResponse {
    for header in progress_headers(name, upload) {
        response.insert_header(header);
    }
    response.insert_header((header::CACHE_CONTROL, "no-store")).finish()
}

/// Position of the upload. `Range` cannot tell an empty upload from one of a single byte, so `X-Upload-Offset` gives the offset itself.
fn progress_headers(name: &RepositoryName, upload: &Upload) -> [(HeaderName, String); 4] {
    [
        (header::LOCATION, format!("/v2/{name}/blobs/uploads/{}", upload.id)),
        (header::RANGE, format!("0-{}", upload.offset().saturating_sub(1))),
        (HeaderName::from_static("docker-upload-uuid"), upload.id.clone()),
        (HeaderName::from_static("x-upload-offset"), upload.offset().to_string()),
    ]
}

fn created_blob(name: &RepositoryName, digest: &str) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/v2/{name}/blobs/{digest}")))
        .insert_header(("Docker-Content-Digest", digest))
        .finish()
}
