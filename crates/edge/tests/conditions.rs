//! The real agent under bad conditions: a wrong clock, a crash, a copied data folder, a flood of alarms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::node::{Node, failed, installed, until};
use support::{Server, app};

/// A library that moves the clock of the program it is loaded before, in the node's data folder.
fn moved_clock(node: &Node) -> PathBuf {
    let library = node.data.join("libclock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clock.c");
    assert!(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap().success());
    library
}

fn deploy(server: &Server) {
    let (files, manifest) = app("1.0.0", 3.0);
    let release = server.publish(&files, &manifest);
    server.deploy("dep_1", &release, &Server::claims(&release), json!({ "limit": 2.0 }));
}

fn codes(ready: &Value) -> Vec<&str> {
    ready["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

fn unix_now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_at_1970_without_the_platform_stops_nothing() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let library = moved_clock(&node).display().to_string();
    // Issued later than all else that the node knows of the time.
    let (files, manifest) = app("1.0.0", 3.0);
    let release = server.publish(&files, &manifest);
    let mut claims = Server::claims(&release);
    claims.iat = (unix_now() / 86_400 + 30) * 86_400 + 43_200;
    claims.exp = Some(claims.iat + 3_600);
    let issued = chrono::DateTime::from_timestamp(claims.iat, 0).unwrap().format("%Y-%m-%d").to_string();
    server.deploy("dep_1", &release, &claims, json!({ "limit": 2.0 }));
    node.start();
    installed(&server, "dep_1", 2).await;
    assert_eq!(node.ready().await, (200, json!({ "ready": true, "reasons": [] })));
    let kept = node.data.join("proved-time");
    let noted = async || std::fs::read_to_string(&kept).ok()?.parse::<i64>().ok().filter(|at| at.abs_diff(unix_now()) < 60);
    until("a note of the platform's time", noted).await;
    node.kill();

    // Nobody answers at the address of the platform.
    let identity = node.data.join("identity.json");
    let real = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, real.replace(&server.url, "https://localhost:1")).unwrap();
    let back = (60 - unix_now()).to_string();
    let wrong = [("LD_PRELOAD", library.as_str()), ("CLOCK_OFFSET", back.as_str())];
    for noted in [true, false] {
        if !noted {
            // Without a note of the time, the licence itself proves when it was issued; with one it proves more.
            std::fs::remove_file(node.data.join("proved-time")).unwrap();
        }
        node.start_as(&[], &wrong);
        node.serves().await;
        let (status, ready) = node.ready().await;
        assert_eq!((status, codes(&ready).contains(&"clock-wrong")), (200, true), "{ready}");
        assert!(ready["reasons"][0]["message"].as_str().unwrap().contains(&format!("at least {issued}")), "{ready}");
        let page = node.get("/").await.unwrap().1;
        assert!(page.contains("clock-wrong") && page.contains("时钟不准"), "{page}");
        assert!(node.get("/metrics").await.unwrap().1.contains("pithead_edge_clock_wrong 1"));
        node.kill();
    }

    // The platform is back: the node reaches it in spite of its clock, takes its time, and says what is wrong.
    std::fs::write(&identity, real).unwrap();
    let known = server.world().reports.len();
    node.start_as(&[], &wrong);
    let told = until("the clock in a heartbeat", async || {
        let clock =
            |r: &&Value| r["node"]["trouble"]["code"] == "clock-wrong" && r["at"].as_str().is_some_and(|at| !at.starts_with("1970"));
        server.world().reports.iter().skip(known).find(clock).cloned()
    })
    .await;
    // Its word holds against the licence's.
    let at = told["at"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(at).unwrap().timestamp().abs_diff(unix_now()) < 3_600, "{told}");
    assert_eq!(node.serves().await["version"], "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_runs_ahead_ends_no_licence_and_renews_nothing_again_and_again() {
    let server = Server::start();
    server.world().aged = true;
    let mut node = Node::enrol(&server);
    let library = moved_clock(&node).display().to_string();
    let ahead = (400 * 86_400).to_string();
    let wrong = [("LD_PRELOAD", library.as_str()), ("CLOCK_OFFSET", ahead.as_str())];
    deploy(&server);
    node.start_as(&[], &wrong);
    installed(&server, "dep_1", 2).await;
    node.serves().await;
    assert!(codes(&node.ready().await.1).contains(&"clock-wrong"));
    // Each certificate is due as soon as it is there: it is renewed once all the same, also over a restart.
    until("a renewal", async || (server.world().renewals > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    node.kill();
    node.start_as(&[], &wrong);
    node.serves().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.world().renewals, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_its_licence_refuses_makes_the_node_not_ready() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let (files, manifest) = app("1.0.0", 3.0);
    let release = server.publish(&files, &manifest);
    let mut claims = Server::claims(&release);
    claims.exp = Some(claims.iat - 5);
    server.deploy("dep_1", &release, &claims, json!({}));
    node.start();
    failed(&server, "dep_1", "license-expired").await;
    let (status, ready) = node.ready().await;
    assert_eq!((status, codes(&ready)), (503, vec!["license-expired"]), "{ready}");
    assert!(node.get("/").await.unwrap().1.contains("许可证已到期"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_failed_is_a_reason_while_the_version_before_serves() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    deploy(&server);
    node.start();
    installed(&server, "dep_1", 2).await;
    let (files, manifest) = app("1.1.0", 4.0);
    let bad = server.publish(&files, &manifest);
    server.deploy("dep_1", &bad, &Server::claims(&bad), json!({}));
    failed(&server, "dep_1", "golden-not-reproduced").await;
    assert_eq!(node.serves().await["version"], "1.0.0");
    let (status, ready) = node.ready().await;
    assert_eq!((status, &ready["ready"], codes(&ready)), (200, &json!(true), vec!["golden-not-reproduced"]), "{ready}");
    // The former version is wanted again: nothing is amiss.
    deploy(&server);
    installed(&server, "dep_1", 4).await;
    assert_eq!(node.ready().await.1, json!({ "ready": true, "reasons": [] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_told_and_so_is_the_return() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    deploy(&server);
    node.start();
    installed(&server, "dep_1", 2).await;
    node.serves().await;
    for pid in node.children() {
        Command::new("kill").args(["-9", &pid]).status().unwrap();
    }
    failed(&server, "dep_1", "app-crashed").await;
    installed(&server, "dep_1", 2).await;
    assert_eq!(node.serves().await["version"], "1.0.0");
    let told = server.world().statuses.iter().filter(|s| s["status"]["error"]["code"] == "app-crashed").count();
    assert_eq!(told, 1, "once for one crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_data_folder_is_told_until_it_is_adopted() {
    if std::fs::read_to_string("/etc/machine-id").is_ok_and(|id| id.trim().len() == 32) {
        let server = Server::start();
        let mut node = Node::enrol(&server);
        node.start();
        until("the first start", async || node.get("/").await).await;
        node.kill();
        std::fs::write(node.data.join("machine"), "sha256:of-another").unwrap();
        let told = async |node: &Node| node.get("/v2/health/ready").await.is_some_and(|(_, text)| text.contains("data-folder-copied"));
        node.start();
        until("the copy runs, and says that it is one", async || told(&node).await.then_some(())).await;
        assert!(node.get("/").await.unwrap().1.contains("data-folder-copied"));
        node.kill();
        node.start_as(&["--adopt"], &[]);
        until("the adopted folder", async || node.get("/").await).await;
        assert!(!told(&node).await);
        assert!(!node.get("/").await.unwrap().1.contains("data-folder-copied"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_frames_of_one_thing_are_one_alarm_with_a_beginning_and_an_end() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    deploy(&server);
    node.start();
    node.serves().await;
    server.world().down = true;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..1_000 {
        let answer = node.predict_of("belt-3").await.unwrap().1;
        assert!(
            answer["alarm_fault"].is_null() && answer["alarms"][0]["rule"] == "over",
            "the caller gets the alarm in any case: {answer}"
        );
        names.insert(answer["alarm_episodes"][0].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 1);
    let name = names.pop_first().unwrap();
    // The agent is killed while it goes on; the next one ends it.
    node.kill();
    server.world().down = false;
    node.start();
    let told = until("the end of the alarm", async || {
        let of = server.world().reports.iter().filter(|r| r["episode"] == name).cloned().collect::<Vec<_>>();
        of.iter().any(|record| record["phase"] == "end").then_some(of)
    })
    .await;
    let phases: Vec<_> = told.iter().map(|record| record["phase"].as_str().unwrap()).collect();
    assert_eq!((phases[0], phases.iter().filter(|phase| **phase == "begin").count()), ("begin", 1), "{phases:?}");
    assert_eq!((&told[0]["source"], &told[0]["origin"]["parameters"]["limit"]), (&json!("belt-3"), &json!(2.0)));
    assert!(told[0]["result"]["values"].is_array() && told.last().unwrap()["count"].as_u64() >= told[0]["count"].as_u64(), "{told:?}");
    assert_eq!(node.predict_of("a;b").await.unwrap().1["code"], "source-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_states_are_records_that_go_on_over_restarts() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    deploy(&server);
    node.start();
    node.serves().await;
    let count = async |least: u64| {
        until("the counter", async || {
            let world = server.world();
            let counters = world.records.iter().rev().filter(|record| record["kind"] == "usage").flat_map(|record| {
                let epoch = record["epoch"].as_str().unwrap().to_owned();
                record["counters"].as_array().unwrap().iter().map(move |counter| (epoch.clone(), counter.clone())).collect::<Vec<_>>()
            });
            counters.into_iter().find(|(_, c)| c["meter"] == "inferences" && c["count"].as_u64() >= Some(least))
        })
        .await
    };
    let (epoch, first) = count(1).await;
    node.kill();
    node.start();
    node.serves().await;
    let (again, _) = count(first["count"].as_u64().unwrap() + 1).await;
    assert_eq!(again, epoch);
    let states: Vec<_> = server.world().records.iter().filter(|r| r["kind"] == "status").map(|r| r["status"]["state"].clone()).collect();
    assert!(states.contains(&json!("installing")) && states.contains(&json!("installed")), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_refused_for_a_while_holds_no_critical_alarm_up() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    server.world().refused = Some(0);
    deploy(&server);
    node.start();
    until("a refused status", async || server.world().refused.filter(|count| *count > 0)).await;
    node.serves().await;
    // The sender waits for 40 s now, as the platform told it.
    for n in 0..2 {
        let begin = Instant::now();
        let name = node.predict_of(&format!("s{n}")).await.unwrap().1["alarm_episodes"][0].clone();
        until("the alarm at the platform", async || server.world().reports.iter().any(|r| r["episode"] == name).then_some(())).await;
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
    assert_eq!(server.world().statuses, Vec::<Value>::new());
}
