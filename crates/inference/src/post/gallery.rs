//! A vector → the labels of a gallery that it is most alike, by the cosine of the angle between them.

#![expect(clippy::cast_possible_truncation, reason = "a length of FP32")]

use std::{collections::HashMap, path::Path};

use app_package::{pipeline::PostGallery, text::unmarked};

use super::finite;
use crate::{
    engine::TensorData,
    error::{AppError, Result},
    golden,
    output::ClassScore,
};

/// Class of what no label reaches.
pub const UNKNOWN: &str = "unknown";
/// Most numbers of a gallery.
const MAX_NUMBERS: usize = 8 << 20;

/// The vectors of each label, in the manifest's order, each of length 1.
pub(super) struct Gallery(Vec<(String, Vec<Vec<f32>>)>);

impl Gallery {
    /// Reads a file. Code `vectors-unreadable` where it is none, or a label has no vector, or vectors differ in length.
    pub(super) fn read(dir: &Path, p: &PostGallery) -> Result<Self> {
        let unreadable = |why: String| AppError::new("vectors-unreadable", format!("`{}`: {why}", p.vectors));
        let bytes = golden::read(dir, &p.vectors)?;
        let mut all: HashMap<String, Vec<Vec<f32>>> = serde_json::from_slice(unmarked(&bytes)).map_err(|e| unreadable(e.to_string()))?;
        let mut gallery = Vec::with_capacity(p.labels.len());
        for label in &p.labels {
            let vectors = all.remove(&label.id).filter(|vectors| !vectors.is_empty());
            let vectors = vectors.ok_or_else(|| unreadable(format!("it has no vector of `{}`", label.id)))?;
            let unit = vectors.iter().map(|vector| unit(vector)).collect::<Option<Vec<_>>>();
            gallery.push((label.id.clone(), unit.ok_or_else(|| unreadable(format!("a vector of `{}` is 0 or not finite", label.id)))?));
        }
        if let Some(other) = all.keys().min() {
            return Err(unreadable(format!("`{other}` is no label")));
        }
        let mut lengths = gallery.iter().flat_map(|(_, vectors)| vectors).map(Vec::len);
        let first = lengths.next().unwrap_or(0);
        let count = gallery.iter().map(|(_, vectors)| vectors.len()).sum::<usize>();
        if lengths.any(|length| length != first) || first.saturating_mul(count) > MAX_NUMBERS {
            return Err(unreadable("its vectors differ in length, or there are too many".to_owned()));
        }
        Ok(Self(gallery))
    }

    /// Adds the labels that reach the threshold with the cosine of their nearest vectors; [`UNKNOWN`] with the largest where none does.
    pub(super) fn nearest(&self, p: &PostGallery, tensor: &TensorData, out: &mut Vec<ClassScore>) -> Result<()> {
        let raw = tensor.data.to_f32();
        finite("gallery", &raw)?;
        let length = self.0.first().and_then(|(_, vectors)| vectors.first()).map_or(0, Vec::len);
        if raw.len() != length {
            let why = format!("`gallery`: {} has {} numbers, the vectors have {length}", p.output, raw.len());
            return Err(AppError::new("tensor-shape", why));
        }
        // A vector of zeros is like nothing.
        let found = unit(&raw).unwrap_or(vec![0.0; length]);
        let cosine = |vector: &Vec<f32>| vector.iter().zip(&found).map(|(a, b)| a * b).sum::<f32>();
        let near = self.0.iter().map(|(label, vectors)| (label, vectors.iter().map(cosine).fold(f32::NEG_INFINITY, f32::max)));
        let near: Vec<(&String, f32)> = near.collect();
        let before = out.len();
        let class = |label: &str, score| ClassScore { label: label.to_owned(), score, model: None };
        out.extend(near.iter().filter(|(_, score)| *score >= p.threshold).map(|(label, score)| class(label, *score)));
        if out.len() == before {
            out.push(class(UNKNOWN, near.iter().map(|(_, score)| *score).fold(-1.0, f32::max)));
        }
        Ok(())
    }
}

/// The vector with length 1; `None` of one that is 0 or not finite.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    (length > 0.0 && length.is_finite()).then(|| vector.iter().map(|x| x / length).collect())
}
