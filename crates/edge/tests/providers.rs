//! Apps on execution providers at the real agent: the CPU serves first and last, golden samples decide, and a crash ends on the CPU for good.
//! OpenVINO is that of `scripts/openvino.sh`, which is there for x86-64 alone.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use app_package::manifest::{AppManifest, Provider, Tolerance};
use inference::onnx::OnnxRuntime;
use serde_json::{Value, json};
use support::node::{Node, failed, installed, until};
use support::{Server, app, ort_lib};

/// Arguments of an agent that has OpenVINO, and a library for CUDA that does not have it.
fn arguments() -> [String; 4] {
    #[expect(clippy::disallowed_methods, reason = "make test says in variables where the tests find their tools")]
    let library = std::env::var("OPENVINO_LIB").expect("set OPENVINO_LIB to what scripts/openvino.sh prints");
    ["--provider".into(), format!("openvino={library}"), "--provider".into(), format!("cuda={library}")]
}

fn deploy(server: &Server, (files, manifest): &(BTreeMap<String, Vec<u8>>, AppManifest)) {
    let release = server.publish(files, manifest);
    server.deploy("dep_1", &release, &Server::claims(&release), json!({}));
}

/// What `/v1/apps` says of the only app, once it holds.
async fn running(node: &Node, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    until(what, async || {
        let (_, text) = node.get("/v1/apps").await?;
        let apps: Value = serde_json::from_str(&text).ok()?;
        Some(apps["apps"][0].clone()).filter(|app| !app.is_null() && holds(app))
    })
    .await
}

fn passed_over(app: &Value) -> Vec<(&str, &str)> {
    let all = app["passed_over"].as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap(), one["code"].as_str().unwrap())).collect()
}

/// Children of the agent that run on a provider.
fn on_provider(node: &Node) -> Vec<String> {
    let named = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("--provider"));
    node.children().into_iter().filter(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_goes_over_to_the_first_provider_there_is_and_back_to_the_cpu_for_good_when_that_crashes() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let (mut files, mut manifest) = app("1.0.0", 3.0);
    manifest.providers = vec![Provider::Cann, Provider::Cuda, Provider::OpenVino];
    files.insert("app.yaml".to_owned(), serde_json::to_vec(&manifest).unwrap());
    deploy(&server, &(files, manifest));
    let arguments = arguments();
    let arguments = arguments.each_ref().map(String::as_str);
    node.start_as(&arguments, &[]);
    installed(&server, "dep_1", 1).await;

    let app = running(&node, "OpenVINO serves", |app| app["provider"]["name"] == "openvino").await;
    let provider = &app["provider"];
    assert_eq!((&provider["precision"], &provider["device"]), (&json!("FP32"), &json!("cpu")), "{app}");
    assert!(provider["version"].as_str().is_some_and(|version| version.starts_with("1.24")), "{app}");
    assert_eq!(passed_over(&app), [("cann", "provider-not-here"), ("cuda", "provider-missing")]);
    assert_eq!(node.serves().await["values"][0]["value"], json!(3.0));
    let page = node.get("/").await.unwrap().1;
    assert!(page.contains("openvino 1.24") && page.contains("FP32") && page.contains("provider-missing"), "{page}");
    // The platform is told the same.
    let told = until("the platform is told", async || {
        let told = server.world().capabilities.clone()?["x-pithead-extensions"].clone();
        (told["apps"]["dep_1"]["serves"]["name"] == "openvino").then_some(told)
    })
    .await;
    assert_eq!(told["providers"][0]["precision"], "FP32", "{told}");
    assert_eq!(told["providers"][1]["code"], "provider-missing", "{told}");
    assert_eq!(passed_over(&told["apps"]["dep_1"]), [("cann", "provider-not-here"), ("cuda", "provider-missing")]);
    let crashes = |server: &Server| server.world().statuses.iter().filter(|s| s["status"]["error"]["code"] == "app-crashed").count();
    assert_eq!(crashes(&server), 0, "nothing that was tried counts as a crash");

    // It crashes in service: the CPU takes over, and it is told with its reason.
    let children = on_provider(&node);
    assert_eq!(children.len(), 1, "the process of before has ended");
    for pid in &children {
        // Rust's own handler lets a SIGSEGV pass that is sent, and no fault of the process.
        assert!(Command::new("kill").args(["-ABRT", pid]).status().unwrap().success());
    }
    failed(&server, "dep_1", "provider-crashed").await;
    assert_eq!(node.serves().await["values"][0]["value"], json!(3.0));
    installed(&server, "dep_1", 1).await;
    let left = [("cann", "provider-not-here"), ("cuda", "provider-missing"), ("openvino", "provider-crashed")];
    let app = running(&node, "the CPU serves", |app| app["provider"]["name"] == "cpu").await;
    assert_eq!(passed_over(&app), left);

    // Not tried again, also after a restart of the agent.
    node.kill();
    node.start_as(&arguments, &[]);
    let app = running(&node, "the CPU serves again", |app| passed_over(app).len() == 3).await;
    assert_eq!((&app["provider"]["name"], passed_over(&app)), (&json!("cpu"), left.to_vec()));
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!((on_provider(&node).len(), crashes(&server)), (0, 0));
    assert_eq!(node.serves().await["version"], "1.0.0");
}

/// A demo app of which each golden sample promises to the last digit what the CPU gives: OpenVINO adds up in another order.
fn exact() -> (BTreeMap<String, Vec<u8>>, AppManifest) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/apps/belt-foreign-object");
    let yaml = std::fs::read_to_string(dir.join("app.yaml")).unwrap();
    let mut manifest = app_package::validate::parse(&yaml).unwrap();
    let engine = OnnxRuntime::init(&ort_lib()).unwrap();
    let answers = inference::worker::answers(&dir, None, false, &engine);
    assert_eq!(answers.fault, None);
    let mut files = BTreeMap::from([("model.onnx".to_owned(), std::fs::read(dir.join("model.onnx")).unwrap())]);
    for (sample, result) in manifest.golden.iter_mut().zip(&answers.results) {
        sample.tolerance = Tolerance { absolute: 0.0, relative: 0.0, time: None };
        files.insert(sample.input.clone(), std::fs::read(dir.join(&sample.input)).unwrap());
        files.insert(sample.expect.clone(), result.to_file());
    }
    manifest.media.clear();
    manifest.providers = vec![Provider::OpenVino];
    files.insert("app.yaml".to_owned(), serde_json::to_vec(&manifest).unwrap());
    (files, manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_reproduce_the_golden_samples_serves_nothing() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    deploy(&server, &exact());
    let arguments = arguments();
    node.start_as(&arguments.each_ref().map(String::as_str), &[]);
    installed(&server, "dep_1", 1).await;
    let app = running(&node, "OpenVINO was tried", |app| !passed_over(app).is_empty()).await;
    assert_eq!((&app["provider"]["name"], passed_over(&app)), (&json!("cpu"), vec![("openvino", "golden-not-reproduced")]));
    // The node is ready, and nothing was reported as failed.
    assert_eq!(node.ready().await, (200, json!({ "ready": true, "reasons": [] })));
    assert!(server.world().statuses.iter().all(|status| status["status"]["state"] != "failed"));
}
