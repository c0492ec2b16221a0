//! Each model's input, its other inputs and its outputs agree with what leads to them and from them.

use std::collections::HashSet;

use super::super::Faults;
use super::super::yaml::{Entry, Node};
use super::parts::{Model, Parts, ids};
use super::{items, objects, spectrum};
use crate::fault::Fault;
use crate::pipeline::{Look, RowLayout, RowPart, looks};

/// Most models of an app.
const MAX_MODELS: usize = 6;

pub(super) fn check(root: &Node, parts: &Parts<'_>, faults: &mut Faults) {
    if let Some(model) = parts.models.get(MAX_MODELS) {
        let line = model.node.map_or(1, |node| node.line);
        faults.push(Fault::new("too-many-models", &model.key).at(line).with("max", MAX_MODELS));
    }
    let mut names: HashSet<&str> = parts.own.iter().filter_map(|own| own.node.text_of("name")).collect();
    for model in &parts.models {
        if let Some(name) = model.get("name")
            && let Some(text) = name.text()
            && !names.insert(text)
        {
            faults.push(Fault::new("duplicate-name", format!("{}.name", model.key)).at(name.line).with("value", text));
        }
        pre(root, parts, model, faults);
        feeds(root, parts, model, faults);
        objects::of(parts, model, faults);
        tiles(model, faults);
        for (key, outside) in [("context", "length"), ("hop", "length")] {
            let sound = model.pre.and_then(|pre| pre.get("sound"));
            let number = |key: &str| sound.and_then(|sound| sound.get(key)).and_then(Node::integer);
            if let (Some(node), Some(n), Some(most)) = (sound.and_then(|sound| sound.get(key)), number(key), number(outside))
                && n > most
            {
                let fault = Fault::new("out-of-range", format!("{}.sound.{key}", model.pre_key)).at(node.line);
                faults.push(fault.with("value", n).with("min", i64::from(key == "hop")).with("max", most));
            }
        }
    }
    // Ids of values are one name space, across steps.
    let mut values: HashSet<&str> =
        parts.own.iter().filter(|own| own.gives("values")).flat_map(|own| own.ids().map(|(id, ..)| id)).collect();
    for model in &parts.models {
        post(parts, model, &mut values, faults);
    }
}

/// Tiles are of whole pictures, for boxes that stand upright; a window of numbers has a lower end and an upper one.
fn tiles(model: &Model<'_>, faults: &mut Faults) {
    let Some(image) = model.pre.and_then(|pre| pre.get("image")) else { return };
    if let Some(window) = image.get("window")
        && let [low, high] = window.items()
        && let (Some(low), Some(high)) = (low.number(), high.number())
        && low >= high
    {
        let fault = Fault::new("range-order", format!("{}.image.window", model.pre_key)).at(window.line);
        faults.push(fault.with("min", low).with("max", high));
    }
    let Some(tiles) = image.get("tiles") else { return };
    let boxes = |entry: &Entry| {
        let turned = items(&entry.value, "row").any(|(_, part)| part.text() == Some("angle"));
        entry.key == "boxes" && !turned
    };
    if model.get("of").is_some() || model.posts().count() != 1 || !model.posts().all(boxes) {
        faults.push(Fault::new("tiles-need-boxes", format!("{}.image.tiles", model.pre_key)).at(tiles.line));
    }
}

fn shape(tensor: &Node) -> Option<Vec<i64>> {
    tensor.get("shape")?.items().iter().map(Node::integer).collect()
}

/// The input kind, the pre-processing and the input tensor must agree.
fn pre(root: &Node, parts: &Parts<'_>, model: &Model<'_>, faults: &mut Faults) {
    let Some([step]) = model.pre.map(Node::entries) else { return };
    let input = root.text_of("input").unwrap_or_default();
    let wanted = match input {
        "video" if step.key == "clip" => "clip",
        "image" | "video" => "image",
        "audio" if step.key == "sound" => "sound",
        "timeseries" | "audio" => "window",
        "tabular" => "columns",
        _ => "",
    };
    if !wanted.is_empty() && step.key != wanted && matches!(step.key.as_str(), "image" | "window" | "columns" | "sound" | "clip") {
        faults.push(Fault::new("pre-not-for-input", &model.pre_key).at(step.line).with("value", input).with("hint", wanted));
        return;
    }
    // A clip is made of pictures.
    let frames = if step.key == "clip" { step.value.get("frames").and_then(Node::integer) } else { None };
    let (body, place) = match step.value.get("image").filter(|_| step.key == "clip") {
        Some(image) => (image, format!("{}.clip.image", model.pre_key)),
        None => (&step.value, format!("{}.{}", model.pre_key, step.key)),
    };
    let count = |key: &str| body.get(key).map_or(0, |list| list.items().len());
    let word = |key: &str, default: &'static str| body.text_of(key).unwrap_or(default).to_owned();
    let size = |key: &str| body.get(key).and_then(Node::integer).unwrap_or(-1);
    let width = |n: usize| i64::try_from(n).unwrap_or(-1);
    let (channels, mut expected) = match step.key.as_str() {
        "image" | "clip" => {
            let channels = if word("color", "rgb") == "gray" { 1 } else { 3 };
            let (w, h, c) = (size("width"), size("height"), width(channels));
            let (w, h) = match word("fit", "stretch").as_str() {
                "pad" => (-1, h),
                "multiple" => (-1, -1),
                _ => (w, h),
            };
            let expected = match word("layout", "nchw").as_str() {
                "nchw" => vec![1, c, h, w],
                "nhwc" => vec![1, h, w, c],
                _ if w < 0 || h < 0 => vec![1, -1],
                _ => vec![1, h.saturating_mul(w).saturating_mul(c)],
            };
            let expected = match (frames, step.value.text_of("layout")) {
                (Some(n), Some("ntchw")) => vec![1, n, c, h, w],
                (Some(n), _) => vec![1, c, n, h, w],
                (None, _) => expected,
            };
            (channels, expected)
        }
        "window" | "sound" if body.get("spectrum").is_some() => {
            let columns = if step.key == "window" { count("columns") } else { 1 };
            // The default is what the JSON of a package has.
            if let Some(layout) = body.get("layout").filter(|layout| layout.text() != Some("time-major")) {
                faults.push(Fault::new("spectrum-layout", format!("{place}.layout")).at(layout.line));
            }
            (columns, spectrum::check(step, &place, faults).unwrap_or_default())
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
        "sound" => {
            let samples = size("length").saturating_add(size("context").max(0));
            (1, vec![1, if size("length") < 0 { -1 } else { samples }])
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
        let name = column_name(column);
        if name.is_some_and(|text| !seen.insert(text)) {
            let fault = Fault::new("duplicate-name", format!("{place}.{columns_key}[{i}]")).at(column.line);
            faults.push(fault.with("value", name.unwrap_or_default()));
        }
        cells(column, step, &format!("{place}.{columns_key}[{i}]"), faults);
    }
    if input == "audio"
        && let Some(columns) = body.get("columns")
        && !(columns.items().len() == 1 && columns.items().first().and_then(Node::text) == Some("amplitude"))
    {
        faults.push(Fault::new("audio-column", format!("{place}.columns")).at(columns.line));
    }
    if body.get("each").and_then(Node::bool) == Some(true) {
        return;
    }
    let Some((at, tensor)) = model.main_input() else { return };
    let place = format!("{}.inputs[{at}]", model.key);
    if parts.first
        && let Some(datatype) = tensor.get("datatype")
        && datatype.text().is_some_and(|text| text != "FP32")
    {
        faults.push(Fault::new("input-datatype", format!("{place}.datatype")).at(datatype.line));
    }
    let Some(found) = shape(tensor) else { return };
    // What could not be understood has been told.
    if expected.is_empty() {
        return;
    }
    // Sound may be a row without a dimension for the batch.
    let expected = if step.key == "sound" && found.len() == 1 && body.get("spectrum").is_none() { expected.split_off(1) } else { expected };
    let fits = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| *a == -1 || *b == -1 || a == b);
    if !fits {
        let line = tensor.get("shape").map_or(tensor.line, |node| node.line);
        let fault = Fault::new("input-shape", format!("{place}.shape")).at(line);
        faults.push(fault.with("value", join(&found)).with("hint", join(&expected)));
    }
}

/// The name of a column, which is all of it, or a field.
fn column_name(column: &Node) -> Option<&str> {
    column.text().or_else(|| column.text_of("name"))
}

/// What stands for an empty cell fits the column's type, and where the column is read.
fn cells(column: &Node, step: &Entry, place: &str, faults: &mut Faults) {
    let each = step.value.get("each").and_then(Node::bool) == Some(true);
    let is_text = column.text_of("type") == Some("text");
    if is_text && !each {
        faults.push(Fault::new("column-text", format!("{place}.type")).at(column.line));
    }
    let Some(missing) = column.get("missing") else { return };
    let fits = match missing.text() {
        Some("refuse") => true,
        Some("empty") => is_text,
        Some("last") => step.key == "window",
        _ => !is_text,
    };
    if !fits {
        let words = if is_text {
            "refuse, empty"
        } else if step.key == "window" {
            "refuse, nan, last"
        } else {
            "refuse, nan"
        };
        let fault = Fault::new("column-missing", format!("{place}.missing")).at(missing.line);
        faults.push(fault.with("value", missing.text().unwrap_or_default()).with("list", words));
    }
}

/// Every input of the model is filled, by what is prepared, by `feed` or by `state`, and nothing else is named.
fn feeds(root: &Node, parts: &Parts<'_>, model: &Model<'_>, faults: &mut Faults) {
    if parts.first || model.node.is_none() {
        return;
    }
    let known = model.names("inputs");
    let outputs = model.names("outputs");
    let fed = model.get("feed").map_or(&[][..], Node::entries);
    let carried = model.get("state").map_or(&[][..], Node::items);
    let (input, output) = (("input-unknown", &known), ("output-unknown", &outputs));
    let mut named: Vec<_> = fed.iter().map(|entry| ("feed", entry.key.as_str(), entry.line, input)).collect();
    named.extend(model.get("into").and_then(|node| Some(("into", node.text()?, node.line, input))));
    for pair in carried {
        named.extend(pair.get("in").and_then(|node| Some(("state", node.text()?, node.line, input))));
        named.extend(pair.get("out").and_then(|node| Some(("state", node.text()?, node.line, output))));
    }
    for (key, name, line, (code, list)) in named.into_iter().filter(|(_, name, _, (_, list))| !list.contains(name)) {
        let fault = Fault::new(code, format!("{}.{key}", model.key)).at(line);
        faults.push(fault.with("value", name).with("list", list.join(", ")));
    }
    let reads = |kind: &str| model.pre.is_some_and(|pre| pre.get(kind).is_some());
    for entry in fed.iter().filter(|entry| entry.value.number().is_none() && entry.value.items().is_empty()) {
        let word = entry.value.text().unwrap_or_default();
        let (needed, code) = if word == "sample-rate" { ("sound", "feed-needs-sound") } else { ("image", "feed-needs-picture") };
        if !reads(needed) {
            faults.push(Fault::new(code, format!("{}.feed", model.key)).at(entry.line).with("value", word));
        }
    }
    let tiled = model.pre.and_then(|pre| pre.get("image")).is_some_and(|image| image.get("tiles").is_some());
    let frames = root.text_of("input") == Some("video") && !tiled && model.get("of").is_none();
    if let Some(state) = model.get("state").filter(|state| !state.items().is_empty() && !reads("sound") && !frames) {
        faults.push(Fault::new("state-needs-sequence", format!("{}.state", model.key)).at(state.line));
    }
    let main = model.main_input().and_then(|(_, tensor)| tensor.text_of("name"));
    let columns = model.pre.and_then(|pre| pre.get("columns")).filter(|body| body.get("each").and_then(Node::bool) == Some(true));
    let names: Option<HashSet<&str>> = columns.map(|body| items(body, "names").filter_map(|(_, column)| column_name(column)).collect());
    let filled = |name: &str| names.as_ref().map_or(Some(name) == main, |names| names.contains(name));
    let left: Vec<&str> = known.iter().copied().filter(|name| !filled(name) && !model.is_fed(name)).collect();
    if !left.is_empty() {
        let line = model.get("inputs").map_or(0, |node| node.line);
        faults.push(Fault::new("input-unfed", format!("{}.inputs", model.key)).at(line).with("list", left.join(", ")));
    }
    if let (Some(body), Some(names)) = (columns, names) {
        let mut lost: Vec<&str> = names.into_iter().filter(|name| !known.contains(name)).collect();
        lost.sort_unstable();
        for name in lost {
            let fault = Fault::new("input-unknown", format!("{}.columns.names", model.pre_key)).at(body.line);
            faults.push(fault.with("value", name).with("list", known.join(", ")));
        }
    }
}

fn join(shape: &[i64]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// Every step names an output of the model whose shape has room for its labels; ids are used once.
fn post<'a>(parts: &Parts<'_>, model: &Model<'a>, values: &mut HashSet<&'a str>, faults: &mut Faults) {
    let known = model.names("outputs");
    for (i, step) in model.post.map_or(&[][..], Node::items).iter().enumerate() {
        let [entry] = step.entries() else { continue };
        let place = format!("{}[{i}].{}", model.post_key, entry.key);
        let mut labels = HashSet::new();
        for (id, (key, line)) in ids(entry) {
            let twice = match entry.key.as_str() {
                "values" => !values.insert(id),
                // The share of each label is a value, too.
                "segments" | "anomaly" => !values.insert(id) || !labels.insert(id),
                _ => !labels.insert(id),
            };
            if twice {
                faults.push(Fault::new("duplicate-name", format!("{place}.{key}")).at(line).with("value", id));
            }
        }
        let beside = entry.value.get("beside").map_or(&[][..], Node::entries);
        let beside = beside.iter().map(|entry| (format!("beside.{}", entry.key), &entry.value));
        let named = ["output", "map", "reconstruction", "prototypes"].into_iter();
        let named = named.filter_map(|key| Some((key.to_owned(), entry.value.get(key)?)));
        let mut unknown = false;
        for (key, output) in named.chain(beside) {
            let Some(name) = output.text() else { continue };
            if !known.contains(&name) {
                unknown = true;
                let fault = Fault::new("output-unknown", format!("{place}.{key}")).at(output.line);
                faults.push(fault.with("value", name).with("list", known.join(", ")));
            }
        }
        row(&entry.value, &place, faults);
        if entry.key == "anomaly" && ["output", "map", "reconstruction"].iter().all(|key| entry.value.get(key).is_none()) {
            faults.push(Fault::new("anomaly-source", &place).at(entry.line));
        }
        let output = entry.value.text_of("output");
        let tensor = model.tensors("outputs").iter().find(|tensor| tensor.text_of("name").is_some() && tensor.text_of("name") == output);
        let list_key = if entry.key == "values" { "items" } else { "labels" };
        let list = entry.value.get(list_key).map_or(&[][..], Node::items);
        if let Some(found) = tensor.and_then(shape)
            && !unknown
            && !list.is_empty()
            && !has_room(entry, &found, list, parts.first)
        {
            let readings = if entry.key == "boxes" { readings(&entry.value, &found, list.len(), parts.first) } else { String::new() };
            let code = match (readings.is_empty(), parts.first) {
                (true, _) => "labels-count",
                (false, true) => "boxes-format",
                (false, false) => "boxes-row",
            };
            let fault = Fault::new(code, format!("{place}.{list_key}")).at(entry.line);
            let mut fault = fault.with("value", list.len()).with("hint", join(&found));
            // Ours, and to be copied: neither shortened nor translated.
            fault.args.insert("keys", readings);
            faults.push(fault);
        }
    }
}

/// What may be written for the boxes of a tensor of this shape, with who exports such ones.
fn readings(boxes: &Node, shape: &[i64], labels: usize, first: bool) -> String {
    let [.., a, b] = shape else { return String::new() };
    // No family has a width of 0, so what is dynamic fits none.
    let plane = [a, b].map(|side| usize::try_from(*side).unwrap_or(0));
    let classes = labels + usize::from(matches!(boxes.text_of("background"), Some("first" | "last")));
    let (layout, width) = match boxes.text_of("layout") {
        _ if first => (RowLayout::Rows, labels.saturating_add(5)),
        Some("columns") => (RowLayout::Columns, row_width(boxes, labels).unwrap_or(0)),
        _ => (RowLayout::Rows, row_width(boxes, labels).unwrap_or(0)),
    };
    let text = |look: Look| if look.family.is_empty() { look.keys } else { format!("{} ({})", look.keys, look.family) };
    looks(classes, layout, width, plane).into_iter().map(text).collect::<Vec<_>>().join("; ")
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
    let masks = parts.iter().any(|part| matches!(part, RowPart::Masks(_)));
    let turned = parts.contains(&RowPart::Angle);
    let needs = [
        ("prototypes", boxes.get("prototypes").is_some() != masks),
        ("keypoints", boxes.get("keypoints").is_some() != parts.contains(&RowPart::Keypoints)),
        // Of corners it would not be known which box was turned.
        ("box: cxcywh", turned && !matches!(boxes.text_of("box"), None | Some("cxcywh"))),
    ];
    for (key, _) in needs.iter().filter(|(_, lacking)| *lacking) {
        faults.push(Fault::new("row-needs", format!("{place}.row")).at(list.line).with("value", key));
    }
}

/// Numbers in a row of boxes of format 2; `None` where it is not understood.
fn row_width(boxes: &Node, labels: usize) -> Option<usize> {
    let classes = labels + usize::from(matches!(boxes.text_of("background"), Some("first" | "last")));
    let width = |part: &Node| {
        Some(match part.text()?.parse::<RowPart>().ok()? {
            RowPart::Box => 4,
            RowPart::Scores => classes,
            RowPart::Objectness | RowPart::Score | RowPart::Class | RowPart::Angle => 1,
            RowPart::Keypoints => {
                let (names, dims) = (boxes.get("keypoints")?.get("names")?.items().len(), boxes.get("keypoints")?.get("dims")?.integer()?);
                names.checked_mul(usize::try_from(dims).ok()?)?
            }
            RowPart::Masks(n) | RowPart::Skip(n) => usize::from(n),
        })
    };
    match boxes.get("row").map_or(&[][..], Node::items) {
        // The row of format 1: box, objectness, scores.
        [] => Some(classes.saturating_add(5)),
        row => row.iter().map(width).sum(),
    }
}

/// Dynamic dimensions (-1) always fit; a scalar or one-dimensional output is taken as the row itself. In format 2 an output of another number
/// of dimensions fits, too: files lie about it, and what the model really gives is seen when it runs.
fn has_room(step: &Entry, shape: &[i64], list: &[Node], first: bool) -> bool {
    let labels = list.len();
    let dim = |d: Option<&i64>, wanted: usize| d.is_none_or(|d| *d == -1 || i64::try_from(wanted) == Ok(*d));
    let dims = |n: usize| if first { shape.len() == n } else { true };
    match step.key.as_str() {
        "boxes" if !first && shape.len() == 3 => {
            let at = if step.value.text_of("layout") == Some("columns") { shape.get(1) } else { shape.last() };
            row_width(&step.value, labels).is_none_or(|width| dim(at, width))
        }
        "boxes" => dims(3) && (!first || dim(shape.last(), labels.saturating_add(5))),
        "segments" => {
            let classes = labels + usize::from(matches!(step.value.text_of("background"), Some("first" | "last")));
            let at = if step.value.text_of("layout") == Some("nhwc") { shape.last() } else { shape.get(1) };
            shape.len() != 4 || at == Some(&1) || dim(at, classes)
        }
        // What is compared is a vector, of any length; items with a place say where they are.
        "gallery" => true,
        "values" if list.iter().any(|item| item.get("at").is_some()) => true,
        "grid" => dims(4) && (shape.len() != 4 || dim(shape.get(1), labels)),
        _ => {
            let fixed = shape.iter().filter(|d| **d != -1).fold(1_i64, |product, d| product.saturating_mul(*d));
            shape.last() == Some(&-1) || i64::try_from(labels) == Ok(fixed) || (!first && shape.contains(&-1))
        }
    }
}
