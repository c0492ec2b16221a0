//! What is expected of one sample: the JSON of its file, and whether a figure can be made of it.

use app_package::pipeline::TruthEvent;
use serde::Deserialize;

use super::metrics::Metric;
use crate::output::{Counts, Crossings, Detection, Keypoint, MAX_EVENTS, Mask};

/// Most things in one picture, as many as an app reports.
const MAX_BOXES: usize = 300;
/// Most points of one thing, as many as an app reports.
const MAX_POINTS: usize = 100;
/// Most characters of a text that are compared: the time goes with its square.
pub const MAX_TEXT_READ: usize = 2_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    detections: Vec<ExpectBox>,
    classes: Vec<ExpectClass>,
    values: Vec<ExpectValue>,
    texts: Vec<ExpectText>,
    /// What happened in a clip; where nothing did, an empty list says so.
    events: Option<Vec<TruthEvent>>,
    /// How often lines were crossed; tracks that golden samples count, too, are passed over.
    counts: Counts,
    /// Alarms: golden samples may have some; no figure is made of them.
    #[serde(rename = "alarms")]
    _alarms: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectBox {
    label: String,
    #[serde(default, rename = "score")]
    _score: serde::de::IgnoredAny,
    #[serde(rename = "box")]
    bbox: [f32; 4],
    #[serde(default)]
    corners: Option<[[f32; 2]; 4]>,
    #[serde(default)]
    mask: Option<Mask>,
    #[serde(default)]
    keypoints: Vec<Keypoint>,
    #[serde(default, rename = "area")]
    _area: serde::de::IgnoredAny,
}

impl ExpectBox {
    /// Why it cannot be there, or cannot be held against what is found by this figure.
    fn fault(&self, metric: Metric) -> Option<Wrong> {
        let numbers = self.bbox.iter().chain(self.corners.iter().flatten().flatten());
        let [x, y, w, h] = self.bbox;
        if self.label.is_empty() || !numbers.clone().all(|n| n.is_finite()) || x < 0.0 || y < 0.0 || w <= 0.0 || h <= 0.0 {
            return Some(("expect-box", format!("{:?}", self.bbox)));
        }
        let sound = |point: &Keypoint| !point.name.is_empty() && point.x.is_finite() && point.y.is_finite();
        match metric {
            Metric::MaskMap50 if self.mask.as_ref().is_none_or(|mask| mask.share() <= 0.0) => Some(("expect-mask", self.label.clone())),
            Metric::OksMap50 if self.keypoints.len() > MAX_POINTS || !self.keypoints.iter().all(sound) || !self.seen() => {
                Some(("expect-keypoints", self.label.clone()))
            }
            _ => None,
        }
    }

    /// Whether one of its points can be seen.
    fn seen(&self) -> bool {
        self.keypoints.iter().any(|point| point.score > 0.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectClass {
    label: String,
    #[serde(default)]
    score: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectText {
    text: String,
    #[serde(default, rename = "score")]
    _score: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectValue {
    id: String,
    value: f64,
    #[serde(default)]
    unit: String,
}

/// What a sample should give.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// The best class.
    Class(String),
    /// The things in the picture.
    Objects(Vec<Detection>),
    /// What is written there, a line for each text.
    Text(String),
    /// The value of [`super::set::TestSet::quantity`].
    Value(f64),
    /// What happened in the clip, in the set's names.
    Events(Vec<TruthEvent>),
    /// How often lines were crossed, in the set's names.
    Crossings(Vec<(String, Crossings)>),
}

/// Code of a fault, and a number or words for its text.
pub(super) type Wrong = (&'static str, String);

/// What a sample should give, with the id and unit of a value.
type Asked = (Expected, Option<(String, String)>);

impl Expect {
    /// What the sample should give for a figure.
    pub(super) fn asked(self, metric: Metric) -> Result<Asked, Wrong> {
        if self.has_others(metric) {
            return Err(("expect-metric", String::new()));
        }
        let plain = |expected| Ok((expected, None));
        match metric {
            Metric::Accuracy => plain(Expected::Class(self.class().ok_or(("expect-class", String::new()))?)),
            Metric::Map50 | Metric::MaskMap50 | Metric::OksMap50 => plain(Expected::Objects(self.objects(metric)?)),
            Metric::Cer => plain(Expected::Text(self.text().ok_or(("expect-text", MAX_TEXT_READ.to_string()))?)),
            Metric::Rmse | Metric::Mae => self.value().map(|(value, own)| (Expected::Value(value), Some(own))),
            Metric::EventF1 | Metric::EventPrecision | Metric::EventRecall => plain(Expected::Events(self.events()?)),
            Metric::CrossingMae if self.counts.lines.is_empty() => Err(("expect-crossings", String::new())),
            Metric::CrossingMae => plain(Expected::Crossings(self.counts.lines.into_iter().collect())),
        }
    }

    /// Whether it has results of another kind than the figure is made of. Events tell of crossings, too, so both may stand together.
    fn has_others(&self, metric: Metric) -> bool {
        let clip = self.events.is_some() || !self.counts.is_empty();
        let there = [!self.classes.is_empty(), !self.detections.is_empty(), !self.values.is_empty(), !self.texts.is_empty(), clip];
        let wanted = match metric {
            Metric::Accuracy => 0,
            Metric::Map50 | Metric::MaskMap50 | Metric::OksMap50 => 1,
            Metric::Rmse | Metric::Mae => 2,
            Metric::Cer => 3,
            Metric::EventF1 | Metric::EventPrecision | Metric::EventRecall | Metric::CrossingMae => 4,
        };
        there.into_iter().enumerate().any(|(at, there)| there && at != wanted)
    }

    fn class(mut self) -> Option<String> {
        self.classes.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.classes.into_iter().next().map(|class| class.label).filter(|label| !label.is_empty())
    }

    fn objects(self, metric: Metric) -> Result<Vec<Detection>, Wrong> {
        if self.detections.len() > MAX_BOXES {
            return Err(("expect-too-many-boxes", MAX_BOXES.to_string()));
        }
        if let Some(fault) = self.detections.iter().find_map(|object| object.fault(metric)) {
            return Err(fault);
        }
        let objects = self.detections.into_iter().map(|d| Detection {
            corners: d.corners,
            mask: d.mask,
            keypoints: d.keypoints,
            ..Detection::new(d.label, 1.0, d.bbox)
        });
        Ok(objects.collect())
    }

    fn text(&self) -> Option<String> {
        let text = self.texts.iter().map(|text| text.text.as_str()).collect::<Vec<_>>().join("\n");
        (!text.trim().is_empty() && text.chars().count() <= MAX_TEXT_READ).then_some(text)
    }

    /// The one value, with its id and unit.
    fn value(&self) -> Result<(f64, (String, String)), Wrong> {
        let [value] = self.values.as_slice() else { return Err(("expect-value", self.values.len().to_string())) };
        if !value.value.is_finite() || value.id.is_empty() || value.unit.chars().count() > 20 {
            return Err(("expect-value", "1".to_owned()));
        }
        Ok((value.value, (value.id.clone(), value.unit.clone())))
    }

    fn events(self) -> Result<Vec<TruthEvent>, Wrong> {
        let events = self.events.ok_or(("expect-events", String::new()))?;
        if events.len() > MAX_EVENTS {
            return Err(("expect-too-many-events", MAX_EVENTS.to_string()));
        }
        match events.iter().enumerate().find_map(|(at, event)| Some((event.fault()?, at))) {
            Some((code, at)) => Err((code, format!("events[{at}]"))),
            None => Ok(events),
        }
    }
}
