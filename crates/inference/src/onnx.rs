//! ONNX Runtime behind [`Engine`], loaded at run time from a library file of our choice.
//!
//! Spinning worker threads are switched off: a node runs many apps on few cores, and a check has a processor limit.

mod accelerated;

use std::sync::atomic::{AtomicBool, Ordering};
use std::{io::Read, path::Path};

use app_package::manifest::Provider;
use ort::{
    environment::Environment,
    session::{Session as OrtSession, SessionInputValue, builder::GraphOptimizationLevel, builder::SessionBuilder},
    value::{DynValue, Outlet, PrimitiveTensorElementType, Tensor, TensorElementType, TensorRef, ValueType},
};

use self::accelerated::Accelerated;
use crate::{
    engine::{Data, Engine, Session, TensorData, TensorInfo},
    error::{AppError, Result},
    provider::{Library, ProviderInfo},
};

/// Bytes of the library that are read at a time.
const CHUNK: u64 = 256 * 1024;
/// Begins the name of the version that a library defines for its symbols, for example `VERS_1.32.0`.
const VERSION_MARK: &[u8] = b"VERS_";
/// Longest version text.
const MAX_VERSION: usize = 24;

/// The ONNX Runtime library of this process. There can be one only; keep it for the life of the process.
///
/// Its version is what the file's name says (`….so.1.32.0`), else what the file defines for its symbols, else the branch it
/// was built from. Where none of them tells, it is the lowest version that this program takes: "at least", not "exactly".
#[derive(Debug)]
pub struct OnnxRuntime {
    environment: Environment,
    version: String,
    /// What models run on in the CPU's place.
    accelerated: Option<Accelerated>,
    /// A model was loaded of which the provider has not taken all.
    in_part: AtomicBool,
}

impl OnnxRuntime {
    /// Loads the library, and a provider that models are to run on. Of one that is built into an ONNX Runtime of its own, that takes the place
    /// of `lib`. Codes of [`Self::init`], `provider-missing` where the provider's library cannot be loaded or has no such provider, and
    /// `provider-no-device` where it finds nothing on this machine that it runs on.
    pub fn init_on(lib: &Path, provider: Option<&Library>) -> Result<Self> {
        let Some(library) = provider else { return Self::init(lib) };
        let missing = |e: AppError| AppError::new("provider-missing", format!("{}: {}", library.provider.as_str(), e.message));
        let mut engine = if library.is_runtime() { Self::init(&library.file).map_err(missing)? } else { Self::init(lib)? };
        engine.accelerated = Some(Accelerated::register(&engine.environment, library, &engine.version)?);
        Ok(engine)
    }

    /// Loads the library. Code `engine-missing` when it cannot be loaded or is older than 1.24.
    pub fn init(lib: &Path) -> Result<Self> {
        let fail = |e: &dyn std::fmt::Display| AppError::new("engine-missing", format!("ONNX Runtime at {}: {e}", lib.display()));
        let file = std::fs::canonicalize(lib).map_err(|e| fail(&e))?;
        let environment =
            ort::init_from(&file).map_err(|e| fail(&e))?.with_name("pithead").with_telemetry(false).build().map_err(|e| fail(&e))?;
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        // The C API's version string is not reachable without unsafe code.
        let version = named_version(&file).or_else(|| defined_version(std::fs::File::open(&file).ok()?));
        let version = version.or_else(|| branch_version(ort::info())).unwrap_or_else(|| format!("1.{}.0", ort::MINOR_VERSION));
        Ok(Self { environment, version, accelerated: None, in_part: AtomicBool::new(false) })
    }

    /// How sessions are made, before anything is said of what they run on.
    fn builder(&self, threads: usize) -> Result<SessionBuilder, String> {
        fn told(e: impl std::fmt::Display) -> String {
            e.to_string()
        }
        let builder = OrtSession::builder(&self.environment).map_err(told)?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(told)?;
        let builder = builder.with_intra_threads(threads.max(1)).map_err(told)?;
        builder.with_inter_threads(1).map_err(told)?.with_intra_op_spinning(false).map_err(told)
    }

    /// Loads a model; where a provider does not take all of it, the CPU runs the rest, and that is remembered.
    fn session(&self, model: &Path, threads: usize) -> Result<OrtSession, String> {
        let Some(accelerated) = &self.accelerated else {
            return self.builder(threads)?.commit_from_file(model).map_err(|e| e.to_string());
        };
        let on = |alone| accelerated.on(&self.environment, self.builder(threads)?, threads, alone);
        if let Ok(session) = on(true)?.commit_from_file(model) {
            return Ok(session);
        }
        let session = on(false)?.commit_from_file(model).map_err(|e| e.to_string())?;
        self.in_part.store(true, Ordering::Relaxed);
        Ok(session)
    }
}

/// The version that the name of a library's file ends with, `….so.1.32.0`.
fn named_version(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_string_lossy();
    version_text(name.rsplit_once(".so.")?.1)
}

/// The text if it is two to four numbers with points between; `so.1` alone is no version.
fn version_text(text: &str) -> Option<String> {
    let numbers = text.split('.').filter(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).count();
    let plain = numbers == text.split('.').count() && (2..=4).contains(&numbers) && text.len() <= MAX_VERSION;
    plain.then(|| text.to_owned())
}

/// The first version after [`VERSION_MARK`] in a library, read piece by piece.
fn defined_version(mut library: impl Read) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let read = library.by_ref().take(CHUNK).read_to_end(&mut seen).ok()?;
        let found = seen.windows(VERSION_MARK.len()).enumerate().filter(|(_, bytes)| *bytes == VERSION_MARK).find_map(|(at, _)| {
            let rest = seen.get(at + VERSION_MARK.len()..)?;
            // Near the end the text may be cut off: it is looked at again with the next piece.
            if rest.len() <= MAX_VERSION && read > 0 {
                return None;
            }
            let length = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
            version_text(std::str::from_utf8(rest.get(..length)?).ok()?)
        });
        if found.is_some() || read == 0 {
            return found;
        }
        let kept = VERSION_MARK.len() + MAX_VERSION;
        seen.drain(..seen.len().saturating_sub(kept));
    }
}

/// The release branch named in the build info, for example `git-branch=rel-1.26.0`.
fn branch_version(info: &str) -> Option<String> {
    let (_, branch) = info.split_once("git-branch=rel-")?;
    let text: String = branch.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    version_text(text.trim_end_matches('.'))
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

    fn provider(&self) -> ProviderInfo {
        let own = self.accelerated.as_ref();
        let text = |of: fn(&Accelerated) -> &str, cpu: &str| own.map_or(cpu, of).to_owned();
        ProviderInfo {
            name: own.map_or(Provider::Cpu, |own| own.provider),
            version: text(|own| &own.version, &self.version),
            device: text(Accelerated::device, "cpu"),
            precision: text(Accelerated::precision, "model"),
            in_part: self.in_part.load(Ordering::Relaxed),
        }
    }

    fn load(&self, model: &Path, threads: usize) -> Result<Box<dyn Session>> {
        // The engine names files in full; whoever reads the error knows the package, and not where it lies.
        let folders = model.ancestors().skip(1).filter(|f| f.is_absolute() && f.parent().is_some());
        let folders: Vec<String> = folders.map(|folder| format!("{}/", folder.display())).collect();
        let fail = |e: String| engine_error("model-load", &folders.iter().fold(e, |told, folder| told.replace(folder, "")));
        let session = self.session(model, threads).map_err(fail)?;
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
        // Texts, as classifiers of scikit-learn give beside their probabilities, are read by nothing here.
        let numbers = outputs.iter().filter(|(_, value)| !matches!(value.dtype(), ValueType::Tensor { ty: TensorElementType::String, .. }));
        numbers.map(|(name, value)| Ok((name.to_owned(), owned(&value)?))).collect()
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
        Data::F16(v) => lend(shape, v),
        Data::F32(v) => lend(shape, v),
        Data::F64(v) => lend(shape, v),
        Data::I64(v) => lend(shape, v),
        Data::I32(v) => lend(shape, v),
        Data::I16(v) => lend(shape, v),
        Data::I8(v) => lend(shape, v),
        Data::U64(v) => lend(shape, v),
        Data::U32(v) => lend(shape, v),
        Data::U16(v) => lend(shape, v),
        Data::Text(v) => {
            // The engine keeps texts of its own.
            let value = Tensor::from_string_array((shape.to_vec(), v.as_slice()));
            Ok(value.map_err(|e| AppError::new("tensor-shape", e.to_string()))?.into())
        }
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
        ValueType::Tensor { ty: T::Float16, .. } => copy(value, Data::F16),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_with_points() {
        assert_eq!(version_text("1.32.0").as_deref(), Some("1.32.0"));
        for text in ["1", "", ".", "1.", "1..2", "1.x", "1.2.3.4.5", "1.00000000000000000000000000"] {
            assert_eq!(version_text(text), None, "{text:?}");
        }
        assert_eq!(branch_version("ORT Build Info: git-branch=rel-1.26.0, git-commit-id=x").as_deref(), Some("1.26.0"));
        assert_eq!(branch_version("ORT Build Info: git-branch=main"), None);
    }

    #[test]
    fn the_version_stands_in_the_library() {
        // The version stands at places around the border of two pieces, where reading may cut it.
        let border = usize::try_from(CHUNK).unwrap();
        for at in [0, 100, border - 40, border - 20, border - 12, border - 11, border - 6, border - 3, border, border + 9] {
            let mut bytes = vec![0x7f; at];
            bytes.extend(b"VERS_1.32.0\0");
            bytes.resize(bytes.len() + 3 * border, 0);
            assert_eq!(defined_version(bytes.as_slice()).as_deref(), Some("1.32.0"), "{at}");
        }
        assert_eq!(defined_version(b"VERS_x VERS_ VERS_7 VERS_1.9".as_slice()).as_deref(), Some("1.9"));
        assert_eq!(defined_version(vec![b'V'; 2 * border].as_slice()), None);
        let file = std::env::temp_dir().join(format!("pithead-version-{}", std::process::id()));
        std::fs::write(&file, b"\x7fELF\0\0VERS_1.25.1\0GLIBC_2.28").unwrap();
        assert_eq!(defined_version(std::fs::File::open(&file).unwrap()).as_deref(), Some("1.25.1"));
        std::fs::remove_file(file).unwrap();
    }
}
