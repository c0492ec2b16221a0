//! Queries of webhooks, their messages and the tries to send them.

use std::collections::BTreeSet;

use diesel::dsl::exists;
use diesel::prelude::*;

use super::model::{Attempt, Delivery, DeliveryState, EventKind, Urgency, Webhook, WebhookState};
use crate::base::auth::Role;
use crate::base::db::schema::{memberships, users, webhook_attempts, webhook_deliveries, webhooks};
use crate::base::db::{Conn, Timestamp};

/// The webhooks of an organisation that were not removed, in the order in which they were made.
pub fn list(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<Webhook>> {
    webhooks::table
        .filter(webhooks::organization_id.eq(organization_id).and(webhooks::state.ne(WebhookState::Removed)))
        .order(webhooks::id)
        .select(Webhook::as_select())
        .load(conn)
}

pub fn get_own(conn: &mut Conn, organization_id: &str, id: &str) -> QueryResult<Webhook> {
    webhooks::table
        .find(id)
        .filter(webhooks::organization_id.eq(organization_id).and(webhooks::state.ne(WebhookState::Removed)))
        .select(Webhook::as_select())
        .first(conn)
}

pub fn insert(conn: &mut Conn, webhook: &Webhook) -> QueryResult<usize> {
    diesel::insert_into(webhooks::table).values(webhook).execute(conn)
}

/// Gives a webhook a new secret; the one before signs on for a time.
pub fn set_secret(conn: &mut Conn, was: &Webhook, secret: &str, until: Timestamp) -> QueryResult<usize> {
    diesel::update(webhooks::table.filter(webhooks::id.eq(&was.id).and(webhooks::secret.eq(&was.secret))))
        .set((webhooks::secret.eq(secret), webhooks::previous_secret.eq(&was.secret), webhooks::previous_until.eq(until)))
        .execute(conn)
}

/// Moves a webhook between on and off, and forgets how long nothing came through.
pub fn switch(conn: &mut Conn, id: &str, from: WebhookState, to: WebhookState) -> QueryResult<usize> {
    diesel::update(webhooks::table.filter(webhooks::id.eq(id).and(webhooks::state.eq(from))))
        .set((webhooks::state.eq(to), webhooks::failing_since.eq(None::<Timestamp>)))
        .execute(conn)
}

/// Takes a webhook away with its secrets. Its messages wait no more.
pub fn remove(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    let there = webhooks::id.eq(id).and(webhooks::state.ne(WebhookState::Removed));
    let removed = diesel::update(webhooks::table.filter(there))
        .set((
            webhooks::state.eq(WebhookState::Removed),
            webhooks::secret.eq(""),
            webhooks::previous_secret.eq(None::<String>),
            webhooks::removed_at.eq(now),
        ))
        .execute(conn)?;
    give_up_all(conn, id)?;
    Ok(removed)
}

/// Ends the waiting of all messages of a webhook.
pub fn give_up_all(conn: &mut Conn, id: &str) -> QueryResult<usize> {
    let waiting = webhook_deliveries::webhook_id.eq(id).and(webhook_deliveries::state.eq(DeliveryState::Waiting));
    diesel::update(webhook_deliveries::table.filter(waiting)).set(webhook_deliveries::state.eq(DeliveryState::GivenUp)).execute(conn)
}

/// Notes that messages were not kept.
pub fn lose(conn: &mut Conn, id: &str, n: i64) -> QueryResult<usize> {
    diesel::update(webhooks::table.find(id)).set(webhooks::lost.eq(webhooks::lost + n)).execute(conn)
}

/// How many messages of a webhook wait. The index of what waits begins with the urgency.
pub fn count_waiting(conn: &mut Conn, id: &str) -> QueryResult<i64> {
    let waiting = webhook_deliveries::webhook_id.eq(id).and(webhook_deliveries::state.eq(DeliveryState::Waiting));
    let any = webhook_deliveries::urgency.eq_any(Urgency::ALL.map(i64::from));
    webhook_deliveries::table.filter(waiting.and(any)).count().get_result(conn)
}

/// How many messages of a webhook wait that were made behind an id.
pub fn count_since(conn: &mut Conn, id: &str, since: &str) -> QueryResult<i64> {
    let waiting = webhook_deliveries::webhook_id.eq(id).and(webhook_deliveries::state.eq(DeliveryState::Waiting));
    webhook_deliveries::table.filter(waiting.and(webhook_deliveries::id.gt(since))).count().get_result(conn)
}

/// Those of some messages, by their ids, that a webhook was told.
pub fn told_of(conn: &mut Conn, webhook_id: &str, message_ids: &[&str]) -> QueryResult<BTreeSet<String>> {
    let same = webhook_deliveries::webhook_id.eq(webhook_id);
    let told: Vec<String> = webhook_deliveries::table
        .filter(same.and(webhook_deliveries::message_id.eq_any(message_ids.iter().copied())))
        .select(webhook_deliveries::message_id)
        .load(conn)?;
    Ok(told.into_iter().collect())
}

pub fn insert_delivery(conn: &mut Conn, delivery: &Delivery) -> QueryResult<usize> {
    diesel::insert_into(webhook_deliveries::table).values(delivery).execute(conn)
}

/// Most webhooks that one look passes over: those of dead receivers all wait for their time.
const MAX_STEPS: usize = 500;

/// Webhooks with something to be sent.
#[derive(Debug, Default)]
pub struct Due {
    /// Each with its organisation.
    pub webhooks: Vec<(String, String)>,
    /// The id behind which the next look goes on, where there may be more.
    pub behind: Option<String>,
}

/// Webhooks behind an id, in order, that have a message of an urgency to be sent now, at most so many. Each step reads the one row of a webhook
/// that is due first, however many wait.
pub fn webhooks_due(conn: &mut Conn, urgency: Urgency, behind: &str, now: Timestamp, limit: usize) -> QueryResult<Due> {
    let mut webhooks = Vec::new();
    let mut behind = behind.to_owned();
    for _ in 0..MAX_STEPS {
        if webhooks.len() >= limit {
            break;
        }
        let waiting = webhook_deliveries::state.eq(DeliveryState::Waiting).and(webhook_deliveries::urgency.eq(i64::from(urgency)));
        let next: Option<(String, String, Timestamp)> = webhook_deliveries::table
            .filter(waiting.and(webhook_deliveries::webhook_id.gt(&behind)))
            .order((webhook_deliveries::webhook_id, webhook_deliveries::due_at))
            .select((webhook_deliveries::webhook_id, webhook_deliveries::organization_id, webhook_deliveries::due_at))
            .first(conn)
            .optional()?;
        let Some((id, organization_id, due_at)) = next else { return Ok(Due { webhooks, behind: None }) };
        behind.clone_from(&id);
        if due_at <= now {
            webhooks.push((id, organization_id));
        }
    }
    Ok(Due { webhooks, behind: Some(behind) })
}

/// Messages of an urgency of a webhook that are to be sent now, each with it.
pub fn due(conn: &mut Conn, urgency: Urgency, webhook_id: &str, now: Timestamp, limit: i64) -> QueryResult<Vec<(Delivery, Webhook)>> {
    let due = webhook_deliveries::state
        .eq(DeliveryState::Waiting)
        .and(webhook_deliveries::urgency.eq(i64::from(urgency)))
        .and(webhook_deliveries::due_at.le(now));
    webhook_deliveries::table
        .inner_join(webhooks::table.on(webhooks::id.eq(webhook_deliveries::webhook_id)))
        .filter(due.and(webhook_deliveries::webhook_id.eq(webhook_id)))
        .order((webhook_deliveries::due_at, webhook_deliveries::id))
        .limit(limit)
        .select((Delivery::as_select(), Webhook::as_select()))
        .load(conn)
}

/// Begins a try, unless another process has begun one or the message waits no more; until a time nobody else begins one.
pub fn begin(conn: &mut Conn, was: &Delivery, until: Timestamp) -> QueryResult<usize> {
    let same = webhook_deliveries::state
        .eq(DeliveryState::Waiting)
        .and(webhook_deliveries::tries.eq(was.tries))
        .and(webhook_deliveries::due_at.eq(was.due_at));
    diesel::update(webhook_deliveries::table.find(&was.id).filter(same))
        .set((webhook_deliveries::tries.eq(was.tries + 1), webhook_deliveries::due_at.eq(until)))
        .execute(conn)
}

pub fn insert_attempt(conn: &mut Conn, attempt: &Attempt) -> QueryResult<usize> {
    diesel::insert_into(webhook_attempts::table).values(attempt).execute(conn)
}

/// Moves a message whose try has ended, unless it waits no more.
pub fn settle(conn: &mut Conn, id: &str, to: DeliveryState, due_at: Timestamp) -> QueryResult<usize> {
    diesel::update(webhook_deliveries::table.find(id).filter(webhook_deliveries::state.eq(DeliveryState::Waiting)))
        .set((webhook_deliveries::state.eq(to), webhook_deliveries::due_at.eq(due_at)))
        .execute(conn)
}

/// Notes since when nothing comes through; none where something has.
pub fn set_failing(conn: &mut Conn, id: &str, since: Option<Timestamp>) -> QueryResult<usize> {
    match since {
        Some(since) => diesel::update(webhooks::table.filter(webhooks::id.eq(id).and(webhooks::failing_since.is_null())))
            .set(webhooks::failing_since.eq(since))
            .execute(conn),
        None => diesel::update(webhooks::table.filter(webhooks::id.eq(id).and(webhooks::failing_since.is_not_null())))
            .set(webhooks::failing_since.eq(None::<Timestamp>))
            .execute(conn),
    }
}

pub fn get(conn: &mut Conn, id: &str) -> QueryResult<Webhook> {
    webhooks::table.find(id).select(Webhook::as_select()).first(conn)
}

/// A message of an organisation.
pub fn own_delivery(conn: &mut Conn, organization_id: &str, id: &str) -> QueryResult<Delivery> {
    webhook_deliveries::table
        .find(id)
        .filter(webhook_deliveries::organization_id.eq(organization_id))
        .select(Delivery::as_select())
        .first(conn)
}

/// Puts a message that waits no more into the queue again, as if it were new.
pub fn again(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(webhook_deliveries::table.find(id).filter(webhook_deliveries::state.ne(DeliveryState::Waiting)))
        .set((webhook_deliveries::state.eq(DeliveryState::Waiting), webhook_deliveries::tries.eq(0), webhook_deliveries::due_at.eq(now)))
        .execute(conn)
}

/// Messages of a webhook before an id, newest first.
pub fn deliveries(conn: &mut Conn, webhook_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<Delivery>> {
    let mut query = webhook_deliveries::table
        .filter(webhook_deliveries::webhook_id.eq(webhook_id.to_owned()))
        .order(webhook_deliveries::id.desc())
        .limit(limit)
        .select(Delivery::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(webhook_deliveries::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// The newest tries of some messages, newest first.
pub fn attempts(conn: &mut Conn, delivery_ids: &[&str], limit: i64) -> QueryResult<Vec<Attempt>> {
    webhook_attempts::table
        .filter(webhook_attempts::delivery_id.eq_any(delivery_ids.iter().copied()))
        .order(webhook_attempts::id.desc())
        .limit(limit)
        .select(Attempt::as_select())
        .load(conn)
}

/// The owners of an organisation with their addresses, at most so many.
pub fn owners(conn: &mut Conn, organization_id: &str, limit: i64) -> QueryResult<Vec<(String, String)>> {
    memberships::table
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .filter(memberships::organization_id.eq(organization_id).and(memberships::role.eq(Role::Owner.as_str())))
        .filter(users::disabled_at.is_null())
        .order(memberships::created_at)
        .limit(limit)
        .select((users::id, users::email))
        .load(conn)
}

/// Removes up to `limit` messages from before a time that wait no more, with their tries.
pub fn prune(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let old = webhook_deliveries::created_at.lt(before).and(webhook_deliveries::state.ne(DeliveryState::Waiting));
    let ids: Vec<String> = webhook_deliveries::table.filter(old).limit(limit).select(webhook_deliveries::id).load(conn)?;
    delete(conn, ids)
}

/// Removes up to `limit` messages of a webhook that wait no more, but for its newest: so many of silent nodes, by which a server that begins
/// knows of which nodes was told, and so many of all others.
pub fn prune_over(conn: &mut Conn, webhook_id: &str, keep: i64, keep_offline: i64, limit: i64) -> QueryResult<usize> {
    let mut removed = 0;
    for (offline, keep) in [(false, keep), (true, keep_offline)] {
        let ended = webhook_deliveries::webhook_id.eq(webhook_id).and(webhook_deliveries::state.ne(DeliveryState::Waiting));
        let ids: Vec<String> = webhook_deliveries::table
            .filter(ended.and(webhook_deliveries::kind.eq(EventKind::NodeOffline).eq(offline)))
            .order(webhook_deliveries::id.desc())
            .offset(keep)
            .limit(limit)
            .select(webhook_deliveries::id)
            .load(conn)?;
        removed += delete(conn, ids)?;
    }
    Ok(removed)
}

fn delete(conn: &mut Conn, ids: Vec<String>) -> QueryResult<usize> {
    diesel::delete(webhook_attempts::table.filter(webhook_attempts::delivery_id.eq_any(&ids))).execute(conn)?;
    diesel::delete(webhook_deliveries::table.filter(webhook_deliveries::id.eq_any(&ids))).execute(conn)
}

/// Ids of webhooks behind an id, in order.
pub fn ids_after(conn: &mut Conn, after: &str, limit: i64) -> QueryResult<Vec<String>> {
    webhooks::table.filter(webhooks::id.gt(after)).order(webhooks::id).limit(limit).select(webhooks::id).load(conn)
}

/// Removes up to `limit` webhooks that were taken away before a time and have no messages left.
pub fn delete_removed(conn: &mut Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let left = exists(webhook_deliveries::table.filter(webhook_deliveries::webhook_id.eq(webhooks::id)));
    let ids: Vec<String> = webhooks::table
        .filter(webhooks::removed_at.lt(before))
        .filter(diesel::dsl::not(left))
        .limit(limit)
        .select(webhooks::id)
        .load(conn)?;
    diesel::delete(webhooks::table.filter(webhooks::id.eq_any(ids))).execute(conn)
}
