//! Moving pictures: what keeps something from frame to frame, and what is drawn.

use std::collections::{BTreeSet, HashSet};

use super::super::Faults;
use super::super::yaml::{Entry, Node};
use super::parts::{self, Parts};
use super::{items, objects, unique};
use crate::fault::Fault;
use crate::pipeline::{Direction, ProcedureState, TruthEvent, line_is_short, polygon_fault};

/// Most pixels of a clip that is a model's input, in all its frames.
const MAX_CLIP: i64 = 1 << 22;

/// Whether the app reads moving pictures.
pub(super) fn is(root: &Node) -> bool {
    root.text_of("input") == Some("video")
}

pub(super) fn check(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    if parts.first {
        return;
    }
    if !is(root) {
        still(root, parts, faults);
    }
    let track = tracks(root, parts, faults);
    let found = labels(parts, usize::MAX);
    for (kind, (i, place)) in ["zones", "lines"].into_iter().flat_map(|kind| places(root, kind).enumerate().map(move |place| (kind, place)))
    {
        let key = format!("scene.{kind}[{i}]");
        if !track {
            faults.push(Fault::new("scene-needs-track", &key).at(place.line));
        }
        known_labels(place, &key, &found, faults);
    }
    let scene = root.get("scene");
    unique("scene.zones", scene.and_then(|scene| scene.get("zones")), "id", faults);
    unique("scene.lines", scene.and_then(|scene| scene.get("lines")), "id", faults);
    unique("procedures", root.get("procedures"), "id", faults);
    for (i, procedure) in items(root, "procedures") {
        unique(&format!("procedures[{i}].steps"), procedure.get("steps"), "id", faults);
    }
    for (i, alarm) in items(root, "alarms") {
        let per = alarm.text_of("per");
        if (per == Some("object") && !track) || (per == Some("zone") && places(root, "zones").next().is_none()) {
            let needed = if per == Some("zone") { "scene.zones" } else { "track" };
            let fault = Fault::new("per-needs", format!("alarms[{i}].per")).at(alarm.line);
            faults.push(fault.with("value", per.unwrap_or_default()).with("hint", needed));
        }
    }
    models(parts, faults);
    for (i, sample) in items(root, "golden") {
        drawn(root, sample, &format!("golden[{i}]"), faults);
        if let Some(truth) = sample.get("truth") {
            happened(root, truth, &format!("golden[{i}].truth"), &found, faults);
        }
    }
}

/// Keys that say nothing of a still picture.
fn still(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    let mut refuse = |key: String, node: &Node| faults.push(Fault::new("needs-video", key.clone()).at(node.line).with("value", key));
    for key in ["fps", "scene", "procedures"] {
        root.get(key).into_iter().for_each(|node| refuse(key.to_owned(), node));
    }
    for (i, step) in items(root, "steps") {
        step.get("track").into_iter().for_each(|node| refuse(format!("steps[{i}].track"), node));
    }
    for model in &parts.models {
        if let Some(node) = model.get("every") {
            refuse(format!("{}.every", model.key), node);
        }
    }
    for (list, keys) in [("alarms", &["for", "hold", "per"][..]), ("golden", &["scene"])] {
        for (i, item) in items(root, list) {
            for key in keys {
                if let Some(node) = item.get(key) {
                    refuse(format!("{list}[{i}].{key}"), node);
                }
            }
        }
    }
    for (i, sample) in items(root, "golden") {
        for key in ["events", "crossings"] {
            if let Some(node) = sample.get("truth").and_then(|truth| truth.get(key)) {
                refuse(format!("golden[{i}].truth.{key}"), node);
            }
        }
    }
}

/// The places of a kind that the operator draws.
fn places<'a>(root: &'a Node, kind: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
    root.get("scene").and_then(|scene| scene.get(kind)).map_or(&[][..], Node::items).iter()
}

/// Labels of objects that the steps before a place find.
fn labels<'a>(parts: &Parts<'a>, before: usize) -> BTreeSet<&'a str> {
    objects::labels_before(parts, before).into_iter().collect()
}

fn known_labels(node: &Node, key: &str, known: &BTreeSet<&str>, faults: &mut Faults) {
    for (i, label) in items(node, "labels") {
        if let Some(text) = label.text().filter(|text| !known.contains(text)) {
            let list = known.iter().copied().collect::<Vec<_>>().join(", ");
            faults.push(Fault::new("label-unknown", format!("{key}.labels[{i}]")).at(label.line).with("value", text).with("list", list));
        }
    }
}

/// One step at most follows what the steps before it find; whether there is one.
fn tracks(root: &Node, parts: &Parts<'_>, faults: &mut Faults) -> bool {
    let mut there = false;
    for (i, track) in items(root, "steps").filter_map(|(i, step)| Some((i, step.get("track")?))) {
        let key = format!("steps[{i}].track");
        if there {
            faults.push(Fault::new("track-twice", &key).at(track.line));
        }
        there = true;
        let found = labels(parts, i);
        if found.is_empty() {
            faults.push(Fault::new("track-first", &key).at(track.line));
        } else {
            known_labels(track, &key, &found, faults);
        }
        let number = |key: &str, default: f64| track.get(key).and_then(Node::number).unwrap_or(default);
        if number("low", 0.1) > number("high", 0.5) {
            let fault = Fault::new("min-over-max", format!("{key}.low")).at(track.line);
            faults.push(fault.with("min", number("low", 0.1)).with("max", number("high", 0.5)));
        }
    }
    there
}

/// Clips have a size that is known, and models that run now and then find no objects: between their runs nothing could be followed.
fn models(parts: &Parts<'_>, faults: &mut Faults) {
    for model in &parts.models {
        if let Some(clip) = model.pre.and_then(|pre| pre.get("clip")) {
            let image = clip.get("image");
            let number = |node: Option<&Node>, key: &str| node.and_then(|node| node.get(key)).and_then(Node::integer).unwrap_or(1).max(1);
            let pixels = [number(Some(clip), "frames"), number(image, "width"), number(image, "height")];
            let place = format!("{}.clip", model.pre_key);
            if pixels.into_iter().fold(1, i64::saturating_mul) > MAX_CLIP {
                faults.push(Fault::new("clip-large", &place).at(clip.line).with("max", MAX_CLIP));
            }
            let word = |key: &str| image.and_then(|image| image.text_of(key));
            let other = ["tiles", "window"].into_iter().any(|key| image.is_some_and(|image| image.get(key).is_some()));
            if other || !matches!(word("layout"), None | Some("nchw")) || matches!(word("fit"), Some("pad" | "multiple")) {
                faults.push(Fault::new("clip-image", format!("{place}.image")).at(clip.line));
            }
        }
        let decoded = parts.own.iter().any(|own| own.at == model.at + 1 && own.takes("tensors") && own.gives("objects"));
        if let Some(every) = model.get("every").filter(|_| decoded || model.get("of").is_some() || model.posts().any(parts::finds)) {
            faults.push(Fault::new("every-finds", format!("{}.every", model.key)).at(every.line));
        }
    }
}

/// What a sample draws is in the scene, and whole; what it sets are parameters.
fn drawn(root: &Node, sample: &Node, place: &str, faults: &mut Faults) {
    let names: HashSet<&str> = items(root, "parameters").filter_map(|(_, parameter)| parameter.text_of("name")).collect();
    for entry in sample.get("parameters").map_or(&[][..], Node::entries).iter().filter(|entry| !names.contains(entry.key.as_str())) {
        faults.push(Fault::new("parameter-undeclared", format!("{place}.parameters")).at(entry.line).with("value", &entry.key));
    }
    let scene = sample.get("scene");
    for kind in ["zones", "lines"] {
        let entries = scene.and_then(|scene| scene.get(kind)).map_or(&[][..], Node::entries);
        let known: Vec<&str> = places(root, kind).filter_map(|place| place.text_of("id")).collect();
        for entry in entries {
            let fault = |code| Fault::new(code, format!("{place}.scene.{kind}")).at(entry.line).with("value", &entry.key);
            if !known.contains(&entry.key.as_str()) {
                faults.push(fault("scene-unknown").with("list", known.join(", ")));
            }
            if let Some(code) = shape_fault(kind, entry) {
                faults.push(fault(code));
            }
        }
        let required = places(root, kind).filter(|place| place.get("required").and_then(Node::bool) == Some(true));
        for id in required.filter_map(|place| place.text_of("id")).filter(|id| entries.iter().all(|entry| entry.key != *id)) {
            faults.push(Fault::new("scene-missing", format!("{place}.scene.{kind}")).at(sample.line).with("value", id));
        }
    }
}

/// What really happened in a clip names what the app has, and says when it was. Beyond the clip's end is told by the check, which has the clip.
fn happened(root: &Node, truth: &Node, place: &str, labels: &BTreeSet<&str>, faults: &mut Faults) {
    let ids = |key: &str| items(root, key).filter_map(|(_, item)| item.text_of("id")).collect::<Vec<_>>();
    let drawn = |kind: &str| places(root, kind).filter_map(|place| place.text_of("id")).collect::<Vec<_>>();
    let lines = drawn("lines");
    let known = [
        ("rule", ids("alarms")),
        ("zone", drawn("zones")),
        ("line", lines.clone()),
        ("procedure", ids("procedures")),
        ("label", labels.iter().copied().collect()),
    ];
    let mut unknown = |place: String, line: u32, name: &str, list: &[&str]| {
        faults.push(Fault::new("truth-event-unknown", place).at(line).with("value", name).with("list", list.join(", ")));
    };
    for entry in truth.get("crossings").map_or(&[][..], Node::entries).iter().filter(|entry| !lines.contains(&entry.key.as_str())) {
        unknown(format!("{place}.crossings"), entry.line, &entry.key, &lines);
    }
    for (i, event) in items(truth, "events") {
        for (key, list) in &known {
            if let Some(name) = event.text_of(key).filter(|name| !list.contains(name)) {
                unknown(format!("{place}.events[{i}].{key}"), event.line, name, list);
            }
        }
    }
    for (i, event) in items(truth, "events") {
        if let Some(code) = noted(event).and_then(|event| event.fault()) {
            faults.push(Fault::new(code, format!("{place}.events[{i}]")).at(event.line));
        }
    }
}

/// An event as it stands there; none where it has no times or words that are none, which is told already.
fn noted(event: &Node) -> Option<TruthEvent> {
    let name = |key: &str| event.text_of(key).map(str::to_owned);
    let end = event.get("end").map(|end| end.number().filter(|end| end.is_finite()));
    let state = |word: &str| ProcedureState::ALL.into_iter().find(|state| state.as_str() == word);
    Some(TruthEvent {
        rule: name("rule"),
        zone: name("zone"),
        line: name("line"),
        procedure: name("procedure"),
        label: name("label"),
        direction: event.text_of("direction").map(|word| if word == "out" { Direction::Out } else { Direction::In }),
        state: event.text_of("state").and_then(state),
        begin: event.get("begin").and_then(Node::number).filter(|begin| begin.is_finite())?,
        end: if let Some(end) = end { Some(end?) } else { None },
    })
}

/// What is wrong with a drawn zone or line.
fn shape_fault(kind: &str, entry: &Entry) -> Option<&'static str> {
    let point = |node: &Node| match node.items() {
        [x, y] => Some([x.number().filter(|x| x.is_finite())?, y.number().filter(|y| y.is_finite())?]),
        _ => None,
    };
    let points: Vec<[f64; 2]> = entry.value.items().iter().map(point).collect::<Option<_>>()?;
    match (kind, points.as_slice()) {
        ("lines", [a, b]) => line_is_short([*a, *b]).then_some("line-short"),
        ("zones", corners @ [_, _, _, ..]) if corners.len() <= 32 => polygon_fault(corners),
        _ => None,
    }
}
