//! An app that looks at a source: the newest frame to the app's process, its answer and its alarms back.
//!
//! Invariants: an app that is busy misses frames, which are counted, and delays no other app; a frame that is too old is not judged by; a picture
//! in which nothing can be seen is never answered "clean", but `picture-not-usable`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use app_package::manifest::InputKind;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::config::{Binding, Kind, Source};
use super::live::{Fares, Frame, Live, OLDEST, Standing};
use crate::agent::Agent;
use crate::alarms::ANEW;
use crate::apps::Running;
use crate::fault::Fault;
use crate::local::{INFERENCE, raise, words};
use crate::pictures::{self, Shot};
use crate::wire::Request;

/// Time without a frame after which a source that has failed is lost to its apps, and after which they are told again that they see nothing:
/// shorter than an alarm goes on without being seen.
const LOST: Duration = Duration::from_secs(5);

/// Shows frames to an app for as long as the source lives.
pub async fn feed(agent: Arc<Agent>, live: Arc<Live>, binding: Binding, fares: Arc<Fares>) {
    let mut frames = live.frames.subscribe();
    loop {
        match tokio::time::timeout(LOST, frames.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                // What was found in the last picture holds no more.
                if let Some(why) = blind(&live.standing()) {
                    fares.note(cannot_see(&agent, &live, &binding, why).await);
                }
                continue;
            }
        }
        let Some(frame) = frames.borrow_and_update().clone() else { continue };
        let missed = frame.number.saturating_sub(fares.seen.load(Ordering::Relaxed) + 1);
        fares.dropped.fetch_add(missed, Ordering::Relaxed);
        let answer = look(&agent, &live, &binding, &fares, &frame).await;
        if let Some(answer) = answer {
            let found = answer.is_ok() && frame.unusable().is_none();
            fares.note(answer);
            // Who sees the count sees what is counted.
            fares.answered.fetch_add(u64::from(found), Ordering::Release);
        }
        fares.seen.store(frame.number, Ordering::Relaxed);
    }
}

/// Why a source that gives no frame shows nothing. Pictures of a folder that wait for an app are there.
fn blind(standing: &Standing) -> Option<&'static str> {
    match &standing.fault {
        Some(fault) if fault.code == NOT_RUNNING => None,
        Some(_) => Some("lost"),
        None => standing.troubles.iter().find(|trouble| trouble.blinds()).map(|trouble| trouble.as_str()),
    }
}

/// The answer where nothing can be seen. An app of safety class says so as an alarm, which goes on for as long as that is so.
async fn cannot_see(agent: &Arc<Agent>, live: &Live, binding: &Binding, why: &'static str) -> Result<Value, Fault> {
    if let Ok(running) = app(agent, binding)
        && running.manifest.safety
    {
        raise(agent, &running, &live.source.id, &camera_blind(live, why), Duration::ZERO).await;
    }
    Err(fault("picture-not-usable", format!("the picture is {why}")))
}

fn fault(code: &'static str, message: String) -> Fault {
    Fault::new(code, "source", message)
}

/// Code where an app does not run here.
pub const NOT_RUNNING: &str = "app-not-running";
/// Codes of what passes: the app did not look at the picture, and will look at it later.
const PASSES: [&str; 3] = [NOT_RUNNING, "app-busy", "app-restarting"];

/// Why pictures that can wait are not shown yet: not all apps that are to see them run, or there is none. Code `app-not-running`.
pub fn waits(agent: &Agent, source: &Source) -> Option<Fault> {
    let missing = source.apps.iter().find(|binding| agent.apps.find(&binding.app).is_none());
    match missing {
        Some(binding) => Some(not_running(&binding.app)),
        None if source.apps.is_empty() => Some(fault(NOT_RUNNING, "no app looks at this source".to_owned())),
        None => None,
    }
}

/// Whether an app did not come to the last picture.
pub fn passed_over(fares: &Fares) -> bool {
    fares.last().is_some_and(|last| last.is_err_and(|fault| PASSES.contains(&&*fault.code)))
}

pub(super) fn not_running(app: &str) -> Fault {
    fault(NOT_RUNNING, format!("no app {app:?} runs here"))
}

/// The app that a binding names, with what is drawn for it. Codes `app-not-running`, `input-not-taken`, `scene-invalid`.
fn app(agent: &Agent, binding: &Binding) -> Result<Arc<Running>, Fault> {
    let running = agent.apps.find(&binding.app).ok_or_else(|| not_running(&binding.app))?;
    if !matches!(running.manifest.input, InputKind::Image | InputKind::Video) {
        return Err(fault("input-not-taken", format!("{} takes no pictures", running.wanted.app())));
    }
    match running.manifest.scene.refusal(&binding.scene) {
        Some(why) => Err(fault("scene-invalid", why)),
        None => Ok(running),
    }
}

/// The pixels of a frame, as long as somebody has them.
struct Held(Arc<Frame>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0.pixels.rgb
    }
}

/// One frame; `None` where it is too old to be looked at.
async fn look(agent: &Arc<Agent>, live: &Live, binding: &Binding, fares: &Fares, frame: &Arc<Frame>) -> Option<Result<Value, Fault>> {
    // Pictures of a folder are not live: none is passed over.
    if frame.received.elapsed() > OLDEST && live.source.kind != Kind::Folder {
        fares.late.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    let running = match app(agent, binding) {
        Ok(running) => running,
        Err(fault) => return Some(Err(fault)),
    };
    if let Some(trouble) = frame.unusable() {
        fares.unusable.fetch_add(1, Ordering::Relaxed);
        return Some(cannot_see(agent, live, binding, trouble.as_str()).await);
    }
    let pixels = &frame.pixels;
    let place = if binding.place.is_empty() { running.wanted.place.clone() } else { binding.place.clone() };
    let request = Request::Frame {
        source: live.source.id.clone(),
        width: pixels.width,
        height: pixels.height,
        at_ms: u64::try_from(live.at(frame).as_millis()).unwrap_or(u64::MAX),
        params: running.values.clone(),
        place,
        scene: binding.scene.clone(),
    };
    let started = Instant::now();
    let answer = running.process.call(&request, &pixels.rgb, INFERENCE).await;
    running.stats.record(answer.is_ok(), started.elapsed());
    let output = answer.and_then(|(_, bytes)| {
        serde_json::from_slice::<Map<String, Value>>(&bytes).map_err(|e| Fault::new("engine-failed", "app", e.to_string()))
    });
    let mut output = match output {
        Ok(output) => output,
        Err(fault) => return Some(Err(fault)),
    };
    output.extend(about(live, frame));
    let raised = raise(agent, &running, &live.source.id, &output, Duration::ZERO).await;
    let size = Some([pixels.width, pixels.height]);
    pictures::take(agent, &running, raised.begun, Shot { size, bytes: Bytes::from_owner(Held(frame.clone())) });
    output.remove(ANEW);
    output.extend(raised.told);
    Some(Ok(Value::Object(output)))
}

/// What an answer says of its frame.
fn about(live: &Live, frame: &Frame) -> Map<String, Value> {
    let mut about = Map::from_iter([
        ("source".to_owned(), json!(live.source.id)),
        ("time".to_owned(), json!(frame.time)),
        ("size".to_owned(), json!([frame.pixels.width, frame.pixels.height])),
    ]);
    // The app goes on: that nobody can trust it wholly is told.
    if let Some(trouble) = frame.troubles.first() {
        about.insert("doubtful".to_owned(), json!(trouble.as_str()));
    }
    about
}

/// The alarm of an app of safety class that sees nothing. It names no source, as an answer to a frame does: what goes on in the picture is not
/// seen to go on.
fn camera_blind(live: &Live, why: &str) -> Map<String, Value> {
    let name = live.source.title();
    let text = json!({
        "zh": format!("{name}：画面不可用（{}），安全应用无法判断", words(&format!("picture-{why}"), true).unwrap_or_default()),
        "en": format!("{name}: the picture is {why}; the safety app cannot judge by it"),
    });
    Map::from_iter([("alarms".to_owned(), json!([{ "rule": "camera-blind", "level": "warning", "text": text }]))])
}

#[cfg(test)]
mod tests {
    use super::super::health::Trouble;
    use super::*;

    #[test]
    fn a_source_without_frames_is_lost_or_still_shows_nothing() {
        let standing = |code: Option<&'static str>, troubles: &[Trouble]| Standing {
            fault: code.map(|code| fault(code, String::new())),
            troubles: troubles.to_vec(),
            ..Standing::default()
        };
        assert_eq!(blind(&standing(None, &[])), None);
        assert_eq!(blind(&standing(Some("source-silent"), &[Trouble::Black])), Some("lost"));
        assert_eq!(blind(&standing(None, &[Trouble::Moved, Trouble::Frozen])), Some("frozen"));
        assert_eq!(blind(&standing(None, &[Trouble::Dark])), None);
        assert_eq!(blind(&standing(Some(NOT_RUNNING), &[])), None);
    }

    #[test]
    fn only_what_passes_keeps_a_picture() {
        let after = |last: Result<Value, Fault>| {
            let fares = Fares::default();
            fares.note(last);
            passed_over(&fares)
        };
        assert!(!passed_over(&Fares::default()) && !after(Ok(json!({}))) && !after(Err(fault("engine-failed", String::new()))));
        assert!(PASSES.into_iter().all(|code| after(Err(fault(code, String::new())))));
    }
}
