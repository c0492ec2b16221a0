//! Queries of reports.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::{count_star, exists, max, min};
use diesel::prelude::*;

use crate::base::db::schema::{
    alarm_pictures, alarms, app_samples, apps, deployments, node_samples, node_sources, nodes, organizations, proofs, releases, sites,
    streams, usage_counters,
};
use crate::base::db::{Conn, Timestamp};
use crate::fleet::model::{DeploymentState, NodeState};
use crate::telemetry::model::{self, Alarm, AlarmLine, AppSample, Level, NodeSample};
use crate::telemetry::pictures::{NewPicture, Picture, PictureLine};
use crate::telemetry::sources::{NodeSource, SourceState};
use crate::telemetry::streams::{Counts, KEPT, MAX_COUNTERS, StreamRow};

/// Deployments of a node with their apps.
pub fn deployments_of(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<(String, String)>> {
    deployments::table.filter(deployments::node_id.eq(node_id)).select((deployments::id, deployments::app_id)).load(conn)
}

/// App id and digest of those of these digests that are releases of these apps.
pub fn known_releases(conn: &mut Conn, app_ids: &[String], digests: &[String]) -> QueryResult<BTreeSet<(String, String)>> {
    let rows: Vec<(String, String)> = releases::table
        .filter(releases::app_id.eq_any(app_ids).and(releases::digest.eq_any(digests)))
        .select((releases::app_id, releases::digest))
        .load(conn)?;
    Ok(rows.into_iter().collect())
}

/// Those of these report hashes that are alarms of the node already.
pub fn known_alarms(conn: &mut Conn, node_id: &str, hashes: &[String]) -> QueryResult<Vec<String>> {
    let known = alarms::node_id.eq(node_id).and(alarms::report_hash.eq_any(hashes));
    alarms::table.filter(known).select(alarms::report_hash).load(conn)
}

/// Those of these moments at which the node has a sample already.
pub fn node_moments(conn: &mut Conn, node_id: &str, at: &[Timestamp]) -> QueryResult<Vec<Timestamp>> {
    node_samples::table.filter(node_samples::node_id.eq(node_id).and(node_samples::at.eq_any(at))).select(node_samples::at).load(conn)
}

/// Those of these moments at which deployments have a sample already, with the deployment.
pub fn app_moments(conn: &mut Conn, deployment_ids: &[String], at: &[Timestamp]) -> QueryResult<Vec<(String, Timestamp)>> {
    app_samples::table
        .filter(app_samples::deployment_id.eq_any(deployment_ids).and(app_samples::at.eq_any(at)))
        .select((app_samples::deployment_id, app_samples::at))
        .load(conn)
}

pub fn insert_node_sample(conn: &mut Conn, sample: &NodeSample) -> QueryResult<usize> {
    diesel::insert_into(node_samples::table).values(sample).execute(conn)
}

pub fn insert_app_sample(conn: &mut Conn, sample: &AppSample) -> QueryResult<usize> {
    diesel::insert_into(app_samples::table).values(sample).execute(conn)
}

/// Notes that releases have worked, by deployment, app and version, with the moment. An earlier proof stays; the caller has locked the
/// node's row.
pub fn prove(conn: &mut Conn, worked: &BTreeMap<(String, String, String), Timestamp>) -> QueryResult<()> {
    if worked.is_empty() {
        return Ok(());
    }
    let deployment_ids: BTreeSet<&String> = worked.keys().map(|(deployment, _, _)| deployment).collect();
    let known: BTreeSet<(String, String, String)> = proofs::table
        .inner_join(releases::table.on(releases::id.eq(proofs::release_id)))
        .filter(proofs::deployment_id.eq_any(deployment_ids))
        .select((proofs::deployment_id, releases::app_id, releases::version))
        .load(conn)?
        .into_iter()
        .collect();
    for (key, at) in worked.iter().filter(|(key, _)| !known.contains(*key)) {
        let (deployment, app, version) = key;
        let of_version = releases::app_id.eq(app).and(releases::version.eq(version));
        // A version that the app has no release of proves nothing.
        let Some(release) = releases::table.filter(of_version).select(releases::id).first::<String>(conn).optional()? else { continue };
        diesel::insert_into(proofs::table)
            .values((proofs::deployment_id.eq(deployment), proofs::release_id.eq(release), proofs::proven_at.eq(at)))
            .execute(conn)?;
    }
    Ok(())
}

pub fn insert_alarm(conn: &mut Conn, alarm: &Alarm) -> QueryResult<usize> {
    diesel::insert_into(alarms::table).values(alarm).execute(conn)
}

/// Writes what has changed of an alarm that goes on.
pub fn update_alarm(conn: &mut Conn, alarm: &Alarm) -> QueryResult<usize> {
    let ended = (alarms::last_at.eq(alarm.last_at), alarms::ended_at.eq(alarm.ended_at), alarms::count.eq(alarm.count));
    diesel::update(alarms::table.find(&alarm.id))
        .set((alarms::raised_at.eq(alarm.raised_at), ended, alarms::result.eq(&alarm.result)))
        .execute(conn)
}

/// A node's alarms of these episodes.
pub fn alarms_of_episodes(conn: &mut Conn, node_id: &str, episodes: &[String]) -> QueryResult<Vec<Alarm>> {
    let own = alarms::node_id.eq(node_id).and(alarms::episode.eq_any(episodes));
    alarms::table.filter(own).select(Alarm::as_select()).load(conn)
}

/// What is known of these streams of a node.
pub fn streams(conn: &mut Conn, node_id: &str, names: &[&str]) -> QueryResult<Vec<StreamRow>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let own = streams::node_id.eq(node_id).and(streams::stream.eq_any(names));
    streams::table.filter(own).select(StreamRow::as_select()).load(conn)
}

/// Writes what is known of a stream. Of the ones before it of its kind the newest few stay; the caller has locked the node's row.
pub fn keep_stream(conn: &mut Conn, row: &StreamRow, fresh: bool) -> QueryResult<()> {
    if !fresh {
        let known = (streams::last_seq.eq(row.last_seq), streams::head.eq(&row.head), streams::gaps.eq(&row.gaps));
        return diesel::update(streams::table.find((&row.node_id, &row.stream)))
            .set((known, streams::lost.eq(row.lost), streams::last_at.eq(row.last_at)))
            .execute(conn)
            .map(drop);
    }
    diesel::insert_into(streams::table).values(row).execute(conn)?;
    let of_kind = streams::table.filter(streams::node_id.eq(&row.node_id).and(streams::kind.eq(&row.kind)));
    let old: Vec<String> = of_kind.order(streams::last_at.desc()).offset(KEPT).limit(100).select(streams::stream).load(conn)?;
    if !old.is_empty() {
        diesel::delete(streams::table.filter(streams::node_id.eq(&row.node_id).and(streams::stream.eq_any(old)))).execute(conn)?;
    }
    Ok(())
}

/// Keeps the highest of each counter of a node. The caller has locked the node's row.
pub fn count(conn: &mut Conn, node_id: &str, counts: &Counts) -> QueryResult<()> {
    if counts.is_empty() {
        return Ok(());
    }
    let deployments: Vec<&String> = counts.keys().map(|(deployment, _, _)| deployment).collect::<BTreeSet<_>>().into_iter().collect();
    let rows: Vec<(String, String, String, i64)> = usage_counters::table
        .filter(usage_counters::node_id.eq(node_id).and(usage_counters::deployment_id.eq_any(deployments)))
        .select((usage_counters::deployment_id, usage_counters::meter, usage_counters::epoch, usage_counters::count))
        .load(conn)?;
    let mut rows_of: BTreeMap<String, usize> = BTreeMap::new();
    for (deployment, ..) in &rows {
        *rows_of.entry(deployment.clone()).or_default() += 1;
    }
    let known: BTreeMap<_, i64> = rows.into_iter().map(|(deployment, meter, epoch, count)| ((deployment, meter, epoch), count)).collect();
    for (key, (count, at)) in counts {
        let (deployment, meter, epoch) = key;
        let count = model::count(*count);
        match known.get(key) {
            Some(before) if *before >= count => {}
            Some(_) => {
                diesel::update(usage_counters::table.find((node_id, deployment, meter, epoch)))
                    .set((usage_counters::count.eq(count), usage_counters::at.eq(*at)))
                    .execute(conn)?;
            }
            None => {
                let rows = rows_of.entry(deployment.clone()).or_default();
                if *rows >= MAX_COUNTERS {
                    tracing::warn!(node = node_id, deployment, "a node tells of more counters than are kept");
                    continue;
                }
                *rows += 1;
                let own = (usage_counters::node_id.eq(node_id), usage_counters::deployment_id.eq(deployment));
                let name = (usage_counters::meter.eq(meter), usage_counters::epoch.eq(epoch));
                diesel::insert_into(usage_counters::table)
                    .values((own, name, usage_counters::count.eq(count), usage_counters::at.eq(*at)))
                    .execute(conn)?;
            }
        }
    }
    Ok(())
}

/// Counters of deployments, by meter, summed over nodes and epochs.
pub fn usage_of(conn: &mut Conn, deployment_ids: &[String]) -> QueryResult<BTreeMap<(String, String), i64>> {
    let rows: Vec<(String, String, i64)> = usage_counters::table
        .filter(usage_counters::deployment_id.eq_any(deployment_ids))
        .select((usage_counters::deployment_id, usage_counters::meter, usage_counters::count))
        .load(conn)?;
    let mut sums = BTreeMap::new();
    for (deployment, meter, count) in rows {
        let sum: &mut i64 = sums.entry((deployment, meter)).or_default();
        *sum = sum.saturating_add(count);
    }
    Ok(sums)
}

/// Ends alarms of nodes that are removed: nobody tells of them any more.
pub fn end_alarms_of_removed(conn: &mut Conn) -> QueryResult<usize> {
    let removed = nodes::table.filter(nodes::state.eq(NodeState::Removed)).select(nodes::id);
    diesel::update(alarms::table.filter(alarms::ended_at.is_null().and(alarms::node_id.eq_any(removed))))
        .set(alarms::ended_at.eq(alarms::last_at.nullable()))
        .execute(conn)
}

/// An alarm that goes on: id, beginning, last word, and when the node was heard.
pub type OpenAlarm = (String, Timestamp, Timestamp, Option<Timestamp>);

/// Alarms that go on and were told of last before a time, the oldest word first.
pub fn open_alarms(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<Vec<OpenAlarm>> {
    alarms::table
        .inner_join(nodes::table.on(nodes::id.eq(alarms::node_id)))
        .filter(alarms::ended_at.is_null().and(alarms::last_at.lt(before)))
        .order(alarms::last_at)
        .limit(limit)
        .select((alarms::id, alarms::raised_at, alarms::last_at, nodes::seen_at))
        .load(conn)
}

/// Ends alarms with the last frame that had them.
pub fn end_alarms(conn: &mut Conn, ids: &[String]) -> QueryResult<usize> {
    diesel::update(alarms::table.filter(alarms::id.eq_any(ids).and(alarms::ended_at.is_null())))
        .set(alarms::ended_at.eq(alarms::last_at.nullable()))
        .execute(conn)
}

/// Deletes alarms that came in before a time, the oldest first, at most so many.
pub fn delete_alarms_before(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let old = alarms::table.filter(alarms::received_at.lt(before)).order(alarms::received_at).limit(limit).select(alarms::id);
    let old: Vec<String> = old.load(conn)?;
    delete_alarms(conn, &old)
}

/// Deletes alarms with their pictures; gives how many alarms went.
fn delete_alarms(conn: &mut Conn, ids: &[String]) -> QueryResult<usize> {
    diesel::delete(alarm_pictures::table.filter(alarm_pictures::alarm_id.eq_any(ids))).execute(conn)?;
    diesel::delete(alarms::table.filter(alarms::id.eq_any(ids))).execute(conn)
}

/// Organisations with more alarms than a number, with how many they have, at most `limit`.
pub fn with_alarms_over(conn: &mut Conn, most: i64, limit: i64) -> QueryResult<Vec<(String, i64)>> {
    alarms::table
        .group_by(alarms::organization_id)
        .having(count_star().gt(most))
        .select((alarms::organization_id, count_star()))
        .limit(limit)
        .load(conn)
}

/// Deletes the oldest alarms of an organisation, at most so many; critical ones only where there are no others.
pub fn delete_oldest_alarms(conn: &mut Conn, organization_id: &str, limit: i64) -> QueryResult<usize> {
    let oldest = |lesser: bool, limit: i64| {
        let mut query = alarms::table.filter(alarms::organization_id.eq(organization_id)).order(alarms::id).limit(limit).into_boxed();
        query = if lesser { query.filter(alarms::level.ne(Level::Critical)) } else { query.filter(alarms::level.eq(Level::Critical)) };
        query.select(alarms::id)
    };
    let mut oldest_ids: Vec<String> = oldest(true, limit).load(conn)?;
    let rest = limit.saturating_sub(i64::try_from(oldest_ids.len()).unwrap_or(limit));
    oldest_ids.extend(oldest(false, rest).load::<String>(conn)?);
    delete_alarms(conn, &oldest_ids)
}

/// Nodes that have not called since a time and have samples from before it, with their deployments.
pub fn silent_with_samples(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<Vec<(String, Vec<String>)>> {
    let of_node = node_samples::table.filter(node_samples::node_id.eq(nodes::id).and(node_samples::at.lt(before)));
    let of_apps = app_samples::table
        .inner_join(deployments::table.on(deployments::id.eq(app_samples::deployment_id)))
        .filter(deployments::node_id.eq(nodes::id).and(app_samples::at.lt(before)));
    let silent: Vec<String> = nodes::table
        .filter(nodes::seen_at.lt(before).or(nodes::state.eq(NodeState::Removed)))
        .filter(exists(of_node).or(exists(of_apps)))
        .order(nodes::id)
        .limit(limit)
        .select(nodes::id)
        .load(conn)?;
    let mut found: BTreeMap<String, Vec<String>> = silent.into_iter().map(|id| (id, Vec::new())).collect();
    let rows: Vec<(String, String)> = deployments::table
        .filter(deployments::node_id.eq_any(found.keys().cloned().collect::<Vec<_>>()))
        .select((deployments::node_id, deployments::id))
        .load(conn)?;
    for (node_id, id) in rows {
        found.entry(node_id).or_default().push(id);
    }
    Ok(found.into_iter().collect())
}

/// Deletes the oldest samples of a node before a time, at most an hour's worth, so that one call is never long. A node reports every few
/// seconds, so its backlog shrinks far faster than it grows.
pub fn prune(conn: &mut Conn, node_id: &str, deployment_ids: &[String], before: Timestamp) -> QueryResult<usize> {
    let hour = chrono::TimeDelta::hours(1);
    let mut deleted = 0;
    let oldest: Option<Timestamp> =
        node_samples::table.filter(node_samples::node_id.eq(node_id)).select(min(node_samples::at)).first(conn)?;
    if let Some(oldest) = oldest.filter(|at| *at < before) {
        let end = before.min(oldest.plus(hour));
        deleted +=
            diesel::delete(node_samples::table.filter(node_samples::node_id.eq(node_id).and(node_samples::at.lt(end)))).execute(conn)?;
    }
    let of_node = app_samples::deployment_id.eq_any(deployment_ids);
    let oldest: Option<Timestamp> = app_samples::table.filter(of_node).select(min(app_samples::at)).first(conn)?;
    if let Some(oldest) = oldest.filter(|at| *at < before) {
        let end = before.min(oldest.plus(hour));
        let of_node = app_samples::deployment_id.eq_any(deployment_ids);
        deleted += diesel::delete(app_samples::table.filter(of_node.and(app_samples::at.lt(end)))).execute(conn)?;
    }
    Ok(deleted)
}

/// Whether a node belongs to an organisation.
pub fn owns_node(conn: &mut Conn, organization_id: &str, node_id: &str) -> QueryResult<bool> {
    let n: i64 = nodes::table.filter(nodes::id.eq(node_id).and(nodes::organization_id.eq(organization_id))).count().get_result(conn)?;
    Ok(n == 1)
}

/// Samples of a node since a time, oldest first.
pub fn node_samples_since(conn: &mut Conn, node_id: &str, since: Timestamp, limit: i64) -> QueryResult<Vec<NodeSample>> {
    node_samples::table
        .filter(node_samples::node_id.eq(node_id).and(node_samples::at.ge(since)))
        .order(node_samples::at)
        .limit(limit)
        .select(NodeSample::as_select())
        .load(conn)
}

/// Samples of a node's apps since a time, app by app, oldest first.
pub fn app_samples_since(conn: &mut Conn, deployment_ids: &[String], since: Timestamp, limit: i64) -> QueryResult<Vec<AppSample>> {
    app_samples::table
        .filter(app_samples::deployment_id.eq_any(deployment_ids).and(app_samples::at.ge(since)))
        .order((app_samples::deployment_id, app_samples::at))
        .limit(limit)
        .select(AppSample::as_select())
        .load(conn)
}

/// Deployments of a node that are not gone, with the titles of their apps; at most ten, the newest.
pub fn plotted(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<(String, String, String)>> {
    deployments::table
        .inner_join(apps::table.on(apps::id.eq(deployments::app_id)))
        .filter(deployments::node_id.eq(node_id).and(deployments::state.ne(DeploymentState::Removed)))
        .order(deployments::id.desc())
        .limit(10)
        .select((deployments::id, apps::title_zh, apps::title_en))
        .load(conn)
}

/// The last sample of each of these deployments.
pub fn last_samples(conn: &mut Conn, deployment_ids: &[String]) -> QueryResult<Vec<AppSample>> {
    let last: Vec<(String, Option<Timestamp>)> = app_samples::table
        .filter(app_samples::deployment_id.eq_any(deployment_ids))
        .group_by(app_samples::deployment_id)
        .select((app_samples::deployment_id, max(app_samples::at)))
        .load(conn)?;
    let moments: Vec<Timestamp> = last.iter().filter_map(|(_, at)| *at).collect();
    let mut samples: Vec<AppSample> = app_samples::table
        .filter(app_samples::deployment_id.eq_any(deployment_ids).and(app_samples::at.eq_any(moments)))
        .select(AppSample::as_select())
        .load(conn)?;
    samples.retain(|s| last.iter().any(|(id, at)| *id == s.deployment_id && *at == Some(s.at)));
    Ok(samples)
}

/// Alarms of an organisation with names, newest first; or the one of an id.
pub fn alarms(conn: &mut Conn, organization_id: &str, id: Option<&str>, limit: i64) -> QueryResult<Vec<AlarmLine>> {
    let mut query = alarms::table
        .inner_join(nodes::table.on(nodes::id.eq(alarms::node_id)))
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .inner_join(deployments::table.on(deployments::id.eq(alarms::deployment_id)))
        .inner_join(apps::table.on(apps::id.eq(deployments::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(alarms::organization_id.eq(organization_id.to_owned()))
        .order(alarms::id.desc())
        .limit(limit)
        .select((Alarm::as_select(), nodes::name, sites::name, apps::title_zh, apps::title_en, organizations::slug, apps::slug))
        .into_boxed();
    if let Some(id) = id {
        query = query.filter(alarms::id.eq(id.to_owned()));
    }
    query.load(conn)
}

/// Notes beside an alarm what people have answered.
pub fn set_answer(conn: &mut Conn, id: &str, answer: &str) -> QueryResult<usize> {
    diesel::update(alarms::table.find(id)).set(alarms::answer.eq(answer)).execute(conn)
}

/// The node's alarm of an episode.
pub fn alarm_of_episode(conn: &mut Conn, node_id: &str, episode: &str) -> QueryResult<Option<String>> {
    let own = alarms::node_id.eq(node_id).and(alarms::episode.eq(episode));
    alarms::table.filter(own).select(alarms::id).first(conn).optional()
}

pub fn insert_picture(conn: &mut Conn, picture: &NewPicture) -> QueryResult<usize> {
    diesel::insert_into(alarm_pictures::table).values(picture).execute(conn)
}

/// The picture of an alarm of an organisation.
pub fn picture(conn: &mut Conn, organization_id: &str, alarm_id: &str) -> QueryResult<Option<Picture>> {
    Ok(pictures(conn, organization_id, &[alarm_id.to_owned()])?.pop())
}

/// Pictures of these alarms of an organisation, without their bytes.
pub fn pictures(conn: &mut Conn, organization_id: &str, alarm_ids: &[String]) -> QueryResult<Vec<Picture>> {
    let own = alarm_pictures::alarm_id.eq_any(alarm_ids).and(alarm_pictures::organization_id.eq(organization_id));
    alarm_pictures::table
        .filter(own)
        .select((
            alarm_pictures::alarm_id,
            alarm_pictures::width,
            alarm_pictures::height,
            alarm_pictures::privacy,
            alarm_pictures::asked_by,
            alarm_pictures::asked_at,
            alarm_pictures::gone_at,
            alarm_pictures::received_at,
            alarm_pictures::whole.is_not_null(),
        ))
        .load(conn)
}

/// The bytes of the small picture of an alarm.
pub fn small_picture(conn: &mut Conn, organization_id: &str, alarm_id: &str) -> QueryResult<Option<Vec<u8>>> {
    let own = alarm_pictures::table.find(alarm_id).filter(alarm_pictures::organization_id.eq(organization_id));
    own.select(alarm_pictures::small).first(conn).optional()
}

/// The bytes of the whole picture of an alarm, where it is here.
pub fn whole_picture(conn: &mut Conn, organization_id: &str, alarm_id: &str) -> QueryResult<Option<Vec<u8>>> {
    let own = alarm_pictures::table.find(alarm_id).filter(alarm_pictures::organization_id.eq(organization_id));
    let bytes: Option<Option<Vec<u8>>> = own.select(alarm_pictures::whole).first(conn).optional()?;
    Ok(bytes.flatten())
}

/// Notes who asks for the whole picture of an alarm; 0 rows where somebody has.
pub fn ask_for_picture(conn: &mut Conn, alarm_id: &str, by: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(alarm_pictures::table.find(alarm_id).filter(alarm_pictures::asked_at.is_null()))
        .set((alarm_pictures::asked_by.eq(by), alarm_pictures::asked_at.eq(now)))
        .execute(conn)
}

pub fn keep_whole_picture(conn: &mut Conn, alarm_id: &str, bytes: &[u8]) -> QueryResult<usize> {
    diesel::update(alarm_pictures::table.find(alarm_id)).set(alarm_pictures::whole.eq(bytes)).execute(conn)
}

/// Notes that the node has the whole picture of an alarm no more; 0 rows where it is here, or that is known.
pub fn mark_picture_gone(conn: &mut Conn, alarm_id: &str, now: Timestamp) -> QueryResult<usize> {
    let missing = alarm_pictures::whole.is_null().and(alarm_pictures::gone_at.is_null());
    diesel::update(alarm_pictures::table.find(alarm_id).filter(missing)).set(alarm_pictures::gone_at.eq(now)).execute(conn)
}

/// Episodes of a node whose whole pictures were asked for and are neither here nor gone, the oldest request first.
pub fn wanted_pictures(conn: &mut Conn, node_id: &str, limit: i64) -> QueryResult<Vec<String>> {
    let missing = alarm_pictures::whole.is_null().and(alarm_pictures::gone_at.is_null());
    alarm_pictures::table
        .filter(alarm_pictures::node_id.eq(node_id).and(alarm_pictures::asked_at.is_not_null()).and(missing))
        .order((alarm_pictures::asked_at, alarm_pictures::alarm_id))
        .limit(limit)
        .select(alarm_pictures::episode)
        .load(conn)
}

/// The latest alarms of an organisation that have a picture.
pub fn latest_pictures(conn: &mut Conn, organization_id: &str, limit: i64) -> QueryResult<Vec<PictureLine>> {
    alarm_pictures::table
        .inner_join(alarms::table.on(alarms::id.eq(alarm_pictures::alarm_id)))
        .filter(alarm_pictures::organization_id.eq(organization_id))
        .order(alarm_pictures::alarm_id.desc())
        .limit(limit)
        .select((alarms::id, alarms::level, alarms::text_zh, alarms::text_en, alarms::raised_at))
        .load(conn)
}

/// The sources of a node, in order of id.
pub fn sources_of(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<NodeSource>> {
    let own = node_sources::table.filter(node_sources::node_id.eq(node_id));
    own.order(node_sources::source_id).select(NodeSource::as_select()).load(conn)
}

/// Deletes what a node does not tell of any more, or tells otherwise, and writes what is new. The caller has locked the node's row.
pub fn replace_sources(conn: &mut Conn, node_id: &str, stale: &[&str], fresh: &[&NodeSource]) -> QueryResult<()> {
    if !stale.is_empty() {
        let own = node_sources::node_id.eq(node_id).and(node_sources::source_id.eq_any(stale));
        diesel::delete(node_sources::table.filter(own)).execute(conn)?;
    }
    for source in fresh {
        diesel::insert_into(node_sources::table).values(*source).execute(conn)?;
    }
    Ok(())
}

/// How many sources of each node have failed or have trouble.
pub fn troubled_sources(conn: &mut Conn, node_ids: &[String]) -> QueryResult<BTreeMap<String, i64>> {
    let wrong = node_sources::state.eq(SourceState::Failed).or(node_sources::troubles.ne(""));
    let rows: Vec<(String, i64)> = node_sources::table
        .filter(node_sources::node_id.eq_any(node_ids))
        .filter(wrong)
        .group_by(node_sources::node_id)
        .select((node_sources::node_id, count_star()))
        .load(conn)?;
    Ok(rows.into_iter().collect())
}

/// Deletes the sources of nodes that are removed: nobody tells of them any more.
pub fn delete_sources_of_removed(conn: &mut Conn) -> QueryResult<usize> {
    let removed = nodes::table.filter(nodes::state.eq(NodeState::Removed)).select(nodes::id);
    diesel::delete(node_sources::table.filter(node_sources::node_id.eq_any(removed))).execute(conn)
}
