//! The numbers of an output, with its name and its shape.

use std::borrow::Cow;

use super::tensor;
use crate::{
    engine::TensorData,
    error::{AppError, Result},
};

/// Numbers of a tensor.
pub(super) struct Numbers<'a> {
    pub name: &'a str,
    /// The step that reads it, for messages.
    pub step: &'static str,
    pub shape: Vec<usize>,
    pub data: Cow<'a, [f32]>,
}

impl<'a> Numbers<'a> {
    /// Code `tensor-shape` where there is no such output, or its elements are not those of its shape.
    pub fn find(step: &'static str, name: &'a str, outputs: &'a [(String, TensorData)]) -> Result<Self> {
        let tensor = tensor(outputs, name)?;
        let shape: Option<Vec<usize>> = tensor.shape.iter().map(|&d| usize::try_from(d).ok()).collect();
        match shape {
            Some(shape) if TensorData::elements(&tensor.shape) == Some(tensor.data.len()) => {
                Ok(Self { name, step, shape, data: tensor.data.to_f32() })
            }
            _ => Err(AppError::new(
                "tensor-shape",
                format!("output `{name}` is said to be {:?} and holds {} numbers", tensor.shape, tensor.data.len()),
            )),
        }
    }

    /// The last two dimensions, if all others are 1.
    pub fn plane(&self) -> Option<(usize, usize)> {
        match self.shape.as_slice() {
            [outer @ .., a, b] if outer.iter().all(|&d| d == 1) => Some((*a, *b)),
            _ => None,
        }
    }

    /// Channels, rows and columns: the last three dimensions, if all others are 1; of two dimensions there is one channel. None is 0.
    pub fn planes(&self) -> Option<[usize; 3]> {
        let planes = match self.shape.as_slice() {
            [outer @ .., c, h, w] if outer.iter().all(|&d| d == 1) => [*c, *h, *w],
            [h, w] => [1, *h, *w],
            _ => return None,
        };
        planes.iter().all(|&d| d > 0).then_some(planes)
    }

    /// That the step cannot read this shape.
    pub fn unread(&self, wanted: &str) -> AppError {
        AppError::new("tensor-shape", format!("`{}`: {} has shape {:?}; {wanted}", self.step, self.name, self.shape))
    }
}
