//! Reads for the vendor console over the vendor's own apps, releases and sales. Changes nothing.

use std::collections::HashMap;

use diesel::dsl::{count, max};
use diesel::prelude::*;
use inference::check::CheckReport;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::schema::{apps, cases, deployments, orders, releases, specialties, users};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::base::i18n::Lang;
use crate::fleet::model::DeploymentState;
use crate::moderation::model::CaseState;
use crate::registry::uploads::{Unfinished, unfinished_in};
use crate::release::difference::Difference;
use crate::release::lifecycle;
use crate::release::measuring::{self, History, Outcome};
use crate::release::model::{Channel, Release, ReleaseState};
use crate::release::upload::INBOX;
use crate::site::parts::chain;
use crate::site::parts::chain::ChainLink;
use crate::trade::model::OrderState;
use crate::trust::evidence::{Evidence, Subject};
use crate::{catalog, evaluation, release, trust};

/// Entries on one page.
pub const PAGE: i64 = 50;
/// Versions that are offered for a comparison.
const OTHERS: usize = 50;
/// States in which a release waits for the check, the vendor or a moderator.
const OPEN: [ReleaseState; 5] =
    [ReleaseState::Checking, ReleaseState::Failed, ReleaseState::Ready, ReleaseState::InReview, ReleaseState::ChangesRequested];

/// Numbers of the overview.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub apps: i64,
    /// Releases with a moderator.
    pub in_review: i64,
    /// Orders paid for.
    pub sales: i64,
    /// Nodes that run an app of the vendor.
    pub nodes: i64,
    /// Releases in [`OPEN`] states, of which the first [`PAGE`] are listed.
    pub waiting: i64,
}

/// A release with its app.
#[derive(Debug, Clone, Queryable)]
pub struct ReleaseLine {
    pub id: String,
    pub app: String,
    /// Title in Chinese.
    pub title_zh: String,
    /// Title in English.
    pub title_en: String,
    pub version: String,
    pub state: ReleaseState,
    pub size_bytes: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An app of the list.
#[derive(Debug, Clone)]
pub struct AppLine {
    pub id: String,
    pub slug: String,
    /// Title in Chinese.
    pub title_zh: String,
    /// Title in English.
    pub title_en: String,
    /// Specialty in Chinese.
    pub specialty_zh: String,
    /// Specialty in English.
    pub specialty_en: String,
    /// State of the listing.
    pub state: String,
    /// Version and state of the release uploaded last.
    pub latest: Option<(String, ReleaseState)>,
}

/// The last decision of a moderator.
#[derive(Debug, Clone, Queryable)]
pub struct LastDecision {
    /// `approved`, `changes_requested` or `rejected`.
    pub state: String,
    pub reason: String,
    pub decided_at: Option<Timestamp>,
}

/// The data of a release's page.
#[derive(Debug, Clone)]
pub struct ReleaseDetail {
    pub release: Release,
    pub app: String,
    pub vendor: String,
    /// Vendor's organisation id.
    pub organization_id: String,
    /// Who uploaded it.
    pub uploaded_by: String,
    /// Last report, with its time.
    pub report: Option<(CheckReport, Timestamp)>,
    /// Its figures of other measurements.
    pub history: History,
    /// It is about to be measured again.
    pub measuring: bool,
    /// What came of it the last time.
    pub measured: Option<Outcome>,
    pub decision: Option<LastDecision>,
    /// Scores on hidden test sets.
    pub scores: Vec<evaluation::service::ScoreSummary>,
    pub chain: Vec<ChainLink>,
}

/// A release beside the others of its app.
#[derive(Debug, Clone)]
pub struct ReleaseComparison {
    /// The version compared with, and the differences.
    pub difference: Option<(String, Difference)>,
    /// Other versions, newest first.
    pub others: Vec<String>,
    /// Versions that may be named as its successor; none where the reader cannot deprecate it.
    pub successors: Option<Vec<String>>,
}

/// An app with one page of its releases.
#[derive(Debug, Clone)]
pub struct AppDetail {
    pub app: AppLine,
    pub vendor: String,
    /// Releases, newest first.
    pub releases: Vec<ReleaseLine>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// Whether the app has a plan, so that it can be ordered.
    pub offered: bool,
    /// Why the platform has suspended the listing.
    pub suspended: Option<String>,
}

fn lines() -> (
    releases::id,
    apps::slug,
    apps::title_zh,
    apps::title_en,
    releases::version,
    releases::state,
    releases::size_bytes,
    releases::created_at,
    releases::updated_at,
) {
    (
        releases::id,
        apps::slug,
        apps::title_zh,
        apps::title_en,
        releases::version,
        releases::state,
        releases::size_bytes,
        releases::created_at,
        releases::updated_at,
    )
}

/// Figures, and the vendor's releases in [`OPEN`] states, those unchanged for longest first.
pub async fn overview(app: &App, actor: &Actor) -> Result<(Figures, Vec<ReleaseLine>)> {
    let vendor = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let own = apps::organization_id.eq(&vendor);
            let of_own = || releases::table.inner_join(apps::table.on(apps::id.eq(releases::app_id))).filter(own);
            let nodes = deployments::table.inner_join(apps::table.on(apps::id.eq(deployments::app_id))).filter(own);
            let figures = Figures {
                apps: apps::table.filter(own).count().get_result(conn)?,
                in_review: of_own().filter(releases::state.eq(ReleaseState::InReview)).count().get_result(conn)?,
                waiting: of_own().filter(releases::state.eq_any(OPEN)).count().get_result(conn)?,
                sales: orders::table
                    .filter(orders::vendor_id.eq(&vendor).and(orders::state.eq_any(OrderState::SOLD)))
                    .count()
                    .get_result(conn)?,
                nodes: nodes
                    .filter(deployments::state.eq(DeploymentState::Installed))
                    .select(count(deployments::node_id).aggregate_distinct())
                    .get_result(conn)?,
            };
            let waiting = of_own()
                .filter(releases::state.eq_any(OPEN))
                .order((releases::updated_at, releases::id))
                .limit(PAGE)
                .select(lines())
                .load(conn)?;
            Ok((figures, waiting))
        })
        .await
}

/// What the reader has begun to upload and not finished: something of it has arrived, and no release came out of the same repository since.
pub async fn unfinished(app: &App, actor: &Actor) -> Result<Vec<Unfinished>> {
    let (person, now) = (policy::require(actor, Action::ViewOwnApps)?.clone(), app.clock.now());
    app.db
        .read(move |conn| {
            let mut found = unfinished_in(conn, &person.user_id, now)?;
            found.retain(|upload| upload.bytes > 0);
            let Some(first) = found.iter().map(|upload| upload.since).min() else { return Ok(found) };
            // The last one of each app tells whether there was one since.
            let received: Vec<(String, Option<Timestamp>)> = releases::table
                .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
                .filter(apps::organization_id.eq(&person.organization_id).and(releases::created_at.gt(first)))
                .group_by(apps::slug)
                .select((apps::slug, max(releases::created_at)))
                .load(conn)?;
            found.retain(|upload| {
                let name = upload.repository.rsplit('/').next().unwrap_or_default();
                !received.iter().any(|(slug, at)| at.is_some_and(|at| at > upload.since) && (slug == name || name == INBOX))
            });
            Ok(found)
        })
        .await
}

/// One page of the vendor's apps, newest first, before an id; and where the next begins.
pub async fn apps(app: &App, actor: &Actor, before: Option<String>) -> Result<(Vec<AppLine>, Option<String>)> {
    let vendor = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let mut found = app_lines(conn, &vendor, None, before.as_deref())?;
            let next = cut(&mut found, |line| line.id.clone());
            let ids: Vec<&str> = found.iter().map(|line| line.id.as_str()).collect();
            let mut newest = newest(conn, &ids)?;
            for line in &mut found {
                line.latest = newest.remove(&line.id);
            }
            Ok((found, next))
        })
        .await
}

/// Version and state of the release of each app that was uploaded last.
fn newest(conn: &mut Conn, app_ids: &[&str]) -> QueryResult<HashMap<String, (String, ReleaseState)>> {
    let of = releases::table.filter(releases::app_id.eq_any(app_ids)).group_by(releases::app_id);
    let last: Vec<Option<String>> = of.select(max(releases::id)).load(conn)?;
    let last = releases::table.filter(releases::id.eq_any(last.into_iter().flatten()));
    let rows: Vec<(String, String, ReleaseState)> = last.select((releases::app_id, releases::version, releases::state)).load(conn)?;
    Ok(rows.into_iter().map(|(app, version, state)| (app, (version, state))).collect())
}

fn app_lines(conn: &mut Conn, vendor: &str, slug: Option<&str>, before: Option<&str>) -> QueryResult<Vec<AppLine>> {
    type Row = (String, String, String, String, String, String, String);
    let mut query = apps::table
        .inner_join(specialties::table.on(specialties::slug.eq(apps::specialty)))
        .filter(apps::organization_id.eq(vendor))
        .order(apps::id.desc())
        .limit(PAGE + 1)
        .select((apps::id, apps::slug, apps::title_zh, apps::title_en, specialties::name_zh, specialties::name_en, apps::state))
        .into_boxed();
    if let Some(slug) = slug {
        query = query.filter(apps::slug.eq(slug));
    }
    if let Some(before) = before {
        query = query.filter(apps::id.lt(before));
    }
    let rows: Vec<Row> = query.load(conn)?;
    let line = |(id, slug, title_zh, title_en, specialty_zh, specialty_en, state): Row| AppLine {
        id,
        slug,
        title_zh,
        title_en,
        specialty_zh,
        specialty_en,
        state,
        latest: None,
    };
    Ok(rows.into_iter().map(line).collect())
}

/// Cuts a list to one page; gives the key of its last entry where more follow.
fn cut<T>(lines: &mut Vec<T>, key: impl Fn(&T) -> String) -> Option<String> {
    let limit = usize::try_from(PAGE).unwrap_or(usize::MAX);
    if lines.len() <= limit {
        return None;
    }
    lines.truncate(limit);
    lines.last().map(key)
}

/// One of the vendor's apps with a page of its releases.
///
/// # Errors
/// `app`: not there, or not the vendor's.
pub async fn app_detail(app: &App, actor: &Actor, slug: &str, before: Option<String>) -> Result<AppDetail> {
    let person = policy::require(actor, Action::ViewOwnApps)?.clone();
    let slug = slug.to_owned();
    app.db
        .read(move |conn| {
            let found = app_lines(conn, &person.organization_id, Some(&slug), None)?.into_iter().next();
            let mut line = found.ok_or_else(|| Error::not_found("app"))?;
            let mut query = releases::table
                .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
                .filter(releases::app_id.eq(&line.id))
                .order(releases::id.desc())
                .limit(PAGE + 1)
                .select(lines())
                .into_boxed();
            if let Some(before) = &before {
                query = query.filter(releases::id.lt(before));
            }
            let mut releases: Vec<ReleaseLine> = query.load(conn)?;
            let next = cut(&mut releases, |line| line.id.clone());
            line.latest = releases.first().map(|r| (r.version.clone(), r.state));
            let offered = !catalog::service::list_plans(conn, &line.id)?.is_empty();
            let row = catalog::service::get_app(conn, &line.id)?;
            let suspended = catalog::standing::suspension(conn, &row)?;
            Ok(AppDetail { app: line, vendor: person.organization_slug, releases, next, offered, suspended })
        })
        .await
}

/// Signatures and documents of a release. The caller has checked that the reader may see it.
pub async fn evidence(app: &App, detail: &ReleaseDetail) -> Result<Evidence> {
    let subject = Subject {
        organization_id: detail.organization_id.clone(),
        vendor: detail.vendor.clone(),
        app: detail.app.clone(),
        version: detail.release.version.clone(),
        digest: detail.release.digest.clone(),
    };
    trust::evidence::of_release(app, &subject).await
}

/// Id and channel of a release of the vendor's, for an action on it.
///
/// # Errors
/// `release`: not there, or not the vendor's.
pub async fn own_release(app: &App, actor: &Actor, (slug, version): &(String, String)) -> Result<(String, Channel)> {
    let vendor = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    let (slug, version) = (slug.clone(), version.clone());
    app.db
        .read(move |conn| {
            releases::table
                .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
                .filter(apps::organization_id.eq(&vendor).and(apps::slug.eq(&slug)).and(releases::version.eq(&version)))
                .select((releases::id, releases::channel))
                .first(conn)
                .or_not_found("release")
        })
        .await
}

/// One release of the vendor's.
///
/// # Errors
/// `release`: not there, or not the vendor's.
pub async fn release_detail(app: &App, actor: &Actor, lang: Lang, slug: &str, version: &str) -> Result<ReleaseDetail> {
    let person = policy::require(actor, Action::ViewOwnApps)?.clone();
    let reader = chain::Reader::of(actor, lang, app.clock.now());
    let (slug, version) = (slug.to_owned(), version.to_owned());
    app.db
        .read(move |conn| {
            let own = apps::organization_id.eq(&person.organization_id).and(apps::slug.eq(&slug));
            let app_id: String = apps::table.filter(own).select(apps::id).first(conn).or_not_found("release")?;
            let release = release::service::find_version(conn, &app_id, &version)?.ok_or_else(|| Error::not_found("release"))?;
            let uploaded_by = users::table.find(&release.created_by).select(users::name).first(conn)?;
            let decision = cases::table
                .filter(cases::release_id.eq(&release.id).and(cases::state.ne(CaseState::Open)))
                .order(cases::id.desc())
                .select((cases::state, cases::reason, cases::decided_at))
                .first(conn)
                .optional()?;
            let report = release::service::latest_report(conn, &release.id)?;
            let history = measuring::history(conn, &release.id)?;
            let (measuring, measured) = (measuring::waits(conn, &release.id)?, measuring::outcome(conn, &release.id)?);
            let scores = evaluation::service::shown_in(conn, &release.app_id, &release.id, release.published_at)?;
            let chain = chain::of_release(conn, &reader, &release.id)?;
            Ok(ReleaseDetail {
                release,
                app: slug,
                vendor: person.organization_slug,
                organization_id: person.organization_id,
                uploaded_by,
                report,
                history,
                measuring,
                measured,
                decision,
                scores,
                chain,
            })
        })
        .await
}

/// Compares a release of the vendor's with another version, or with its predecessor.
///
/// # Errors
/// `release`: there is no such version.
pub async fn comparison(app: &App, actor: &Actor, detail: &ReleaseDetail, with: Option<String>) -> Result<ReleaseComparison> {
    let person = policy::require(actor, Action::ViewOwnApps)?.clone();
    let release = detail.release.clone();
    app.db
        .read(move |conn| {
            let difference = release::comparison::compared(conn, &release, with.as_deref())?;
            let others = release::service::versions(conn, &release.app_id, ReleaseState::ALL)?;
            let others = others.into_iter().filter(|(id, ..)| *id != release.id).take(OTHERS).map(|(_, version, _)| version).collect();
            let may = release.state == ReleaseState::Published && policy::permits(person.kind, person.role, Action::PublishApps);
            let successors = may.then(|| lifecycle::successors(conn, &release)).transpose()?;
            Ok(ReleaseComparison { difference, others, successors })
        })
        .await
}
