//! Killed without warning: an app's process, an agent, the server. The alarm goes on, and all comes back as it was.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::{Demo, tool};

const APP: &str = "belt-foreign-object";

/// Processes whose command line has all of the words.
fn processes(words: &[&str]) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if words.iter().all(|word| line.contains(word)) {
            found.push(pid);
        }
    }
    found
}

/// Kills a process and waits until it has let go of its files and sockets: on a busy machine it may still hold its lock when `kill`
/// returns. It has when all its threads are zombies (proc(5), the letter after the name in brackets) or gone: its files go with the last.
fn kill_9(pid: u32) {
    let lives = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    let holds = || std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.flatten().any(lives));
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    let begin = Instant::now();
    while holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{pid} does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Alarms of a sample that has some; none where the node does not answer well.
async fn alarms(node: &str) -> Option<usize> {
    let picture = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(APP).join("golden/1.png")).unwrap();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let response = client.post(format!("{node}/v1/apps/{APP}/predict")).body(picture).send().await.ok()?;
    let answer: Value = response.error_for_status().ok()?.json().await.ok()?;
    Some(answer["alarms"].as_array()?.len())
}

async fn until_alarms(node: &str, what: &str) -> Duration {
    let begin = Instant::now();
    loop {
        if alarms(node).await.is_some_and(|n| n > 0) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "no alarm within 30 s after {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An agent that the test has started, ended with it. Where the test fails, it shows what the agent said.
struct Agent(Child, PathBuf);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if std::thread::panicking() {
            println!("the agent's log:\n{}", std::fs::read_to_string(&self.1).unwrap_or_default());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_comes_back_and_the_alarm_goes_on() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut demo = Demo::start();
    let node = demo.nodes[1].clone();
    until_alarms(&node, "the start").await;
    let folder = demo.folder.join("edge-2");
    let folder_text = folder.to_str().unwrap().to_owned();

    // The app's process.
    let apps = processes(&["app-host", &folder_text]);
    assert!(!apps.is_empty(), "no process of an app");
    for pid in apps {
        kill_9(pid);
    }
    let took = until_alarms(&node, "the app was killed").await;
    println!("app killed: alarm after {took:?}");

    // The server: its nodes go on without it.
    demo.kill();
    assert!(reqwest::get(format!("{}/healthz", demo.base)).await.is_err(), "the server is gone");
    assert!(alarms(&node).await.is_some_and(|n| n > 0), "the node goes on without the server");

    // The agent, with the server still gone: it starts from its disk.
    let agents = processes(&["pithead-edge run", &folder_text]);
    assert_eq!(agents.len(), 1, "{agents:?}");
    kill_9(agents[0]);
    let listen = node.trim_start_matches("http://").to_owned();
    let log = demo.folder.join("agent-again.log");
    let agent = Command::new(tool("TEST_EDGE_BIN"))
        .args(["run", "--listen", &listen, "--ort-lib", &tool("ORT_LIB"), "--data"])
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let agent = Agent(agent, log);
    let took = until_alarms(&node, "the agent was killed, without the server").await;
    println!("agent killed, no server: alarm after {took:?}");

    // The server again: as before, with the nodes that ran on.
    let took = demo.again();
    println!("server started again on its data: ready after {took:?}");
    until_alarms(&node, "the server came back").await;
    let owner = demo.sign_in("operator-owner").await;
    let html = owner.get("/mine/nodes").await.text().await.unwrap();
    assert!(html.contains("主斜井皮带机头"), "{html}");
    let auditor = demo.sign_in("auditor").await;
    let checked = auditor.form("/admin/audit/verify", &[]).await;
    assert_eq!(checked.status(), 303);
    let verified = Command::new(env!("CARGO_BIN_EXE_pithead"))
        .args(["admin", "audit", "verify"])
        .env("PITHEAD_DATA_DIR", &demo.folder)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    drop(demo);
    drop(agent);
    let left = processes(&[&folder_text]);
    assert!(left.is_empty(), "still running: {left:?}");
}
