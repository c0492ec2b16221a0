//! Queries of hidden test sets and their scores.

use std::collections::HashMap;

use diesel::dsl::{count_star, exists, not};
use diesel::prelude::*;

use crate::base::db::schema::{apps, evaluation_scores, evaluation_sets, organizations, releases, users};
use crate::base::db::{Conn, Timestamp};
use crate::evaluation::model::{Score, ScoreLine, TestSet};
use crate::release::model::{Release, ReleaseState};

/// States in which a release was submitted and may still be published. One that only passed its check is not scored: nobody but its
/// developer has looked at it.
const COMING: [ReleaseState; 2] = [ReleaseState::InReview, ReleaseState::ChangesRequested];

pub fn insert_set(conn: &mut Conn, set: &TestSet) -> QueryResult<usize> {
    diesel::insert_into(evaluation_sets::table).values(set).execute(conn)
}

pub fn get_set(conn: &mut Conn, id: &str) -> QueryResult<TestSet> {
    evaluation_sets::table.find(id).select(TestSet::as_select()).first(conn)
}

/// Sets of a scenario that are not retired.
pub fn count_active(conn: &mut Conn, scenario: &str) -> QueryResult<i64> {
    evaluation_sets::table
        .filter(evaluation_sets::scenario.eq(scenario).and(evaluation_sets::retired_at.is_null()))
        .count()
        .get_result(conn)
}

/// Sets before an id, newest first.
pub fn sets_before(conn: &mut Conn, before: Option<&str>, limit: i64) -> QueryResult<Vec<TestSet>> {
    let mut query = evaluation_sets::table.order(evaluation_sets::id.desc()).limit(limit).select(TestSet::as_select()).into_boxed();
    if let Some(before) = before {
        query = query.filter(evaluation_sets::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// Releases that have a figure, by set.
pub fn count_scored(conn: &mut Conn, set_ids: &[&str]) -> QueryResult<HashMap<String, i64>> {
    let rows: Vec<(String, i64)> = evaluation_scores::table
        .filter(evaluation_scores::set_id.eq_any(set_ids).and(evaluation_scores::value.is_not_null()))
        .group_by(evaluation_scores::set_id)
        .select((evaluation_scores::set_id, count_star()))
        .load(conn)?;
    Ok(rows.into_iter().collect())
}

/// Retires a set, if it is not retired yet.
pub fn retire(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(evaluation_sets::table.find(id).filter(evaluation_sets::retired_at.is_null()))
        .set(evaluation_sets::retired_at.eq(now))
        .execute(conn)
}

/// Name of a person.
pub fn user_name(conn: &mut Conn, id: &str) -> QueryResult<String> {
    users::table.find(id).select(users::name).first(conn)
}

/// Ids of a scenario's sets, not retired, on which a release has no outcome yet.
pub fn sets_without(conn: &mut Conn, scenario: &str, release_id: &str, limit: i64) -> QueryResult<Vec<String>> {
    let done = evaluation_scores::table
        .filter(evaluation_scores::set_id.eq(evaluation_sets::id).and(evaluation_scores::release_id.eq(release_id)));
    evaluation_sets::table
        .filter(evaluation_sets::scenario.eq(scenario).and(evaluation_sets::retired_at.is_null()).and(not(exists(done))))
        .order(evaluation_sets::id)
        .limit(limit)
        .select(evaluation_sets::id)
        .load(conn)
}

/// Ids of releases without a figure on a set and their organisations, after a release, in order: those that listings of the scenario show,
/// and those on their way there.
pub fn releases_without(conn: &mut Conn, set: &TestSet, after: &str, limit: i64) -> QueryResult<Vec<(String, String)>> {
    let scored = evaluation_scores::table.filter(
        evaluation_scores::release_id
            .eq(releases::id)
            .and(evaluation_scores::set_id.eq(&set.id))
            .and(evaluation_scores::value.is_not_null()),
    );
    let shown = apps::release_id.assume_not_null().eq(releases::id).and(releases::state.eq(ReleaseState::Published));
    releases::table
        .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
        .filter(apps::scenario.eq(&set.scenario).and(releases::id.gt(after)).and(not(exists(scored))))
        .filter(releases::state.eq_any(COMING).or(shown))
        .order(releases::id)
        .limit(limit)
        .select((releases::id, apps::organization_id))
        .load(conn)
}

/// Whether a release is one that is scored: submitted, and not refused.
pub fn is_scored(release: &Release) -> bool {
    COMING.contains(&release.state) || release.state == ReleaseState::Published
}

pub fn get_score(conn: &mut Conn, release_id: &str, set_id: &str) -> QueryResult<Option<Score>> {
    evaluation_scores::table.find((release_id, set_id)).select(Score::as_select()).first(conn).optional()
}

/// Stores an outcome in place of one without a figure.
pub fn put_score(conn: &mut Conn, score: &Score) -> QueryResult<usize> {
    diesel::delete(evaluation_scores::table.find((&score.release_id, &score.set_id)).filter(evaluation_scores::value.is_null()))
        .execute(conn)?;
    diesel::insert_into(evaluation_scores::table).values(score).execute(conn)
}

/// Outcomes of some releases on sets that are not retired, in the order of the sets.
pub fn scores_of(conn: &mut Conn, release_ids: &[&str], limit: i64) -> QueryResult<Vec<(TestSet, Score)>> {
    evaluation_scores::table
        .inner_join(evaluation_sets::table.on(evaluation_sets::id.eq(evaluation_scores::set_id)))
        .filter(evaluation_scores::release_id.eq_any(release_ids).and(evaluation_sets::retired_at.is_null()))
        .order((evaluation_sets::id, evaluation_scores::release_id))
        .limit(limit)
        .select((TestSet::as_select(), Score::as_select()))
        .load(conn)
}

/// Figures of an app's other published releases on some sets, the last published first: set, version, figure. Only releases published
/// before a time, where one is given.
pub fn earlier_figures(
    conn: &mut Conn,
    app_id: &str,
    release_id: &str,
    before: Option<Timestamp>,
    set_ids: &[&str],
    limit: i64,
) -> QueryResult<Vec<(String, String, f64)>> {
    let mut query = evaluation_scores::table
        .inner_join(releases::table.on(releases::id.eq(evaluation_scores::release_id)))
        .filter(releases::app_id.eq(app_id).and(releases::id.ne(release_id)).and(releases::published_at.is_not_null()))
        .filter(evaluation_scores::set_id.eq_any(set_ids).and(evaluation_scores::value.is_not_null()))
        .order((releases::published_at.desc(), releases::id.desc(), evaluation_scores::set_id))
        .limit(limit)
        .select((evaluation_scores::set_id, releases::version, evaluation_scores::value.assume_not_null()))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(releases::published_at.lt(before));
    }
    query.load(conn)
}

/// Outcomes on a set before a release id, the newest releases first.
pub fn scores_before(conn: &mut Conn, set_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<ScoreLine>> {
    let mut query = evaluation_scores::table
        .inner_join(releases::table.on(releases::id.eq(evaluation_scores::release_id)))
        .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(evaluation_scores::set_id.eq(set_id))
        .order(evaluation_scores::release_id.desc())
        .limit(limit)
        .select((
            Score::as_select(),
            releases::version,
            (apps::slug, (apps::title_zh, apps::title_en)),
            (organizations::slug, (organizations::name_zh, organizations::name_en)),
        ))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(evaluation_scores::release_id.lt(before.to_owned()));
    }
    query.load(conn)
}
