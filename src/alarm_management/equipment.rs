//! Alarms of the platform: it looks at what it knows of nodes, their sources, apps and licences, and says what began and what ended. Several
//! processes may look; of one condition one alarm is present, by a constraint.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;

use super::model::{EquipmentAlarm, EquipmentKind, source_subject};
use super::store;
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Kind, QueryResultExt as _, Result};
use crate::base::ids;
use crate::fleet::model::heard_lately;
use crate::license::model::ENDING_SOON;
use crate::telemetry::service::TOPIC;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a source must show nothing before it is an alarm.
const LOST_FOR: TimeDelta = TimeDelta::minutes(1);
/// Begins and ends written in one transaction.
const BATCH: usize = 200;

/// A condition: owner, kind, subject.
type Condition = (String, EquipmentKind, String);

/// Looks until told to stop.
pub async fn watch(app: App, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.changed() => return,
        }
        if let Err(e) = look(&app).await {
            tracing::error!(error = %e, "looking for alarms of the platform");
        }
    }
}

/// One look. Gives how many alarms began and how many ended.
pub async fn look(app: &App) -> Result<(usize, usize)> {
    let now = app.clock.now();
    let (wanted, present) = app
        .db
        .read(move |conn| {
            let present: BTreeMap<Condition, String> = store::equipment_present(conn)?
                .into_iter()
                .map(|alarm| ((alarm.organization_id, alarm.kind, alarm.subject), alarm.id))
                .collect();
            Ok((conditions(conn, now)?, present))
        })
        .await?;
    let begun: Vec<Condition> = wanted.iter().filter(|condition| !present.contains_key(*condition)).cloned().collect();
    let over: Vec<(String, String)> =
        present.iter().filter(|(condition, _)| !wanted.contains(*condition)).map(|((owner, ..), id)| (owner.clone(), id.clone())).collect();
    for some in begun.chunks(BATCH) {
        let some = some.to_vec();
        // Another process was first with one of them: the next look begins what is left.
        match app.db.write(move |conn| begin(conn, &some, now)).await {
            Err(e) if e.kind == Kind::Conflict => {}
            done => done?,
        }
    }
    for some in over.chunks(BATCH) {
        let ids: Vec<String> = some.iter().map(|(_, id)| id.clone()).collect();
        app.db.write(move |conn| Ok(store::end_equipment_alarms(conn, &ids, now)?)).await?;
    }
    let owners: BTreeSet<&str> =
        begun.iter().map(|(owner, ..)| owner.as_str()).chain(over.iter().map(|(owner, _)| owner.as_str())).collect();
    for owner in owners {
        app.live.poke(owner, TOPIC);
    }
    Ok((begun.len(), over.len()))
}

fn begin(conn: &mut Conn, conditions: &[Condition], now: Timestamp) -> Result<()> {
    for (owner, kind, subject) in conditions {
        if store::is_present(conn, owner, *kind, subject)? {
            continue;
        }
        let alarm = EquipmentAlarm {
            id: ids::new("alm"),
            organization_id: owner.clone(),
            kind: *kind,
            subject: subject.clone(),
            level: kind.level(),
            began_at: now,
            ended_at: None,
        };
        store::insert_equipment_alarm(conn, &alarm).or_conflict("alarm-present")?;
    }
    Ok(())
}

/// What is wrong now. Of a node that is lost its last word holds: silence ends no fault.
fn conditions(conn: &mut Conn, now: Timestamp) -> Result<BTreeSet<Condition>> {
    let mut wrong = BTreeSet::new();
    for (owner, node, seen_at, trouble) in store::troubled_nodes(conn, now)? {
        if !heard_lately(seen_at, now) {
            wrong.insert((owner.clone(), EquipmentKind::NodeLost, node.clone()));
        }
        if let Some(kind) = trouble.as_deref().and_then(of_trouble) {
            wrong.insert((owner, kind, node));
        }
    }
    for (owner, node, source, lost_since, seen_at) in store::lost_sources(conn, now.minus(LOST_FOR))? {
        // What was not lost for so long when the node was heard last is not known to be lost still.
        if lost_since.zip(seen_at).is_some_and(|(since, seen)| seen >= since.plus(LOST_FOR)) {
            wrong.insert((owner, EquipmentKind::SourceLost, source_subject(&node, &source)));
        }
    }
    wrong.extend(store::failed_apps(conn)?.into_iter().map(|(owner, deployment)| (owner, EquipmentKind::AppLost, deployment)));
    let ending = store::ending_licenses(conn, now, now.plus(ENDING_SOON))?;
    wrong.extend(ending.into_iter().map(|(owner, license)| (owner, EquipmentKind::LicenceEnding, license)));
    Ok(wrong)
}

/// The alarm of an agent's own fault, by its code.
fn of_trouble(trouble: &str) -> Option<EquipmentKind> {
    match trouble.split_once(':').map_or(trouble, |(code, _)| code) {
        "clock-wrong" => Some(EquipmentKind::ClockWrong),
        "disk-full" | "disk" | "state-unwritable" => Some(EquipmentKind::DiskFull),
        _ => None,
    }
}
