//! Pictures of alarms: made when one begins, by the confined process of its app; a small one goes to the platform, the whole one stays here
//! until somebody asks for it.
//!
//! Invariants: what is kept is at most a fifth of the disk, leaves [`LEAST_FREE`] free, and goes the oldest first, notices before warnings before
//! critical; nothing is kept that the mine does not want, and nothing sharper than it wants. A picture never holds an alarm up, and its loss is no
//! alarm's. The platform tells what the mine wants with its answers; until it has, persons are blurred.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use app_package::manifest::InputKind;
use app_package::pipeline::AlarmLevel;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use inference::evidence::{MAX_SMALL, MAX_WHOLE, Object, Privacy};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

use crate::agent::Agent;
use crate::apps::Running;
use crate::cloud::Refusal;
use crate::fault::Fault;
use crate::files;
use crate::wire::{self, Request};

/// Folder with the pictures, and the file in it with what the mine wants.
const FOLDER: &str = "pictures";
const WANTED: &str = "wanted.json";
/// Bytes that stay free on the disk.
const LEAST_FREE: u64 = 2 << 30;
/// Share of the disk that pictures have at most.
const SHARE: u64 = 5;
/// Most pictures that are kept, whatever their size.
const MOST: usize = 20_000;
/// Pictures that are made at a time; an alarm that begins meanwhile has none.
const AT_ONCE: usize = 4;
/// Time for one, its wait for the app included.
const MAKING: Duration = Duration::from_secs(20);
/// How long a small picture is offered to a platform that does not know its alarm.
const OFFERED: chrono::TimeDelta = chrono::TimeDelta::days(30);
/// Wait before the platform is asked again that did not know an alarm; doubles up to the second.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_hours(1)];
/// Answers of the platform that would be the same again.
const REFUSED: [&str; 7] =
    ["pictures-off", "picture-not-blurred", "picture-not-asked", "picture-not-jpeg", "body-too-large", "invalid-input", "query-malformed"];
/// Most requests for whole pictures that wait.
const MOST_ASKED: usize = 100;

/// What the mine wants of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    Blurred,
    Plain,
    Off,
}

impl Wish {
    /// Of the platform's word; none of one that is not known.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Blurred, Self::Plain, Self::Off].into_iter().find(|wish| wish.as_str() == word)
    }

    fn as_str(self) -> &'static str {
        self.privacy().map_or("off", Privacy::as_str)
    }

    fn privacy(self) -> Option<Privacy> {
        match self {
            Self::Blurred => Some(Privacy::Blurred),
            Self::Plain => Some(Privacy::Plain),
            Self::Off => None,
        }
    }
}

/// An alarm that begins with this answer of its app.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// Id of the episode.
    pub episode: String,
    pub level: AlarmLevel,
    /// In a clip the second.
    pub at: Option<f64>,
    pub objects: Vec<Object>,
}

/// What is known of a picture; written beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    level: AlarmLevel,
    made: DateTime<Utc>,
    width: u32,
    height: u32,
    privacy: Privacy,
    /// Bytes of both pictures.
    bytes: u64,
    /// The platform has the small one.
    sent: bool,
    /// How often the platform did not know the alarm, and when it is asked again.
    #[serde(skip)]
    unknown: Option<(u32, Instant)>,
}

struct Inner {
    wish: Wish,
    kept: BTreeMap<String, Kept>,
    /// Whole pictures that somebody asked for.
    asked: VecDeque<String>,
    /// Not there when they were asked for.
    gone: VecDeque<String>,
    lost: u64,
}

/// The pictures of a node. Its calls but [`Pictures::wish`] and [`Pictures::counts`] wait for the disk: call them from blocking threads.
pub struct Pictures {
    folder: PathBuf,
    inner: Mutex<Inner>,
    making: Semaphore,
    /// Rung when there is something to send.
    pub due: Notify,
}

/// What is sent next.
#[derive(Debug, PartialEq)]
enum Next {
    Small { episode: String, kept: Kept, jpeg: Vec<u8> },
    Whole { episode: String, jpeg: Vec<u8> },
    Gone { episode: String },
}

fn is_episode(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Of the disk with a folder: bytes in all, and bytes that are free.
fn disk(folder: &Path) -> Option<(u64, u64)> {
    let about = rustix::fs::statvfs(folder).ok()?;
    Some((about.f_blocks.saturating_mul(about.f_frsize), about.f_bavail.saturating_mul(about.f_frsize)))
}

impl Pictures {
    /// Those of a data folder. What cannot be read is removed.
    pub fn open(data: &Path) -> Self {
        let folder = data.join(FOLDER);
        let wish = files::read_json(&folder.join(WANTED)).ok().flatten().unwrap_or(Wish::Blurred);
        let mut kept = BTreeMap::new();
        let mut others = Vec::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(episode) = name.strip_suffix(".json").filter(|name| is_episode(name) && *name != "wanted") else {
                others.push((name, path));
                continue;
            };
            match files::read_json::<Kept>(&path) {
                Ok(Some(about)) => {
                    kept.insert(episode.to_owned(), about);
                }
                _ => others.push((name, path)),
            }
        }
        // Left of one that was being written or removed when the power failed.
        for (name, path) in others {
            let of = name.split('.').next().unwrap_or_default();
            if name != WANTED && !kept.contains_key(of) {
                let _ = std::fs::remove_file(path);
            }
        }
        let inner = Inner { wish, kept, asked: VecDeque::new(), gone: VecDeque::new(), lost: 0 };
        Self { folder, inner: Mutex::new(inner), making: Semaphore::new(AT_ONCE), due: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, episode: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{episode}.{ending}"))
    }

    /// What the mine wants.
    pub fn wish(&self) -> Wish {
        self.lock().wish
    }

    /// Pictures that are kept, their bytes, and those that went for want of room since the agent's start.
    pub fn counts(&self) -> (usize, u64, u64) {
        let inner = self.lock();
        (inner.kept.len(), inner.kept.values().map(|kept| kept.bytes).sum(), inner.lost)
    }

    /// Takes what the platform says: what the mine wants, and the whole pictures that somebody asked for.
    pub fn told(&self, wish: Option<Wish>, asked: &[String]) {
        let mut inner = self.lock();
        let before = inner.wish;
        if let Some(wish) = wish.filter(|wish| *wish != before) {
            inner.wish = wish;
            let written = std::fs::create_dir_all(&self.folder).map_err(|e| Fault::disk("pictures", &e));
            if let Err(fault) = written.and_then(|()| files::write_json(&self.folder.join(WANTED), &wish)) {
                tracing::warn!(%fault, "what the mine wants of pictures could not be noted");
            }
            // What it wants no more goes: all, or what shows persons.
            let unwanted = |kept: &Kept| wish.privacy().is_none_or(|wanted| wanted == Privacy::Blurred && kept.privacy == Privacy::Plain);
            let unwanted: Vec<String> = inner.kept.iter().filter(|(_, kept)| unwanted(kept)).map(|(id, _)| id.clone()).collect();
            for episode in unwanted {
                self.remove(&mut inner, &episode);
            }
        }
        for episode in asked.iter().filter(|episode| is_episode(episode)) {
            let known = if inner.kept.contains_key(episode) { &mut inner.asked } else { &mut inner.gone };
            if known.len() < MOST_ASKED && !known.contains(episode) {
                known.push_back(episode.clone());
            }
        }
        if !inner.asked.is_empty() || !inner.gone.is_empty() {
            self.due.notify_one();
        }
    }

    fn remove(&self, inner: &mut Inner, episode: &str) {
        // What is known of it goes last: what is left of it is removed by the next start.
        for ending in ["small.jpg", "jpg", "json"] {
            let _ = std::fs::remove_file(self.path(episode, ending));
        }
        inner.kept.remove(episode);
    }

    /// Keeps the pictures of an alarm, and makes room.
    fn keep(&self, begun: &Begun, made: &inference::evidence::Pictures, privacy: Privacy, now: DateTime<Utc>) -> Result<(), Fault> {
        let [width, height] = made.size;
        let bytes = made.small.len() as u64 + made.whole.len() as u64;
        let about = Kept { level: begun.level, made: now, width, height, privacy, bytes, sent: false, unknown: None };
        let mut inner = self.lock();
        // The mine may have changed its mind while it was made.
        if inner.wish.privacy() != Some(privacy) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder).map_err(|e| Fault::disk("pictures", &e))?;
        if let Some(disk) = disk(&self.folder) {
            self.make_room(&mut inner, bytes, disk);
        }
        files::write_atomic(&self.path(&begun.episode, "jpg"), &made.whole)?;
        files::write_atomic(&self.path(&begun.episode, "small.jpg"), &made.small)?;
        files::write_json(&self.path(&begun.episode, "json"), &about)?;
        inner.kept.insert(begun.episode.clone(), about);
        drop(inner);
        self.due.notify_one();
        Ok(())
    }

    /// Makes room for so many bytes, on a disk of so many in all and free.
    fn make_room(&self, inner: &mut Inner, bytes: u64, (all, mut free): (u64, u64)) {
        let mut used: u64 = inner.kept.values().map(|kept| kept.bytes).sum();
        let fits = |used: u64, free: u64, count: usize| used + bytes <= all / SHARE && free >= LEAST_FREE + bytes && count < MOST;
        while !fits(used, free, inner.kept.len()) {
            // `Critical` is the highest of the levels.
            let first = inner.kept.iter().min_by_key(|(_, kept)| (kept.level, kept.made)).map(|(id, kept)| (id.clone(), kept.bytes));
            let Some((episode, freed)) = first else { return };
            self.remove(inner, &episode);
            (used, free) = (used.saturating_sub(freed), free.saturating_add(freed));
            inner.lost += 1;
        }
    }

    /// What is sent next: what somebody waits for, then small pictures, critical ones and the newest first. What is too old to be of use goes unsent.
    fn next(&self, now: DateTime<Utc>) -> Option<Next> {
        let mut inner = self.lock();
        if let Some(episode) = inner.gone.front() {
            return Some(Next::Gone { episode: episode.clone() });
        }
        if let Some(episode) = inner.asked.front().cloned() {
            if let Ok(Some(jpeg)) = files::read_bounded(&self.path(&episode, "jpg"), MAX_WHOLE as u64) {
                return Some(Next::Whole { episode, jpeg });
            }
            inner.asked.pop_front();
            inner.gone.push_back(episode.clone());
            return Some(Next::Gone { episode });
        }
        loop {
            let waits = |kept: &Kept| kept.unknown.is_some_and(|(_, until)| until > Instant::now());
            let due = inner.kept.iter().filter(|(_, kept)| !kept.sent && now - kept.made < OFFERED && !waits(kept));
            let first = due.max_by_key(|(_, kept)| (kept.level == AlarmLevel::Critical, kept.made));
            let (episode, kept) = first.map(|(id, kept)| (id.clone(), kept.clone()))?;
            if let Ok(Some(jpeg)) = files::read_bounded(&self.path(&episode, "small.jpg"), MAX_SMALL as u64) {
                return Some(Next::Small { episode, kept, jpeg });
            }
            self.note_sent(&mut inner, &episode);
        }
    }

    /// The small picture of an episode need not be sent any more.
    fn note_sent(&self, inner: &mut Inner, episode: &str) {
        if let Some(kept) = inner.kept.get_mut(episode) {
            kept.sent = true;
            let _ = files::write_json(&self.path(episode, "json"), kept);
            let _ = std::fs::remove_file(self.path(episode, "small.jpg"));
        }
    }

    /// The platform does not know this alarm, or not yet: it is asked again, ever more seldom.
    fn note_unknown(&self, episode: &str) {
        if let Some(kept) = self.lock().kept.get_mut(episode) {
            let times = kept.unknown.map_or(0, |(times, _)| times + 1);
            let [first, most] = ASK_AGAIN;
            kept.unknown = Some((times, Instant::now() + (first * 2u32.saturating_pow(times.min(16))).min(most)));
        }
    }

    /// Notes that something was sent, or was refused for good.
    fn done(&self, next: &Next) {
        let mut inner = self.lock();
        match next {
            Next::Small { episode, .. } => self.note_sent(&mut inner, episode),
            Next::Whole { episode, .. } => inner.asked.retain(|other| other != episode),
            Next::Gone { episode } => inner.gone.retain(|other| other != episode),
        }
    }
}

/// The frame in which alarms began.
pub struct Shot {
    /// Width and height of pixels (RGB, 8 bits each, row by row); none of what a caller sent: a picture or a clip.
    pub size: Option<[u32; 2]>,
    pub bytes: Bytes,
}

/// Makes the pictures of alarms that have just begun, beside what else goes on. Does nothing where the mine wants none, and where the app sees
/// no pictures.
pub fn take(agent: &Arc<Agent>, running: &Arc<Running>, begun: Vec<Begun>, shot: Shot) {
    let sees = matches!(running.manifest.input, InputKind::Image | InputKind::Video);
    let Some(privacy) = agent.pictures.wish().privacy().filter(|_| sees && !begun.is_empty()) else { return };
    let (agent, running) = (agent.clone(), running.clone());
    tokio::spawn(async move {
        let Ok(_turn) = agent.pictures.making.try_acquire() else {
            agent.pictures.lock().lost += begun.len() as u64;
            return;
        };
        // Alarms of one frame have one picture.
        let mut made: Option<(Option<u64>, inference::evidence::Pictures)> = None;
        let mut seen = BTreeSet::new();
        for begun in begun {
            if !seen.insert(begun.episode.clone()) {
                continue;
            }
            let at = begun.at.map(f64::to_bits);
            if made.as_ref().is_none_or(|(of, _)| *of != at) {
                match make(&running, &begun, &shot, privacy).await {
                    Ok(pictures) => made = Some((at, pictures)),
                    Err(fault) => {
                        tracing::info!(%fault, episode = begun.episode, "an alarm has no picture");
                        continue;
                    }
                }
            }
            let Some((_, pictures)) = made.clone() else { continue };
            let (keeper, now) = (agent.clone(), agent.clock.now());
            let kept = tokio::task::spawn_blocking(move || keeper.pictures.keep(&begun, &pictures, privacy, now)).await;
            if let Ok(Err(fault)) = kept {
                tracing::warn!(%fault, "the picture of an alarm could not be kept");
            }
        }
    });
}

async fn make(running: &Running, begun: &Begun, shot: &Shot, privacy: Privacy) -> Result<inference::evidence::Pictures, Fault> {
    let request = Request::Picture { size: shot.size, at: begun.at, objects: begun.objects.clone(), privacy };
    let (_, answer) = running.process.call(&request, &shot.bytes, MAKING).await?;
    wire::unpacked(&answer).ok_or_else(|| Fault::new("engine-failed", "app", "the picture of an alarm is not as it should be"))
}

/// Sends one picture, or says that one is gone; whether there was something to send. A platform that knows nothing of pictures, or not yet of the
/// alarm, is asked again later.
pub async fn send_one(agent: &Arc<Agent>) -> Result<bool, Refusal> {
    // Alarms have the line first.
    if agent.outbox.counts().alarms > 0 {
        return Ok(false);
    }
    let cancelled = |e: tokio::task::JoinError| (Fault::new("cancelled", "store", e.to_string()), None);
    let (keeper, now) = (agent.clone(), agent.clock.now());
    let Some(next) = tokio::task::spawn_blocking(move || keeper.pictures.next(now)).await.map_err(cancelled)? else { return Ok(false) };
    let sent = match &next {
        Next::Small { episode, kept, jpeg } => {
            let query = format!("?width={}&height={}&privacy={}", kept.width, kept.height, kept.privacy.as_str());
            agent.cloud.put_picture(&format!("{episode}{query}"), jpeg.clone()).await
        }
        Next::Whole { episode, jpeg } => agent.cloud.put_picture(&format!("{episode}/whole"), jpeg.clone()).await,
        Next::Gone { episode } => agent.cloud.picture_gone(episode).await,
    };
    match sent {
        Ok(()) => {}
        Err((fault, _)) if REFUSED.contains(&&*fault.code) => {
            tracing::info!(%fault, "the platform does not take a picture");
        }
        Err((fault, _)) if fault.code == "alarm-unknown" => {
            if let Next::Small { episode, .. } = &next {
                agent.pictures.note_unknown(episode);
                return Ok(true);
            }
        }
        Err(refusal) => return Err(refusal),
    }
    let keeper = agent.clone();
    tokio::task::spawn_blocking(move || keeper.pictures.done(&next)).await.map_err(cancelled)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
