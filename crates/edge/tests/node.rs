//! The real agent process against a small server: enrol, deploy, update, refuse, crash, go offline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::oci::{self, Descriptor};
use serde_json::{Value, json};
use support::node::{Node, enrol, failed, folder, installed, until};
use support::{CODE, NODE, Server, app};

#[test]
fn enrolment_refuses_wrong_pin_wrong_code_and_a_second_time() {
    let server = Server::start();
    let data = folder();
    let error = |output: std::process::Output| {
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let other = format!("sha256:{}", "0".repeat(64));
    let text = error(enrol(&data, &server.url, CODE, &other));
    assert!(text.contains("ca-pin-mismatch") && !text.contains("server-unreachable"), "{text}");
    assert!(error(enrol(&data, &server.url, "WRONG", &server.pin)).contains("enrollment-code-unknown"));
    let output = enrol(&data, &server.url, CODE, &server.pin);
    assert!(output.status.success());
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
    let next = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(next.contains(&format!("pithead-edge run --data {} --ort-lib", data.display())), "{next}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(data.join("identity.json")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(error(enrol(&data, &server.url, CODE, &server.pin)).contains("already-enrolled"));
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_several_apps_have_for_a_model_is_told_and_each_has_another_one() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let (files, manifest) = app("1.0.0", 3.0);
    let one = server.publish(&files, &manifest);
    for id in ["dep_1", "dep_2"] {
        server.deploy(id, &one, &Server::claims(&one), json!({}));
    }
    node.start();
    for id in ["dep_1", "dep_2"] {
        installed(&server, id, 3).await;
    }
    let get = async |path: &str| serde_json::from_str::<Value>(&node.get(path).await.unwrap().1).unwrap();
    let shared = get("/v2/models/belt").await;
    assert!(shared["warning"].as_str().unwrap().contains("ask for dep_1.belt, dep_2.belt"), "{shared}");
    let own = get("/v2/models/dep_2.belt").await;
    assert_eq!((&own["name"], &own["warning"], &own["inputs"]), (&json!("dep_2.belt"), &Value::Null, &shared["inputs"]));
    let index = node.post("/v2/repository/index", "").await.unwrap().1;
    assert!(index[0]["reason"].as_str().unwrap().contains("2 apps"), "{index}");
    let page = node.get("/").await.unwrap().1;
    assert!(page.contains("<code>dep_2.belt</code>") && page.contains("模型同名"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn life_of_an_app() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let (files, manifest) = app("1.0.0", 3.0);
    let one = server.publish(&files, &manifest);
    // The line breaks in the middle of a blob: it is resumed, not begun again.
    server.world().cut = 1;
    server.deploy("dep_1", &one, &Server::claims(&one), json!({ "limit": 2.0 }));
    node.start();
    installed(&server, "dep_1", 2).await;
    assert_eq!(server.world().resumed, 1);
    assert_eq!(server.world().capabilities.as_ref().unwrap()["properties"]["id"], NODE);
    assert!(server.world().capabilities.as_ref().unwrap()["labels"]["pithead.dev/onnx-runtime"].is_string());

    // It serves; an alarm reaches the server.
    let (status, answer) = node.predict().await.unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!((answer["values"][0]["value"].as_f64(), answer["alarms"][0]["rule"].as_str()), (Some(3.0), Some("over")));
    let alarm = until("alarm at the server", async || server.world().reports.iter().find(|r| r["kind"] == "alarm").cloned()).await;
    assert_eq!((&alarm["digest"], &alarm["text"]["zh"]), (&json!(one.digest), &json!("3号皮带过载")));
    let child = node.children()[0].clone();
    assert_eq!(std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap().trim(), "pithead-app");
    until("heartbeat with the app", async || {
        server.world().reports.iter().find(|r| r["kind"] == "heartbeat" && r["apps"][0]["inferences"] == 1).cloned()
    })
    .await;

    // A body that is not packed as it says is refused, not misread.
    let packed = node.client.post(format!("http://{}/v1/apps/belt-load/predict", node.address)).header("content-encoding", "gzip");
    let answer = packed.body("p,q,r,s\n1,2,3,4\n").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("body-unreadable"));

    // Open Inference Protocol.
    let question = json!({ "inputs": [{ "name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4] }] });
    let (status, answer) = node.post("/v2/models/belt/infer", question.to_string()).await.unwrap();
    assert_eq!((status, &answer["outputs"][0]["data"]), (200, &json!([1.0, 2.0, 3.0, 4.0])), "{answer}");
    assert_eq!(node.get("/v2/health/ready").await.unwrap().0, 200);
    assert_eq!(node.get("/v2/models/belt/versions/1.0.0/ready").await.unwrap().0, 200);
    assert_eq!(node.get("/v2/models/other").await.unwrap().0, 404);
    let (status, answer) = node.post("/v1/apps/belt-load/predict", "p,q\n1,2\n").await.unwrap();
    assert_eq!((status, &answer["code"]), (400, &json!("csv-column-missing")), "{answer}");
    let page = node.get("/").await.unwrap().1;
    assert!(page.contains("节点&lt;1&gt;") && page.contains("acme/belt-load"), "{page}");
    assert!(node.get("/metrics").await.unwrap().1.contains("pithead_edge_inferences_total{app=\"acme/belt-load\",version=\"1.0.0\""));

    // Fast enough.
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        let (status, _) = node.post("/v2/models/belt/infer", question.to_string()).await.unwrap();
        assert_eq!(status, 200);
        times.push(start.elapsed());
    }
    times.sort();
    println!("infer over the API: p50 {:?}, p95 {:?}", times[150], times[285]);
    assert!(times[150] < Duration::from_millis(10), "{:?}", times[150]);

    // Another limit: the same process goes on, the alarm is gone.
    let before = node.children();
    server.deploy("dep_1", &one, &Server::claims(&one), json!({ "limit": 50.0 }));
    installed(&server, "dep_1", 3).await;
    assert_eq!(node.children(), before);
    assert!(node.predict().await.unwrap().1.get("alarms").is_none());

    // A release that does not reproduce its golden sample fails; the former one goes on.
    let (files, manifest) = app("1.1.0", 4.0);
    let bad = server.publish(&files, &manifest);
    server.deploy("dep_1", &bad, &Server::claims(&bad), json!({}));
    failed(&server, "dep_1", "golden-not-reproduced").await;
    assert_eq!(node.predict().await.unwrap().1["version"], "1.0.0");

    // A good one takes over.
    let (files, manifest) = app("1.2.0", 3.0);
    let two = server.publish(&files, &manifest);
    server.deploy("dep_1", &two, &Server::claims(&two), json!({}));
    installed(&server, "dep_1", 5).await;
    assert_eq!(node.predict().await.unwrap().1["version"], "1.2.0");

    // kill -9 of the child: it is back, and counted.
    until("only the new child", async || (node.children().len() == 1).then_some(())).await;
    let child = node.children()[0].clone();
    Command::new("kill").args(["-9", &child]).status().unwrap();
    until("the app serves again", async || node.predict().await.filter(|(status, _)| *status == 200)).await;
    assert!(
        node.get("/metrics")
            .await
            .unwrap()
            .1
            .contains("pithead_edge_restarts_total{app=\"acme/belt-load\",version=\"1.2.0\",deployment=\"dep_1\"} 1")
    );

    // kill -9 of the agent while the server is away: the child ends, a new agent serves from disk.
    server.world().down = true;
    let child = node.children()[0].clone();
    node.kill();
    until("the orphan has ended", async || (!Path::new(&format!("/proc/{child}/exe")).exists()).then_some(())).await;
    node.start();
    // Until it serves it says that it is about to, never that it has no such app.
    let (_, answer) = until("serving offline", async || {
        let (status, answer) = node.predict().await?;
        assert!(status == 200 || (status, &answer["code"]) == (503, &json!("app-starting")), "{status} {answer}");
        (status == 200).then_some((status, answer))
    })
    .await;
    assert_eq!(answer["version"], "1.2.0");
    // What a former run has heard of the platform is still known.
    let page = node.get("/").await.unwrap().1;
    assert!(!page.contains("<dt>最近联系</dt><dd>无"), "{page}");
    assert!(node.get("/metrics").await.unwrap().1.contains("pithead_edge_manifest_version 5"));

    // Alarms raised offline arrive later, with numbers never used before.
    let known = server.world().reports.len();
    server.world().down = false;
    until("reports go on", async || (server.world().reports.len() > known).then_some(())).await;

    // Rollback of the desired state is refused.
    {
        let mut world = server.world();
        world.version = 3;
        world.deployments.clear();
    }
    until("the refusal in a heartbeat", async || {
        let told = |r: &&Value| r["node"]["trouble"]["code"] == "manifest-version-not-higher";
        server.world().reports.iter().find(told).cloned()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    until("still served", async || node.predict().await.filter(|(status, _)| *status == 200)).await;
    assert!(node.get("/").await.unwrap().1.contains("manifest-version-not-higher"));
    server.world().version = 6;
    until("a heartbeat without trouble", async || {
        server.world().reports.iter().rfind(|r| r["kind"] == "heartbeat").filter(|r| r["node"]["trouble"].is_null()).cloned()
    })
    .await;
    until("removed", async || server.state("dep_1").filter(|(state, _, _)| state == "removed")).await;
    assert_eq!(node.predict().await.unwrap().1["code"], "app-not-running");

    // The platform accepts the node no more: its page says so and what to do.
    server.world().removed = true;
    until("the page of a removed node", async || node.get("/").await.filter(|(_, page)| page.contains("平台不再接受该节点"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_licensed_signed_or_whole_does_not_run() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let (files, manifest) = app("1.0.0", 3.0);
    let release = server.publish(&files, &manifest);
    let good = Server::claims(&release);
    node.start();

    let mut other = good.clone();
    other.nodes = vec!["spiffe://test.example/margo/wfm/main/client/nod_2".into()];
    server.deploy("node", &release, &other, json!({}));
    failed(&server, "node", "license-node-not-activated").await;

    let mut other = good.clone();
    other.app = "acme/other".into();
    server.deploy("app", &release, &other, json!({}));
    failed(&server, "app", "license-scope-mismatch").await;

    let mut other = good.clone();
    other.digests = vec![format!("sha256:{}", "1".repeat(64))];
    server.deploy("digest", &release, &other, json!({}));
    failed(&server, "digest", "license-version-not-covered").await;

    let mut other = good.clone();
    other.exp = Some(other.iat - 5);
    server.deploy("expired", &release, &other, json!({}));
    failed(&server, "expired", "license-expired").await;

    server.deploy("parameter", &release, &good, json!({ "limit": "high" }));
    failed(&server, "parameter", "parameter-invalid").await;

    // A model that was changed on its way.
    let (mut files, manifest) = app("1.0.1", 3.0);
    files.insert("notes.txt".into(), b"true".to_vec());
    let changed = server.publish(&files, &manifest);
    let digest = app_package::digest::Digest::of(b"true").to_string();
    server.world().blobs.insert(digest, b"fake".to_vec());
    server.deploy("changed", &changed, &good, json!({}));
    failed(&server, "changed", "digest-mismatch").await;

    // A release that nobody signed.
    let (files, manifest) = app("1.0.2", 3.0);
    let unsigned = server.publish(&files, &manifest);
    server.world().signatures.clear();
    server.deploy("unsigned", &unsigned, &good, json!({}));
    failed(&server, "unsigned", "signature-absent").await;

    // A document that is not what its digest says: the whole manifest is refused.
    server.world().forged.insert("forged".into());
    server.deploy("forged", &release, &good, json!({}));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.state("forged"), None);
    let list = node.get("/v1/apps").await.unwrap().1;
    assert_eq!(list, "{\"apps\":[]}");
    assert!(node.children().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_attach_hides_no_signature_of_the_platform() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let (files, manifest) = app("1.0.0", 3.0);
    let release = server.publish(&files, &manifest);
    let good = Server::claims(&release);
    // Envelopes that are none, that are not there, and that are too long: all before the platform's.
    let large = vec![b' '; 1024 * 1024];
    let attach = |n: usize| {
        let mut world = server.world();
        let subject = Descriptor::of(oci::MANIFEST_TYPE, &world.manifests[release.digest.as_str()]);
        let listed = world.signatures.remove(release.digest.as_str()).unwrap();
        let platform = listed.last().unwrap().clone();
        let mut all = Vec::new();
        for i in 0..n {
            let envelope = if i == 7 { large.clone() } else { format!("[{i}]").into_bytes() };
            if i % 2 == 1 {
                world.blobs.insert(Digest::of(&envelope).to_string(), envelope.clone());
            }
            let bytes = oci::signature_manifest(oci::SIGNATURE_TYPE, &subject, &envelope);
            let artifact_type = Some(oci::SIGNATURE_TYPE.to_owned());
            all.push(Descriptor { artifact_type, ..Descriptor::of(oci::MANIFEST_TYPE, &bytes) });
            world.manifests.insert(Digest::of(&bytes).to_string(), bytes);
        }
        all.push(platform.clone());
        world.signatures.insert(release.digest.to_string(), all);
        platform.digest
    };
    node.start();

    // A document that does not name it: as far as one page goes, and no further.
    let platform = attach(60);
    server.deploy("one", &release, &good, json!({}));
    until("one failed", async || server.state("one").filter(|(state, ..)| state == "failed")).await;
    attach(40);
    server.deploy("two", &release, &good, json!({}));
    installed(&server, "two", 1).await;
    assert!(!server.world().asked.contains(Digest::of(&large).as_str()), "no envelope is that long");

    // A document that names it: whatever is attached, nothing else is looked at.
    let bogus = (0..60).map(|i| Digest::of(format!("[{i}]").as_bytes()).to_string());
    let mut node = Node::enrol_again(&server, node);
    attach(60);
    server.world().deployments.clear();
    server.world().asked.clear();
    server.world().named.insert(release.digest.to_string(), platform);
    server.deploy("three", &release, &good, json!({}));
    node.start();
    installed(&server, "three", 1).await;
    assert!(bogus.into_iter().all(|digest| !server.world().asked.contains(&digest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recalled_release_runs_on_and_is_installed_no_more() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let (files, manifest) = app("1.0.0", 3.0);
    let one = server.publish(&files, &manifest);
    server.deploy("dep_1", &one, &Server::claims(&one), json!({}));
    node.start();
    installed(&server, "dep_1", 2).await;
    let before = node.children();

    // The registry gives it out no more, and the state says why: the same process goes on, and people at the node read the reason.
    server.world().manifests.clear();
    server.deploy_recalled("dep_1", &one, &Server::claims(&one), "misses <smoke>");
    installed(&server, "dep_1", 3).await;
    assert_eq!(node.children(), before);
    assert_eq!(node.predict().await.unwrap().0, 200);
    let list: Value = serde_json::from_str(&node.get("/v1/apps").await.unwrap().1).unwrap();
    assert_eq!((&list["apps"][0]["recalled"], &list["apps"][0]["ready"]), (&json!("misses <smoke>"), &json!(true)));
    let page = node.get("/").await.unwrap().1;
    assert!(page.contains("平台已召回此版本") && page.contains("misses &lt;smoke&gt;"), "{page}");

    // A new agent brings it up again from disk.
    node.kill();
    node.start();
    until("the recalled app serves again", async || node.predict().await.filter(|(status, _)| *status == 200)).await;

    // Where it does not run it does not begin, and the node is ready all the same.
    server.deploy_recalled("dep_2", &one, &Server::claims(&one), "misses <smoke>");
    failed(&server, "dep_2", "release-recalled").await;
    let (status, ready) = node.get("/v2/health/ready").await.unwrap();
    assert!(status == 200 && ready.contains("release-recalled"), "{status} {ready}");

    // An update to a recalled release is refused too; what runs goes on. A correction takes over and is not marked.
    let (files, manifest) = app("1.1.0", 3.0);
    let two = server.publish(&files, &manifest);
    server.deploy_recalled("dep_1", &two, &Server::claims(&two), "worse");
    failed(&server, "dep_1", "release-recalled").await;
    assert_eq!(node.predict().await.unwrap().1["version"], "1.0.0");
    server.deploy("dep_1", &two, &Server::claims(&two), json!({}));
    installed(&server, "dep_1", 6).await;
    assert_eq!(node.predict().await.unwrap().1["version"], "1.1.0");
    let list: Value = serde_json::from_str(&node.get("/v1/apps").await.unwrap().1).unwrap();
    assert_eq!(list["apps"][0]["recalled"], Value::Null);
}
