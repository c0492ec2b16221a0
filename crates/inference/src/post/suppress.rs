//! Candidate boxes → the best of them, by non-maximum suppression where it is asked for.

use std::cmp::Ordering;

use app_package::pipeline::PostBoxes;

use super::MAX_DETECTIONS;

/// Best candidates that enter suppression, which is quadratic.
const MAX_CANDIDATES: usize = 3_000;

/// A candidate box by its corners (left, top, right, bottom).
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Index among the labels.
    pub label: usize,
    pub score: f32,
    pub corners: [f32; 4],
    /// Row that it was read from; of equal scores the earlier row is the better.
    pub row: usize,
}

impl Candidate {
    fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// The candidates that stay, best first.
pub(super) fn suppress(p: &PostBoxes, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let max = p.max.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_DETECTIONS).min(MAX_DETECTIONS);
    let entering = if p.iou.is_some() { MAX_CANDIDATES } else { max };
    // The best are found first and only they are sorted: most rows of a low threshold fall away unsorted.
    if candidates.len() > entering {
        candidates.select_nth_unstable_by(entering, Candidate::order);
        candidates.truncate(entering);
    }
    candidates.sort_unstable_by(Candidate::order);
    let Some(limit) = p.iou else { return candidates };
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.len() >= max {
            break;
        }
        let rivals = |better: &Candidate| p.agnostic || better.label == candidate.label;
        if kept.iter().all(|better| !rivals(better) || iou(&better.corners, &candidate.corners) <= limit) {
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
