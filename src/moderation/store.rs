//! Queries of cases.

use diesel::prelude::*;

use crate::base::db::schema::{apps, cases, memberships, organizations, releases, users};
use crate::base::db::{Conn, Timestamp};
use crate::moderation::model::{Case, CaseDecision, CaseLine, CaseState};

pub fn insert(conn: &mut Conn, case: &Case) -> QueryResult<usize> {
    diesel::insert_into(cases::table).values(case).execute(conn)
}

pub fn get(conn: &mut Conn, id: &str) -> QueryResult<Case> {
    cases::table.find(id).select(Case::as_select()).first(conn)
}

/// Decides a case if it is still open.
pub fn decide(conn: &mut Conn, id: &str, to: CaseState, reason: &str, user_id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(cases::table.filter(cases::id.eq(id).and(cases::state.eq(CaseState::Open))))
        .set((cases::state.eq(to), cases::reason.eq(reason), cases::decided_by.eq(user_id), cases::decided_at.eq(now)))
        .execute(conn)
}

/// Whether a person belongs to an organisation.
pub fn is_member(conn: &mut Conn, organization_id: &str, user_id: &str) -> QueryResult<bool> {
    let found: i64 = memberships::table
        .filter(memberships::organization_id.eq(organization_id).and(memberships::user_id.eq(user_id)))
        .count()
        .get_result(conn)?;
    Ok(found > 0)
}

/// The last decision on a release.
pub fn latest_decision(conn: &mut Conn, release_id: &str) -> QueryResult<Option<CaseDecision>> {
    cases::table
        .filter(cases::release_id.eq(release_id).and(cases::state.ne(CaseState::Open)))
        .order(cases::id.desc())
        .select((cases::state, cases::reason, cases::decided_at))
        .first(conn)
        .optional()
}

/// Which cases to read with their names.
enum Which<'a> {
    One(&'a str),
    /// Open ones after an id, oldest first.
    Open(Option<&'a str>),
    /// Decided ones before an id, newest first.
    Decided(Option<&'a str>),
}

fn lines(conn: &mut Conn, which: &Which<'_>, limit: i64) -> QueryResult<Vec<CaseLine>> {
    let mut query = cases::table
        .inner_join(releases::table.on(releases::id.eq(cases::release_id)))
        .inner_join(apps::table.on(apps::id.eq(cases::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(cases::organization_id)))
        .limit(limit)
        .select((
            Case::as_select(),
            releases::version,
            (apps::slug, (apps::title_zh, apps::title_en)),
            (organizations::slug, (organizations::name_zh, organizations::name_en)),
        ))
        .into_boxed();
    query = match which {
        Which::One(id) => query.filter(cases::id.eq((*id).to_owned())),
        Which::Open(_) => query.filter(cases::state.eq(CaseState::Open)).order(cases::id),
        Which::Decided(_) => query.filter(cases::state.ne(CaseState::Open)).order(cases::id.desc()),
    };
    match which {
        Which::Open(Some(after)) => query = query.filter(cases::id.gt((*after).to_owned())),
        Which::Decided(Some(before)) => query = query.filter(cases::id.lt((*before).to_owned())),
        _ => {}
    }
    query.load(conn)
}

/// A case with its names.
pub fn line(conn: &mut Conn, id: &str) -> QueryResult<CaseLine> {
    lines(conn, &Which::One(id), 1)?.pop().ok_or(diesel::result::Error::NotFound)
}

/// Open cases after an id, oldest first.
pub fn open_cases(conn: &mut Conn, after: Option<&str>, limit: i64) -> QueryResult<Vec<CaseLine>> {
    lines(conn, &Which::Open(after), limit)
}

/// Decided cases before an id, newest first.
pub fn list_decided(conn: &mut Conn, before: Option<&str>, limit: i64) -> QueryResult<Vec<CaseLine>> {
    lines(conn, &Which::Decided(before), limit)
}

/// Number of open cases.
pub fn count_open(conn: &mut Conn) -> QueryResult<i64> {
    cases::table.filter(cases::state.eq(CaseState::Open)).count().get_result(conn)
}

/// The decided cases of an app, newest first, each with the version and the moderator's name.
pub fn decisions_of(conn: &mut Conn, app_id: &str, limit: i64) -> QueryResult<Vec<(Case, String, Option<String>)>> {
    cases::table
        .inner_join(releases::table.on(releases::id.eq(cases::release_id)))
        .left_join(users::table.on(users::id.nullable().eq(cases::decided_by)))
        .filter(cases::app_id.eq(app_id).and(cases::state.ne(CaseState::Open)))
        .order(cases::id.desc())
        .limit(limit)
        .select((Case::as_select(), releases::version, users::name.nullable()))
        .load(conn)
}

/// Other versions of the app: version, state, uploaded; newest first.
pub fn other_versions(conn: &mut Conn, app_id: &str, release_id: &str, limit: i64) -> QueryResult<Vec<(String, String, Timestamp)>> {
    releases::table
        .filter(releases::app_id.eq(app_id).and(releases::id.ne(release_id)))
        .order(releases::id.desc())
        .limit(limit)
        .select((releases::version, releases::state, releases::created_at))
        .load(conn)
}

pub fn user_name(conn: &mut Conn, id: &str) -> QueryResult<String> {
    users::table.find(id).select(users::name).first(conn)
}
