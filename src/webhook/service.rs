//! Use cases of webhooks: what slices tell, and what an organisation's owner does.

use std::collections::{BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;

use super::model::{Attempt, BOTH_SECRETS, Delivery, DeliveryState, Event, EventKind, Urgency, Webhook, WebhookState, new_secret};
use super::{address, store};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::dialect::{self, Row};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;

/// Messages on one page of a log.
pub const PAGE: i64 = 50;
/// Webhooks of an organisation.
const MAX_WEBHOOKS: usize = 10;
/// Tries that the log shows of its messages.
const MAX_SHOWN: i64 = 500;
/// How long a message is kept.
const KEEP: TimeDelta = TimeDelta::days(7);
/// Messages of a webhook that are kept once they wait no more; of silent nodes, by which a server that begins knows of which nodes was told,
/// so many more.
const KEEP_ENDED: i64 = 5_000;
const KEEP_OFFLINE: i64 = 10_000;
/// How long a count of what waits is good; what was added since is counted anew.
const COUNT_LIFE: Duration = Duration::from_secs(1);
/// Counts that are kept before those that are over go.
const MAX_COUNTS: usize = 1_000;
/// Rows removed in one transaction.
const BATCH: i64 = 500;

/// Tells the webhooks of an organisation what has happened, in the transaction of its cause: nothing is sent here. Where nobody is to be told,
/// this is one read.
pub fn tell(conn: &mut Conn, organization_id: &str, event: &Event, now: Timestamp) -> Result<()> {
    tell_all(conn, organization_id, std::slice::from_ref(event), now)
}

/// As [`tell`], of several events of one kind.
pub fn tell_all(conn: &mut Conn, organization_id: &str, events: &[Event], now: Timestamp) -> Result<()> {
    let Some(kind) = events.first().map(|event| event.kind) else { return Ok(()) };
    let told = store::list(conn, organization_id)?;
    let ids: Vec<&str> = events.iter().filter_map(|event| event.id.as_deref()).collect();
    for webhook in told.iter().filter(|webhook| webhook.state == WebhookState::On && webhook.wants(kind)) {
        let mut known = if ids.is_empty() { BTreeSet::new() } else { store::told_of(conn, &webhook.id, &ids)? };
        let mut waiting = waiting(conn, &webhook.id)?;
        let mut lost = 0;
        for event in events.iter().filter(|event| event.at.is_none_or(|at| webhook.created_at <= at)) {
            if event.id.as_ref().is_some_and(|id| !known.insert(id.clone())) {
                continue;
            }
            if waiting >= event.urgency.places() {
                lost += 1;
                continue;
            }
            waiting += 1;
            store::insert_delivery(conn, &delivery(webhook, event, now))?;
        }
        if lost > 0 {
            store::lose(conn, &webhook.id, lost)?;
        }
    }
    Ok(())
}

/// How many messages waited when they were counted.
#[derive(Debug, Clone)]
struct Count {
    at: Instant,
    /// An id of that moment.
    since: String,
    n: i64,
}

/// By webhook.
static COUNTS: LazyLock<Mutex<HashMap<String, Count>>> = LazyLock::new(Mutex::default);

/// How many messages of a webhook wait, at most: those that were sent since the last count are in it. With many waiting and many causes a
/// second, most causes count what is new only.
fn waiting(conn: &mut Conn, webhook_id: &str) -> Result<i64> {
    let counts = || COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = counts().get(webhook_id).filter(|count| count.at.elapsed() < COUNT_LIFE).cloned();
    if let Some(count) = known {
        return Ok(count.n + store::count_since(conn, webhook_id, &count.since)?);
    }
    let (at, since, n) = (Instant::now(), ids::new("dlv"), store::count_waiting(conn, webhook_id)?);
    let mut counts = counts();
    if counts.len() >= MAX_COUNTS {
        counts.retain(|_, count| count.at.elapsed() < COUNT_LIFE);
    }
    counts.insert(webhook_id.to_owned(), Count { at, since, n });
    Ok(n)
}

/// Whether an organisation has a webhook that is told of a kind: what costs a read to find out is found out only then.
pub fn is_wanted(conn: &mut Conn, organization_id: &str, kind: EventKind) -> Result<bool> {
    Ok(store::list(conn, organization_id)?.iter().any(|webhook| webhook.state == WebhookState::On && webhook.wants(kind)))
}

fn delivery(webhook: &Webhook, event: &Event, now: Timestamp) -> Delivery {
    Delivery {
        id: ids::new("dlv"),
        webhook_id: webhook.id.clone(),
        organization_id: webhook.organization_id.clone(),
        message_id: event.id.clone().unwrap_or_else(|| ids::new("evt")),
        kind: event.kind,
        body: event.body(now),
        state: DeliveryState::Waiting,
        tries: 0,
        due_at: now,
        created_at: now,
        urgency: event.urgency.into(),
    }
}

/// What [`list`] shows.
#[derive(Debug, Clone)]
pub struct Webhooks {
    pub webhooks: Vec<Webhook>,
    /// What the organisation can be told.
    pub kinds: &'static [EventKind],
}

/// The webhooks of the organisation.
pub async fn list(app: &App, actor: &Actor) -> Result<Webhooks> {
    let person = policy::require(actor, Action::ManageWebhooks)?;
    let (id, kinds) = (person.organization_id.clone(), EventKind::of(person.kind));
    let webhooks = app.db.read(move |conn| Ok(store::list(conn, &id)?)).await?;
    Ok(Webhooks { webhooks, kinds })
}

/// Adds a webhook; gives its id and its secret, which is never shown again.
///
/// # Errors
/// On the field `url`: those of [`address::parse`]; on `kinds`: `choose-one`; `too-many-webhooks`.
pub async fn create(app: &App, actor: &Actor, url: &str, kinds: &[&str]) -> Result<(String, String)> {
    let person = policy::require(actor, Action::ManageWebhooks)?.clone();
    let parsed = address::parse(url, &app.settings.webhooks.private_networks);
    let chosen = chosen(person.kind, kinds);
    let mut faults = Faults::default();
    if chosen.is_empty() {
        faults.add("kinds", "choose-one");
    }
    let url = match (parsed, faults.check()) {
        (Ok(url), Ok(())) => url,
        (Err(e), Ok(())) | (Ok(_), Err(e)) => return Err(e),
        (Err(mut e), Err(more)) => {
            e.fields.extend(more.fields);
            return Err(e);
        }
    };
    let secret = new_secret();
    let shown = secret.clone();
    let id = audit::change(app, actor, move |c| {
        // The organisation is held, so that the second of two at once counts the first.
        dialect::hold(c, Row::Organization(&person.organization_id))?;
        if store::list(c, &person.organization_id)?.len() >= MAX_WEBHOOKS {
            return Err(Error::conflict("too-many-webhooks").arg("max", MAX_WEBHOOKS));
        }
        let webhook = Webhook {
            id: ids::new("whk"),
            organization_id: person.organization_id.clone(),
            url: url.as_str().to_owned(),
            kinds: chosen.clone(),
            secret: secret.clone(),
            previous_secret: None,
            previous_until: None,
            state: WebhookState::On,
            failing_since: None,
            lost: 0,
            created_by: person.user_id.clone(),
            created_at: c.now,
            removed_at: None,
        };
        store::insert(c, &webhook)?;
        c.audit("webhook.created", &webhook.id, &json!({"host": url.host_str(), "kinds": webhook.kinds}));
        Ok(webhook.id)
    })
    .await?;
    Ok((id, shown))
}

/// The words that an organisation of a kind can be told, each once, with blanks between.
fn chosen(kind: OrgKind, kinds: &[&str]) -> String {
    let wanted: BTreeSet<EventKind> = kinds.iter().filter_map(|word| word.parse().ok()).collect();
    let offered = EventKind::of(kind).iter().filter(|kind| wanted.contains(kind));
    offered.map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

/// A message with its tries, newest first.
#[derive(Debug, Clone)]
pub struct DeliveryLine {
    pub delivery: Delivery,
    pub attempts: Vec<Attempt>,
}

/// A webhook with a page of its log.
#[derive(Debug, Clone)]
pub struct WebhookDetail {
    pub webhook: Webhook,
    /// Messages that wait.
    pub waiting: i64,
    /// Messages before an id, newest first, one more than a page.
    pub log: Vec<DeliveryLine>,
}

/// One webhook of the organisation.
///
/// # Errors
/// `webhook`: not there, or another's.
pub async fn detail(app: &App, actor: &Actor, id: String, before: Option<String>) -> Result<WebhookDetail> {
    let owner = policy::require(actor, Action::ManageWebhooks)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let webhook = store::get_own(conn, &owner, &id).or_not_found("webhook")?;
            let deliveries = store::deliveries(conn, &webhook.id, before.as_deref(), PAGE + 1)?;
            let ids: Vec<&str> = deliveries.iter().map(|delivery| delivery.id.as_str()).collect();
            let mut attempts: HashMap<String, Vec<Attempt>> = HashMap::new();
            for attempt in store::attempts(conn, &ids, MAX_SHOWN)? {
                attempts.entry(attempt.delivery_id.clone()).or_default().push(attempt);
            }
            let line = |delivery: Delivery| DeliveryLine { attempts: attempts.remove(&delivery.id).unwrap_or_default(), delivery };
            let log = deliveries.into_iter().map(line).collect();
            Ok(WebhookDetail { waiting: store::count_waiting(conn, &webhook.id)?, webhook, log })
        })
        .await
}

/// Gives a webhook a new secret, which is never shown again. The one before signs beside it for a day.
///
/// # Errors
/// `webhook`.
pub async fn renew_secret(app: &App, actor: &Actor, id: &str) -> Result<String> {
    let secret = new_secret();
    let shown = secret.clone();
    change(app, actor, id, move |c, webhook| {
        let until = c.now.plus(BOTH_SECRETS);
        exactly_one(store::set_secret(c, webhook, &secret, until)?, "webhook")?;
        c.audit("webhook.secret-renewed", &webhook.id, &json!({"both_until": until}));
        Ok(())
    })
    .await?;
    Ok(shown)
}

/// Takes a webhook away; what waits is not sent.
///
/// # Errors
/// `webhook`.
pub async fn remove(app: &App, actor: &Actor, id: &str) -> Result<()> {
    change(app, actor, id, |c, webhook| {
        let now = c.now;
        c.uncounted();
        exactly_one(store::remove(c, &webhook.id, now)?, "webhook")?;
        c.audit("webhook.removed", &webhook.id, &json!({"host": address::host(&webhook.url)}));
        Ok(())
    })
    .await
}

/// Switches a webhook on that was switched off.
///
/// # Errors
/// `webhook`.
pub async fn switch_on(app: &App, actor: &Actor, id: &str) -> Result<()> {
    change(app, actor, id, |c, webhook| {
        if store::switch(c, &webhook.id, WebhookState::Off, WebhookState::On)? == 1 {
            c.audit("webhook.switched-on", &webhook.id, &json!({}));
        }
        Ok(())
    })
    .await
}

/// Sends a message that means nothing.
///
/// # Errors
/// `webhook`, `webhook-off`, `webhook-full`.
pub async fn test(app: &App, actor: &Actor, id: &str) -> Result<()> {
    change(app, actor, id, |c, webhook| {
        let now = c.now;
        sendable(c, webhook)?;
        let event = Event::new(EventKind::Test, json!({"webhook": webhook.id}));
        store::insert_delivery(c, &delivery(webhook, &event, now))?;
        c.audit("webhook.tested", &webhook.id, &json!({}));
        Ok(())
    })
    .await
}

/// Sends a message again that was taken or given up, with its id, so that who has it knows it.
///
/// # Errors
/// `webhook`, `webhook-delivery`, `webhook-off`, `webhook-full`.
pub async fn send_again(app: &App, actor: &Actor, id: &str, delivery_id: String) -> Result<()> {
    change(app, actor, id, move |c, webhook| {
        let now = c.now;
        let found = store::own_delivery(c, &webhook.organization_id, &delivery_id).or_not_found("webhook-delivery")?;
        if found.webhook_id != webhook.id {
            return Err(Error::not_found("webhook-delivery"));
        }
        sendable(c, webhook)?;
        if store::again(c, &found.id, now)? == 1 {
            c.audit("webhook.sent-again", &webhook.id, &json!({"message": found.message_id}));
        }
        Ok(())
    })
    .await
}

/// Whether one more message can wait.
fn sendable(conn: &mut Conn, webhook: &Webhook) -> Result<()> {
    if webhook.state != WebhookState::On {
        return Err(Error::conflict("webhook-off"));
    }
    if store::count_waiting(conn, &webhook.id)? >= Urgency::Usual.places() {
        return Err(Error::conflict("webhook-full"));
    }
    Ok(())
}

/// An audited change of a webhook of the actor's organisation.
async fn change<F>(app: &App, actor: &Actor, id: &str, f: F) -> Result<()>
where
    F: Fn(&mut audit::Change<'_>, &Webhook) -> Result<()> + Send + 'static,
{
    let owner = policy::require(actor, Action::ManageWebhooks)?.organization_id.clone();
    let id = id.to_owned();
    audit::change(app, actor, move |c| {
        let webhook = store::get_own(c, &owner, &id).or_not_found("webhook")?;
        f(c, &webhook)
    })
    .await
}

/// Removes messages that are over their age or number, and what is left of webhooks that were taken away; gives how many rows went.
pub async fn prune(app: &App) -> Result<usize> {
    let before = app.clock.now().minus(KEEP);
    let mut removed = 0;
    loop {
        let gone = app.db.write_aside(move |conn| Ok(store::prune(conn, before, BATCH)?)).await?;
        removed += gone;
        if gone == 0 {
            break;
        }
    }
    let mut after = String::new();
    loop {
        let behind = after.clone();
        let ids = app.db.read(move |conn| Ok(store::ids_after(conn, &behind, BATCH)?)).await?;
        let Some(last) = ids.last().cloned() else { break };
        for id in ids {
            loop {
                let of = id.clone();
                let gone = app.db.write_aside(move |conn| Ok(store::prune_over(conn, &of, KEEP_ENDED, KEEP_OFFLINE, BATCH)?)).await?;
                removed += gone;
                if gone == 0 {
                    break;
                }
            }
        }
        after = last;
    }
    loop {
        let gone = app.db.write_aside(move |conn| Ok(store::delete_removed(conn, before, BATCH)?)).await?;
        removed += gone;
        if gone == 0 {
            return Ok(removed);
        }
    }
}
