//! The label and the score of each row.
//!
//! One row gives one object, its best class. The reference code of DETR takes the best of rows × classes instead, where a row may stand for
//! two labels at once; two objects in one box are rare, and rules that count would count them twice.

use std::ops::Range;

use app_package::pipeline::{Activation, Background, PostBoxes};

use super::{classes::sigmoid, rows::Parts};

/// Rows whose best classes are looked for at a time where classes lie one after the other; so many stay in the processor's first cache.
pub(super) const BLOCK: usize = 1_024;

/// Scores the rows of one block after the other.
pub(super) struct Scorer<'a> {
    p: &'a PostBoxes,
    parts: &'a Parts<'a>,
    /// Classes that a row can be of.
    classes: Range<usize>,
    /// The block at hand; of each of its rows the best class and its [`rank`], where classes lie one after the other.
    block: Range<usize>,
    ranks: Vec<i32>,
    best: Vec<u32>,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(p: &'a PostBoxes, parts: &'a Parts<'a>) -> Self {
        let all = p.classes();
        // The background is left out before the best is taken, as DETR's own code does, also where it is the likelier.
        let classes = match p.background {
            Background::None => 0..all,
            Background::First => 1..all,
            Background::Last => 0..p.labels.len(),
        };
        Self { p, parts, classes, block: 0..0, ranks: Vec::new(), best: Vec::new() }
    }

    /// Goes on to these rows.
    pub(super) fn enter(&mut self, block: Range<usize>) {
        self.block = block;
        let Some(scores) = self.parts.scores.filter(|scores| !scores.by_row()) else { return };
        self.ranks.clear();
        self.ranks.resize(self.block.len(), i32::MIN);
        self.best.clear();
        self.best.resize(self.block.len(), u32::MAX);
        for class in self.classes.clone() {
            let number = u32::try_from(class).unwrap_or(u32::MAX);
            // Without a branch, so that the compiler takes several rows at once.
            for ((most, best), &score) in self.ranks.iter_mut().zip(&mut self.best).zip(scores.column(class, &self.block)) {
                let rank = rank(score);
                *best = if rank >= *most { number } else { *best };
                *most = rank.max(*most);
            }
        }
    }

    /// Label and score of a row of the block; `None` where it is no object, its score is too low or not finite.
    pub(super) fn of(&self, row: usize) -> Option<(usize, f32)> {
        let mut factor = 1.0;
        if let Some(objectness) = self.parts.objectness {
            factor = self.single(objectness.get(row, 0)?)?;
            // Class scores are probabilities, so the product cannot reach the threshold when the objectness does not.
            if factor < self.p.score {
                return None;
            }
        }
        let reaches = |score: f32| Some(factor * score).filter(|score| score.is_finite() && *score >= self.p.score);
        let Some(scores) = self.parts.scores else {
            let score = reaches(self.parts.score.map_or(Some(1.0), |score| self.single(score.get(row, 0)?))?)?;
            let label = self.parts.class.map_or(Some(0), |class| self.label(index(class.get(row, 0)?)?))?;
            return Some((label, score));
        };
        let at = row.checked_sub(self.block.start)?;
        let by_row = scores.by_row().then(|| scores.row(row, &self.classes));
        let most =
            by_row.map_or_else(|| self.ranks.get(at).copied(), |row| Some(row.iter().fold(i32::MIN, |most, &v| most.max(rank(v)))))?;
        let logit = Some(unrank(most)).filter(|logit| logit.is_finite())?;
        let score = reaches(match self.p.activation {
            Activation::None => logit,
            Activation::Sigmoid => sigmoid(logit),
            Activation::Softmax => 1.0 / (0..self.p.classes()).filter_map(|c| scores.get(row, c)).map(|v| (v - logit).exp()).sum::<f32>(),
        })?;
        let class = match by_row {
            Some(row) => row.iter().rposition(|&v| rank(v) == most)?.checked_add(self.classes.start)?,
            None => self.best.get(at).and_then(|&class| usize::try_from(class).ok())?,
        };
        Some((self.label(class)?, score))
    }

    /// The score that a number alone stands for; softmax is over the classes and leaves it as it is.
    fn single(&self, number: f32) -> Option<f32> {
        let number = Some(number).filter(|number| number.is_finite())?;
        Some(if self.p.activation == Activation::Sigmoid { sigmoid(number) } else { number })
    }

    /// The label that a class has; `None` for the background and where there is none.
    fn label(&self, class: usize) -> Option<usize> {
        let label = if self.p.background == Background::First { class.checked_sub(1)? } else { class };
        (label < self.p.labels.len()).then_some(label)
    }
}

/// A class that a model gives as a number; negative ones stand for nothing, as in the empty rows of `PaddleDetection`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is whole and not negative; too large ones are cut")]
fn index(class: f32) -> Option<usize> {
    let class = class.round();
    (class.is_finite() && class >= 0.0).then_some(class as usize)
}

/// A whole number that orders as `total_cmp` does, which processors compare many at a time.
fn rank(number: f32) -> i32 {
    turn(number.to_bits().cast_signed())
}

/// The number that has this rank.
fn unrank(rank: i32) -> f32 {
    f32::from_bits(turn(rank).cast_unsigned())
}

/// Turns over the bits behind the sign of a negative number.
fn turn(bits: i32) -> i32 {
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}
