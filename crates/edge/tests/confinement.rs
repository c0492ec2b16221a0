//! The process of an app, started with hostile native code in place of the engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXE: &str = env!("CARGO_BIN_EXE_pithead-edge");

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn no_thread_of_an_app_reaches_what_the_app_may_not() {
    let dir = std::env::temp_dir().join(format!("pithead-host-{}", uuid::Uuid::now_v7().simple()));
    for part in ["engine", "release"] {
        std::fs::create_dir_all(dir.join(part)).unwrap();
    }
    let folder = Folder(dir.clone());
    let library = dir.join("engine/libescapes.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/escapes.c");
    assert!(Command::new("cc").args(["-shared", "-fPIC", "-pthread", "-o"]).arg(&library).arg(source).status().unwrap().success());
    // What stands for the node's key: beside the release, as in a data folder.
    std::fs::write(dir.join("identity.json"), "key").unwrap();
    std::fs::write(dir.join("config.json"), "{}").unwrap();
    let mut target = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let mut host = Command::new(EXE)
        .args(["app-host", "--memory-bytes", "268435456", "--dir"])
        .arg(dir.join("release"))
        .arg("--config")
        .arg(dir.join("config.json"))
        .arg("--socket")
        .arg(dir.join("s"))
        .arg("--ort-lib")
        .arg(&library)
        .env_clear()
        .envs([("TARGET", target.id().to_string()), ("SECRET", dir.join("identity.json").display().to_string())])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(host.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let last = line == "tried";
        lines.push(line);
        if last {
            break;
        }
    }
    let alive = target.try_wait().unwrap().is_none();
    for child in [&mut host, &mut target] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(alive, "the other process goes on");
    drop(folder);
    let calls: BTreeMap<&str, i32> =
        lines.iter().filter_map(|l| l.split_once(' ')).filter_map(|(n, e)| Some((n, e.parse().ok()?))).collect();
    assert!(calls.len() >= 85, "{lines:#?}");
    let passed: BTreeMap<_, _> = calls.iter().filter(|(_, errno)| ![1, 13, 38].contains(*errno)).collect();
    assert!(passed.is_empty(), "{passed:?}");
    // The thread that watches the agent started after the confinement, or it would have kept root.
    let users: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix("task-user=")).collect();
    assert_eq!(users.len(), 2, "{lines:#?}");
    let expected = if rustix::process::geteuid().is_root() { "65534".to_owned() } else { rustix::process::geteuid().as_raw().to_string() };
    assert_eq!(users.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([expected.as_str()]));
}
