//! Use cases: a person acts on an alarm.

use std::collections::BTreeSet;

use serde_json::json;

use super::model::{Act, ActKind, ActRow, Point, Response, Suppression, SuppressionKind, Verdict, shelf_end};
use super::store;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy;
use crate::base::auth::{Actor, Person};
use crate::base::db::Timestamp;
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;
use crate::telemetry::model::Level;
use crate::telemetry::service::TOPIC;

/// Acts on an alarm of the operator.
///
/// # Errors
/// Those of [`act_in`].
pub async fn act(app: &App, actor: &Actor, id: &str, act: Act, note: &str) -> Result<()> {
    policy::require(actor, act.action())?;
    let (id, note) = (id.to_owned(), note.to_owned());
    audit::change(app, actor, move |c| act_in(c, &id, act, &note)).await
}

/// As [`act`], in the caller's transaction.
///
/// # Errors
/// `alarm`: not there, or not the operator's. `alarm-acknowledged`: by somebody else meanwhile. `alarm-judged`: the verdict is another one than
/// the person saw. `alarm-suppressed`, `alarm-not-suppressed`. A wrong note or time.
pub fn act_in(c: &mut Change<'_>, id: &str, act: Act, note: &str) -> Result<()> {
    let person = policy::require(c.actor, act.action())?;
    let note = act.note(note)?;
    let owner = &person.organization_id;
    let (now, point) = (c.now, store::point(c, owner, id)?.ok_or_else(|| Error::not_found("alarm"))?);
    let (kind, verdict, ends_at) = match act {
        Act::Acknowledge => {
            acknowledge(c, person, id, None)?;
            (ActKind::Acknowledged, None, None)
        }
        Act::Judge { verdict, instead_of } => {
            judge(c, person, id, verdict, instead_of)?;
            (ActKind::Judged, Some(verdict), None)
        }
        Act::Shelve { .. } | Act::TakeOut => {
            let (kind, ends_at) = match act {
                Act::Shelve { minutes } => (SuppressionKind::Shelved, Some(shelf_end(point.level, minutes, now)?)),
                _ => (SuppressionKind::OutOfService, None),
            };
            store::close_over(c, owner, &point, now)?;
            let suppression = Suppression {
                id: ids::new("sup"),
                organization_id: owner.clone(),
                subject: point.subject.clone(),
                rule: point.rule.clone(),
                kind,
                reason: note.clone(),
                made_by: person.name.clone(),
                made_at: now,
                ends_at,
                ended_at: None,
            };
            store::insert_suppression(c, &suppression).or_conflict("alarm-suppressed")?;
            (if ends_at.is_some() { ActKind::Shelved } else { ActKind::TakenOut }, None, ends_at)
        }
        Act::Unshelve => {
            exactly_one(store::end_suppression(c, owner, &point, SuppressionKind::Shelved, now)?, "alarm-not-suppressed")?;
            (ActKind::Unshelved, None, None)
        }
        Act::PutBack => {
            exactly_one(store::end_suppression(c, owner, &point, SuppressionKind::OutOfService, now)?, "alarm-not-suppressed")?;
            (ActKind::PutBack, None, None)
        }
    };
    if !matches!(act, Act::Shelve { .. } | Act::TakeOut) {
        // Answering, and what lets an alarm call again, must never wait.
        c.uncounted();
    }
    record(c, person, id, &point, &Deed { kind, verdict, ends_at, note })
}

/// What was done with an alarm.
struct Deed {
    kind: ActKind,
    verdict: Option<Verdict>,
    ends_at: Option<Timestamp>,
    note: String,
}

/// The row and the audit record of an act.
fn record(c: &mut Change<'_>, person: &Person, id: &str, point: &Point, deed: &Deed) -> Result<()> {
    let Deed { kind, verdict, ends_at, note } = deed;
    let row = ActRow {
        id: ids::new("act"),
        organization_id: person.organization_id.clone(),
        alarm_id: id.to_owned(),
        kind: *kind,
        verdict: *verdict,
        note: note.clone(),
        ends_at: *ends_at,
        user_id: person.user_id.clone(),
        made_by: person.name.clone(),
        at: c.now,
    };
    store::insert_act(c, &row)?;
    let detail = json!({"subject": point.subject, "rule": point.rule, "note": note, "verdict": verdict, "ends_at": ends_at});
    c.audit(kind.recorded(), id, &detail);
    c.poke(&person.organization_id, TOPIC);
    Ok(())
}

/// Most alarms that are acknowledged at a time: what a person has seen on a page.
pub const MOST_AT_ONCE: usize = 50;

/// How many of some alarms were acknowledged, and how many somebody had answered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    pub done: usize,
    pub before: usize,
}

/// Acknowledges some alarms of the operator.
///
/// # Errors
/// Those of [`acknowledge_all_in`].
pub async fn acknowledge_all(app: &App, actor: &Actor, ids: Vec<String>, note: &str) -> Result<Acknowledged> {
    policy::require(actor, Act::Acknowledge.action())?;
    let note = note.to_owned();
    audit::change(app, actor, move |c| acknowledge_all_in(c, &ids, &note)).await
}

/// As [`acknowledge_all`], in the caller's transaction: all or none. An id that comes twice counts once.
///
/// # Errors
/// `ids`: `no-alarms-chosen`, `too-many-alarms-chosen` (over [`MOST_AT_ONCE`]). `alarm`: one is not there, or not the operator's.
/// `alarm-critical`: one is critical, and wants to be looked at by itself. A wrong note.
pub fn acknowledge_all_in(c: &mut Change<'_>, chosen: &[String], note: &str) -> Result<Acknowledged> {
    let person = policy::require(c.actor, Act::Acknowledge.action())?;
    let note = Act::Acknowledge.note(note)?;
    let mut faults = Faults::default();
    if chosen.is_empty() {
        faults.add("ids", "no-alarms-chosen");
    } else if chosen.len() > MOST_AT_ONCE {
        faults.add_with("ids", "too-many-alarms-chosen", "max", MOST_AT_ONCE);
    }
    faults.check()?;
    // In one order for all, so that two desks do not wait for each other.
    let wanted = chosen.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    // What can be no id is nobody's alarm.
    let found = if wanted.iter().all(|id| ids::is_sound(id)) { store::points(c, &person.organization_id, &wanted)? } else { Vec::new() };
    if found.len() < wanted.len() {
        return Err(Error::not_found("alarm"));
    }
    if found.iter().any(|(_, point)| point.level == Level::Critical) {
        return Err(Error::invalid("alarm-critical"));
    }
    c.uncounted();
    let deed = Deed { kind: ActKind::Acknowledged, verdict: None, ends_at: None, note };
    let mut done = 0;
    for (id, point) in &found {
        let now = c.now;
        if store::acknowledge_first(c, id, &person.organization_id, &person.name, now)? > 0 {
            record(c, person, id, point, &deed)?;
            done += 1;
        }
    }
    Ok(Acknowledged { done, before: found.len() - done })
}

/// The first to acknowledge is the one who has.
fn acknowledge(c: &mut Change<'_>, person: &Person, id: &str, verdict: Option<Verdict>) -> Result<()> {
    let response = Response {
        alarm_id: id.to_owned(),
        organization_id: person.organization_id.clone(),
        acknowledged_by: person.name.clone(),
        acknowledged_at: c.now,
        verdict,
    };
    store::insert_response(c, &response).or_conflict("alarm-acknowledged")?;
    Ok(())
}

fn judge(c: &mut Change<'_>, person: &Person, id: &str, verdict: Verdict, seen: Option<Verdict>) -> Result<()> {
    if store::response(c, id)?.is_none() {
        return acknowledge(c, person, id, Some(verdict));
    }
    exactly_one(store::set_verdict(c, id, seen, verdict)?, "alarm-judged")
}
