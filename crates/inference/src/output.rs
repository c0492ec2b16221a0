//! What an app says about one input. The JSON of [`AppOutput`] is also the format of expected golden results.

use app_package::pipeline::AlarmLevel;
use app_package::text::Text;
use serde::{Deserialize, Serialize};

pub use crate::mask::Mask;

/// Results of one input. Empty lists are left out of the JSON.
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
    /// Alarms raised, in the manifest's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<RaisedAlarm>,
    /// Rules that could not be evaluated on these results; the others still were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule_faults: Vec<RuleFault>,
}

impl AppOutput {
    /// What was read: of the whole input, then on objects from top to bottom, those at one height from left to right.
    pub fn lines(&self) -> Vec<&str> {
        let mut objects: Vec<&Detection> = self.detections.iter().collect();
        objects.sort_by(|a, b| a.bbox[1].total_cmp(&b.bbox[1]).then(a.bbox[0].total_cmp(&b.bbox[0])));
        let objects = objects.into_iter().filter_map(|object| object.said.text.as_ref());
        self.texts.iter().chain(objects).map(|text| text.text.as_str()).collect()
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
}

impl Detection {
    /// A box alone.
    pub fn new(label: impl Into<String>, score: f32, bbox: [f32; 4]) -> Self {
        Self { label: label.into(), score, bbox, ..Self::default() }
    }

    /// Its corners in order around it, of a box that is not turned those of the box.
    pub fn outline(&self) -> [[f32; 2]; 4] {
        let [x, y, w, h] = self.bbox;
        self.corners.unwrap_or([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
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
            vec![line([0.0, 50.0], "below"), line([9.0, 10.0], "right"), line([1.0, 10.0], "left"), Detection::new("text", 0.1, [0.0; 4])];
        let answer = AppOutput { detections, ..AppOutput::default() };
        assert_eq!(answer.lines(), ["left", "right", "below"]);
        assert_eq!(AppOutput { texts: vec![text("first")], ..answer }.lines(), ["first", "left", "right", "below"]);
    }
}
