//! How far what was found is what is there, 0–1: by boxes, masks or points.

use crate::{
    mask,
    output::{Detection, Keypoint},
    post,
};

/// Standard deviations of the points of a person in COCO, by name (pycocotools `cocoeval.py`, `Params.kpt_oks_sigmas`).
const PERSON: [(&str, f64); 17] = [
    ("nose", 0.026),
    ("left-eye", 0.025),
    ("right-eye", 0.025),
    ("left-ear", 0.035),
    ("right-ear", 0.035),
    ("left-shoulder", 0.079),
    ("right-shoulder", 0.079),
    ("left-elbow", 0.072),
    ("right-elbow", 0.072),
    ("left-wrist", 0.062),
    ("right-wrist", 0.062),
    ("left-hip", 0.107),
    ("right-hip", 0.107),
    ("left-knee", 0.087),
    ("right-knee", 0.087),
    ("left-ankle", 0.089),
    ("right-ankle", 0.089),
];
/// Share of its box that a person fills, where there is no mask (Ultralytics `OKS` of `PoseValidator`).
const FILLED: f64 = 0.53;

/// A way to hold a found object against one that is there.
pub type Likeness = fn(there: &Detection, found: &Detection) -> f32;

/// Intersection over union of the boxes, of the turned ones where one is turned.
pub fn boxes(there: &Detection, found: &Detection) -> f32 {
    post::box_overlap(there, found)
}

/// Intersection over union of the masks; nothing where one is missing.
pub fn masks(there: &Detection, found: &Detection) -> f32 {
    // Most pairs are far apart, and cells take time.
    if post::overlap_of([there.bbox, found.bbox]) <= 0.0 {
        return 0.0;
    }
    let both = there.mask.as_ref().zip(found.mask.as_ref());
    both.map_or(0.0, |(one, other)| mask::overlap((&there.bbox, one), (&found.bbox, other)))
}

/// Object keypoint similarity: the mean of `exp(-d² / (2 · area · (2σ)²))` over the points that can be seen, whose score is above 0 (COCO, `cocoeval.py`,
/// `computeOks`). The area is that of the mask, else 0.53 of the box; σ that of COCO for points of a person, else one by the number of points.
/// A point that was not found counts nothing.
#[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
pub fn points(there: &Detection, found: &Detection) -> f32 {
    let [_, _, w, h] = there.bbox.map(f64::from);
    let area = w * h * there.mask.as_ref().map_or(FILLED, |mask| f64::from(mask.share()));
    let seen: Vec<&Keypoint> = there.keypoints.iter().filter(|point| point.score > 0.0).collect();
    let others = 1.0 / count(there.keypoints.len());
    let similarity = |point: &&Keypoint| {
        let Some(other) = found.keypoints.iter().find(|other| other.name == point.name) else { return 0.0 };
        let sigma = PERSON.iter().find(|(name, _)| *name == point.name).map_or(others, |(_, sigma)| *sigma);
        let (dx, dy) = (f64::from(other.x - point.x), f64::from(other.y - point.y));
        (-(dx * dx + dy * dy) / (2.0 * area * (2.0 * sigma).powi(2))).exp()
    };
    let sum: f64 = seen.iter().map(similarity).filter(|one| one.is_finite()).sum();
    (sum / count(seen.len())) as f32
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::from(u32::MAX), f64::from).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Mask;

    fn person(points: &[(&str, f32, f32, f32)]) -> Detection {
        let point = |&(name, x, y, score): &(&str, f32, f32, f32)| Keypoint { name: name.into(), x, y, score };
        Detection { keypoints: points.iter().map(point).collect(), ..Detection::new("person", 0.9, [0.0, 0.0, 100.0, 200.0]) }
    }

    fn near(one: f32, other: f64) {
        assert!((f64::from(one) - other).abs() < 1e-5, "{one}, expected {other}");
    }

    #[test]
    fn points_are_as_like_as_coco_says() {
        let there = person(&[("nose", 50.0, 20.0, 1.0), ("left-hip", 40.0, 100.0, 1.0), ("left-ear", 0.0, 0.0, 0.0)]);
        near(points(&there, &there), 1.0);
        // The nose is 3 px off: exp(-9 / (2 · 10600 · 0.052²)) = 0.854704; the ear cannot be seen, so where it is does not matter.
        let found = person(&[("left-ear", 90.0, 90.0, 0.9), ("left-hip", 40.0, 100.0, 0.2), ("nose", 53.0, 20.0, 0.9)]);
        near(points(&there, &found), f64::midpoint(1.0, 0.854_704));
        // What was not found counts nothing.
        near(points(&there, &person(&[("nose", 50.0, 20.0, 0.9)])), 0.5);
        near(points(&there, &person(&[])), 0.0);
        // Points that COCO does not know: σ = 1/2, 2σ = 1; exp(-10600 / (2 · 10600)).
        let there = person(&[("grip", 10.0, 10.0, 1.0), ("tip", 20.0, 20.0, 1.0)]);
        let off = 10_600f32.sqrt();
        near(points(&there, &person(&[("grip", 10.0 + off, 10.0, 1.0), ("tip", 20.0, 20.0, 1.0)])), f64::midpoint(1.0, (-0.5f64).exp()));
        // A mask says how large the person is.
        let half = Mask { size: [1, 2], counts: vec![0, 1, 1] };
        let there = Detection { mask: Some(half), ..there };
        near(points(&there, &person(&[("grip", 110.0, 10.0, 1.0), ("tip", 20.0, 20.0, 1.0)])), f64::midpoint(1.0, (-0.5f64).exp()));
        let flat = Detection { bbox: [0.0; 4], mask: None, ..there };
        assert!(points(&flat, &flat) >= 0.0);
    }

    #[test]
    fn masks_and_turned_boxes_overlap_as_they_lie() {
        let left = Mask { size: [1, 2], counts: vec![0, 1, 1] };
        let whole = Mask { size: [1, 1], counts: vec![0, 1] };
        let with = |mask: Option<Mask>| Detection { mask, ..Detection::new("rock", 0.9, [0.0, 0.0, 100.0, 100.0]) };
        assert!((masks(&with(Some(left.clone())), &with(Some(whole))) - 0.5).abs() < 0.01);
        near(masks(&with(Some(left.clone())), &with(None)), 0.0);
        near(boxes(&with(Some(left)), &with(None)), 1.0);
        // A diamond in its box: half of it.
        let diamond = Detection { corners: Some([[50.0, 0.0], [100.0, 50.0], [50.0, 100.0], [0.0, 50.0]]), ..with(None) };
        assert!((boxes(&diamond, &with(None)) - 0.5).abs() < 0.01);
    }
}
