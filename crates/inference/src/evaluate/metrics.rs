//! The figures that sum up how well an app did on a test set, each with its formula and where it is from.
//!
//! All are pure functions of what was expected and what was found, so that they can be checked by hand.

use std::collections::BTreeSet;

use super::likeness::{self, Likeness};
use crate::output::Detection;

/// How like an object what was found must be, at least, to count as finding it.
pub const LEAST_LIKENESS: f32 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// [`accuracy`] of the best class.
    Accuracy,
    /// [`map50`] of boxes.
    Map50,
    /// [`map50`] of masks.
    MaskMap50,
    /// [`map50`] of points.
    OksMap50,
    /// [`rmse`] of one value.
    Rmse,
    /// [`mae`] of one value.
    Mae,
    /// [`cer`] of texts.
    Cer,
    /// [`f1`] of what happened in clips.
    EventF1,
    /// [`precision`] of what happened in clips.
    EventPrecision,
    /// [`recall`] of what happened in clips.
    EventRecall,
    /// [`mae`] of how often lines were crossed, each way of each line of each clip.
    CrossingMae,
}

impl Metric {
    pub const ALL: [Self; 11] = [
        Self::Accuracy,
        Self::Map50,
        Self::MaskMap50,
        Self::OksMap50,
        Self::Rmse,
        Self::Mae,
        Self::Cer,
        Self::EventF1,
        Self::EventPrecision,
        Self::EventRecall,
        Self::CrossingMae,
    ];

    /// The word in arguments and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Map50 => "map-50",
            Self::MaskMap50 => "mask-map-50",
            Self::OksMap50 => "oks-map-50",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Cer => "cer",
            Self::EventF1 => "event-f1",
            Self::EventPrecision => "event-precision",
            Self::EventRecall => "event-recall",
            Self::CrossingMae => "crossing-mae",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == word)
    }

    /// Whether a larger figure is a better one.
    pub fn higher_is_better(self) -> bool {
        self == Self::Accuracy || self.likeness().is_some() || self.is_of_events()
    }

    /// Whether the figure is of what happened in clips.
    pub fn is_of_events(self) -> bool {
        matches!(self, Self::EventF1 | Self::EventPrecision | Self::EventRecall)
    }

    /// Whether the figure is of clips: such a figure is of nothing else, and clips have no other.
    pub fn is_of_clips(self) -> bool {
        self.is_of_events() || self == Self::CrossingMae
    }

    /// How objects are held against what was found, where the figure is of objects.
    pub fn likeness(self) -> Option<Likeness> {
        match self {
            Self::Map50 => Some(likeness::boxes),
            Self::MaskMap50 => Some(likeness::masks),
            Self::OksMap50 => Some(likeness::points),
            _ => None,
        }
    }
}

/// Accuracy: `right / all`, where a sample is right when its best class is the expected one (Manning, Raghavan, Schütze, *Introduction to
/// Information Retrieval*, 2008, section 8.3). None without samples.
pub fn accuracy(right: u32, all: u32) -> Option<f64> {
    (all > 0).then(|| f64::from(right) / f64::from(all))
}

/// Root mean square error: `sqrt(Σ (found - expected)² / n)` over pairs of expected and found, in the value's unit (Willmott and
/// Matsuura, *Climate Research* 30, 2005, pages 79–82). None without pairs.
pub fn rmse(pairs: &[(f64, f64)]) -> Option<f64> {
    mean(pairs, |expected, found| (found - expected).powi(2)).map(f64::sqrt)
}

/// Mean absolute error: `Σ |found - expected| / n` over pairs of expected and found, in the value's unit (same source as [`rmse`]).
/// None without pairs.
pub fn mae(pairs: &[(f64, f64)]) -> Option<f64> {
    mean(pairs, |expected, found| (found - expected).abs())
}

fn mean(pairs: &[(f64, f64)], term: impl Fn(f64, f64) -> f64) -> Option<f64> {
    let n = u32::try_from(pairs.len()).ok().filter(|&n| n > 0)?;
    Some(pairs.iter().map(|&(expected, found)| term(expected, found)).sum::<f64>() / f64::from(n))
}

/// Character error rate: `Σ distance / Σ characters` over pairs of expected and found texts, the distance that of Levenshtein (Morris,
/// Maier, Green, *From WER and RIL to MER and WIL*, Interspeech 2004, for characters). May exceed 1. None where no character is expected.
pub fn cer(texts: &[(String, String)]) -> Option<f64> {
    let sum = |each: fn(&(String, String)) -> usize| texts.iter().map(each).fold(0, usize::saturating_add);
    let all = u32::try_from(sum(|(expected, _)| expected.chars().count())).ok().filter(|&n| n > 0)?;
    let wrong = sum(|(expected, found)| strsim::levenshtein(expected, found));
    Some(f64::from(u32::try_from(wrong).unwrap_or(u32::MAX)) / f64::from(all))
}

/// Precision: `right / told`, over all events of all clips (micro average); see [`crate::truth`] for which are right. 0 where nothing is told, as
/// in `scikit-learn`. None where more is right than told.
pub fn precision(right: u32, told: u32) -> Option<f64> {
    (right <= told).then(|| f64::from(right) / f64::from(told.max(1)))
}

/// Recall: `right / there`, over all events of all clips. None where nothing is there.
pub fn recall(right: u32, there: u32) -> Option<f64> {
    (there > 0).then(|| f64::from(right) / f64::from(there))
}

/// F1: `2 · right / (there + told)`, the harmonic mean of precision and recall. None where nothing is there.
pub fn f1(right: u32, there: u32, told: u32) -> Option<f64> {
    (there > 0).then(|| 2.0 * f64::from(right) / (f64::from(there) + f64::from(told)))
}

/// mAP@0.5: the mean over labels of the average precision at a likeness of at least [`LEAST_LIKENESS`] (Everingham and others, *The PASCAL
/// Visual Object Classes Challenge*, IJCV 88, 2010, section 4.2, with the area under all points of the curve as from VOC2010 on).
///
/// `pictures` has, for each picture, what is there and what was found; `likeness` is the overlap of boxes or masks, or the similarity of
/// points. The labels are those of the things that are there; boxes of
/// other labels count nowhere. For one label, boxes go by falling score; each belongs to the thing that it overlaps most, finds it
/// where the overlap suffices and no box has found it before, and is wrong otherwise: a second box on the same thing is wrong. With
/// `TP` and `FP` the right and wrong boxes down to a score and `n` the things there are, `recall = TP / n` and
/// `precision = TP / (TP + FP)`; the average precision is `Σ (recallᵢ - recallᵢ₋₁) · max(precisionⱼ, j ≥ i)`. Boxes of equal score
/// are taken together, so their order does not matter. Coordinates are continuous: the devkit's extra pixel for inclusive ones is
/// left out. None where nothing is there at all.
pub fn map50(pictures: &[(Vec<Detection>, Vec<Detection>)], likeness: Likeness) -> Option<f64> {
    let labels: BTreeSet<&str> = pictures.iter().flat_map(|(objects, _)| objects).map(|object| object.label.as_str()).collect();
    let n = u32::try_from(labels.len()).ok().filter(|&n| n > 0)?;
    Some(labels.into_iter().map(|label| average_precision(pictures, label, likeness)).sum::<f64>() / f64::from(n))
}

/// The area under the precision envelope of one label.
fn average_precision(pictures: &[(Vec<Detection>, Vec<Detection>)], label: &str, likeness: Likeness) -> f64 {
    let mut all = 0u32;
    let mut boxes: Vec<(f32, bool)> = Vec::new();
    for (objects, found) in pictures {
        let objects: Vec<&Detection> = objects.iter().filter(|object| object.label == label).collect();
        all = all.saturating_add(u32::try_from(objects.len()).unwrap_or(u32::MAX));
        boxes.extend(judged(&objects, found.iter().filter(|d| d.label == label && d.score.is_finite()).collect(), likeness));
    }
    boxes.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Recall and precision where the score changes.
    let (mut right, mut seen, mut curve) = (0u32, 0u32, Vec::new());
    for (at, (score, is_right)) in boxes.iter().enumerate() {
        seen += 1;
        right += u32::from(*is_right);
        if boxes.get(at + 1).is_none_or(|(next, _)| next < score) {
            curve.push((f64::from(right) / f64::from(all), f64::from(right) / f64::from(seen)));
        }
    }
    let (mut area, mut best) = (0.0, 0f64);
    for (at, (recall, precision)) in curve.iter().enumerate().rev() {
        best = best.max(*precision);
        let before = at.checked_sub(1).and_then(|before| curve.get(before)).map_or(0.0, |(recall, _)| *recall);
        area += (recall - before) * best;
    }
    area
}

/// The boxes of one label in one picture, by falling score, each with whether it finds a thing first.
fn judged(objects: &[&Detection], mut found: Vec<&Detection>, likeness: Likeness) -> Vec<(f32, bool)> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    found
        .into_iter()
        .map(|detection| {
            let best = objects.iter().enumerate().map(|(at, object)| (at, likeness(object, detection)));
            let best = best.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, like)| *like >= LEAST_LIKENESS);
            (detection.score, best.is_some_and(|(at, _)| taken.insert(at)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(label: &str, bbox: [f32; 4]) -> Detection {
        Detection::new(label, 1.0, bbox)
    }

    fn map50(pictures: &[(Vec<Detection>, Vec<Detection>)]) -> Option<f64> {
        super::map50(pictures, likeness::boxes)
    }

    fn found(label: &str, score: f32, bbox: [f32; 4]) -> Detection {
        Detection::new(label, score, bbox)
    }

    fn near(value: Option<f64>, expected: f64) {
        let value = value.unwrap();
        assert!((value - expected).abs() < 1e-9, "{value}, expected {expected}");
    }

    const A: [f32; 4] = [0.0, 0.0, 10.0, 10.0];
    const B: [f32; 4] = [100.0, 0.0, 10.0, 10.0];
    const C: [f32; 4] = [0.0, 100.0, 10.0, 10.0];
    const NOWHERE: [f32; 4] = [500.0, 500.0, 10.0, 10.0];

    #[test]
    fn accuracy_rmse_and_mae_are_as_on_paper() {
        near(accuracy(3, 4), 0.75);
        assert_eq!(accuracy(0, 0), None);
        // Errors 1, -2, 3, 0: squares 1 + 4 + 9 + 0 = 14, over 4 = 3.5; absolutes 6, over 4 = 1.5.
        let pairs = [(10.0, 11.0), (10.0, 8.0), (10.0, 13.0), (10.0, 10.0)];
        near(rmse(&pairs), 3.5f64.sqrt());
        near(mae(&pairs), 1.5);
        assert_eq!((rmse(&[]), mae(&[])), (None, None));
        let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        // 1 of 4 wrong, 2 of 2 missing, 1 too much.
        near(cer(&texts(&[("KJ12", "KJ17"), ("皮带", ""), ("ab", "abc")])), 4.0 / 8.0);
        near(cer(&texts(&[("a", "a")])), 0.0);
        assert_eq!(cer(&texts(&[("", "a")])), None);
        // 3 of 4 told are right, of 6 that are there.
        near(precision(3, 4), 0.75);
        near(recall(3, 6), 0.5);
        near(f1(3, 6, 4), 0.6);
        assert_eq!((precision(0, 0), recall(0, 0), f1(0, 0, 2), f1(0, 2, 0)), (Some(0.0), None, None, Some(0.0)));
    }

    #[test]
    fn words_go_both_ways() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_word(metric.as_str()), Some(metric));
        }
        assert_eq!(Metric::from_word("f1"), None);
        assert!(Metric::OksMap50.higher_is_better() && !Metric::Mae.higher_is_better() && !Metric::Cer.higher_is_better());
        assert!(Metric::EventPrecision.higher_is_better() && !Metric::CrossingMae.higher_is_better());
    }

    #[test]
    fn everything_found_is_one_and_nothing_found_is_zero() {
        let there = vec![object("bolt", A), object("bolt", B)];
        near(map50(&[(there.clone(), vec![found("bolt", 0.9, A), found("bolt", 0.8, B)])]), 1.0);
        near(map50(&[(there.clone(), vec![])]), 0.0);
        near(map50(&[(there, vec![found("lump", 0.9, A)])]), 0.0);
        assert_eq!(map50(&[(vec![], vec![found("bolt", 0.9, A)])]), None);
        assert_eq!(map50(&[]), None);
    }

    #[test]
    fn a_missed_object_costs_its_share() {
        // Two of three found, no wrong box: precision 1 up to recall 2/3.
        let there = vec![object("bolt", A), object("bolt", B), object("bolt", C)];
        near(map50(&[(there, vec![found("bolt", 0.9, A), found("bolt", 0.8, B)])]), 2.0 / 3.0);
    }

    #[test]
    fn a_second_box_on_the_same_object_is_wrong() {
        // right 0.9, double 0.8, right 0.7: points (1/2, 1), (1/2, 1/2), (1, 2/3); area 1/2 · 1 + 1/2 · 2/3.
        let there = vec![object("bolt", A), object("bolt", B)];
        let boxes = vec![found("bolt", 0.9, A), found("bolt", 0.8, [1.0, 0.0, 10.0, 10.0]), found("bolt", 0.7, B)];
        near(map50(&[(there, boxes)]), 0.5 + 0.5 * 2.0 / 3.0);
    }

    #[test]
    fn the_envelope_takes_the_best_precision_to_the_right() {
        // wrong 0.9, right 0.8, right 0.7: points (0, 0), (1/2, 1/2), (1, 2/3); both halves get 2/3.
        let there = vec![object("bolt", A), object("bolt", B)];
        let boxes = vec![found("bolt", 0.9, NOWHERE), found("bolt", 0.8, A), found("bolt", 0.7, B)];
        near(map50(&[(there, boxes)]), 2.0 / 3.0);
    }

    #[test]
    fn the_order_of_equal_scores_does_not_matter() {
        // One right and one wrong box of the same score in different pictures: one point (1, 1/2), whichever comes first.
        let pictures = [(vec![object("bolt", A)], vec![found("bolt", 0.5, A)]), (vec![], vec![found("bolt", 0.5, B)])];
        near(map50(&pictures), 0.5);
        near(map50(&[pictures[1].clone(), pictures[0].clone()]), 0.5);
        // In one picture, three boxes of the same score on one object, and a wrong one.
        let boxes = [found("bolt", 0.5, NOWHERE), found("bolt", 0.5, A), found("bolt", 0.5, A), found("bolt", 0.5, A)];
        near(map50(&[(vec![object("bolt", A)], boxes.to_vec())]), 0.25);
        let turned: Vec<Detection> = boxes.iter().rev().cloned().collect();
        near(map50(&[(vec![object("bolt", A)], turned)]), 0.25);
    }

    #[test]
    fn half_an_overlap_is_enough_and_less_is_not() {
        // 10 × 10 against 10 × 20 over it: 100 / 200. Against 10 × 21: 100 / 210.
        near(map50(&[(vec![object("bolt", A)], vec![found("bolt", 0.5, [0.0, 0.0, 10.0, 20.0])])]), 1.0);
        near(map50(&[(vec![object("bolt", A)], vec![found("bolt", 0.5, [0.0, 0.0, 10.0, 21.0])])]), 0.0);
    }

    #[test]
    fn labels_are_averaged_and_only_those_that_are_there() {
        // bolt 1, lump 0 (found elsewhere), timber not there: its box counts nowhere.
        let there = vec![object("bolt", A), object("lump", B)];
        let boxes = vec![found("bolt", 0.9, A), found("lump", 0.9, NOWHERE), found("timber", 0.99, A)];
        near(map50(&[(there, boxes)]), 0.5);
    }

    #[test]
    fn a_box_belongs_to_what_it_overlaps_most() {
        // Both boxes overlap the same object most; the one beside it stays unfound.
        let there = vec![object("bolt", A), object("bolt", [4.0, 0.0, 10.0, 10.0])];
        let boxes = vec![found("bolt", 0.9, A), found("bolt", 0.8, [1.0, 0.0, 10.0, 10.0])];
        near(map50(&[(there, boxes)]), 0.5);
    }
}
