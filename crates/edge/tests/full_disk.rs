//! The real agent on a disk that is full: a small file system of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use support::node::{Node, folder, installed, until};
use support::{Server, app};

/// A file system of 16 MiB; unmounted on drop.
struct Disk(PathBuf);

impl Disk {
    /// `None` where the user is not root, for nobody else may mount.
    fn mount() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("only root may mount a file system, and this is not root: no disk is filled");
            return None;
        }
        let path = folder();
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&path).output().expect("mount");
        assert!(
            mounted.status.success(),
            "root may not mount a file system here (a container needs --cap-add SYS_ADMIN), so no disk can be filled: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Some(Self(path))
    }

    /// Takes all room.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        for size in [1 << 20, 4 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Predicts what raises an alarm, of another source each time: its episode, and why it is not on disk.
async fn alarm(node: &Node) -> (String, Value) {
    static SOURCES: AtomicU32 = AtomicU32::new(0);
    let source = format!("s{}", SOURCES.fetch_add(1, Ordering::Relaxed));
    let (status, answer) = node.predict_of(&source).await.unwrap();
    assert_eq!((status, answer["alarms"][0]["rule"].as_str()), (200, Some("over")), "{answer}");
    (answer["alarm_episodes"][0].as_str().unwrap().to_owned(), answer["alarm_fault"].clone())
}

/// Waits for a heartbeat from now on.
async fn beat(server: &Server, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let after = server.world().reports.len();
    let found = |r: &&Value| r["kind"] == "heartbeat" && fits(&r["node"]);
    until(what, async || server.world().reports.iter().skip(after).find(found).cloned()).await
}

async fn arrived(server: &Server, name: &str) {
    until(&format!("alarm {name}"), async || server.world().reports.iter().find(|r| r["episode"] == name).cloned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_go_on_while_the_disk_is_full_and_what_ends_with_the_agent_is_told() {
    let Some(disk) = Disk::mount() else { return };
    let server = Server::start();
    let mut node = Node::enrol_in(&server, disk.0.join("data"));
    let (files, manifest) = app("1.0.0", 3.0);
    let release = server.publish(&files, &manifest);
    server.deploy("dep_1", &release, &Server::claims(&release), json!({ "limit": 2.0 }));
    node.start();
    installed(&server, "dep_1", 2).await;
    node.serves().await;

    disk.fill();
    // The last page of the file takes some more.
    let (first, fault) = until("an alarm without room", async || Some(alarm(&node).await).filter(|(_, fault)| !fault.is_null())).await;
    assert_eq!(fault, "disk-full");
    arrived(&server, &first).await;
    beat(&server, "the full disk", |n| n["trouble"]["code"] == "disk-full").await;
    let (status, ready) = node.ready().await;
    assert!(status == 200 && ready["reasons"].as_array().unwrap().iter().any(|r| r["code"] == "disk-full"), "{ready}");

    // The platform is away, too, and the agent ends: what it held is lost, and the next one says how much.
    server.world().down = true;
    for _ in 0..3 {
        assert_eq!(alarm(&node).await.1, "disk-full");
    }
    node.kill();
    node.start();
    node.serves().await;
    let (again, _) = alarm(&node).await;
    server.world().down = false;
    arrived(&server, &again).await;
    // Until a poll has gone through, the server that refuses is the worse trouble.
    let lost = |n: &Value| n["alarms_dropped"].as_u64() > Some(0) && n["trouble"]["code"] == "disk-full";
    assert_eq!(beat(&server, "the lost alarms", lost).await["node"]["alarms_dropped"], 3);
    assert!(node.get("/metrics").await.unwrap().1.contains("pithead_edge_alarms_dropped_total 3"));

    // With room all goes on, and nothing more is lost with an agent.
    disk.make_room();
    until("an alarm on disk", async || Some(alarm(&node).await).filter(|(_, fault)| fault.is_null())).await;
    beat(&server, "no trouble", |n| n["trouble"].is_null()).await;
    server.world().down = true;
    let (waits, fault) = alarm(&node).await;
    assert!(fault.is_null(), "{fault}");
    node.kill();
    node.start();
    node.serves().await;
    server.world().down = false;
    arrived(&server, &waits).await;
    let told = beat(&server, "the count", |n| n["alarms_dropped"].is_u64()).await;
    assert_eq!(told["node"]["alarms_dropped"], 3);
}
