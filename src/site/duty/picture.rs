//! What an alarm's app saw, as a drawing: its boxes over the picture that came with it, or on a plain ground where none did, and all that it said
//! in words.

use serde_json::Value;

use crate::alarm_management::board::{Entry, Origin};

/// Most boxes that are drawn, and most findings that are said, of one alarm.
const MOST: usize = 40;
/// Largest coordinate that is drawn: far above any camera's picture.
const MAX_SIDE: f64 = 100_000.0;

/// A box with its label, in pixels of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub label: String,
    /// Where its label begins.
    pub text_y: f64,
}

/// The drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub width: f64,
    pub height: f64,
    /// Size of the labels.
    pub text: f64,
    pub shapes: Vec<Shape>,
    /// Address of the picture below the boxes; empty where there is none.
    pub image: String,
}

/// Address of the small picture of an alarm.
pub fn address(alarm_id: &str) -> String {
    format!("/duty/alarms/{alarm_id}/picture")
}

impl Picture {
    /// Of an alarm; none where it has neither a picture nor boxes.
    pub fn of(entry: &Entry) -> Option<Self> {
        let Origin::App(line) = &entry.origin else { return None };
        let result: Value = serde_json::from_str(&line.alarm.result).unwrap_or_default();
        let Some(picture) = &entry.picture else { return Self::drawn(&result) };
        // Sizes are at most 100,000, so each is a float without loss.
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (width, height) = (picture.width as f64, picture.height as f64);
        Some(Self { image: address(&entry.id), ..Self::sized(boxes(&result), width, height) })
    }

    /// Of a result in the shape of the node's local API, without a picture; none where it has no boxes. The size of the source picture is not in
    /// the result, so the ground is as large as the boxes need, at 4 by 3 or wider.
    fn drawn(result: &Value) -> Option<Self> {
        let boxes = boxes(result);
        if boxes.is_empty() {
            return None;
        }
        let most =
            |side: usize| boxes.iter().map(move |(_, b)| b.get(side).copied().unwrap_or(0.0) + b.get(side + 2).copied().unwrap_or(0.0));
        let (right, bottom) = (most(0).fold(1.0, f64::max) * 1.06, most(1).fold(1.0, f64::max) * 1.06);
        let width = right.max(bottom * 4.0 / 3.0).ceil();
        let height = bottom.max(width * 9.0 / 16.0).ceil();
        Some(Self::sized(boxes, width, height))
    }

    fn sized(boxes: Vec<(String, [f64; 4])>, width: f64, height: f64) -> Self {
        let text = (height / 26.0).max(1.0);
        let shapes = boxes.into_iter().map(|(label, [x, y, w, h])| Shape {
            x,
            y,
            width: w,
            height: h,
            label,
            text_y: if y > text * 1.5 { y - text * 0.4 } else { (y + h + text * 1.1).min(height - 1.0) },
        });
        Self { width, height, text, shapes: shapes.collect(), image: String::new() }
    }
}

/// The boxes of a result with their labels.
fn boxes(result: &Value) -> Vec<(String, [f64; 4])> {
    items(result, "detections").iter().take(MOST).filter_map(shape).collect()
}

fn shape(item: &Value) -> Option<(String, [f64; 4])> {
    let sides: Vec<f64> = item.get("box")?.as_array()?.iter().filter_map(Value::as_f64).collect();
    let [x, y, width, height] = <[f64; 4]>::try_from(sides).ok()?;
    let sound = [x, y, width, height].iter().all(|n| n.is_finite() && (0.0..=MAX_SIDE).contains(n)) && width > 0.0 && height > 0.0;
    sound.then(|| (said(item), [x, y, width, height]))
}

/// A thing's label with its score.
fn said(item: &Value) -> String {
    let label = called(item);
    match item.get("score").and_then(Value::as_f64) {
        Some(score) => format!("{label} {score:.2}"),
        None => label,
    }
}

/// A thing's label, with what was read on it or said of it.
fn called(item: &Value) -> String {
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = item.get("text").map(|read| text(read, "text"));
    let best = items(item, "classes").first().map(|class| text(class, "label"));
    [own, best].into_iter().flatten().filter(|word| !word.is_empty()).fold(text(item, "label"), |all, word| format!("{all}: {word}"))
}

fn items<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Labels and texts with their scores, and values with their units, out of a result in the shape of the node's local API.
pub fn findings(result: &Value) -> Vec<(String, String)> {
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |item: &Value, key: &str| item.get(key).and_then(Value::as_f64);
    let percent = |item: &Value| Some(format!("{:.1} %", number(item, "score")? * 100.0));
    let scored = items(result, "detections").iter().chain(items(result, "classes"));
    let scored = scored.filter_map(|item| Some((called(item), percent(item)?)));
    let texts = items(result, "texts").iter().filter_map(|item| Some((text(item, "text"), percent(item)?)));
    let values = items(result, "values").iter().filter_map(|item| {
        let value = number(item, "value")?;
        let digits = if value.abs() < 1.0 { 4 } else { 2 };
        Some((text(item, "id"), format!("{value:.digits$} {}", text(item, "unit")).trim_end().to_owned()))
    });
    scored.chain(texts).chain(values).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn boxes_stand_inside_of_their_ground() {
        let picture =
            Picture::drawn(&json!({"detections": [{"label": "bolt", "score": 0.914, "box": [600, 2, 40, 300]}, {"box": [1, 2, 3]}]}))
                .unwrap();
        assert_eq!((picture.shapes.len(), picture.shapes[0].label.as_str()), (1, "bolt 0.91"));
        assert!(picture.width >= 640.0 && picture.height >= 302.0, "{picture:?}");
        assert!(picture.shapes[0].text_y <= picture.height && picture.shapes[0].text_y > 0.0);
        for nothing in [json!({}), json!({"detections": [{"box": [0, 0, 0, 5]}]}), json!({"detections": [{"box": [0, 0, 1e300, 5]}]})] {
            assert_eq!(Picture::drawn(&nothing), None, "{nothing}");
        }
    }
}
