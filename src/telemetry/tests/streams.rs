//! Streams on both backends: each record once and in its place, alarms as episodes, counters, states.

use app_package::stream::{Dropped, Lost, Why, beginning};

use super::*;
use crate::base::db::Timestamp;
use crate::base::db::schema::streams;
use crate::fleet::model::{DeploymentEvent, DeploymentState};

/// A node's stream, as an agent writes it.
pub(super) struct Writer {
    name: String,
    kind: &'static str,
    next: u64,
    prev: Digest,
    /// Milliseconds since the machine was started.
    mono: u64,
}

impl Writer {
    pub(super) fn new(name: &str, kind: &'static str) -> Self {
        Self { name: name.to_owned(), kind, next: 1, prev: beginning(name), mono: 1_000_000 }
    }

    /// The text of the next record.
    pub(super) fn record(&mut self, at: &Value, body: &Value) -> String {
        let record =
            json!({"seq": self.next, "prev": self.prev, "at": at, "mono": self.mono, "boot": "b", "clock": "trusted", "body": body});
        let text = record.to_string();
        (self.next, self.prev) = (self.next + 1, Digest::of(text.as_bytes()));
        text
    }
}

/// Sends records of a stream; what is sent keeps its bytes.
pub(super) async fn send(app: &App, mine: &Mine, writer: &Writer, records: &[String]) -> Value {
    let body = format!(
        "{{\"boot\":\"b\",\"mono\":{},\"streams\":[{{\"stream\":\"{}\",\"kind\":\"{}\",\"records\":[{}]}}]}}",
        writer.mono,
        writer.name,
        writer.kind,
        records.join(",")
    );
    let taken = taking::take(app, &mine.node, serde_json::from_str(&body).unwrap()).await.unwrap();
    serde_json::to_value(&taken.streams[0]).unwrap()
}

pub(super) fn episode(mine: &Mine, name: &str, phase: &str, level: &str, count: u64) -> Value {
    json!({"episode": name, "phase": phase, "count": count, "deployment_id": mine.deployment, "digest": mine.digest, "rule": "bolt", "level": level,
        "source": "belt-1", "text": {"zh": "锚杆", "en": "bolt"}, "origin": {"version": "1.0.0"}, "result": {"detections": [{"label": "bolt"}]}})
}

pub(super) async fn alarms_of(app: &App, mine: &Mine) -> Vec<model::Alarm> {
    latest(app, &mine.shop.operator, 99).await.into_iter().map(|line| line.alarm).collect()
}

pub(super) fn now(app: &App) -> Value {
    json!(app.clock.now().utc())
}

#[actix_web::test]
async fn an_episode_is_one_alarm_however_its_records_come() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut writer = Writer::new("streamaaaa", "alarms");
        let begin = writer.record(&now(&app), &episode(&mine, "e1", "begin", "warning", 1));
        assert_eq!(
            send(&app, &mine, &writer, std::slice::from_ref(&begin)).await,
            json!({"stream": "streamaaaa", "last": 1, "gaps": [], "taken": 1, "repeated": 0, "refused": 0})
        );
        let [alarm] = &alarms_of(&app, &mine).await[..] else { panic!() };
        assert_eq!((alarm.count, alarm.ended_at, alarm.source.as_str(), alarm.late), (1, None, "belt-1", false));
        // It goes on, and the answer to that is lost: nothing counts twice.
        app.clock.advance(TimeDelta::seconds(20));
        writer.mono += 20_000;
        let still = writer.record(&now(&app), &episode(&mine, "e1", "still", "warning", 80));
        for repeated in [0, 1] {
            let receipt = send(&app, &mine, &writer, std::slice::from_ref(&still)).await;
            assert_eq!((&receipt["repeated"], &receipt["last"]), (&json!(repeated), &json!(2)));
        }
        app.clock.advance(TimeDelta::seconds(30));
        writer.mono += 30_000;
        let mut over = episode(&mine, "e1", "end", "warning", 90);
        over["last"] = json!(app.clock.now().minus(TimeDelta::seconds(10)).utc());
        over["begun"] = json!(app.clock.now().minus(TimeDelta::seconds(50)).utc());
        let end = writer.record(&now(&app), &over);
        send(&app, &mine, &writer, &[begin, still, end]).await;
        let [alarm] = &alarms_of(&app, &mine).await[..] else { panic!() };
        assert_eq!(
            (alarm.count, alarm.ended_at, alarm.raised_at),
            (90, Some(app.clock.now().minus(TimeDelta::seconds(10))), app.clock.now().minus(TimeDelta::seconds(50)))
        );

        // Of another one the end comes first, as after a long outage.
        let late = writer.record(&now(&app), &episode(&mine, "e2", "begin", "warning", 1));
        let mut bare = episode(&mine, "e2", "end", "warning", 7);
        bare["result"] = json!({});
        let end = writer.record(&now(&app), &bare);
        let receipt = send(&app, &mine, &writer, std::slice::from_ref(&end)).await;
        assert_eq!((&receipt["last"], &receipt["gaps"]), (&json!(5), &json!([[4, 4]])));
        let receipt = send(&app, &mine, &writer, &[late]).await;
        assert_eq!((&receipt["taken"], &receipt["gaps"]), (&json!(1), &json!([])));
        let alarms = alarms_of(&app, &mine).await;
        assert_eq!((alarms.len(), alarms[0].count, alarms[0].ended_at.is_some(), alarms[0].result.contains("bolt")), (2, 7, true, true));
    })
    .await;
}

#[actix_web::test]
async fn an_alarm_that_nobody_tells_of_any_more_is_over_and_a_later_word_has_it_go_on() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut writer = Writer::new("streamjjjj", "alarms");
        let begin = writer.record(&now(&app), &episode(&mine, "e1", "begin", "warning", 1));
        // The same stream in two parts of one request.
        let still = writer.record(&now(&app), &episode(&mine, "e1", "still", "warning", 2));
        let part = |record: &str| format!("{{\"stream\":\"streamjjjj\",\"kind\":\"alarms\",\"records\":[{record}]}}");
        let body = format!("{{\"streams\":[{},{}]}}", part(&begin), part(&still));
        let taken = taking::take(&app, &mine.node, serde_json::from_str(&body).unwrap()).await.unwrap();
        assert_eq!(taken.streams.iter().map(|stream| (stream.last, stream.taken)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
        let ended = async || {
            upkeep::prune(&app).await.unwrap();
            alarms_of(&app, &mine).await[0].ended_at
        };
        let began = app.clock.now();
        app.clock.advance(TimeDelta::hours(5));
        assert_eq!(ended().await, None, "the node is not heard");
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 1, 1)]).await.unwrap();
        assert_eq!(ended().await, Some(began));
        writer.mono += 5 * 3_600_000;
        let still = writer.record(&now(&app), &episode(&mine, "e1", "still", "warning", 9));
        send(&app, &mine, &writer, &[still]).await;
        assert_eq!(ended().await, None);
        assert_eq!(alarms_of(&app, &mine).await[0].count, 9);
    })
    .await;
}

#[actix_web::test]
async fn months_without_a_line_arrive_once_and_in_any_order() {
    each_backend_with(
        |settings| settings.telemetry.alarms_per_hour = 100_000,
        |app| async move {
            let mine = mine(&app).await;
            let mut writer = Writer::new("streambbbb", "alarms");
            // Ninety days in which the clock of the machine stood at 1970: its steady clock places each.
            let records: Vec<String> = (0..900)
                .map(|n| {
                    writer.mono += 8_640_000;
                    writer.record(&json!("1970-01-01T00:00:00Z"), &episode(&mine, &format!("e{n}"), "begin", "warning", 1))
                })
                .collect();
            // Pieces in a fixed disorder, each twice; live ones first.
            send(&app, &mine, &writer, &records[880..]).await;
            for chunk in records[..880].chunks(110) {
                send(&app, &mine, &writer, chunk).await;
                send(&app, &mine, &writer, &chunk[50..]).await;
            }
            let (count, first, late): (i64, Option<Timestamp>, i64) = app
                .db
                .read(|conn| {
                    let count = alarms::table.count().get_result(conn)?;
                    let late = alarms::table.filter(alarms::late.eq(true)).count().get_result(conn)?;
                    Ok((count, alarms::table.select(diesel::dsl::min(alarms::raised_at)).first(conn)?, late))
                })
                .await
                .unwrap();
            assert_eq!((count, late), (900, 899), "the last one is from now");
            assert_eq!(first, Some(app.clock.now().minus(TimeDelta::milliseconds(899 * 8_640_000))));
            let newest = &alarms_of(&app, &mine).await;
            assert!(newest.iter().all(|alarm| alarm.node_at == Some(Timestamp::from_unix(0))), "both times are told");
        },
    )
    .await;
}

#[actix_web::test]
async fn two_machines_that_write_one_stream_show_and_nothing_is_taken() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut one = Writer::new("streamcccc", "critical");
        let first = one.record(&now(&app), &episode(&mine, "e1", "begin", "critical", 1));
        send(&app, &mine, &one, &[first]).await;
        let mut twin = Writer { name: one.name.clone(), prev: one.prev.clone(), ..one };
        let second = one.record(&now(&app), &episode(&mine, "e2", "begin", "critical", 1));
        send(&app, &mine, &one, &[second]).await;
        let other = [
            twin.record(&now(&app), &episode(&mine, "e3", "begin", "critical", 1)),
            twin.record(&now(&app), &episode(&mine, "e4", "begin", "critical", 1)),
        ];
        let receipt = send(&app, &mine, &twin, &other).await;
        assert_eq!((&receipt["code"], &receipt["taken"], &receipt["last"]), (&json!("stream-forked"), &json!(0), &json!(2)));
        assert_eq!(counts(&app).await.2, 2);
        // A name that is none, a kind that changed, a record without a number.
        for (name, kind) in [("x; drop table", "alarms"), ("streamcccc", "alarms")] {
            let writer = Writer::new(name, kind);
            assert_eq!(send(&app, &mine, &writer, &["{\"seq\":1}".to_owned()]).await["code"], "record-invalid", "{name}");
        }
        let receipt = send(&app, &mine, &one, &["{\"body\":1}".to_owned()]).await;
        assert_eq!((&receipt["code"], &receipt["taken"]), (&json!("record-invalid"), &json!(0)));
    })
    .await;
}

#[actix_web::test]
async fn what_was_dropped_is_a_record_and_what_cannot_be_read_holds_nothing_back() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut writer = Writer::new("streamdddd", "alarms");
        let first = writer.record(&now(&app), &episode(&mine, "e1", "begin", "notice", 1));
        let gone: Vec<String> =
            (0..3).map(|n| writer.record(&now(&app), &episode(&mine, &format!("g{n}"), "begin", "notice", 1))).collect();
        let dropped = Dropped {
            from: 2,
            to: 4,
            prev: None,
            hash: Digest::of(gone[2].as_bytes()),
            lost: Lost { notice: 3, ..Lost::default() },
            why: Why::NoRoom,
        };
        let dropped = json!({"dropped": dropped}).to_string();
        let foreign = writer.record(
            &now(&app),
            &json!({"episode": "e9", "deployment_id": "dep_other", "digest": mine.digest, "rule": "r", "level": "notice", "text": {}}),
        );
        let nonsense = writer.record(&now(&app), &json!({"level": "apocalyptic"}));
        let last = writer.record(&now(&app), &episode(&mine, "e2", "begin", "notice", 1));
        let receipt = send(&app, &mine, &writer, &[first, dropped, foreign, nonsense, last]).await;
        assert_eq!((&receipt["last"], &receipt["taken"], &receipt["refused"]), (&json!(7), &json!(7), &json!(2)));
        let lost: i64 = app.db.read(|conn| Ok(streams::table.select(streams::lost).first(conn)?)).await.unwrap();
        assert_eq!((lost, counts(&app).await.2), (3, 2));
    })
    .await;
}

#[actix_web::test]
async fn records_over_the_rate_stay_at_the_node_and_critical_ones_pass() {
    each_backend_with(few_alarms, |app| async move {
        let mine = mine(&app).await;
        let (mut writer, mut urgent) = (Writer::new("streameeee", "alarms"), Writer::new("streamffff", "critical"));
        let records: Vec<String> =
            (0..7).map(|n| writer.record(&now(&app), &episode(&mine, &format!("e{n}"), "begin", "warning", 1))).collect();
        let receipt = send(&app, &mine, &writer, &records).await;
        assert_eq!((&receipt["taken"], &receipt["code"], &receipt["retry_after"]), (&json!(5), &json!("too-many-alarms"), &json!(720)));
        let body = format!("{{\"streams\":[{{\"stream\":\"streameeee\",\"kind\":\"alarms\",\"records\":[{}]}}]}}", records[5]);
        let refused = taking::take(&app, &mine.node, serde_json::from_str(&body).unwrap()).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after), ("too-many-alarms", Some(720)));
        let fire = urgent.record(&now(&app), &episode(&mine, "fire", "begin", "critical", 1));
        assert_eq!(send(&app, &mine, &urgent, &[fire]).await["taken"], 1);
        // What goes on costs nothing.
        let still = urgent.record(&now(&app), &episode(&mine, "fire", "still", "critical", 50));
        assert_eq!(send(&app, &mine, &urgent, &[still]).await["taken"], 1);
        app.clock.advance(TimeDelta::hours(1));
        assert_eq!(send(&app, &mine, &writer, &records[5..]).await["taken"], 2);
        assert_eq!(counts(&app).await.2, 8);
    })
    .await;
}

#[actix_web::test]
async fn counters_only_grow_whatever_comes_and_epochs_add_up() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut writer = Writer::new("streamgggg", "usage");
        let mut told = |count: u64, epoch: &str| {
            let counter = |deployment: &str| json!({"deployment_id": deployment, "meter": "inferences", "count": count});
            writer.record(
                &json!("2026-11-30T00:00:00Z"),
                &json!({"epoch": epoch, "counters": [counter(&mine.deployment), counter("dep_other")]}),
            )
        };
        let records = [told(10, "a"), told(25, "a"), told(7, "a"), told(4, "b"), told(1, "b; drop")];
        let writer = Writer::new("streamgggg", "usage");
        for order in [&records[1..2], &records[..1], &records[2..], &records[..]] {
            send(&app, &mine, &writer, order).await;
        }
        let ids = vec![mine.deployment.clone()];
        let sums = app.db.read(move |conn| Ok(service::usage_of(conn, &ids)?)).await.unwrap();
        assert_eq!(sums.into_iter().collect::<Vec<_>>(), [((mine.deployment.clone(), "inferences".to_owned()), 29)]);
        // A node cannot fill the table with epochs.
        let mut many = Writer::new("streamhhhh", "usage");
        let records: Vec<String> = (0..100)
            .map(|n| {
                many.record(
                    &json!("2026-11-30T00:00:00Z"),
                    &json!({"epoch": format!("x{n}"), "counters": [{"deployment_id": mine.deployment, "meter": "m", "count": 1}]}),
                )
            })
            .collect();
        send(&app, &mine, &many, &records).await;
        let rows: i64 = app.db.read(|conn| Ok(crate::base::db::schema::usage_counters::table.count().get_result(conn)?)).await.unwrap();
        assert_eq!(rows, 64);
    })
    .await;
}

async fn events(app: &App, mine: &Mine) -> Vec<DeploymentEvent> {
    let id = mine.deployment.clone();
    let actor = mine.shop.operator.clone();
    app.db.read(move |conn| Ok(crate::fleet::service::deployment::detail_in(conn, &actor, &id)?.events)).await.unwrap()
}

#[actix_web::test]
async fn states_of_an_outage_are_the_history_with_their_own_times() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let version = app.db.read({
            let node = mine.node_id.clone();
            move |conn| {
                use crate::base::db::schema::nodes;
                Ok(nodes::table.find(node).select(nodes::manifest_version).first::<i64>(conn)?)
            }
        });
        let adopted = version.await.unwrap();
        let status = |state: &str| {
            json!({"apiVersion": "deployment.margo.org/v1alpha1", "kind": "DeploymentStatus", "deploymentId": mine.deployment, "adoptedManifestVersion": adopted,
                "status": {"state": state}, "components": [{"name": "belt", "state": state}]})
        };
        let mut writer = Writer::new("streamiiii", "status");
        let start = app.clock.now();
        let mut records = Vec::new();
        for state in ["installing", "installed", "failed", "installed"] {
            app.clock.advance(TimeDelta::minutes(10));
            writer.mono += 600_000;
            records.push(writer.record(&now(&app), &status(state)));
        }
        app.clock.advance(TimeDelta::minutes(30));
        writer.mono += 1_800_000;
        let receipt = send(&app, &mine, &writer, &records).await;
        assert_eq!((&receipt["taken"], &receipt["refused"]), (&json!(4), &json!(0)), "{receipt}");
        let told: Vec<_> = events(&app, &mine).await.into_iter().filter(|event| event.at > start).map(|event| (event.state, event.at)).collect();
        let at = |minutes| start.plus(TimeDelta::minutes(minutes));
        let expected = [("installed", 40), ("failed", 30), ("installed", 20), ("installing", 10)];
        assert_eq!(told, expected.map(|(state, minutes)| (state.to_owned(), at(minutes))));
        let detail = testing::node_detail(&app, &mine.shop.operator, &mine.node_id).await.unwrap();
        assert_eq!(detail.deployments[0].0.state, DeploymentState::Installed);
        // What belongs to no deployment of the node is refused, and nothing waits for it.
        let mut foreign = status("installed");
        foreign["deploymentId"] = json!("dep_other");
        let record = writer.record(&now(&app), &foreign);
        assert_eq!(send(&app, &mine, &writer, &[record]).await["refused"], 1);
    })
    .await;
}
