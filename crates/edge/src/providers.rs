//! Which provider an app runs on.
//!
//! An app comes up on the CPU, always, and serves. Then the providers that it names are tried in its order, each in a process beside the one
//! that serves: the first of this node's that loads the models and reproduces the golden samples takes over, and no request meets a pause. So
//! nothing that a provider does keeps an app from coming up. Where its process ends in service, the CPU takes over ([`crate::process`]),
//! and the release is not tried on this version of the provider again. What fails before it serves is tried again at the agent's next start.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use app_package::digest::Digest;
use app_package::manifest::Provider;
use inference::column::NOT_HERE;
use inference::provider::{Library, ProviderInfo};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::agent::Agent;
use crate::apps::Running;
use crate::fault::Fault;
use crate::install;
use crate::process::{Launch, Process};
use crate::state::Crashed;

/// Longest words of a fault that the platform is told, in characters: what it keeps of a node is bounded.
const MAX_WORDS: usize = 120;
/// Time for loading a library to see what it is.
const PROBE: Duration = Duration::from_secs(30);

/// What is known of the providers since the agent started.
#[derive(Default)]
pub struct Providers {
    /// What each of the node's is, or why it cannot be used; absent until it was looked at.
    known: Mutex<BTreeMap<Provider, Result<ProviderInfo, Fault>>>,
    /// Why a release does not run on a provider, though the node has it.
    failed: Mutex<BTreeMap<(Digest, Provider), Fault>>,
}

impl Providers {
    /// What a provider of the node is, or why it cannot be used; `None` until it was looked at.
    pub fn known(&self, provider: Provider) -> Option<Result<ProviderInfo, Fault>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&provider).cloned()
    }

    fn failed(&self, release: &Digest, provider: Provider) -> Option<Fault> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(&(release.clone(), provider)).cloned()
    }

    fn note_failed(&self, release: &Digest, provider: Provider, fault: Fault) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert((release.clone(), provider), fault);
    }
}

/// Loads each library once, in a process of its own, to see what it is.
pub async fn probe(agent: &Agent) {
    for library in &agent.config.providers {
        let found = probed(agent, library).await;
        match &found {
            Ok(info) => tracing::info!(provider = info.name.as_str(), version = info.version, "provider"),
            Err(fault) => tracing::warn!(%fault, "a provider cannot be used"),
        }
        agent.providers.known.lock().unwrap_or_else(PoisonError::into_inner).insert(library.provider, found);
        agent.changed.notify_one();
    }
}

async fn probed(agent: &Agent, library: &Library) -> Result<ProviderInfo, Fault> {
    let missing = |why: &str| Fault::new("provider-missing", "app", why.chars().take(300).collect::<String>());
    let mut command = tokio::process::Command::new(&agent.config.exe);
    command.arg("engine-version").arg("--ort-lib").arg(&agent.config.ort_lib).arg("--provider").arg(library.to_string());
    command.env_clear().kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(PROBE, command.output()).await.map_err(|_| missing("no answer within 30 s"))?;
    let output = output.map_err(|e| missing(&e.to_string()))?;
    if let Ok(info) = serde_json::from_slice::<ProviderInfo>(&output.stdout)
        && output.status.success()
    {
        return Ok(info);
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("its library could not be loaded");
    Err(match last.strip_prefix("provider-no-device: ") {
        Some(why) => Fault::new("provider-no-device", "app", why.chars().take(300).collect::<String>()),
        None => missing(last.strip_prefix("provider-missing: ").unwrap_or(last)),
    })
}

/// Whether an app may run on a provider here: why not, or `None` where its library was not looked at yet.
fn fit<'a>(agent: &'a Agent, release: &Digest, provider: Provider) -> Option<Result<&'a Library, Fault>> {
    let Some(library) = agent.config.providers.iter().find(|library| library.provider == provider) else {
        return Some(Err(Fault::new(NOT_HERE, "app", "this node has no library of it")));
    };
    let info = match agent.providers.known(provider)? {
        Ok(info) => info,
        Err(fault) => return Some(Err(fault)),
    };
    let state = agent.state.get();
    let crashed = state.crashed.get(release.as_str()).and_then(|all| all.get(&provider)).filter(|crash| crash.version == info.version);
    if let Some(crash) = crashed {
        return Some(Err(Fault::new("provider-crashed", "app", crash.message.clone())));
    }
    Some(agent.providers.failed(release, provider).map_or(Ok(library), Err))
}

/// Providers that an app would rather run on than the one that it runs on, with the reason why not, in its order.
pub fn passed_over(agent: &Agent, running: &Running) -> Vec<(Provider, Fault)> {
    let serves = running.process.provider().map(|info| info.name);
    let better = running.manifest.providers.iter().take_while(|named| Some(**named) != serves);
    let reason = |named: &Provider| Some((*named, fit(agent, &running.wanted.release.digest, *named)?.err()?));
    better.filter_map(reason).collect()
}

/// Tries under way, by deployment.
#[derive(Default)]
pub struct Improving(HashMap<String, Try>);

/// A try of a release on a provider; it ends with this value.
struct Try {
    release: Digest,
    handle: JoinHandle<()>,
}

impl Drop for Try {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Begins to try what runs on better providers, one at a time for each deployment, and ends tries of what is not wanted any more.
pub fn improve(agent: &Arc<Agent>, improving: &mut Improving) {
    let all = agent.apps.all();
    let of = |id: &String| all.iter().find(|running| &running.wanted.id == id);
    improving
        .0
        .retain(|id, this| !this.handle.is_finished() && of(id).is_some_and(|running| running.wanted.release.digest == this.release));
    for running in &all {
        // Told before where its end was seen; one that ended in the moment of taking over is noted here.
        note_crash(agent, running);
    }
    for running in all.iter().filter(|running| running.process.pid().is_some()) {
        let id = &running.wanted.id;
        if improving.0.contains_key(id) {
            continue;
        }
        if let Some(library) = next(agent, running) {
            let (keeper, running, library) = (agent.clone(), running.clone(), library.clone());
            let release = running.wanted.release.digest.clone();
            let handle = tokio::spawn(async move { attempt(&keeper, &running, library).await });
            improving.0.insert(id.clone(), Try { release, handle });
        }
    }
    forget(agent);
}

/// The provider that an app is to be tried on now.
fn next<'a>(agent: &'a Agent, running: &Running) -> Option<&'a Library> {
    let serves = running.process.provider().map(|info| info.name);
    for named in running.manifest.providers.iter().take_while(|named| Some(**named) != serves) {
        match fit(agent, &running.wanted.release.digest, *named) {
            Some(Ok(library)) => return Some(library),
            Some(Err(_)) => {}
            // Its turn comes when its library was looked at.
            None => return None,
        }
    }
    None
}

/// Starts the app on a provider beside the process that serves, and lets it take over where it reproduces the golden samples.
async fn attempt(agent: &Arc<Agent>, running: &Running, library: Library) {
    let (id, release, provider) = (&running.wanted.id, &running.wanted.release.digest, library.provider);
    let launch = Launch { provider: Some(library), ..running.process.launch().clone() };
    let proved = async {
        let process = Process::start(launch, running.stats.clone()).await?;
        install::golden(&process).await?;
        // It may have ended right after its samples.
        process.left().map_or(Ok(process), Err)
    };
    match proved.await {
        Ok(process) => {
            // The process of before ends with the last request to it. A try that lost its place says nothing.
            if agent.apps.exchange(id, &running.process, process) {
                tracing::info!(deployment = id, provider = provider.as_str(), "the app runs on a provider");
            }
        }
        Err(fault) => {
            tracing::warn!(deployment = id, provider = provider.as_str(), %fault, "the app goes on as it runs");
            agent.providers.note_failed(release, provider, fault);
        }
    }
    agent.changed.notify_one();
}

/// Notes that a process in service ended on a provider, if it did: its fault, the first time.
pub fn note_crash(agent: &Agent, running: &Running) -> Option<Fault> {
    let fault = running.process.left()?;
    let provider = running.process.launch().provider.as_ref()?.provider;
    let version = agent.providers.known(provider).and_then(Result::ok).map(|info| info.version).unwrap_or_default();
    let crashed = Crashed { version, message: fault.message.chars().take(300).collect() };
    let release = running.wanted.release.digest.as_str().to_owned();
    let known = agent.state.get().crashed.get(&release).and_then(|all| all.get(&provider)).cloned();
    if known.as_ref() == Some(&crashed) {
        return None;
    }
    agent.state.hold(|s| s.crashed.entry(release).or_default().insert(provider, crashed));
    Some(fault)
}

/// Forgets crashes of releases that are not wanted here any more.
fn forget(agent: &Agent) {
    let state = agent.state.get();
    let held = |release: &String| state.installed.values().any(|installed| installed.release.as_str() == release);
    if !state.crashed.keys().all(held) {
        agent.state.hold(|s| s.crashed.retain(|release, _| held(release)));
    }
}

/// What the platform is told in [`app_package::margo::PROVIDERS_EXTENSION`]: each of the node's providers, and of each app that names some what
/// it runs on, and why not on a better one.
pub fn told(agent: &Agent) -> Value {
    let reason = |provider: Provider, fault: &Fault| {
        let message: String = fault.message.chars().take(MAX_WORDS).collect();
        json!({ "name": provider, "code": fault.code, "message": message })
    };
    let all = agent.config.providers.iter().map(|library| library.provider);
    let providers: Vec<Value> = all
        .filter_map(|provider| agent.providers.known(provider).map(|known| (provider, known)))
        .map(|(provider, known)| known.map_or_else(|fault| reason(provider, &fault), |info| json!(info)))
        .collect();
    let apps = agent.apps.all();
    let named = apps.iter().filter(|running| !running.manifest.providers.is_empty());
    let apps: serde_json::Map<String, Value> = named
        .map(|running| {
            let over: Vec<Value> = passed_over(agent, running).iter().map(|(provider, fault)| reason(*provider, fault)).collect();
            (running.wanted.id.clone(), json!({ "serves": running.process.provider(), "passed_over": over }))
        })
        .collect();
    json!({ "providers": providers, "apps": apps })
}
