//! Queries of answers, suppressions and alarms. Alarms of apps are read beside their answers, since the two together are a queue.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::model::{
    ActRow, Cursor, EquipmentAlarm, EquipmentKind, Filter, Point, Response, Suppression, SuppressionKind, Verdict, split_subject,
};
use super::presence::present_since;
use crate::base::db::schema::{
    alarm_acts, alarm_responses, alarm_suppressions, alarms, apps, deployments, equipment_alarms, nodes, organizations, sites,
};
use crate::base::db::{Conn, Timestamp, dialect};
use crate::telemetry;
use crate::telemetry::model::{Alarm, AlarmLine, Level};

/// Whether an alarm of the platform has an answer.
macro_rules! answered {
    ($id:expr) => {
        exists(alarm_responses::table.filter(alarm_responses::alarm_id.eq($id)))
    };
}

mod equipment;
mod figures;
mod names;

pub use equipment::*;
pub use figures::*;
pub use names::*;

/// A part of a list, in which all alarms are alike.
#[expect(clippy::option_option, reason = "not asked for, none, or one of a kind")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Band {
    pub acknowledged: Option<bool>,
    /// Only what is still present.
    pub present: bool,
    /// `Some(None)`: what is not suppressed; `Some(Some(kind))`: what is suppressed so.
    pub suppressed: Option<Option<SuppressionKind>>,
    pub level: Option<Level>,
    /// Only what rings: what came in late does not.
    pub rings: bool,
}

/// The word of `alarms.answer` where nobody has answered, and where somebody has without a verdict.
const UNANSWERED: &str = "none";
const ACKNOWLEDGED: &str = "acknowledged";

/// The suppressions in force of a rule at a subject.
macro_rules! suppressions {
    ($organization:expr, $subject:expr, $rule:expr, $now:expr) => {
        alarm_suppressions::table
            .filter(alarm_suppressions::organization_id.eq($organization))
            .filter(alarm_suppressions::subject.eq($subject).and(alarm_suppressions::rule.eq($rule)))
            .filter(alarm_suppressions::ended_at.is_null())
            .filter(alarm_suppressions::ends_at.is_null().or(alarm_suppressions::ends_at.gt($now)))
    };
}

/// Alarms of apps in a band, with their names, the newest first.
pub fn of_apps(
    conn: &mut Conn,
    owner: &str,
    filter: &Filter,
    band: Band,
    before: Option<&Cursor>,
    now: Timestamp,
    limit: i64,
) -> QueryResult<Vec<AlarmLine>> {
    let mut query = alarms::table
        .inner_join(nodes::table.on(nodes::id.eq(alarms::node_id)))
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .inner_join(deployments::table.on(deployments::id.eq(alarms::deployment_id)))
        .inner_join(apps::table.on(apps::id.eq(deployments::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(alarms::organization_id.eq(owner.to_owned()))
        .order(alarms::id.desc())
        .limit(limit)
        .select((Alarm::as_select(), nodes::name, sites::name, apps::title_zh, apps::title_en, organizations::slug, apps::slug))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(alarms::id.lt(before.id.clone()));
    }
    if let Some(level) = band.level.or(filter.level) {
        query = query.filter(alarms::level.eq(level));
    }
    match band.acknowledged {
        Some(true) => query = query.filter(alarms::answer.ne(UNANSWERED)),
        Some(false) => query = query.filter(alarms::answer.eq(UNANSWERED)),
        None => {}
    }
    if band.present {
        query = query.filter(alarms::id.eq_any(present(conn, owner, now)?));
    }
    if band.rings {
        query = query.filter(alarms::late.eq(false));
    }
    match band.suppressed {
        Some(None) => {
            query = query.filter(not(exists(suppressions!(alarms::organization_id, alarms::deployment_id, alarms::rule, now))));
        }
        Some(Some(kind)) => {
            let of_kind = suppressions!(alarms::organization_id, alarms::deployment_id, alarms::rule, now);
            query = query.filter(exists(of_kind.filter(alarm_suppressions::kind.eq(kind))));
        }
        None => {}
    }
    if let Some(verdict) = filter.verdict {
        query = query.filter(alarms::answer.eq(verdict.as_str()));
    }
    if let Some(id) = &filter.site_id {
        query = query.filter(nodes::site_id.eq(id.clone()));
    }
    if let Some(id) = &filter.app_id {
        query = query.filter(deployments::app_id.eq(id.clone()));
    }
    if let Some(id) = &filter.deployment_id {
        query = query.filter(alarms::deployment_id.eq(id.clone()));
    }
    if let Some(at) = &filter.place {
        query = query.filter(alarms::deployment_id.eq(at.subject.clone()));
        query = query.filter(alarms::rule.eq(at.rule.clone()));
        query = query.filter(alarms::source.eq(at.source.clone()));
    }
    if let Some(from) = filter.from {
        query = query.filter(alarms::raised_at.ge(from));
    }
    if let Some(to) = filter.to {
        query = query.filter(alarms::raised_at.lt(to));
    }
    query.load(conn)
}

/// Alarms of apps that are present, the newest: those of all levels are far fewer than there are alarms.
fn present(conn: &mut Conn, owner: &str, now: Timestamp) -> QueryResult<Vec<String>> {
    let own = || {
        alarms::table.filter(alarms::organization_id.eq(owner.to_owned())).select(alarms::id).order(alarms::id.desc()).limit(MOST_PRESENT)
    };
    let mut ids: Vec<String> = own().filter(alarms::ended_at.is_null()).load(conn)?;
    ids.extend(own().filter(alarms::raised_at.gt(present_since(now)).and(alarms::episode.is_null())).load::<String>(conn)?);
    Ok(ids)
}

/// Most alarms that are present and looked at.
const MOST_PRESENT: i64 = 5_000;

/// Most nodes and deployments that a filter by place or app stands for.
const MOST_SUBJECTS: i64 = 10_000;

/// The nodes with their sources, and the deployments, that a filter by place or app stands for; none where there is no such filter.
fn subjects(conn: &mut Conn, owner: &str, filter: &Filter) -> QueryResult<Option<Vec<String>>> {
    let of_app = filter.app_id.is_some() || filter.deployment_id.is_some();
    if !of_app && filter.site_id.is_none() {
        return Ok(None);
    }
    let mut on = deployments::table
        .inner_join(nodes::table.on(nodes::id.eq(deployments::node_id)))
        .filter(deployments::organization_id.eq(owner.to_owned()))
        .limit(MOST_SUBJECTS)
        .select(deployments::id)
        .into_boxed();
    let mut at = nodes::table.filter(nodes::organization_id.eq(owner.to_owned())).limit(MOST_SUBJECTS).select(nodes::id).into_boxed();
    if let Some(id) = &filter.site_id {
        on = on.filter(nodes::site_id.eq(id.clone()));
        at = at.filter(nodes::site_id.eq(id.clone()));
    }
    if let Some(id) = &filter.app_id {
        on = on.filter(deployments::app_id.eq(id.clone()));
    }
    if let Some(id) = &filter.deployment_id {
        on = on.filter(deployments::id.eq(id.clone()));
    }
    let mut subjects: Vec<String> = on.load(conn)?;
    if !of_app {
        let at: BTreeSet<String> = at.load::<String>(conn)?.into_iter().collect();
        // Also of sources that are there no more.
        let of_sources: Vec<String> = equipment_alarms::table
            .filter(equipment_alarms::organization_id.eq(owner).and(equipment_alarms::kind.eq(EquipmentKind::SourceLost)))
            .select(equipment_alarms::subject)
            .distinct()
            .limit(MOST_SUBJECTS)
            .load(conn)?;
        subjects.extend(of_sources.into_iter().filter(|subject| at.contains(split_subject(subject).0)));
        subjects.extend(at);
    }
    Ok(Some(subjects))
}

/// Alarms of the platform in a band, the newest first. A filter by app, site or deployment goes by the subjects that fit it.
pub fn of_equipment(
    conn: &mut Conn,
    owner: &str,
    filter: &Filter,
    band: Band,
    before: Option<&Cursor>,
    now: Timestamp,
    limit: i64,
) -> QueryResult<Vec<EquipmentAlarm>> {
    let mut query = equipment_alarms::table
        .filter(equipment_alarms::organization_id.eq(owner.to_owned()))
        .order(equipment_alarms::id.desc())
        .limit(limit)
        .select(EquipmentAlarm::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(equipment_alarms::id.lt(before.id.clone()));
    }
    if let Some(level) = band.level.or(filter.level) {
        query = query.filter(equipment_alarms::level.eq(level));
    }
    match band.acknowledged {
        Some(true) => query = query.filter(answered!(equipment_alarms::id)),
        Some(false) => query = query.filter(not(answered!(equipment_alarms::id))),
        None => {}
    }
    if band.present {
        query = query.filter(equipment_alarms::ended_at.is_null());
    }
    match band.suppressed {
        Some(None) => {
            let any = suppressions!(equipment_alarms::organization_id, equipment_alarms::subject, equipment_alarms::kind, now);
            query = query.filter(not(exists(any)));
        }
        Some(Some(kind)) => {
            let of_kind = suppressions!(equipment_alarms::organization_id, equipment_alarms::subject, equipment_alarms::kind, now);
            query = query.filter(exists(of_kind.filter(alarm_suppressions::kind.eq(kind))));
        }
        None => {}
    }
    if let Some(verdict) = filter.verdict {
        let judged = alarm_responses::table.filter(alarm_responses::alarm_id.eq(equipment_alarms::id));
        query = query.filter(exists(judged.filter(alarm_responses::verdict.eq(verdict))));
    }
    if let Some(subjects) = subjects(conn, owner, filter)? {
        query = query.filter(equipment_alarms::subject.eq_any(subjects));
    }
    if let Some(at) = &filter.place {
        let Some(kind) = at.rule.parse::<EquipmentKind>().ok().filter(|_| at.source.is_empty()) else { return Ok(Vec::new()) };
        query = query.filter(equipment_alarms::subject.eq(at.subject.clone()));
        query = query.filter(equipment_alarms::kind.eq(kind));
    }
    if let Some(from) = filter.from {
        query = query.filter(equipment_alarms::began_at.ge(from));
    }
    if let Some(to) = filter.to {
        query = query.filter(equipment_alarms::began_at.lt(to));
    }
    query.load(conn)
}

/// What is needed to act on an alarm of an organisation. Its level is the higher one of its own and of the newest of its point: a rule may have
/// become critical since.
pub fn point(conn: &mut Conn, owner: &str, id: &str) -> QueryResult<Option<Point>> {
    let of_app: Option<(String, String, Level)> = alarms::table
        .find(id)
        .filter(alarms::organization_id.eq(owner))
        .select((alarms::deployment_id, alarms::rule, alarms::level))
        .first(conn)
        .optional()?;
    if let Some((subject, rule, level)) = of_app {
        let newest: Option<Level> = alarms::table
            .filter(alarms::deployment_id.eq(&subject).and(alarms::rule.eq(&rule)))
            .order(alarms::id.desc())
            .select(alarms::level)
            .first(conn)
            .optional()?;
        return Ok(Some(Point { subject, rule, level: newest.map_or(level, |newest| newest.max(level)) }));
    }
    let own = equipment_alarm(conn, owner, id)?;
    Ok(own.map(|alarm| Point { subject: alarm.subject, rule: alarm.kind.as_str().to_owned(), level: alarm.level }))
}

/// Alarms of an organisation among some ids, in the order of these: id and point, each with the level of the alarm itself.
pub fn points(conn: &mut Conn, owner: &str, ids: &[String]) -> QueryResult<Vec<(String, Point)>> {
    let mut rows: Vec<(String, String, String, Level)> = alarms::table
        .filter(alarms::id.eq_any(ids).and(alarms::organization_id.eq(owner)))
        .select((alarms::id, alarms::deployment_id, alarms::rule, alarms::level))
        .load(conn)?;
    let own: Vec<(String, String, EquipmentKind, Level)> = equipment_alarms::table
        .filter(equipment_alarms::id.eq_any(ids).and(equipment_alarms::organization_id.eq(owner)))
        .select((equipment_alarms::id, equipment_alarms::subject, equipment_alarms::kind, equipment_alarms::level))
        .load(conn)?;
    rows.extend(own.into_iter().map(|(id, subject, kind, level)| (id, subject, kind.as_str().to_owned(), level)));
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(rows.into_iter().map(|(id, subject, rule, level)| (id, Point { subject, rule, level })).collect())
}

/// One alarm of the platform.
pub fn equipment_alarm(conn: &mut Conn, owner: &str, id: &str) -> QueryResult<Option<EquipmentAlarm>> {
    let own = equipment_alarms::table.find(id).filter(equipment_alarms::organization_id.eq(owner));
    own.select(EquipmentAlarm::as_select()).first(conn).optional()
}

/// Notes an answer, beside its alarm as well.
pub fn insert_response(conn: &mut Conn, response: &Response) -> QueryResult<usize> {
    telemetry::service::note_answer(conn, &response.alarm_id, response.verdict.map_or(ACKNOWLEDGED, Verdict::as_str))?;
    diesel::insert_into(alarm_responses::table).values(response).execute(conn)
}

/// Acknowledges an alarm that nobody has answered; 0 rows where somebody has.
pub fn acknowledge_first(conn: &mut Conn, alarm_id: &str, owner: &str, by: &str, now: Timestamp) -> QueryResult<usize> {
    let done = dialect::acknowledge_first(conn, alarm_id, owner, by, now)?;
    if done > 0 {
        telemetry::service::note_answer(conn, alarm_id, ACKNOWLEDGED)?;
    }
    Ok(done)
}

pub fn response(conn: &mut Conn, alarm_id: &str) -> QueryResult<Option<Response>> {
    alarm_responses::table.find(alarm_id).select(Response::as_select()).first(conn).optional()
}

/// Gives an acknowledged alarm a verdict in the place of the one that was seen.
pub fn set_verdict(conn: &mut Conn, alarm_id: &str, seen: Option<Verdict>, verdict: Verdict) -> QueryResult<usize> {
    let of = alarm_responses::alarm_id.eq(alarm_id);
    let set = alarm_responses::verdict.eq(verdict);
    let changed = match seen {
        None => diesel::update(alarm_responses::table.filter(of.and(alarm_responses::verdict.is_null()))).set(set).execute(conn)?,
        Some(seen) => diesel::update(alarm_responses::table.filter(of.and(alarm_responses::verdict.eq(seen)))).set(set).execute(conn)?,
    };
    if changed > 0 {
        telemetry::service::note_answer(conn, alarm_id, verdict.as_str())?;
    }
    Ok(changed)
}

/// Answers to some alarms, by alarm.
pub fn responses(conn: &mut Conn, alarm_ids: &[String]) -> QueryResult<BTreeMap<String, Response>> {
    let rows: Vec<Response> =
        alarm_responses::table.filter(alarm_responses::alarm_id.eq_any(alarm_ids)).select(Response::as_select()).load(conn)?;
    Ok(rows.into_iter().map(|row| (row.alarm_id.clone(), row)).collect())
}

pub fn insert_suppression(conn: &mut Conn, suppression: &Suppression) -> QueryResult<usize> {
    diesel::insert_into(alarm_suppressions::table).values(suppression).execute(conn)
}

/// Closes a shelf of a point whose time is over, to make room for the next.
pub fn close_over(conn: &mut Conn, owner: &str, point: &Point, now: Timestamp) -> QueryResult<usize> {
    let same = alarm_suppressions::subject.eq(&point.subject).and(alarm_suppressions::rule.eq(&point.rule));
    let over = alarm_suppressions::ended_at.is_null().and(alarm_suppressions::ends_at.le(now));
    diesel::update(alarm_suppressions::table.filter(alarm_suppressions::organization_id.eq(owner).and(same)).filter(over))
        .set(alarm_suppressions::ended_at.eq(now))
        .execute(conn)
}

/// Ends the suppression of a kind that is in force at a point.
pub fn end_suppression(conn: &mut Conn, owner: &str, point: &Point, kind: SuppressionKind, now: Timestamp) -> QueryResult<usize> {
    let same = alarm_suppressions::subject.eq(&point.subject).and(alarm_suppressions::rule.eq(&point.rule));
    let of = alarm_suppressions::organization_id.eq(owner).and(same).and(alarm_suppressions::kind.eq(kind));
    let lasts = alarm_suppressions::ends_at.is_null().or(alarm_suppressions::ends_at.gt(now));
    diesel::update(alarm_suppressions::table.filter(of).filter(alarm_suppressions::ended_at.is_null()).filter(lasts))
        .set(alarm_suppressions::ended_at.eq(now))
        .execute(conn)
}

/// Suppressions in force of an organisation, the newest first.
pub fn in_force(conn: &mut Conn, owner: &str, now: Timestamp, limit: i64) -> QueryResult<Vec<Suppression>> {
    alarm_suppressions::table
        .filter(alarm_suppressions::organization_id.eq(owner))
        .filter(alarm_suppressions::ended_at.is_null())
        .filter(alarm_suppressions::ends_at.is_null().or(alarm_suppressions::ends_at.gt(now)))
        .order(alarm_suppressions::id.desc())
        .limit(limit)
        .select(Suppression::as_select())
        .load(conn)
}

pub fn insert_act(conn: &mut Conn, act: &ActRow) -> QueryResult<usize> {
    diesel::insert_into(alarm_acts::table).values(act).execute(conn)
}

/// What was done with an alarm, the newest first.
pub fn acts(conn: &mut Conn, owner: &str, alarm_id: &str, limit: i64) -> QueryResult<Vec<ActRow>> {
    alarm_acts::table
        .filter(alarm_acts::alarm_id.eq(alarm_id).and(alarm_acts::organization_id.eq(owner)))
        .order(alarm_acts::id.desc())
        .limit(limit)
        .select(ActRow::as_select())
        .load(conn)
}

/// Times of the alarms of a desk since a moment, the oldest first, of apps and of the platform; without notices. Of more than `limit` the newest.
pub fn raised_since(conn: &mut Conn, owner: &str, since: Timestamp, limit: i64) -> QueryResult<Vec<(Timestamp, Level)>> {
    let mut times: Vec<(Timestamp, Level)> = alarms::table
        .filter(alarms::organization_id.eq(owner).and(alarms::raised_at.ge(since)).and(alarms::level.ne(Level::Notice)))
        .order(alarms::raised_at.desc())
        .limit(limit)
        .select((alarms::raised_at, alarms::level))
        .load(conn)?;
    let own: Vec<(Timestamp, Level)> = equipment_alarms::table
        .filter(equipment_alarms::organization_id.eq(owner).and(equipment_alarms::began_at.ge(since)))
        .filter(equipment_alarms::level.ne(Level::Notice))
        .order(equipment_alarms::began_at.desc())
        .limit(limit)
        .select((equipment_alarms::began_at, equipment_alarms::level))
        .load(conn)?;
    times.extend(own);
    times.sort_unstable();
    Ok(newest(times, limit))
}

/// Of rows with the oldest first the newest, at most so many.
fn newest<T>(mut rows: Vec<T>, limit: i64) -> Vec<T> {
    let surplus = rows.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    rows.split_off(surplus)
}

/// Deletes what is over an age, at most so many rows of each table. An answer stays as long as its alarm, which would call again without it.
pub fn prune(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let over = equipment_alarms::table.filter(equipment_alarms::ended_at.lt(before));
    let old: Vec<String> = over.limit(limit).select(equipment_alarms::id).load(conn)?;
    let mut deleted = diesel::delete(equipment_alarms::table.filter(equipment_alarms::id.eq_any(old))).execute(conn)?;
    let old: Vec<String> = alarm_responses::table
        .filter(alarm_responses::acknowledged_at.lt(before))
        .filter(not(exists(alarms::table.filter(alarms::id.eq(alarm_responses::alarm_id)))))
        .filter(not(exists(equipment_alarms::table.filter(equipment_alarms::id.eq(alarm_responses::alarm_id)))))
        .limit(limit)
        .select(alarm_responses::alarm_id)
        .load(conn)?;
    deleted += diesel::delete(alarm_responses::table.filter(alarm_responses::alarm_id.eq_any(old))).execute(conn)?;
    let old: Vec<String> = alarm_acts::table.filter(alarm_acts::at.lt(before)).limit(limit).select(alarm_acts::id).load(conn)?;
    deleted += diesel::delete(alarm_acts::table.filter(alarm_acts::id.eq_any(old))).execute(conn)?;
    let over = alarm_suppressions::table.filter(alarm_suppressions::ended_at.lt(before).or(alarm_suppressions::ends_at.lt(before)));
    let old: Vec<String> = over.limit(limit).select(alarm_suppressions::id).load(conn)?;
    Ok(deleted + diesel::delete(alarm_suppressions::table.filter(alarm_suppressions::id.eq_any(old))).execute(conn)?)
}
