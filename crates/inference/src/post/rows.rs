//! Tensors as rows of numbers, where they lie.

use std::ops::Range;

use app_package::pipeline::{Keypoints, PostBoxes, RowLayout, RowPart};

use super::{looks, numbers::Numbers};
use crate::{
    engine::TensorData,
    error::{AppError, Result},
};

/// Rows of numbers in a tensor: number `column` of row `row` lies at `start + row * row_step + column * column_step`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    data: &'a [f32],
    start: usize,
    row_step: usize,
    column_step: usize,
    /// How many there are.
    len: usize,
    /// Numbers in each.
    width: usize,
}

impl<'a> Rows<'a> {
    /// A matrix of `rows` × `columns`, stored by row, or by column where the layout is that.
    fn new(data: &'a [f32], layout: RowLayout, rows: usize, columns: usize) -> Self {
        let (row_step, column_step) = match layout {
            RowLayout::Rows => (columns, 1),
            RowLayout::Columns => (1, rows),
        };
        Self { data, start: 0, row_step, column_step, len: rows, width: columns }
    }

    /// So many columns of the same rows from this one on.
    fn part(self, column: usize, width: usize) -> Self {
        Self { width, start: self.start.saturating_add(column.saturating_mul(self.column_step)), ..self }
    }

    fn at(&self, row: usize, column: usize) -> Option<usize> {
        self.start.checked_add(row.checked_mul(self.row_step)?)?.checked_add(column.checked_mul(self.column_step)?)
    }

    /// Whether the numbers of a row lie one after the other; else those of a column do.
    pub(super) fn by_row(&self) -> bool {
        self.column_step == 1
    }

    /// Numbers in a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// One number.
    pub(super) fn get(&self, row: usize, column: usize) -> Option<f32> {
        self.data.get(self.at(row, column)?).copied()
    }

    /// These columns of a row, where they lie one after the other.
    pub(super) fn row(&self, row: usize, columns: &Range<usize>) -> &'a [f32] {
        self.slice(self.at(row, columns.start), columns.len())
    }

    /// These rows of a column, where they lie one after the other.
    pub(super) fn column(&self, column: usize, rows: &Range<usize>) -> &'a [f32] {
        self.slice(self.at(rows.start, column), rows.len())
    }

    fn slice(&self, start: Option<usize>, length: usize) -> &'a [f32] {
        start.and_then(|start| self.data.get(start..start.checked_add(length)?)).unwrap_or_default()
    }
}

/// Numbers of the tensors that a step reads.
pub(super) struct Tensors<'a> {
    rows: Numbers<'a>,
    scores: Option<Numbers<'a>>,
    score: Option<Numbers<'a>>,
    class: Option<Numbers<'a>>,
    count: Option<Numbers<'a>>,
    pub(super) masks: Option<Numbers<'a>>,
    pub(super) prototypes: Option<Numbers<'a>>,
}

impl<'a> Tensors<'a> {
    pub(super) fn find(p: &'a PostBoxes, outputs: &'a [(String, TensorData)]) -> Result<Self> {
        let beside = |name: &'a Option<String>| name.as_deref().map(|name| Numbers::find("boxes", name, outputs)).transpose();
        Ok(Self {
            rows: Numbers::find("boxes", &p.output, outputs)?,
            scores: beside(&p.beside.scores)?,
            score: beside(&p.beside.score)?,
            class: beside(&p.beside.class)?,
            count: beside(&p.beside.count)?,
            masks: beside(&p.beside.masks)?,
            prototypes: beside(&p.prototypes)?,
        })
    }
}

impl Numbers<'_> {
    fn rows(&self, p: &PostBoxes) -> Result<Rows<'_>> {
        let wrong = |why: String| Err(AppError::new("tensor-shape", why));
        let Some((a, b)) = self.plane() else {
            return wrong(format!("`boxes`: {} has shape {:?}, which is not rows of numbers: [1, rows, width] is", self.name, self.shape));
        };
        let (rows, width) = match p.layout {
            RowLayout::Rows => (a, b),
            RowLayout::Columns => (b, a),
        };
        if width != p.width() {
            return wrong(looks::width_fault(p, self.name, [a, b]));
        }
        Ok(Rows::new(&self.data, p.layout, rows, width))
    }

    /// A number for each row: one dimension is theirs, the others are 1.
    fn single(&self, rows: usize) -> Result<Rows<'_>> {
        if self.data.len() != rows || self.shape.iter().filter(|&&d| d != 1).count() > 1 {
            let why = format!("`boxes`: {} has shape {:?}; {rows} rows need one number each", self.name, self.shape);
            return Err(AppError::new("tensor-shape", why));
        }
        Ok(Rows::new(&self.data, RowLayout::Rows, rows, 1))
    }

    /// A number for each row and class, in the layout of the rows or, where only that fits, in the other.
    fn scores(&self, p: &PostBoxes, rows: usize) -> Result<Rows<'_>> {
        let classes = p.classes();
        let plane = match self.shape.as_slice() {
            [n] if classes == 1 => Some((*n, 1)),
            [n] => Some((1, *n)),
            _ => self.plane(),
        };
        let by_row = plane == Some((rows, classes));
        let by_column = plane == Some((classes, rows));
        let layout = match p.layout {
            RowLayout::Columns if by_column => RowLayout::Columns,
            _ if by_row => RowLayout::Rows,
            _ if by_column => RowLayout::Columns,
            _ => {
                let why = format!("`boxes`: {} has shape {:?}; {rows} rows need {classes} scores each", self.name, self.shape);
                return Err(AppError::new("tensor-shape", why));
            }
        };
        Ok(Rows::new(&self.data, layout, rows, classes))
    }
}

/// The parts of each row.
pub(super) struct Parts<'a> {
    /// Rows that count, from the first.
    pub count: usize,
    /// Rows of the tensor.
    pub rows: usize,
    pub corners: Rows<'a>,
    pub objectness: Option<Rows<'a>>,
    pub scores: Option<Rows<'a>>,
    pub score: Option<Rows<'a>>,
    pub class: Option<Rows<'a>>,
    pub factors: Option<Rows<'a>>,
    pub keypoints: Option<Rows<'a>>,
    pub angle: Option<Rows<'a>>,
}

impl<'a> Parts<'a> {
    /// Finds the parts. Codes `tensor-shape`; `tensor-mismatch` where the manifest names too few of them, or one twice.
    pub(super) fn find(p: &PostBoxes, tensors: &'a Tensors<'a>) -> Result<Self> {
        let unfit = |why: &str| AppError::new("tensor-mismatch", format!("`boxes` of `{}`: {why}", p.output));
        if !p.parts().contains(&RowPart::Box) {
            return Err(unfit("its rows hold no `box`"));
        }
        let whole = tensors.rows.rows(p)?;
        let [mut corners, mut objectness, mut scores, mut score, mut class] = [const { None::<Rows<'a>> }; 5];
        let [mut factors, mut keypoints, mut angle] = [const { None::<Rows<'a>> }; 3];
        let mut column = 0usize;
        for part in p.parts() {
            let (slot, width) = match part {
                RowPart::Box => (&mut corners, 4),
                RowPart::Objectness => (&mut objectness, 1),
                RowPart::Scores => (&mut scores, p.classes()),
                RowPart::Score => (&mut score, 1),
                RowPart::Class => (&mut class, 1),
                RowPart::Masks(n) => (&mut factors, usize::from(*n)),
                RowPart::Keypoints => (&mut keypoints, p.keypoints.as_ref().map_or(0, Keypoints::width)),
                RowPart::Angle => (&mut angle, 1),
                RowPart::Skip(n) => {
                    column = column.saturating_add(usize::from(*n));
                    continue;
                }
            };
            if slot.replace(whole.part(column, width)).is_some() {
                return Err(unfit(&format!("`{part}` stands twice in `row`")));
            }
            column = column.saturating_add(width);
        }
        let twice = |word: &str| unfit(&format!("`{word}` stands in `row` and in `beside`"));
        if let Some(beside) = &tensors.scores
            && scores.replace(beside.scores(p, whole.len)?).is_some()
        {
            return Err(twice("scores"));
        }
        if let Some(beside) = &tensors.score
            && score.replace(beside.single(whole.len)?).is_some()
        {
            return Err(twice("score"));
        }
        if let Some(beside) = &tensors.class
            && class.replace(beside.single(whole.len)?).is_some()
        {
            return Err(twice("class"));
        }
        if scores.is_some() && (score.is_some() || class.is_some()) {
            return Err(unfit("`scores` say the class and its score; leave `class` and `score` out or write `skip-1`"));
        }
        if scores.is_none() && score.is_none() && objectness.is_none() {
            return Err(unfit("nothing says how sure it is: `scores`, `score` or `objectness` is needed"));
        }
        if scores.is_none() && class.is_none() && p.labels.len() != 1 {
            return Err(unfit("nothing tells the labels apart: `scores` or `class` is needed, or one label"));
        }
        let count = tensors.count.as_ref().map_or(Ok(whole.len), |count| limit(count, whole.len))?;
        let corners = corners.ok_or_else(|| unfit("its rows hold no `box`"))?;
        Ok(Self { count, rows: whole.len, corners, objectness, scores, score, class, factors, keypoints, angle })
    }
}

/// How many of the rows count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "negative and too large counts are cut to what there is")]
fn limit(count: &Numbers, rows: usize) -> Result<usize> {
    match count.data.as_ref() {
        [n] if n.is_finite() => Ok((n.round() as usize).min(rows)),
        [_] => Err(AppError::new("output-not-finite", format!("`boxes`: {} is not finite", count.name))),
        _ => {
            let why = format!("`boxes`: {} has shape {:?}; the count of rows is one number", count.name, count.shape);
            Err(AppError::new("tensor-shape", why))
        }
    }
}
