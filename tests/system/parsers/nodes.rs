//! Damaged calls of a node to its endpoint, and damaged questions to a node. The node has an accepted certificate, and each call is first seen
//! to be taken: else the damage would only show how a stranger is refused.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::Utc;
use diesel::prelude::*;
use pithead::base::db::schema::{deployments, nodes, releases};
use rand::RngExt as _;
use rand::rngs::StdRng;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::{CLIENT, Run, send};
use crate::certificates;
use crate::damage::{bent, damaged, damaged_bytes, pick};
use crate::demo::Demo;
use crate::server::TestServer;

#[tokio::test]
async fn damaged_certificate_requests_are_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (ca, now) = (&server.app.ca, server.app.clock.now());
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::new(vec!["node".to_owned()]).unwrap().serialize_request(&key).unwrap().pem().unwrap();
    ca.sign_node(&csr, "nod_1", now).unwrap();
    let mut run = Run::begin("certificate requests");
    while let Some(mut rng) = run.case() {
        let other = damaged(&csr, &mut rng);
        // Damage that the encoding passes over leaves the request as it was; all else breaks the signature in it.
        if let Ok(issued) = ca.sign_node(&other, "nod_1", now) {
            assert!(issued.spiffe_id.ends_with("/client/nod_1"), "seed {}: {}", run.seed(), issued.spiffe_id);
        }
    }
    server.stop().await;
}

fn csr() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

/// A call of a node: method, path, and body where it has one.
struct Call(Method, String, Option<Value>);

impl Call {
    fn post(path: &str, body: Value) -> Self {
        Self(Method::POST, path.to_owned(), Some(body))
    }

    /// The body with damage: of its text, or of a value in it.
    fn body(&self, rng: &mut StdRng) -> Option<String> {
        let body = self.2.as_ref()?;
        Some(if rng.random_range(0..3) == 0 { damaged(&body.to_string(), rng) } else { bent(body, rng).to_string() })
    }

    /// The path, now and then with damage in its last part.
    fn path(&self, rng: &mut StdRng) -> String {
        let (start, last) = self.1.rsplit_once('/').unwrap();
        if rng.random_range(0..6) > 0 {
            return self.1.clone();
        }
        format!("{start}/{}", super::encoded(&damaged(last, rng)))
    }
}

/// All that a node says and asks, as API.md has it.
async fn calls(demo: &Demo, node_id: &str) -> Vec<Call> {
    let id = node_id.to_owned();
    let (deployment, digest, version) = demo
        .read(move |conn| {
            let of_node = deployments::table.inner_join(releases::table.on(releases::id.eq(deployments::release_id)));
            let (deployment, digest): (String, String) =
                of_node.filter(deployments::node_id.eq(&id)).select((deployments::id, releases::digest)).first(conn)?;
            let version: i64 = nodes::table.find(&id).select(nodes::manifest_version).first(conn)?;
            Ok((deployment, digest, version))
        })
        .await;
    let now = Utc::now();
    let heartbeat = json!({"sequence": 1_000_000, "at": now, "kind": "heartbeat", "node": {"cpu_percent": 12.5, "memory_used_bytes": 1_000,
        "memory_total_bytes": 8_000, "trouble": {"code": "disk-full", "message": "full"}, "instance": "i", "alarms_dropped": 0, "alarms_suppressed": 0},
        "apps": [{"deployment_id": deployment, "version": "1.0.0", "state": "installed", "inferences": 1, "errors": 0, "p50_ms": 1.5, "p95_ms": null,
            "memory_bytes": null, "restarts": 0}],
        "sources": [{"id": "belt-3", "name": "Belt", "kind": "rtsp", "state": "failed", "code": "source-silent", "troubles": ["black"], "size": [1920, 1080],
            "rate": 5.0, "apps": ["acme/belt"], "frames": 1}]});
    let alarm = json!({"sequence": 1_000_001, "at": now, "kind": "alarm", "deployment_id": deployment, "digest": digest, "rule": "r", "level": "critical",
        "text": {"zh": "锚杆", "en": "bolt"}, "result": {"detections": [{"label": "bolt", "score": 0.5, "box": [1, 2, 3, 4]}]}});
    let capabilities = json!({"properties": {"id": node_id, "vendor": "V", "modelNumber": "M", "serialNumber": "S", "cpus": [{"cores": 4, "architecture": "amd64"}],
        "memory": "8Gi", "storage": "64Gi", "interfaces": [{"type": "ethernet"}], "peripherals": [], "otelCollector": false, "supportedRuntimes": ["custom"],
        "supportedDeploymentTypes": ["custom"]}, "labels": {"pithead.dev/onnx-runtime": "1.22.0"}});
    let status = json!({"deploymentId": deployment, "adoptedManifestVersion": version, "status": {"state": "installed"},
        "components": [{"name": "app", "state": "installed"}]});
    let record = |stream: &str, body: Value| json!({"seq": 1, "prev": app_package::stream::beginning(stream), "at": now, "mono": 5, "boot": "b", "clock": "trusted", "body": body});
    let mut episode = alarm.clone();
    for (key, value) in [
        ("episode", json!("e1")),
        ("phase", json!("begin")),
        ("begun", json!(now)),
        ("last", json!(now)),
        ("count", json!(1)),
        ("source", json!("belt-1")),
    ] {
        episode[key] = value;
    }
    let usage = json!({"epoch": "e", "counters": [{"deployment_id": deployment, "meter": "inferences", "count": 5}]});
    let stream = |kind: &str, body: Value| {
        let name = format!("fuzzed{kind}");
        let gone = json!({"dropped": {"from": 2, "to": 3, "hash": digest, "lost": {"notice": 2}, "why": "no-room"}});
        json!({"stream": name, "kind": kind, "records": [record(&name, body), gone]})
    };
    let streams = [stream("critical", episode), stream("status", status.clone()), stream("usage", usage)];
    vec![
        Call::post("/edge/reports", json!({"reports": [heartbeat, alarm]})),
        Call::post("/edge/reports", json!({"boot": "b", "mono": 9, "reports": [], "streams": streams})),
        Call(Method::PUT, format!("/api/v1/capabilities/{node_id}"), Some(capabilities)),
        Call::post(&format!("/api/v1/deployments/{deployment}/status"), status),
        Call(Method::GET, "/api/v1/deployments".to_owned(), None),
        Call::post("/edge/renew", json!({"csr_pem": csr()})),
        Call(Method::DELETE, format!("/api/v1/capabilities/{node_id}"), None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_calls_of_a_node_are_answered() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Its own: what is taken counts against what the nodes of the operator may send.
    let demo = Demo::start();
    let known = certificates::known(&demo.folder.join("edge-3"));
    let (node, stranger) = (certificates::client(&demo, Some(&known.pem)), certificates::client(&demo, None));
    let mut calls = calls(&demo, &known.node_id).await;
    for Call(method, path, body) in &calls {
        let request = node.request(method.clone(), format!("{}{path}", demo.edge));
        let answer = body.iter().fold(request, reqwest::RequestBuilder::json).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        if path == "/edge/reports" {
            let taken: Value = serde_json::from_str(&text).unwrap();
            let streams = taken["streams"].as_array().unwrap();
            assert_eq!((taken["accepted"] == 2, &taken["refused"]), (streams.is_empty(), &json!(0)), "{taken}");
            assert!(streams.iter().all(|stream| stream["taken"] == 3 && stream["refused"] == 0), "{taken}");
        }
    }
    // A code is good once: the second one that comes with it is refused for what it is.
    let enrol = json!({"code": "AAAA-BBBB-CCCC", "csr_pem": csr(), "agent_version": "0.1.0"});
    let refused = stranger.post(format!("{}/edge/enroll", demo.edge)).json(&enrol).send().await.unwrap();
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "enrollment-code-unknown", "the body is understood: {refused}");
    calls.push(Call::post("/edge/enroll", enrol));

    let mut run = Run::begin("calls of a node");
    while let Some(mut rng) = run.case() {
        let rng = &mut rng;
        let call = pick(&calls, rng);
        // Who enrols has no certificate, and others must not need one to be refused.
        let client = if call.1 == "/edge/enroll" || rng.random_range(0..10) == 0 { &stranger } else { &node };
        let mut request = client.request(call.0.clone(), format!("{}{}", demo.edge, call.path(rng)));
        for (name, value) in [("accept", "application/vnd.margo.manifest.v1+json"), ("if-none-match", "\"sha256:00\"")] {
            if rng.random_range(0..3) == 0
                && let Ok(value) = reqwest::header::HeaderValue::from_bytes(damaged(value, rng).as_bytes())
            {
                request = request.header(name, value);
            }
        }
        if let Some(body) = call.body(rng) {
            request = request.header("content-type", "application/json").body(body);
        }
        send(request, run.seed()).await;
    }
    let ready = stranger.get(format!("{}/readyz", demo.edge)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK, "the server is ready");
}

/// Address of a node, name of an app on it and of its model, once an app with this kind of input runs: nodes fetch and prove their apps first.
async fn running(demo: &Demo, input: &str) -> (String, String, String) {
    let client = CLIENT.with(Client::clone);
    let begin = Instant::now();
    loop {
        for node in &demo.nodes {
            let listed: Value = client.get(format!("{node}/v1/apps")).send().await.unwrap().json().await.unwrap();
            if let Some(app) = listed["apps"].as_array().unwrap().iter().find(|app| app["input"] == input && app["ready"] == true) {
                let of = |name: &str| app[name].as_str().unwrap().to_owned();
                return (node.clone(), of("name"), of("model"));
            }
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "no {input} app runs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Pictures and tables for predictions, and numbers for tensors in both forms of the Open Inference Protocol.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_inference_requests_are_answered() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::shared();
    let client = CLIENT.with(Client::clone);
    let (table, picture) = (running(&demo, "tabular").await, running(&demo, "image").await);
    let (node, _, model) = table.clone();
    let described: Value = client.get(format!("{node}/v2/models/{model}")).send().await.unwrap().json().await.unwrap();
    let tensor = &described["inputs"][0];
    let shape: Vec<i64> = tensor["shape"].as_array().unwrap().iter().map(|side| side.as_i64().unwrap().max(1)).collect();
    let elements = usize::try_from(shape.iter().product::<i64>()).unwrap();
    let question = |input: Value| json!({"id": "q", "inputs": [input], "outputs": [{"name": described["outputs"][0]["name"]}]}).to_string();
    let mut input = json!({"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"]});
    input["data"] = json!(vec![0.5; elements]);
    let text = question(input.clone());
    input.as_object_mut().unwrap().remove("data");
    input["parameters"] = json!({"binary_data_size": elements * 4});
    let header = question(input);
    let address = format!("{node}/v2/models/{model}/infer");
    assert_eq!(client.post(&address).body(text.clone()).send().await.unwrap().status(), 200);
    let golden = |app: &str, sample: &str| {
        let app = app.rsplit('/').next().unwrap();
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(app).join("golden").join(sample)).unwrap()
    };
    let samples = [(table, "1.csv"), (picture, "1.png")]
        .map(|((node, app, _), sample)| (format!("{node}/v1/apps/{app}/predict"), golden(&app, sample)));
    for (address, sample) in &samples {
        assert_eq!(client.post(address).body(sample.clone()).send().await.unwrap().status(), 200, "{address}");
    }
    let mut run = Run::begin("inference requests");
    while let Some(mut rng) = run.case() {
        let rng = &mut rng;
        let request = if rng.random_range(0..3) == 0 {
            let (address, sample) = pick(&samples, rng);
            client.post(address).body(damaged_bytes(sample, rng))
        } else if rng.random_range(0..2) == 0 {
            let whole = serde_json::from_str(&text).unwrap();
            client.post(&address).body(if rng.random_range(0..2) == 0 { damaged(&text, rng) } else { bent(&whole, rng).to_string() })
        } else {
            let header = if rng.random_range(0..4) == 0 { header.clone() } else { damaged(&header, rng) };
            let length = header.len().saturating_add_signed(*pick(&[0, 0, 0, -1, 1, 9_999], rng));
            let mut body = header.into_bytes();
            body.extend(std::iter::repeat_n(rng.random::<u8>(), elements * 4));
            client.post(&address).header("inference-header-content-length", length).body(body)
        };
        send(request, run.seed()).await;
    }
    assert_eq!(client.post(&address).body(text).send().await.unwrap().status(), 200, "the app answers as before");
}
