//! Looks at an ONNX file before any engine does: is it ONNX at all, and where does its external data lie?
//!
//! A hand-written walk over the protobuf wire format (onnx.proto3, IR version 3 and later). It reads only tags, lengths, names of
//! operators, versions of operator sets and the key/value pairs of external data, on demand also the tensors that the graph takes and gives,
//! and seeks over the weights, so a 2 GiB model costs no memory. ONNX Runtime 1.26 refuses data paths that leave the folder as well; this check does not depend on that, also sees symbolic
//! links, and gives a reason in our words.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::{AppError, Result};

mod metadata;

pub use metadata::{Metadata, metadata};

/// Message kinds of onnx.proto3 that can hold a tensor, directly or deeper, and the versions of operator sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    Sparse,
    Tensor,
    Entry,
    Opset,
    Value,
    Type,
    TensorType,
    Shape,
    Dimension,
}

impl Kind {
    /// The message kind in this field, or `None` for fields that nothing here looks into.
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 8) => Self::Opset,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Tensor, 13) => Self::Entry,
            (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Dimension,
            _ => return None,
        })
    }
}

/// Deepest nesting; protobuf's own limit is 100.
const MAX_DEPTH: u32 = 100;
/// External tensors in one model.
const MAX_LOCATIONS: usize = 20_000;
/// Longest name in bytes.
const MAX_TEXT: u64 = 4_096;
/// Longest name of an output in bytes, as `app.yaml` takes it.
const MAX_OUTPUT_NAME: u64 = 200;
/// Most different operators, and operator sets, that are reported.
const MAX_NAMES: usize = 200;

/// What a model is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// The model with its external data in bytes.
    pub bytes: u64,
    /// Versions of operator sets by domain; the standard one is `ai.onnx`.
    pub opsets: BTreeMap<String, u64>,
    /// How often each operator stands in the graphs, at most 200 different ones.
    pub operators: BTreeMap<String, u32>,
    /// Files of external data.
    pub external_files: u32,
}

impl Structure {
    /// Adds another model of the same app: bytes and operators together, of operator sets the later version.
    pub fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.external_files = self.external_files.saturating_add(other.external_files);
        for (domain, version) in other.opsets {
            let known = self.opsets.entry(domain).or_default();
            *known = version.max(*known);
        }
        for (name, count) in other.operators {
            if self.operators.len() < MAX_NAMES || self.operators.contains_key(&name) {
                let known = self.operators.entry(name).or_default();
                *known = known.saturating_add(count);
            }
        }
    }
}

/// What a graph takes or gives, as its file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name in the graph.
    pub name: String,
    /// Number of the element type in onnx.proto3; 0 for what is no tensor.
    pub element: u64,
    /// Dimensions, -1 where one is dynamic; none where the file leaves the shape to the engine.
    pub shape: Option<Vec<i64>>,
}

impl Header {
    /// The word of the Open Inference Protocol for the element type (`TensorProto.DataType`); none for what is no tensor.
    pub fn datatype(&self) -> Option<&'static str> {
        Some(match self.element {
            0 => return None,
            1 => "FP32",
            2 => "UINT8",
            3 => "INT8",
            4 => "UINT16",
            5 => "INT16",
            6 => "INT32",
            7 => "INT64",
            8 => "BYTES",
            9 => "BOOL",
            10 => "FP16",
            11 => "FP64",
            12 => "UINT32",
            13 => "UINT64",
            16 => "BF16",
            _ => "another type",
        })
    }
}

/// Inputs and outputs of a model; weights that old files list among the inputs are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub inputs: Vec<Header>,
    pub outputs: Vec<Header>,
    /// Tensors of the model's own graph that a softmax makes, also where they are only handed on after it.
    pub softmax: HashSet<String>,
    #[serde(skip)]
    weights: HashSet<String>,
    #[serde(skip)]
    open: Header,
}

struct Walk {
    file: BufReader<File>,
    position: u64,
    locations: Vec<String>,
    ir_version: bool,
    graph: bool,
    opsets: BTreeMap<String, u64>,
    operators: BTreeMap<String, u32>,
    /// Kept where the caller asks for it.
    signature: Option<Signature>,
    /// As `signature`.
    metadata: Option<Metadata>,
}

fn not_onnx(why: &str) -> AppError {
    AppError::new("not-onnx", format!("this is not an ONNX file: {why}"))
}

impl Walk {
    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.file.read_exact(&mut byte).map_err(|_| not_onnx("it ends too early"))?;
        self.position += 1;
        let [byte] = byte;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(not_onnx("a number is too long"))
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let step = i64::try_from(bytes).map_err(|_| not_onnx("a length is too large"))?;
        self.file.seek_relative(step).map_err(|e| AppError::new("model-unreadable", e.to_string()))?;
        self.position = self.position.saturating_add(bytes);
        Ok(())
    }

    fn text(&mut self, length: u64) -> Result<String> {
        if length > MAX_TEXT {
            return Err(not_onnx("a text is too long"));
        }
        String::from_utf8(self.bytes(length)?).map_err(|_| not_onnx("a text is not UTF-8"))
    }

    /// So many bytes; the caller bounds their number.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact(&mut bytes).map_err(|_| not_onnx("it ends too early"))?;
        self.position += length;
        Ok(bytes)
    }

    fn seen(&mut self, note: impl FnOnce(&mut Signature)) {
        if let Some(signature) = &mut self.signature {
            note(signature);
        }
    }

    /// An input (field 11) or output (field 12) of the model's graph.
    fn header(&mut self, field: u64, stop: u64) -> Result<()> {
        self.seen(|s| s.open = Header::default());
        self.message(Kind::Value, stop, 2)?;
        let Some(signature) = &mut self.signature else { return Ok(()) };
        let list = if field == 11 { &mut signature.inputs } else { &mut signature.outputs };
        if list.len() >= MAX_LOCATIONS {
            return Err(not_onnx("it takes or gives too much"));
        }
        list.push(std::mem::take(&mut signature.open));
        Ok(())
    }

    fn message(&mut self, kind: Kind, end: u64, depth: u32) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(not_onnx("it is nested too deeply"));
        }
        let (mut key, mut value, mut version, mut dimension, mut softmax) = (String::new(), String::new(), 0, -1, false);
        let (mut source, mut hands_on) = (String::new(), false);
        while self.position < end {
            let tag = self.varint()?;
            let field = tag >> 3;
            match tag & 7 {
                0 => {
                    let number = self.varint()?;
                    self.ir_version |= kind == Kind::Model && field == 1;
                    match (kind, field) {
                        (Kind::Opset, 2) => version = number,
                        (Kind::Dimension, 1) => dimension = i64::try_from(number).unwrap_or(-1),
                        (Kind::TensorType, 1) => self.seen(|s| s.open.element = number),
                        _ => {}
                    }
                }
                1 => self.skip(8)?,
                5 => self.skip(4)?,
                2 => {
                    let length = self.varint()?;
                    let stop = self
                        .position
                        .checked_add(length)
                        .filter(|&stop| stop <= end)
                        .ok_or_else(|| not_onnx("a length runs past its end"))?;
                    match (kind, field) {
                        (Kind::Entry | Kind::Opset, 1) => key = self.text(length)?,
                        (Kind::Node, 4) => {
                            let operator = self.text(length)?;
                            softmax = operator == "Softmax";
                            hands_on = matches!(operator.as_str(), "Identity" | "Cast" | "Reshape" | "Squeeze" | "Flatten");
                            if self.operators.len() < MAX_NAMES || self.operators.contains_key(&operator) {
                                let count = self.operators.entry(operator).or_default();
                                *count = count.saturating_add(1);
                            }
                        }
                        (Kind::Entry, 2) => value = self.text(length)?,
                        (Kind::Model, 14) if self.metadata.is_some() => self.pair(stop)?,
                        // What a node of the model's own graph takes first, and what it makes.
                        (Kind::Node, 1) if depth == 2 && self.signature.is_some() && source.is_empty() => {
                            source = self.short(length, MAX_OUTPUT_NAME)?.unwrap_or_default();
                        }
                        (Kind::Node, 2) if depth == 2 && self.signature.is_some() => {
                            key = self.short(length, MAX_OUTPUT_NAME)?.unwrap_or_default();
                        }
                        // The model's own graph is one below the model; those of loops and branches lie deeper.
                        (Kind::Graph, 11 | 12) if depth == 1 && self.signature.is_some() => self.header(field, stop)?,
                        (Kind::Value, 1) => {
                            let name = self.text(length)?;
                            self.seen(|s| s.open.name = name);
                        }
                        // A weight of the model's own graph.
                        (Kind::Tensor, 8) if depth == 2 && self.signature.is_some() => {
                            let name = self.text(length)?;
                            self.seen(|s| {
                                s.weights.insert(name);
                            });
                        }
                        _ => match kind.child(field) {
                            Some(child) => {
                                self.graph |= kind == Kind::Model && child == Kind::Graph;
                                self.message(child, stop, depth + 1)?;
                            }
                            None => self.skip(length)?,
                        },
                    }
                }
                _ => return Err(not_onnx("it has an unknown wire type")),
            }
        }
        if self.position != end {
            return Err(not_onnx("a field runs past its end"));
        }
        if kind == Kind::Dimension {
            self.seen(|s| s.open.shape.get_or_insert_default().push(dimension));
        }
        if kind == Kind::Shape {
            // That of a number has no dimension.
            self.seen(|s| {
                s.open.shape.get_or_insert_default();
            });
        }
        if (softmax || hands_on) && depth == 2 {
            self.seen(|s| {
                // Nodes come in the order in which they run.
                if (softmax || s.softmax.contains(&source)) && s.softmax.len() < MAX_LOCATIONS {
                    s.softmax.insert(std::mem::take(&mut key));
                }
            });
        }
        if kind == Kind::Opset && self.opsets.len() < MAX_NAMES {
            self.opsets.insert(if key.is_empty() { "ai.onnx".to_owned() } else { key.clone() }, version);
        }
        if kind == Kind::Entry && key == "location" {
            if self.locations.len() >= MAX_LOCATIONS {
                return Err(AppError::new("external-data-too-many", "the model names too many external tensors"));
            }
            if self.locations.last() != Some(&value) {
                self.locations.push(value);
            }
        }
        Ok(())
    }
}

/// Checks that `model` is an ONNX file whose external data are regular files inside `root`, and tells what it is made of.
///
/// Codes: `model-unreadable`, `not-onnx`, `external-data-outside`, `external-data-missing`, `external-data-too-many`.
pub fn inspect(root: &Path, model: &Path) -> Result<Structure> {
    look(root, model, None, None).map(|looked| looked.structure)
}

/// The files of a model's external data, which lie below `root`. Codes as [`inspect`].
pub fn external_data(root: &Path, model: &Path) -> Result<Vec<PathBuf>> {
    look(root, model, None, None).map(|looked| looked.files)
}

/// The tensors that a model takes and gives, as its file says. Codes as [`inspect`].
pub fn signature(root: &Path, model: &Path) -> Result<Signature> {
    let mut signature = look(root, model, Some(Signature::default()), None)?.signature.unwrap_or_default();
    signature.inputs.retain(|input| !signature.weights.contains(&input.name));
    Ok(signature)
}

struct Looked {
    structure: Structure,
    files: Vec<PathBuf>,
    signature: Option<Signature>,
    metadata: Option<Metadata>,
}

fn look(root: &Path, model: &Path, signature: Option<Signature>, metadata: Option<Metadata>) -> Result<Looked> {
    let file = File::open(model).map_err(|e| AppError::new("model-unreadable", e.to_string()))?;
    let size = file.metadata().map_err(|e| AppError::new("model-unreadable", e.to_string()))?.len();
    let mut walk = Walk {
        file: BufReader::new(file),
        position: 0,
        locations: Vec::new(),
        ir_version: false,
        graph: false,
        opsets: BTreeMap::new(),
        operators: BTreeMap::new(),
        signature,
        metadata,
    };
    walk.message(Kind::Model, size, 0)?;
    if !(walk.ir_version && walk.graph) {
        return Err(not_onnx("it has no version or no graph"));
    }
    // Seeking past the end succeeds, so a file cut off inside its last weights is noticed only here.
    walk.file.seek(SeekFrom::End(0)).map_err(|e| AppError::new("model-unreadable", e.to_string()))?;
    walk.locations.sort_unstable();
    walk.locations.dedup();
    let folder = model.parent().unwrap_or(root);
    let external_files = u32::try_from(walk.locations.len()).unwrap_or(u32::MAX);
    let (mut bytes, mut files) = (size, Vec::with_capacity(walk.locations.len()));
    for location in &walk.locations {
        let (file, more) = external_file(root, folder, location)?;
        bytes = bytes.saturating_add(more);
        files.push(file);
    }
    let structure = Structure { bytes, opsets: walk.opsets, operators: walk.operators, external_files };
    Ok(Looked { structure, files, signature: walk.signature, metadata: walk.metadata })
}

/// Path and size of a file of external data, which must lie below `root`.
fn external_file(root: &Path, folder: &Path, location: &str) -> Result<(PathBuf, u64)> {
    let relative = Path::new(location);
    let plain = !location.is_empty()
        && !location.contains(['\\', '\0'])
        && relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain {
        return Err(AppError::new("external-data-outside", format!("external data `{location}` leaves the package")));
    }
    let path: PathBuf = folder.join(relative).components().filter(|part| *part != Component::CurDir).collect();
    let size = inside(root, &path).map_err(|e| match e.code {
        "file-missing" => AppError::new("external-data-missing", format!("external data `{location}` is not in the package")),
        _ => AppError::new("external-data-outside", format!("external data `{location}` leaves the package")),
    })?;
    Ok((path, size))
}

/// Size of the regular file at `path` if it lies below `root` without passing through a symbolic link.
fn inside(root: &Path, path: &Path) -> Result<u64> {
    let missing = || AppError::new("file-missing", format!("`{}` is not in the package", path.file_name().unwrap_or_default().display()));
    let real_root = std::fs::canonicalize(root).map_err(|_| missing())?;
    let real = std::fs::canonicalize(path).map_err(|_| missing())?;
    let expected: PathBuf = path.strip_prefix(root).map(|rest| real_root.join(rest)).map_err(|_| missing())?;
    if real != expected.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>() {
        return Err(AppError::new("file-outside", format!("`{}` is or passes through a link", path.display())));
    }
    let meta = std::fs::metadata(&real).map_err(|_| missing())?;
    if meta.is_file() { Ok(meta.len()) } else { Err(missing()) }
}

/// The path of a package file: `name` must be relative and plain, exist below `root` and not pass through a link.
/// Returns the path and the size. Codes `file-missing`, `file-outside`.
pub fn package_file(root: &Path, name: &str) -> Result<(PathBuf, u64)> {
    let relative = Path::new(name);
    if name.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(AppError::new("file-outside", format!("`{name}` is not a path inside the package")));
    }
    let path = root.join(relative);
    let size = inside(root, &path).map_err(|e| AppError::new(e.code, format!("`{name}` is not in the package or is a link")))?;
    Ok((path, size))
}
