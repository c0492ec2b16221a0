//! What an app says about one input. The JSON of [`AppOutput`] is also the format of expected golden results.

use app_package::pipeline::AlarmLevel;
use app_package::text::Text;
use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub label: String,
    /// Score, 0–1.
    pub score: f32,
    /// Left, top, width, height in pixels of the source picture, inside it.
    #[serde(rename = "box")]
    pub bbox: [f32; 4],
}

/// A class and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    pub label: String,
    /// Score as the model gives it, or after softmax.
    pub score: f32,
}

/// A named number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueOut {
    pub id: String,
    /// Number in `unit`.
    pub value: f64,
    /// Unit as printed, may be empty.
    #[serde(default)]
    pub unit: String,
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
