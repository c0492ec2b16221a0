//! An app's child process seen from the agent: start, restart with backoff, requests over pooled connections.
//!
//! Invariants: a process lives exactly as long as its [`Process`] value (the child watches its standard input, so it also
//! ends when the agent is killed); a request that takes too long kills the child, because a runaway model cannot be
//! interrupted otherwise; socket names are never used twice, so nothing left over can block a start; a child that ended on a
//! provider is started again on the CPU, at once and for good.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use inference::provider::{Library, ProviderInfo};
use inference::sandbox::Confinement;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fault::Fault;
use crate::model::{backoff, spread};
use crate::telemetry::Stats;
use crate::wire::{self, Answer, Request, STEP_SAYS, TensorHeader};

/// Requests of one app at the child at the same time.
const SLOTS: usize = 4;
/// Longest load of a model.
const LOAD: Duration = Duration::from_mins(3);
/// A child that ran this long is healthy: its backoff starts anew.
const HEALTHY: Duration = Duration::from_mins(1);
/// Longest line of a child's standard error that is logged, in bytes.
const MAX_LINE: u64 = 1_000;
/// Lines of one child that are logged.
const MAX_LINES: u32 = 100;
/// Longest path of a Unix socket.
const MAX_SOCKET: usize = 107;

static SOCKETS: AtomicU64 = AtomicU64::new(0);

/// Arguments of an app's child process.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program to start: the agent's own.
    pub exe: PathBuf,
    /// Folder of the release.
    pub dir: PathBuf,
    /// Config blob of the release.
    pub config: PathBuf,
    /// ONNX Runtime library.
    pub ort_lib: PathBuf,
    /// What the models run on in the CPU's place.
    pub provider: Option<Library>,
    /// Folder for sockets.
    pub run: PathBuf,
    /// Memory the app asked for, in bytes.
    pub memory_bytes: u64,
    /// Threads for one inference.
    pub threads: usize,
    /// Whether the app runs where the kernel cannot confine it, too.
    pub allow_unconfined: bool,
    /// Requests of the app that are in hand at all; more are refused at once.
    pub waiting: usize,
}

/// An answer of the child: descriptions of the tensors, and the body.
pub type Reply = (Vec<TensorHeader>, Vec<u8>);

struct Shared {
    socket: PathBuf,
    pool: Mutex<Vec<UnixStream>>,
    pid: AtomicU32,
    /// Whether the child runs without the kernel's confinement.
    unconfined: AtomicBool,
    /// What the child runs its models on, by its own word.
    provider: Mutex<Option<ProviderInfo>>,
    /// How the child ended on the provider that it was started with.
    left: Mutex<Option<Fault>>,
    /// It answers requests: what ends while it is tried is no end of an app.
    serves: AtomicBool,
    kill: Notify,
}

/// A running app.
pub struct Process {
    /// As it was started.
    launch: Launch,
    shared: Arc<Shared>,
    queue: Semaphore,
    slots: Semaphore,
    _end: DropGuard,
}

fn fault(code: &'static str, message: impl Into<String>) -> Fault {
    Fault::new(code, "app", message)
}

/// A child with our end of its pipe. The pipe is kept apart because waiting for a child closes the one it holds.
struct Child {
    process: tokio::process::Child,
    pipe: Option<ChildStdin>,
}

fn spawn(launch: &Launch, socket: &Path) -> Result<Child, Fault> {
    let mut command = std::process::Command::new(&launch.exe);
    std::os::unix::process::CommandExt::arg0(&mut command, "pithead-edge");
    command
        .arg("app-host")
        .arg("--dir")
        .arg(&launch.dir)
        .arg("--config")
        .arg(&launch.config)
        .arg("--socket")
        .arg(socket)
        .arg("--ort-lib")
        .arg(&launch.ort_lib)
        .args(["--memory-bytes", &launch.memory_bytes.to_string(), "--threads", &launch.threads.to_string()])
        .args(launch.provider.iter().flat_map(|library| ["--provider".to_owned(), library.to_string()]))
        .args(launch.allow_unconfined.then_some("--allow-unconfined"))
        .env_clear()
        // The child ends at the end of this pipe, that is, when we do.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // A pipe: writing to a file, where our own standard error may lead, would end the confined child.
        .stderr(Stdio::piped());
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    let mut process = command.spawn().map_err(|e| fault("app-not-started", e.to_string()))?;
    if let Some(stderr) = process.stderr.take() {
        tokio::spawn(log(stderr, launch.dir.clone()));
    }
    Ok(Child { pipe: process.stdin.take(), process })
}

/// Logs what a child says on standard error: cut, made plain and few, for the app's developer may have written it. Reads on to the end, so
/// that the child does not wait.
async fn log(stderr: ChildStderr, dir: PathBuf) {
    let mut reader = BufReader::new(stderr);
    let mut lines = 0;
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            // What an own step logs is for its developer, bounded for each input, and no trouble.
            Ok(_) if line.starts_with(STEP_SAYS.as_bytes()) => {
                tracing::debug!(dir = %dir.display(), "{}", String::from_utf8_lossy(&line).trim_end().escape_debug());
            }
            Ok(_) if lines < MAX_LINES => {
                lines += 1;
                tracing::warn!(dir = %dir.display(), "the app's process says: {}", String::from_utf8_lossy(&line).trim_end().escape_debug());
            }
            Ok(_) => {}
        }
    }
}

/// Notes what a child says of itself: whether the kernel confines it, and what it runs its models on.
fn note(shared: &Shared, about: &[u8]) {
    #[derive(serde::Deserialize)]
    struct Provided {
        provider: ProviderInfo,
    }
    shared.unconfined.store(!is_confined(about), Ordering::Relaxed);
    let provided = serde_json::from_slice::<Provided>(about).ok().map(|about| about.provider);
    *shared.provider.lock().unwrap_or_else(PoisonError::into_inner) = provided;
}

/// Whether a child says of itself that the kernel confines it.
fn is_confined(about: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct About {
        confinement: Confinement,
    }
    serde_json::from_slice::<About>(about).is_ok_and(|about| about.confinement.holds())
}

/// Waits until the child answers; its end before that is a fault.
async fn ready(shared: &Shared, child: &mut Child) -> Result<(), Fault> {
    let answers = async {
        let mut stream = loop {
            match UnixStream::connect(&shared.socket).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let reply = exchange(&mut stream, &Request::Info, b"").await;
        let reply = reply.map_err(|e| fault("app-not-started", e.to_string()))?;
        reply.map(|(_, about)| note(shared, &about))
    };
    tokio::select! {
        biased;
        result = tokio::time::timeout(LOAD, answers) => {
            match result {
                Ok(Ok(())) => Ok(()),
                // A broken line says less than the way the child ended.
                Ok(Err(fault)) if fault.code == "app-not-started" => {
                    match tokio::time::timeout(Duration::from_secs(2), child.process.wait()).await {
                        Ok(status) => Err(ended(status)),
                        Err(_) => Err(fault),
                    }
                }
                Ok(Err(fault)) => Err(fault),
                Err(_) => Err(fault("app-start-timeout", format!("the model was not loaded within {} s", LOAD.as_secs()))),
            }
        }
        status = child.process.wait() => Err(ended(status)),
    }
}

fn ended(status: std::io::Result<std::process::ExitStatus>) -> Fault {
    match status {
        Ok(status) => match std::os::unix::process::ExitStatusExt::signal(&status) {
            Some(signal) => fault("app-crashed", format!("the app's process was ended by signal {signal}")),
            None => fault("app-crashed", format!("the app's process ended with code {}", status.code().unwrap_or(-1))),
        },
        Err(e) => fault("app-crashed", e.to_string()),
    }
}

/// One request and its answer. The outer error is the connection's, the inner one the app's.
async fn exchange(stream: &mut UnixStream, request: &Request, body: &[u8]) -> std::io::Result<Result<Reply, Fault>> {
    let head = wire::head(request, body.len())?;
    if body.len() <= 64 * 1024 {
        // One write for small requests.
        stream.write_all(&[&head, body].concat()).await?;
    } else {
        stream.write_all(&head).await?;
        stream.write_all(body).await?;
    }
    let mut prefix = [0u8; 8];
    stream.read_exact(&mut prefix).await?;
    let (header_len, body_len) = wire::lengths(prefix)?;
    let mut rest = vec![0u8; header_len + body_len];
    stream.read_exact(&mut rest).await?;
    let body = rest.split_off(header_len);
    Ok(match wire::parse::<Answer>(&rest)? {
        Answer::Ok { outputs, .. } => Ok((outputs, body)),
        Answer::Error { code, message } => Err(Fault { code: code.into(), source: "app", message }),
    })
}

impl Process {
    /// Starts a child and waits until its model is loaded. From then on it is restarted when it ends, until the value is
    /// dropped. Restarts are counted in `stats`.
    pub async fn start(launch: Launch, stats: Arc<Stats>) -> Result<Arc<Self>, Fault> {
        let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
        let socket = launch.run.join(format!("{}-{number}.sock", std::process::id()));
        if socket.as_os_str().len() > MAX_SOCKET {
            return Err(fault("data-path-too-long", format!("{} is too long for a socket; use a shorter data folder", socket.display())));
        }
        let (pid, unconfined) = (AtomicU32::new(0), AtomicBool::new(false));
        let (pool, provider, left) = (Mutex::default(), Mutex::default(), Mutex::default());
        let serves = AtomicBool::new(launch.provider.is_none());
        let shared = Arc::new(Shared { socket, pool, pid, unconfined, provider, left, serves, kill: Notify::new() });
        let mut child = spawn(&launch, &shared.socket)?;
        shared.pid.store(child.process.id().unwrap_or(0), Ordering::Relaxed);
        if let Err(fault) = ready(&shared, &mut child).await {
            let _ = std::fs::remove_file(&shared.socket);
            return Err(fault);
        }
        let cancel = CancellationToken::new();
        let queue = Semaphore::new(launch.waiting);
        tokio::spawn(supervise(launch.clone(), shared.clone(), child, stats, cancel.clone()));
        Ok(Arc::new(Self { launch, shared, queue, slots: Semaphore::new(SLOTS), _end: cancel.drop_guard() }))
    }

    /// Process id of the child, while one runs.
    pub fn pid(&self) -> Option<u32> {
        Some(self.shared.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// How it was started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// What the models run on; none where the child does not say.
    pub fn provider(&self) -> Option<ProviderInfo> {
        self.shared.provider.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on it answers requests, on the provider that it was tried on.
    pub fn take_over(&self) {
        self.shared.serves.store(true, Ordering::Relaxed);
    }

    /// How the child ended on the provider that it was started with; since then it runs on the CPU.
    pub fn left(&self) -> Option<Fault> {
        self.shared.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the child runs without the kernel's confinement.
    pub fn is_unconfined(&self) -> bool {
        self.shared.unconfined.load(Ordering::Relaxed)
    }

    /// One request. `limit` covers waiting and work.
    pub async fn call(&self, request: &Request, body: &[u8], limit: Duration) -> Result<Reply, Fault> {
        let _place = self.queue.try_acquire().map_err(|_| fault("app-busy", "too many requests are waiting for this app"))?;
        let started = Instant::now();
        let busy = |_| fault("app-busy", "the app did not come to this request in time");
        let _slot = tokio::time::timeout(limit, self.slots.acquire()).await.map_err(busy)?;
        let Ok(result) = tokio::time::timeout(limit.saturating_sub(started.elapsed()), self.talk(request, body)).await else {
            self.shared.kill.notify_one();
            return Err(fault("app-timeout", format!("no answer within {} s; the app is being restarted", limit.as_secs())));
        };
        result
    }

    async fn talk(&self, request: &Request, body: &[u8]) -> Result<Reply, Fault> {
        loop {
            let pooled = self.shared.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let fresh = pooled.is_none();
            let connected = match pooled {
                Some(stream) => Ok(stream),
                None => UnixStream::connect(&self.shared.socket).await,
            };
            let outcome = match connected {
                Ok(mut stream) => exchange(&mut stream, request, body).await.map(|reply| (reply, stream)),
                Err(e) => Err(e),
            };
            match outcome {
                Ok((reply, stream)) => {
                    self.shared.pool.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                    return reply;
                }
                // A pooled connection may be of a child that has been restarted: try once more with a fresh one.
                Err(_) if !fresh => {}
                Err(e) => return Err(fault("app-restarting", format!("the app's process is not there at the moment: {e}"))),
            }
        }
    }
}

async fn stop(child: &mut Child) {
    drop(child.pipe.take());
    if tokio::time::timeout(Duration::from_secs(2), child.process.wait()).await.is_err() {
        let _ = child.process.kill().await;
    }
}

/// Keeps a child alive until cancelled.
async fn supervise(mut launch: Launch, shared: Arc<Shared>, mut child: Child, stats: Arc<Stats>, cancel: CancellationToken) {
    let mut failures = 0;
    loop {
        let since = Instant::now();
        let how = tokio::select! {
            () = cancel.cancelled() => {
                stop(&mut child).await;
                break;
            }
            () = shared.kill.notified() => {
                let _ = child.process.kill().await;
                fault("app-timeout", "the app's process was ended, for it gave no answer in time")
            }
            status = child.process.wait() => ended(status),
        };
        shared.pid.store(0, Ordering::Relaxed);
        shared.pool.lock().unwrap_or_else(PoisonError::into_inner).clear();
        failures = if since.elapsed() > HEALTHY { 1 } else { failures + 1 };
        if let Some(library) = launch.provider.take() {
            // Its fault or not: on the CPU, where the golden samples were reproduced before it took over, the app goes on without a pause.
            failures = 0;
            let left = fault("provider-crashed", format!("on {}: {}", library.provider.as_str(), how.message));
            *shared.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
            *shared.provider.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        stats.restarts.fetch_add(u64::from(shared.serves.load(Ordering::Relaxed)), Ordering::Relaxed);
        let revive = async {
            loop {
                let wait = backoff(failures, Duration::from_millis(200), Duration::from_secs(30), spread());
                let wait = if failures == 0 { Duration::ZERO } else { wait };
                tracing::warn!(dir = %launch.dir.display(), failures, wait_ms = wait.as_millis(), "an app's process ended; restarting it");
                tokio::time::sleep(wait).await;
                let mut next = match spawn(&launch, &shared.socket) {
                    Ok(next) => next,
                    Err(fault) => {
                        tracing::error!(%fault, "cannot start the app's process");
                        failures += 1;
                        continue;
                    }
                };
                match ready(&shared, &mut next).await {
                    Ok(()) => return next,
                    Err(fault) => tracing::error!(%fault, "the app's process did not come up"),
                }
                failures += 1;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => break,
            next = revive => child = next,
        }
        shared.pid.store(child.process.id().unwrap_or(0), Ordering::Relaxed);
        // A kill that was asked for while no child ran is used up here: it must not hit the new child.
        let _ = tokio::time::timeout(Duration::ZERO, shared.kill.notified()).await;
    }
    let _ = std::fs::remove_file(&shared.socket);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_child_is_confined_by_its_own_word_only() {
        let about = |landlock: &str, seccomp| {
            let confinement = Confinement { landlock: landlock.into(), seccomp, ..Confinement::default() };
            json!({ "engine": "x", "confinement": confinement })
        };
        let confined = |about: &Value| is_confined(about.to_string().as_bytes());
        assert!(confined(&about("full", true)) && confined(&about("partial", true)));
        for lacking in [about("none", true), about("full", false), json!({ "engine": "x" })] {
            assert!(!confined(&lacking), "{lacking}");
        }
    }
}
