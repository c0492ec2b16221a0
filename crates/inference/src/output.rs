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

    /// The same of a part of the picture, which lies at this place and is that share of it, in the whole picture.
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
