//! A node's hardware, and whether an app fits it.

use std::collections::BTreeMap;

use app_package::manifest::AppManifest;
use app_package::margo::{DeviceProperties, FORMATS_LABEL, PROVIDERS_EXTENSION, RUNTIME_LABEL};
use serde::Deserialize;
use serde_json::Value;

/// A node's hardware, read from its capabilities.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hardware {
    /// Maker.
    pub vendor: String,
    pub model: String,
    pub serial: String,
    /// Cores of all processors.
    pub cores: f64,
    /// Architectures of the processors.
    pub architectures: Vec<String>,
    /// Memory in bytes; none where the node gives none that can be parsed.
    pub memory_bytes: Option<i64>,
    /// Storage as the node words it.
    pub storage: String,
    /// Kinds of attached devices.
    pub peripherals: Vec<String>,
    /// Version of ONNX Runtime, where the node says that it has one.
    pub runtime: Option<String>,
    /// Formats of `app.yaml` that its agent runs.
    pub formats: Vec<u64>,
    /// What the agent says of execution providers.
    pub provided: Provided,
}

/// What a node's agent says of execution providers (`pithead_edge::providers::told`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Provided {
    /// The node's own besides the CPU.
    pub providers: Vec<NodeProvider>,
    /// Of deployments whose app names some.
    pub apps: BTreeMap<String, Serves>,
}

/// What a deployment's app runs on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Serves {
    /// None while its process comes up.
    pub serves: Option<NodeProvider>,
    /// Those that it would rather run on, with their faults.
    pub passed_over: Vec<NodeProvider>,
}

/// A provider of a node, or why it is not used.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeProvider {
    /// `cpu`, `openvino`, `cuda`, `cann`.
    pub name: String,
    pub version: String,
    /// `FP32`, or `model`.
    pub precision: String,
    pub in_part: bool,
    /// Why it is not used: code and words; empty where it is.
    pub code: String,
    pub message: String,
}

impl Hardware {
    /// Reads a capabilities document; none where it is not one.
    pub fn parse(json: &str) -> Option<Self> {
        let document: Value = serde_json::from_str(json).ok()?;
        let properties: DeviceProperties = serde_json::from_value(document.get("properties")?.clone()).ok()?;
        let label = |name: &str| document.get("labels").and_then(|labels| labels.get(name));
        let runtime = label(RUNTIME_LABEL).and_then(Value::as_str).map(ToOwned::to_owned);
        // An agent from before there were two says nothing of it.
        let formats =
            label(FORMATS_LABEL).and_then(Value::as_array).map_or_else(|| vec![1], |all| all.iter().filter_map(Value::as_u64).collect());
        let mut architectures: Vec<String> = properties.cpus.iter().filter_map(|cpu| cpu.architecture.clone()).collect();
        architectures.sort();
        architectures.dedup();
        Some(Self {
            cores: properties.cpus.iter().map(|cpu| cpu.cores).sum(),
            architectures,
            memory_bytes: properties.memory.as_deref().and_then(quantity_bytes),
            storage: properties.storage.unwrap_or_default(),
            peripherals: properties.peripherals.into_iter().map(|p| p.kind).collect(),
            vendor: properties.vendor,
            model: properties.model_number,
            serial: properties.serial_number,
            runtime,
            formats,
            // Whatever shape it has is the node's own doing.
            provided: document.get(PROVIDERS_EXTENSION).and_then(|own| Provided::deserialize(own).ok()).unwrap_or_default(),
        })
    }
}

/// Bytes of a quantity such as `8Gi`, `512Mi`, `8GB` or plain bytes.
fn quantity_bytes(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches(['B', 'b']);
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits_end)?;
    let factor: f64 = match unit.trim() {
        "" => 1.0,
        "K" | "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    // Limit of 2^53 bytes: a float is exact up to there, and no node has more.
    #[expect(clippy::cast_possible_truncation, reason = "bounded on the line itself")]
    (bytes.is_finite() && (0.0..=9_007_199_254_740_992.0).contains(&bytes)).then_some(bytes as i64)
}

/// Whether an app fits a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The app fits the node.
    Fits,
    /// The node has not reported its hardware.
    Unknown,
    /// The node's agent is older than the format of the app.
    Format,
    /// The app is built for other processor architectures.
    Architecture,
    /// Too few cores.
    Cores,
    /// Too little memory.
    Memory,
    /// An accelerator is missing.
    Accelerator,
}

impl Fit {
    /// Second part of the key `fleet-fit-…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Unknown => "unknown",
            Self::Format => "format",
            Self::Architecture => "architecture",
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Accelerator => "accelerator",
        }
    }

    /// Whether deploying is possible, also to a node that has not reported its hardware.
    pub fn possible(self) -> bool {
        matches!(self, Self::Fits | Self::Unknown)
    }
}

/// Compares an app's needs with a node's hardware. A figure that the node does not report never speaks against it.
pub fn fit(app: &AppManifest, hardware: Option<&Hardware>) -> Fit {
    let Some(hardware) = hardware else { return Fit::Unknown };
    let need = &app.resources;
    if !hardware.formats.contains(&u64::from(app.format)) {
        return Fit::Format;
    }
    if !hardware.architectures.is_empty() && !hardware.architectures.iter().any(|a| need.architectures.contains(a)) {
        return Fit::Architecture;
    }
    if hardware.cores > 0.0 && hardware.cores < need.cpu {
        return Fit::Cores;
    }
    if hardware.memory_bytes.is_some_and(|bytes| bytes < i64::from(need.memory_mib) * 1_048_576) {
        return Fit::Memory;
    }
    if need.accelerators.iter().any(|a| !hardware.peripherals.contains(a)) {
        return Fit::Accelerator;
    }
    Fit::Fits
}
