//! Alarms as episodes: what a rule finds in frame after frame is one thing that begins, is still there, and is over.
//!
//! An episode is of one rule of one deployment at one source. It goes on while the rule fires again within [`HOLD`] (of a source that
//! is asked more seldom: until it is asked again), is told anew ever more
//! seldom, and ends at the last frame that had it. Invariants: what began is ended, also after a restart of the agent, which goes on with what
//! was open; a rule that is not critical begins no more episodes than its rate allows ([`crate::rates`]), so that a caller of the local API,
//! who needs no password, fills no disk; there are at most [`MAX_OPEN`] at a time, and what would be more joins that of no source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::files;
use crate::outbox::rule_of;
use crate::rates::Rates;

/// File with what is open.
const FILE: &str = "episodes.json";
/// How long a rule may be silent before its episode is over.
const HOLD: TimeDelta = TimeDelta::seconds(10);
/// Longest time from one question to a source to the next, in milliseconds.
const MAX_PAUSE: i64 = 86_400_000;
/// How long more after a restart of the agent.
const RESTART: TimeDelta = TimeDelta::seconds(30);
/// Shortest time until an episode is told again; later it is half of its age.
const AGAIN: TimeDelta = TimeDelta::seconds(15);
/// Open episodes at a time, and of one rule of a deployment.
pub const MAX_OPEN: usize = 2_000;
const MAX_OF_RULE: usize = 64;

/// One that goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    id: String,
    begun: DateTime<Utc>,
    /// The last frame that had it, and when it was told last.
    last: DateTime<Utc>,
    told: DateTime<Utc>,
    /// Frames that had it.
    count: u64,
    /// Milliseconds beyond [`HOLD`] until its source is asked again.
    #[serde(default)]
    pause: i64,
    /// Rules of moving pictures tell when it ends: so many of what it joins are not over.
    #[serde(default)]
    parts: u32,
    /// Open in a former run of the agent.
    #[serde(skip)]
    former: bool,
    #[serde(skip)]
    ended: bool,
    /// What a record says of it but for its phase, without the result.
    body: Map<String, Value>,
}

impl Open {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        // A clock that was set back ends nothing; a source or an app that is gone may come back with it.
        let hold = HOLD + TimeDelta::milliseconds(self.pause);
        self.ended || now - self.last > if self.former || self.parts > 0 { hold + RESTART } else { hold }
    }

    fn is_due(&self, now: DateTime<Utc>) -> bool {
        now - self.told >= AGAIN.max((now - self.begun) / 2)
    }

    /// One more frame had it: what is to be told of that now.
    fn again(&mut self, now: DateTime<Utc>) -> Option<Map<String, Value>> {
        (self.last, self.count, self.former) = (self.last.max(now), self.count + 1, false);
        if !self.is_due(now) {
            return None;
        }
        self.told = now;
        Some(self.record("still"))
    }

    fn record(&self, phase: &str) -> Map<String, Value> {
        let time = |at: DateTime<Utc>| json!(at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        let head = [("episode", json!(self.id)), ("phase", json!(phase)), ("begun", time(self.begun))];
        let tail = [("last", time(self.last)), ("count", json!(self.count))];
        let own = head.into_iter().chain(tail).map(|(key, value)| (key.to_owned(), value));
        own.chain(self.body.clone()).collect()
    }
}

/// What an episode is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    /// Deployment and rule.
    rule: String,
    source: String,
    /// Tells those of one rule and source apart that others do not join: the second of a clip, or the id of one that is over and not told of.
    /// Empty for the one that goes on.
    apart: String,
}

#[derive(Default)]
struct Inner {
    open: BTreeMap<Key, Open>,
    rates: Rates,
    suppressed: u64,
}

/// How long what a rule found goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GoesOn {
    /// As long as the rule fires again; the source is asked again after so long.
    WhileSeen(Duration),
    /// Not beyond the clip, in which it began at this second: it is a thing of its own.
    InClip(f64),
    /// Until [`Episodes::frame`] says that it is over.
    UntilTold,
}

impl GoesOn {
    /// Milliseconds until the source is asked again.
    fn pause(self) -> i64 {
        let Self::WhileSeen(pause) = self else { return 0 };
        i64::try_from(pause.as_millis()).unwrap_or(i64::MAX).min(MAX_PAUSE)
    }
}

/// What came of a firing rule.
#[derive(Debug, PartialEq)]
pub enum Seen {
    /// The episode it belongs to, with what is to be told of it now.
    Episode(String, Option<Map<String, Value>>),
    /// Nothing: its rule began too many.
    Suppressed,
}

/// The open episodes. Calls may wait for the disk.
pub struct Episodes {
    path: PathBuf,
    inner: Mutex<Inner>,
}

impl Episodes {
    /// Those of a data folder. A file that cannot be read is passed over: the platform sees those as open until its own limit.
    pub fn open(data: &Path) -> Self {
        let path = data.join(FILE);
        let kept = files::read_json::<Vec<(Key, Open)>>(&path).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "what was open is not known");
            None
        });
        let open = kept.unwrap_or_default().into_iter().map(|(key, open)| (key, Open { former: true, ..open }));
        Self { path, inner: Mutex::new(Inner { open: open.collect(), ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is open, before it is told: one that began and is not known after a restart would never end.
    fn keep(&self, inner: &Inner) {
        let open: Vec<_> = inner.open.iter().collect();
        if let Err(fault) = files::write_json(&self.path, &open) {
            tracing::debug!(%fault, "what is open could not be noted");
        }
    }

    /// Takes what a rule found in a frame of a source: `body` is what a record says of it, what is critical has no rate.
    pub fn seen(&self, source: &str, mut body: Map<String, Value>, (critical, goes_on): (bool, GoesOn), now: DateTime<Utc>) -> Seen {
        let mut inner = self.lock();
        let rule = rule_of(&body);
        let apart = if let GoesOn::InClip(second) = goes_on { second.to_string() } else { String::new() };
        let mut key = Key { rule, source: source.to_owned(), apart };
        let full = inner.open.len() >= MAX_OPEN || inner.open.keys().filter(|of| of.rule == key.rule).count() >= MAX_OF_RULE;
        if full && !inner.open.contains_key(&key) {
            (key.source, key.apart) = (String::new(), String::new());
        }
        let result = body.remove("result");
        body.insert("source".to_owned(), json!(key.source));
        if let Some(open) = inner.open.get_mut(&key).filter(|open| !open.is_over(now)) {
            (open.body, open.pause) = (body, goes_on.pause());
            open.parts = open.parts.saturating_add(u32::from(goes_on == GoesOn::UntilTold));
            let told = open.again(now);
            let id = open.id.clone();
            if told.is_some() {
                self.keep(&inner);
            }
            return Seen::Episode(id, told);
        }
        if let Some(over) = inner.open.remove(&key) {
            // Its end is told by the next look at what is over, and until then it keeps a place of its own.
            inner.open.insert(Key { apart: over.id.clone(), ..key.clone() }, over);
        }
        self.begin(&mut inner, key, (body, result), (critical, goes_on), now)
    }

    /// Takes a frame of a source that an app has answered: what rules of moving pictures found there goes on, but for what is over by these
    /// rules. Where the app has begun anew all is over: it knows nothing of what it found before, and would never tell its end. Gives what is
    /// to be told.
    pub fn frame(&self, deployment: &str, source: &str, over: &[&str], anew: bool, now: DateTime<Utc>) -> Vec<Map<String, Value>> {
        let mut inner = self.lock();
        let mut told = Vec::new();
        let prefix = format!("{deployment}/");
        for (key, open) in &mut inner.open {
            let rule = key.rule.strip_prefix(&prefix).filter(|_| key.source == source && open.parts > 0);
            let Some(rule) = rule else { continue };
            if anew {
                (open.parts, open.ended) = (0, true);
                continue;
            }
            told.extend(open.again(now));
            let ended = u32::try_from(over.iter().filter(|over| **over == rule).count()).unwrap_or(u32::MAX);
            open.parts = open.parts.saturating_sub(ended);
            open.ended = open.parts == 0;
        }
        if !told.is_empty() {
            self.keep(&inner);
        }
        told
    }

    /// Whether something of a deployment is open at a source.
    pub fn is_open(&self, deployment: &str, source: &str) -> bool {
        let prefix = format!("{deployment}/");
        self.lock().open.keys().any(|key| key.source == source && key.rule.starts_with(&prefix))
    }

    fn begin(
        &self,
        inner: &mut Inner,
        key: Key,
        (body, result): (Map<String, Value>, Option<Value>),
        (critical, goes_on): (bool, GoesOn),
        now: DateTime<Utc>,
    ) -> Seen {
        // No critical alarm is held for its rate: what bounds those is the room that they have.
        let passes = if critical { Some(0) } else { inner.rates.take(&key.rule, Instant::now()) };
        let Some(missing) = passes else {
            inner.suppressed += 1;
            return Seen::Suppressed;
        };
        let id = uuid::Uuid::new_v4().simple().to_string();
        let parts = u32::from(goes_on == GoesOn::UntilTold);
        let pause = goes_on.pause();
        let open = Open { id: id.clone(), begun: now, last: now, told: now, count: 1, pause, parts, former: false, ended: false, body };
        let mut record = open.record("begin");
        record.extend(result.map(|result| ("result".to_owned(), result)));
        if missing > 0 {
            record.insert("suppressed".to_owned(), json!(missing));
        }
        inner.open.insert(key, open);
        self.keep(inner);
        Seen::Episode(id, Some(record))
    }

    /// Ends what is over; gives what is to be told of it.
    pub fn over(&self, now: DateTime<Utc>) -> Vec<Map<String, Value>> {
        let mut inner = self.lock();
        let (over, open) = std::mem::take(&mut inner.open).into_iter().partition::<BTreeMap<_, _>, _>(|(_, open)| open.is_over(now));
        inner.open = open;
        if !over.is_empty() {
            self.keep(&inner);
        }
        over.into_values().map(|open| open.record("end")).collect()
    }

    /// How many are open, and how many could not begin for the rate of their rule since the agent's start.
    pub fn counts(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.open.len(), inner.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn body(rule: &str) -> Map<String, Value> {
        let fields = [("deployment_id", json!("dep_1")), ("rule", json!(rule)), ("level", json!("warning")), ("result", json!({"x": 1}))];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    const SEEN: (bool, GoesOn) = (false, GoesOn::WhileSeen(Duration::ZERO));

    fn phase(record: &Map<String, Value>) -> (&str, u64) {
        (record["phase"].as_str().unwrap(), record["count"].as_u64().unwrap())
    }

    #[test]
    fn three_hundred_frames_of_one_bolt_are_one_alarm() {
        let dir = Scratch::new();
        let episodes = Episodes::open(dir.path());
        let (mut told, mut ids) = (Vec::new(), std::collections::BTreeSet::new());
        for second in 0..300 {
            let Seen::Episode(id, record) = episodes.seen("belt-1", body("bolt"), SEEN, at(second)) else { panic!() };
            ids.insert(id);
            told.extend(record);
            assert_eq!(episodes.over(at(second)), Vec::new());
        }
        assert_eq!((ids.len(), told.len()), (1, 6), "{:?}", told.iter().map(phase).collect::<Vec<_>>());
        assert_eq!((phase(&told[0]), told[0].contains_key("result"), told[1].contains_key("result")), (("begin", 1), true, false));
        assert_eq!(episodes.over(at(309)), Vec::new());
        let ended = episodes.over(at(310));
        assert_eq!(
            (phase(&ended[0]), &ended[0]["last"], &ended[0]["source"]),
            (("end", 300), &json!(at(299).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)), &json!("belt-1"))
        );
        assert_eq!(episodes.counts(), (0, 0));
    }

    #[test]
    fn another_source_and_a_later_time_are_others() {
        let dir = Scratch::new();
        let episodes = Episodes::open(dir.path());
        let id = |source: &str, second| match episodes.seen(source, body("bolt"), SEEN, at(second)) {
            Seen::Episode(id, Some(record)) if record["phase"] == "begin" => id,
            other => panic!("{other:?}"),
        };
        let first = [id("belt-1", 0), id("belt-2", 0), id("belt-1", 11)];
        assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        // The first two are over; each is told once.
        let ended: Vec<_> = episodes.over(at(12)).into_iter().map(|record| record["episode"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ended.iter().collect::<std::collections::BTreeSet<_>>(), first[..2].iter().collect());
        // A caller who makes up sources is bounded.
        for n in 0..200 {
            episodes.seen(&format!("s{n}"), body("flood"), (true, GoesOn::WhileSeen(Duration::ZERO)), at(12));
        }
        assert_eq!(episodes.counts().0, 1 + MAX_OF_RULE + 1);
    }

    #[test]
    fn what_is_asked_seldom_goes_on_until_it_is_asked_again() {
        let dir = Scratch::new();
        let episodes = Episodes::open(dir.path());
        let seen = |second| match episodes.seen("gas", body("over"), (false, GoesOn::WhileSeen(Duration::from_secs(60))), at(second)) {
            Seen::Episode(id, _) => id,
            Seen::Suppressed => panic!(),
        };
        let first = seen(0);
        assert_eq!((seen(62), episodes.over(at(131)).len()), (first, 0));
        // After a restart, too.
        let episodes = Episodes::open(dir.path());
        assert_eq!(episodes.over(at(131)).len(), 0);
        let ended = episodes.over(at(200));
        assert_eq!((ended.len(), phase(&ended[0])), (1, ("end", 2)), "two answers, and no more, had it");
    }

    #[test]
    fn what_a_rule_of_moving_pictures_found_goes_on_until_it_says_so() {
        let dir = Scratch::new();
        let episodes = Episodes::open(dir.path());
        let person = || episodes.seen("gate", body("inside"), (false, GoesOn::UntilTold), at(0));
        assert!(matches!(person(), Seen::Episode(_, Some(_))));
        // A second person is the same alarm.
        assert!(matches!(person(), Seen::Episode(_, None)));
        let mut told = 0;
        for second in 1..60 {
            let over: &[&str] = if second == 20 { &["inside", "another"] } else { &[] };
            told += episodes.frame("dep_1", "gate", over, false, at(second)).len();
            assert!(episodes.over(at(second)).is_empty() && episodes.is_open("dep_1", "gate"), "{second}");
        }
        assert_eq!((told, episodes.frame("dep_1", "belt", &["inside"], false, at(60)).len()), (2, 0));
        episodes.frame("dep_1", "gate", &["inside"], false, at(60));
        let ended = episodes.over(at(60));
        assert_eq!((ended.len(), phase(&ended[0]), episodes.is_open("dep_1", "gate")), (1, ("end", 62), false));
        // A camera that is gone for good ends it, too.
        person();
        assert!(episodes.over(at(40)).is_empty());
        assert_eq!(episodes.over(at(41)).len(), 1);
    }

    #[test]
    fn what_an_app_found_before_it_began_anew_is_over() {
        let dir = Scratch::new();
        let episodes = Episodes::open(dir.path());
        let seen = |second, goes_on| match episodes.seen("gate", body("inside"), (false, goes_on), at(second)) {
            Seen::Episode(id, _) => id,
            Seen::Suppressed => panic!(),
        };
        let former = seen(0, GoesOn::UntilTold);
        // Those of another source and of single pictures are not the app's to end.
        episodes.seen("belt", body("inside"), (false, GoesOn::UntilTold), at(0));
        episodes.seen("gate", body("still"), SEEN, at(0));
        assert_eq!(episodes.frame("dep_1", "gate", &[], true, at(5)), Vec::new());
        // What it finds at once is another, and goes on.
        let next = seen(5, GoesOn::UntilTold);
        assert_ne!(former, next);
        let ended = episodes.over(at(5));
        assert_eq!((ended.len(), &ended[0]["episode"], phase(&ended[0])), (1, &json!(former), ("end", 1)));
        for second in 6..15 {
            episodes.frame("dep_1", "gate", &[], false, at(second));
        }
        episodes.frame("dep_1", "gate", &["inside"], false, at(15));
        let ended = episodes.over(at(15));
        let of_gate: Vec<_> = ended.iter().filter(|record| record["rule"] == "inside").collect();
        assert_eq!((of_gate.len(), &of_gate[0]["episode"]), (1, &json!(next)));
    }

    #[test]
    fn what_was_open_goes_on_or_ends_after_a_restart() {
        let dir = Scratch::new();
        let begun = match Episodes::open(dir.path()).seen("belt-1", body("bolt"), SEEN, at(0)) {
            Seen::Episode(id, _) => id,
            Seen::Suppressed => panic!(),
        };
        let again = Episodes::open(dir.path());
        assert!(again.over(at(39)).is_empty());
        assert!(matches!(again.seen("belt-1", body("bolt"), SEEN, at(39)), Seen::Episode(id, _) if id == begun));
        drop(again);
        let ended = Episodes::open(dir.path()).over(at(100));
        assert_eq!((ended.len(), &ended[0]["episode"], phase(&ended[0]).0), (1, &json!(begun), "end"));
        assert_eq!(Episodes::open(dir.path()).counts(), (0, 0));
        std::fs::write(dir.path().join(FILE), "[nonsense").unwrap();
        assert_eq!(Episodes::open(dir.path()).counts(), (0, 0));
    }

    #[test]
    fn a_rule_over_its_rate_begins_none_and_critical_ones_do() {
        let dir = Scratch::new();
        let episodes = Episodes::open(dir.path());
        // One begins each 11 s, by the clock of the frames; the rate goes by the machine's own.
        let begun = (0..210).filter(|n| episodes.seen("a", body("bolt"), SEEN, at(n * 11)) != Seen::Suppressed).count();
        assert!((200..=205).contains(&begun), "{begun}");
        assert!(episodes.counts().1 >= 5);
        assert!(
            (0..210).all(|n| episodes.seen("a", body("fire"), (true, GoesOn::WhileSeen(Duration::ZERO)), at(n * 11)) != Seen::Suppressed)
        );
    }
}
