//! Use cases: a person acts on an alarm.

use serde_json::json;

use super::model::{Act, ActKind, ActRow, Response, Suppression, SuppressionKind, Verdict, shelf_end};
use super::store;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy;
use crate::base::auth::{Actor, Person};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;
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
    let row = ActRow {
        id: ids::new("act"),
        organization_id: owner.clone(),
        alarm_id: id.to_owned(),
        kind,
        verdict,
        note: note.clone(),
        ends_at,
        user_id: person.user_id.clone(),
        made_by: person.name.clone(),
        at: now,
    };
    store::insert_act(c, &row)?;
    let detail = json!({"subject": point.subject, "rule": point.rule, "note": note, "verdict": verdict, "ends_at": ends_at});
    c.audit(kind.recorded(), id, &detail);
    c.poke(owner, TOPIC);
    Ok(())
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
