//! What an app of moving pictures keeps from frame to frame: tracks of objects, places that the operator draws, steps that people must do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::span::Span;
use crate::text::Text;

/// Follows objects from frame to frame: `ByteTrack` (Zhang et al., ECCV 2022) by overlap alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Track {
    /// Labels of the objects that are followed; all where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// A track that was not seen for longer is over.
    pub lost: Span,
    /// An object that has been seen for so long has a track.
    pub confirm: Span,
    /// Least score of an object that begins a track, and is matched first.
    pub high: f32,
    /// Least score of an object that goes on with a track.
    pub low: f32,
    /// Least overlap of an object with where its track was expected.
    pub iou: f32,
}

impl Default for Track {
    fn default() -> Self {
        Self { labels: Vec::new(), lost: Span::millis(2_000), confirm: Span::millis(400), high: 0.5, low: 0.1, iou: 0.1 }
    }
}

/// What the operator draws in a camera's picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scene {
    /// Areas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
    /// Lines that are crossed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
}

/// The point of an object that lies in a zone or crosses a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchor {
    /// The middle of the box's lower side, where who stands touches the ground.
    #[default]
    BottomCenter,
    /// The middle of the box.
    Center,
}

/// An area.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Name in rules: `zones.ID`.
    pub id: String,
    /// What the operator is asked to draw.
    pub title: Text,
    /// Labels of the objects that count; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The point that counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub anchor: Anchor,
    /// An object is inside when it has been so for this long.
    #[serde(default = "enter")]
    pub enter: Span,
    /// An object is outside when it has been so for this long.
    #[serde(default = "leave")]
    pub leave: Span,
    /// The app does not work where it is not drawn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: bool,
}

fn enter() -> Span {
    Span::millis(600)
}

fn leave() -> Span {
    Span::millis(1_000)
}

/// A line from A to B; who comes from its left and goes to its right, as seen along it in the picture, goes in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Name in rules: `lines.ID`.
    pub id: String,
    /// What the operator is asked to draw.
    pub title: Text,
    /// Labels of the objects that count; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The point that counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub anchor: Anchor,
    /// The app does not work where it is not drawn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: bool,
}

/// Steps that people must do, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Procedure {
    /// Name in rules: `procedures.ID`.
    pub id: String,
    /// What people read.
    pub title: Text,
    /// CEL: when it begins.
    pub start: String,
    /// It is late when it takes longer.
    pub within: Span,
    /// What is to be done.
    pub steps: Vec<ProcedureStep>,
    /// CEL: when it is over, whatever was done; it ends with its last step where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// One of the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcedureStep {
    /// Name in results.
    pub id: String,
    /// What people read.
    pub title: Text,
    /// CEL: what is seen while it is done.
    pub when: String,
    /// It is done when this was seen for so long.
    #[serde(rename = "for", default, skip_serializing_if = "is_default")]
    pub lasting: Span,
    /// It may be left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optional: bool,
}

/// What is drawn in one camera's picture, in shares of its width and height from its left top corner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drawn {
    /// Corners of zones, in order around them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, Vec<[f64; 2]>>,
    /// Ends A and B of lines.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, [[f64; 2]; 2]>,
}

/// Most corners of a zone.
const MAX_CORNERS: usize = 32;
/// Least length of a drawn line, in shares of the picture's sides.
const LEAST_LINE: f64 = 0.01;

/// Whether a drawn line is too short to have two sides.
pub fn line_is_short([a, b]: [[f64; 2]; 2]) -> bool {
    (a[0] - b[0]).hypot(a[1] - b[1]) < LEAST_LINE
}

impl Scene {
    /// Why this cannot be drawn: a name that the app does not have, a zone of less than three corners or more than 32, what lies outside of the
    /// picture, crosses itself or is too small.
    pub fn refusal(&self, drawn: &Drawn) -> Option<String> {
        let outside = |points: &[[f64; 2]]| points.iter().flatten().any(|share| !(0.0..=1.0).contains(share));
        let zone = |(id, corners): (&String, &Vec<[f64; 2]>)| {
            let what = if self.zones.iter().all(|zone| zone.id != *id) {
                "is none of the app's zones"
            } else if !(3..=MAX_CORNERS).contains(&corners.len()) {
                "has less than 3 corners, or more than 32"
            } else if outside(corners) {
                "has a corner outside of the picture (0 to 1)"
            } else {
                match polygon_fault(corners)? {
                    "polygon-crosses" => "crosses itself",
                    _ => "is too small",
                }
            };
            Some(format!("zone {id:?} {what}"))
        };
        let line = |(id, [a, b]): (&String, &[[f64; 2]; 2])| {
            let what = if self.lines.iter().all(|line| line.id != *id) {
                "is none of the app's lines"
            } else if outside(&[*a, *b]) {
                "has an end outside of the picture (0 to 1)"
            } else if line_is_short([*a, *b]) {
                "is too short"
            } else {
                return None;
            };
            Some(format!("line {id:?} {what}"))
        };
        drawn.zones.iter().find_map(zone).or_else(|| drawn.lines.iter().find_map(line))
    }
}

/// What is wrong with a drawn area: `None` where nothing is. Least area 0.1 % of the picture.
pub fn polygon_fault(corners: &[[f64; 2]]) -> Option<&'static str> {
    let sides = || corners.iter().zip(corners.iter().cycle().skip(1));
    let twice: f64 = sides().map(|([ax, ay], [bx, by])| ax * by - bx * ay).sum();
    let sides: Vec<_> = sides().collect();
    let crosses = sides.iter().enumerate().any(|(i, (a, b))| {
        // Neighbours share a corner.
        let apart = sides.iter().enumerate().skip(i + 2).filter(|(j, _)| i > 0 || *j + 1 < sides.len());
        apart.into_iter().any(|(_, (c, d))| segments_meet([**a, **b], [**c, **d]))
    });
    if crosses {
        Some("polygon-crosses")
    } else if twice.abs() / 2.0 < 0.001 {
        Some("polygon-small")
    } else {
        None
    }
}

/// On which side of the line through A and B a point lies: above 0 right of it, as seen along it in a picture whose y points down.
pub fn side([[ax, ay], [bx, by]]: [[f64; 2]; 2], [x, y]: [f64; 2]) -> f64 {
    (bx - ax) * (y - ay) - (by - ay) * (x - ax)
}

/// Whether two segments have a point in common.
pub fn segments_meet(one: [[f64; 2]; 2], other: [[f64; 2]; 2]) -> bool {
    let [a, b] = one;
    let [c, d] = other;
    let (of_c, of_d, of_a, of_b) = (side(one, c), side(one, d), side(other, a), side(other, b));
    let within = |[[px, py], [qx, qy]]: [[f64; 2]; 2], [x, y]: [f64; 2]| {
        (px.min(qx)..=px.max(qx)).contains(&x) && (py.min(qy)..=py.max(qy)).contains(&y)
    };
    let touch = |side: f64, segment, point| side == 0.0 && within(segment, point);
    (of_c * of_d < 0.0 && of_a * of_b < 0.0) || touch(of_c, one, c) || touch(of_d, one, d) || touch(of_a, other, a) || touch(of_b, other, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_drawn_is_refused_with_its_reason() {
        let scene: Scene = serde_json::from_value(serde_json::json!({
            "zones": [{"id": "danger", "title": {"en": "Danger"}}], "lines": [{"id": "gate", "title": {"en": "Gate"}}],
        }))
        .unwrap();
        let told = |drawn: serde_json::Value| scene.refusal(&serde_json::from_value(drawn).unwrap());
        let zone = |corners: serde_json::Value| told(serde_json::json!({"zones": {"danger": corners}}));
        let good = serde_json::json!([[0, 0], [1, 0], [1, 1]]);
        assert_eq!(told(serde_json::json!({"zones": {"danger": good}, "lines": {"gate": [[0, 0], [1, 1]]}})), None);
        assert_eq!(told(serde_json::json!({})), None);
        for (refused, words) in [
            (told(serde_json::json!({"zones": {"fence": good}})), "zone \"fence\" is none"),
            (told(serde_json::json!({"lines": {"danger": [[0, 0], [1, 1]]}})), "line \"danger\" is none"),
            (zone(serde_json::json!([[0, 0], [1, 0]])), "less than 3"),
            (zone(serde_json::json!(vec![[0.5, 0.5]; 33])), "more than 32"),
            (zone(serde_json::json!([[0, 0], [1.1, 0], [1, 1]])), "outside"),
            (zone(serde_json::json!([[0, 0], [1, 1], [1, 0], [0, 1]])), "crosses itself"),
            (zone(serde_json::json!([[0, 0], [0.01, 0], [0.01, 0.01]])), "too small"),
            (told(serde_json::json!({"lines": {"gate": [[0.5, 0.5], [0.5, 0.5]]}})), "too short"),
            (told(serde_json::json!({"lines": {"gate": [[0.5, -0.1], [0.5, 0.5]]}})), "outside"),
        ] {
            assert!(refused.as_deref().is_some_and(|told| told.contains(words)), "{refused:?}: {words}");
        }
    }

    #[test]
    fn drawn_areas_are_plain_polygons() {
        for (corners, fault) in [
            (&[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]][..], None),
            (&[[0.1, 0.1], [0.1, 0.9], [0.9, 0.9]], None),
            // A notch is no crossing.
            (&[[0.1, 0.1], [0.9, 0.1], [0.5, 0.5], [0.9, 0.9], [0.1, 0.9]], None),
            (&[[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]], Some("polygon-crosses")),
            // A corner on another side.
            (&[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.5, 0.1], [0.1, 0.9]], Some("polygon-crosses")),
            (&[[0.1, 0.1], [0.12, 0.1], [0.12, 0.12]], Some("polygon-small")),
            (&[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]], Some("polygon-small")),
            (&[[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], Some("polygon-small")),
        ] {
            assert_eq!(polygon_fault(corners), fault, "{corners:?}");
        }
    }

    #[test]
    fn right_is_right_along_the_line() {
        let up = [[0.5, 0.9], [0.5, 0.1]];
        assert!(side(up, [0.9, 0.5]) > 0.0 && side(up, [0.1, 0.5]) < 0.0);
    }
}
