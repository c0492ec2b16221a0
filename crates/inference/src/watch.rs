//! Moving pictures: what an app keeps from frame to frame of one source, and what comes of it.
//!
//! A [`Watch`] belongs to one camera or one clip, and begins empty. Each frame goes through the steps, the tracks, the places that are drawn,
//! the procedures and the rules, in this order; what began and ended in it is told at once. The answer to a clip is the fold over its frames
//! ([`fn@clip`]). Times are those of the frames, from the beginning of the source, and may be uneven; nothing counts frames.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use app_package::manifest::AppManifest;
use app_package::pipeline::{AlarmRule, Drawn, Given, Per, Pre, Step};
use app_package::span::Span;
use app_package::text::Text;
use image::DynamicImage;

use crate::{
    alarm::{Params, Told, holds},
    app::App,
    clip,
    draw::Trace,
    engine::TensorData,
    episode::{Change, Episode},
    error::Result,
    frames::Frames,
    moment::{Moment, Standing},
    output::{AppOutput, Detection, Event, MAX_EVENTS, RaisedAlarm, RuleFault},
    picture,
    procedure::Course,
    scene::{Happened, Places},
    stage::{Input, Raw, Stage},
    track::{Followed, Tracker},
};

/// Longest time between two runs of a model, or of an own step, over which its state is carried, where it does not rest longer by itself.
const CARRIED: Duration = Duration::from_secs(2);

/// How long the condition of a rule must not hold for its episode to end, where the rule does not say.
const HOLD: Span = Span::millis(5_000);

/// What an app keeps of one source.
pub struct Watch {
    kept: Kept,
    places: Places,
    procedures: Vec<Course>,
    /// Of each rule, by what has an episode of its own.
    episodes: Vec<BTreeMap<Key, Episode>>,
    params: Params,
    /// Where the source is; goes into the texts of alarms.
    place: String,
}

/// What has an episode of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Camera,
    Object(u32),
    Zone(String),
}

/// What comes of a frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameOutput {
    /// What is seen in it, and as alarms the episodes that began in it.
    pub result: AppOutput,
    /// What began and ended in it, or is known now to have.
    pub happened: Happened,
}

impl From<FrameOutput> for AppOutput {
    /// The answer to one frame: what is seen in it, with what began and ended in it as its events.
    fn from(FrameOutput { mut result, happened }: FrameOutput) -> Self {
        result.events = happened.begun.into_iter().chain(happened.ended).take(MAX_EVENTS).collect();
        result
    }
}

/// What the steps keep.
pub(crate) struct Kept {
    now: Duration,
    tracker: Option<Tracker>,
    /// By the place among the steps.
    steps: Vec<OfStep>,
}

/// What is kept of a model, or of an own step.
#[derive(Default)]
struct OfStep {
    frames: Frames,
    /// The last answer of a model that does not run on each frame, with what it gave where an own step reads that.
    last: Option<(Duration, AppOutput, Raw)>,
    /// Whether an own step reads the tensors of this model.
    read: bool,
    /// What its last run left for the next one, and when. A run that failed leaves nothing.
    state: Option<(Duration, Vec<TensorData>)>,
}

impl OfStep {
    /// Takes the state, where the last run was at most [`CARRIED`] ago or twice as long as it rests.
    fn carried(&mut self, now: Duration, rests: Option<Duration>) -> Option<Vec<TensorData>> {
        let most = rests.map_or(CARRIED, |rests| CARRIED.max(rests.saturating_mul(2)));
        self.state.take().filter(|(at, _)| now.saturating_sub(*at) <= most).map(|(_, state)| state)
    }
}

impl Kept {
    fn new(manifest: &AppManifest) -> Self {
        let tracker = manifest.track().map(|track| Tracker::new(track.clone(), manifest.frame_rate()));
        let reads = |at: usize| matches!(manifest.steps.get(at), Some(Step::Wasm(own)) if own.takes(Given::Tensors));
        let steps = (1..=manifest.steps.len()).map(|next| OfStep { read: reads(next), ..OfStep::default() });
        Self { now: Duration::ZERO, tracker, steps: steps.collect() }
    }

    /// Follows the objects found so far.
    pub fn follow(&mut self, result: &mut AppOutput) {
        if let Some(tracker) = &mut self.tracker {
            tracker.update(&mut result.detections, self.now);
        }
    }

    /// What a model says of the frame, by its place among the steps, with what it gave.
    pub fn answer(&mut self, step: usize, stage: &mut Stage, picture: &DynamicImage) -> Result<(AppOutput, Raw)> {
        let Some(own) = self.steps.get_mut(step) else { return stage.answer_raw(Input::Picture(picture)) };
        let clip = if let Pre::Clip(pre) = &stage.step().pre { Some(pre) } else { None };
        if let Some(pre) = clip {
            own.frames.keep(pre, picture, self.now)?;
        }
        let rests = stage.step().every.map(Span::get);
        if let (Some(every), Some((at, answer, raw))) = (rests, &own.last)
            && self.now.saturating_sub(*at) < every
        {
            return Ok((answer.clone(), raw.clone()));
        }
        let clip = clip.is_some();
        if stage.carries() {
            stage.resume(own.carried(self.now, rests));
        }
        let input = if clip { Input::Frames(&own.frames) } else { Input::Picture(picture) };
        let (answer, raw) = stage.answer_raw(input)?;
        if stage.carries() {
            own.state = Some((self.now, stage.state()));
        }
        own.last = rests.map(|_| (self.now, answer.clone(), if own.read { raw.clone() } else { Raw::default() }));
        Ok((answer, raw))
    }

    /// Time since the source began.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Takes what an own step left for this frame, by its place among the steps.
    pub fn take_left(&mut self, step: usize) -> Option<TensorData> {
        self.steps.get_mut(step)?.carried(self.now, None)?.pop()
    }

    /// Keeps what an own step leaves for the next frame.
    pub fn leave(&mut self, step: usize, left: Option<TensorData>) {
        if let Some(own) = self.steps.get_mut(step) {
            own.state = left.map(|left| (self.now, vec![left]));
        }
    }

    fn followed(&self) -> Vec<Followed> {
        self.tracker.as_ref().map(|tracker| tracker.followed(self.now)).unwrap_or_default()
    }
}

impl Watch {
    /// An empty state for one source, with what is drawn in its picture and what the operator has set there. Codes `parameter-…`.
    pub fn new(app: &App, drawn: &Drawn, params: &serde_json::Map<String, serde_json::Value>, place: &str) -> Result<Self> {
        let manifest = app.manifest();
        Ok(Self {
            kept: Kept::new(manifest),
            places: Places::new(&manifest.scene, drawn),
            procedures: manifest.procedures.iter().cloned().map(Course::new).collect(),
            episodes: vec![BTreeMap::new(); manifest.alarms().len()],
            params: Params::new(&manifest.parameters, params)?,
            place: place.to_owned(),
        })
    }

    /// Goes on with the next frame at a time since the source began; a time before the last frame's counts as that one. Codes as those of a
    /// prediction for a picture.
    pub fn frame(&mut self, app: &mut App, picture: &DynamicImage, time: Duration) -> Result<FrameOutput> {
        self.kept.now = self.kept.now.max(time);
        let now = self.kept.now;
        let mut result = app.answer(Input::Picture(picture), Some(&mut self.kept))?;
        let followed = self.kept.followed();
        let size = [picture.width(), picture.height()].map(|side| f64::from(side.max(1)));
        let mut happened = self.places.update(&result.detections, &followed, size, now);
        let mut moment = Moment {
            now,
            tracks: followed.into_iter().map(|followed| (followed.id, followed)).collect(),
            zones: self.places.zones(now).map(|(id, zone)| (id.to_owned(), zone)).collect(),
            lines: self.places.lines().map(|(id, line)| (id.to_owned(), line.clone())).collect(),
            procedures: self.standings(),
        };
        if !self.procedures.is_empty() {
            let context = app.rules().context(&result, &self.params, &moment);
            for course in &mut self.procedures {
                let seen = app.rules().seen(course, &context, &mut result.rule_faults);
                course.update(&seen, now, &mut happened);
            }
            moment.procedures = self.standings();
        }
        self.alarms(app, &mut result, &moment, &mut happened);
        Ok(FrameOutput { result, happened })
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        let standing = |course: &Course| Standing {
            state: course.state(),
            step: course.step().to_owned(),
            missing: course.missing().into_iter().map(str::to_owned).collect(),
        };
        self.procedures.iter().map(|course| (course.id().to_owned(), standing(course))).collect()
    }

    /// Asks the rules, each for what has an episode of its own.
    fn alarms(&mut self, app: &App, result: &mut AppOutput, moment: &Moment, happened: &mut Happened) {
        let context = app.rules().context(result, &self.params, moment);
        let missing = self.missing();
        let (mut alarms, mut faults): (Vec<RaisedAlarm>, Vec<RuleFault>) = (Vec::new(), Vec::new());
        for ((rule, program), episodes) in app.rules().all().zip(&mut self.episodes) {
            for key in keys(rule.per, result, moment, episodes) {
                let things = key.things(result, moment);
                let held = match &things {
                    None => holds(program, &context),
                    // An object that is not seen raises nothing.
                    Some(things) if things.is_empty() && matches!(key, Key::Object(_)) => Ok(false),
                    Some(things) => holds(program, &app.rules().narrowed(&context, things, moment)),
                };
                let held = match held {
                    Ok(held) => held,
                    // What is not known changes nothing.
                    Err(message) => {
                        faults.push(RuleFault { rule: rule.id.clone(), message });
                        break;
                    }
                };
                let mut episode = episodes.remove(&key).unwrap_or_default();
                let (lasting, hold) = (rule.lasting.unwrap_or_default().get(), rule.hold.unwrap_or(HOLD).get());
                match episode.update(held, moment.now, lasting, hold) {
                    Some(Change::Begun) => {
                        happened.begun.push(key.event(rule, moment.now, None));
                        let told = Told {
                            at: Some(moment.now.as_secs_f64()),
                            label: things.as_ref().and_then(|things| things.first()).map(|thing| thing.label.as_str()),
                            zone: zone_title(app.manifest(), &key, moment),
                            missing: missing.clone(),
                        };
                        alarms.push(app.rules().alarm(rule, result, &self.place, &told));
                    }
                    Some(Change::Ended { begin, end }) => happened.ended.push(key.event(rule, begin, Some(end))),
                    None => {}
                }
                if !episode.is_idle() {
                    episodes.insert(key, episode);
                }
            }
        }
        result.alarms = alarms;
        result.rule_faults.append(&mut faults);
    }

    /// Titles of the steps that were not done, of all procedures.
    fn missing(&self) -> Text {
        let titles = |lang: &str| {
            let steps = self.procedures.iter().flat_map(|course| course.missing().into_iter().filter_map(|step| course.title(step, lang)));
            steps.collect::<Vec<_>>().join(if lang == "zh" { "、" } else { ", " })
        };
        Text { zh: titles("zh"), en: titles("en") }
    }
}

impl Key {
    /// The things that a rule sees; all where none.
    fn things<'a>(&self, result: &'a AppOutput, moment: &Moment) -> Option<Vec<&'a Detection>> {
        let things = |inside: &dyn Fn(u32) -> bool| result.detections.iter().filter(|d| d.track.is_some_and(inside)).collect();
        match self {
            Self::Camera => None,
            Self::Object(id) => Some(things(&|track| track == *id)),
            Self::Zone(id) => Some(things(&|track| moment.zones.get(id).is_some_and(|zone| zone.inside.contains_key(&track)))),
        }
    }

    fn event(&self, rule: &AlarmRule, begin: Duration, end: Option<Duration>) -> Event {
        Event {
            rule: Some(rule.id.clone()),
            zone: if let Self::Zone(id) = self { Some(id.clone()) } else { None },
            track: if let Self::Object(id) = self { Some(*id) } else { None },
            begin: begin.as_secs_f64(),
            end: end.map(|end| end.as_secs_f64()),
            ..Event::default()
        }
    }
}

/// What a rule is asked for: what is there now, and what has an episode.
fn keys(per: Per, result: &AppOutput, moment: &Moment, episodes: &BTreeMap<Key, Episode>) -> BTreeSet<Key> {
    let now: BTreeSet<Key> = match per {
        Per::Camera => BTreeSet::from([Key::Camera]),
        Per::Object => result.detections.iter().filter_map(|d| d.track.map(Key::Object)).collect(),
        // Nobody is missing where nothing is drawn.
        Per::Zone => moment.zones.iter().filter(|(_, zone)| zone.drawn).map(|(id, _)| Key::Zone(id.clone())).collect(),
    };
    now.into_iter().chain(episodes.keys().cloned()).collect()
}

/// Title of the zone that an episode is about: its own, that which its object is in, or the first where somebody is.
fn zone_title<'a>(manifest: &'a AppManifest, key: &Key, moment: &Moment) -> Option<&'a Text> {
    let inside = |id: &String| moment.zones.get(id).map(|zone| &zone.inside);
    let zone = manifest.scene.zones.iter().find(|zone| match key {
        Key::Zone(id) => *id == zone.id,
        Key::Object(track) => inside(&zone.id).is_some_and(|inside| inside.contains_key(track)),
        Key::Camera => inside(&zone.id).is_some_and(|inside| !inside.is_empty()),
    });
    zone.map(|zone| &zone.title)
}

/// The answer to a clip, or to a picture as a clip of one frame, with what was seen in each frame. Codes as those of [`clip::read`],
/// [`clip::Clip::frames`] and [`Watch::frame`].
pub(crate) fn clip(
    app: &mut App,
    bytes: &[u8],
    drawn: &Drawn,
    params: &serde_json::Map<String, serde_json::Value>,
    place: &str,
) -> Result<(AppOutput, Trace)> {
    let mut watch = Watch::new(app, drawn, params, place)?;
    let (mut whole, mut trace) = (Whole::default(), Trace::default());
    let mut add = |frame: FrameOutput| {
        trace.add(&frame.result.detections);
        whole.add(frame);
    };
    if picture::is_known(bytes) {
        add(watch.frame(app, &picture::decode(bytes)?, Duration::ZERO)?);
    } else {
        for frame in clip::read(bytes)?.frames() {
            let (time, picture) = frame?;
            add(watch.frame(app, &picture, time)?);
        }
    }
    Ok((whole.finish(&watch), trace))
}

/// The fold over the frames of a clip.
#[derive(Default)]
struct Whole {
    last: AppOutput,
    events: Vec<Event>,
    alarms: Vec<RaisedAlarm>,
    faults: Vec<RuleFault>,
    left_out: u32,
    /// Tracks that were seen, by label.
    tracks: BTreeMap<String, BTreeSet<u32>>,
}

impl Whole {
    fn add(&mut self, FrameOutput { mut result, happened }: FrameOutput) {
        for event in happened.begun {
            self.push(event);
        }
        for event in happened.ended {
            let same = |open: &&mut Event| {
                let what = |event: &Event| (event.rule.clone(), event.zone.clone(), event.procedure.clone(), event.track);
                open.end.is_none() && event.line.is_none() && what(open) == what(&event)
            };
            match self.events.iter_mut().find(same) {
                Some(open) => *open = event,
                // Crossings have no length; what else ends without a beginning was left out.
                None if event.line.is_some() => self.push(event),
                None => {}
            }
        }
        for detection in &result.detections {
            if let Some(track) = detection.track {
                self.tracks.entry(detection.label.clone()).or_default().insert(track);
            }
        }
        let room = MAX_EVENTS.saturating_sub(self.alarms.len());
        self.alarms.extend(result.alarms.drain(..).take(room));
        for fault in result.rule_faults.drain(..) {
            if self.faults.iter().all(|known| known.rule != fault.rule) {
                self.faults.push(fault);
            }
        }
        self.last = result;
    }

    fn push(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS { self.events.push(event) } else { self.left_out = self.left_out.saturating_add(1) }
    }

    fn finish(self, watch: &Watch) -> AppOutput {
        let mut whole =
            AppOutput { events: self.events, alarms: self.alarms, rule_faults: self.faults, left_out: self.left_out, ..self.last };
        whole.events.sort_by(|a, b| a.begin.total_cmp(&b.begin));
        // How a procedure stands that still runs.
        for event in whole.events.iter_mut().filter(|event| event.end.is_none()) {
            if let Some(course) = watch.procedures.iter().find(|course| event.procedure.as_deref() == Some(course.id())) {
                event.state = Some(course.state());
                event.missing = course.missing().into_iter().map(str::to_owned).collect();
            }
        }
        whole.undrawn = watch.places.undrawn().map(str::to_owned).collect();
        whole.counts.lines = watch.places.counted();
        whole.counts.tracks = self.tracks.into_iter().map(|(label, ids)| (label, u32::try_from(ids.len()).unwrap_or(u32::MAX))).collect();
        whole
    }
}
