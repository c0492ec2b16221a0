//! What spans several keys: names used twice, outputs and labels that must exist, shapes that must agree, defaults in bounds.
//!
//! Works on the tree, so that each fault has its line and faults elsewhere do not hide these. Silent where a part is missing or
//! has the wrong type: the walk along the table has told that already.

use std::collections::HashSet;

use super::Faults;
use super::schema::input_extensions;
use super::yaml::{Entry, Node};
use crate::fault::Fault;
use crate::path::extension;
use crate::pipeline::RowPart;

/// The parts of either format that these rules read, and the keys that lead to them.
struct Parts<'a> {
    model: Option<&'a Node>,
    model_key: &'static str,
    pre: Option<&'a Node>,
    pre_key: &'static str,
    post: Option<&'a Node>,
    post_key: &'static str,
    alarms: Option<&'a Node>,
    alarms_key: &'static str,
    /// Whether it is format 1.
    first: bool,
}

impl<'a> Parts<'a> {
    fn of(root: &'a Node) -> Self {
        if root.get("format").and_then(Node::integer) == Some(2) {
            let model = root.get("steps").and_then(|steps| steps.items().first()).and_then(|step| step.get("model"));
            return Self {
                model,
                model_key: "steps[0].model",
                pre: model.and_then(|model| model.get("pre")),
                pre_key: "steps[0].model.pre",
                post: model.and_then(|model| model.get("post")),
                post_key: "steps[0].model.post",
                alarms: root.get("alarms"),
                alarms_key: "alarms",
                first: false,
            };
        }
        let pipeline = root.get("pipeline");
        Self {
            model: root.get("models").and_then(|models| models.items().first()),
            model_key: "models[0]",
            pre: pipeline.and_then(|pipeline| pipeline.get("pre")),
            pre_key: "pipeline.pre",
            post: pipeline.and_then(|pipeline| pipeline.get("post")),
            post_key: "pipeline.post",
            alarms: pipeline.and_then(|pipeline| pipeline.get("alarms")),
            alarms_key: "pipeline.alarms",
            first: true,
        }
    }

    fn tensors(&self, list: &str) -> &'a [Node] {
        self.model.and_then(|model| model.get(list)).map_or(&[], Node::items)
    }

    /// The input that is prepared, by its place: the one that is named, else the only one that is not fed.
    fn main_input(&self) -> Option<(usize, &'a Node)> {
        let inputs = self.tensors("inputs").iter().enumerate();
        let (into, feed) = (self.model?.text_of("into"), self.model?.get("feed"));
        let mut left =
            inputs.filter(|(_, tensor)| tensor.text_of("name").is_none_or(|name| feed.is_none_or(|feed| feed.get(name).is_none())));
        match into {
            Some(name) => left.find(|(_, tensor)| tensor.text_of("name") == Some(name)),
            None => left.next().filter(|_| left.next().is_none()),
        }
    }
}

pub(super) fn check(root: &Node, faults: &mut Faults) {
    let parts = Parts::of(root);
    unique("parameters", root.get("parameters"), "name", faults);
    unique("golden", root.get("golden"), "name", faults);
    unique(parts.alarms_key, parts.alarms, "id", faults);
    pre(root, &parts, faults);
    feeds(&parts, faults);
    post(&parts, faults);
    alarms(&parts, faults);
    for (i, parameter) in items(root, "parameters") {
        parameter_rules(parameter, &format!("parameters[{i}]"), faults);
    }
    golden(root, &parts, faults);
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

fn shape(tensor: &Node) -> Option<Vec<i64>> {
    tensor.get("shape")?.items().iter().map(Node::integer).collect()
}

/// The input kind, the pre-processing and the input tensor must agree.
fn pre(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    let Some([step]) = parts.pre.map(Node::entries) else { return };
    let input = root.text_of("input").unwrap_or_default();
    let wanted = match input {
        "image" => "image",
        "timeseries" | "audio" => "window",
        "tabular" => "columns",
        _ => "",
    };
    if !wanted.is_empty() && step.key != wanted && matches!(step.key.as_str(), "image" | "window" | "columns") {
        faults.push(Fault::new("pre-not-for-input", parts.pre_key).at(step.line).with("value", input).with("hint", wanted));
        return;
    }
    let body = &step.value;
    let place = format!("{}.{}", parts.pre_key, step.key);
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
    for key in ["mean", "std", "fill"] {
        if let Some(list) = body.get(key)
            && !list.items().is_empty()
            && list.items().len() != channels
            && (key != "fill" || list.items().len() != 1)
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
    let Some((at, tensor)) = parts.main_input() else { return };
    let place = format!("{}.inputs[{at}]", parts.model_key);
    if parts.first
        && let Some(datatype) = tensor.get("datatype")
        && datatype.text().is_some_and(|text| text != "FP32")
    {
        faults.push(Fault::new("input-datatype", format!("{place}.datatype")).at(datatype.line));
    }
    let Some(found) = shape(tensor) else { return };
    let fits = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| *a == -1 || *b == -1 || a == b);
    if !fits {
        let line = tensor.get("shape").map_or(tensor.line, |node| node.line);
        let fault = Fault::new("input-shape", format!("{place}.shape")).at(line);
        faults.push(fault.with("value", join(&found)).with("hint", join(&expected)));
    }
}

/// Every input of the model is filled, by what is prepared or by `feed`, and nothing else is named.
fn feeds(parts: &Parts<'_>, faults: &mut Faults) {
    let (Some(model), false) = (parts.model, parts.first) else { return };
    let known: Vec<&str> = parts.tensors("inputs").iter().filter_map(|tensor| tensor.text_of("name")).collect();
    let fed = model.get("feed").map_or(&[][..], Node::entries);
    let named = fed.iter().map(|entry| ("feed", entry.key.as_str(), entry.line));
    let into = model.get("into").and_then(|node| Some(("into", node.text()?, node.line)));
    for (key, name, line) in named.chain(into).filter(|(_, name, _)| !known.contains(name)) {
        let fault = Fault::new("input-unknown", format!("{}.{key}", parts.model_key)).at(line);
        faults.push(fault.with("value", name).with("list", known.join(", ")));
    }
    let pictured = parts.pre.is_some_and(|pre| pre.get("image").is_some());
    for entry in fed.iter().filter(|entry| !pictured && entry.value.number().is_none() && entry.value.items().is_empty()) {
        let word = entry.value.text().unwrap_or_default();
        faults.push(Fault::new("feed-needs-picture", format!("{}.feed", parts.model_key)).at(entry.line).with("value", word));
    }
    let main = parts.main_input().and_then(|(_, tensor)| tensor.text_of("name"));
    let left: Vec<&str> = known.into_iter().filter(|name| Some(*name) != main && !fed.iter().any(|entry| entry.key == *name)).collect();
    if !left.is_empty() {
        let line = model.get("inputs").map_or(model.line, |node| node.line);
        faults.push(Fault::new("input-unfed", format!("{}.inputs", parts.model_key)).at(line).with("list", left.join(", ")));
    }
}

fn join(shape: &[i64]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// Every step names an output of the model whose shape has room for its labels; ids are used once.
fn post(parts: &Parts<'_>, faults: &mut Faults) {
    let outputs = parts.tensors("outputs");
    let mut values = HashSet::new();
    for (i, step) in parts.post.map_or(&[][..], Node::items).iter().enumerate() {
        let [entry] = step.entries() else { continue };
        let place = format!("{}[{i}].{}", parts.post_key, entry.key);
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
        let beside =
            entry.value.get("beside").map_or(&[][..], Node::entries).iter().map(|entry| (format!("beside.{}", entry.key), &entry.value));
        let mut unknown = false;
        for (key, output) in entry.value.get("output").map(|node| ("output".to_owned(), node)).into_iter().chain(beside) {
            let Some(name) = output.text() else { continue };
            if outputs.iter().all(|tensor| tensor.text_of("name") != Some(name)) {
                unknown = true;
                let known: Vec<_> = outputs.iter().filter_map(|tensor| tensor.text_of("name")).collect();
                let fault = Fault::new("output-unknown", format!("{place}.{key}")).at(output.line);
                faults.push(fault.with("value", name).with("list", known.join(", ")));
            }
        }
        row(&entry.value, &place, faults);
        let tensor =
            outputs.iter().find(|tensor| tensor.text_of("name").is_some() && tensor.text_of("name") == entry.value.text_of("output"));
        if let Some(found) = tensor.and_then(shape)
            && !unknown
            && !list.is_empty()
            && !has_room(entry, &found, list.len(), parts.first)
        {
            let fault = Fault::new("labels-count", format!("{place}.{list_key}")).at(entry.line);
            faults.push(fault.with("value", list.len()).with("hint", join(&found)));
        }
    }
}

/// A row of boxes has all that makes an object, once.
fn row(boxes: &Node, place: &str, faults: &mut Faults) {
    let Some(list) = boxes.get("row") else { return };
    let parts: Vec<RowPart> = list.items().iter().filter_map(|part| part.text()?.parse().ok()).collect();
    if parts.len() != list.items().len() {
        return;
    }
    let beside = |key: &str| usize::from(boxes.get("beside").is_some_and(|beside| beside.get(key).is_some()));
    let count = |wanted: RowPart, key: &str| parts.iter().filter(|part| **part == wanted).count() + beside(key);
    let (scores, score, class) = (count(RowPart::Scores, "scores"), count(RowPart::Score, "score"), count(RowPart::Class, "class"));
    let whole = count(RowPart::Box, "") == 1
        && count(RowPart::Objectness, "") <= 1
        && matches!((scores, score, class), (1, 0, 0) | (0, 1, 0 | 1))
        && (class == 1 || scores == 1 || boxes.get("labels").is_none_or(|labels| labels.items().len() == 1));
    if !whole {
        let words: Vec<String> = parts.iter().map(ToString::to_string).collect();
        faults.push(Fault::new("row-incomplete", format!("{place}.row")).at(list.line).with("value", words.join(", ")));
    }
}

/// Numbers in a row of boxes of format 2; `None` where it is not understood.
fn row_width(boxes: &Node, labels: usize) -> Option<usize> {
    let classes = labels + usize::from(matches!(boxes.text_of("background"), Some("first" | "last")));
    let width = |part: &Node| {
        Some(match part.text()?.parse::<RowPart>().ok()? {
            RowPart::Box => 4,
            RowPart::Scores => classes,
            RowPart::Objectness | RowPart::Score | RowPart::Class => 1,
            RowPart::Skip(n) => usize::from(n),
        })
    };
    boxes.get("row")?.items().iter().map(width).sum()
}

/// Dynamic dimensions (-1) always fit; a scalar or one-dimensional output is taken as the row itself. In format 2 an output of another number
/// of dimensions fits, too: files lie about it, and what the model really gives is seen when it runs.
fn has_room(step: &Entry, shape: &[i64], labels: usize, first: bool) -> bool {
    let dim = |d: Option<&i64>, wanted: usize| d.is_none_or(|d| *d == -1 || i64::try_from(wanted) == Ok(*d));
    let dims = |n: usize| if first { shape.len() == n } else { true };
    match step.key.as_str() {
        "boxes" if !first && shape.len() == 3 => {
            let at = if step.value.text_of("layout") == Some("columns") { shape.get(1) } else { shape.last() };
            row_width(&step.value, labels).is_none_or(|width| dim(at, width))
        }
        "boxes" => dims(3) && (!first || dim(shape.last(), labels.saturating_add(5))),
        "grid" => dims(4) && (shape.len() != 4 || dim(shape.get(1), labels)),
        _ => {
            let fixed = shape.iter().filter(|d| **d != -1).fold(1_i64, |product, d| product.saturating_mul(*d));
            shape.last() == Some(&-1) || i64::try_from(labels) == Ok(fixed) || (!first && shape.contains(&-1))
        }
    }
}

/// Placeholders of alarm texts: `{place}`, `{label}`, `{value:ID}`.
fn alarms(parts: &Parts<'_>, faults: &mut Faults) {
    let ids: HashSet<&str> = result_ids(parts, "values");
    for (i, alarm) in parts.alarms.map_or(&[][..], Node::items).iter().enumerate() {
        for entry in alarm.get("text").map_or(&[][..], Node::entries) {
            let mut rest = entry.value.text().unwrap_or_default();
            while let Some((_, after)) = rest.split_once('{') {
                let Some((name, tail)) = after.split_once('}') else { break };
                let known = matches!(name, "place" | "label") || name.strip_prefix("value:").is_some_and(|id| ids.contains(id));
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
    let steps = parts.post.map_or(&[][..], Node::items).iter().filter_map(|step| step.entries().first());
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
fn golden(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    let input = root.text_of("input").unwrap_or_default();
    if parts.post.is_none() {
        return;
    }
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
            let known = result_ids(parts, of);
            for (name, line) in names {
                if !known.contains(name) {
                    faults.push(Fault::new("truth-unknown", format!("golden[{i}].truth.{key}")).at(line).with("value", name));
                }
            }
        }
    }
}
