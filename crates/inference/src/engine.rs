//! The seam between apps and whatever runs their models.
//!
//! Names and datatypes are those of the Open Inference Protocol v2, so that the node's server can pass tensors through.

use std::path::Path;

use crate::error::{AppError, Result};
use crate::provider::ProviderInfo;

/// Something that loads model files.
pub trait Engine: Send + Sync {
    /// Engine name as in `models[].engine.name`, for example `onnxruntime`.
    fn name(&self) -> &str;
    /// Engine version, for example `1.26.0`.
    fn version(&self) -> &str;
    /// What it runs models on, with what is known of the models that were loaded so far.
    fn provider(&self) -> ProviderInfo;
    /// Loads a model that runs on `threads` threads (at least 1).
    fn load(&self, model: &Path, threads: usize) -> Result<Box<dyn Session>>;
}

/// A loaded model.
pub trait Session: Send {
    /// Inputs in the model's order.
    fn inputs(&self) -> &[TensorInfo];
    /// Outputs in the model's order.
    fn outputs(&self) -> &[TensorInfo];
    /// Runs once; returns every output but texts, in the model's order.
    fn run(&mut self, inputs: &[(String, TensorData)]) -> Result<Vec<(String, TensorData)>>;
}

/// Name, datatype and shape of a model's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Open Inference Protocol datatype such as `FP32`; another word where the protocol has none.
    pub datatype: String,
    /// Dimensions; -1 is dynamic.
    pub shape: Vec<i64>,
}

/// A dense tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorData {
    /// Dimensions, none negative; their product is the number of elements.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: Data,
}

impl TensorData {
    /// Number of elements that the shape promises, `None` for a negative dimension or overflow.
    pub fn elements(shape: &[i64]) -> Option<usize> {
        shape.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))
    }

    /// A tensor whose element count is checked against its shape; code `tensor-shape`.
    pub fn new(shape: Vec<i64>, data: Data) -> Result<Self> {
        match Self::elements(&shape) {
            Some(n) if n == data.len() => Ok(Self { shape, data }),
            _ => Err(AppError::new("tensor-shape", format!("shape {shape:?} does not hold {} elements", data.len()))),
        }
    }
}

macro_rules! data {
    ($($(#[$doc:meta])* $variant:ident($type:ty) = $name:literal),+ $(,)?) => {
        /// Elements of a tensor.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Data { $($(#[$doc])* $variant(Vec<$type>)),+ }

        impl Data {
            /// Open Inference Protocol datatype.
            pub fn datatype(&self) -> &'static str { match self { $(Self::$variant(_) => $name),+ } }
            /// Number of elements.
            pub fn len(&self) -> usize { match self { $(Self::$variant(v) => v.len()),+ } }
            /// True without elements.
            pub fn is_empty(&self) -> bool { self.len() == 0 }
        }
    };
}

data! {
    /// 16-bit float.
    F16(half::f16) = "FP16",
    /// 32-bit float.
    F32(f32) = "FP32",
    /// 64-bit float.
    F64(f64) = "FP64",
    /// 64-bit integer.
    I64(i64) = "INT64",
    /// 32-bit integer.
    I32(i32) = "INT32",
    /// 16-bit integer.
    I16(i16) = "INT16",
    /// 8-bit integer.
    I8(i8) = "INT8",
    /// 64-bit unsigned integer.
    U64(u64) = "UINT64",
    /// 32-bit unsigned integer.
    U32(u32) = "UINT32",
    /// 16-bit unsigned integer.
    U16(u16) = "UINT16",
    /// 8-bit unsigned integer.
    U8(u8) = "UINT8",
    /// Truth values.
    Bool(bool) = "BOOL",
    /// Texts.
    Text(String) = "BYTES",
}

impl Data {
    /// The elements as FP32, borrowed where they are; of texts NaN.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "scores and values are shown with few digits")]
    pub fn to_f32(&self) -> std::borrow::Cow<'_, [f32]> {
        match self {
            Self::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Self::F32(v) => v.as_slice().into(),
            Self::F64(v) => v.iter().map(|&x| x as f32).collect(),
            Self::I64(v) => v.iter().map(|&x| x as f32).collect(),
            Self::I32(v) => v.iter().map(|&x| x as f32).collect(),
            Self::I16(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Self::I8(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Self::U64(v) => v.iter().map(|&x| x as f32).collect(),
            Self::U32(v) => v.iter().map(|&x| x as f32).collect(),
            Self::U16(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Self::U8(v) => v.iter().map(|&x| f32::from(x)).collect(),
            Self::Bool(v) => v.iter().map(|&x| f32::from(u8::from(x))).collect(),
            Self::Text(v) => v.iter().map(|_| f32::NAN).collect(),
        }
    }

    /// Numbers as elements of a datatype, rounded and cut to its bounds where it holds whole numbers. `None` for a datatype without numbers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats are cut to the bounds of the target")]
    pub fn of(datatype: &str, numbers: impl Iterator<Item = f64>) -> Option<Self> {
        Some(match datatype {
            "FP16" => Self::F16(numbers.map(half::f16::from_f64).collect()),
            "FP32" => Self::F32(numbers.map(|x| x as f32).collect()),
            "FP64" => Self::F64(numbers.collect()),
            "INT64" => Self::I64(numbers.map(|x| x.round() as i64).collect()),
            "INT32" => Self::I32(numbers.map(|x| x.round() as i32).collect()),
            "INT16" => Self::I16(numbers.map(|x| x.round() as i16).collect()),
            "INT8" => Self::I8(numbers.map(|x| x.round() as i8).collect()),
            "UINT64" => Self::U64(numbers.map(|x| x.round() as u64).collect()),
            "UINT32" => Self::U32(numbers.map(|x| x.round() as u32).collect()),
            "UINT16" => Self::U16(numbers.map(|x| x.round() as u16).collect()),
            "UINT8" => Self::U8(numbers.map(|x| x.round() as u8).collect()),
            "BOOL" => Self::Bool(numbers.map(|x| x != 0.0).collect()),
            _ => return None,
        })
    }
}
