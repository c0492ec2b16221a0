//! A vendor's own step is given what the steps before it have, and declares what its answer means.

use std::collections::HashSet;

use super::super::Faults;
use super::super::yaml::Node;
use super::objects;
use super::parts::{Model, Own, Parts};
use crate::fault::Fault;

pub(super) fn check(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    let mut names = HashSet::new();
    let mut values = HashSet::new();
    for own in &parts.own {
        if let Some(name) = own.node.get("name")
            && let Some(text) = name.text()
            && !names.insert(text)
        {
            faults.push(Fault::new("duplicate-name", format!("{}.name", own.key)).at(name.line).with("value", text));
        }
        if root.text_of("input").is_some_and(|input| !matches!(input, "image" | "video")) {
            picture(own, faults);
        }
        given(root, parts, own, faults);
        answer(parts, own, &mut values, faults);
        if let Some(of) = own.node.get("of") {
            let place = format!("{}.of", own.key);
            if objects::of_labels(parts, (of, &place), own.at, faults) {
                objects::of_shape(parts, (of, &place), own.at, own.gives("objects").then_some("out: objects"), faults);
            }
        }
    }
    models(root, parts, faults);
}

/// What only pictures have.
fn picture(own: &Own<'_>, faults: &mut Faults) {
    let words =
        ["frame", "source-size", "objects", "keypoints", "tracks"].into_iter().filter(|word| own.takes(word)).map(|word| ("in", word));
    let more = [("out", "objects"), ("of", "")].into_iter();
    let more = more.filter(|(key, word)| if *key == "of" { own.node.get("of").is_some() } else { own.gives(word) });
    for (key, word) in words.chain(more) {
        let line = own.node.get(key).map_or(own.node.line, |node| node.line);
        let value = if word.is_empty() { key } else { word };
        faults.push(Fault::new("wasm-needs-picture", format!("{}.{key}", own.key)).at(line).with("value", value));
    }
}

/// Everything that it is given is there, once.
fn given(root: &Node, parts: &Parts<'_>, own: &Own<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (i, item) in super::items(own.node, "in") {
        let Some(word) = item.text() else { continue };
        let place = format!("{}.in[{i}]", own.key);
        if !seen.insert(word) {
            faults.push(Fault::new("duplicate-name", place).at(item.line).with("value", word));
            continue;
        }
        let there = match word {
            "tensors" => {
                if own.node.get("of").is_some() || !parts.models.iter().any(|model| feeds(model, own)) {
                    faults.push(Fault::new("wasm-tensors", place).at(item.line));
                }
                continue;
            }
            "time" | "state" => {
                let whole = word == "time" || own.node.get("of").is_none();
                if root.text_of("input") != Some("video") || !whole {
                    faults.push(Fault::new("wasm-needs-clip", place).at(item.line).with("value", word));
                }
                continue;
            }
            "tracks" => super::items(root, "steps").any(|(at, step)| at < own.at && step.get("track").is_some()),
            "objects" => !objects::labels_before(parts, own.at).is_empty(),
            "keypoints" => posts_before(parts, own).any(|(_, entry)| entry.value.get("keypoints").is_some()),
            "values" | "texts" => says(parts, own, word),
            _ => true,
        };
        if !there {
            faults.push(Fault::new("wasm-nothing-before", place).at(item.line).with("value", word));
        }
    }
}

/// Whether the tensors of a model go to an own step: it stands right before it, and runs once on the whole input.
fn feeds(model: &Model<'_>, own: &Own<'_>) -> bool {
    let tiled = model.pre.and_then(|pre| pre.get("image")).is_some_and(|image| image.get("tiles").is_some());
    model.at + 1 == own.at && !tiled && model.get("of").is_none() && model.pre.is_none_or(|pre| pre.get("sound").is_none())
}

fn posts_before<'a>(parts: &'a Parts<'a>, own: &'a Own<'a>) -> impl Iterator<Item = (&'a Model<'a>, &'a super::super::yaml::Entry)> {
    parts.models.iter().filter(|model| model.at < own.at).flat_map(|model| model.posts().map(move |entry| (model, entry)))
}

/// Whether steps before it give values or texts, of objects where it runs for each of them.
fn says(parts: &Parts<'_>, own: &Own<'_>, word: &str) -> bool {
    let each = own.node.get("of").is_some();
    let mut posts = posts_before(parts, own).filter(|(model, _)| model.get("of").is_some() == each);
    let post = posts.any(|(_, entry)| match word {
        "texts" => entry.key == "text",
        _ => matches!(entry.key.as_str(), "values" | "segments" | "anomaly"),
    });
    post || parts.own.iter().any(|other| other.at < own.at && other.gives(word) && other.node.get("of").is_some() == each)
}

/// Labels and values are declared where the answer has them, and nowhere else.
fn answer<'a>(parts: &Parts<'a>, own: &Own<'a>, values: &mut HashSet<&'a str>, faults: &mut Faults) {
    let Some(out) = own.node.text_of("out").filter(|word| matches!(*word, "objects" | "classes" | "values" | "texts")) else { return };
    let before = objects::labels_before(parts, own.at);
    let (wanted, needed) = match out {
        "values" => ("items", true),
        "classes" => ("labels", true),
        "objects" => ("labels", before.is_empty()),
        _ => ("", false),
    };
    let filled = |key: &str| own.node.get(key).is_some_and(|list| !list.items().is_empty());
    if needed && !filled(wanted) {
        let fault = Fault::new("wasm-out-needs", format!("{}.out", own.key)).at(own.node.line);
        faults.push(fault.with("value", out).with("hint", wanted));
    }
    let unit_fits = out == "objects" && (own.takes("tensors") || own.node.text_of("unit") == Some("source"));
    let unfit = ["labels", "items", "unit"].into_iter().filter(|key| *key != wanted && (*key != "unit" || !unit_fits));
    for (key, node) in unfit.filter_map(|key| Some((key, own.node.get(key)?))) {
        let fault = Fault::new("wasm-out-without", format!("{}.{key}", own.key)).at(node.line);
        faults.push(fault.with("value", out).with("hint", key));
    }
    let mut labels: HashSet<&str> = if out == "objects" { before.into_iter().collect() } else { HashSet::new() };
    for (id, place, line) in own.ids() {
        let new = if out == "values" { values.insert(id) } else { labels.insert(id) };
        if !new {
            faults.push(Fault::new("duplicate-name", format!("{}.{place}", own.key)).at(line).with("value", id));
        }
    }
}

/// There is a model, and something reads what each of them gives.
fn models(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    if parts.first {
        return;
    }
    if let Some(steps) = root.get("steps").filter(|steps| parts.models.is_empty() && !steps.items().is_empty()) {
        faults.push(Fault::new("steps-no-model", "steps").at(steps.line));
    }
    for model in parts.models.iter().filter(|model| model.post.is_none_or(|post| post.items().is_empty())) {
        let read = parts.own.iter().any(|own| own.takes("tensors") && feeds(model, own));
        if let Some(node) = model.node.filter(|_| !read) {
            faults.push(Fault::new("post-missing", &model.post_key).at(node.line));
        }
    }
}
