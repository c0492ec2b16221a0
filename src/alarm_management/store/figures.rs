//! Queries of what is counted of alarms and of their answers.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::{UNANSWERED, newest};
use crate::alarm_management::figures::Raised;
use crate::alarm_management::model::Verdict;
use crate::alarm_management::precision::Judged;
use crate::base::db::schema::{alarm_responses, alarms, deployments, equipment_alarms, releases};
use crate::base::db::{Conn, Timestamp};
use crate::telemetry::model::Level;

/// Alarms since a moment with their answers, of apps and of the platform, the oldest first; without notices. Of more than `limit` the newest.
pub fn raised(conn: &mut Conn, owner: &str, since: Timestamp, limit: i64) -> QueryResult<Vec<Raised>> {
    type Row = (Timestamp, Timestamp, Level, String, String, Option<Timestamp>, Option<Verdict>);
    let of_apps: Vec<Row> = alarms::table
        .left_join(alarm_responses::table.on(alarm_responses::alarm_id.eq(alarms::id)))
        .filter(alarms::organization_id.eq(owner).and(alarms::raised_at.ge(since)).and(alarms::level.ne(Level::Notice)))
        .order(alarms::raised_at.desc())
        .limit(limit)
        .select((
            alarms::raised_at,
            alarms::received_at,
            alarms::level,
            alarms::deployment_id,
            alarms::rule,
            alarm_responses::acknowledged_at.nullable(),
            alarm_responses::verdict.nullable(),
        ))
        .load(conn)?;
    let own: Vec<Row> = equipment_alarms::table
        .left_join(alarm_responses::table.on(alarm_responses::alarm_id.eq(equipment_alarms::id)))
        .filter(equipment_alarms::organization_id.eq(owner).and(equipment_alarms::began_at.ge(since)))
        .filter(equipment_alarms::level.ne(Level::Notice))
        .order(equipment_alarms::began_at.desc())
        .limit(limit)
        .select((
            equipment_alarms::began_at,
            equipment_alarms::began_at,
            equipment_alarms::level,
            equipment_alarms::subject,
            equipment_alarms::kind,
            alarm_responses::acknowledged_at.nullable(),
            alarm_responses::verdict.nullable(),
        ))
        .load(conn)?;
    let raised = |(at, received_at, level, subject, rule, acknowledged_at, verdict): Row| Raised {
        at,
        level,
        subject,
        rule,
        answered_after: acknowledged_at.map(|answered| answered.utc() - received_at.utc()),
        verdict,
    };
    let mut all: Vec<Raised> = of_apps.into_iter().chain(own).map(raised).collect();
    all.sort_by_key(|alarm| alarm.at);
    Ok(newest(all, limit))
}

/// Verdicts on an app's alarms at an organisation since a moment, but for tests: version, time, verdict. Of more than `limit` the newest.
pub fn judged(conn: &mut Conn, owner: &str, app_id: &str, since: Timestamp, limit: i64) -> QueryResult<Vec<Judged>> {
    let rows: Vec<(String, Timestamp, String)> = alarms::table
        .inner_join(deployments::table.on(deployments::id.eq(alarms::deployment_id)))
        .filter(alarms::organization_id.eq(owner).and(alarms::raised_at.ge(since)))
        .filter(deployments::app_id.eq(app_id))
        .filter(alarms::answer.eq_any([Verdict::Real, Verdict::False].map(Verdict::as_str)))
        .order(alarms::raised_at.desc())
        .limit(limit)
        .select((alarms::release_digest, alarms::raised_at, alarms::answer))
        .load(conn)?;
    let digests: BTreeSet<String> = rows.iter().map(|(digest, ..)| digest.clone()).collect();
    let versions: BTreeMap<String, String> = releases::table
        .filter(releases::app_id.eq(app_id).and(releases::digest.eq_any(Vec::from_iter(digests))))
        .select((releases::digest, releases::version))
        .load::<(String, String)>(conn)?
        .into_iter()
        .collect();
    let named = |(digest, at, answer): &(String, Timestamp, String)| Some((versions.get(digest)?.clone(), *at, answer.parse().ok()?));
    Ok(rows.iter().filter_map(named).collect())
}

/// Alarms that were raised before a moment and that nobody has acknowledged, at most so many; without notices.
pub fn standing(conn: &mut Conn, owner: &str, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let mut count = 0;
    for level in [Level::Critical, Level::Warning] {
        // The first to come in, of which the age is looked at here: asked for it, SQLite goes through all that are as old.
        let unanswered = alarms::organization_id.eq(owner).and(alarms::answer.eq(UNANSWERED)).and(alarms::level.eq(level));
        let first = alarms::table.filter(unanswered).order(alarms::id).limit(limit).select(alarms::raised_at);
        count += first.load::<Timestamp>(conn)?.into_iter().filter(|at| *at < before).count();
    }
    let own: Vec<String> = equipment_alarms::table
        .filter(equipment_alarms::organization_id.eq(owner).and(equipment_alarms::began_at.lt(before)))
        .filter(equipment_alarms::level.ne(Level::Notice).and(not(answered!(equipment_alarms::id))))
        .limit(limit)
        .select(equipment_alarms::id)
        .load(conn)?;
    Ok((count + own.len()).min(usize::try_from(limit).unwrap_or(usize::MAX)))
}
