//! ONNX Runtime behind [`Engine`], loaded at run time from a library file of our choice.
//!
//! Spinning worker threads are switched off: a node runs many apps on few cores, and a check has a processor limit.

use std::path::Path;

use ort::{
    environment::Environment,
    session::{Session as OrtSession, SessionInputValue, builder::GraphOptimizationLevel},
    value::{DynValue, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType},
};

use crate::{
    engine::{Data, Engine, Session, TensorData, TensorInfo},
    error::{AppError, Result},
};

/// The ONNX Runtime library of this process. There can be one only; keep it for the life of the process.
#[derive(Debug)]
pub struct OnnxRuntime {
    environment: Environment,
    version: String,
}

impl OnnxRuntime {
    /// Loads the library. Code `engine-missing` when it cannot be loaded or is older than 1.24.
    pub fn init(lib: &Path) -> Result<Self> {
        let fail = |e: &dyn std::fmt::Display| AppError::new("engine-missing", format!("ONNX Runtime at {}: {e}", lib.display()));
        // The C API's version string is not reachable without unsafe code; release files carry it in their name.
        let file = std::fs::canonicalize(lib).map_err(|e| fail(&e))?;
        let environment =
            ort::init_from(&file).map_err(|e| fail(&e))?.with_name("pithead").with_telemetry(false).build().map_err(|e| fail(&e))?;
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let version = name.rsplit_once(".so.").map_or_else(|| branch_version(ort::info()), |(_, v)| v.to_owned());
        Ok(Self { environment, version })
    }
}

/// The release branch named in the build info, for example `git-branch=rel-1.26.0`.
fn branch_version(info: &str) -> String {
    let version = info.split_once("git-branch=rel-").map(|(_, v)| v.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect());
    version.unwrap_or_else(|| format!("1.{}.0", ort::MINOR_VERSION))
}

/// Tells failed allocations from other engine errors, so that a check can name the reason.
fn engine_error(code: &'static str, message: &str) -> AppError {
    let allocation = ["bad_alloc", "Failed to allocate memory", "bad allocation", "cannot allocate memory", "length_error"];
    let code = if allocation.iter().any(|word| message.contains(word)) { "out-of-memory" } else { code };
    AppError::new(code, message)
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn load(&self, model: &Path, threads: usize) -> Result<Box<dyn Session>> {
        let fail = |e: String| engine_error("model-load", &e);
        let session = OrtSession::builder(&self.environment)
            .map_err(|e| fail(e.to_string()))?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| fail(e.to_string()))?
            .with_intra_threads(threads.max(1))
            .map_err(|e| fail(e.to_string()))?
            .with_inter_threads(1)
            .map_err(|e| fail(e.to_string()))?
            .with_intra_op_spinning(false)
            .map_err(|e| fail(e.to_string()))?
            .commit_from_file(model)
            .map_err(|e| fail(e.to_string()))?;
        let inputs = session.inputs().iter().map(info).collect::<Result<_>>()?;
        let outputs = session.outputs().iter().map(info).collect::<Result<_>>()?;
        Ok(Box::new(Loaded { session, inputs, outputs }))
    }
}

fn info(outlet: &Outlet) -> Result<TensorInfo> {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(AppError::new(
            "tensor-not-dense",
            format!("`{}` is a {}, not a tensor; export the model without ZipMap or sequences", outlet.name(), outlet.dtype()),
        ));
    };
    Ok(TensorInfo { name: outlet.name().to_owned(), datatype: datatype(*ty), shape: shape.to_vec() })
}

fn datatype(element: TensorElementType) -> String {
    use TensorElementType as T;
    let name = match element {
        T::Float32 => "FP32",
        T::Float64 => "FP64",
        T::Float16 => "FP16",
        T::Bfloat16 => "BF16",
        T::Int64 => "INT64",
        T::Int32 => "INT32",
        T::Int16 => "INT16",
        T::Int8 => "INT8",
        T::Uint64 => "UINT64",
        T::Uint32 => "UINT32",
        T::Uint16 => "UINT16",
        T::Uint8 => "UINT8",
        T::Bool => "BOOL",
        T::String => "BYTES",
        other => return other.to_string(),
    };
    name.to_owned()
}

struct Loaded {
    session: OrtSession,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
}

impl Session for Loaded {
    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[(String, TensorData)]) -> Result<Vec<(String, TensorData)>> {
        let inputs = inputs.iter().map(|(name, tensor)| Ok((name.as_str(), view(tensor)?))).collect::<Result<Vec<_>>>()?;
        let outputs = self.session.run(inputs).map_err(|e| engine_error("engine-failed", &e.to_string()))?;
        outputs.iter().map(|(name, value)| Ok((name.to_owned(), owned(&value)?))).collect()
    }
}

/// Lends the elements to the engine without a copy.
fn view(tensor: &TensorData) -> Result<SessionInputValue<'_>> {
    fn lend<'a, T>(shape: &[i64], data: &'a [T]) -> Result<SessionInputValue<'a>>
    where
        T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
    {
        let value = TensorRef::from_array_view((shape.to_vec(), data)).map_err(|e| AppError::new("tensor-shape", e.to_string()))?;
        Ok(value.into())
    }
    let shape = tensor.shape.as_slice();
    match &tensor.data {
        Data::F32(v) => lend(shape, v),
        Data::F64(v) => lend(shape, v),
        Data::I64(v) => lend(shape, v),
        Data::I32(v) => lend(shape, v),
        Data::I16(v) => lend(shape, v),
        Data::I8(v) => lend(shape, v),
        Data::U64(v) => lend(shape, v),
        Data::U32(v) => lend(shape, v),
        Data::U16(v) => lend(shape, v),
        Data::U8(v) => lend(shape, v),
        Data::Bool(v) => lend(shape, v),
    }
}

/// Copies an output out of the engine's memory.
fn owned(value: &DynValue) -> Result<TensorData> {
    fn copy<T: PrimitiveTensorElementType + Clone>(value: &DynValue, wrap: fn(Vec<T>) -> Data) -> Result<TensorData> {
        let (shape, data) = value.try_extract_tensor::<T>().map_err(|e| AppError::new("engine-failed", e.to_string()))?;
        Ok(TensorData { shape: shape.to_vec(), data: wrap(data.to_vec()) })
    }
    use TensorElementType as T;
    match value.dtype() {
        ValueType::Tensor { ty: T::Float32, .. } => copy(value, Data::F32),
        ValueType::Tensor { ty: T::Float64, .. } => copy(value, Data::F64),
        ValueType::Tensor { ty: T::Int64, .. } => copy(value, Data::I64),
        ValueType::Tensor { ty: T::Int32, .. } => copy(value, Data::I32),
        ValueType::Tensor { ty: T::Int16, .. } => copy(value, Data::I16),
        ValueType::Tensor { ty: T::Int8, .. } => copy(value, Data::I8),
        ValueType::Tensor { ty: T::Uint64, .. } => copy(value, Data::U64),
        ValueType::Tensor { ty: T::Uint32, .. } => copy(value, Data::U32),
        ValueType::Tensor { ty: T::Uint16, .. } => copy(value, Data::U16),
        ValueType::Tensor { ty: T::Uint8, .. } => copy(value, Data::U8),
        ValueType::Tensor { ty: T::Bool, .. } => copy(value, Data::Bool),
        other => Err(AppError::new("tensor-datatype", format!("outputs of type {other} are not supported"))),
    }
}
