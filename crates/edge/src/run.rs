//! The loops of the agent: poll, reconcile, send, renew. Each goes on for ever; a fault of one does not stop the others, and after a panic of
//! one all begin anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::margo::{Cpu, DeviceCapabilities, DeviceProperties, FORMATS_LABEL, PROVIDERS_EXTENSION, RUNTIME_LABEL};
use app_package::stream;
use chrono::DateTime;
use serde_json::{Map, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::cloud::{Poll, Refusal};
use crate::fault::Fault;
use crate::model::{backoff, spread};
use crate::pictures::Wish;
use crate::reconcile::reconcile;
use crate::{alarms, enroll, health, identity, pictures, providers, sources, telemetry};

/// Time between two writes of the proved time: as much running time is not counted when the power fails.
const KEEP_TIME: Duration = Duration::from_mins(5);
/// Time between two looks at the certificate's end.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_mins(1);
/// Time between two looks whether the platform has told the time.
const LOOK_FOR_TIME: Duration = Duration::from_secs(2);
/// Longest wait between two tries to renew the certificate.
const RENEW_CAP: Duration = Duration::from_hours(1);
/// Longest wait between two tries to reach the server.
const CONTACT_CAP: Duration = Duration::from_mins(1);
/// Shortest wait after the server has refused something: so often a flood of critical alarms makes the node try again.
const SEND_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after older records were sent.
const BACKLOG_PAUSE: Duration = Duration::from_secs(20);
/// Longest time between two looks for pictures to send.
const LOOK_FOR_PICTURES: Duration = Duration::from_secs(10);
/// Wait before loops that panicked begin anew.
const BEGIN_ANEW: Duration = Duration::from_secs(1);

/// Runs all loops until cancelled.
pub async fn run(agent: Arc<Agent>, cancel: CancellationToken) {
    let loops = || {
        let agent = agent.clone();
        async move {
            let (poll, beat, send) = (poll(&agent), beat(&agent), send(&agent));
            tokio::join!(
                poll,
                reconcile(&agent),
                beat,
                send,
                renew(&agent),
                keep_time(&agent),
                providers::probe(&agent),
                end_alarms(&agent),
                send_pictures(&agent),
                sources::run(&agent)
            );
        }
    };
    tokio::select! {
        () = kept_up(loops) => {}
        () = cancel.cancelled() => {}
    }
}

/// Runs work anew whenever it panics: a node that serves, but neither polls nor reports, would look healthy to who asks it.
async fn kept_up<F: Future<Output = ()> + Send + 'static>(work: impl Fn() -> F) {
    // Ended with this future.
    let mut task = JoinSet::new();
    loop {
        task.spawn(work());
        match task.join_next().await {
            Some(Err(error)) => tracing::error!(%error, "the loops of the agent broke off and begin anew"),
            _ => return,
        }
        tokio::time::sleep(BEGIN_ANEW).await;
    }
}

/// Writes the proved time down: when the platform has told it, when it has signed it, and each few minutes after that.
async fn keep_time(agent: &Arc<Agent>) {
    let mut kept: Option<(Instant, (bool, bool))> = None;
    loop {
        let timed = (agent.clock.platform().is_some(), agent.clock.is_signed());
        if kept.is_none_or(|(at, before)| before != timed || at.elapsed() >= KEEP_TIME) {
            kept = Some((Instant::now(), timed));
            let keeper = agent.clone();
            if let Ok(Err(fault)) = tokio::task::spawn_blocking(move || keeper.clock.keep()).await {
                tracing::warn!(%fault, "the time could not be noted");
            }
        }
        tokio::time::sleep(LOOK_FOR_TIME).await;
    }
}

/// Waits between 90 and 110 % of the time given.
async fn pause(time: Duration) {
    let part = u32::try_from(spread() % 200).unwrap_or(0);
    tokio::time::sleep(time * 9 / 10 + time / 1000 * part).await;
}

/// Version of ONNX Runtime, whose library is loaded once, in a process of its own. Code `engine-missing`.
async fn engine_version(agent: &Agent) -> Result<String, Fault> {
    let missing = |why: &str| {
        let why: String = why.chars().take(300).collect();
        Fault::new("engine-missing", "app", format!("no app can start with {}: {why}", agent.config.ort_lib.display()))
    };
    let mut command = tokio::process::Command::new(&agent.config.exe);
    command.arg("engine-version").arg("--ort-lib").arg(&agent.config.ort_lib).env_clear().kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await.map_err(|_| missing("no answer within 30 s"))?;
    let output = output.map_err(|e| missing(&e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !text.is_empty() && text.len() < 50 {
        return Ok(text);
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(missing(words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it could not be loaded")))
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
    labels.insert(FORMATS_LABEL.to_owned(), json!(app_package::manifest::FORMATS));
    let engine = engine_version(agent).await;
    match &engine {
        Ok(version) => {
            labels.insert(RUNTIME_LABEL.to_owned(), json!(version));
        }
        // A missing engine is no reason to stop: licences are watched and the platform is told all the same.
        Err(fault) => tracing::error!(%fault, "ONNX Runtime cannot be used"),
    }
    agent.note_engine(engine);
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
    agent.link.contact(&Ok(()));
    agent.state.hold(|s| s.capabilities = Some(digest));
    Ok(())
}

async fn poll(agent: &Agent) {
    if let Err(fault) = agent.use_authorities() {
        tracing::error!(%fault, "the authorities of the root document could not be taken");
    }
    let mut present = capabilities(agent).await;
    // Capabilities are told at each start: the server may have lost them.
    agent.state.hold(|s| s.capabilities = None);
    let mut failures = 0;
    loop {
        let interval = Duration::from_secs(agent.identity().poll_seconds);
        let started = Instant::now();
        let result = poll_once(agent, &mut present).await;
        let (outcome, after) = match result {
            Ok(changed) => (Ok(changed), None),
            Err((fault, after)) => (Err(fault), after),
        };
        agent.link.contact(&outcome);
        agent.link.polled(&outcome);
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

async fn poll_once(agent: &Agent, present: &mut DeviceCapabilities) -> Result<bool, Refusal> {
    let plain = |fault| (fault, None);
    if !agent.config.providers.is_empty() || agent.apps.all().iter().any(|running| !running.manifest.providers.is_empty()) {
        present.extensions.insert(PROVIDERS_EXTENSION.to_owned(), providers::told(agent));
    }
    tell_capabilities(agent, present).await.map_err(plain)?;
    let state = agent.state.get();
    match agent.cloud.poll(state.etag.as_deref(), agent.config.wait_seconds).await? {
        Poll::Unchanged { root } => {
            let held = agent.trust.held();
            if agent.orders_due() || root > held.root.as_ref().map(|root| root.version) {
                agent.ask_orders(state.etag.as_deref().unwrap_or_default()).await.map_err(plain)?;
            }
            Ok(false)
        }
        Poll::Manifest { etag, body } => {
            agent.adopt(&etag, &body).await.map_err(plain)?;
            Ok(true)
        }
    }
}

/// The node's own trouble as heartbeats tell it: the worst of [`health::faults`].
fn trouble(agent: &Agent) -> serde_json::Value {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let told = |fault: &Fault| json!({ "code": cut(&fault.code, 100), "message": cut(&fault.message, 300) });
    health::faults(agent).first().map_or(serde_json::Value::Null, told)
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
    let mut node = agent.node.read();
    if let Some(fields) = node.as_object_mut() {
        let counts = agent.outbox.counts();
        fields.insert("trouble".to_owned(), trouble(agent));
        fields.insert("instance".to_owned(), json!(agent.instance));
        fields.insert("alarms_dropped".to_owned(), json!(counts.dropped));
        fields.insert("alarms_suppressed".to_owned(), json!(agent.episodes.counts().1));
    }
    let mut beat = Map::from_iter([("node".to_owned(), node), ("apps".to_owned(), json!(apps))]);
    let sources: Vec<serde_json::Value> = agent.sources.all().iter().map(|live| live.told()).collect();
    if !sources.is_empty() {
        beat.insert("sources".to_owned(), json!(sources));
    }
    beat
}

/// Keeps a heartbeat, and the counters where they are due. Blocking.
fn note_beat(agent: &Agent) {
    let now = agent.clock.now();
    agent.outbox.beat(now, heartbeat(agent));
    let Some(counters) = agent.usage.count(agent.counted()) else { return };
    if let Err(fault) = agent.outbox.push(stream::Kind::Usage, now, agent.clock.state(), counters) {
        tracing::error!(%fault, "the counters could not be stored");
    }
}

/// Ends the alarms that are over, for ever.
async fn end_alarms(agent: &Arc<Agent>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if agent.episodes.counts().0 > 0 {
            let keeper = agent.clone();
            let _ = tokio::task::spawn_blocking(move || alarms::end(&keeper)).await;
        }
    }
}

/// Sends pictures of alarms, for ever.
async fn send_pictures(agent: &Arc<Agent>) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        match pictures::send_one(agent).await {
            Ok(true) => {
                failures = 0;
                // Half of the line is for what else there is to say.
                tokio::time::sleep(began.elapsed().min(BACKLOG_PAUSE)).await;
            }
            Ok(false) => tokio::select! {
                () = agent.pictures.due.notified() => {}
                () = tokio::time::sleep(LOOK_FOR_PICTURES) => {}
            },
            Err((fault, after)) => {
                failures += 1;
                tracing::debug!(%fault, failures, "pictures wait");
                let wait = after.unwrap_or_else(|| backoff(failures, SEND_PAUSE, CONTACT_CAP, spread()));
                tokio::time::sleep(wait.max(SEND_PAUSE)).await;
            }
        }
    }
}

async fn beat(agent: &Arc<Agent>) {
    loop {
        // The first heartbeat waits too: right after a start there is nothing to say.
        pause(Duration::from_secs(agent.identity().heartbeat_seconds)).await;
        let keeper = agent.clone();
        let _ = tokio::task::spawn_blocking(move || note_beat(&keeper)).await;
        agent.outbox.urgent.notify_one();
    }
}

/// Sends status posts and reports as soon as there are any, for ever.
async fn send(agent: &Arc<Agent>) {
    let mut failures = 0;
    loop {
        match send_all(agent).await {
            Ok(()) => {
                failures = 0;
                agent.pictures.due.notify_one();
            }
            Err((fault, after)) => {
                failures += 1;
                tracing::debug!(%fault, failures, "reports wait");
                agent.link.contact::<()>(&Err(fault));
                // The server says when there is room again; what was refused waits here.
                let wait = after.unwrap_or_else(|| backoff(failures, SEND_PAUSE, CONTACT_CAP, spread()));
                tokio::time::sleep(SEND_PAUSE).await;
                tokio::select! {
                    () = tokio::time::sleep(wait.min(CONTACT_CAP).saturating_sub(SEND_PAUSE)) => {}
                    // A refusal of something else holds no critical alarm up.
                    () = agent.outbox.critical.notified() => {}
                }
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

async fn send_all(agent: &Arc<Agent>) -> Result<(), Refusal> {
    // Alarms come first, and neither holds up the other.
    let mut refused = match send_reports(agent).await {
        Err(refusal) if refusal.0.code == "server-unreachable" => return Err(refusal),
        sent => sent,
    };
    for (id, status) in agent.state.get().unsent {
        match agent.cloud.status(&id, &status).await {
            Ok(()) => {}
            Err(refusal) if refusal.0.code == "server-unreachable" => return Err(refusal),
            Err(refusal) => {
                refused = Err(refusal);
                continue;
            }
        }
        // A newer status may have come in meanwhile: it stays.
        agent.state.hold(|s| {
            if s.unsent.get(&id) == Some(&status) {
                s.unsent.remove(&id);
            }
        });
    }
    refused
}

/// Sends what waits in the outbox.
async fn send_reports(agent: &Arc<Agent>) -> Result<(), Refusal> {
    let plain = |fault| (fault, None);
    let cancelled = |e: tokio::task::JoinError| plain(Fault::new("cancelled", "store", e.to_string()));
    loop {
        let keeper = agent.clone();
        let batch = tokio::task::spawn_blocking(move || keeper.outbox.batch(keeper.clock.now())).await.map_err(cancelled)?;
        let Some(batch) = batch else { return Ok(()) };
        let began = Instant::now();
        let answer = agent.cloud.reports(batch.body.clone()).await?;
        agent.link.contact(&Ok(()));
        let (keeper, backlog) = (agent.clone(), batch.backlog);
        let answered = move || {
            keeper.pictures.told(answer.pictures.as_deref().and_then(Wish::of), &answer.wanted_pictures);
            keeper.outbox.answered(&batch, answer, keeper.clock.now())
        };
        if let Some((code, wait)) = tokio::task::spawn_blocking(answered).await.map_err(cancelled)? {
            return Err((Fault::new("reports-not-accepted", "server", format!("the server took not all records: {code}")), wait));
        }
        if backlog {
            // What is old leaves four fifths of the line to what is new.
            tokio::select! {
                () = tokio::time::sleep((began.elapsed() * 4).min(BACKLOG_PAUSE)) => {}
                () = agent.outbox.urgent.notified() => {}
            }
        }
    }
}

/// Renews the certificate when two thirds of its life are over or another authority issues, by the platform's time: a machine whose clock is wrong renews neither
/// again and again nor too late. Before the platform has answered there is nothing to renew with.
async fn renew(agent: &Agent) {
    let mut failures = 0;
    loop {
        let present = agent.identity();
        let renewed = present.renewed_at.and_then(|at| DateTime::from_timestamp(at, 0));
        let held = agent.trust.held();
        let authority = held.root.as_ref().and_then(|root| root.authorities().into_iter().next());
        let due = if authority.is_some() && authority != present.issuer() {
            // Another authority issues: the one of before will not be trusted for ever.
            identity::not_before(renewed).unwrap_or_default()
        } else {
            present.validity().map(|(from, to)| identity::renew_at(from, to, renewed)).unwrap_or_default()
        };
        let wait = agent.clock.platform().map_or(LOOK_FOR_TIME, |now| (due - now).to_std().unwrap_or_default());
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait.min(LOOK_AT_CERTIFICATE)) => {}
                () = agent.authorities.notified() => {}
            }
            continue;
        }
        let renewed = enroll::renew(&present, &agent.cloud.client()).await;
        let kept = renewed.and_then(|mut next| {
            next.renewed_at = Some(agent.clock.proved().timestamp());
            agent.use_identity(next)?;
            // Other authorities may have come while the answer was awaited: `present` is from before.
            agent.use_authorities()
        });
        match kept {
            Ok(()) => {
                failures = 0;
                tracing::info!("certificate renewed");
            }
            Err(fault) => {
                failures += 1;
                tracing::warn!(%fault, failures, "certificate not renewed");
                tokio::time::sleep(backoff(failures, Duration::from_secs(10), RENEW_CAP, spread())).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn work_that_panics_begins_anew() {
        let begun = Arc::new(AtomicU32::new(0));
        let work = || {
            let begun = begun.clone();
            async move { assert!(begun.fetch_add(1, Ordering::Relaxed) > 0, "the first time") }
        };
        tokio::time::timeout(Duration::from_secs(20), kept_up(work)).await.unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
