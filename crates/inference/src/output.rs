//! What an app says about one input. The JSON of [`AppOutput`] is also the format of expected golden results.

use std::collections::BTreeMap;

use app_package::pipeline::AlarmLevel;
use app_package::text::Text;
use serde::{Deserialize, Serialize};

pub use app_package::pipeline::{Crossings, Direction, ProcedureState};

pub use crate::mask::Mask;

/// Results of one input, of a clip those of its last frame with what happened in all of it. Empty lists are left out of the JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppOutput {
    /// Things found in a picture, best first, at most 300 a step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detections: Vec<Detection>,
    /// Classes, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassScore>,
    /// Named numbers in the manifest's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueOut>,
    /// Texts read, in the manifest's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TextOut>,
    /// What happened in a clip, in the order of beginnings; at most [`MAX_EVENTS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Events of a clip that are not told, for there were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u32,
    /// What was counted in a clip.
    #[serde(skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
    /// Zones that the app does not work without and that are not drawn: nobody is ever in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undrawn: Vec<String>,
    /// Alarms raised, in the manifest's order; of a clip the episodes that began, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<RaisedAlarm>,
    /// Rules that could not be evaluated on these results; the others still were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule_faults: Vec<RuleFault>,
}

impl AppOutput {
    /// What was read: of the whole input, then on objects line by line from top to bottom, each from left to right.
    pub fn lines(&self) -> Vec<&str> {
        let texts = self.detections.iter().filter_map(|object| Some((object.bbox, object.said.text.as_ref()?)));
        let mut objects: Vec<([f32; 4], &TextOut)> = texts.collect();
        objects.sort_by(|(a, _), (b, _)| a[1].total_cmp(&b[1]));
        // Boxes of one line are seldom equally high: what begins within the upper half of the line's first is beside it.
        let mut rows: Vec<Vec<([f32; 4], &TextOut)>> = Vec::new();
        for (bbox, text) in objects {
            match rows.last_mut() {
                Some(row) if row.first().is_some_and(|([_, y, _, h], _)| bbox[1] - y < h / 2.0) => row.push((bbox, text)),
                _ => rows.push(vec![(bbox, text)]),
            }
        }
        for row in &mut rows {
            row.sort_by(|(a, _), (b, _)| a[0].total_cmp(&b[0]));
        }
        let objects = rows.into_iter().flatten().map(|(_, text)| text);
        self.texts.iter().chain(objects).map(|text| text.text.as_str()).collect()
    }

    /// What is seen in a frame, for an alarm that begins in it: the best [`MAX_SEEN`] of each kind, without masks and points, for a clip may
    /// have as many alarms as events.
    #[must_use]
    pub fn seen(&self) -> Self {
        let detections = self.detections.iter().take(MAX_SEEN);
        Self {
            detections: detections.map(|d| Detection { mask: None, keypoints: Vec::new(), ..d.clone() }).collect(),
            classes: self.classes.iter().take(MAX_SEEN).cloned().collect(),
            values: self.values.iter().take(MAX_SEEN).cloned().collect(),
            texts: self.texts.iter().take(MAX_SEEN).cloned().collect(),
            ..Self::default()
        }
    }

    /// The bytes of a file of an expected result.
    pub fn to_file(&self) -> Vec<u8> {
        // No map of it has keys other than texts, so it cannot fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

/// A thing found in a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub label: String,
    /// Score, 0–1.
    pub score: f32,
    /// Left, top, width, height in pixels of the source picture, inside it.
    #[serde(rename = "box")]
    pub bbox: [f32; 4],
    /// Corners of a turned box in pixels of the source picture, in order around it; they may lie outside of the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corners: Option<[[f32; 2]; 4]>,
    /// Which part of the box is the thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// Share of the picture that the mask covers, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<f32>,
    /// Its points, in the manifest's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keypoints: Vec<Keypoint>,
    /// What a model of the step `of` this thing says of it.
    #[serde(flatten)]
    pub said: Said,
    /// The model that found it, where the app has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Number of its track, from 1, once it was seen for long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
}

impl Detection {
    /// A box alone.
    pub fn new(label: impl Into<String>, score: f32, bbox: [f32; 4]) -> Self {
        Self { label: label.into(), score, bbox, ..Self::default() }
    }

    /// The same of a part of the picture, which lies at this place and is that share of it, in the whole picture.
    #[must_use]
    pub fn moved(mut self, [x, y]: [f32; 2], share: f32) -> Self {
        let [left, top, w, h] = self.bbox;
        self.bbox = [left + x, top + y, w, h];
        if let Some(corners) = &mut self.corners {
            *corners = corners.map(|[cx, cy]| [cx + x, cy + y]);
        }
        for point in &mut self.keypoints {
            (point.x, point.y) = (point.x + x, point.y + y);
        }
        self.area = self.area.map(|area| area * share);
        self
    }

    /// Its corners in order around it, of a box that is not turned those of the box.
    pub fn outline(&self) -> [[f32; 2]; 4] {
        let [x, y, w, h] = self.bbox;
        self.corners.unwrap_or([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Most things of a kind that are told of the frame in which an alarm began.
pub const MAX_SEEN: usize = 20;
/// Most events of a clip.
pub const MAX_EVENTS: usize = 500;

/// Something that happened: an episode of the rule `rule`, a stay in a zone, a line that was crossed, or a procedure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The rule whose episode it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The zone of a stay, or of an episode of a rule for each zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The line that was crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The procedure that was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub procedure: Option<String>,
    /// Seconds from the beginning of the clip.
    pub begin: f64,
    /// Seconds from the beginning of the clip; absent where it goes on at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// Number of the object's track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
    /// Label of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Which way a line was crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// How a procedure stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ProcedureState>,
    /// Steps of a procedure that were not done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// What was counted in a clip.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// How often each line that is drawn was crossed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, Crossings>,
    /// Tracks that there were, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tracks: BTreeMap<String, u32>,
}

impl Counts {
    /// Whether nothing could be counted.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.tracks.is_empty()
    }
}

/// What models say of one thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// Classes, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassScore>,
    /// Named numbers in the manifest's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueOut>,
    /// Text read on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextOut>,
}

/// A point of a thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Keypoint {
    /// Name as the manifest gives it.
    pub name: String,
    /// Place in pixels of the source picture; on its border where the model puts it outside.
    pub x: f32,
    pub y: f32,
    /// How sure it is that the point is seen, 0–1; 1 where the model does not say.
    pub score: f32,
}

/// A class and its score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    pub label: String,
    /// Score as the model gives it, or after softmax.
    pub score: f32,
    /// The model that says it, where the app has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A named number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ValueOut {
    pub id: String,
    /// Number in `unit`.
    pub value: f64,
    /// Unit as printed, may be empty.
    #[serde(default)]
    pub unit: String,
}

/// A text that was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TextOut {
    pub text: String,
    /// Mean score of its characters, 0–1; 0 of an empty text.
    pub score: f32,
}

/// An alarm that a rule raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaisedAlarm {
    /// Slug of the rule.
    pub rule: String,
    pub level: AlarmLevel,
    /// Text with all placeholders filled.
    pub text: Text,
    /// Of a clip: seconds from its beginning at which the episode began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// Of a clip: what was seen in the frame in which it began; see [`AppOutput::seen`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Box<AppOutput>>,
}

/// A rule that failed to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFault {
    /// Slug of the rule.
    pub rule: String,
    /// The evaluator's words.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_from_top_to_bottom() {
        let text = |text: &str| TextOut { text: text.into(), score: 0.9 };
        let line = |[x, y]: [f32; 2], words: &str| Detection {
            said: Said { text: Some(text(words)), ..Said::default() },
            ..Detection::new("text", 0.9, [x, y, 10.0, 5.0])
        };
        let detections =
            vec![line([0.0, 50.0], "below"), line([9.0, 10.0], "right"), line([1.0, 12.4], "left"), Detection::new("text", 0.1, [0.0; 4])];
        let answer = AppOutput { detections, ..AppOutput::default() };
        assert_eq!(answer.lines(), ["left", "right", "below"]);
        assert_eq!(AppOutput { texts: vec![text("first")], ..answer }.lines(), ["first", "left", "right", "below"]);
    }
}
