//! A change that was answered has been synced to the disk: syncs of the database's log are counted in the server's process.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::demo::Reader;

/// Changes that are made one after another.
const CHANGES: u64 = 20;

/// A server and its folder, which end with the test.
struct Running {
    child: Child,
    folder: PathBuf,
    base: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    /// A server whose syncs are counted, once it answers.
    async fn start(durable: bool) -> Self {
        let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-durable"));
        std::fs::create_dir_all(&folder).unwrap();
        let (library, count) = (folder.join("libsyncs.so"), folder.join("syncs"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/syncs.c");
        assert!(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap().success());
        std::fs::write(&count, [0; 8]).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let base = format!("http://127.0.0.1:{port}");
        let child = Command::new(env!("CARGO_BIN_EXE_pithead"))
            .arg("serve")
            .env("LD_PRELOAD", &library)
            .env("SYNC_COUNT", &count)
            .env("PITHEAD_DATA_DIR", folder.join("data"))
            .env("PITHEAD_DATABASE__DURABLE", durable.to_string())
            .env("PITHEAD_SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("PITHEAD_SERVER__PUBLIC_URL", &base)
            .env("PITHEAD_SERVER__EDGE_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("server.log")).unwrap())
            .spawn()
            .unwrap();
        let running = Self { child, folder, base };
        let begin = Instant::now();
        while !reqwest::get(format!("{}/readyz", running.base)).await.is_ok_and(|answer| answer.status() == 200) {
            let said = std::fs::read_to_string(running.folder.join("server.log")).unwrap_or_default();
            assert!(begin.elapsed() < Duration::from_mins(1), "the server does not answer: {said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        running
    }

    fn syncs(&self) -> u64 {
        u64::from_ne_bytes(std::fs::read(self.folder.join("syncs")).unwrap().try_into().unwrap())
    }

    /// Syncs that were over before each of some changes was answered, beginning with the change.
    async fn syncs_of_changes(&self) -> Vec<u64> {
        let owner = Reader::sign_up(&self.base, "operator", "deep-mine").await;
        let mut syncs = Vec::new();
        for number in 0..CHANGES {
            let before = self.syncs();
            let made = owner.form("/mine/sites", &[("name", &format!("site {number}"))]).await;
            let after = self.syncs();
            assert_eq!(made.status(), 303, "{}", made.text().await.unwrap());
            syncs.push(after - before);
        }
        syncs
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_change_has_been_synced() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let durable = Running::start(true).await.syncs_of_changes().await;
    assert!(durable.iter().all(|syncs| *syncs > 0), "a change was answered before a sync: {durable:?}");
    // The counter counts syncs, not changes: without the setting there are next to none.
    let other = Running::start(false).await.syncs_of_changes().await;
    assert!(other.iter().sum::<u64>() < CHANGES / 2, "{other:?}");
}
