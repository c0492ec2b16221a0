//! Where objects with a track are: how long in which zone, and over which line.
//!
//! A zone is entered by who was inside for `enter` without a break, and left by who was outside for `leave`, or whose track is over. In
//! between the stay runs on: also while the object is not seen. Seconds that it was seen outside count once it is back.
//!
//! A line is crossed by who stood on one side of it and then on the other, where the way there cut the line itself and not its extension.
//! To stand on a side is to be there for 0.3 s without a break; for who has crossed before and was less than a second on the other side,
//! for a second. So trembling on the line counts once at most, and what went in comes out. Objects without a number of a track neither stay
//! nor cross: `supervision` #2578 counted 97 for 9 by taking all that have none for one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use app_package::pipeline::{Anchor, Drawn, Line, Scene, Zone, segments_meet, side};

use crate::{
    output::{Crossings, Detection, Direction, Event},
    track::Followed,
};

/// Time after which an object stands on a side of a line.
const BESIDE: Duration = Duration::from_millis(300);
/// The same for one that has crossed before, and was for less than this on the other side.
const AGAIN: Duration = Duration::from_secs(1);

/// What the places that are drawn know of the objects of one camera or clip.
#[derive(Debug, Clone)]
pub struct Places {
    zones: Vec<Area>,
    lines: Vec<Gate>,
}

/// What can be said of a zone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ZoneState {
    /// Whether it is drawn.
    pub drawn: bool,
    /// Seconds that each object inside has been there, by its track.
    pub inside: BTreeMap<u32, f64>,
}

impl ZoneState {
    /// The longest stay of those inside, in seconds; 0 where nobody is.
    pub fn seconds(&self) -> f64 {
        self.inside.values().copied().fold(0.0, f64::max)
    }
}

/// What can be said of a line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineState {
    /// So far.
    pub crossings: Crossings,
    /// Who crossed it in this frame, by track.
    pub crossed: BTreeMap<u32, Direction>,
}

/// A zone with those who are in it.
#[derive(Debug, Clone)]
struct Area {
    zone: Zone,
    /// In shares of the picture; empty where nothing is drawn.
    corners: Vec<[f64; 2]>,
    stays: BTreeMap<u32, Stay>,
}

#[derive(Debug, Clone)]
struct Stay {
    since: Duration,
    /// Inside for long enough.
    entered: bool,
    /// Since it was seen outside.
    outside: Option<Duration>,
    label: String,
    /// When its object was last seen.
    seen: Duration,
}

/// A line with those who are beside it.
#[derive(Debug, Clone)]
struct Gate {
    line: Line,
    ends: Option<[[f64; 2]; 2]>,
    beside: BTreeMap<u32, Beside>,
    state: LineState,
}

#[derive(Debug, Clone)]
struct Beside {
    at: [f64; 2],
    /// Right of the line, and since when.
    right: bool,
    since: Duration,
    /// It came to this side over the line itself.
    over: bool,
    /// The side where it last stood.
    stood: Option<bool>,
    /// It has crossed before.
    crossed: bool,
    /// It was on the other side for a moment only.
    back: bool,
}

/// Events of a frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Happened {
    /// Begun, and not ended yet.
    pub begun: Vec<Event>,
    /// Ended; begun in an earlier frame, or in this one.
    pub ended: Vec<Event>,
}

impl Places {
    /// Nobody anywhere yet. What is not drawn is never entered, or crossed.
    pub fn new(scene: &Scene, drawn: &Drawn) -> Self {
        let area = |zone: &Zone| Area {
            corners: drawn.zones.get(&zone.id).cloned().unwrap_or_default(),
            zone: zone.clone(),
            stays: BTreeMap::new(),
        };
        let gate = |line: &Line| Gate {
            ends: drawn.lines.get(&line.id).copied(),
            line: line.clone(),
            beside: BTreeMap::new(),
            state: LineState::default(),
        };
        Self { zones: scene.zones.iter().map(area).collect(), lines: scene.lines.iter().map(gate).collect() }
    }

    /// Looks where the objects of the next frame are, in a picture of this size. `alive` are all tracks, those that are hidden now too.
    pub fn update(&mut self, objects: &[Detection], alive: &[Followed], size: [f64; 2], now: Duration) -> Happened {
        let alive: BTreeSet<u32> = alive.iter().map(|followed| followed.id).collect();
        let mut happened = Happened::default();
        for area in &mut self.zones {
            area.update(objects, &alive, size, now, &mut happened);
        }
        for gate in &mut self.lines {
            gate.update(objects, &alive, size, now, &mut happened);
        }
        happened
    }

    /// How the zones stand, by id.
    pub fn zones(&self, now: Duration) -> impl Iterator<Item = (&str, ZoneState)> {
        self.zones.iter().map(move |area| (area.zone.id.as_str(), area.state(now)))
    }

    /// Ids of the zones that must be drawn and are not.
    pub fn undrawn(&self) -> impl Iterator<Item = &str> {
        self.zones.iter().filter(|area| area.zone.required && area.corners.is_empty()).map(|area| area.zone.id.as_str())
    }

    /// How the lines stand, by id.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &LineState)> {
        self.lines.iter().map(|gate| (gate.line.id.as_str(), &gate.state))
    }

    /// How often each line that is drawn was crossed.
    pub fn counted(&self) -> BTreeMap<String, Crossings> {
        self.lines.iter().filter(|gate| gate.ends.is_some()).map(|gate| (gate.line.id.clone(), gate.state.crossings)).collect()
    }
}

/// The objects with a track that count, with the point of them that does, in shares of the picture.
fn points<'a>(
    objects: &'a [Detection],
    labels: &'a [String],
    anchor: Anchor,
    [width, height]: [f64; 2],
) -> impl Iterator<Item = (u32, &'a Detection, [f64; 2])> {
    objects.iter().filter(|object| labels.is_empty() || labels.contains(&object.label)).filter_map(move |object| {
        let [x, y, w, h] = object.bbox.map(f64::from);
        let down = if anchor == Anchor::BottomCenter { y + h } else { y + h / 2.0 };
        Some((object.track?, object, [(x + w / 2.0) / width, down / height]))
    })
}

/// Whether a point, in shares of the picture, is in a polygon. What lies on the picture's border counts as inside of a zone that reaches it.
fn inside(corners: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    // Feet stand on the lower border where a box is cut off.
    is_inside(corners, [x.clamp(1e-6, 1.0 - 1e-6), y.clamp(1e-6, 1.0 - 1e-6)])
}

/// Whether a point is in a polygon: a ray from it crosses an odd number of sides.
pub(crate) fn is_inside(corners: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    let sides = corners.iter().zip(corners.iter().cycle().skip(1));
    sides.filter(|([ax, ay], [bx, by])| (*ay > y) != (*by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax).count() % 2 == 1
}

impl Area {
    fn update(&mut self, objects: &[Detection], alive: &BTreeSet<u32>, size: [f64; 2], now: Duration, happened: &mut Happened) {
        for (track, object, point) in points(objects, &self.zone.labels, self.zone.anchor, size) {
            if inside(&self.corners, point) {
                let new = || Stay { since: now, entered: false, outside: None, label: object.label.clone(), seen: now };
                let stay = self.stays.entry(track).or_insert_with(new);
                (stay.outside, stay.seen) = (None, now);
                if !stay.entered && now.saturating_sub(stay.since) >= self.zone.enter.get() {
                    stay.entered = true;
                    happened.begun.push(event(&self.zone.id, track, stay, None));
                }
            } else if let Some(stay) = self.stays.get_mut(&track) {
                stay.seen = now;
                stay.outside.get_or_insert(now);
            }
        }
        let leave = self.zone.leave.get();
        let id = &self.zone.id;
        self.stays.retain(|track, stay| {
            let end = match stay.outside {
                // Whoever was not in long enough begins anew.
                Some(_) if !stay.entered => return false,
                Some(outside) if now.saturating_sub(outside) >= leave => outside,
                _ if !alive.contains(track) => stay.outside.unwrap_or(stay.seen),
                _ => return true,
            };
            if stay.entered {
                happened.ended.push(event(id, *track, stay, Some(end)));
            }
            false
        });
    }

    fn state(&self, now: Duration) -> ZoneState {
        let entered = self.stays.iter().filter(|(_, stay)| stay.entered);
        let inside = entered.map(|(track, stay)| (*track, stay.outside.unwrap_or(now).saturating_sub(stay.since).as_secs_f64())).collect();
        ZoneState { drawn: !self.corners.is_empty(), inside }
    }
}

fn event(zone: &str, track: u32, stay: &Stay, end: Option<Duration>) -> Event {
    Event {
        zone: Some(zone.to_owned()),
        begin: stay.since.as_secs_f64(),
        end: end.map(|end| end.as_secs_f64()),
        track: Some(track),
        label: Some(stay.label.clone()),
        ..Event::default()
    }
}

impl Gate {
    fn update(&mut self, objects: &[Detection], alive: &BTreeSet<u32>, size: [f64; 2], now: Duration, happened: &mut Happened) {
        self.state.crossed.clear();
        let Some(ends) = self.ends else { return };
        self.beside.retain(|track, _| alive.contains(track));
        for (track, object, at) in points(objects, &self.line.labels, self.line.anchor, size) {
            let of_line = side(ends, at);
            let new = || Beside { at, right: of_line > 0.0, since: now, over: false, stood: None, crossed: false, back: false };
            let known = self.beside.entry(track).or_insert_with(new);
            // Who stands on the line is where he was.
            let right = if of_line == 0.0 { known.right } else { of_line > 0.0 };
            if right != known.right {
                known.over = segments_meet(ends, [known.at, at]);
                known.back = now.saturating_sub(known.since) < AGAIN;
                (known.right, known.since) = (right, now);
            }
            known.at = at;
            if now.saturating_sub(known.since) < if known.crossed && known.back { AGAIN } else { BESIDE } {
                continue;
            }
            if known.stood.replace(right) != Some(!right) || !known.over {
                continue;
            }
            let came = known.since;
            known.crossed = true;
            let direction = if right { Direction::In } else { Direction::Out };
            self.state.crossed.insert(track, direction);
            let count = if right { &mut self.state.crossings.inward } else { &mut self.state.crossings.outward };
            *count = count.saturating_add(1);
            let time = came.as_secs_f64();
            happened.ended.push(Event {
                line: Some(self.line.id.clone()),
                begin: time,
                end: Some(time),
                track: Some(track),
                label: Some(object.label.clone()),
                direction: Some(direction),
                ..Event::default()
            });
        }
    }
}

#[cfg(test)]
mod tests;
