//! Queries of releases.

use std::collections::HashMap;

use diesel::dsl::{count_star, max};
use diesel::prelude::*;
use inference::check::{CheckReport, RunCard};

use super::measuring::Outcome;
use super::model::{Channel, Deprecation, Recall, Release, ReleaseLine, ReleaseState};
use crate::base::db::schema::{apps, check_reports, measurements, organizations, releases};
use crate::base::db::{Conn, Json, Timestamp};

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

/// The columns of a [`ReleaseLine`] from releases, their apps and the developer.
macro_rules! lines {
    () => {
        releases::table
            .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
            .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
            .select((
                releases::id,
                (organizations::slug, apps::slug),
                releases::version,
                releases::digest,
                releases::size_bytes,
                releases::state,
                releases::channel,
                releases::created_at,
                releases::updated_at,
                releases::published_at,
                releases::recall,
            ))
    };
}

/// Releases of a developer before an id, newest first.
pub fn list_own(conn: &mut Conn, organization_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<ReleaseLine>> {
    let own = lines!().filter(apps::organization_id.eq(organization_id.to_owned()));
    let mut query = own.order(releases::id.desc()).limit(limit).into_boxed();
    if let Some(before) = before {
        query = query.filter(releases::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// A release of a developer.
pub fn own_line(conn: &mut Conn, organization_id: &str, id: &str) -> QueryResult<ReleaseLine> {
    lines!().filter(apps::organization_id.eq(organization_id).and(releases::id.eq(id))).first(conn)
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

/// The newest releases of an app that buyers have seen, newest first, and how many there are.
pub fn shown(conn: &mut Conn, app_id: &str) -> QueryResult<(Vec<Release>, i64)> {
    let seen = || releases::app_id.eq(app_id).and(releases::state.eq_any(ReleaseState::SHOWN.iter().map(|s| s.as_str())));
    let newest: Vec<Release> = releases::table
        .filter(seen())
        .order((releases::published_at.desc(), releases::id.desc()))
        .limit(MAX_SHOWN)
        .select(Release::as_select())
        .load(conn)?;
    let total = total(newest.len(), MAX_SHOWN, || releases::table.filter(seen()).count().get_result(conn))?;
    Ok((newest, total))
}

/// How many rows there are, of which so many were read: only a list that is full is counted.
fn total(read: usize, limit: i64, count: impl FnOnce() -> QueryResult<i64>) -> QueryResult<i64> {
    match i64::try_from(read) {
        Ok(read) if read < limit => Ok(read),
        _ => count(),
    }
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

/// Releases that were approved, after one, by id: they may be deployed, or run on.
pub fn approved_after(conn: &mut Conn, after: &str, limit: i64) -> QueryResult<Vec<String>> {
    let states = [ReleaseState::Published, ReleaseState::Deprecated, ReleaseState::Recalled];
    releases::table
        .filter(releases::id.gt(after).and(releases::state.eq_any(states)))
        .order(releases::id)
        .limit(limit)
        .select(releases::id)
        .load(conn)
}

/// Digests of recalled releases, newest first.
pub fn recalled(conn: &mut Conn, limit: i64) -> QueryResult<Vec<String>> {
    let recalled = releases::table.filter(releases::recall.is_not_null());
    recalled.order(releases::id.desc()).limit(limit).select(releases::digest).load(conn)
}

/// How many releases are recalled, and when one of them was last changed: when it was recalled, or after that.
pub fn last_recalled(conn: &mut Conn) -> QueryResult<(i64, Option<Timestamp>)> {
    releases::table.filter(releases::recall.is_not_null()).select((count_star(), max(releases::updated_at))).first(conn)
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

/// Puts other bytes in place of those of a release that failed its check, if it still has them. Reports of the bytes before go: the last one
/// would be shown for these until they are checked.
pub fn replace(conn: &mut Conn, failed: &Release, by: &Release) -> QueryResult<usize> {
    diesel::delete(check_reports::table.filter(check_reports::release_id.eq(&failed.id))).execute(conn)?;
    let same = releases::id.eq(&failed.id).and(releases::digest.eq(&failed.digest)).and(releases::state.eq(failed.state));
    diesel::update(releases::table.filter(same))
        .set((
            releases::digest.eq(&by.digest),
            releases::manifest.eq(&by.manifest),
            releases::size_bytes.eq(by.size_bytes),
            releases::state.eq(by.state),
            releases::channel.eq(by.channel),
            releases::created_by.eq(&by.created_by),
            releases::created_at.eq(by.created_at),
            releases::updated_at.eq(by.updated_at),
        ))
        .execute(conn)
}

/// Changes the state if it is still one of `from`, and the bytes are still those: those of one that failed may be replaced.
pub fn mark(conn: &mut Conn, id: &str, digest: &str, from: &[ReleaseState], to: ReleaseState, now: Timestamp) -> QueryResult<usize> {
    let from: Vec<&str> = from.iter().map(|state| state.as_str()).collect();
    let same = releases::id.eq(id).and(releases::digest.eq(digest));
    diesel::update(releases::table.filter(same.and(releases::state.eq_any(from))))
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

/// Keeps figures that are not shown, for good: how often a release may be measured bounds them
/// ([`MEASUREMENTS_PER_DAY`](super::limits::MEASUREMENTS_PER_DAY)).
pub fn keep_card(conn: &mut Conn, release_id: &str, card: RunCard, at: Timestamp) -> QueryResult<usize> {
    // What the bytes alone decide is the same in all of them; what was found on providers is told with the card that is shown.
    let card = RunCard { structure: None, odd_inputs: Vec::new(), own_steps: Vec::new(), providers: Vec::new(), ..card };
    diesel::insert_into(measurements::table)
        .values((
            measurements::id.eq(crate::base::ids::new("msr")),
            measurements::release_id.eq(release_id),
            measurements::card.eq(Json::new(card)),
            measurements::measured_at.eq(at),
        ))
        .execute(conn)
}

/// Kept figures of a release that are shown.
const SHOWN_CARDS: i64 = 20;

/// The newest kept figures of a release, newest first, and how many there are.
pub fn other_cards(conn: &mut Conn, release_id: &str) -> QueryResult<(Vec<(RunCard, Timestamp)>, i64)> {
    let of = || measurements::table.filter(measurements::release_id.eq(release_id));
    let rows: Vec<(Json<RunCard>, Timestamp)> = of()
        // Uncertain figures go there at once, steady ones when they are replaced: ids do not tell which are older.
        .order((measurements::measured_at.desc(), measurements::id.desc()))
        .limit(SHOWN_CARDS)
        .select((measurements::card, measurements::measured_at))
        .load(conn)?;
    let total = total(rows.len(), SHOWN_CARDS, || of().count().get_result(conn))?;
    Ok((rows.into_iter().map(|(card, at)| (card.into_inner(), at)).collect(), total))
}

/// Stores what came of measuring a release again.
pub fn set_measured(conn: &mut Conn, id: &str, outcome: Outcome) -> QueryResult<usize> {
    diesel::update(releases::table.find(id)).set(releases::measured.eq(Some(Json::new(outcome)))).execute(conn)
}

/// What came of the last time that a release was measured again.
pub fn measured(conn: &mut Conn, id: &str) -> QueryResult<Option<Outcome>> {
    let row: Option<Json<Outcome>> = releases::table.find(id).select(releases::measured).first(conn)?;
    Ok(row.map(Json::into_inner))
}
