//! The platform's keys change, one after the other, by the commands of an administrator, while a whole demo runs: servers and nodes go on.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use app_package::dsse::Envelope;
use app_package::root::Root;

use crate::demo::Demo;

fn keys(demo: &Demo, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pithead"))
        .args(["admin", "keys"])
        .args(arguments)
        .env("PITHEAD_DATA_DIR", &demo.folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Does something that two root keys sign.
fn signed(demo: &Demo, arguments: &[&str]) {
    let [a, b] = [1, 3].map(|n| demo.folder.join(format!("keys/root-keys/root-{n}.pem")).to_str().unwrap().to_owned());
    keys(demo, &[arguments, &["--root-key", &a, "--root-key", &b]].concat());
}

/// Waits until the first node holds a version of the root document.
fn taken(demo: &Demo, version: u64) {
    let begin = Instant::now();
    loop {
        let text = std::fs::read(demo.folder.join("edge-1/trust.json")).unwrap_or_default();
        let stored: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let envelope = serde_json::from_value::<Envelope>(stored["root"].clone()).ok();
        if envelope.and_then(|envelope| Root::read(&envelope).ok()).is_some_and(|root| root.version == version) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "version {version} does not reach the node:\n{}", demo.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_changes_while_all_runs() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::start();
    let owner = demo.sign_in("operator-owner").await;
    let issuer = || {
        let text = std::fs::read_to_string(demo.folder.join("edge-1/identity.json")).unwrap();
        let identity: serde_json::Value = serde_json::from_str(&text).unwrap();
        identity["certificate_pem"].as_str().unwrap().split("-----BEGIN").nth(2).unwrap().to_owned()
    };
    let first = issuer();
    for role in ["approve", "license", "state", "token", "log", "instance"] {
        signed(&demo, &["rotate", role]);
    }
    signed(&demo, &["authority", "add"]);
    taken(&demo, 8);
    assert!(keys(&demo, &["show"]).contains("root document 8"));
    // The other authority issues: nodes renew, and only then the one of before may go.
    signed(&demo, &["authority", "switch"]);
    taken(&demo, 9);
    let begin = Instant::now();
    while issuer() == first {
        assert!(begin.elapsed() < Duration::from_mins(1), "the node does not renew:\n{}", demo.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    signed(&demo, &["authority", "drop", "--yes"]);
    taken(&demo, 10);

    // A key in other hands: nothing that it signed holds, until all is signed again.
    signed(&demo, &["rotate", "approve", "--distrust"]);
    signed(&demo, &["rotate", "license", "--distrust"]);
    taken(&demo, 12);
    let told = keys(&demo, &["resign"]);
    assert!(told.contains("all releases are signed by"), "{told}");

    // The chain still holds: the node runs its apps, a change reaches it, and a stranger verifies a release.
    let page = owner.get("/mine/nodes").await;
    assert_eq!(page.status(), 200);
    let ready = reqwest::get(format!("{}/v2/health/ready", demo.nodes[0])).await.unwrap();
    assert_eq!(ready.status(), 200, "{}", ready.text().await.unwrap());
    let begin = Instant::now();
    let standing = async || {
        let text = std::fs::read_to_string(demo.folder.join("edge-1/state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wanted = state["desired"].as_object().unwrap().clone();
        let installed = state["installed"].as_object().unwrap().clone();
        (
            state["manifest_version"].as_u64().unwrap(),
            wanted.iter().all(|(id, digest)| installed.get(id).is_some_and(|i| i["document"] == *digest)),
        )
    };
    let before = standing().await.0;
    loop {
        // The licences were signed anew, so that every document is another one.
        let (version, done) = standing().await;
        if done && version >= before {
            break;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "the node does not take what was signed again:\n{}", demo.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (_, _, token) = demo.person("operator-owner");
    let apps: PathBuf = demo.folder.join("verified");
    let output = Command::new(env!("CARGO_BIN_EXE_pithead"))
        .args(["verify", "heitan-vision/belt-foreign-object:1.0.0", "--server", &demo.base])
        .env("PITHEAD_TOKEN", token)
        .env("HOME", apps)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}
