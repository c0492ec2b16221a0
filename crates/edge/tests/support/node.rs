//! The real agent process on a data folder of its own.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CODE, Server, ort_lib};

const EXE: &str = env!("CARGO_BIN_EXE_pithead-edge");

/// A data folder with the agent that runs on it.
pub struct Node {
    pub data: PathBuf,
    pub address: String,
    agent: Option<Child>,
    pub client: reqwest::Client,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

impl Node {
    pub fn enrol(server: &Server) -> Self {
        Self::enrol_in(server, folder())
    }

    pub fn enrol_in(server: &Server, data: PathBuf) -> Self {
        let output = enrol(&data, &server.url, CODE, &server.pin);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { data, address: free.to_string(), agent: None, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// A node with an empty folder in the place of one that ends.
    pub fn enrol_again(server: &Server, ended: Self) -> Self {
        drop(ended);
        server.world().enrolled = false;
        Self::enrol(server)
    }

    /// The command that runs the agent.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(EXE);
        command.arg("run").arg("--data").arg(&self.data).args(["--listen", &self.address]).arg("--ort-lib").arg(ort_lib());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    pub fn start(&mut self) {
        self.start_as(&[], &[]);
    }

    pub fn start_as(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        self.agent = Some(self.command(arguments).envs(environment.iter().copied()).spawn().unwrap());
    }

    /// As [`Self::start_as`], with what it says in a file.
    pub fn start_logged(&mut self, arguments: &[&str], environment: &[(&str, &str)], log: &Path) {
        let log = std::fs::File::create(log).unwrap();
        self.agent = Some(self.command(arguments).envs(environment.iter().copied()).stderr(log).spawn().unwrap());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// What [`Self::start_logged`] may write to.
    pub fn log(&self) -> PathBuf {
        self.data.join("log")
    }

    /// Writes `sources.json`.
    pub fn write_sources(&self, sources: &Value) {
        std::fs::write(self.data.join("sources.json"), json!({ "sources": sources }).to_string()).unwrap();
    }

    /// What `/v1/sources` says of a source, once it holds.
    pub async fn source(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let told = self.get("/v1/sources").await.map(|(_, text)| text).unwrap_or_default();
            let all: Value = serde_json::from_str(&told).unwrap_or_default();
            if let Some(found) = all["sources"].as_array().and_then(|all| all.iter().find(|source| source["id"] == id && holds(source))) {
                return found.clone();
            }
            if begun.elapsed() > Duration::from_secs(40) {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                let last: Vec<&str> =
                    log.lines().filter(|line| line.contains("source") || line.contains("decoder") || line.contains("ERROR")).collect();
                panic!("{id}, in vain: {what}; {told}\n{}", last[last.len().saturating_sub(15)..].join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Option<(u16, Value)> {
        let answer = self.client.post(format!("http://{}{path}", self.address)).body(body).send().await.ok()?;
        Some((answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.ok()?).ok()?))
    }

    pub async fn predict(&self) -> Option<(u16, Value)> {
        self.predict_of("").await
    }

    /// Predicts for a source; alarms of another one are another episode.
    pub async fn predict_of(&self, source: &str) -> Option<(u16, Value)> {
        self.post(&format!("/v1/apps/belt-load/predict?source={source}"), "p,q,r,s\n1,2,3,4\n").await
    }

    /// Waits until the app answers.
    pub async fn serves(&self) -> Value {
        until("the app serves", async || self.predict().await.filter(|(status, _)| *status == 200)).await.1
    }

    /// Process ids of the agent's children.
    pub fn children(&self) -> Vec<String> {
        let pid = self.agent.as_ref().unwrap().id();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Most memory that the agent had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.agent.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// `/v2/health/ready`: its status and document.
    pub async fn ready(&self) -> (u16, Value) {
        let (status, text) = self.get("/v2/health/ready").await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }
}

/// Path of a data folder that is not there yet.
pub fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("pithead-node-{}", uuid::Uuid::now_v7().simple()))
}

pub fn enrol(data: &Path, url: &str, code: &str, pin: &str) -> Output {
    Command::new(EXE).arg("enroll").arg("--data").arg(data).args(["--server", url, "--code", code, "--ca-pin", pin]).output().unwrap()
}

/// Waits until something holds, looking every 20 ms.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a deployment is installed as this version of the desired state wants it, or a later one.
pub async fn installed(server: &Server, id: &str, version: u64) {
    until(&format!("{id} installed in version {version}"), async || {
        server.state(id).filter(|(state, adopted, _)| state == "installed" && *adopted >= version)
    })
    .await;
}

/// Waits until a deployment has failed for this reason.
pub async fn failed(server: &Server, id: &str, code: &str) {
    until(&format!("{id} failed with {code}"), async || server.state(id).filter(|(state, _, c)| state == "failed" && c == code)).await;
}
