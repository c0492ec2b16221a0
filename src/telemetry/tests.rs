//! Reports on both backends: taken once, refused one by one, shown, forgotten in time.

use app_package::digest::Digest;
use chrono::TimeDelta;
use diesel::prelude::*;
use serde_json::{Map, Value, json};

use super::model::{self, Level};
use super::plots::{Plot, Span};
use super::service;
use super::taking::{self, ReportReceipt};
use super::upkeep;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::config::Settings;
use crate::base::db::schema::{alarms, app_samples, node_samples};
use crate::base::error::{Kind, Result};
use crate::base::i18n::Lang;
use crate::base::jobs::{Job, Lane, count_open};
use crate::base::rate::{Bucket, Rate};
use crate::catalog::model::PlanKind;
use crate::fleet::service::{self as fleet, DeployInput};
use crate::site::parts::chain::{self, ChainLink, Reader};
use crate::testing::shop::{Shop, license, shop};
use crate::testing::{self, drain_jobs, each_backend, each_backend_with};

mod pictures;
mod sources;
mod streams;

struct Mine {
    shop: Shop,
    node: Actor,
    node_id: String,
    deployment: String,
    digest: Digest,
}

async fn mine(app: &App) -> Mine {
    let shop = shop(app).await;
    let site = fleet::create_site(app, &shop.operator, "East").await.unwrap();
    let issued = fleet::create_node(app, &shop.operator, &site, "belt 1").await.unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::new(Vec::new()).unwrap().serialize_request(&key).unwrap().pem().unwrap();
    let enrolled = fleet::enroll(app, issued.code, csr, "1.0.0".into()).await.unwrap();
    let license = license(app, &shop, PlanKind::Subscription, 5).await;
    let input = DeployInput {
        release_id: shop.listing.release_id.clone(),
        license_id: license.id.clone(),
        node_ids: vec![enrolled.node_id.clone()],
        parameters: Map::new(),
    };
    let deployment = fleet::deploy(app, &shop.operator, input).await.unwrap().remove(0);
    drain_jobs(app).await;
    let digest = Digest::parse(&shop.listing.digest).unwrap();
    let node = Actor::Node { node_id: enrolled.node_id.clone(), organization_id: enrolled.organization_id };
    Mine { shop, node, node_id: enrolled.node_id, deployment, digest }
}

/// The newest alarms of an operator.
async fn latest(app: &App, operator: &Actor, limit: i64) -> Vec<model::AlarmLine> {
    let owner = operator.organization_id().unwrap().to_owned();
    app.db.read(move |conn| service::latest_alarms(conn, &owner, limit)).await.unwrap()
}

fn heartbeat(app: &App, mine: &Mine, sequence: u64, inferences: u64) -> Value {
    json!({"sequence": sequence, "at": app.clock.now().utc(), "kind": "heartbeat",
        "node": {"cpu_percent": 12.5, "memory_used_bytes": 1_000, "memory_total_bytes": 8_000},
        "apps": [{"deployment_id": mine.deployment, "app": "acme/belt", "version": "1.0.0", "state": "installed", "inferences": inferences, "errors": 0,
            "p50_ms": 1.5, "p95_ms": null, "memory_bytes": null, "restarts": 0}]})
}

fn alarm(app: &App, mine: &Mine, sequence: u64) -> Value {
    json!({"sequence": sequence, "at": app.clock.now().utc(), "kind": "alarm", "deployment_id": mine.deployment, "app": "acme/belt", "version": "1.0.0",
        "digest": mine.digest, "rule": "bolt", "level": "critical", "text": {"zh": "<b>锚杆</b>", "en": "<b>bolt</b>"}, "result": {"detections": [{"label": "bolt"}]}})
}

async fn take(app: &App, actor: &Actor, reports: Vec<Value>) -> Result<ReportReceipt> {
    request(app, actor, &json!({"reports": reports})).await
}

async fn request(app: &App, actor: &Actor, body: &Value) -> Result<ReportReceipt> {
    taking::take(app, actor, serde_json::from_str(&body.to_string()).unwrap()).await
}

async fn counts(app: &App) -> (i64, i64, i64) {
    app.db
        .read(|conn| {
            let samples = node_samples::table.count().get_result(conn)?;
            Ok((samples, app_samples::table.count().get_result(conn)?, alarms::table.count().get_result(conn)?))
        })
        .await
        .unwrap()
}

async fn figures(app: &App, deployment: &str) -> Option<model::AppSample> {
    let ids = vec![deployment.to_owned()];
    app.db.read(move |conn| Ok(service::app_figures(conn, &ids)?.into_values().next())).await.unwrap()
}

#[actix_web::test]
async fn two_machines_with_one_identity_are_noticed_and_a_restart_is_not() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let trouble_after = async |sequence: u64, instance: &str| {
            let mut beat = heartbeat(&app, &mine, sequence, 0);
            beat["node"]["instance"] = json!(instance);
            take(&app, &mine.node, vec![beat]).await.unwrap();
            testing::node_detail(&app, &mine.shop.operator, &mine.node_id).await.unwrap().node.trouble
        };
        // Three starts of one agent, the last of which reports twice.
        for (sequence, instance) in [(1, "a"), (2, "b"), (3, "c"), (4, "c")] {
            assert_eq!(trouble_after(sequence, instance).await, None, "{instance}");
        }
        // A former run is back: it lives on another machine.
        assert!(trouble_after(5, "b").await.is_some_and(|trouble| trouble.starts_with("identity-twice: ")));
        assert!(trouble_after(6, "b").await.is_some());
        // What is no name of a run is passed over.
        assert_eq!(trouble_after(7, "b; drop").await, None);
        // Of three machines that take turns, the first comes back after two others.
        app.clock.advance(chrono::TimeDelta::minutes(11));
        for (sequence, instance) in [(8, "x"), (9, "y"), (10, "z")] {
            assert_eq!(trouble_after(sequence, instance).await, None, "{instance}");
        }
        assert!(trouble_after(11, "x").await.is_some());
    })
    .await;
}

#[actix_web::test]
async fn replayed_reports_count_once() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let batch = || vec![heartbeat(&app, &mine, 1, 10), alarm(&app, &mine, 2), alarm(&app, &mine, 3)];
        let first = take(&app, &mine.node, batch()).await.unwrap();
        assert_eq!((first.accepted_through, first.accepted, first.repeated, first.refused), (3, 3, 0, 0));
        assert_eq!(counts(&app).await, (1, 1, 2));
        let again = take(&app, &mine.node, batch()).await.unwrap();
        // The heartbeat of a moment that is known changes nothing; the alarms are told as known.
        assert_eq!((again.accepted_through, again.accepted, again.repeated), (3, 1, 2));
        assert_eq!(counts(&app).await, (1, 1, 2));
        // Twice in one request, and a second heartbeat of the same moment.
        let more = take(&app, &mine.node, vec![alarm(&app, &mine, 4), alarm(&app, &mine, 4), heartbeat(&app, &mine, 5, 11)]).await.unwrap();
        assert_eq!((more.accepted_through, more.accepted, more.repeated), (5, 2, 1));
        assert_eq!(counts(&app).await, (1, 1, 3));
        app.clock.advance(TimeDelta::seconds(15));
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 9, 20)]).await.unwrap();
        let last = figures(&app, &mine.deployment).await.unwrap();
        assert_eq!((last.inferences, last.p50_ms, last.memory_bytes), (20, 1.5, 0));
    })
    .await;
}

#[actix_web::test]
async fn a_node_that_lost_its_disk_counts_from_one_and_is_heard() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        take(&app, &mine.node, vec![alarm(&app, &mine, 760), json!({"sequence": 100_007, "kind": "gossip"})]).await.unwrap();
        app.clock.advance(TimeDelta::seconds(1));
        let anew = take(&app, &mine.node, vec![alarm(&app, &mine, 1)]).await.unwrap();
        assert_eq!((anew.accepted_through, anew.accepted, counts(&app).await.2), (1, 1, 2));
    })
    .await;
}

#[actix_web::test]
async fn what_a_node_says_of_itself_is_kept_until_it_says_otherwise() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let kept = async || {
            let detail = testing::node_detail(&app, &mine.shop.operator, &mine.node_id).await.unwrap();
            (detail.node.trouble, detail.node.alarms_dropped, detail.node.alarms_suppressed)
        };
        let mut ill = heartbeat(&app, &mine, 1, 1);
        ill["node"]["alarms_dropped"] = json!(3);
        ill["node"]["alarms_suppressed"] = json!(u64::MAX);
        ill["node"]["trouble"] = json!({"code": "manifest-version-not-higher", "message": "3 \u{7} after 5"});
        take(&app, &mine.node, vec![ill]).await.unwrap();
        let ill = (Some("manifest-version-not-higher: 3  after 5".to_owned()), 3, i64::MAX);
        assert_eq!(kept().await, ill);
        take(&app, &mine.node, vec![alarm(&app, &mine, 2)]).await.unwrap();
        assert_eq!(kept().await, ill, "an alarm says nothing about it");
        app.clock.advance(TimeDelta::seconds(15));
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 3, 1)]).await.unwrap();
        assert_eq!(kept().await, (None, 0, 0));
    })
    .await;
}

fn notice(app: &App, mine: &Mine, sequence: u64) -> Value {
    let mut report = alarm(app, mine, sequence);
    report["level"] = json!("notice");
    report
}

#[actix_web::test]
async fn alarms_over_the_rate_stay_at_the_node_and_critical_ones_pass() {
    each_backend_with(few_alarms, |app| async move {
        let mine = mine(&app).await;
        let held = take(&app, &mine.node, (1..=7).map(|n| notice(&app, &mine, n)).collect()).await.unwrap();
        assert_eq!((held.accepted_through, held.accepted, counts(&app).await.2), (5, 5, 5), "five an hour");
        // The node sends what was held back again, with a heartbeat and, at last, what matters.
        let mut queue = vec![notice(&app, &mine, 6), notice(&app, &mine, 7), heartbeat(&app, &mine, 8, 1)];
        let refused = take(&app, &mine.node, queue.clone()).await.unwrap_err();
        assert_eq!((refused.code, refused.kind, refused.retry_after), ("too-many-alarms", Kind::RateLimited, Some(720)));
        assert_eq!(counts(&app).await, (1, 1, 5), "the heartbeat is taken all the same");
        queue.push(alarm(&app, &mine, 9));
        assert_eq!(take(&app, &mine.node, queue.clone()).await.unwrap_err().code, "too-many-alarms");
        assert_eq!(counts(&app).await.2, 6, "a critical alarm is not held up by lesser ones");
        app.clock.advance(TimeDelta::seconds(720));
        let through = take(&app, &mine.node, queue).await.unwrap();
        assert_eq!((through.accepted_through, counts(&app).await.2), (6, 7), "one more after its time, and none twice");
        // What cannot be taken at all costs nothing and is not waited for.
        let mut foreign = notice(&app, &mine, 10);
        foreign["deployment_id"] = json!("dep_other");
        assert_eq!(take(&app, &mine.node, vec![foreign]).await.unwrap().refused, 1);
        // A large result costs more.
        app.clock.advance(TimeDelta::hours(2));
        let mut large = notice(&app, &mine, 11);
        large["result"] = json!({"x": "y".repeat(9_000)});
        let taken = take(&app, &mine.node, (12..16).map(|n| notice(&app, &mine, n)).chain([large]).collect()).await.unwrap();
        assert_eq!((taken.accepted_through, taken.accepted), (13, 3), "three of five for the large one");
    })
    .await;
}

fn few_alarms(settings: &mut Settings) {
    settings.telemetry.alarms_per_hour = 5;
}

#[actix_web::test]
async fn nodes_of_one_operator_share_a_rate() {
    each_backend_with(
        |settings| settings.telemetry.organization_alarms_per_hour = 3,
        |app| async move {
            let mine = mine(&app).await;
            let first = take(&app, &mine.node, (1..=2).map(|n| notice(&app, &mine, n)).collect()).await.unwrap();
            assert_eq!(first.accepted, 2);
            let (owner, shared) = (mine.shop.operator.organization_id().unwrap().to_owned(), Rate::hourly(3));
            let now = app.clock.now();
            let left = app.db.write(move |conn| Ok(Bucket::hold(conn, format!("alarms:{owner}"), shared, now)?.wait(2))).await.unwrap();
            assert_eq!(left, Some(TimeDelta::minutes(20)), "one is left for all its nodes");
            assert_eq!(take(&app, &mine.node, (3..=4).map(|n| notice(&app, &mine, n)).collect()).await.unwrap().accepted_through, 3);
        },
    )
    .await;
}

#[actix_web::test]
async fn samples_have_a_rate_and_go_also_where_a_node_is_silent() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        // Five hundred moments of the last week in one request: forged, no agent keeps them.
        let forged = (1..=500u64).map(|n| {
            let mut beat = heartbeat(&app, &mine, n, n);
            beat["at"] = json!(app.clock.now().minus(TimeDelta::seconds(i64::try_from(n).unwrap())).utc());
            beat
        });
        let taken = take(&app, &mine.node, forged.collect()).await.unwrap();
        assert_eq!((taken.accepted_through, taken.accepted), (500, 500));
        assert_eq!(counts(&app).await, (99, 99, 0));
        app.clock.advance(TimeDelta::days(8));
        assert_eq!(upkeep::prune(&app).await.unwrap(), 198);
        assert_eq!(counts(&app).await, (0, 0, 0));
    })
    .await;
}

#[actix_web::test]
async fn alarms_go_by_number_and_by_age() {
    each_backend_with(
        |settings| settings.telemetry.keep_alarms = 3,
        |app| async move {
            let mine = mine(&app).await;
            take(&app, &mine.node, (1..=5).map(|n| notice(&app, &mine, n)).collect()).await.unwrap();
            assert_eq!(upkeep::prune(&app).await.unwrap(), 2);
            let left = latest(&app, &mine.shop.operator, 99).await;
            assert_eq!(left.len(), 3);
            app.clock.advance(TimeDelta::days(364));
            take(&app, &mine.node, vec![alarm(&app, &mine, 6)]).await.unwrap();
            assert_eq!(upkeep::prune(&app).await.unwrap(), 1, "the oldest of four");
            app.clock.advance(TimeDelta::days(2));
            // The job does it, and plans itself anew.
            app.db
                .write({
                    let now = app.clock.now();
                    move |conn| Job::PruneHistory.enqueue_once(conn, now)
                })
                .await
                .unwrap();
            drain_jobs(&app).await;
            let left = latest(&app, &mine.shop.operator, 99).await;
            assert_eq!((left.len(), left[0].alarm.level), (1, Level::Critical));
            assert_eq!(app.db.read(|conn| count_open(conn, Lane::Upkeep)).await.unwrap(), 1);
        },
    )
    .await;
}

async fn chain_of(app: &App, mine: &Mine) -> Vec<ChainLink> {
    let reader = Reader::of(&mine.shop.operator, Lang::En, app.clock.now());
    let id = mine.deployment.clone();
    app.db.read(move |conn| Ok(chain::of_deployment(conn, &reader, &id)?)).await.unwrap()
}

#[actix_web::test]
async fn what_has_worked_stays_proven() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let proven = async || {
            let chain = chain_of(&app, &mine).await;
            let link = chain.into_iter().find(|link| link.key == "proven").unwrap();
            (link.state, link.note)
        };
        let id = mine.deployment.clone();
        app.db
            .write(move |conn| {
                use crate::base::db::schema::deployments;
                Ok(diesel::update(deployments::table.find(id)).set(deployments::state.eq("installed")).execute(conn)?)
            })
            .await
            .unwrap();
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 1, 0)]).await.unwrap();
        assert_eq!(proven().await, ("todo", String::new()), "it runs, and has done nothing");
        let mut other = heartbeat(&app, &mine, 2, 5);
        other["apps"][0]["version"] = json!("0.9.0");
        app.clock.advance(TimeDelta::seconds(15));
        take(&app, &mine.node, vec![other]).await.unwrap();
        assert_eq!(proven().await.0, "todo", "another version has worked");
        app.clock.advance(TimeDelta::seconds(15));
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 3, 5)]).await.unwrap();
        assert_eq!(proven().await, ("done", "5 inferences".to_owned()));
        // The agent starts anew, and counts from nothing; then a week goes by, and no sample is left.
        app.clock.advance(TimeDelta::seconds(15));
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 4, 0)]).await.unwrap();
        let (state, note) = proven().await;
        assert!(state == "done" && note.starts_with("since "), "{note}");
        app.clock.advance(TimeDelta::days(8));
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 5, 0)]).await.unwrap();
        assert_eq!(proven().await, ("done", note));
        fleet::remove_node(&app, &mine.shop.operator, &mine.node_id).await.unwrap();
        let chain = chain_of(&app, &mine).await;
        let deployed = chain.iter().find(|link| link.key == "deployed").unwrap();
        assert_eq!((deployed.state, deployed.note.as_str(), chain[7].state), ("failed", "removed", "done"));
    })
    .await;
}

#[actix_web::test]
async fn what_is_not_the_nodes_is_refused_item_by_item() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut foreign = heartbeat(&app, &mine, 1, 1);
        foreign["apps"][0]["deployment_id"] = json!("dep_other");
        let mut alien = alarm(&app, &mine, 2);
        alien["deployment_id"] = json!("dep_other");
        let mut unknown_release = alarm(&app, &mine, 3);
        unknown_release["digest"] = json!(Digest::of(b"never released"));
        let mut loud = alarm(&app, &mine, 4);
        loud["level"] = json!("apocalyptic");
        let mut deep = alarm(&app, &mine, 5);
        deep["result"] = (0..40).fold(json!(1), |inner, _| json!({"x": inner}));
        deep["text"]["en"] = json!(format!("a\u{7}{}", "x".repeat(5_000)));
        let wrong = [
            json!({"sequence": 0}),
            json!({"sequence": -1}),
            json!("x"),
            json!({"sequence": 6, "kind": "gossip", "at": app.clock.now().utc()}),
        ];
        let mut batch = vec![foreign, alien, unknown_release, loud, deep];
        batch.extend(wrong);
        let taken = take(&app, &mine.node, batch).await.unwrap();
        assert_eq!((taken.accepted_through, taken.accepted, taken.refused), (6, 2, 8));
        assert_eq!(counts(&app).await, (1, 0, 1));
        let lines = latest(&app, &mine.shop.operator, 99).await;
        assert_eq!((lines[0].alarm.result.as_str(), lines[0].alarm.text_en.len()), ("{}", 1_000));

        assert_eq!(take(&app, &mine.node, vec![json!(1); 501]).await.unwrap_err().code, "too-many-reports");
        for actor in
            [Actor::Anonymous, mine.shop.operator.clone(), Actor::Node { node_id: "nod_x".into(), organization_id: "org_x".into() }]
        {
            assert_eq!(take(&app, &actor, vec![]).await.unwrap_err().kind, Kind::Forbidden);
        }
    })
    .await;
}

#[actix_web::test]
async fn times_of_a_wrong_clock_and_old_samples() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut future = alarm(&app, &mine, 1);
        future["at"] = json!("9999-12-31T23:59:59Z");
        let mut past = heartbeat(&app, &mine, 2, 1);
        past["at"] = json!("1970-01-01T00:00:00Z");
        take(&app, &mine.node, vec![future, past]).await.unwrap();
        assert_eq!(counts(&app).await, (0, 0, 1));
        let lines = latest(&app, &mine.shop.operator, 99).await;
        assert_eq!(lines[0].alarm.raised_at, app.clock.now());

        for sequence in 3..8 {
            take(&app, &mine.node, vec![heartbeat(&app, &mine, sequence, sequence)]).await.unwrap();
            app.clock.advance(TimeDelta::seconds(15));
        }
        app.clock.advance(TimeDelta::days(8));
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 8, 8)]).await.unwrap();
        assert_eq!(counts(&app).await, (1, 1, 1));
    })
    .await;
}

#[actix_web::test]
async fn plots_and_alarms_are_the_operators_own() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        for (sequence, inferences) in [(1, 100), (2, 160), (3, 20)] {
            take(&app, &mine.node, vec![heartbeat(&app, &mine, sequence, inferences), alarm(&app, &mine, sequence + 100)]).await.unwrap();
            app.clock.advance(TimeDelta::seconds(60));
        }
        assert_eq!(counts(&app).await, (3, 3, 3));
        for sequence in [200u64, 201] {
            take(&app, &mine.node, vec![heartbeat(&app, &mine, sequence, sequence)]).await.unwrap();
            app.clock.advance(TimeDelta::seconds(60));
        }
        let operator = &mine.shop.operator;
        let plot = |plot, deployment| service::plot(&app, operator, Lang::En, mine.node_id.clone(), deployment, plot, Span::Hour);
        let rate = plot(Plot::Inferences, Some(mine.deployment.clone())).await.unwrap();
        assert_eq!(rate.series[0].data.iter().filter_map(|(_, v)| *v).collect::<Vec<_>>().last(), Some(&1.0));
        assert_eq!(plot(Plot::Cpu, None).await.unwrap().series[0].data[0].1, Some(12.5));
        assert_eq!(plot(Plot::Latency, Some("dep_other".into())).await.unwrap_err().code, "deployment");
        let other = testing::operator(&app, "other").await;
        let foreign = service::plot(&app, &other, Lang::En, mine.node_id.clone(), None, Plot::Cpu, Span::Day).await;
        assert_eq!(foreign.unwrap_err().kind, Kind::NotFound);
        assert!(latest(&app, &other, 99).await.is_empty());
        assert_eq!(latest(&app, operator, 2).await.len(), 2);
    })
    .await;
}
