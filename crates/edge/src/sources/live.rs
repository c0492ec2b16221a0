//! What is known of a source while it runs, and its newest frame: one slot, overwritten, never a queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::config::{Kind, Login, Source};
use super::decoder::Pixels;
use super::health::{Judge, Trouble, grey};
use super::rows::Rows;
use crate::clock::Clock;
use crate::fault::Fault;

/// A frame older than this is not analysed.
pub const OLDEST: Duration = Duration::from_secs(2);
/// Time between two looks at the health of the picture.
const LOOK: Duration = Duration::from_secs(1);
/// Longest text of a source in a heartbeat, in characters, and most of its apps.
const MAX_TOLD: usize = 80;
const MAX_APPS: usize = 8;

/// One picture of a source. A frame is decoded once, and shared by all that look at it.
pub struct Frame {
    /// From 1, without a gap.
    pub number: u64,
    /// When the newest bytes that it may be made of were received.
    pub received: Instant,
    /// The same by the node's clock.
    pub time: DateTime<Utc>,
    pub pixels: Pixels,
    /// What is wrong with the picture; an app that is asked all the same may be deceived.
    pub troubles: Vec<Trouble>,
}

impl Frame {
    /// Why no app may judge by it.
    pub fn unusable(&self) -> Option<Trouble> {
        self.troubles.iter().copied().find(|trouble| trouble.blinds())
    }
}

/// How an app fares with a source.
#[derive(Default)]
pub struct Fares {
    /// Frames that the app has answered.
    pub answered: AtomicU64,
    /// Frames that came while it was busy.
    pub dropped: AtomicU64,
    /// Frames that were too old when it came to them.
    pub late: AtomicU64,
    /// Frames that were not shown to it, for they were black or stood still.
    pub unusable: AtomicU64,
    /// Number of the last frame that it is done with.
    pub seen: AtomicU64,
    last: Mutex<Option<Result<Value, Fault>>>,
}

impl Fares {
    /// The app's last answer, or why there is none.
    pub fn last(&self) -> Option<Result<Value, Fault>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn note(&self, last: Result<Value, Fault>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }
}

/// Where a source stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Why it does not run; none while it does, or has only begun.
    pub fault: Option<Fault>,
    /// What the stream is, for example `H.264`.
    pub codec: &'static str,
    pub troubles: Vec<Trouble>,
    /// What is usual for this camera is still being learned: that it is covered, blurred or moved is not told yet.
    pub learns: bool,
    /// Process id of the decoder.
    pub decoder: Option<u32>,
}

struct Health {
    judge: Judge,
    looked: Instant,
}

/// A source that runs.
pub struct Live {
    pub source: Source,
    pub login: Option<Login>,
    pub frames: watch::Sender<Option<Arc<Frame>>>,
    /// What sensors say; none of pictures.
    pub rows: Option<Mutex<Rows>>,
    /// By the name of the app in the binding.
    pub apps: BTreeMap<String, Arc<Fares>>,
    /// Frames that came; of sensors messages, or rounds of readings.
    pub decoded: AtomicU64,
    /// Pieces of the stream that were thrown away, for the decoder did not keep up.
    pub skipped: AtomicU64,
    /// Times that it was begun anew.
    pub restarts: AtomicU64,
    began: Instant,
    clock: Arc<Clock>,
    standing: Mutex<Standing>,
    health: Mutex<Health>,
}

impl Live {
    pub fn new(source: Source, login: Option<Login>, clock: Arc<Clock>) -> Self {
        let apps = source.apps.iter().map(|binding| (binding.app.clone(), Arc::default())).collect();
        let now = Instant::now();
        let rows = source.sensors.as_ref().map(|sensors| Mutex::new(Rows::new(sensors, now)));
        Self {
            source,
            login,
            frames: watch::Sender::new(None),
            rows,
            apps,
            decoded: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            began: now,
            clock,
            standing: Mutex::default(),
            health: Mutex::new(Health { judge: Judge::default(), looked: now }),
        }
    }

    fn standing_mut(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn standing(&self) -> Standing {
        self.standing_mut().clone()
    }

    pub fn set(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing_mut());
    }

    /// What heartbeats say of it: neither its address nor its login, and of a fault the code alone, for its words may quote both.
    pub fn told(&self) -> Value {
        let cut = |text: &str| text.chars().take(MAX_TOLD).collect::<String>();
        let (standing, frame) = (self.standing(), self.newest());
        let state = match (&standing.fault, &frame) {
            (Some(_), _) => "failed",
            // A folder may be empty for days; of sensors no picture comes.
            (None, None) if matches!(self.source.kind, Kind::Rtsp | Kind::File | Kind::Snapshot) => "connecting",
            (None, _) => "running",
        };
        // What was wrong with the last picture is no news of a source that has failed.
        let troubles = standing.troubles.iter().filter(|_| standing.fault.is_none());
        json!({
            "id": self.source.id, "name": cut(self.source.title()), "kind": self.source.kind, "state": state,
            "code": standing.fault.as_ref().map(|fault| cut(&fault.code)),
            "troubles": troubles.map(|trouble| trouble.as_str()).collect::<Vec<_>>(),
            "size": frame.as_ref().map(|frame| [frame.pixels.width, frame.pixels.height]), "rate": self.source.rate,
            "apps": self.apps.keys().take(MAX_APPS).map(|app| cut(app)).collect::<Vec<_>>(),
            "frames": self.decoded.load(Ordering::Relaxed),
        })
    }

    /// The newest frame.
    pub fn newest(&self) -> Option<Arc<Frame>> {
        self.frames.borrow().clone()
    }

    /// Time since the source began.
    pub fn at(&self, frame: &Frame) -> Duration {
        frame.received.saturating_duration_since(self.began)
    }

    /// Puts a frame into the slot, in the place of the one before; gives its number. Whether it can be trusted is judged once a second.
    pub fn show(&self, pixels: Pixels, received: Instant) -> u64 {
        let troubles = self.judge(&pixels, received);
        let number = self.decoded.fetch_add(1, Ordering::Relaxed) + 1;
        let frame = Frame { number, received, time: self.clock.now(), pixels, troubles };
        self.frames.send_replace(Some(Arc::new(frame)));
        number
    }

    /// The camera says that it still shows the newest frame: no app looks again, but a picture that stands still is told.
    pub fn still(&self, received: Instant) {
        if let Some(frame) = self.newest() {
            self.judge(&frame.pixels, received);
        }
    }

    /// Gives what is wrong with a picture of the source, which runs. Judged once a second.
    fn judge(&self, pixels: &Pixels, received: Instant) -> Vec<Trouble> {
        let (troubles, learns) = {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            // Pictures of a folder are of no one camera.
            let judged = self.source.kind != Kind::Folder;
            if judged && (health.judge.is_new() || received.saturating_duration_since(health.looked) >= LOOK) {
                health.looked = received;
                let grey = grey(pixels);
                health.judge.look(&grey, received);
            }
            (health.judge.troubles().collect::<Vec<_>>(), judged && health.judge.learns(received))
        };
        self.set(|standing| {
            (standing.fault, standing.learns) = (None, learns);
            standing.troubles.clone_from(&troubles);
        });
        troubles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_has_how_a_source_stands_and_not_where_it_is() {
        let named = "\u{76ae}".repeat(300);
        let source =
            json!({ "id": "belt-3", "name": named, "kind": "rtsp", "address": "rtsp://10.0.0.9/live", "apps": [{ "app": "acme/belt" }] });
        let login = Login { user: "admin".into(), password: "secret".into(), camera: "rtsp://10.0.0.9:554".into() };
        let live = Live::new(serde_json::from_value(source).unwrap(), Some(login), Arc::new(Clock::fresh()));
        let begun = live.told();
        assert_eq!(begun["name"].as_str().map(|name| name.chars().count()), Some(MAX_TOLD));
        assert_eq!((&begun["state"], &begun["code"], &begun["size"]), (&json!("connecting"), &Value::Null, &Value::Null));
        live.show(Pixels { width: 4, height: 2, rgb: vec![9; 24] }, Instant::now());
        let runs = live.told();
        assert_eq!((&runs["state"], &runs["size"], &runs["frames"]), (&json!("running"), &json!([4, 2]), &json!(1)), "{runs}");
        assert_eq!((&runs["id"], &runs["kind"], &runs["apps"]), (&json!("belt-3"), &json!("rtsp"), &json!(["acme/belt"])));
        live.set(|standing| {
            standing.fault = Some(Fault::new("source-unreachable", "source", "rtsp://admin:secret@10.0.0.9/live"));
            standing.troubles = vec![Trouble::Black];
        });
        let failed = live.told();
        assert_eq!((&failed["state"], &failed["code"], &failed["troubles"]), (&json!("failed"), &json!("source-unreachable"), &json!([])));
        let text = failed.to_string();
        assert!(!text.contains("10.0.0.9") && !text.contains("secret") && !text.contains("admin"), "{text}");
    }
}
