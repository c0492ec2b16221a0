//! Probabilities or logits → classes.

use app_package::pipeline::{Activation, PostClasses};

use super::{finite, wrong_shape};
use crate::{engine::TensorData, error::Result, output::ClassScore};

pub(super) fn classes(p: &PostClasses, tensor: &TensorData, out: &mut Vec<ClassScore>) -> Result<()> {
    let scores = tensor.data.to_f32();
    if scores.len() != p.labels.len() {
        return Err(wrong_shape("classes", tensor));
    }
    finite("classes", &scores)?;
    let scores = match p.activation {
        _ if p.softmax == Some(true) => softmax(&scores).into(),
        Activation::Softmax => softmax(&scores).into(),
        Activation::Sigmoid => scores.iter().copied().map(sigmoid).collect(),
        Activation::None => scores,
    };
    let mut found: Vec<_> =
        p.labels.iter().zip(scores.iter()).map(|(label, &score)| ClassScore { label: label.id.clone(), score, model: None }).collect();
    if let Some(top) = p.top {
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(usize::try_from(top).unwrap_or(usize::MAX));
    }
    out.append(&mut found);
    Ok(())
}

pub(super) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scores: Vec<f32> = logits.iter().map(|v| (v - most).exp()).collect();
    let sum: f32 = scores.iter().sum();
    scores.iter().map(|v| v / sum).collect()
}
