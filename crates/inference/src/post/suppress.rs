//! Candidate boxes → the best of them, by non-maximum suppression where it is asked for.

use std::cmp::Ordering;

use app_package::pipeline::PostBoxes;

use super::{MAX_DETECTIONS, turned};

/// Best candidates that enter suppression, which is quadratic.
const MAX_CANDIDATES: usize = 3_000;
/// The same of boxes that may be turned, whose overlap takes longer.
const MAX_TURNED: usize = 1_000;

/// A candidate box by its corners (left, top, right, bottom).
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Index among the labels.
    pub label: usize,
    pub score: f32,
    pub corners: [f32; 4],
    /// What the box is turned by, in radians.
    pub angle: f32,
    /// Row that it was read from; of equal scores the earlier row is the better.
    pub row: usize,
}

impl Candidate {
    fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Boxes that a step gives.
pub fn most(p: &PostBoxes) -> usize {
    p.max.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_DETECTIONS).min(MAX_DETECTIONS)
}

/// The candidates that stay, best first. Boxes that may be `turned` are suppressed as Ultralytics does: by probIoU, and by any better box, also
/// one that does not stay itself (Fast NMS; Bolya et al., YOLACT, 2019).
pub(super) fn suppress(p: &PostBoxes, turned: bool, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let max = most(p);
    let entering = match p.iou {
        Some(_) if turned => MAX_TURNED,
        Some(_) => MAX_CANDIDATES,
        None => max,
    };
    // The best are found first and only they are sorted: most rows of a low threshold fall away unsorted.
    if candidates.len() > entering {
        candidates.select_nth_unstable_by(entering, Candidate::order);
        candidates.truncate(entering);
    }
    candidates.sort_unstable_by(Candidate::order);
    let Some(limit) = p.iou else { return candidates };
    let rivals = |a: &Candidate, b: &Candidate| p.agnostic || a.label == b.label;
    if turned {
        let stays = |(at, candidate): (usize, &Candidate)| {
            let better = candidates.get(..at).unwrap_or_default().iter();
            better.filter(|better| rivals(better, candidate)).all(|better| turned::probable(better, candidate) <= limit)
        };
        return candidates.iter().enumerate().filter(|entry| stays(*entry)).map(|(_, candidate)| *candidate).take(max).collect();
    }
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.len() >= max {
            break;
        }
        if kept.iter().all(|better| !rivals(better, &candidate) || iou(&better.corners, &candidate.corners) <= limit) {
            kept.push(candidate);
        }
    }
    kept
}

/// Intersection over union of two boxes given by corners (left, top, right, bottom).
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let ([al, at, ar, ab], [bl, bt, br, bb]) = (a, b);
    let intersection = (ar.min(*br) - al.max(*bl)).max(0.0) * (ab.min(*bb) - at.max(*bt)).max(0.0);
    let union = (ar - al) * (ab - at) + (br - bl) * (bb - bt) - intersection;
    if union > 0.0 { intersection / union } else { 0.0 }
}
