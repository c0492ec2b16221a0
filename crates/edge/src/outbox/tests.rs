use super::*;
use crate::testing::Scratch;

fn alarm(outbox: &Outbox, level: &str, rule: &str) {
    let fields = [("deployment_id", "d"), ("rule", rule), ("level", level)];
    let body = fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
    assert_eq!(outbox.alarm(Utc::now(), ClockState::Trusted, body).unwrap(), Kept::OnDisk);
}

fn beat(outbox: &Outbox) {
    outbox.beat(Utc::now(), Map::from_iter([("node".to_owned(), json!({}))]));
}

/// Kinds with the rules of their records, and how many heartbeats.
fn sent(outbox: &Outbox) -> (Vec<(String, Vec<String>)>, usize) {
    let Some(batch) = outbox.batch(Utc::now()) else { return (Vec::new(), 0) };
    let body: Value = serde_json::from_str(&batch.body).unwrap();
    let rules = |stream: &Value| {
        let records = stream["records"].as_array().unwrap().iter();
        records.map(|record| record["body"]["rule"].as_str().unwrap_or("-").to_owned()).collect()
    };
    let streams = body["streams"].as_array().unwrap().iter().map(|s| (s["kind"].as_str().unwrap().to_owned(), rules(s))).collect();
    (streams, body["reports"].as_array().unwrap().len())
}

/// Answers a request as a platform that takes all.
fn take(outbox: &Outbox) -> usize {
    let Some(batch) = outbox.batch(Utc::now()) else { return 0 };
    let body: Value = serde_json::from_str(&batch.body).unwrap();
    let streams = body["streams"].as_array().unwrap().iter();
    let answer = streams.map(|stream| {
        let last = stream["records"].as_array().unwrap().last().map(|record| record["seq"].as_u64().unwrap_or(0));
        json!({ "stream": stream["stream"], "last": last, "gaps": [] })
    });
    let answer = json!({ "streams": answer.collect::<Vec<_>>() });
    assert_eq!(outbox.answered(&batch, serde_json::from_value(answer).unwrap(), Utc::now()), None);
    body["streams"].as_array().unwrap().iter().map(|stream| stream["records"].as_array().unwrap().len()).sum()
}

#[test]
fn critical_alarms_go_before_all_others() {
    let dir = Scratch::new();
    let outbox = Outbox::open(dir.path()).unwrap();
    alarm(&outbox, "warning", "a");
    outbox.push(Kind::Status, Utc::now(), ClockState::Trusted, Map::new()).unwrap();
    alarm(&outbox, "critical", "fire");
    beat(&outbox);
    let of = |kind: &str, rules: &[&str]| (kind.to_owned(), rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>());
    assert_eq!(sent(&outbox), (vec![of("critical", &["fire"])], 1), "heartbeats go with them");
    assert_eq!(take(&outbox), 1);
    assert_eq!(sent(&outbox), (vec![of("status", &["-"]), of("alarms", &["a"])], 0));
    assert_eq!((take(&outbox), take(&outbox), outbox.counts()), (2, 0, Counts::default()));
    drop(outbox);
    assert!(Outbox::open(dir.path()).unwrap().batch(Utc::now()).is_none());
}

#[test]
fn a_request_with_critical_alarms_stays_small_and_long_heartbeats_follow() {
    let dir = Scratch::new();
    let outbox = Outbox::open(dir.path()).unwrap();
    outbox.beat(Utc::now(), Map::from_iter([("sources".to_owned(), json!(["x".repeat(MAX_URGENT_HEARTBEATS)]))]));
    alarm(&outbox, "critical", "fire");
    assert_eq!(sent(&outbox).1, 0);
    assert_eq!(take(&outbox), 1);
    assert_eq!(sent(&outbox), (Vec::new(), 1));
}

#[test]
fn heartbeats_are_few_and_a_request_is_bounded() {
    let dir = Scratch::new();
    let outbox = Outbox::open(dir.path()).unwrap();
    for _ in 0..10 {
        beat(&outbox);
    }
    for n in 0..250 {
        alarm(&outbox, "notice", &n.to_string());
    }
    let (streams, beats) = sent(&outbox);
    assert_eq!((streams[0].1.len(), beats), (MAX_BATCH, MAX_HEARTBEATS));
    assert_eq!((take(&outbox), take(&outbox), outbox.counts().alarms), (MAX_BATCH, 50, 0));
}

#[test]
fn a_result_that_is_too_large_is_left_out_and_what_is_too_large_without_it_is_refused() {
    let dir = Scratch::new();
    let outbox = Outbox::open(dir.path()).unwrap();
    let body = |key: &str| Map::from_iter([("level".to_owned(), json!("critical")), (key.to_owned(), json!("x".repeat(300_000)))]);
    assert_eq!(outbox.alarm(Utc::now(), ClockState::Trusted, body("result")).unwrap(), Kept::OnDisk);
    assert_eq!(outbox.alarm(Utc::now(), ClockState::Trusted, body("text")).unwrap_err().code, "record-too-large");
    assert_eq!(outbox.counts().alarms, 1);
}

#[test]
fn a_stream_that_somebody_else_writes_goes_on_under_another_name() {
    let dir = Scratch::new();
    let outbox = Outbox::open(dir.path()).unwrap();
    alarm(&outbox, "warning", "a");
    let batch = outbox.batch(Utc::now()).unwrap();
    let name = |batch: &Batch| serde_json::from_str::<Value>(&batch.body).unwrap()["streams"][0]["stream"].clone();
    let forked = json!({ "streams": [{ "stream": name(&batch), "last": 7, "gaps": [], "code": "stream-forked" }] });
    assert_eq!(outbox.answered(&batch, serde_json::from_value(forked).unwrap(), Utc::now()), Some(("stream-forked".to_owned(), None)));
    let again = outbox.batch(Utc::now()).unwrap();
    assert_ne!(name(&again), name(&batch));
    assert_eq!(outbox.counts().alarms, 1);
}

#[test]
fn alarms_of_an_agent_from_before_go_on() {
    let dir = Scratch::new();
    let report = |n: u64| json!({ "sequence": n, "kind": "alarm", "body": { "sequence": n, "kind": "alarm", "at": "2026-11-29T08:00:00Z", "deployment_id": "d", "rule": n.to_string(), "level": "critical" } });
    let lines = [
        json!({ "accepted_through": 1, "next": 2, "dropped": 0 }),
        report(2),
        report(3),
        json!({ "sequence": 4, "kind": "heartbeat", "body": {} }),
        report(5),
        json!({ "accepted_through": 2, "next": 6, "dropped": 0, "taken": [5] }),
    ];
    let text = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n{\"torn";
    std::fs::write(dir.path().join("outbox.jsonl"), text).unwrap();
    let outbox = Outbox::open(dir.path()).unwrap();
    assert_eq!(sent(&outbox).0, [("critical".to_owned(), vec!["3".to_owned()])]);
    assert!(outbox.batch(Utc::now()).unwrap().body.contains("2026-11-29T08:00:00"));
    drop(outbox);
    assert_eq!(Outbox::open(dir.path()).unwrap().counts().alarms, 1, "once");
}
