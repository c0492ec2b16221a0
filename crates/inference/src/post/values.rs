//! Numbers → named values, each an element or one number of a part.

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a mean of FP32")]

use app_package::pipeline::{PostValues, Reduce, ValueItem};

use super::{finite, wrong_shape};
use crate::{
    engine::TensorData,
    error::{AppError, Result},
    output::ValueOut,
};

pub(super) fn values(p: &PostValues, tensor: &TensorData, out: &mut Vec<ValueOut>) -> Result<()> {
    let raw = tensor.data.to_f32();
    let placed = p.items.iter().any(|item| item.at.is_some());
    if !placed && raw.len() != p.items.len() {
        return Err(wrong_shape("values", tensor));
    }
    finite("values", &raw)?;
    let shape: Vec<usize> = tensor.shape.iter().skip_while(|d| **d == 1).map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    for (number, item) in p.items.iter().enumerate() {
        let part = match &item.at {
            Some(at) => part(&shape, at).and_then(|range| raw.get(range)),
            None => raw.get(number..=number),
        };
        let part = part.filter(|part| !part.is_empty()).ok_or_else(|| {
            let at = item.at.as_deref().unwrap_or_default();
            AppError::new(
                "tensor-shape",
                format!("`values`: {} has shape {:?}; {at:?} of `{}` is not in it", p.output, tensor.shape, item.id),
            )
        })?;
        let value = f64::from(reduced(item, part)) * item.scale + item.offset;
        out.push(ValueOut { id: item.id.clone(), value, unit: item.unit.clone() });
    }
    Ok(())
}

/// The elements that places name: the first dimensions are given, the others are whole.
fn part(shape: &[usize], at: &[u32]) -> Option<std::ops::Range<usize>> {
    let mut begin = 0usize;
    let mut left: usize = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    if at.len() > shape.len() && !(shape.is_empty() && at.iter().all(|place| *place == 0)) {
        return None;
    }
    for (place, size) in at.iter().zip(shape) {
        let place = usize::try_from(*place).ok().filter(|place| place < size)?;
        left = left.checked_div(*size)?;
        begin = begin.checked_add(place.checked_mul(left)?)?;
    }
    Some(begin..begin.checked_add(left)?)
}

fn reduced(item: &ValueItem, part: &[f32]) -> f32 {
    match item.reduce {
        Reduce::Mean => (part.iter().copied().map(f64::from).sum::<f64>() / part.len() as f64) as f32,
        Reduce::Max => part.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        Reduce::Min => part.iter().copied().fold(f32::INFINITY, f32::min),
        Reduce::Last => part.last().copied().unwrap_or(0.0),
    }
}
