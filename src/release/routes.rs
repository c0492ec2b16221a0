//! Routes of the vendor console.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::console::{self, ReleaseDetail};
use super::lifecycle::{self, DeprecationForm};
use super::report::ComparisonView;
use super::upload::{INBOX, Upload, check_upload, finish_upload};
use super::views::{
    AppPage, AppRow, AppsPage, NewAppPage, OverviewFragment, OverviewPage, ReleaseFragment, ReleasePage, ReleaseRow, ReleaseView,
    UploadTarget,
};
use super::{model, service};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::http::api::ApiResult;
use crate::http::extract::{ApiJson, Form};
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor", web::get().to(overview))
        .route("/vendor/waiting", web::get().to(waiting))
        .route("/vendor/apps", web::get().to(apps))
        .route("/vendor/apps/new", web::get().to(new_app))
        .route("/vendor/upload/target", web::get().to(target))
        .route("/vendor/upload/check", web::post().to(check))
        .route("/vendor/upload/finish", web::post().to(finish))
        .route("/vendor/apps/{slug}", web::get().to(app_page))
        .route("/vendor/apps/{slug}/releases/{version}", web::get().to(release))
        .route("/vendor/apps/{slug}/releases/{version}/fragment", web::get().to(fragment))
        .route("/vendor/apps/{slug}/releases/{version}/submit", web::post().to(submit))
        .route("/vendor/apps/{slug}/releases/{version}/recheck", web::post().to(recheck))
        .route("/vendor/apps/{slug}/releases/{version}/promote", web::post().to(promote))
        .route("/vendor/apps/{slug}/releases/{version}/deprecate", web::post().to(deprecate));
}

async fn overview(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let (figures, lines) = console::overview(&app, &actor).await?;
    let page = Page::of(&req, "vendor-title");
    let waiting = lines.iter().map(|line| ReleaseRow::of(&page, line)).collect();
    page.clone().render(&OverviewPage { page, figures, waiting })
}

/// The live part of the overview.
async fn waiting(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let (figures, lines) = console::overview(&app, &actor).await?;
    let page = Page::of(&req, "vendor-title");
    let waiting = lines.iter().map(|line| ReleaseRow::of(&page, line)).collect();
    page.clone().render(&OverviewFragment { page, figures, waiting })
}

#[derive(Deserialize)]
struct Before {
    before: Option<String>,
}

async fn apps(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let (found, next) = console::apps(&app, &actor, query.into_inner().before).await?;
    let page = Page::of(&req, "vendor-apps-title");
    let apps = found.iter().map(|line| AppRow::of(&page, line)).collect();
    let next = next.map(|id| format!("/vendor/apps?before={id}"));
    page.clone().render(&AppsPage { page, apps, next })
}

async fn new_app(req: HttpRequest, actor: Actor) -> PageResult {
    let person = policy::require(&actor, Action::PublishApps)?;
    let page = Page::of(&req, "vendor-new-title");
    let upload = UploadTarget::new(format!("{}/{INBOX}", person.organization_slug), None);
    page.clone().render(&NewAppPage { page, upload })
}

/// `{"vendor"}`: under which name the asker publishes. `pithead push` asks it.
async fn target(actor: Actor) -> ApiResult {
    let person = policy::require(&actor, Action::PublishApps)?;
    Ok(HttpResponse::Ok().json(json!({"vendor": person.organization_slug})))
}

#[derive(Deserialize)]
struct Only {
    app: Option<String>,
}

async fn check(app: Data<App>, actor: Actor, only: Query<Only>, upload: ApiJson<Upload>) -> ApiResult {
    let checked = check_upload(&app, &actor, upload.0, only.into_inner().app).await?;
    let mut answer = if checked.faults.is_empty() { HttpResponse::Ok() } else { HttpResponse::UnprocessableEntity() };
    Ok(answer.json(checked))
}

async fn finish(app: Data<App>, actor: Actor, only: Query<Only>, upload: ApiJson<Upload>) -> ApiResult {
    Ok(match finish_upload(&app, &actor, upload.0, only.into_inner().app).await? {
        Ok(location) => HttpResponse::Ok().json(json!({"location": location})),
        Err(faults) => HttpResponse::UnprocessableEntity().json(json!({"faults": faults})),
    })
}

async fn app_page(req: HttpRequest, app: Data<App>, actor: Actor, slug: Path<String>, query: Query<Before>) -> PageResult {
    let detail = console::app_detail(&app, &actor, &slug, query.into_inner().before).await?;
    let mut page = Page::of(&req, "");
    page.title = page.pick(&detail.app.title_zh, &detail.app.title_en).into();
    let upload = UploadTarget::new(format!("{}/{}", detail.vendor, detail.app.slug), Some(&detail.app.slug));
    let next = detail.next.map(|id| format!("/vendor/apps/{}?before={id}", detail.app.slug));
    let releases = detail.releases.iter().map(|line| ReleaseRow::of(&page, line)).collect();
    let row = AppRow::of(&page, &detail.app);
    page.clone().render(&AppPage { page, app: row, vendor: detail.vendor, releases, next, offered: detail.offered, upload })
}

async fn view(req: &HttpRequest, app: &App, actor: &Actor, path: &(String, String)) -> Result<(Page, ReleaseDetail), Error> {
    let mut page = Page::of(req, "");
    let detail = console::release_detail(app, actor, page.locale(), &path.0, &path.1).await?;
    page.title = format!("{} {}", detail.release.manifest.title.get(page.lang), detail.release.version);
    Ok((page, detail))
}

#[derive(Deserialize)]
struct Against {
    #[serde(default)]
    against: Option<String>,
}

async fn release(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, query: Query<Against>) -> PageResult {
    let against = query.into_inner().against.filter(|version| !version.is_empty());
    show_release(&req, &app, &actor, &path, against, StatusCode::OK, DeprecationForm::default(), None).await
}

#[expect(clippy::too_many_arguments, reason = "what a page with a comparison and a form depends on")]
async fn show_release(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    path: &(String, String),
    against: Option<String>,
    status: StatusCode,
    form: DeprecationForm,
    error: Option<Error>,
) -> PageResult {
    let (page, detail) = view(req, app, actor, path).await?;
    let shown = console::comparison(app, actor, &detail, against).await?;
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    let comparison = shown.difference.as_ref().map(|(from, d)| ComparisonView::of(&page, from, &detail.release.version, d));
    let evidence = console::evidence(app, &detail).await?;
    let view = ReleaseView::of(&page, &detail, &evidence);
    let view = ReleasePage { view, comparison, others: shown.others, successors: shown.successors, form, errors, page: page.clone() };
    page.render_with(status, &view)
}

async fn fragment(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (page, detail) = view(&req, &app, &actor, &path).await?;
    let evidence = console::evidence(&app, &detail).await?;
    let view = ReleaseView::of(&page, &detail, &evidence);
    page.clone().render(&ReleaseFragment { page, view })
}

#[derive(Deserialize)]
struct Submission {
    #[serde(default)]
    channel: String,
}

async fn submit(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, form: Form<Submission>) -> PageResult {
    let (_, detail) = view(&req, &app, &actor, &path).await?;
    let channel = match form.0.channel.as_str() {
        "" => detail.release.channel,
        word => word.parse().map_err(|_| Error::field("channel", "release-channel"))?,
    };
    service::submit(&app, &actor, &detail.release.id, channel).await?;
    Ok(see_other_with(&model::address(&path.0, &path.1), "success", "release-submitted", &[("version", &path.1)]))
}

async fn recheck(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (_, detail) = view(&req, &app, &actor, &path).await?;
    service::recheck(&app, &actor, &detail.release.id).await?;
    Ok(see_other_with(&model::address(&path.0, &path.1), "info", "release-rechecked", &[("version", &path.1)]))
}

async fn promote(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (_, detail) = view(&req, &app, &actor, &path).await?;
    lifecycle::promote(&app, &actor, &detail.release.id).await?;
    Ok(see_other_with(&model::address(&path.0, &path.1), "success", "release-promoted", &[("version", &path.1)]))
}

async fn deprecate(
    req: HttpRequest,
    app: Data<App>,
    actor: Actor,
    path: Path<(String, String)>,
    form: Form<DeprecationForm>,
) -> PageResult {
    let (_, detail) = view(&req, &app, &actor, &path).await?;
    match form_result(lifecycle::deprecate(&app, &actor, &detail.release.id, &form.0).await)? {
        Ok(()) => Ok(see_other_with(&model::address(&path.0, &path.1), "success", "release-now-deprecated", &[("version", &path.1)])),
        Err(e) => show_release(&req, &app, &actor, &path, None, StatusCode::UNPROCESSABLE_ENTITY, form.0, Some(e)).await,
    }
}
