//! `DeviceCapabilitiesManifest`: what a device is and has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shape::{Key, Need, Others, Shape};
use super::{FieldFault, VendorExtensions, is_device_id, read, vendor_extensions};

const ARCHITECTURES: &[&str] = &["amd64", "arm64", "arm"];
const PERIPHERALS: &[&str] = &["gpu", "display", "camera", "microphone", "speaker"];
const INTERFACES: &[&str] = &["ethernet", "wifi", "cellular", "bluetooth", "usb", "canbus", "rs232"];
const RUNTIMES: &[&str] = &["oci", "custom"];
const DEPLOYMENT_TYPES: &[&str] = &["helm", "compose", "custom"];
/// Longest text and longest list that we keep of a device.
const MAX_TEXT: usize = 200;
const MAX_ITEMS: usize = 100;

/// The shape of [`DeviceCapabilities`]. The `OpenAPI` lets devices add keys to `properties` and to a processor; they are passed over.
static SHAPE: Shape = Shape::Object(
    &[Key("properties", Need::Required, Shape::Object(PROPERTIES, Others::Free)), Key("labels", Need::Optional, Shape::Map)],
    Others::Extensions,
);
const PROPERTIES: &[Key] = &[
    Key("id", Need::Required, Shape::Text),
    Key("vendor", Need::Required, Shape::Text),
    Key("modelNumber", Need::Required, Shape::Text),
    Key("serialNumber", Need::Required, Shape::Text),
    Key("cpus", Need::Optional, Shape::List(0, &Shape::Object(CPU, Others::Free))),
    Key("memory", Need::Optional, Shape::Text),
    Key("storage", Need::Optional, Shape::Text),
    Key("peripherals", Need::Optional, Shape::List(0, &Shape::Object(PERIPHERAL, Others::Nothing))),
    Key("interfaces", Need::Optional, Shape::List(0, &Shape::Object(INTERFACE, Others::Nothing))),
    Key("otelCollector", Need::Optional, Shape::Flag),
    Key("supportedRuntimes", Need::Optional, Shape::List(1, &Shape::Text)),
    Key("supportedDeploymentTypes", Need::Optional, Shape::List(1, &Shape::Text)),
];
const CPU: &[Key] = &[Key("cores", Need::Required, Shape::Number), Key("architecture", Need::Optional, Shape::Text)];
const PERIPHERAL: &[Key] = &[
    Key("type", Need::Required, Shape::Text),
    Key("manufacturer", Need::Optional, Shape::Text),
    Key("model", Need::Optional, Shape::Text),
];
const INTERFACE: &[Key] = &[Key("type", Need::Required, Shape::Text)];

/// What a device reports of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceCapabilities {
    /// Hardware and software.
    pub properties: DeviceProperties,
    /// Free key and value pairs: text, number, boolean or a list of texts or numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Value>,
    /// Extensions of vendors.
    #[serde(flatten, deserialize_with = "vendor_extensions", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: VendorExtensions,
}

/// Hardware and software of a device. Only the first four are required; a gateway that runs nothing leaves the rest out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceProperties {
    /// Device id.
    pub id: String,
    /// Maker.
    pub vendor: String,
    /// Model.
    pub model_number: String,
    /// Serial number.
    pub serial_number: String,
    /// Processors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<Cpu>,
    /// Memory, for example `8Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Storage, for example `64Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Attached devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peripherals: Vec<Peripheral>,
    /// Communication interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Whether the device collects OpenTelemetry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel_collector: Option<bool>,
    /// `oci`, `custom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_runtimes: Vec<String>,
    /// `helm`, `compose`, `custom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_deployment_types: Vec<String>,
}

/// A processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Cores, may be a fraction.
    pub cores: f64,
    /// `amd64`, `arm64`, `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

/// An attached device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peripheral {
    /// `gpu`, `display`, `camera`, `microphone`, `speaker`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Maker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A communication interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// `ethernet`, `wifi`, `cellular`, `bluetooth`, `usb`, `canbus`, `rs232`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl DeviceCapabilities {
    /// Reads what a device sent.
    ///
    /// # Errors
    /// What is wrong with it, by field.
    pub fn read(document: Value) -> Result<Self, Vec<FieldFault>> {
        read(&SHAPE, document, Self::faults)
    }

    /// Everything else that the schema does not allow, and texts and lists too long to keep.
    pub fn faults(&self) -> Vec<FieldFault> {
        let mut out = Vec::new();
        let p = &self.properties;
        if !is_device_id(&p.id) {
            out.push(FieldFault::new("properties.id", "must be a device id of letters, digits and . _ ~ -"));
        }
        for (field, text) in [
            ("properties.vendor", Some(&p.vendor)),
            ("properties.modelNumber", Some(&p.model_number)),
            ("properties.serialNumber", Some(&p.serial_number)),
            ("properties.memory", p.memory.as_ref()),
            ("properties.storage", p.storage.as_ref()),
        ] {
            if text.is_some_and(|text| text.len() > MAX_TEXT) {
                out.push(FieldFault::new(field, format!("must be at most {MAX_TEXT} bytes")));
            }
        }
        for (i, cpu) in p.cpus.iter().take(MAX_ITEMS).enumerate() {
            if !(cpu.cores > 0.0 && cpu.cores <= 100_000.0) {
                out.push(FieldFault::new(format!("properties.cpus[{i}].cores"), "must be a positive number"));
            }
            if let Some(word) = &cpu.architecture {
                one_of(&mut out, format!("properties.cpus[{i}].architecture"), word, ARCHITECTURES);
            }
        }
        for (i, item) in p.peripherals.iter().take(MAX_ITEMS).enumerate() {
            one_of(&mut out, format!("properties.peripherals[{i}].type"), &item.kind, PERIPHERALS);
        }
        for (i, item) in p.interfaces.iter().take(MAX_ITEMS).enumerate() {
            one_of(&mut out, format!("properties.interfaces[{i}].type"), &item.kind, INTERFACES);
        }
        for (i, word) in p.supported_runtimes.iter().take(MAX_ITEMS).enumerate() {
            one_of(&mut out, format!("properties.supportedRuntimes[{i}]"), word, RUNTIMES);
        }
        for (i, word) in p.supported_deployment_types.iter().take(MAX_ITEMS).enumerate() {
            one_of(&mut out, format!("properties.supportedDeploymentTypes[{i}]"), word, DEPLOYMENT_TYPES);
        }
        for (field, length) in [
            ("properties.cpus", p.cpus.len()),
            ("properties.peripherals", p.peripherals.len()),
            ("properties.interfaces", p.interfaces.len()),
            ("properties.supportedRuntimes", p.supported_runtimes.len()),
            ("properties.supportedDeploymentTypes", p.supported_deployment_types.len()),
            ("labels", self.labels.len()),
        ] {
            if length > MAX_ITEMS {
                out.push(FieldFault::new(field, format!("must have at most {MAX_ITEMS} items")));
            }
        }
        for (key, value) in self.labels.iter().take(MAX_ITEMS) {
            if !label_value(value) {
                let key: String = key.chars().take(MAX_TEXT).collect();
                out.push(FieldFault::new(format!("labels.{key}"), "must be a text, number, boolean or a list of texts or of numbers"));
            }
        }
        out
    }
}

fn label_value(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() <= 1000,
        Value::Number(_) | Value::Bool(_) => true,
        Value::Array(items) => items.len() <= MAX_ITEMS && (items.iter().all(Value::is_string) || items.iter().all(Value::is_number)),
        Value::Null | Value::Object(_) => false,
    }
}

fn one_of(out: &mut Vec<FieldFault>, field: String, word: &str, words: &[&str]) {
    if !words.contains(&word) {
        out.push(FieldFault::new(field, format!("must be one of {}", words.join(", "))));
    }
}
