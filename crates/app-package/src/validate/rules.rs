//! What spans several keys: names used twice, outputs and labels that must exist, shapes that must agree, defaults in bounds.
//!
//! Works on the tree, so that each fault has its line and faults elsewhere do not hide these. Silent where a part is missing or
//! has the wrong type: the walk along the table has told that already.

mod objects;
mod own;
mod parts;
mod spectrum;
mod steps;
mod video;

use std::collections::HashSet;

use self::parts::Parts;
use super::Faults;
use super::schema::input_extensions;
use super::yaml::Node;
use crate::fault::Fault;
use crate::path::extension;

pub(super) fn check(root: &Node, faults: &mut Faults) {
    let parts = Parts::of(root);
    unique("parameters", root.get("parameters"), "name", faults);
    unique("golden", root.get("golden"), "name", faults);
    unique(parts.alarms_key, parts.alarms, "id", faults);
    steps::check(root, &parts, faults);
    own::check(root, &parts, faults);
    video::check(root, &parts, faults);
    alarms(root, &parts, faults);
    for (i, parameter) in items(root, "parameters") {
        parameter_rules(parameter, &format!("parameters[{i}]"), faults);
    }
    providers(root, faults);
    golden(root, &parts, faults);
}

/// No provider stands twice: the list is an order.
fn providers(root: &Node, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (i, item) in items(root, "providers") {
        if let Some(word) = item.text()
            && !seen.insert(word)
        {
            faults.push(Fault::new("duplicate-name", format!("providers[{i}]")).at(item.line).with("value", word));
        }
    }
}

fn items<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = (usize, &'a Node)> {
    node.get(key).map_or(&[][..], Node::items).iter().enumerate()
}

fn unique(place: &str, list: Option<&Node>, name: &str, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (i, item) in list.map_or(&[][..], Node::items).iter().enumerate() {
        if let Some(node) = item.get(name)
            && let Some(text) = node.text()
            && !seen.insert(text)
        {
            faults.push(Fault::new("duplicate-name", format!("{place}[{i}].{name}")).at(node.line).with("value", text));
        }
    }
}

/// Placeholders of alarm texts: `{place}`, `{label}`, `{value:ID}`; of moving pictures `{zone}` and `{missing}`, too.
fn alarms(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    let video = video::is(root);
    let ids: HashSet<&str> = result_ids(parts, "values");
    for (i, alarm) in parts.alarms.map_or(&[][..], Node::items).iter().enumerate() {
        for entry in alarm.get("text").map_or(&[][..], Node::entries) {
            let mut rest = entry.value.text().unwrap_or_default();
            while let Some((_, after)) = rest.split_once('{') {
                let Some((name, tail)) = after.split_once('}') else { break };
                let known = matches!(name, "place" | "label" | "text")
                    || (video && matches!(name, "zone" | "missing"))
                    || name.strip_prefix("value:").is_some_and(|id| ids.contains(id));
                if !known {
                    let place = format!("{}[{i}].text.{}", parts.alarms_key, if entry.key == "zh" { "zh" } else { "en" });
                    faults.push(Fault::new("placeholder-unknown", place).at(entry.value.line).with("value", name));
                }
                rest = tail;
            }
        }
    }
}

/// Ids of the values, or the labels of the other steps.
fn result_ids<'a>(parts: &Parts<'a>, of: &str) -> HashSet<&'a str> {
    let posts = parts.models.iter().flat_map(parts::Model::posts);
    let wanted = posts.filter(|entry| match of {
        "detections" => parts::finds(entry),
        "classes" => matches!(entry.key.as_str(), "classes" | "gallery"),
        _ => matches!(entry.key.as_str(), "values" | "segments" | "anomaly"),
    });
    let word = if of == "detections" { "objects" } else { of };
    let own = parts.own.iter().filter(|own| own.gives(word)).flat_map(|own| own.ids().map(|(id, ..)| id));
    wanted.flat_map(parts::ids).map(|(id, _)| id).chain(own).collect()
}

/// Bounds and choices fit the type, the default fits both.
fn parameter_rules(parameter: &Node, place: &str, faults: &mut Faults) {
    let Some(kind) = parameter.text_of("type") else { return };
    let numeric = matches!(kind, "integer" | "number");
    for key in ["min", "max"] {
        if let Some(bound) = parameter.get(key)
            && !numeric
        {
            faults.push(Fault::new("bounds-not-for-type", format!("{place}.{key}")).at(bound.line).with("value", kind));
        }
    }
    let choices = parameter.get("choices");
    match (kind == "choice", choices) {
        (true, None) => faults.push(Fault::new("choices-missing", format!("{place}.choices")).at(parameter.line)),
        (false, Some(list)) => {
            faults.push(Fault::new("choices-not-for-type", format!("{place}.choices")).at(list.line).with("value", kind));
        }
        _ => {}
    }
    let bound = |key: &str| parameter.get(key).and_then(Node::number);
    let (min, max) = (bound("min"), bound("max"));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        faults.push(Fault::new("min-over-max", format!("{place}.min")).at(parameter.line).with("min", min).with("max", max));
    }
    let Some(default) = parameter.get("default") else { return };
    let words = choices.map_or(&[][..], Node::items);
    let in_bounds = |n: f64| min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max);
    let fits = match kind {
        "integer" => default.integer().is_some(),
        "number" => default.number().is_some(),
        "boolean" => default.bool().is_some(),
        // A text must not look like a number or boolean: without quotes YAML reads it as one, and the form would show that.
        "string" | "choice" => default.number().is_none() && default.bool().is_none() && default.entries().is_empty(),
        _ => true,
    };
    if !fits {
        faults.push(Fault::new("default-type", format!("{place}.default")).at(default.line).with("value", kind));
    } else if (numeric && default.number().is_some_and(|n| !in_bounds(n)))
        || (kind == "choice" && !words.is_empty() && !words.iter().any(|word| word.text() == default.text()))
    {
        let shown = default.text().unwrap_or_default();
        faults.push(Fault::new("default-out-of-range", format!("{place}.default")).at(default.line).with("value", shown));
    }
}

/// Inputs have the extension of the input kind; truths name labels and values that exist.
fn golden(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    let input = root.text_of("input").unwrap_or_default();
    if parts.models.is_empty() || (parts.first && parts.models.iter().any(|model| model.post.is_none())) {
        return;
    }
    let sound = parts.models.iter().any(|model| model.pre.is_some_and(|pre| pre.get("sound").is_some()));
    let kind = if sound { "sound" } else { input };
    for (i, sample) in items(root, "golden") {
        if let Some(file) = sample.get("input")
            && let Some(path) = file.text()
            && matches!(input, "image" | "video" | "timeseries" | "tabular" | "audio")
            && !input_extensions(kind).contains(&extension(path).as_str())
        {
            let list = input_extensions(kind).join(", ");
            faults.push(Fault::new("file-extension", format!("golden[{i}].input")).at(file.line).with("value", path).with("list", list));
        }
        let Some(truth) = sample.get("truth") else { continue };
        if let Some(texts) = truth.get("texts")
            && !parts.models.iter().flat_map(parts::Model::posts).any(|post| post.key == "text")
            && !parts.own.iter().any(|own| own.gives("texts"))
        {
            faults.push(Fault::new("truth-texts", format!("golden[{i}].truth.texts")).at(texts.line));
        }
        let class = truth.get("class").and_then(|node| node.text().map(|text| (text, node.line)));
        let keys = |key: &str| truth.get(key).map_or(&[][..], Node::entries).iter().map(|entry| (entry.key.as_str(), entry.line));
        let named = [("class", "classes", class.into_iter().collect()), ("counts", "detections", keys("counts").collect::<Vec<_>>())];
        for (key, of, names) in named.into_iter().chain([("values", "values", keys("values").collect())]) {
            let known = result_ids(parts, of);
            for (name, line) in names {
                if !known.contains(name) {
                    faults.push(Fault::new("truth-unknown", format!("golden[{i}].truth.{key}")).at(line).with("value", name));
                }
            }
        }
    }
}
