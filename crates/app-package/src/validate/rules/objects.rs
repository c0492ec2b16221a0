//! A step that runs for each object that the steps before it found: which objects there are, and how it sees them.

use std::collections::{HashMap, HashSet};

use super::super::Faults;
use super::super::yaml::Node;
use super::items;
use super::parts::{Model, Parts, finds, ids};
use crate::fault::Fault;

/// Points of a face.
const FACE: usize = 5;

/// The labels of objects that the steps before a place find, in their order, each once.
pub(super) fn labels_before<'a>(parts: &Parts<'a>, at: usize) -> Vec<&'a str> {
    let models = parts.models.iter().filter(|model| model.at < at);
    let mut found: Vec<(usize, &str)> = models
        .flat_map(|model| model.posts().filter(|entry| finds(entry)).flat_map(ids).map(|(id, _)| (model.at, id)))
        .chain(parts.own.iter().filter(|own| own.at < at && own.gives("objects")).flat_map(|own| own.ids().map(|(id, ..)| (own.at, id))))
        .collect();
    found.sort_by_key(|(at, _)| *at);
    let mut seen = HashSet::new();
    found.into_iter().map(|(_, id)| id).filter(|id| seen.insert(*id)).collect()
}

/// The same labels with how many points their objects have.
fn points_before<'a>(parts: &Parts<'a>, at: usize) -> HashMap<&'a str, usize> {
    let mut found: HashMap<&str, usize> = labels_before(parts, at).into_iter().map(|label| (label, 0)).collect();
    for entry in parts.models.iter().filter(|model| model.at < at).flat_map(Model::posts).filter(|entry| finds(entry)) {
        let points = entry.value.get("keypoints").map_or(0, |points| items(points, "names").count());
        found.extend(ids(entry).into_iter().map(|(id, _)| (id, points)));
    }
    found
}

/// A model for each object needs a picture, and what the step of [`of_labels`] and [`of_shape`] does.
pub(super) fn of(parts: &Parts<'_>, model: &Model<'_>, faults: &mut Faults) {
    let Some(of) = model.get("of") else { return };
    let place = format!("{}.of", model.key);
    if !of_labels(parts, (of, &place), model.at, faults) {
        return;
    }
    if model.pre.is_some_and(|pre| pre.get("image").is_none()) {
        faults.push(Fault::new("of-needs-picture", &place).at(of.line));
    }
    let entry = model.posts().find(|entry| finds(entry));
    of_shape(parts, (of, &place), model.at, entry.map(|entry| entry.key.as_str()), faults);
}

/// A step that sees its objects turned or aligned finds no objects in them, which `finding` would name, and faces have their points.
pub(super) fn of_shape(parts: &Parts<'_>, (of, place): (&Node, &str), at: usize, finding: Option<&str>, faults: &mut Faults) {
    let turned = of.get("turn").is_some_and(|turn| turn.bool() == Some(true)).then_some("turn");
    let aligned = of.get("align").map(|align| ("align", align));
    if let (Some(key), Some(finding)) = (turned.or(aligned.map(|(key, _)| key)), finding) {
        faults.push(Fault::new("of-turn", format!("{place}.{key}")).at(of.line).with("value", finding).with("hint", key));
    }
    let Some((key, align)) = aligned else { return };
    let found = points_before(parts, at);
    let wanted: Vec<&str> = items(of, "labels").filter_map(|(_, label)| label.text()).collect();
    let whole = |label: &&str| found.get(label).is_none_or(|points| *points == FACE);
    let fits = if wanted.is_empty() { found.values().any(|points| *points == FACE) } else { wanted.iter().all(whole) };
    if !fits {
        faults.push(Fault::new("of-align", format!("{place}.{key}")).at(align.line));
    }
    for other in ["expand", "square", "turn"].into_iter().filter_map(|other| of.get(other)) {
        faults.push(Fault::new("of-align-alone", format!("{place}.{key}")).at(other.line));
    }
}

/// A step for each object needs objects before it, and names labels that they can have. False for the first step.
pub(super) fn of_labels(parts: &Parts<'_>, (of, place): (&Node, &str), at: usize, faults: &mut Faults) -> bool {
    if at == 0 {
        faults.push(Fault::new("of-first", place).at(of.line));
        return false;
    }
    let found = labels_before(parts, at);
    for (i, label) in items(of, "labels") {
        if let Some(text) = label.text()
            && !found.contains(&text)
        {
            let list = found.join(", ");
            faults.push(Fault::new("of-label", format!("{place}.labels[{i}]")).at(label.line).with("value", text).with("list", list));
        }
    }
    true
}
