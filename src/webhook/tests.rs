//! Webhooks against a real receiver on this machine, on both databases.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::model::{BOTH_SECRETS, DeliveryState, Event, EventKind, TRIES, Urgency, WebhookState, signatures};
use super::send::{self, Caller, Sender, drain};
use super::service::{self, create, detail, list, prune, remove, renew_secret, send_again, switch_on, tell};
use super::store;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::config::Settings;
use crate::catalog::model::PlanKind;
use crate::license::model::LicenseDecision;
use crate::moderation::model::ModerationDecision;
use crate::testing::shop::{self, shop};
use crate::testing::{self, each_backend, each_backend_racing, each_backend_with, race};
use crate::trade::model::PlaceOrder;
use crate::{fleet, license, moderation, notice, stops, telemetry, trade};

/// A request as it came in.
#[derive(Debug, Clone)]
struct Taken {
    headers: BTreeMap<String, String>,
    body: String,
}

/// An HTTP server that takes requests down and answers each alike.
struct Receiver {
    url: String,
    taken: Arc<Mutex<Vec<Taken>>>,
    answer: Arc<Mutex<String>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/hook", listener.local_addr().unwrap().port());
        let own = Self { url, taken: Arc::default(), answer: Arc::new(Mutex::new("204 No Content\r\n\r\n".into())) };
        let (taken, answer) = (own.taken.clone(), own.answer.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (taken, answer) = (taken.clone(), answer.clone());
                tokio::spawn(async move {
                    let (mut bytes, mut piece) = (Vec::new(), [0u8; 4096]);
                    let request = loop {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        if let Some((head, body)) = text.split_once("\r\n\r\n") {
                            let headers: BTreeMap<String, String> = head
                                .lines()
                                .skip(1)
                                .filter_map(|line| line.split_once(": "))
                                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                                .collect();
                            if body.len() == headers["content-length"].parse::<usize>().unwrap() {
                                break Taken { headers, body: body.to_owned() };
                            }
                        }
                        let n = stream.read(&mut piece).await.unwrap();
                        bytes.extend_from_slice(&piece[..n]);
                    };
                    taken.lock().unwrap().push(request);
                    let answer = format!("HTTP/1.1 {}", answer.lock().unwrap());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        own
    }

    fn answers(&self, with: &str) {
        *self.answer.lock().unwrap() = format!("{with}\r\nconnection: close\r\n\r\n");
    }

    fn take(&self) -> Vec<Taken> {
        std::mem::take(&mut self.taken.lock().unwrap())
    }
}

fn local(settings: &mut Settings) {
    settings.webhooks.private_networks = toml::Value::String("127.0.0.0/8, ::1".into()).try_into().unwrap();
}

async fn told(app: &App, actor: &Actor, kind: EventKind, data: Value) {
    happened(app, actor, Event::new(kind, data)).await;
}

async fn happened(app: &App, actor: &Actor, event: Event) {
    let (owner, now) = (actor.organization_id().unwrap().to_owned(), app.clock.now());
    app.db.write(move |conn| tell(conn, &owner, &event, now)).await.unwrap();
}

async fn hook(app: &App, actor: &Actor, url: &str, kinds: &[&str]) -> (String, String) {
    create(app, actor, url, kinds).await.unwrap()
}

#[tokio::test]
async fn what_happens_is_told_signed_and_once() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        let (id, secret) = hook(&app, &mine, &receiver.url, &["node.online", "release.published", "nonsense"]).await;
        assert_eq!(list(&app, &mine).await.unwrap().webhooks[0].kinds, "node.online", "only what a mine can be told");
        told(&app, &mine, EventKind::NodeOnline, json!({"node": "nod_1"})).await;
        told(&app, &mine, EventKind::NodeOffline, json!({"node": "nod_1"})).await;
        assert!(receiver.take().is_empty(), "nothing is sent in the transaction");
        assert_eq!((drain(&app).await.unwrap(), drain(&app).await.unwrap()), (1, 0));
        let taken = receiver.take();
        let Taken { headers, body } = &taken[0];
        let message: Value = serde_json::from_str(body).unwrap();
        assert_eq!(message, json!({"type": "node.online", "timestamp": app.clock.now(), "data": {"node": "nod_1"}}));
        let (message_id, timestamp) = (&headers["webhook-id"], app.clock.now().unix());
        assert_eq!((headers["content-type"].as_str(), headers["webhook-timestamp"].clone()), ("application/json", timestamp.to_string()));
        assert_eq!(headers["webhook-signature"], signatures(&[&secret], message_id, timestamp, body));
        let found = detail(&app, &mine, id, None).await.unwrap();
        let line = &found.log[0];
        assert_eq!((found.log.len(), line.delivery.state, &line.delivery.message_id), (1, DeliveryState::Delivered, message_id));
        assert_eq!((line.attempts.len(), line.attempts[0].status), (1, Some(204)));
    })
    .await;
}

#[tokio::test]
async fn what_does_not_come_through_is_tried_again_and_at_last_given_up() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        let (id, _) = hook(&app, &mine, &receiver.url, &["node.online"]).await;
        receiver.answers(&format!("503 Busy\r\ncontent-length: 3000\r\n\r\n{}", "x\u{7}".repeat(1500)));
        told(&app, &mine, EventKind::NodeOnline, json!({})).await;
        for n in 1..=TRIES {
            assert_eq!(drain(&app).await.unwrap(), 1, "try {n}");
            assert_eq!(drain(&app).await.unwrap(), 0, "the next one is not due");
            app.clock.advance(TimeDelta::hours(13));
        }
        assert_eq!(drain(&app).await.unwrap(), 0);
        let ids: std::collections::BTreeSet<String> =
            receiver.take().into_iter().map(|taken| taken.headers["webhook-id"].clone()).collect();
        assert_eq!(ids.len(), 1, "each try has the id of its message");
        let found = detail(&app, &mine, id.clone(), None).await.unwrap();
        assert_eq!((found.webhook.state, found.log[0].delivery.state), (WebhookState::Off, DeliveryState::GivenUp));
        assert_eq!(found.log[0].attempts.len(), 8);
        let kept = &found.log[0].attempts[0];
        assert_eq!(
            (kept.status, kept.answer.as_str()),
            (Some(503), &*"x".repeat(200)),
            "the begin of the answer, without control characters"
        );
        // The owner is told, and nothing more is put into the queue.
        testing::drain_jobs(&app).await;
        let inbox = notice::service::inbox(&app, &mine, None).await.unwrap();
        assert!(inbox.iter().any(|message| message.body.contains(&format!("/mine/webhooks/{id}"))), "{inbox:?}");
        told(&app, &mine, EventKind::NodeOnline, json!({})).await;
        assert_eq!(service::test(&app, &mine, &id).await.unwrap_err().code, "webhook-off");
        assert_eq!(send_again(&app, &mine, &id, found.log[0].delivery.id.clone()).await.unwrap_err().code, "webhook-off");
        switch_on(&app, &mine, &id).await.unwrap();
        receiver.answers("200 OK");
        send_again(&app, &mine, &id, found.log[0].delivery.id.clone()).await.unwrap();
        service::test(&app, &mine, &id).await.unwrap();
        assert_eq!(drain(&app).await.unwrap(), 2);
        let taken = receiver.take();
        assert!(taken.iter().any(|taken| ids.contains(&taken.headers["webhook-id"])), "the same message");
        assert!(taken.iter().any(|taken| taken.body.contains("\"webhook.test\"")));
        assert_eq!(detail(&app, &mine, id, None).await.unwrap().log.len(), 2);
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn one_message_that_its_server_does_not_like_switches_nothing_off() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        let (id, _) = hook(&app, &mine, &receiver.url, &["node.online"]).await;
        told(&app, &mine, EventKind::NodeOnline, json!({"bad": true})).await;
        for _ in 1..=TRIES {
            receiver.answers("400 Bad Request");
            drain(&app).await.unwrap();
            receiver.answers("200 OK");
            service::test(&app, &mine, &id).await.unwrap();
            drain(&app).await.unwrap();
            app.clock.advance(TimeDelta::hours(13));
        }
        let found = detail(&app, &mine, id.clone(), None).await.unwrap();
        assert_eq!(found.webhook.state, WebhookState::On);
        assert!(found.log.iter().any(|line| line.delivery.state == DeliveryState::GivenUp));
        // A server that says that nobody is there any more is believed at once.
        receiver.answers("410 Gone");
        service::test(&app, &mine, &id).await.unwrap();
        drain(&app).await.unwrap();
        assert_eq!(detail(&app, &mine, id, None).await.unwrap().webhook.state, WebhookState::Off);
    })
    .await;
}

#[tokio::test]
async fn no_private_address_is_called_and_no_redirect_followed() {
    each_backend(|app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        let port = receiver.url.rsplit(':').next().unwrap().to_owned();
        let refused = create(&app, &mine, &receiver.url, &["node.online"]).await.unwrap_err();
        assert_eq!(refused.fields[0].code, "webhook-url", "no TLS");
        let refused = create(&app, &mine, &format!("https://127.0.0.1:{port}"), &[]).await.unwrap_err();
        assert_eq!(refused.fields.iter().map(|f| f.code).collect::<Vec<_>>(), ["webhook-address-private", "choose-one"]);
        // What a name stands for shows when it is called: it may have stood for something else before.
        let (id, _) = hook(&app, &mine, &format!("https://localhost:{port}"), &["node.online"]).await;
        told(&app, &mine, EventKind::NodeOnline, json!({})).await;
        drain(&app).await.unwrap();
        let found = detail(&app, &mine, id, None).await.unwrap();
        assert_eq!(found.log[0].attempts[0].fault.as_deref(), Some("address"), "{found:?}");
        assert!(receiver.take().is_empty());
    })
    .await;
    each_backend_with(local, |app| async move {
        let (mine, receiver, other) = (testing::operator(&app, "mine").await, Receiver::start().await, Receiver::start().await);
        let (id, _) = hook(&app, &mine, &receiver.url, &["node.online"]).await;
        receiver.answers(&format!("307 Temporary Redirect\r\nlocation: {}", other.url));
        told(&app, &mine, EventKind::NodeOnline, json!({})).await;
        drain(&app).await.unwrap();
        let found = detail(&app, &mine, id, None).await.unwrap();
        assert_eq!((found.log[0].attempts[0].status, found.log[0].delivery.state), (Some(307), DeliveryState::Waiting));
        assert!(other.take().is_empty() && receiver.take().len() == 1);
    })
    .await;
}

#[tokio::test]
async fn two_secrets_sign_for_a_day_after_a_change() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        let (id, first) = hook(&app, &mine, &receiver.url, &["node.online"]).await;
        let second = renew_secret(&app, &mine, &id).await.unwrap();
        assert_ne!(first, second);
        let signed = async |secrets: &[&str]| {
            service::test(&app, &mine, &id).await.unwrap();
            drain(&app).await.unwrap();
            let taken = receiver.take().remove(0);
            let expected = signatures(secrets, &taken.headers["webhook-id"], app.clock.now().unix(), &taken.body);
            assert_eq!(taken.headers["webhook-signature"], expected);
        };
        signed(&[&second, &first]).await;
        app.clock.advance(BOTH_SECRETS);
        signed(&[&second]).await;
    })
    .await;
}

#[tokio::test]
async fn organisations_take_turns_and_alarms_go_first() {
    each_backend_with(local, |app| async move {
        let receiver = Receiver::start().await;
        let (loud, quiet) = (testing::operator(&app, "loud").await, testing::operator(&app, "quiet").await);
        for who in [&loud, &quiet] {
            hook(&app, who, &receiver.url, &["node.online", "alarm.raised"]).await;
        }
        for n in 0..20 {
            told(&app, &loud, EventKind::NodeOnline, json!({"n": n})).await;
        }
        app.clock.advance(TimeDelta::seconds(1));
        told(&app, &loud, EventKind::AlarmRaised, json!({})).await;
        told(&app, &quiet, EventKind::NodeOnline, json!({"quiet": true})).await;
        let caller = Caller::new(&app.settings.webhooks.private_networks).unwrap();
        let mut sender = Sender::default();
        assert_eq!(sender.begin(&app, &caller).await.unwrap(), 3, "two of one organisation, and the other's");
        assert_eq!(sender.begin(&app, &caller).await.unwrap(), 0, "none of who has two under way");
        sender.end().await;
        let bodies: Vec<String> = receiver.take().into_iter().map(|taken| taken.body).collect();
        assert!(bodies.iter().any(|body| body.contains("alarm.raised")) && bodies.iter().any(|body| body.contains("quiet")), "{bodies:?}");
        assert_eq!(drain(&app).await.unwrap(), 19);
    })
    .await;
}

/// A receiver that answers at once is sent the next message at once, not at the next look.
#[tokio::test]
async fn a_receiver_that_answers_is_not_kept_waiting() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        hook(&app, &mine, &receiver.url, &["alarm.raised"]).await;
        for n in 0..40 {
            told(&app, &mine, EventKind::AlarmRaised, json!({"n": n})).await;
        }
        let (stop, stopped) = watch::channel(false);
        let sending = tokio::spawn(send::run(app.clone(), stopped));
        let (begin, mut taken) = (Instant::now(), 0);
        while taken < 40 {
            assert!(begin.elapsed() < Duration::from_secs(5), "{taken}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            taken += receiver.take().len();
        }
        stop.send(true).unwrap();
        sending.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn critical_alarms_go_first_among_all_webhooks_of_an_organisation() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        for _ in 0..2 {
            hook(&app, &mine, &receiver.url, &["node.online"]).await;
        }
        hook(&app, &mine, &receiver.url, &["node.online", "alarm.raised"]).await;
        for n in 0..3 {
            told(&app, &mine, EventKind::NodeOnline, json!({"n": n})).await;
            told(&app, &mine, EventKind::AlarmRaised, json!({"n": n})).await;
        }
        app.clock.advance(TimeDelta::seconds(1));
        happened(&app, &mine, Event::new(EventKind::AlarmRaised, json!({"critical": true})).critical()).await;
        let caller = Caller::new(&app.settings.webhooks.private_networks).unwrap();
        let mut sender = Sender::default();
        assert_eq!(sender.begin(&app, &caller).await.unwrap(), 4);
        sender.end().await;
        let bodies: Vec<String> = receiver.take().into_iter().map(|taken| taken.body).collect();
        let of = |word: &str| bodies.iter().filter(|body| body.contains(word)).count();
        assert_eq!((of("critical"), of("alarm.raised"), of("node.online")), (1, 2, 2), "{bodies:?}");
    })
    .await;
}

/// Each as a process of its own, which has read that the message is due.
#[tokio::test]
async fn of_many_senders_of_one_message_one_begins() {
    each_backend_racing(|app| async move {
        let mine = testing::operator(&app, "mine").await;
        let (id, _) = hook(&app, &mine, "https://example.com/", &["node.online"]).await;
        told(&app, &mine, EventKind::NodeOnline, json!({})).await;
        let now = app.clock.now();
        let due = app.db.read(move |conn| Ok(store::due(conn, Urgency::Usual, &id, now, 2)?)).await.unwrap();
        assert_eq!(due.len(), 1);
        let begun = race(|_| {
            let (app, found, until) = (app.clone(), due[0].0.clone(), now.plus(TimeDelta::seconds(60)));
            async move { app.db.write_aside(move |conn| Ok(store::begin(conn, &found, until)?)).await.unwrap_or(0) }
        });
        assert_eq!(begun.await.into_iter().sum::<usize>(), 1);
    })
    .await;
}

/// One of an organisation's receivers does not answer: the other one hears of alarms all the same.
#[tokio::test]
async fn a_receiver_that_hangs_holds_up_no_other_of_its_organisation() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for url in [&format!("http://{}/", deaf.local_addr().unwrap()), &receiver.url] {
            hook(&app, &mine, url, &["alarm.raised"]).await;
        }
        for n in 0..4 {
            told(&app, &mine, EventKind::AlarmRaised, json!({"n": n})).await;
        }
        let caller = Caller::new(&app.settings.webhooks.private_networks).unwrap();
        let (mut sender, mut begun, mut taken) = (Sender::default(), 0, 0);
        let heard = async {
            while taken < 4 {
                begun += sender.begin(&app, &caller).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                sender.ended();
                taken += receiver.take().len();
            }
        };
        tokio::time::timeout(Duration::from_secs(8), heard).await.unwrap();
        assert_eq!(begun, 6, "two of the deaf one are under way");
    })
    .await;
}

#[tokio::test]
async fn a_message_whose_sender_died_is_sent_by_another() {
    each_backend_with(local, |app| async move {
        let (mine, receiver) = (testing::operator(&app, "mine").await, Receiver::start().await);
        hook(&app, &mine, &receiver.url, &["node.online"]).await;
        told(&app, &mine, EventKind::NodeOnline, json!({})).await;
        let caller = Caller::new(&app.settings.webhooks.private_networks).unwrap();
        let mut dying = Sender::default();
        assert_eq!(dying.begin(&app, &caller).await.unwrap(), 1);
        drop(dying);
        assert_eq!(drain(&app).await.unwrap(), 0, "it may be under way");
        app.clock.advance(TimeDelta::seconds(61));
        drain(&app).await.unwrap();
        assert!(!receiver.take().is_empty());
    })
    .await;
}

#[tokio::test]
async fn so_many_wait_and_the_last_places_are_for_alarms() {
    each_backend(|app| async move {
        let mine = testing::operator(&app, "mine").await;
        let (id, _) = hook(&app, &mine, "https://example.com/", &["node.online", "node.offline", "alarm.raised"]).await;
        let (owner, now) = (mine.organization_id().unwrap().to_owned(), app.clock.now());
        let many = |kind, n: usize| {
            let (owner, events) = (owner.clone(), vec![Event::new(kind, json!({})); n]);
            app.db.write(move |conn| service::tell_all(conn, &owner, &events, now))
        };
        many(EventKind::NodeOffline, 3).await.unwrap();
        many(EventKind::NodeOnline, 8_000).await.unwrap();
        let found = detail(&app, &mine, id.clone(), None).await.unwrap();
        assert_eq!((found.waiting, found.webhook.lost), (8_000, 3));
        assert_eq!(service::test(&app, &mine, &id).await.unwrap_err().code, "webhook-full");
        many(EventKind::AlarmRaised, 2_001).await.unwrap();
        let found = detail(&app, &mine, id.clone(), None).await.unwrap();
        assert_eq!((found.waiting, found.webhook.lost), (10_000, 4));
        happened(&app, &mine, Event::new(EventKind::AlarmRaised, json!({})).critical()).await;
        let found = detail(&app, &mine, id.clone(), None).await.unwrap();
        assert_eq!((found.waiting, found.webhook.lost), (10_001, 4), "a critical one has places of its own");
        // What is taken away waits no more, and goes when it is old.
        remove(&app, &mine, &id).await.unwrap();
        assert_eq!(detail(&app, &mine, id, None).await.unwrap_err().code, "webhook");
        assert_eq!(prune(&app).await.unwrap(), 4_998, "so many are kept of one, and of which nodes it was told");
        app.clock.advance(TimeDelta::days(8));
        assert_eq!(prune(&app).await.unwrap(), 5_004);
    })
    .await;
}

/// A node that comes and goes fills no table.
#[tokio::test]
async fn messages_of_silent_nodes_are_bounded_too() {
    each_backend(|app| async move {
        let mine = testing::operator(&app, "mine").await;
        let (id, _) = hook(&app, &mine, "https://example.com/", &["node.online", "node.offline"]).await;
        for n in 0..5 {
            let offline = Event::new(EventKind::NodeOffline, json!({}));
            happened(&app, &mine, Event { id: Some(format!("evt_off_{n}")), ..offline.clone() }).await;
            happened(&app, &mine, Event { id: Some(format!("evt_off_{n}")), ..offline }).await;
            told(&app, &mine, EventKind::NodeOnline, json!({})).await;
        }
        assert_eq!(waiting(&app, &mine, &id).await.len(), 10, "each is told of once");
        let of = id.clone();
        let pruned = app.db.write(move |conn| {
            assert_eq!(store::prune_over(conn, &of, 0, 0, 500)?, 0, "what waits stays");
            store::give_up_all(conn, &of)?;
            Ok((store::prune_over(conn, &of, 1, 2, 500)?, store::prune_over(conn, &of, 1, 2, 500)?))
        });
        assert_eq!(pruned.await.unwrap(), (4 + 3, 0));
        assert_eq!(waiting(&app, &mine, &id).await, ["node.offline", "node.offline", "node.online"]);
    })
    .await;
}

#[tokio::test]
async fn webhooks_are_their_owners_alone_and_few() {
    each_backend(|app| async move {
        let (mine, other) = (testing::operator(&app, "mine").await, testing::operator(&app, "other").await);
        let member = testing::member(&app, mine.organization_id().unwrap(), Role::Deployer, "d@mine.example").await;
        let (id, _) = hook(&app, &mine, "https://example.com/", &["node.online"]).await;
        assert_eq!(list(&app, &member).await.unwrap_err().code, "not-permitted");
        assert_eq!(create(&app, &member, "https://example.com/", &["node.online"]).await.unwrap_err().code, "not-permitted");
        assert!(list(&app, &other).await.unwrap().webhooks.is_empty());
        assert_eq!(detail(&app, &other, id.clone(), None).await.unwrap_err().code, "webhook");
        assert_eq!(renew_secret(&app, &other, &id).await.unwrap_err().code, "webhook");
        assert_eq!(remove(&app, &other, &id).await.unwrap_err().code, "webhook");
        assert_eq!(service::test(&app, &other, &id).await.unwrap_err().code, "webhook");
        assert_eq!(switch_on(&app, &other, &id).await.unwrap_err().code, "webhook");
        service::test(&app, &mine, &id).await.unwrap();
        let message = detail(&app, &mine, id.clone(), None).await.unwrap().log[0].delivery.id.clone();
        let (theirs, _) = hook(&app, &other, "https://example.com/", &["node.online"]).await;
        assert_eq!(send_again(&app, &other, &theirs, message).await.unwrap_err().code, "webhook-delivery");
        for _ in 1..10 {
            hook(&app, &mine, "https://example.com/", &["node.online"]).await;
        }
        let refused = create(&app, &mine, "https://example.com/", &["node.online"]).await.unwrap_err();
        assert_eq!(refused.code, "too-many-webhooks");
    })
    .await;
}

/// Words of what waits for a webhook, in the order in which it was told.
async fn waiting(app: &App, actor: &Actor, id: &str) -> Vec<&'static str> {
    let mut log = detail(app, actor, id.to_owned(), None).await.unwrap().log;
    log.reverse();
    log.iter().map(|line| line.delivery.kind.as_str()).collect()
}

#[tokio::test]
async fn every_slice_tells_what_happens() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let all: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let (at_vendor, _) = hook(&app, &shop.vendor, "https://example.com/", &all).await;
        let (at_mine, _) = hook(&app, &shop.operator, "https://example.com/", &all).await;

        let license = shop::license(&app, &shop, PlanKind::Subscription, 2).await;
        let bought = ["order.placed", "order.paid", "license.issued", "order.fulfilled"];
        let sold: Vec<&str> = bought.iter().copied().filter(|kind| *kind != "license.issued").collect();
        assert_eq!((waiting(&app, &shop.operator, &at_mine).await, waiting(&app, &shop.vendor, &at_vendor).await), (bought.to_vec(), sold));
        let input = PlaceOrder { plan_id: shop.listing.plans[&PlanKind::Perpetual].clone(), nodes: 1 };
        let order = trade::service::place(&app, &shop.operator, input).await.unwrap();
        trade::cancel::by_buyer(&app, &shop.operator, &order).await.unwrap();
        assert_eq!(waiting(&app, &shop.vendor, &at_vendor).await[3..], ["order.placed", "order.cancelled"]);

        // Licences.
        license::tell::tell_ending(&app).await.unwrap();
        let seen = waiting(&app, &shop.operator, &at_mine).await.len();
        app.clock.advance(license.ends_at.unwrap().utc() - app.clock.now().utc() - TimeDelta::days(29));
        for _ in 0..2 {
            license::tell::tell_ending(&app).await.unwrap();
        }
        assert_eq!(waiting(&app, &shop.operator, &at_mine).await[seen..], ["license.ending"], "once");
        let administrator = testing::platform(&app, Role::Administrator).await;
        license::service::decide(&app, &administrator, license.id.clone(), LicenseDecision::Suspend, "not paid").await.unwrap();
        license::service::decide(&app, &administrator, license.id.clone(), LicenseDecision::Reinstate, "paid").await.unwrap();
        assert_eq!(waiting(&app, &shop.operator, &at_mine).await[seen + 1..], ["license.changed", "license.changed"]);

        // Nodes: the first call, silence, once for all who look; the next call.
        let seen = waiting(&app, &shop.operator, &at_mine).await.len();
        let node = testing::node(&app, &shop.operator).await;
        let Actor::Node { node_id, .. } = node.clone() else { panic!("no node") };
        let call = async || {
            let (id, now) = (node_id.clone(), app.clock.now());
            assert_eq!(app.db.write(move |conn| fleet::service::note_call(conn, &id, now)).await.unwrap(), 1);
        };
        call().await;
        let begin = app.clock.now();
        app.clock.advance(TimeDelta::seconds(15));
        call().await;
        app.clock.advance(TimeDelta::seconds(60));
        for _ in 0..2 {
            fleet::silence::look(&app, begin).await.unwrap();
        }
        call().await;
        // Silent while no server runs: told once it has run for a while, by one of all that begin; but not whoever came after it fell silent.
        app.clock.advance(TimeDelta::days(1));
        let (late, _) = service::create(&app, &shop.operator, "https://late.example/hook", &["node.offline"]).await.unwrap();
        for _ in 0..2 {
            fleet::silence::look_back(&app, app.clock.now()).await.unwrap();
        }
        assert!(waiting(&app, &shop.operator, &late).await.is_empty());
        service::remove(&app, &shop.operator, &late).await.unwrap();
        let nodes = waiting(&app, &shop.operator, &at_mine).await.split_off(seen);
        assert_eq!(nodes, ["node.online", "node.offline", "node.online", "node.offline"]);

        // Deployments.
        let seen = seen + nodes.len();
        let input = fleet::service::DeployInput {
            release_id: shop.listing.release_id.clone(),
            license_id: license.id.clone(),
            node_ids: vec![node_id.clone()],
            parameters: serde_json::Map::new(),
        };
        let deployments = fleet::service::deploy(&app, &shop.operator, input).await.unwrap();
        let report = json!({"reports": [{
            "sequence": 1, "at": app.clock.now().utc(), "kind": "alarm", "deployment_id": deployments[0], "digest": shop.listing.digest,
            "rule": "bolt", "level": "critical", "text": {"zh": "锚杆", "en": "bolt"}, "result": {"detections": [{"label": "bolt"}]},
        }]});
        telemetry::taking::take(&app, &node, serde_json::from_str(&report.to_string()).unwrap()).await.unwrap();
        // With its report the node is back.
        assert_eq!(waiting(&app, &shop.operator, &at_mine).await[seen..], ["deployment.changed", "node.online", "alarm.raised"]);
        let log = detail(&app, &shop.operator, at_mine.clone(), None).await.unwrap().log;
        assert_eq!(log[0].delivery.urgency, i64::from(Urgency::Critical));

        // Releases.
        let seen = waiting(&app, &shop.vendor, &at_vendor).await.len();
        shop::publish(&app, &shop, "1.1.0").await;
        let refused = shop::draft(&app, &shop, "1.2.0").await;
        let case = shop::open_case_of(&app, &refused).await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        moderation::service::decide(&app, &moderator, &case, ModerationDecision::Reject, "misses stones").await.unwrap();
        stops::service::act(&app, &moderator, stops::model::Stop::RecallRelease, &shop.listing.release_id, "misses stones").await.unwrap();
        assert_eq!(waiting(&app, &shop.vendor, &at_vendor).await[seen..], ["release.published", "release.refused", "release.recalled"]);
        let seen = waiting(&app, &shop.operator, &at_mine).await.len();
        testing::drain_jobs(&app).await;
        fleet::service::remove_deployment(&app, &shop.operator, &deployments[0]).await.unwrap();
        assert_eq!(waiting(&app, &shop.operator, &at_mine).await[seen..], ["release.recalled", "deployment.changed"]);
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn the_pages_show_a_secret_once_and_every_step() {
    each_backend(|app| async move {
        let (mine, vendor) = (testing::operator(&app, "mine").await, testing::vendor(&app, "acme").await);
        let base = "/mine/webhooks";
        let (status, body) = testing::page(&app, &mine, Method::GET, base, "").await;
        assert!(status == 200 && body.contains("No webhooks yet") && !body.contains("release.published"), "{body}");
        let (status, body) = testing::page(&app, &mine, Method::POST, base, "url=http%3A%2F%2Fa.example&kinds=alarm.raised").await;
        assert!(status == 422 && body.contains("https://host.example/path") && body.contains("http://a.example"), "{body}");
        assert_eq!(body.matches(" checked").count(), 1);
        let form = "url=https%3A%2F%2Fa.example%2F%3Cscript%3E&kinds=alarm.raised&kinds=node.offline";
        let made = testing::answer(&app, &mine, Method::POST, base, form, None).await;
        let address = made.headers().get("location").unwrap().to_str().unwrap().to_owned();
        assert!(made.status() == 303 && address.starts_with("/mine/webhooks/whk_"), "{address}");
        let cookie = made.cookies().find(|cookie| cookie.name() == "__Host-once").unwrap().into_owned();
        let shown = testing::answer(&app, &mine, Method::GET, &address, "", Some(cookie)).await;
        let once = shown.cookies().find(|cookie| cookie.name() == "__Host-once").map(|cookie| cookie.value().to_owned());
        let body = String::from_utf8(actix_web::body::to_bytes(shown.into_body()).await.unwrap_or_default().to_vec()).unwrap();
        assert!(body.contains("whsec_") && once.as_deref() == Some(""), "the page that shows it deletes the cookie");
        let post = async |path: &str, form: &str| testing::page(&app, &mine, Method::POST, &format!("{address}/{path}"), form).await.0;
        assert_eq!((post("test", "").await, post("on", "").await, post("renew", "").await), (303, 303, 303));
        let id = address.rsplit('/').next().unwrap().to_owned();
        let message = detail(&app, &mine, id.clone(), None).await.unwrap().log[0].delivery.id.clone();
        assert_eq!((post("again", &format!("message={message}")).await, post("again", "message=x").await), (303, 404));
        for path in [base, &address] {
            let (status, body) = testing::page(&app, &mine, Method::GET, path, "").await;
            assert!(status == 200 && !body.contains("whsec_") && !body.contains("<script>"), "{path}");
            assert!(!body.split('>').skip(1).any(|part| part.trim_start().starts_with("webhook-")), "{path}: {body}");
        }
        // Each in their own console.
        assert_eq!(testing::page(&app, &vendor, Method::GET, base, "").await.0, 403);
        assert_eq!(testing::page(&app, &mine, Method::GET, "/vendor/webhooks", "").await.0, 403);
        let (status, body) = testing::page(&app, &vendor, Method::GET, "/vendor/webhooks", "").await;
        assert!(status == 200 && body.contains("release.published") && !body.contains("alarm.raised"));
        assert_eq!(post("remove", "").await, 303);
        assert_eq!(testing::page(&app, &mine, Method::GET, &address, "").await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_comes_back_with_many_calls_at_once_is_told_of_once() {
    each_backend_racing(|app| async move {
        let mine = testing::operator(&app, "mine").await;
        let (id, _) = hook(&app, &mine, "https://example.com/", &["node.online"]).await;
        let Actor::Node { node_id, .. } = testing::node(&app, &mine).await else { panic!("no node") };
        let calls = race(|_| {
            let (app, node_id, now) = (app.clone(), node_id.clone(), app.clock.now());
            async move { app.db.write(move |conn| fleet::service::note_call(conn, &node_id, now)).await }
        });
        // A call that collides with another one is made again by the node.
        assert!(calls.await.into_iter().any(|rows| rows.is_ok_and(|rows| rows == 1)));
        assert_eq!(waiting(&app, &mine, &id).await, ["node.online"]);
    })
    .await;
}
