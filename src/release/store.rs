//! Queries of releases.

use std::collections::HashMap;

use diesel::dsl::max;
use diesel::prelude::*;
use inference::check::CheckReport;

use super::model::{Channel, Deprecation, Recall, Release, ReleaseState};
use crate::base::db::schema::{apps, blobs, check_reports, releases, repositories, repository_blobs};
use crate::base::db::{Conn, Json, Timestamp};

/// Values of one `IN (…)`.
const BATCH: usize = 500;

pub fn get(conn: &mut Conn, id: &str) -> QueryResult<Release> {
    releases::table.find(id).select(Release::as_select()).first(conn)
}

/// Releases by id, in no order.
pub fn get_all(conn: &mut Conn, ids: &[&str]) -> QueryResult<Vec<Release>> {
    releases::table.filter(releases::id.eq_any(ids)).select(Release::as_select()).load(conn)
}

pub fn of_app(conn: &mut Conn, app_id: &str, id: &str) -> QueryResult<Option<Release>> {
    releases::table.find(id).filter(releases::app_id.eq(app_id)).select(Release::as_select()).first(conn).optional()
}

pub fn find_version(conn: &mut Conn, app_id: &str, version: &str) -> QueryResult<Option<Release>> {
    releases::table
        .filter(releases::app_id.eq(app_id).and(releases::version.eq(version)))
        .select(Release::as_select())
        .first(conn)
        .optional()
}

/// Digest and state of a version of an organisation's app.
pub fn find_own_version(conn: &mut Conn, organization_id: &str, app: &str, version: &str) -> QueryResult<Option<(String, ReleaseState)>> {
    releases::table
        .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
        .filter(apps::organization_id.eq(organization_id).and(apps::slug.eq(app)).and(releases::version.eq(version)))
        .select((releases::digest, releases::state))
        .first(conn)
        .optional()
}

/// How many versions an app has.
pub fn count_versions(conn: &mut Conn, app_id: &str) -> QueryResult<i64> {
    releases::table.filter(releases::app_id.eq(app_id)).count().get_result(conn)
}

/// How many releases of an organisation wait for their check.
pub fn count_checking(conn: &mut Conn, organization_id: &str) -> QueryResult<i64> {
    releases::table
        .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
        .filter(apps::organization_id.eq(organization_id).and(releases::state.eq(ReleaseState::Checking)))
        .count()
        .get_result(conn)
}

/// Digest, version and state of those digests that are releases.
pub fn by_digest(conn: &mut Conn, digests: &[&str]) -> QueryResult<Vec<(String, String, ReleaseState)>> {
    releases::table.filter(releases::digest.eq_any(digests)).select((releases::digest, releases::version, releases::state)).load(conn)
}

/// Most versions of an app.
pub const MAX_VERSIONS: i64 = 1000;

/// Id, version and channel of an app's releases in some states, the last uploaded first.
pub fn versions(conn: &mut Conn, app_id: &str, states: &[ReleaseState]) -> QueryResult<Vec<(String, String, Channel)>> {
    releases::table
        .filter(releases::app_id.eq(app_id).and(releases::state.eq_any(states.iter().map(|state| state.as_str()))))
        .order(releases::id.desc())
        .limit(MAX_VERSIONS)
        .select((releases::id, releases::version, releases::channel))
        .load(conn)
}

/// Versions that a listing shows.
const MAX_SHOWN: i64 = 50;

/// The newest releases of an app that buyers have seen, newest first.
pub fn shown(conn: &mut Conn, app_id: &str) -> QueryResult<Vec<Release>> {
    releases::table
        .filter(releases::app_id.eq(app_id).and(releases::state.eq_any(ReleaseState::SHOWN.iter().map(|s| s.as_str()))))
        .order((releases::published_at.desc(), releases::id.desc()))
        .limit(MAX_SHOWN)
        .select(Release::as_select())
        .load(conn)
}

/// Puts a release into a channel.
pub fn set_channel(conn: &mut Conn, id: &str, channel: Channel, now: Timestamp) -> QueryResult<usize> {
    diesel::update(releases::table.find(id)).set((releases::channel.eq(channel), releases::updated_at.eq(now))).execute(conn)
}

/// Stores the vendor's message and successor of a deprecated release.
pub fn set_deprecation(conn: &mut Conn, id: &str, deprecation: Deprecation) -> QueryResult<usize> {
    diesel::update(releases::table.find(id)).set(releases::deprecation.eq(Some(Json::new(deprecation)))).execute(conn)
}

/// Message and successor of a release, if it is deprecated.
pub fn deprecation(conn: &mut Conn, id: &str) -> QueryResult<Option<Deprecation>> {
    let row: Option<Json<Deprecation>> = releases::table.find(id).select(releases::deprecation).first(conn)?;
    Ok(row.map(Json::into_inner))
}

/// Stores why a release was recalled.
pub fn set_recall(conn: &mut Conn, id: &str, recall: Recall) -> QueryResult<usize> {
    diesel::update(releases::table.find(id)).set(releases::recall.eq(Some(Json::new(recall)))).execute(conn)
}

/// Those of some releases that are recalled, with the reason.
pub fn recalls(conn: &mut Conn, ids: &[&str]) -> QueryResult<HashMap<String, Recall>> {
    let recalled = releases::id.eq_any(ids).and(releases::recall.is_not_null());
    let rows: Vec<(String, Option<Json<Recall>>)> = releases::table.filter(recalled).select((releases::id, releases::recall)).load(conn)?;
    Ok(rows.into_iter().filter_map(|(id, recall)| Some((id, recall?.into_inner()))).collect())
}

pub fn insert(conn: &mut Conn, release: &Release) -> QueryResult<usize> {
    diesel::insert_into(releases::table).values(release).execute(conn)
}

/// Changes the state if it is still one of `from`.
pub fn mark(conn: &mut Conn, id: &str, from: &[ReleaseState], to: ReleaseState, now: Timestamp) -> QueryResult<usize> {
    let from: Vec<&str> = from.iter().map(|state| state.as_str()).collect();
    diesel::update(releases::table.filter(releases::id.eq(id).and(releases::state.eq_any(from))))
        .set((releases::state.eq(to.as_str()), releases::updated_at.eq(now)))
        .execute(conn)
}

/// Notes when a release was published.
pub fn set_published(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(releases::table.find(id)).set(releases::published_at.eq(now)).execute(conn)
}

/// Check reports that are kept of a release.
const KEPT_REPORTS: i64 = 5;

pub fn insert_report(conn: &mut Conn, release: &Release, report: CheckReport, now: Timestamp) -> QueryResult<usize> {
    // The last few tell what has changed; a check may be asked for again and again.
    let of = check_reports::table.filter(check_reports::release_id.eq(&release.id)).order(check_reports::id.desc());
    let old: Vec<String> = of.offset(KEPT_REPORTS - 1).limit(100).select(check_reports::id).load(conn)?;
    if !old.is_empty() {
        diesel::delete(check_reports::table.filter(check_reports::id.eq_any(old))).execute(conn)?;
    }
    diesel::insert_into(check_reports::table)
        .values((
            check_reports::id.eq(crate::base::ids::new("chk")),
            check_reports::release_id.eq(&release.id),
            check_reports::digest.eq(&release.digest),
            check_reports::passed.eq(report.passed),
            check_reports::report.eq(Json::new(report)),
            check_reports::created_at.eq(now),
        ))
        .execute(conn)
}

/// The last report of a release, and when it was made.
pub fn latest_report(conn: &mut Conn, release_id: &str) -> QueryResult<Option<(CheckReport, Timestamp)>> {
    let row: Option<(Json<CheckReport>, Timestamp)> = check_reports::table
        .filter(check_reports::release_id.eq(release_id))
        .order(check_reports::id.desc())
        .select((check_reports::report, check_reports::created_at))
        .first(conn)
        .optional()?;
    Ok(row.map(|(report, at)| (report.into_inner(), at)))
}

/// The last report of each of some releases, by release.
pub fn latest_reports(conn: &mut Conn, release_ids: &[&str]) -> QueryResult<HashMap<String, CheckReport>> {
    let last: Vec<Option<String>> = check_reports::table
        .filter(check_reports::release_id.eq_any(release_ids))
        .group_by(check_reports::release_id)
        .select(max(check_reports::id))
        .load(conn)?;
    let last: Vec<String> = last.into_iter().flatten().collect();
    let rows: Vec<(String, Json<CheckReport>)> = check_reports::table
        .filter(check_reports::id.eq_any(last))
        .select((check_reports::release_id, check_reports::report))
        .load(conn)?;
    Ok(rows.into_iter().map(|(release, report)| (release, report.into_inner())).collect())
}

/// Sizes of those digests that any repository of an organisation holds.
pub fn sizes_in_organization(conn: &mut Conn, organization_id: &str, digests: &[&str]) -> QueryResult<HashMap<String, i64>> {
    let mut sizes = HashMap::new();
    for batch in digests.chunks(BATCH) {
        let rows: Vec<(String, i64)> = repository_blobs::table
            .inner_join(blobs::table.on(blobs::digest.eq(repository_blobs::digest)))
            .inner_join(repositories::table.on(repositories::id.eq(repository_blobs::repository_id)))
            .filter(repositories::organization_id.eq(organization_id).and(repository_blobs::digest.eq_any(batch)))
            .select((blobs::digest, blobs::size_bytes))
            .load(conn)?;
        sizes.extend(rows);
    }
    Ok(sizes)
}
