//! /admin/listings/{id} and /admin/releases/{id}: an app and a version of it, as those who may stop them see them.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use diesel::prelude::*;

use crate::account::service::decision_notes;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Conn;
use crate::base::db::schema::{cases, releases};
use crate::base::error::QueryResultExt as _;
use crate::base::i18n::Lang;
use crate::catalog::model::ListingState;
use crate::http::page::{Page, PageResult, see_other_with};
use crate::release::measuring;
use crate::release::model::ReleaseState;
use crate::site::admin::stops::NoteRow;
use crate::site::parts::report::ReportView;
use crate::stops::model::{Reach, Stop};
use crate::{account, catalog, evaluation, release, stops};

/// Versions that a listing's page lists.
const MAX_RELEASES: i64 = 50;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/listings/{id}", web::get().to(listing))
        .route("/admin/releases/{id}", web::get().to(release_page))
        .route("/admin/releases/{id}/measure", web::post().to(measure));
}

async fn listing(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    policy::require(&actor, Action::ViewCases)?;
    let (id, view, now) = (id.into_inner(), Page::of(&req, ""), app.clock.now());
    let mut found = app
        .db
        .read(move |conn| {
            let row = catalog::service::get_app(conn, &id)?;
            let vendor = account::service::get_organization(conn, &row.organization_id).or_not_found("organization")?;
            let notes = decision_notes(conn, &id, &["listing.suspended", "listing.resumed", "listing.hidden", "listing.shown"])?;
            let reach = stops::service::reach_in(conn, Stop::SuspendListing, &id, now)?;
            Ok(ListingPage {
                title: view.pick(&row.title_zh, &row.title_en).to_owned(),
                address: format!("/apps/{}/{}", vendor.slug, row.slug),
                repository: format!("{}/{}", vendor.slug, row.slug),
                vendor: view.pick(&vendor.name_zh, &vendor.name_en).to_owned(),
                vendor_href: format!("/admin/organizations/{}", vendor.id),
                state: row.state,
                suspended: catalog::standing::suspension(conn, &row)?,
                itself: catalog::standing::is_suspended_itself(conn, &id)?,
                reach: words(&reach, view.locale()),
                releases: releases_of(conn, &id)?,
                notes: notes.iter().rev().map(|note| NoteRow::of(&view, note)).collect(),
                id,
                page: view,
            })
        })
        .await?;
    found.page.title.clone_from(&found.title);
    found.page.render(&found)
}

/// How much would be touched, without the listing itself.
fn words(reach: &Reach, lang: Lang) -> Vec<String> {
    Reach { listings: 0, ..*reach }.words(lang)
}

fn releases_of(conn: &mut Conn, app_id: &str) -> QueryResult<Vec<ReleaseRow>> {
    let rows: Vec<(String, String, ReleaseState)> = releases::table
        .filter(releases::app_id.eq(app_id))
        .order(releases::id.desc())
        .limit(MAX_RELEASES)
        .select((releases::id, releases::version, releases::state))
        .load(conn)?;
    let row = |(id, version, state)| ReleaseRow { href: format!("/admin/releases/{id}"), version, state };
    Ok(rows.into_iter().map(row).collect())
}

/// A version in the list.
pub struct ReleaseRow {
    pub href: String,
    pub version: String,
    pub state: ReleaseState,
}

/// `/admin/listings/{id}`.
#[derive(Template)]
#[template(path = "admin/listing.html")]
pub struct ListingPage {
    pub page: Page,
    pub id: String,
    pub title: String,
    /// Public page.
    pub address: String,
    /// `vendor/app`.
    pub repository: String,
    pub vendor: String,
    /// Page of the developer; for those who may see organisations.
    pub vendor_href: String,
    pub state: ListingState,
    /// Why it is suspended, by itself or with its organisation.
    pub suspended: Option<String>,
    /// Whether it is suspended by itself.
    pub itself: bool,
    /// Licences, deployments, nodes and mines that have it.
    pub reach: Vec<String>,
    pub releases: Vec<ReleaseRow>,
    pub notes: Vec<NoteRow>,
}

async fn release_page(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    policy::require(&actor, Action::ViewCases)?;
    let (id, view, now) = (id.into_inner(), Page::of(&req, ""), app.clock.now());
    let mut found = app
        .db
        .read(move |conn| {
            let found = release::service::get(conn, &id)?;
            let row = catalog::service::get_app(conn, &found.app_id)?;
            let owner = catalog::service::owner(conn, &found.app_id)?;
            let notes = decision_notes(conn, &id, &["release.published", "release.promoted", "release.deprecated", "release.recalled"])?;
            let reach = stops::service::reach_in(conn, Stop::RecallRelease, &id, now)?;
            let report = release::service::check_report(conn, &id)?;
            let scores = evaluation::service::shown_in(conn, &found.app_id, &id, found.published_at)?;
            let (history, waits) = (measuring::history(conn, &id)?, measuring::waits(conn, &id)?);
            Ok(ReleasePage {
                report: ReportView::of(&view, &found.manifest, report.as_ref(), &scores, &history, false),
                may_measure: measuring::is_measurable(found.state) && !waits,
                measuring: waits,
                app: view.pick(&row.title_zh, &row.title_en).to_owned(),
                app_href: format!("/admin/listings/{}", row.id),
                address: format!("/apps/{}", owner.repository()),
                repository: owner.repository(),
                version: found.version.clone(),
                state: found.state,
                recallable: matches!(found.state, ReleaseState::Published | ReleaseState::Deprecated),
                digest: found.digest.clone(),
                published: found.published_at.map(|at| view.datetime(&at)).unwrap_or_default(),
                recalled: found.recall.as_ref().map(|r| (r.reason.clone(), view.date(&r.at))),
                cases: cases_of(conn, &id)?,
                reach: words(&reach, view.locale()),
                notes: notes.iter().rev().map(|note| NoteRow::of(&view, note)).collect(),
                id,
                page: view,
            })
        })
        .await?;
    found.page.title = format!("{} {}", found.app, found.version);
    found.page.render(&found)
}

async fn measure(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let id = id.into_inner();
    measuring::ask(&app, &actor, &id).await?;
    Ok(see_other_with(&format!("/admin/releases/{id}"), "info", "release-measuring-this", &[]))
}

/// Addresses of the cases on a release, newest first.
fn cases_of(conn: &mut Conn, release_id: &str) -> QueryResult<Vec<String>> {
    let ids: Vec<String> =
        cases::table.filter(cases::release_id.eq(release_id)).order(cases::id.desc()).limit(10).select(cases::id).load(conn)?;
    Ok(ids.into_iter().map(|id| format!("/admin/cases/{id}")).collect())
}

/// `/admin/releases/{id}`.
#[derive(Template)]
#[template(path = "admin/release.html")]
pub struct ReleasePage {
    pub page: Page,
    pub id: String,
    /// Title of the app, and its page.
    pub app: String,
    pub app_href: String,
    /// Public page of the app.
    pub address: String,
    /// `vendor/app`.
    pub repository: String,
    pub version: String,
    pub state: ReleaseState,
    /// Whether it can be recalled.
    pub recallable: bool,
    pub digest: String,
    pub report: ReportView,
    /// It can be measured again, and is not about to be.
    pub may_measure: bool,
    /// It is about to be measured again.
    pub measuring: bool,
    pub published: String,
    /// Why it was recalled, and when.
    pub recalled: Option<(String, String)>,
    /// Addresses of its cases.
    pub cases: Vec<String>,
    /// Licences, deployments, nodes and mines that have it.
    pub reach: Vec<String>,
    pub notes: Vec<NoteRow>,
}
