//! /vendor and /vendor/apps: a developer’s apps.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::page::{Ago, Page, PageResult};
use crate::http::paging::Before;
use crate::registry::uploads::Unfinished;
use crate::release::model::{ReleaseState, address};
use crate::release::upload::INBOX;
use crate::site::vendor::console::{self, AppLine, Figures, ReleaseLine};
use crate::site::vendor::upload::UploadTarget;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor", web::get().to(overview))
        .route("/vendor/waiting", web::get().to(waiting))
        .route("/vendor/apps", web::get().to(apps))
        .route("/vendor/apps/{slug}", web::get().to(app_page));
}

async fn overview(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let (figures, lines) = console::overview(&app, &actor).await?;
    let page = Page::of(&req, "vendor-title");
    let (waiting, more) = waiting_rows(&page, &figures, &lines);
    page.clone().render(&OverviewPage { page, figures, waiting, more })
}

/// `GET` of the overview's live part.
async fn waiting(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let (figures, lines) = console::overview(&app, &actor).await?;
    let page = Page::of(&req, "vendor-title");
    let (waiting, more) = waiting_rows(&page, &figures, &lines);
    page.clone().render(&OverviewFragment { page, figures, waiting, more })
}

/// Rows of the releases under way, and how many more there are.
fn waiting_rows(page: &Page, figures: &Figures, lines: &[ReleaseLine]) -> (Vec<ReleaseRow>, i64) {
    let more = figures.waiting.saturating_sub(i64::try_from(lines.len()).unwrap_or(i64::MAX));
    (lines.iter().map(|line| ReleaseRow::of(page, line)).collect(), more)
}

async fn apps(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let (found, next) = console::apps(&app, &actor, query.into_inner().before).await?;
    let unfinished = console::unfinished(&app, &actor).await?;
    let page = Page::of(&req, "vendor-apps-title");
    let unfinished = unfinished.iter().map(|upload| UnfinishedRow::of(&page, upload)).collect();
    let apps = found.iter().map(|line| AppRow::of(&page, line)).collect();
    let next = next.map(|id| format!("/vendor/apps?before={id}"));
    page.clone().render(&AppsPage { page, apps, unfinished, next })
}

async fn app_page(req: HttpRequest, app: Data<App>, actor: Actor, slug: Path<String>, query: Query<Before>) -> PageResult {
    let detail = console::app_detail(&app, &actor, &slug, query.into_inner().before).await?;
    let mut page = Page::of(&req, "");
    page.title = page.pick(&detail.app.title_zh, &detail.app.title_en).into();
    let upload = UploadTarget::new(format!("{}/{}", detail.vendor, detail.app.slug), Some(&detail.app.slug));
    let next = detail.next.map(|id| format!("/vendor/apps/{}?before={id}", detail.app.slug));
    let releases = detail.releases.iter().map(|line| ReleaseRow::of(&page, line)).collect();
    let row = AppRow::of(&page, &detail.app);
    let (vendor, offered, suspended) = (detail.vendor, detail.offered, detail.suspended);
    let server = app.settings.server.public_url.clone();
    page.clone().render(&AppPage { page, app: row, vendor, releases, next, offered, suspended, upload, server })
}

/// `/vendor`.
#[derive(Template)]
#[template(path = "vendor/overview.html")]
pub struct OverviewPage {
    pub page: Page,
    pub figures: Figures,
    pub waiting: Vec<ReleaseRow>,
    /// Releases under way that are not listed.
    pub more: i64,
}

/// The live part of `/vendor`.
#[derive(Template)]
#[template(path = "vendor/overview_live.html")]
pub struct OverviewFragment {
    pub page: Page,
    pub figures: Figures,
    pub waiting: Vec<ReleaseRow>,
    /// Releases under way that are not listed.
    pub more: i64,
}

/// `/vendor/apps`.
#[derive(Template)]
#[template(path = "vendor/apps.html")]
pub struct AppsPage {
    pub page: Page,
    pub apps: Vec<AppRow>,
    pub unfinished: Vec<UnfinishedRow>,
    pub next: Option<String>,
}

/// `/vendor/apps/{slug}`.
#[derive(Template)]
#[template(path = "vendor/app.html")]
pub struct AppPage {
    pub page: Page,
    pub app: AppRow,
    pub vendor: String,
    pub releases: Vec<ReleaseRow>,
    pub next: Option<String>,
    pub offered: bool,
    /// Why the platform has suspended the listing.
    pub suspended: Option<String>,
    pub upload: UploadTarget,
    /// Address of this site, for the command line.
    pub server: String,
}

/// A release in a list.
pub struct ReleaseRow {
    pub href: String,
    pub title: String,
    pub version: String,
    pub state: ReleaseState,
    pub size: String,
    pub created: String,
    pub since: Ago,
    /// The side that must act; `next` tells what happens next.
    pub who: String,
    pub next: String,
}

impl ReleaseRow {
    pub fn of(page: &Page, line: &ReleaseLine) -> Self {
        Self {
            href: address(&line.app, &line.version),
            title: page.pick(&line.title_zh, &line.title_en).to_owned(),
            version: line.version.clone(),
            state: line.state,
            size: page.bytes(&line.size_bytes),
            created: page.datetime(&line.created_at),
            since: page.ago(&line.updated_at),
            who: page.tk("release-who-", line.state),
            next: page.tk("release-next-", line.state),
        }
    }
}

/// An upload that was begun and not finished.
pub struct UnfinishedRow {
    /// Where it goes on.
    pub href: String,
    /// Slug of the app, or empty for a new one.
    pub app: String,
    /// Files and bytes so far, in words.
    pub arrived: String,
    pub since: Ago,
    pub until: String,
}

impl UnfinishedRow {
    pub fn of(page: &Page, upload: &Unfinished) -> Self {
        let app = upload.repository.rsplit('/').next().filter(|name| *name != INBOX).unwrap_or_default().to_owned();
        Self {
            href: if app.is_empty() { "/vendor/apps/new".to_owned() } else { format!("/vendor/apps/{app}") },
            arrived: page.t2("upload-unfinished-arrived", "n", upload.files, "bytes", page.bytes(&upload.bytes)),
            since: page.ago(&upload.since),
            until: page.datetime(&upload.until),
            app,
        }
    }
}

/// An app in a list.
pub struct AppRow {
    pub slug: String,
    pub title: String,
    pub specialty: String,
    pub state: String,
    pub latest: Option<(String, ReleaseState, String)>,
}

impl AppRow {
    pub fn of(page: &Page, line: &AppLine) -> Self {
        Self {
            slug: line.slug.clone(),
            title: page.pick(&line.title_zh, &line.title_en).to_owned(),
            specialty: page.pick(&line.specialty_zh, &line.specialty_en).to_owned(),
            state: line.state.clone(),
            latest: line.latest.as_ref().map(|(version, state)| (version.clone(), *state, address(&line.slug, version))),
        }
    }
}
