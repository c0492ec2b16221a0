//! What is asked of the server at once, by class: each class has so many turns, a queue of so many, and a time after which a request that
//! still waits is given up, before it has taken a connection of the database. So a flood of one class costs the others nothing but
//! processor time, and nobody waits for an answer that comes too late.
//!
//! A turn is for making an answer: it ends with the head of the answer, and nobody holds one while a body comes in or goes out. Probes
//! (`/healthz`, `/readyz`, `/metrics`) and static files have no class: they are never refused. In this process only.
//!
//! Nobody has more than a quarter of a class ([`Class::is_shared`]): a node by its certificate, a person by what they have signed in with,
//! others by their network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::config;
use super::error::{Error, Result};
use super::metrics::Metrics;
use super::open::{Entry, Open, Who, Whose};
use super::turns::{KeptTurn, Queue, busy};

/// Time over which requests and refusals are counted, and the least requests that say something.
const WINDOW: Duration = Duration::from_millis(100);
const LEAST: u32 = 8;
/// In a crowded class so many times its turns may have a turn or wait.
const SHORT: usize = 3;
/// One of so many parts of a class's turns and places is what one may have of them, and one place in any case.
const PARTS: usize = 4;

/// A class of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nodes' states, alarms and documents.
    Reports,
    /// Nodes' polls, until they wait for news.
    Polls,
    /// Orders and payments.
    Money,
    /// Pages and calls of those who are signed in.
    People,
    /// Pages for those who are not.
    Strangers,
    /// Forms of strangers: signing in and up, which wait for their password to be judged ([`super::auth::password`]).
    Entry,
    /// Pictures of listings, of which small copies may have to be made, one at a time.
    Pictures,
    /// Searches of strangers.
    Searches,
    /// Exports of those who are signed in.
    Exports,
    /// Pulls from the registry, by what may be no token.
    Pulls,
    /// Those of nodes, which have proved who they are.
    NodePulls,
    /// Pushes into the registry.
    Pushes,
}

/// Bounds of a class where the settings give none: turns and places to wait for each core, and how long one waits.
struct Bounds {
    name: &'static str,
    at_once: usize,
    waiting: usize,
    patience: Duration,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 12] = [
        Self::Reports,
        Self::Polls,
        Self::Money,
        Self::People,
        Self::Strangers,
        Self::Entry,
        Self::Pictures,
        Self::Searches,
        Self::Exports,
        Self::Pulls,
        Self::NodePulls,
        Self::Pushes,
    ];

    /// Half of what `docs/OPERATIONS.md` gives for two cores. More turns than that for strangers would only wait for a processor or one of
    /// the connections of the database, and so would more places: what is asked of a full server is answered late or not at all.
    fn bounds(self) -> Bounds {
        let of = |name, at_once, waiting, seconds| Bounds { name, at_once, waiting, patience: Duration::from_secs(seconds) };
        match self {
            Self::Reports => of("reports", 32, 128, 5),
            Self::Polls => of("polls", 32, 2_048, 10),
            Self::Money => of("money", 4, 32, 10),
            Self::People => of("people", 16, 64, 5),
            Self::Strangers => of("strangers", 2, 16, 2),
            Self::Entry => of("entry", 64, 64, 10),
            Self::Pictures => of("pictures", 32, 64, 10),
            Self::Searches => of("searches", 2, 16, 10),
            Self::Exports => of("exports", 1, 8, 10),
            Self::Pulls => of("pulls", 32, 32, 10),
            Self::NodePulls => of("node_pulls", 32, 128, 10),
            Self::Pushes => of("pushes", 16, 64, 10),
        }
    }

    fn setting(self, load: &config::Load) -> &config::LoadClass {
        match self {
            Self::Reports => &load.reports,
            Self::Polls => &load.polls,
            Self::Money => &load.money,
            Self::People => &load.people,
            Self::Strangers => &load.strangers,
            Self::Entry => &load.entry,
            Self::Pictures => &load.pictures,
            Self::Searches => &load.searches,
            Self::Exports => &load.exports,
            Self::Pulls => &load.pulls,
            Self::NodePulls => &load.node_pulls,
            Self::Pushes => &load.pushes,
        }
    }

    /// Whether somebody looks at the page that is asked for, and would rather be told to come again than wait.
    fn is_watched(self) -> bool {
        matches!(self, Self::People | Self::Strangers | Self::Searches)
    }

    /// Whether each who asks has a share of it. Behind one network are the strangers of a whole office, and their pages cost little: those
    /// queues are short, and who is refused gets the page of before.
    pub fn is_shared(self) -> bool {
        !matches!(self, Self::Strangers | Self::Searches)
    }

    /// When to come again, in seconds. Nodes all hear it in the same moment, and must not all come in the same moment.
    fn spread(self) -> std::ops::RangeInclusive<i64> {
        if matches!(self, Self::Reports | Self::Polls | Self::NodePulls) { 5..=60 } else { 1..=3 }
    }
}

/// What has been asked of a class of late.
#[derive(Debug)]
struct Window {
    since: Instant,
    asked: u32,
    refused: u32,
    /// Whether in the window before many were refused.
    crowded: bool,
}

/// Turns, queue and counters of a class.
#[derive(Debug)]
struct Lane {
    class: Class,
    queue: Arc<Queue>,
    at_once: usize,
    /// Turns and places that one may have, and who has how many.
    share: usize,
    open: Open,
    patience: Duration,
    window: Mutex<Window>,
    admitted: Counter,
    queued: Counter,
    shed: Counter,
}

impl Lane {
    fn of(class: Class, load: &config::Load, cores: usize, metrics: &Metrics) -> Self {
        let (default, setting) = (class.bounds(), class.setting(load));
        let number = |set: usize, each: usize| if set == 0 { each.saturating_mul(cores) } else { set };
        let counter = |outcome| metrics.load.get_or_create(&[("class", default.name), ("outcome", outcome)]).clone();
        let (at_once, waiting) = (number(setting.at_once, default.at_once), number(setting.waiting, default.waiting));
        Self {
            class,
            queue: Arc::new(Queue::new(at_once, waiting)),
            at_once,
            share: (at_once.saturating_add(waiting) / PARTS).max(1),
            open: Open::default(),
            window: Mutex::new(Window { since: Instant::now(), asked: 0, refused: 0, crowded: false }),
            patience: if setting.seconds == 0 { default.patience } else { Duration::from_secs(setting.seconds) },
            admitted: counter("admitted"),
            queued: counter("queued"),
            shed: counter("shed"),
        }
    }

    async fn admit(&self, who: Option<Who>) -> Result<Admission> {
        // Who is over their share is no sign that the class is crowded.
        let share = who.map(|who| self.open.enter(Whose::Turns(who), self.share)).transpose().map_err(|_| {
            self.shed.inc();
            self.refusal(busy())
        })?;
        let place = self.queue.place();
        let crowded = self.is_crowded(place.is_none());
        let Some(place) = place.filter(|_| !crowded) else {
            self.shed.inc();
            return Err(self.refusal(busy()));
        };
        if self.class.is_watched() {
            // What else has come in by now asks for its place before this has its turn. A page that is made without waiting for anything
            // would otherwise be made to its end before anybody sees how many more are asked for, and they would wait unseen on their
            // connections. In a task of its own: the dispatcher of HTTP polls a request twice in a row, which would end the yielding.
            let _ = tokio::spawn(tokio::task::yield_now()).await;
        }
        match place.turn_within(self.patience).await {
            Ok((waited, turn)) => {
                if waited {
                    self.queued.inc();
                }
                self.admitted.inc();
                Ok(Admission { _turn: turn, _share: share })
            }
            Err(e) => {
                self.shed.inc();
                Err(self.refusal(e))
            }
        }
    }

    /// Counts a request, and says whether it is refused though there is a place: where more is asked than can be done, for longer than a
    /// moment, a full queue serves no more than a short one, but everybody in it waits for all of it. That a tenth of what was asked was
    /// refused tells a flood from requests that came in the same moment by chance.
    fn is_crowded(&self, is_full: bool) -> bool {
        let Ok(mut window) = self.window.lock() else { return false };
        let age = window.since.elapsed();
        if age >= WINDOW {
            let crowded = age < WINDOW * 2 && window.asked >= LEAST && window.refused * 10 >= window.asked;
            *window = Window { since: Instant::now(), asked: 0, refused: 0, crowded };
        }
        let short = window.crowded && self.class.is_watched() && self.queue.held() > self.at_once.saturating_mul(SHORT);
        window.asked = window.asked.saturating_add(1);
        window.refused = window.refused.saturating_add(u32::from(is_full || short));
        short
    }

    /// The refusal: registry clients know 429 as the answer to too many pulls, all others hear that the server is busy.
    fn refusal(&self, e: Error) -> Error {
        let after = TimeDelta::seconds(rand::random_range(self.class.spread()));
        let refusal = if matches!(self.class, Class::Pulls | Class::NodePulls) { Error::rate_limited("server-busy") } else { e };
        refusal.retry_after(after)
    }
}

/// A request that may be worked on; its turn ends when this is dropped.
#[derive(Debug)]
pub struct Admission {
    _turn: KeptTurn,
    _share: Option<Entry>,
}

/// The classes of this process.
#[derive(Debug)]
pub struct Load(Vec<Lane>);

impl Load {
    /// Bounds as set, else by the number of cores.
    pub fn of(settings: &config::Load, metrics: &Metrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self::on(settings, cores, metrics)
    }

    fn on(settings: &config::Load, cores: usize, metrics: &Metrics) -> Self {
        Self(Class::ALL.into_iter().map(|class| Lane::of(class, settings, cores, metrics)).collect())
    }

    /// Waits for a turn of a class, of the share of who asks where one is told.
    ///
    /// # Errors
    /// `server-busy`, with the time to come again: all places to wait are taken, or all that this one may have, or no turn came in time.
    pub async fn admit(&self, class: Class, who: Option<Who>) -> Result<Admission> {
        let lane = self.0.iter().find(|lane| lane.class == class);
        lane.ok_or_else(|| Error::internal(anyhow::anyhow!("no lane for {class:?}")))?.admit(who).await
    }
}

#[cfg(test)]
mod tests;
