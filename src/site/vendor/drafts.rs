//! /vendor/drafts: an app that begins with a dropped model, as a form that ends in its app.yaml.

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;

use super::draft_form::{DraftForm, DraftPage};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::{Error, Result};
use crate::base::storage::BlobStore;
use crate::catalog;
use crate::draft::model::DraftFile;
use crate::draft::service::{self, Content};
use crate::http::api::ApiResult;
use crate::http::extract::{ApiJson, FormPairs};
use crate::http::page::{Page, PageResult, form_result, lang_of, see_other, see_other_with};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor/upload/models/check", web::post().to(check))
        .route("/vendor/upload/models", web::post().to(begin))
        .route("/vendor/drafts/{id}", web::get().to(draft_page))
        .route("/vendor/drafts/{id}", web::post().to(save))
        .route("/vendor/drafts/{id}/archive", web::get().to(archive))
        .route("/vendor/drafts/{id}/archive", web::post().to(save_and_fetch))
        .route("/vendor/drafts/{id}/answer", web::post().to(answer))
        .route("/vendor/drafts/{id}/upload", web::post().to(upload))
        .route("/vendor/drafts/{id}/remove", web::post().to(remove));
}

/// What the browser sends: all files that were dropped.
#[derive(Deserialize)]
struct Dropped {
    files: Vec<DraftFile>,
}

async fn check(actor: Actor, dropped: ApiJson<Dropped>) -> ApiResult {
    service::check(&actor, &dropped.0.files)?;
    Ok(HttpResponse::Ok().json(json!({"files": dropped.0.files.len()})))
}

async fn begin(req: HttpRequest, app: Data<App>, actor: Actor, dropped: ApiJson<Dropped>) -> ApiResult {
    let lang = if lang_of(&req).tag().starts_with("zh") { "zh" } else { "en" };
    let id = service::begin(&app, &actor, dropped.0.files, lang).await?;
    Ok(HttpResponse::Ok().json(json!({"location": address(&id)})))
}

fn address(id: &str) -> String {
    format!("/vendor/drafts/{id}")
}

async fn draft_page(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    show(&req, &app, &actor, &id, None, None).await
}

/// The page as it is stored, or with what was typed and what is wrong with it.
async fn show(req: &HttpRequest, app: &App, actor: &Actor, id: &str, typed: Option<DraftForm>, error: Option<Error>) -> PageResult {
    let draft = service::get(app, actor, id).await?;
    let (specialties, scenarios) =
        app.db.read(|conn| Ok((catalog::service::specialties(conn)?, catalog::service::scenarios(conn)?))).await?;
    let page = Page::of(req, "draft-title");
    page.clone().render_form(error.as_ref(), &DraftPage::of(page, &draft, (&specialties, &scenarios), typed, error.as_ref()))
}

/// Stores what was typed; gives it back where it cannot be.
async fn stored(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    id: &str,
    pairs: &FormPairs,
) -> Result<std::result::Result<(), (DraftForm, Error)>> {
    let form = DraftForm::typed(pairs);
    let scenarios = app.db.read(|conn| Ok(catalog::service::scenarios(conn)?)).await?;
    let outcome = match form.answers(&scenarios, Page::of(req, "").lang) {
        Ok(answers) => service::save(app, actor, id, form.revision, answers).await,
        Err(e) => Err(e),
    };
    match form_result(outcome) {
        Ok(Ok(())) => Ok(Ok(())),
        Ok(Err(e)) => Ok(Err((form, e))),
        Err(e) => Err(e.0),
    }
}

async fn save(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, pairs: FormPairs) -> PageResult {
    match stored(&req, &app, &actor, &id, &pairs).await? {
        Ok(()) => Ok(see_other(&address(&id))),
        Err((form, e)) => show(&req, &app, &actor, &id, Some(form), Some(e)).await,
    }
}

async fn save_and_fetch(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, pairs: FormPairs) -> PageResult {
    match stored(&req, &app, &actor, &id, &pairs).await? {
        Ok(()) => Ok(see_other(&format!("{}/archive", address(&id)))),
        Err((form, e)) => show(&req, &app, &actor, &id, Some(form), Some(e)).await,
    }
}

async fn answer(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, pairs: FormPairs) -> PageResult {
    let (form, e) = match stored(&req, &app, &actor, &id, &pairs).await? {
        Ok(()) => match form_result(service::answer(&app, &actor, &id).await)? {
            Ok(()) => return Ok(see_other(&address(&id))),
            Err(e) => (DraftForm::typed(&pairs), e),
        },
        Err(refused) => refused,
    };
    show(&req, &app, &actor, &id, Some(form), Some(e)).await
}

async fn upload(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, pairs: FormPairs) -> PageResult {
    let (form, e) = match stored(&req, &app, &actor, &id, &pairs).await? {
        Ok(()) => match form_result(service::upload(&app, &actor, &id).await)? {
            Ok(Ok(location)) => return Ok(see_other(&location)),
            Ok(Err(faults)) => (None, draft_faults(&req, &faults)),
            Err(e) => (None, e),
        },
        Err((form, e)) => (Some(form), e),
    };
    show(&req, &app, &actor, &id, form, Some(e)).await
}

/// The first of an upload's faults as an error of the form.
fn draft_faults(req: &HttpRequest, faults: &[crate::release::upload::UploadFault]) -> Error {
    let page = Page::of(req, "");
    let told = faults.iter().take(5).map(|fault| page.pick(&fault.message.zh, &fault.message.en).to_owned()).collect::<Vec<_>>();
    Error::invalid("draft-faults").arg("faults", told.join(" · "))
}

async fn remove(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    service::remove(&app, &actor, &id).await?;
    Ok(see_other_with("/vendor/apps/new", "success", "draft-removed", &[]))
}

/// The app's folder as a tar, sent as it is read.
async fn archive(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let draft = service::get(&app, &actor, &id).await?;
    let folder = service::folder(&draft)?;
    let name = draft.form.name.clone();
    let modified = u64::try_from(draft.created_at.unix()).unwrap_or_default();
    let mut entries = Vec::with_capacity(folder.len());
    let mut length = END.len() as u64;
    for (path, content) in folder {
        let size = match &content {
            Content::Text(text) => text.len() as u64,
            Content::Blob(digest, size) => {
                // Said before anything is sent: a file that ends in the middle says nothing.
                if app.blobs.size(digest).await? != Some(*size) {
                    return Err(Error::invalid("upload-blob-missing").arg("path", path).into());
                }
                *size
            }
        };
        let mut head = tar::Header::new_ustar();
        head.set_path(format!("{name}/{path}"))?;
        head.set_size(size);
        head.set_mode(0o644);
        head.set_mtime(modified);
        head.set_cksum();
        length = length.saturating_add(RECORD).saturating_add(size.next_multiple_of(RECORD));
        entries.push((Bytes::copy_from_slice(head.as_bytes()), content, size));
    }
    let blobs = app.blobs.clone();
    let body = stream::iter(entries).then(move |entry| part(blobs.clone(), entry)).try_flatten();
    let body = body.chain(stream::once(async { Ok(Bytes::from_static(&END)) })).map_err(actix_web::error::ErrorInternalServerError);
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/x-tar"))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.tar\"")))
        .body(SizedStream::new(length, Box::pin(body))))
}

/// Bytes of a tar's record, and its end: two of them empty.
const RECORD: u64 = 512;
static END: [u8; 1024] = [0; 1024];

/// A file in the tar: its header, its bytes, and zeros up to the next record.
async fn part(
    blobs: BlobStore,
    (head, content, size): (Bytes, Content, u64),
) -> std::io::Result<impl futures_util::Stream<Item = std::io::Result<Bytes>>> {
    let bytes = match content {
        Content::Text(text) => stream::once(async move { Ok(Bytes::from(text)) }).boxed(),
        Content::Blob(digest, size) => blobs.read(&digest, 0, size).await.map_err(std::io::Error::other)?.boxed(),
    };
    let rest = usize::try_from(size.next_multiple_of(RECORD) - size).unwrap_or_default();
    let zeros = Bytes::from_static(END.get(..rest).unwrap_or_default());
    Ok(stream::once(async move { Ok(head) }).chain(bytes).chain(stream::once(async move { Ok(zeros) })))
}
