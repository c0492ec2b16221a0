//! Sends messages that are due: critical alarms first, then other alarms, then the rest; a few of each webhook at a time, webhooks in turn, so
//! that a server that does not answer holds up its own messages only. A try that has ended makes room for the next one at once. A try is
//! begun by a conditional update, so that of several processes one makes it; where a process ends in a try, another one makes the next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::address::{self, NotCalled, Resolver, is_called, literal};
use super::model::{Attempt, Delivery, DeliveryState, TRIES, Urgency, Webhook, WebhookState, pause, signatures};
use super::store;
use crate::base::app::App;
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::base::ids;
use crate::base::networks::Networks;
use crate::base::notify::{Notice, NoticeKind};
use crate::{account, audit};

/// Time between two looks for messages that are due, where no try ends meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Messages under way at once, of one organisation, and of one webhook.
const MOST: usize = 64;
const MOST_OF_ORGANIZATION: usize = 4;
const MOST_OF_ONE: usize = 2;
/// Webhooks of one look at one urgency.
const LOOK: usize = 32;
/// Time for a whole try, and for its connection.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// Time after which a try that has not ended is another process's.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Bytes that are read of an answer, and characters that are kept.
const ANSWER_BYTES: usize = 1024;
const ANSWER_CHARS: usize = 200;
/// Time without a message that came through after which one that is given up switches its webhook off. The tries of one take 22 hours at
/// least.
const SILENT: TimeDelta = TimeDelta::hours(20);
/// Owners who are told that a webhook was switched off.
const TOLD: i64 = 10;

/// What calls: with TLS any address that is called, without it those of named networks only.
#[derive(Debug, Clone)]
pub struct Caller {
    https: Client,
    http: Client,
    private: Networks,
}

impl Caller {
    /// # Errors
    /// Where TLS has no roots.
    pub fn new(private: &Networks) -> anyhow::Result<Self> {
        // Another part of this program may have chosen a provider already; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |tls| {
            Client::builder()
                // A proxy would resolve names by itself, and a redirect lead to where nobody has looked.
                .no_proxy()
                .redirect(Policy::none())
                .dns_resolver(Resolver { tls, private: private.clone() })
                .connect_timeout(CONNECT)
                .timeout(TIMEOUT)
                .pool_max_idle_per_host(0)
                .user_agent(concat!("pithead-webhooks/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Ok(Self { https: client(true)?, http: client(false)?, private: private.clone() })
    }
}

/// How a try has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    status: Option<StatusCode>,
    fault: Option<&'static str>,
    answer: String,
}

impl Outcome {
    fn fault(word: &'static str) -> Self {
        Self { status: None, fault: Some(word), answer: String::new() }
    }

    fn is_taken(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }
}

/// Sends until told to stop.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let caller = match Caller::new(&app.settings.webhooks.private_networks) {
        Ok(caller) => caller,
        Err(e) => {
            tracing::error!(error = %e, "no webhook is called");
            return;
        }
    };
    let mut sender = Sender::default();
    loop {
        sender.ended();
        let begun = sender.begin(&app, &caller).await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "messages of webhooks");
            0
        });
        // Where something was begun there may be more, until all turns are taken.
        let pause = if begun > 0 { Duration::ZERO } else { LOOK_EVERY };
        tokio::select! {
            _ = stop.changed() => return,
            () = sender.one_ended() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The tries under way.
#[derive(Debug, Default)]
pub struct Sender {
    /// Each gives the id of its webhook.
    open: JoinSet<String>,
    /// By webhook: its organisation, and how many.
    of: BTreeMap<String, (String, usize)>,
    /// Webhook whose turn was last, by urgency.
    last: BTreeMap<Urgency, String>,
}

impl Sender {
    /// Makes room for tries after those that have ended.
    pub fn ended(&mut self) {
        while let Some(ended) = self.open.try_join_next() {
            self.leave(ended);
        }
    }

    /// Waits until a try ends, and makes room after it; for ever where none is under way.
    async fn one_ended(&mut self) {
        match self.open.join_next().await {
            Some(ended) => self.leave(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits for all that is under way.
    #[cfg(test)]
    pub async fn end(&mut self) {
        while let Some(ended) = self.open.join_next().await {
            self.leave(ended);
        }
    }

    fn leave(&mut self, ended: std::result::Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(webhook_id) => {
                if let Some((_, n)) = self.of.get_mut(&webhook_id) {
                    *n -= 1;
                    if *n == 0 {
                        self.of.remove(&webhook_id);
                    }
                }
            }
            Err(e) => tracing::error!(error = %e, "a try of a webhook"),
        }
        // Whose a try was that panicked is not known: count anew once all have ended.
        if self.open.is_empty() {
            self.of.clear();
        }
    }

    /// How many tries may be begun now of a webhook.
    fn room(&self, webhook_id: &str, organization_id: &str) -> usize {
        let of_one = self.of.get(webhook_id).map_or(0, |(_, n)| *n);
        let of_organization: usize = self.of.values().filter(|(owner, _)| owner == organization_id).map(|(_, n)| n).sum();
        MOST_OF_ONE.saturating_sub(of_one).min(MOST_OF_ORGANIZATION.saturating_sub(of_organization))
    }

    /// Begins the tries that are due now, as far as there is room; gives how many.
    pub async fn begin(&mut self, app: &App, caller: &Caller) -> Result<usize> {
        let mut begun = 0;
        for urgency in Urgency::ALL {
            begun += self.begin_of(app, caller, urgency).await?;
        }
        Ok(begun)
    }

    async fn begin_of(&mut self, app: &App, caller: &Caller, urgency: Urgency) -> Result<usize> {
        if self.open.len() >= MOST {
            return Ok(0);
        }
        let (now, last) = (app.clock.now(), self.last.get(&urgency).cloned().unwrap_or_default());
        let look = move |conn: &mut Conn| {
            let mut due = store::webhooks_due(conn, urgency, &last, now, LOOK)?;
            if due.behind.is_none() && !last.is_empty() {
                let first = store::webhooks_due(conn, urgency, "", now, LOOK.saturating_sub(due.webhooks.len()))?;
                due.webhooks.extend(first.webhooks.into_iter().filter(|(id, _)| *id <= last));
                due.behind = first.behind;
            }
            Ok(due)
        };
        let due = app.db.read(look).await?;
        if let Some(behind) = due.behind.filter(|_| due.webhooks.len() < LOOK) {
            self.last.insert(urgency, behind);
        }
        let mut begun = 0;
        for (webhook_id, organization_id) in due.webhooks {
            let left = MOST.saturating_sub(self.open.len());
            if left == 0 {
                break;
            }
            // Also of those that have no room: the next look goes on behind them.
            self.last.insert(urgency, webhook_id.clone());
            let room = self.room(&webhook_id, &organization_id).min(left);
            if room == 0 {
                continue;
            }
            let of = webhook_id.clone();
            let limit = i64::try_from(room).unwrap_or(1);
            let claimed = app.db.write_aside(move |conn| {
                let mut claimed = Vec::new();
                for (delivery, webhook) in store::due(conn, urgency, &of, now, limit)? {
                    if store::begin(conn, &delivery, now.plus(LEASE))? == 1 {
                        claimed.push((delivery, webhook));
                    }
                }
                Ok(claimed)
            });
            for (delivery, webhook) in claimed.await? {
                begun += 1;
                self.of.entry(webhook_id.clone()).or_insert_with(|| (organization_id.clone(), 0)).1 += 1;
                let (app, caller, webhook_id) = (app.clone(), caller.clone(), webhook_id.clone());
                self.open.spawn(async move {
                    if let Err(e) = attempt(&app, &caller, delivery, webhook).await {
                        tracing::error!(error = %e, "noting a try of a webhook");
                    }
                    webhook_id
                });
            }
        }
        Ok(begun)
    }
}

/// Sends everything that is due at this time, and waits for it; gives how many tries were made. For tests.
#[cfg(test)]
pub async fn drain(app: &App) -> Result<usize> {
    let caller = Caller::new(&app.settings.webhooks.private_networks).map_err(crate::base::error::Error::internal)?;
    let (mut sender, mut made) = (Sender::default(), 0);
    loop {
        let begun = sender.begin(app, &caller).await?;
        sender.end().await;
        if begun == 0 {
            return Ok(made);
        }
        made += begun;
    }
}

/// One try, and what comes of it.
async fn attempt(app: &App, caller: &Caller, delivery: Delivery, webhook: Webhook) -> Result<()> {
    let (at, began) = (app.clock.now(), Instant::now());
    if webhook.state != WebhookState::On {
        // It was told at the moment at which it was switched off.
        return app.db.write_aside(move |conn| Ok(store::settle(conn, &delivery.id, DeliveryState::GivenUp, at).map(|_| ())?)).await;
    }
    let outcome = post(caller, &delivery, &webhook, at).await;
    let millis = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    settle(app, delivery, at, millis, outcome).await
}

async fn post(caller: &Caller, delivery: &Delivery, webhook: &Webhook, at: Timestamp) -> Outcome {
    let Ok(url) = Url::parse(&webhook.url) else { return Outcome::fault("address") };
    let tls = url.scheme() == "https";
    // A number is not resolved, so the resolver does not see it.
    if literal(&url).is_some_and(|address| !is_called(address, tls, &caller.private)) {
        return Outcome::fault("address");
    }
    let (timestamp, secrets) = (at.unix(), webhook.secrets(at));
    let request = if tls { &caller.https } else { &caller.http }
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", &delivery.message_id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signatures(&secrets, &delivery.message_id, timestamp, &delivery.body))
        .body(delivery.body.clone());
    match request.send().await {
        Ok(mut response) => {
            let mut bytes = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                bytes.extend(chunk.iter().take(ANSWER_BYTES - bytes.len()));
                if bytes.len() == ANSWER_BYTES {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            let answer = text.chars().filter(|c| !c.is_control()).take(ANSWER_CHARS).collect();
            Outcome { status: Some(response.status()), fault: None, answer }
        }
        Err(e) => Outcome::fault(word(&e)),
    }
}

/// What went wrong before there was an answer.
fn word(e: &reqwest::Error) -> &'static str {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(cause) = source {
        if cause.is::<NotCalled>() {
            return "address";
        }
        source = cause.source();
    }
    if e.is_timeout() {
        "timeout"
    } else if e.is_connect() {
        "connect"
    } else {
        "broken"
    }
}

/// Writes down how a try has ended, and what follows.
async fn settle(app: &App, delivery: Delivery, at: Timestamp, millis: i64, outcome: Outcome) -> Result<()> {
    let chance = f64::from(u32::from_le_bytes(ids::random::<4>())) / f64::from(u32::MAX);
    let tries = delivery.tries + 1;
    let now = app.clock.now();
    let attempt = Attempt {
        id: ids::new("att"),
        delivery_id: delivery.id.clone(),
        at,
        millis,
        status: outcome.status.map(|status| status.as_u16().into()),
        fault: outcome.fault.map(ToOwned::to_owned),
        answer: outcome.answer.clone(),
    };
    // The server says that nobody is there any more (Standard Webhooks 1.0, "Operational considerations").
    let gone = outcome.status == Some(StatusCode::GONE);
    let webhook_id = delivery.webhook_id.clone();
    let is_given_up = app.db.write_aside(move |conn| {
        store::insert_attempt(conn, &attempt)?;
        if outcome.is_taken() {
            store::set_failing(conn, &delivery.webhook_id, None)?;
            store::settle(conn, &delivery.id, DeliveryState::Delivered, now)?;
            return Ok(false);
        }
        store::set_failing(conn, &delivery.webhook_id, Some(at))?;
        if let Some(pause) = pause(tries, chance).filter(|_| !gone && tries < TRIES) {
            store::settle(conn, &delivery.id, DeliveryState::Waiting, now.plus(pause))?;
            return Ok(false);
        }
        store::settle(conn, &delivery.id, DeliveryState::GivenUp, now)?;
        Ok(true)
    });
    if is_given_up.await? {
        // Where this process ends before, the next message that is given up does it.
        audit::change(app, &Actor::System, move |c| switch_off(c, &webhook_id, gone)).await?;
    }
    Ok(())
}

/// Switches a webhook off through which nothing comes any more, and tells the owners. One message that its server does not like is no reason.
fn switch_off(c: &mut audit::Change<'_>, webhook_id: &str, gone: bool) -> Result<()> {
    let webhook = store::get(c, webhook_id)?;
    let silent = webhook.failing_since.is_some_and(|since| since <= c.now.minus(SILENT));
    if !(silent || gone) || store::switch(c, webhook_id, WebhookState::On, WebhookState::Off)? == 0 {
        return Ok(());
    }
    store::give_up_all(c, webhook_id)?;
    let host = address::host(&webhook.url);
    c.audit_for(&webhook.organization_id, "webhook.switched-off", webhook_id, &json!({"host": host, "gone": gone}));
    let console = if account::service::get_organization(c, &webhook.organization_id)?.kind == OrgKind::Vendor { "vendor" } else { "mine" };
    for (user_id, email) in store::owners(c, &webhook.organization_id, TOLD)? {
        let notice = Notice::new(NoticeKind::WebhookOff, Lang::Zh, &user_id, &email).arg("host", &host);
        c.enqueue(&notice.link(format!("/{console}/webhooks/{webhook_id}")).job())?;
    }
    Ok(())
}
