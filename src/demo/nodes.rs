//! The demo's edge nodes: `pithead-edge` processes with folders, logs and local interfaces of their own.
//!
//! They outlive a demo that crashes or is killed, as nodes outlive a server; the next start finds them and leaves them running.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::Options;
use crate::base::app::App;

/// The demo's agents: the options to start them, and those that run.
#[derive(Debug)]
pub struct Fleet {
    program: Option<PathBuf>,
    data: PathBuf,
    ort_lib: PathBuf,
    ffmpeg: Option<PathBuf>,
    ports: [u16; 3],
    running: Vec<Agent>,
}

/// An agent that runs.
#[derive(Debug)]
enum Agent {
    /// Started by this demo.
    Started(Child),
    /// Left over from a demo that did not end in order.
    Found { pid: Pid, folder: PathBuf },
}

impl Fleet {
    /// A fleet of which no agent is started yet.
    pub fn new(options: &Options, ports: [u16; 3]) -> Self {
        let Options { edge_bin, data, ort_lib, ffmpeg, .. } = options.clone();
        Self { program: edge_bin, data, ort_lib, ffmpeg, ports, running: Vec::new() }
    }

    /// Local interfaces of the nodes that run.
    pub fn addresses(&self) -> Vec<String> {
        self.ports.iter().take(self.running.len()).map(|port| format!("http://127.0.0.1:{port}")).collect()
    }

    /// Data folder of a node.
    pub fn folder(&self, index: usize) -> PathBuf {
        self.data.join(format!("edge-{}", index + 1))
    }

    /// The process that uses a node's folder: it holds the lock, in which it has written its id.
    fn holder(folder: &Path) -> Option<Pid> {
        let mut lock = File::open(folder.join("lock")).ok()?;
        if lock.try_lock().is_ok() {
            return None;
        }
        let mut text = String::new();
        lock.read_to_string(&mut text).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Fails where another program than the node itself holds a port that the node needs.
    pub fn check_ports(&self) -> anyhow::Result<()> {
        for (index, port) in self.ports.into_iter().enumerate() {
            if Self::holder(&self.folder(index)).is_none() {
                let address = format!("127.0.0.1:{port}");
                std::net::TcpListener::bind(&address)
                    .with_context(|| format!("cannot listen on {address} for a node (in use? set PORT)"))?;
            }
        }
        Ok(())
    }

    fn command(&self, index: usize) -> anyhow::Result<Command> {
        let program = self.program.as_ref().context("no edge agent given")?;
        let log = File::options().create(true).append(true).open(self.data.join(format!("edge-{}.log", index + 1)))?;
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        // A process group of its own: Ctrl-C goes to the whole terminal group, but [`Fleet::stop`] ends the agents in order.
        command.process_group(0);
        Ok(command)
    }

    /// Enrols a node with the command that its page shows.
    pub async fn enroll(&self, app: &App, index: usize, code: &str) -> anyhow::Result<()> {
        let mut command = self.command(index)?;
        command
            .args(["enroll", "--server", &app.settings.server.edge_url, "--code", code, "--ca-pin", &app.ca.pin(), "--data"])
            .arg(self.folder(index));
        let status = command.status().await.context("cannot start the edge agent")?;
        anyhow::ensure!(
            status.success(),
            "enrolling node {} failed; see {}",
            index + 1,
            self.data.join(format!("edge-{}.log", index + 1)).display()
        );
        Ok(())
    }

    /// Starts the agents of enrolled nodes; those that still run from before are left running.
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        for (index, port) in self.ports.into_iter().enumerate() {
            let folder = self.folder(index);
            if !folder.exists() {
                continue;
            }
            if let Some(pid) = Self::holder(&folder) {
                println!("node {} still runs from before", index + 1);
                self.running.push(Agent::Found { pid, folder });
                continue;
            }
            let mut command = self.command(index)?;
            command.arg("run").arg("--data").arg(folder).args(["--listen", &format!("127.0.0.1:{port}"), "--ort-lib"]).arg(&self.ort_lib);
            if let Some(ffmpeg) = &self.ffmpeg {
                command.arg("--ffmpeg").arg(ffmpeg);
            }
            self.running.push(Agent::Started(command.spawn().context("cannot start the edge agent")?));
        }
        Ok(())
    }

    /// Asks all agents to end and waits; ends them by force after five seconds.
    pub async fn stop(self) {
        for agent in &self.running {
            let pid = match agent {
                Agent::Started(child) => child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
                Agent::Found { pid, .. } => Some(*pid),
            };
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        for agent in self.running {
            match agent {
                Agent::Started(mut child) => {
                    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
                        let _ = child.kill().await;
                    }
                }
                Agent::Found { pid, folder } => {
                    for _ in 0..50 {
                        if Self::holder(&folder) != Some(pid) {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    if Self::holder(&folder) == Some(pid) {
                        let _ = kill_process(pid, Signal::KILL);
                    }
                }
            }
        }
    }
}
