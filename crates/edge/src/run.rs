//! The loops of the agent: poll, reconcile, send, renew. Each goes on for ever; a fault of one does not stop the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::license::Purpose;
use app_package::margo::{Cpu, DeviceCapabilities, DeviceProperties, RUNTIME_LABEL, State};
use chrono::Utc;
use serde_json::{Map, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::cloud::Poll;
use crate::fault::Fault;
use crate::model::{Step, Unit, Units, backoff, plan, spread};
use crate::outbox::Kind;
use crate::{enroll, identity, install, telemetry};

/// Longest wait between two tries to reach the server.
const CONTACT_CAP: Duration = Duration::from_mins(1);
/// Longest wait between two tries to bring a deployment up.
const INSTALL_CAP: Duration = Duration::from_mins(15);
/// Limit of one try to bring a deployment up without its downloads making progress is set by the calls themselves; this
/// is the limit over all, after which it starts again from what is on disk.
const INSTALL_LIMIT: Duration = Duration::from_hours(6);

/// Runs all loops until cancelled.
pub async fn run(agent: Arc<Agent>, cancel: CancellationToken) {
    let work = async {
        tokio::join!(poll(&agent), reconcile(&agent), beat(&agent), send(&agent), renew(&agent));
    };
    tokio::select! {
        () = work => {}
        () = cancel.cancelled() => {}
    }
}

/// Waits between 90 and 110 % of the time given.
async fn pause(time: Duration) {
    let part = u32::try_from(spread() % 200).unwrap_or(0);
    tokio::time::sleep(time * 9 / 10 + time / 1000 * part).await;
}

async fn engine_version(agent: &Agent) -> Option<String> {
    let mut command = tokio::process::Command::new(&agent.config.exe);
    command.arg("engine-version").arg("--ort-lib").arg(&agent.config.ort_lib).env_clear().kill_on_drop(true);
    command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty() && text.len() < 50).then(|| text.to_owned())
}

/// What this node is, in Margo's words.
async fn capabilities(agent: &Agent) -> DeviceCapabilities {
    let read =
        |path: &str| std::fs::read_to_string(path).ok().map(|s| s.trim().chars().take(100).collect::<String>()).filter(|s| !s.is_empty());
    let unknown = || "unknown".to_owned();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        "arm" => Some("arm"),
        _ => None,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = agent.node.read().get("memory_total_bytes").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let node = agent.identity().node_id;
    let mut labels = std::collections::BTreeMap::from([("pithead.dev/agent".to_owned(), json!(env!("CARGO_PKG_VERSION")))]);
    if let Some(version) = engine_version(agent).await {
        labels.insert(RUNTIME_LABEL.to_owned(), json!(version));
    }
    DeviceCapabilities {
        properties: DeviceProperties {
            vendor: read("/sys/class/dmi/id/sys_vendor").unwrap_or_else(unknown),
            model_number: read("/sys/class/dmi/id/product_name").or_else(|| read("/proc/device-tree/model")).unwrap_or_else(unknown),
            // The machine's own number is readable by root only and of no use here; the node id is unique.
            serial_number: node.clone(),
            id: node,
            cpus: vec![Cpu { cores: f64::from(u32::try_from(cores).unwrap_or(1)), architecture: architecture.map(Into::into) }],
            memory: Some(format!("{}Mi", memory / (1024 * 1024))),
            supported_runtimes: vec!["custom".into()],
            supported_deployment_types: vec!["custom".into()],
            ..DeviceProperties::default()
        },
        labels,
        extensions: std::collections::BTreeMap::new(),
    }
}

/// Tells the capabilities when they are not the ones last told.
async fn tell_capabilities(agent: &Agent, present: &DeviceCapabilities) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(present).map_err(|e| Fault::new("state-unwritable", "state", e.to_string()))?;
    let digest = Digest::of(&bytes);
    if agent.state.get().capabilities.as_ref() == Some(&digest) {
        return Ok(());
    }
    agent.cloud.put_capabilities(&present.properties.id, present).await?;
    agent.state.update(|s| s.capabilities = Some(digest))
}

async fn poll(agent: &Agent) {
    let present = capabilities(agent).await;
    // Told at each start, also when the server lost them.
    let _ = agent.state.update(|s| s.capabilities = None);
    let mut failures = 0;
    loop {
        let interval = Duration::from_secs(agent.identity().poll_seconds);
        let started = Instant::now();
        let result = poll_once(agent, &present).await;
        let (outcome, after) = match result {
            Ok(changed) => (Ok(changed), None),
            Err((fault, after)) => (Err(fault), after),
        };
        agent.contact(&outcome);
        match outcome {
            Ok(changed) => {
                failures = 0;
                // A server that holds polls is asked again at once; one that does not, at its interval.
                let held = started.elapsed() >= Duration::from_secs(agent.config.wait_seconds) / 2;
                pause(if changed || held { Duration::from_millis(200) } else { interval }).await;
            }
            Err(fault) => {
                failures += 1;
                tracing::warn!(%fault, failures, "poll failed");
                let wait = backoff(failures, Duration::from_secs(1), CONTACT_CAP, spread());
                tokio::time::sleep(wait.max(after.unwrap_or_default())).await;
            }
        }
    }
}

async fn poll_once(agent: &Agent, present: &DeviceCapabilities) -> Result<bool, (Fault, Option<Duration>)> {
    let plain = |fault| (fault, None);
    tell_capabilities(agent, present).await.map_err(plain)?;
    let state = agent.state.get();
    match agent.cloud.poll(state.etag.as_deref(), agent.config.wait_seconds).await? {
        Poll::Unchanged => Ok(false),
        Poll::Manifest { etag, body } => {
            // New licences may be signed with a new key. An old key set is no reason not to look.
            if let Err(fault) = agent.refresh_keys().await {
                tracing::warn!(%fault, "cannot refresh the platform's keys");
            }
            agent.adopt(&etag, &body).await.map_err(plain)?;
            Ok(true)
        }
    }
}

/// What a job works towards: a document, or `None` for removal.
type Goal = Option<Digest>;

struct Job {
    goal: Goal,
    handle: JoinHandle<()>,
}

struct Done {
    id: String,
    goal: Goal,
    adopted: u64,
    result: Result<(), Fault>,
}

#[derive(Default)]
struct Desk {
    jobs: HashMap<String, Job>,
    failures: HashMap<(String, Goal), (u32, Instant)>,
    untidy: bool,
}

/// Brings what runs to what is wanted. Each deployment has its own job, so a stuck one holds up nobody else; a job whose
/// goal is no longer wanted is cancelled.
async fn reconcile(agent: &Arc<Agent>) {
    let (sender, mut done) = mpsc::channel::<Done>(64);
    let mut desk = Desk { untidy: true, ..Desk::default() };
    let mut licences = Instant::now();
    loop {
        if licences.elapsed() > Duration::from_secs(20) {
            watch_licences(agent);
            licences = Instant::now();
        }
        assign(agent, &mut desk, &sender);
        tokio::select! {
            () = agent.changed.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            Some(finished) = done.recv() => finish(agent, &mut desk, finished),
        }
        if desk.untidy && desk.jobs.is_empty() {
            desk.untidy = false;
            let keeper = agent.clone();
            // Awaited, so that no job begins while files are being removed.
            let _ = tokio::task::spawn_blocking(move || keeper.store.collect(&keeper.needed())).await;
        }
    }
}

/// The goals that deployment `id` has now, best first. Where an update is wanted but nothing runs (after a restart), what
/// was installed comes first, so that the node serves again before anything else.
fn goals(agent: &Agent, id: &str, step: Option<&Step>, installed: Option<&Digest>, desired: Option<&Digest>) -> Vec<(Goal, bool)> {
    let down = agent.apps.get(id).is_none();
    match (step, desired) {
        (Some(Step::Remove { .. }), _) => vec![(None, false)],
        (Some(_), Some(document)) => {
            let former = installed.filter(|_| down).map(|d| (Some(d.clone()), true));
            former.into_iter().chain([(Some(document.clone()), false)]).collect()
        }
        (None, _) if down => installed.map(|d| (Some(d.clone()), true)).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn assign(agent: &Arc<Agent>, desk: &mut Desk, sender: &mpsc::Sender<Done>) {
    let state = agent.state.get();
    let actual: Units = state
        .installed
        .iter()
        .map(|(id, i)| (id.clone(), Unit { document: i.document.to_string(), release: i.release.to_string() }))
        .collect();
    let desired: Units = state
        .desired
        .iter()
        .map(|(id, document)| {
            let same = state.installed.get(id).filter(|i| &i.document == document);
            // Which release another document names is read when it is its turn.
            let release = same.map_or_else(String::new, |i| i.release.to_string());
            (id.clone(), Unit { document: document.to_string(), release })
        })
        .collect();
    let steps: HashMap<String, Step> = plan(&desired, &actual).into_iter().map(|step| (step.id().to_owned(), step)).collect();
    let ids: BTreeSet<String> = state.desired.keys().chain(state.installed.keys()).chain(desk.jobs.keys()).cloned().collect();
    let now = Instant::now();
    desk.failures.retain(|(id, _), _| ids.contains(id));
    for id in ids {
        let installed = state.installed.get(&id).map(|i| &i.document);
        let goals = goals(agent, &id, steps.get(&id), installed, state.desired.get(&id));
        if let Some(job) = desk.jobs.get(&id) {
            if goals.iter().any(|(goal, _)| goal == &job.goal) {
                continue;
            }
            tracing::info!(deployment = id, "no longer wanted: cancelled");
            job.handle.abort();
            desk.jobs.remove(&id);
        }
        let due = |goal: &Goal| desk.failures.get(&(id.clone(), goal.clone())).is_none_or(|(_, at)| *at <= now);
        let Some((goal, former)) = goals.into_iter().find(|(goal, _)| due(goal)) else { continue };
        let adopted = state.installed.get(&id).filter(|_| former).map_or(state.manifest_version, |i| i.adopted);
        let (agent, sender, name, aim) = (agent.clone(), sender.clone(), id.clone(), goal.clone());
        let handle = tokio::spawn(async move {
            let work = async {
                match &aim {
                    Some(document) => install::bring_up(&agent, &name, document, adopted).await,
                    None => remove(&agent, &name),
                }
            };
            let result = tokio::time::timeout(INSTALL_LIMIT, work).await;
            let result = result.unwrap_or_else(|_| Err(Fault::new("install-timeout", "app", "the installation took too long")));
            let _ = sender.send(Done { id: name, goal: aim, adopted, result }).await;
        });
        desk.jobs.insert(id, Job { goal, handle });
    }
}

fn finish(agent: &Agent, desk: &mut Desk, done: Done) {
    // A late answer of a cancelled job says nothing about the present one.
    if desk.jobs.get(&done.id).is_none_or(|job| job.goal != done.goal) {
        return;
    }
    desk.jobs.remove(&done.id);
    desk.untidy = true;
    let key = (done.id.clone(), done.goal);
    let Err(fault) = done.result else {
        desk.failures.remove(&key);
        return;
    };
    let count = desk.failures.get(&key).map_or(0, |f| f.0) + 1;
    // A bad line is tried again soon and is no failure of the release.
    let transient = fault.code == "server-unreachable";
    let (base, cap) = if transient { (2, CONTACT_CAP) } else { (15, INSTALL_CAP) };
    let wait = backoff(count, Duration::from_secs(base), cap, spread());
    desk.failures.insert(key, (count, Instant::now() + wait));
    if transient {
        tracing::warn!(deployment = done.id, %fault, retry_ms = wait.as_millis(), "will be tried again");
        return;
    }
    let component = agent.phases().get(&done.id).map_or_else(|| done.id.clone(), |p| p.app.rsplit('/').next().unwrap_or(&p.app).to_owned());
    if let Err(fault) = agent.report(&done.id, &component, done.adopted, State::Failed, Some(&fault)) {
        tracing::error!(%fault, "cannot store a status");
    }
}

fn remove(agent: &Agent, id: &str) -> Result<(), Fault> {
    let version = agent.state.get().manifest_version;
    let component = agent.apps.get(id).map_or_else(|| id.to_owned(), |r| r.wanted.component.clone());
    agent.report(id, &component, version, State::Removing, None)?;
    agent.apps.remove(id);
    agent.state.update(|s| s.installed.remove(id))?;
    agent.report(id, &component, version, State::Removed, None)
}

/// Stops apps whose licence no longer lets them run, and renews the warning of the others. Safety-class apps are never
/// stopped by expiry (see `Verdict::allows`).
fn watch_licences(agent: &Agent) {
    for running in agent.apps.all() {
        let id = &running.wanted.id;
        let result = agent.standing(&running.wanted, running.manifest.safety, Purpose::Run, true);
        match result {
            Ok(standing) if standing == running.standing => {}
            Ok(standing) => {
                tracing::warn!(deployment = id, %standing, "the app keeps running; its licence changed its standing");
                // Only where nobody changed it in between.
                if agent.apps.get(id).is_some_and(|now| Arc::ptr_eq(&now, &running)) {
                    agent.apps.put(crate::apps::Running {
                        wanted: running.wanted.clone(),
                        manifest: running.manifest.clone(),
                        values: running.values.clone(),
                        standing,
                        process: running.process.clone(),
                        stats: running.stats.clone(),
                    });
                }
            }
            Err(fault) => {
                agent.apps.remove(id);
                let adopted = agent.state.get().installed.get(id).map_or(0, |i| i.adopted);
                if let Err(fault) = agent.report(id, &running.wanted.component, adopted, State::Failed, Some(&fault)) {
                    tracing::error!(%fault, "cannot store a status");
                }
            }
        }
    }
}

/// The body of a heartbeat.
pub fn heartbeat(agent: &Agent) -> Map<String, serde_json::Value> {
    let mut apps: Vec<serde_json::Value> = Vec::new();
    let all = agent.apps.all();
    for running in &all {
        let (p50, p95) = running.stats.quantiles().unzip();
        apps.push(json!({
            "deployment_id": running.wanted.id, "app": running.wanted.app(), "version": running.wanted.release.version,
            "state": if running.process.pid().is_some() { "installed" } else { "failed" },
            "inferences": running.stats.inferences.load(Ordering::Relaxed), "errors": running.stats.errors.load(Ordering::Relaxed),
            "p50_ms": p50, "p95_ms": p95, "memory_bytes": running.process.pid().and_then(telemetry::resident),
            "restarts": running.stats.restarts.load(Ordering::Relaxed),
        }));
    }
    for (id, phase) in agent.phases() {
        if !all.iter().any(|r| r.wanted.id == id) {
            apps.push(json!({
                "deployment_id": id, "app": phase.app, "version": phase.version, "state": phase.state.as_str(),
                "inferences": 0, "errors": 0, "p50_ms": null, "p95_ms": null, "memory_bytes": null, "restarts": 0,
            }));
        }
    }
    Map::from_iter([("node".to_owned(), agent.node.read()), ("apps".to_owned(), json!(apps))])
}

async fn beat(agent: &Arc<Agent>) {
    loop {
        // Right after a start there is nothing to say yet.
        pause(Duration::from_secs(agent.identity().heartbeat_seconds)).await;
        let keeper = agent.clone();
        let stored = tokio::task::spawn_blocking(move || keeper.outbox.push(Kind::Heartbeat, heartbeat(&keeper))).await;
        if let Ok(Err(fault)) = stored {
            tracing::error!(%fault, "cannot store a heartbeat");
        }
        agent.outbox.urgent.notify_one();
    }
}

/// Sends status posts and reports as soon as there are any, for ever.
async fn send(agent: &Arc<Agent>) {
    let mut failures = 0;
    loop {
        match send_all(agent).await {
            Ok(()) => failures = 0,
            Err(fault) => {
                failures += 1;
                agent.contact::<()>(&Err(fault));
                tokio::time::sleep(backoff(failures, Duration::from_secs(1), CONTACT_CAP, spread())).await;
                continue;
            }
        }
        tokio::select! {
            () = agent.unsent.notified() => {}
            () = agent.outbox.urgent.notified() => {}
            () = tokio::time::sleep(Duration::from_mins(1)) => {}
        }
    }
}

async fn send_all(agent: &Arc<Agent>) -> Result<(), Fault> {
    for (id, status) in agent.state.get().unsent {
        agent.cloud.status(&id, &status).await?;
        // A newer one may have come in meanwhile: that one stays.
        agent.state.update(|s| {
            if s.unsent.get(&id) == Some(&status) {
                s.unsent.remove(&id);
            }
        })?;
    }
    while let Some((body, last)) = agent.outbox.batch() {
        let accepted = agent.cloud.reports(body).await?;
        let keeper = agent.clone();
        tokio::task::spawn_blocking(move || keeper.outbox.accepted(accepted))
            .await
            .map_err(|e| Fault::new("cancelled", "store", e.to_string()))??;
        if accepted < last {
            return Err(Fault::new("reports-not-accepted", "server", format!("the server took reports up to {accepted} of {last}")));
        }
    }
    Ok(())
}

async fn renew(agent: &Agent) {
    let mut failures = 0;
    loop {
        let present = agent.identity();
        let due = present.validity().map(|(from, to)| identity::renew_at(from, to));
        let wait = due.map_or(Duration::ZERO, |at| (at - Utc::now()).to_std().unwrap_or_default());
        if !wait.is_zero() {
            // Looked at anew now and then: clocks of machines jump.
            tokio::time::sleep(wait.min(Duration::from_mins(10))).await;
            continue;
        }
        match enroll::renew(&present, &agent.cloud.client()).await.and_then(|next| agent.use_identity(next)) {
            Ok(()) => {
                failures = 0;
                tracing::info!("certificate renewed");
            }
            Err(fault) => {
                failures += 1;
                tracing::warn!(%fault, failures, "certificate not renewed");
                tokio::time::sleep(backoff(failures, Duration::from_secs(10), Duration::from_mins(10), spread())).await;
            }
        }
        // Never in a tight circle, whatever dates the server gives.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
