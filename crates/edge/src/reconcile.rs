//! Brings what runs to what is wanted: one job per deployment, cancelled when no longer wanted, retried for ever.

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::license::Purpose;
use app_package::margo::State;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::agent::Agent;
use crate::fault::Fault;
use crate::install;
use crate::model::{Step, Unit, Units, backoff, plan, spread};
use crate::providers;

/// Longest wait between two tries while the server is not reached.
const CONTACT_CAP: Duration = Duration::from_mins(1);
/// Longest wait between two tries to bring a deployment up.
const INSTALL_CAP: Duration = Duration::from_mins(15);
/// Limit of one try to bring a deployment up, downloads included. The next try goes on from what is on disk.
const INSTALL_LIMIT: Duration = Duration::from_hours(6);

/// What a job works towards: a document, or `None` for removal.
type Goal = Option<Digest>;

struct Job {
    goal: Goal,
    handle: JoinHandle<()>,
}

impl Drop for Job {
    /// A job ends with the desk that it is noted on.
    fn drop(&mut self) {
        self.handle.abort();
    }
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
    /// Whether the platform had told its time at the last look, and whether it had signed it.
    timed: (bool, bool),
    watched: HashMap<String, Watched>,
    improving: providers::Improving,
}

/// The process of a deployment as it was at the last look.
struct Watched {
    release: Digest,
    restarts: u64,
    /// Whether its end was reported and its return was not.
    down: bool,
}

/// Brings what runs to what is wanted. Each deployment has its own job, so a stuck one holds up nobody else; a job whose
/// goal is no longer wanted is cancelled.
pub async fn reconcile(agent: &Arc<Agent>) {
    let (sender, mut done) = mpsc::channel::<Done>(64);
    let mut desk = Desk { untidy: true, ..Desk::default() };
    let mut licences = Instant::now();
    loop {
        if licences.elapsed() > Duration::from_secs(20) {
            watch_licences(agent);
            licences = Instant::now();
        }
        // What a licence refused by a clock that runs ahead is tried again as soon as the platform has told the time, and when it has signed it.
        let timed = (agent.clock.platform().is_some(), agent.clock.is_signed());
        if std::mem::replace(&mut desk.timed, timed) != timed {
            desk.failures.clear();
        }
        watch_processes(agent, &mut desk);
        providers::improve(agent, &mut desk.improving);
        assign(agent, &mut desk, &sender);
        tokio::select! {
            () = agent.changed.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            Some(finished) = done.recv() => finish(agent, &mut desk, finished),
        }
        if desk.untidy && desk.jobs.is_empty() {
            desk.untidy = false;
            let keeper = agent.clone();
            // The clean-up is awaited, so that no job begins while files are being removed.
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
            // The release that a new document names is read by its job; until then it is empty.
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
            let result = attempt(work).await;
            let _ = sender.send(Done { id: name, goal: aim, adopted, result }).await;
        });
        desk.jobs.insert(id, Job { goal, handle });
    }
}

/// One try of a job, within [`INSTALL_LIMIT`]. A panic is a fault like others: a job that said nothing would never be tried again.
async fn attempt(work: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    let work = AssertUnwindSafe(tokio::time::timeout(INSTALL_LIMIT, work)).catch_unwind();
    let Ok(result) = work.await else { return Err(Fault::new("cancelled", "app", "the work panicked; the log says where")) };
    result.unwrap_or_else(|_| Err(Fault::new("install-timeout", "app", "the installation took too long")))
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
    // An unreachable server is tried again soon and is no failure of the release.
    let transient = fault.code == "server-unreachable";
    let (base, cap) = if transient { (2, CONTACT_CAP) } else { (15, INSTALL_CAP) };
    let wait = backoff(count, Duration::from_secs(base), cap, spread());
    desk.failures.insert(key, (count, Instant::now() + wait));
    if transient {
        tracing::warn!(deployment = done.id, %fault, retry_ms = wait.as_millis(), "will be tried again");
        return;
    }
    let component = agent.phases().get(&done.id).map_or_else(|| done.id.clone(), |p| p.app.rsplit('/').next().unwrap_or(&p.app).to_owned());
    agent.report(&done.id, &component, done.adopted, State::Failed, Some(&fault));
}

fn remove(agent: &Agent, id: &str) -> Result<(), Fault> {
    let version = agent.state.get().manifest_version;
    let component = agent.apps.get(id).map_or_else(|| id.to_owned(), |r| r.wanted.component.clone());
    agent.report(id, &component, version, State::Removing, None);
    agent.apps.remove(id);
    agent.state.update(|s| s.installed.remove(id))?;
    agent.report(id, &component, version, State::Removed, None);
    Ok(())
}

/// Reports processes that ended by themselves, and their return: a crash is part of a deployment's history, however soon the app is back. The
/// return is told at the next look, so that both reach the platform.
fn watch_processes(agent: &Agent, desk: &mut Desk) {
    let all = agent.apps.all();
    desk.watched.retain(|id, _| all.iter().any(|running| &running.wanted.id == id));
    for running in all {
        let (id, release) = (&running.wanted.id, &running.wanted.release.digest);
        let restarts = running.stats.restarts.load(Ordering::Relaxed);
        let fresh = || Watched { release: release.clone(), restarts, down: false };
        let watched = desk.watched.entry(id.clone()).or_insert_with(fresh);
        if &watched.release != release {
            *watched = fresh();
        }
        let adopted = agent.state.get().installed.get(id).map_or(0, |i| i.adopted);
        let component = &running.wanted.component;
        if watched.down {
            if running.process.pid().is_some() {
                watched.down = false;
                agent.report(id, component, adopted, State::Installed, None);
            }
        } else if watched.restarts != restarts {
            (watched.restarts, watched.down) = (restarts, true);
            let words = || format!("the app's process ended by itself and is started again; {restarts} times since the agent started");
            let fault = providers::note_crash(agent, &running).unwrap_or_else(|| Fault::new("app-crashed", "app", words()));
            agent.report(id, component, adopted, State::Failed, Some(&fault));
        }
    }
}

/// Stops apps whose licence no longer lets them run, and renews the warning of the others. Safety-class apps are never
/// stopped by expiry (see `Verdict::allows`), and none by a key that is trusted no longer ([`Agent::standing`]).
fn watch_licences(agent: &Agent) {
    for running in agent.apps.all() {
        let id = &running.wanted.id;
        let result = agent.standing(&running.wanted, running.manifest.safety, Purpose::Run, true);
        match result {
            Ok(standing) if standing == running.standing => {}
            Ok(standing) => {
                tracing::warn!(deployment = id, %standing, "the app keeps running; its licence changed its standing");
                // The entry is replaced only where nobody changed it in between.
                if agent.apps.get(id).is_some_and(|now| Arc::ptr_eq(&now, &running)) {
                    agent.apps.put(crate::apps::Running { standing, ..crate::apps::Running::clone(&running) });
                }
            }
            Err(fault) => {
                agent.apps.remove(id);
                let adopted = agent.state.get().installed.get(id).map_or(0, |i| i.adopted);
                agent.report(id, &running.wanted.component, adopted, State::Failed, Some(&fault));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_has_failed() {
        let missing: Option<()> = None;
        assert_eq!(attempt(async { missing.map_or_else(|| panic!("in a job"), Ok) }).await.unwrap_err().code, "cancelled");
        assert_eq!(attempt(async { Ok(()) }).await, Ok(()));
    }
}
