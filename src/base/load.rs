//! What is asked of the server at once, by class: each class has so many turns, a queue of so many, and a time after which a request that
//! still waits is given up, before it has taken a connection of the database. So a flood of one class costs the others nothing but
//! processor time, and nobody waits for an answer that comes too late.
//!
//! A turn is for making an answer: it ends with the head of the answer, and nobody holds one while a body comes in or goes out. Probes
//! (`/healthz`, `/readyz`, `/metrics`) and static files have no class: they are never refused. In this process only.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::config;
use super::error::{Error, Result};
use super::metrics::Metrics;
use super::turns::{KeptTurn, Queue, busy};

/// Time over which requests and refusals are counted, and the least requests that say something.
const WINDOW: Duration = Duration::from_millis(100);
const LEAST: u32 = 8;
/// In a crowded class so many times its turns may have a turn or wait.
const SHORT: usize = 3;

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
    /// Exports of anybody.
    Exports,
    /// Pulls from the registry.
    Pulls,
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
    pub const ALL: [Self; 11] = [
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
            Self::Pushes => &load.pushes,
        }
    }

    /// Whether somebody looks at the page that is asked for, and would rather be told to come again than wait.
    fn is_watched(self) -> bool {
        matches!(self, Self::People | Self::Strangers | Self::Searches)
    }

    /// When to come again, in seconds. Nodes all hear it in the same moment, and must not all come in the same moment.
    fn spread(self) -> std::ops::RangeInclusive<i64> {
        if matches!(self, Self::Reports | Self::Polls) { 5..=60 } else { 1..=3 }
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
        let at_once = number(setting.at_once, default.at_once);
        Self {
            class,
            queue: Arc::new(Queue::new(at_once, number(setting.waiting, default.waiting))),
            at_once,
            window: Mutex::new(Window { since: Instant::now(), asked: 0, refused: 0, crowded: false }),
            patience: if setting.seconds == 0 { default.patience } else { Duration::from_secs(setting.seconds) },
            admitted: counter("admitted"),
            queued: counter("queued"),
            shed: counter("shed"),
        }
    }

    async fn admit(&self) -> Result<Admission> {
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
                Ok(Admission { _turn: turn })
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
        let refusal = if self.class == Class::Pulls { Error::rate_limited("server-busy") } else { e };
        refusal.retry_after(after)
    }
}

/// A request that may be worked on; its turn ends when this is dropped.
#[derive(Debug)]
pub struct Admission {
    _turn: KeptTurn,
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

    /// Waits for a turn of a class.
    ///
    /// # Errors
    /// `server-busy`, with the time to come again: all places to wait are taken, or no turn came in time.
    pub async fn admit(&self, class: Class) -> Result<Admission> {
        let lane = self.0.iter().find(|lane| lane.class == class);
        lane.ok_or_else(|| Error::internal(anyhow::anyhow!("no lane for {class:?}")))?.admit().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::base::error::Kind;

    /// One turn of each class, and so many places to wait.
    fn narrow(waiting: usize, metrics: &Metrics) -> Arc<Load> {
        let class = || config::LoadClass { at_once: 1, waiting, seconds: 0 };
        let settings = config::Load {
            reports: class(),
            polls: class(),
            money: class(),
            people: class(),
            strangers: class(),
            entry: class(),
            pictures: class(),
            searches: class(),
            exports: class(),
            pulls: class(),
            pushes: class(),
        };
        Arc::new(Load::on(&settings, 2, metrics))
    }

    /// The counters of a class.
    fn told(metrics: &Metrics, class: &'static str) -> [u64; 3] {
        ["admitted", "queued", "shed"].map(|outcome| metrics.load.get_or_create(&[("class", class), ("outcome", outcome)]).get())
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_first_is_served_first_and_who_waits_too_long_never() {
        let (metrics, order) = (Metrics::default(), Arc::new(Mutex::new(Vec::new())));
        let load = narrow(8, &metrics);
        let first = load.admit(Class::Strangers).await.unwrap();
        let begin = Instant::now();
        let waiting: Vec<_> = (0..4)
            .map(|n| {
                let (load, order) = (load.clone(), order.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(n)).await;
                    let turn = load.admit(Class::Strangers).await;
                    let answered = begin.elapsed();
                    if turn.is_ok() {
                        order.lock().unwrap().push(n);
                        sleep(Duration::from_millis(700)).await;
                    }
                    (turn.map(drop), answered)
                })
            })
            .collect();
        sleep(Duration::from_millis(900)).await;
        drop(first);
        let mut shed = Vec::new();
        for task in waiting {
            if let (Err(e), answered) = task.await.unwrap() {
                shed.push((e.kind, e.code, answered.as_millis()));
            }
        }
        // Two had their turns at 900 and 1,600 ms; the next one would be at 2,300 ms, when the other two have waited for two seconds.
        assert_eq!(*order.lock().unwrap(), [0, 1]);
        assert_eq!(shed, [(Kind::Unavailable, "server-busy", 2_002), (Kind::Unavailable, "server-busy", 2_003)]);
        assert_eq!(told(&metrics, "strangers"), [3, 2, 2]);
        load.admit(Class::Strangers).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_another_class_notices_nothing() {
        let metrics = Metrics::default();
        let load = narrow(2, &metrics);
        let _held = load.admit(Class::Strangers).await.unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let load = load.clone();
                tokio::spawn(async move { load.admit(Class::Strangers).await.map(drop) })
            })
            .collect();
        sleep(Duration::from_millis(1)).await;
        let begin = Instant::now();
        let refused = load.admit(Class::Strangers).await.unwrap_err();
        assert!(refused.code == "server-busy" && refused.retry_after.is_some_and(|after| (1..=3).contains(&after)));
        for class in Class::ALL.into_iter().filter(|class| *class != Class::Strangers) {
            load.admit(class).await.unwrap();
        }
        assert_eq!(begin.elapsed(), Duration::ZERO, "nobody waited");
        // Who gives up leaves the queue.
        for task in waiting {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        let (again, load_) = (Instant::now(), load.clone());
        let waits = tokio::spawn(async move { load_.admit(Class::Strangers).await.map(drop) });
        assert_eq!(waits.await.unwrap().unwrap_err().code, "server-busy");
        assert_eq!(again.elapsed(), Duration::from_secs(2), "it had a place");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowded_class_has_a_short_queue_until_few_are_refused() {
        let metrics = Metrics::default();
        let load = narrow(9, &metrics);
        let _held = [load.admit(Class::People).await.unwrap(), load.admit(Class::Reports).await.unwrap()];
        // So many at once; how many of them are refused at once.
        let told = async |class: Class, n: usize| {
            let waits = |load: Arc<Load>| async move { load.admit(class).await.map(drop) };
            let waiting: Vec<_> = (0..n).map(|_| tokio::spawn(waits(load.clone()))).collect();
            sleep(Duration::from_millis(1)).await;
            let refused = waiting.iter().filter(|task| task.is_finished()).count();
            waiting.iter().for_each(tokio::task::JoinHandle::abort);
            sleep(WINDOW).await;
            refused
        };
        // Nine places, of which a crowded class gives two: three have a turn or wait.
        assert_eq!((told(Class::People, 20).await, told(Class::People, 20).await, told(Class::People, 20).await), (11, 18, 18));
        assert_eq!((told(Class::Reports, 20).await, told(Class::Reports, 20).await), (11, 11), "nodes rather wait");
        // Some come in the same moment by chance, and no tenth of them is refused: the queue is long again.
        sleep(WINDOW).await;
        assert_eq!((told(Class::People, 9).await, told(Class::People, 9).await), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_do_not_all_come_back_at_once_and_pulls_are_told_in_the_words_of_registries() {
        let metrics = Metrics::default();
        let load = narrow(1, &metrics);
        let _held = (load.admit(Class::Reports).await.unwrap(), load.admit(Class::Pulls).await.unwrap());
        let mut told = std::collections::BTreeSet::new();
        for _ in 0..40 {
            told.insert(load.admit(Class::Reports).await.unwrap_err().retry_after.unwrap());
        }
        assert!(told.len() > 5 && told.iter().all(|after| (5..=60).contains(after)), "{told:?}");
        let pull = load.admit(Class::Pulls).await.unwrap_err();
        assert_eq!((pull.kind, pull.code), (Kind::RateLimited, "server-busy"));
    }

    #[tokio::test(start_paused = true)]
    async fn bounds_are_those_of_the_settings_or_grow_with_the_cores() {
        let metrics = Metrics::default();
        let settings = config::Load { searches: config::LoadClass { at_once: 3, waiting: 0, seconds: 7 }, ..config::Load::default() };
        let free = async |load: &Load, class: Class| {
            let lane = load.0.iter().find(|lane| lane.class == class).unwrap();
            let mut turns = Vec::new();
            while let Ok(turn) = lane.queue.place().unwrap().turn_within(Duration::ZERO).await {
                turns.push(turn);
            }
            (turns.len(), lane.patience.as_secs())
        };
        let (two, eight) = (Load::on(&settings, 2, &metrics), Load::on(&settings, 8, &metrics));
        assert_eq!([free(&two, Class::Searches).await, free(&eight, Class::Searches).await], [(3, 7), (3, 7)]);
        assert_eq!([free(&two, Class::Reports).await, free(&eight, Class::Reports).await], [(64, 5), (256, 5)]);
        assert_eq!([free(&two, Class::Strangers).await, free(&eight, Class::Strangers).await], [(4, 2), (16, 2)]);
    }
}
