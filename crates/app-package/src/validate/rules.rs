//! What spans several keys: names used twice, outputs and labels that must exist, shapes that must agree, defaults in bounds.
//!
//! Works on the tree, so that each fault has its line and faults elsewhere do not hide these. Silent where a part is missing or
//! has the wrong type: the walk along the table has told that already.

use std::collections::HashSet;

use super::Faults;
use super::schema::input_extensions;
use super::yaml::Node;
use crate::fault::Fault;
use crate::path::extension;

pub(super) fn check(root: &Node, faults: &mut Faults) {
    unique(root, "parameters", "name", faults);
    unique(root, "golden", "name", faults);
    if let Some(pipeline) = root.get("pipeline") {
        unique_in(pipeline, "pipeline.alarms", pipeline.get("alarms"), "id", faults);
        pre(root, pipeline, faults);
        post(root, pipeline, faults);
        alarms(pipeline, faults);
    }
    for (i, parameter) in items(root, "parameters") {
        parameter_rules(parameter, &format!("parameters[{i}]"), faults);
    }
    golden(root, faults);
}

fn items<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = (usize, &'a Node)> {
    node.get(key).map_or(&[][..], Node::items).iter().enumerate()
}

fn unique(root: &Node, list: &str, name: &str, faults: &mut Faults) {
    unique_in(root, list, root.get(list), name, faults);
}

fn unique_in(_: &Node, place: &str, list: Option<&Node>, name: &str, faults: &mut Faults) {
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

fn first<'a>(root: &'a Node, list: &str) -> Option<&'a Node> {
    root.get("models")?.items().first()?.get(list)?.items().first()
}

fn shape(tensor: &Node) -> Option<Vec<i64>> {
    tensor.get("shape")?.items().iter().map(Node::integer).collect()
}

/// The input kind, the pre-processing and the input tensor must agree.
fn pre(root: &Node, pipeline: &Node, faults: &mut Faults) {
    let Some([step]) = pipeline.get("pre").map(Node::entries) else { return };
    let input = root.text_of("input").unwrap_or_default();
    let wanted = match input {
        "image" => "image",
        "timeseries" | "audio" => "window",
        "tabular" => "columns",
        _ => "",
    };
    if !wanted.is_empty() && step.key != wanted && matches!(step.key.as_str(), "image" | "window" | "columns") {
        faults.push(Fault::new("pre-not-for-input", "pipeline.pre").at(step.line).with("value", input).with("hint", wanted));
        return;
    }
    let body = &step.value;
    let place = format!("pipeline.pre.{}", step.key);
    let count = |key: &str| body.get(key).map_or(0, |list| list.items().len());
    let word = |key: &str, default: &'static str| body.text_of(key).unwrap_or(default).to_owned();
    let size = |key: &str| body.get(key).and_then(Node::integer).unwrap_or(-1);
    let width = |n: usize| i64::try_from(n).unwrap_or(-1);
    let (channels, expected) = match step.key.as_str() {
        "image" => {
            let channels = if word("color", "rgb") == "gray" { 1 } else { 3 };
            let (w, h, c) = (size("width"), size("height"), width(channels));
            let expected = match word("layout", "nchw").as_str() {
                "nchw" => vec![1, c, h, w],
                "nhwc" => vec![1, h, w, c],
                _ => vec![1, h.saturating_mul(w).saturating_mul(c)],
            };
            (channels, expected)
        }
        "window" => {
            let columns = count("columns");
            let (n, c) = (size("length"), width(columns));
            let expected = match word("layout", "time-major").as_str() {
                "time-major" => vec![1, n, c],
                "channel-major" => vec![1, c, n],
                _ => vec![1, n.saturating_mul(c)],
            };
            (columns, expected)
        }
        _ => (count("names"), vec![1, width(count("names"))]),
    };
    for key in ["mean", "std"] {
        if let Some(list) = body.get(key)
            && !list.items().is_empty()
            && list.items().len() != channels
        {
            let fault = Fault::new("per-channel", format!("{place}.{key}")).at(list.line);
            faults.push(fault.with("value", list.items().len()).with("max", channels));
        }
    }
    let columns_key = if step.key == "columns" { "names" } else { "columns" };
    let mut seen = HashSet::new();
    for (i, column) in items(body, columns_key) {
        if column.text().is_some_and(|text| !seen.insert(text)) {
            let fault = Fault::new("duplicate-name", format!("{place}.{columns_key}[{i}]")).at(column.line);
            faults.push(fault.with("value", column.text().unwrap_or_default()));
        }
    }
    if input == "audio"
        && let Some(columns) = body.get("columns")
        && !(columns.items().len() == 1 && columns.items().first().and_then(Node::text) == Some("amplitude"))
    {
        faults.push(Fault::new("audio-column", format!("{place}.columns")).at(columns.line));
    }
    let Some(tensor) = first(root, "inputs") else { return };
    if let Some(datatype) = tensor.get("datatype")
        && datatype.text().is_some_and(|text| text != "FP32")
    {
        faults.push(Fault::new("input-datatype", "models[0].inputs[0].datatype").at(datatype.line));
    }
    let Some(found) = shape(tensor) else { return };
    let fits = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| *a == -1 || *b == -1 || a == b);
    if !fits {
        let line = tensor.get("shape").map_or(tensor.line, |node| node.line);
        faults.push(
            Fault::new("input-shape", "models[0].inputs[0].shape").at(line).with("value", join(&found)).with("hint", join(&expected)),
        );
    }
}

fn join(shape: &[i64]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// Every step names an output of the model whose shape has room for its labels; ids are used once.
fn post(root: &Node, pipeline: &Node, faults: &mut Faults) {
    let outputs = root.get("models").and_then(|m| m.items().first()).and_then(|m| m.get("outputs")).map_or(&[][..], Node::items);
    let mut values = HashSet::new();
    for (i, step) in items(pipeline, "post") {
        let [entry] = step.entries() else { continue };
        let place = format!("pipeline.post[{i}].{}", entry.key);
        let list_key = if entry.key == "values" { "items" } else { "labels" };
        let list = entry.value.get(list_key).map_or(&[][..], Node::items);
        let mut labels = HashSet::new();
        for (j, item) in list.iter().enumerate() {
            let Some(id) = item.get("id") else { continue };
            let Some(text) = id.text() else { continue };
            let new = if list_key == "items" { values.insert(text) } else { labels.insert(text) };
            if !new {
                faults.push(Fault::new("duplicate-name", format!("{place}.{list_key}[{j}].id")).at(id.line).with("value", text));
            }
        }
        let Some(output) = entry.value.get("output") else { continue };
        let Some(name) = output.text() else { continue };
        let Some(tensor) = outputs.iter().find(|tensor| tensor.text_of("name") == Some(name)) else {
            let known: Vec<_> = outputs.iter().filter_map(|tensor| tensor.text_of("name")).collect();
            faults.push(
                Fault::new("output-unknown", format!("{place}.output")).at(output.line).with("value", name).with("list", known.join(", ")),
            );
            continue;
        };
        if let Some(found) = shape(tensor)
            && !list.is_empty()
            && !has_room(&entry.key, &found, i64::try_from(list.len()).unwrap_or(i64::MAX))
        {
            let fault = Fault::new("labels-count", format!("{place}.{list_key}")).at(entry.line);
            faults.push(fault.with("value", list.len()).with("hint", join(&found)));
        }
    }
}

/// Dynamic dimensions (-1) always fit; a scalar or one-dimensional output is taken as the row itself.
fn has_room(step: &str, shape: &[i64], labels: i64) -> bool {
    let dim = |d: Option<&i64>, wanted: i64| d.is_none_or(|d| *d == -1 || *d == wanted);
    match step {
        "boxes" => shape.len() == 3 && dim(shape.last(), labels.saturating_add(5)),
        "grid" => shape.len() == 4 && dim(shape.get(1), labels),
        _ => {
            let fixed = shape.iter().filter(|d| **d != -1).fold(1_i64, |product, d| product.saturating_mul(*d));
            shape.last() == Some(&-1) || fixed == labels
        }
    }
}

/// Placeholders of alarm texts: `{place}`, `{label}`, `{value:ID}`.
fn alarms(pipeline: &Node, faults: &mut Faults) {
    let ids: HashSet<&str> = result_ids(pipeline, "values");
    for (i, alarm) in items(pipeline, "alarms") {
        for entry in alarm.get("text").map_or(&[][..], Node::entries) {
            let mut rest = entry.value.text().unwrap_or_default();
            while let Some((_, after)) = rest.split_once('{') {
                let Some((name, tail)) = after.split_once('}') else { break };
                let known = matches!(name, "place" | "label") || name.strip_prefix("value:").is_some_and(|id| ids.contains(id));
                if !known {
                    let place = format!("pipeline.alarms[{i}].text.{}", if entry.key == "zh" { "zh" } else { "en" });
                    faults.push(Fault::new("placeholder-unknown", place).at(entry.value.line).with("value", name));
                }
                rest = tail;
            }
        }
    }
}

/// Ids of the values, or the labels of the other steps.
fn result_ids<'a>(pipeline: &'a Node, of: &str) -> HashSet<&'a str> {
    let steps = pipeline.get("post").map_or(&[][..], Node::items).iter().filter_map(|step| step.entries().first());
    let wanted = steps.filter(|entry| match of {
        "detections" => entry.key == "boxes" || entry.key == "grid",
        kind => entry.key == kind,
    });
    let lists = wanted.filter_map(|entry| entry.value.get(if entry.key == "values" { "items" } else { "labels" }));
    lists.flat_map(Node::items).filter_map(|item| item.text_of("id")).collect()
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
fn golden(root: &Node, faults: &mut Faults) {
    let input = root.text_of("input").unwrap_or_default();
    let Some(pipeline) = root.get("pipeline") else { return };
    for (i, sample) in items(root, "golden") {
        if let Some(file) = sample.get("input")
            && let Some(path) = file.text()
            && matches!(input, "image" | "timeseries" | "tabular" | "audio")
            && !input_extensions(input).contains(&extension(path).as_str())
        {
            let list = input_extensions(input).join(", ");
            faults.push(Fault::new("file-extension", format!("golden[{i}].input")).at(file.line).with("value", path).with("list", list));
        }
        let Some(truth) = sample.get("truth") else { continue };
        let class = truth.get("class").and_then(|node| node.text().map(|text| (text, node.line)));
        let keys = |key: &str| truth.get(key).map_or(&[][..], Node::entries).iter().map(|entry| (entry.key.as_str(), entry.line));
        let named = [("class", "classes", class.into_iter().collect()), ("counts", "detections", keys("counts").collect::<Vec<_>>())];
        for (key, of, names) in named.into_iter().chain([("values", "values", keys("values").collect())]) {
            let known = result_ids(pipeline, of);
            for (name, line) in names {
                if !known.contains(name) {
                    faults.push(Fault::new("truth-unknown", format!("golden[{i}].truth.{key}")).at(line).with("value", name));
                }
            }
        }
    }
}
