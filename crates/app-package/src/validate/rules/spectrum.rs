//! The numbers of a spectrum fit each other, and what it makes is bounded.

use super::super::Faults;
use super::super::yaml::{Entry, Node};
use super::items;
use crate::fault::Fault;

/// Most samples that all transforms of a window see together.
const MAX_WORK: i64 = 1 << 26;
/// Most numbers of a tensor.
const MAX_NUMBERS: i64 = 1 << 22;

/// The shape of the tensor of a step that makes spectra, as far as its numbers are there; -1 where they are not.
pub(super) fn check(step: &Entry, place: &str, faults: &mut Faults) -> Option<Vec<i64>> {
    let node = step.value.get("spectrum")?;
    let place = format!("{place}.spectrum");
    let number = |key: &str| node.get(key).and_then(Node::integer);
    let sound = step.key == "sound";
    let given = node.get("rate");
    let rate = if sound { step.value.get("rate") } else { given };
    match given {
        Some(rate) if sound => faults.push(Fault::new("spectrum-rate-twice", format!("{place}.rate")).at(rate.line)),
        None if !sound => faults.push(Fault::new("missing-key", &place).at(node.line).with("value", "rate")),
        _ => {}
    }
    if let (Some(mel), true) = (node.get("mel"), node.get("bands").is_some_and(|bands| !bands.items().is_empty())) {
        faults.push(Fault::new("spectrum-bands-twice", format!("{place}.mel")).at(mel.line));
    }
    let fft = number("fft")?;
    let frame = number("frame").unwrap_or(fft);
    at_most(node, "frame", &place, fft, faults);
    let bands = items(node, "bands").map(|(i, band)| (format!("{place}.bands[{i}]"), band));
    let others = ["envelope", "mel"].into_iter().filter_map(|key| Some((format!("{place}.{key}"), node.get(key)?)));
    for (place, band) in bands.chain(others) {
        ordered(band, &place, rate.and_then(Node::number), faults);
    }
    let columns = if sound { 1 } else { step.value.get("columns").map_or(1, |list| count(list.items().len())) };
    let layout = node.text_of("layout").unwrap_or("ntf");
    if columns != 1 && matches!(layout, "ntf" | "nft") {
        let line = node.get("layout").map_or(node.line, |layout| layout.line);
        faults.push(Fault::new("spectrum-columns", format!("{place}.layout")).at(line).with("value", columns));
        return None;
    }
    let width = match (node.get("mel"), node.get("bands").map_or(0, |bands| bands.items().len())) {
        (Some(mel), _) => mel.get("bands").and_then(Node::integer)?,
        (None, 0) => fft / 2 + 1,
        (None, bands) => count(bands),
    };
    for key in ["mean", "std"] {
        if let Some(list) = node.get(key)
            && !matches!(list.items().len(), 0 | 1)
            && count(list.items().len()) != width
        {
            let fault = Fault::new("spectrum-per-band", format!("{place}.{key}")).at(list.line);
            faults.push(fault.with("value", list.items().len()).with("max", width));
        }
    }
    let size = |key: &str| step.value.get(key).and_then(Node::integer);
    let samples = size("length")?.saturating_add(if sound { size("context").unwrap_or(0) } else { 0 });
    let padded = !matches!(node.text_of("pad"), None | Some("none"));
    if !padded && samples < frame {
        let line = node.get("frame").or(node.get("fft")).map_or(node.line, |node| node.line);
        faults.push(Fault::new("spectrum-too-short", &place).at(line).with("value", samples).with("min", frame));
        return None;
    }
    let hop = number("hop").unwrap_or(frame / 2).max(1);
    let transforms = if padded { samples } else { samples - frame } / hop + 1;
    let frames = if node.get("average").and_then(Node::bool) == Some(true) { 1 } else { transforms };
    let numbers = columns.saturating_mul(frames).saturating_mul(width);
    let work = columns.saturating_mul(transforms).saturating_mul(fft);
    if work > MAX_WORK || numbers > MAX_NUMBERS {
        faults.push(Fault::new("spectrum-too-large", &place).at(node.line).with("value", transforms).with("max", MAX_WORK));
        return None;
    }
    Some(match layout {
        "ntf" => vec![1, frames, width],
        "nft" => vec![1, width, frames],
        "nctf" => vec![1, columns, frames, width],
        "ncft" => vec![1, columns, width, frames],
        _ => vec![1, numbers],
    })
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn at_most(node: &Node, key: &str, place: &str, most: i64, faults: &mut Faults) {
    if let Some(value) = node.get(key)
        && let Some(number) = value.integer()
        && number > most
    {
        let fault = Fault::new("out-of-range", format!("{place}.{key}")).at(value.line);
        faults.push(fault.with("value", number).with("min", 1).with("max", most));
    }
}

/// A band's ends are in order, and no higher than half the rate.
fn ordered(band: &Node, place: &str, rate: Option<f64>, faults: &mut Faults) {
    let end = |key: &str| band.get(key).and_then(Node::number);
    let most = rate.map(|rate| rate / 2.0);
    let (low, high) = (end("low").unwrap_or(0.0), end("high").or(most));
    if let (Some(high), Some(most)) = (end("high"), most)
        && high > most
    {
        let line = band.get("high").map_or(band.line, |node| node.line);
        let fault = Fault::new("out-of-range", format!("{place}.high")).at(line);
        faults.push(fault.with("value", high).with("min", 0).with("max", most));
    } else if let Some(high) = high
        && low >= high
    {
        faults.push(Fault::new("range-order", place).at(band.line).with("min", low).with("max", high));
    }
}
