//! What is known of moving pictures at a frame, as rules see it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cel::Value;

use crate::{
    output::{Detection, Direction, ProcedureState},
    scene::{LineState, ZoneState},
    track::Followed,
};

/// A map that rules see.
pub(crate) type Shown = HashMap<String, Value>;

pub(crate) fn map_of(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Shown>().into()
}

/// What the frames so far leave behind; neutral where nothing is kept, so that no rule fails for a missing key.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    pub now: Duration,
    /// By number of the track.
    pub tracks: BTreeMap<u32, Followed>,
    /// All zones and lines of the scene, drawn or not, by id.
    pub zones: BTreeMap<String, ZoneState>,
    pub lines: BTreeMap<String, LineState>,
    pub procedures: BTreeMap<String, Standing>,
}

/// How a procedure stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub state: ProcedureState,
    /// Id of the step to be done next; empty where none is.
    pub step: String,
    /// Ids of steps that were not done.
    pub missing: Vec<String>,
}

impl Moment {
    /// What rules see of the whole picture.
    pub(crate) fn shown(&self) -> [(&'static str, Value); 4] {
        let whole = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let zone = |zone: &ZoneState| map_of([("count", whole(zone.inside.len())), ("seconds", Value::Float(zone.seconds()))]);
        let line = |line: &LineState| {
            let crossed = line.crossings;
            map_of([("in", Value::Int(crossed.inward.into())), ("out", Value::Int(crossed.outward.into()))])
        };
        let procedure = |standing: &Standing| {
            let missing: Vec<Value> = standing.missing.iter().map(|step| step.as_str().into()).collect();
            map_of([("state", standing.state.as_str().into()), ("step", standing.step.as_str().into()), ("missing", missing.into())])
        };
        [
            ("zones", by_id(&self.zones, zone)),
            ("lines", by_id(&self.lines, line)),
            ("procedures", by_id(&self.procedures, procedure)),
            ("now", Value::Float(self.now.as_secs_f64())),
        ]
    }

    /// What rules see of an object.
    pub(crate) fn of(&self, object: &Detection) -> [(String, Value); 3] {
        let followed = object.track.and_then(|id| self.tracks.get(&id));
        let seconds = |time: fn(&Followed) -> Duration| Value::Float(followed.map_or(0.0, |followed| time(followed).as_secs_f64()));
        let track = map_of([
            ("id", Value::Int(object.track.unwrap_or(0).into())),
            ("age", seconds(|followed| followed.age)),
            ("still", seconds(|followed| followed.still)),
            ("speed", Value::Float(followed.map_or(0.0, |followed| followed.speed))),
        ]);
        let inside = |zone: &ZoneState| Value::Float(object.track.and_then(|id| zone.inside.get(&id).copied()).unwrap_or(0.0));
        let crossed = |line: &LineState| match object.track.and_then(|id| line.crossed.get(&id)) {
            Some(Direction::In) => "in".into(),
            Some(Direction::Out) => "out".into(),
            None => "".into(),
        };
        [("track".to_owned(), track), ("zones".to_owned(), by_id(&self.zones, inside)), ("crossed".to_owned(), by_id(&self.lines, crossed))]
    }
}

fn by_id<T>(all: &BTreeMap<String, T>, shown: impl Fn(&T) -> Value) -> Value {
    all.iter().map(|(id, one)| (id.clone(), shown(one))).collect::<Shown>().into()
}
