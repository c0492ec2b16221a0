//! The demo's edge nodes: `pithead-edge` processes with folders, logs and local interfaces of their own.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::Options;
use crate::app::App;

/// The agents.
#[derive(Debug)]
pub struct Fleet {
    program: Option<PathBuf>,
    data: PathBuf,
    ort_lib: PathBuf,
    ports: [u16; 3],
    running: Vec<Child>,
}

impl Fleet {
    /// Nothing is started yet.
    pub fn new(options: &Options, ports: [u16; 3]) -> Self {
        Self { program: options.edge_bin.clone(), data: options.data.clone(), ort_lib: options.ort_lib.clone(), ports, running: Vec::new() }
    }

    /// Local interfaces of the nodes that run.
    pub fn addresses(&self) -> Vec<String> {
        self.ports.iter().take(self.running.len()).map(|port| format!("http://127.0.0.1:{port}")).collect()
    }

    fn folder(&self, index: usize) -> PathBuf {
        self.data.join(format!("edge-{}", index + 1))
    }

    fn command(&self, index: usize) -> anyhow::Result<Command> {
        let program = self.program.as_ref().context("no edge agent given")?;
        let log = File::options().create(true).append(true).open(self.data.join(format!("edge-{}.log", index + 1)))?;
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        // Ctrl-C goes to the whole terminal group; the agents end when we tell them to, in order.
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

    /// Starts the agents that are enrolled.
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        for (index, port) in self.ports.into_iter().enumerate() {
            if !self.folder(index).exists() {
                continue;
            }
            let mut command = self.command(index)?;
            command
                .arg("run")
                .arg("--data")
                .arg(self.folder(index))
                .args(["--listen", &format!("127.0.0.1:{port}"), "--ort-lib"])
                .arg(&self.ort_lib);
            self.running.push(command.spawn().context("cannot start the edge agent")?);
        }
        Ok(())
    }

    /// Asks all agents to end and waits; ends them by force after five seconds.
    pub async fn stop(self) {
        for child in &self.running {
            if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        for mut child in self.running {
            if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}
