//! Cameras, video files, pictures and sensors that the node looks at by itself, and the apps that see them.
//!
//! One task for each source brings frames into its slot ([`live`]); one for each app that looks at it takes the newest ([`bind`]). Of sensors it
//! brings values, which become rows ([`sensors`]). A source that fails begins anew by itself, and disturbs no other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::fault::Fault;
use crate::files;
use crate::model::spread;

mod bind;
pub mod channels;
pub mod config;
pub mod decoder;
mod file;
pub mod health;
pub mod live;
pub mod rows;
mod rtsp;
pub mod sensors;
mod stills;

use config::{Kind, Settings};
use decoder::Tools;
use live::Live;

/// Time between two looks whether the files have been changed by hand.
const LOOK: Duration = Duration::from_secs(2);
/// A source that gave frames for so long has recovered: its next wait is the shortest.
const RECOVERED: Duration = Duration::from_mins(1);
/// Waits after a camera refused its password: many lock an account after a few tries, for half an hour.
const REFUSED: [Duration; 2] = [Duration::from_mins(5), Duration::from_mins(30)];

/// The sources of this node.
pub struct Sources {
    /// What was read last; the error is of a file that cannot be read.
    settings: Mutex<Result<Settings, Fault>>,
    live: Mutex<BTreeMap<String, Arc<Live>>>,
    /// Rung when the settings were changed here.
    pub changed: Notify,
    /// Held while the settings are read, changed and written.
    writing: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Sources {
    fn default() -> Self {
        let (live, changed, writing) = (Mutex::default(), Notify::new(), Mutex::default());
        Self { settings: Mutex::new(Ok(Settings::default())), live, changed, writing }
    }
}

impl Sources {
    /// The sources that run, in order of id.
    pub fn all(&self) -> Vec<Arc<Live>> {
        lock(&self.live).values().cloned().collect()
    }

    pub fn get(&self, id: &str) -> Option<Arc<Live>> {
        lock(&self.live).get(id).cloned()
    }

    /// What could not be taken of the files.
    pub fn faults(&self) -> Vec<Fault> {
        match &*lock(&self.settings) {
            Ok(settings) => settings.faults.clone(),
            Err(fault) => vec![fault.clone()],
        }
    }

    /// Changes the settings and writes them. Blocking. A file that cannot be read, or is not wholly taken, is not written over.
    pub fn change(&self, data: &Path, change: impl FnOnce(&mut Settings) -> Result<(), Fault>) -> Result<(), Fault> {
        let _writing = lock(&self.writing);
        let mut settings = config::load(data)?;
        if let Some(fault) = settings.faults.first() {
            return Err(fault.clone());
        }
        change(&mut settings)?;
        config::save(data, &settings)?;
        self.changed.notify_one();
        Ok(())
    }
}

/// How long to wait before a source is begun anew after so many failures: 1, 2, 4 … 60 s, ±20 %. [`crate::model::backoff`] may wait for half
/// only, so that a fleet does not come back at once: a camera has no fleet.
fn pause(failures: u32, refused: bool, spread: u64) -> Duration {
    if refused {
        let [first, later] = REFUSED;
        return if failures > 1 { later } else { first };
    }
    let full = Duration::from_secs(1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX).clamp(1, 60));
    let share = u32::try_from(spread % 401).unwrap_or(0);
    full * (800 + share) / 1_000
}

/// Runs the sources of the files for ever.
pub async fn run(agent: &Arc<Agent>) {
    let mut running: BTreeMap<String, JoinSet<()>> = BTreeMap::new();
    // After a panic of a loop all begin anew.
    lock(&agent.sources.live).clear();
    let mut known: Option<[Option<SystemTime>; 2]> = None;
    loop {
        let times = config::changed(&agent.config.data);
        if known != Some(times) {
            known = Some(times);
            let keeper = agent.clone();
            let read = tokio::task::spawn_blocking(move || {
                let _writing = lock(&keeper.sources.writing);
                config::load(&keeper.config.data)
            });
            match read.await {
                Ok(Ok(settings)) => {
                    settings.faults.iter().for_each(|fault| tracing::error!(%fault, "a source is not taken"));
                    adopt(agent, &settings, &mut running);
                    *lock(&agent.sources.settings) = Ok(settings);
                }
                // What runs goes on.
                Ok(Err(fault)) => {
                    tracing::error!(%fault, "the sources cannot be read");
                    *lock(&agent.sources.settings) = Err(fault);
                }
                Err(error) => tracing::error!(%error, "the sources were not read"),
            }
            // They may have been written while they were read.
            known = known.filter(|_| config::changed(&agent.config.data) == times);
        }
        tokio::select! {
            () = agent.sources.changed.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Ends what is not wanted any more and begins what is new; what is as before goes on.
fn adopt(agent: &Arc<Agent>, settings: &Settings, running: &mut BTreeMap<String, JoinSet<()>>) {
    let mut live = lock(&agent.sources.live);
    let wanted = |live: &Live| settings.sources.contains(&live.source) && settings.logins.get(&live.source.id) == live.login.as_ref();
    live.retain(|id, known| {
        let stays = wanted(known);
        if !stays {
            running.remove(id);
        }
        stays
    });
    for source in &settings.sources {
        if live.contains_key(&source.id) {
            continue;
        }
        let begun = Live::new(source.clone(), settings.logins.get(&source.id).cloned(), agent.clock.clone());
        let begun = Arc::new(begun);
        let mut tasks = JoinSet::new();
        for binding in &source.apps {
            if let Some(fares) = begun.apps.get(&binding.app) {
                let (agent, begun, binding, fares) = (agent.clone(), begun.clone(), binding.clone(), fares.clone());
                if source.kind.is_sensors() {
                    tasks.spawn(sensors::feed(agent, begun, binding, fares));
                } else {
                    tasks.spawn(bind::feed(agent, begun, binding, fares));
                }
            }
        }
        if source.kind.is_sensors() {
            tasks.spawn(sensors::tick(begun.clone()));
        }
        tasks.spawn(keep(agent.clone(), begun.clone()));
        running.insert(source.id.clone(), tasks);
        live.insert(source.id.clone(), begun);
    }
}

/// Keeps a source running.
async fn keep(agent: Arc<Agent>, live: Arc<Live>) {
    let mut failures = 0u32;
    loop {
        let (began, before) = (Instant::now(), live.decoded.load(Ordering::Relaxed));
        // A panic would end the source without a word.
        let once = std::panic::AssertUnwindSafe(once(&agent, &live)).catch_unwind().await;
        let fault = once.unwrap_or_else(|_| Fault::new("source-broken", "source", "a fault of the agent itself; its log has more"));
        let frames = live.decoded.load(Ordering::Relaxed) > before;
        failures = if frames && began.elapsed() >= RECOVERED { 1 } else { failures.saturating_add(1) };
        let refused = fault.code == "credentials-refused";
        let wait = pause(failures, refused, spread());
        tracing::warn!(source = live.source.id, %fault, wait_ms = wait.as_millis(), "a source failed");
        live.set(|standing| (standing.fault, standing.decoder) = (Some(fault), None));
        tokio::time::sleep(wait).await;
        live.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

async fn once(agent: &Arc<Agent>, live: &Arc<Live>) -> Fault {
    match live.source.kind {
        Kind::Snapshot => stills::snapshot(live).await,
        Kind::Folder => stills::folder(agent, live).await,
        Kind::Mqtt | Kind::ModbusTcp => sensors::run(agent, live).await,
        kind @ (Kind::Rtsp | Kind::File) => {
            let config = &agent.config;
            let Some(ffmpeg) = config.ffmpeg.clone() else {
                let missing = "no ffmpeg: install it (version 6 or newer), or name it with --ffmpeg";
                return Fault::new("decoder-missing", "source", missing);
            };
            let tools = Tools { exe: config.exe.clone(), ffmpeg, allow_unconfined: config.allow_unconfined };
            if kind == Kind::Rtsp { rtsp::run(live, &tools).await } else { file::run(live, &tools, &config.data).await }
        }
    }
}

/// The folder in which sources on this machine lie that are named on the node's page, made where it is missing.
pub fn media(data: &Path) -> Result<PathBuf, Fault> {
    let media = data.join("media");
    files::private_dir(&media)?;
    Ok(media)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_with_a_fifth_of_chance_and_a_refused_password_waits_long() {
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (99, 60.0)] {
            for (spread, factor) in [(0, 0.8), (200, 1.0), (400, 1.2)] {
                let wait = pause(failures, false, spread).as_secs_f64();
                assert!((wait - seconds * factor).abs() < 1e-6, "{failures} {spread}: {wait}");
            }
        }
        assert_eq!([1, 2, 9].map(|failures| pause(failures, true, 0).as_secs() / 60), [5, 30, 30]);
    }
}
