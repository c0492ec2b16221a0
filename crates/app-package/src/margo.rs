//! Wire types of the Margo Workload Management API 1.0.0-rc.2 and 1.0.0-rc.3, which differ in nothing that is sent, as far as Pithead speaks it.
//!
//! Field names are those of the `OpenAPI`. Where it says `additionalProperties: false`, unknown keys are refused except vendor
//! extensions (`x-<name>-extensions`). Values of enumerations are kept as text and checked by `faults`, so that a server can
//! answer 422 with every field named.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;

mod capabilities;
mod shape;
mod status;

pub use capabilities::{Cpu, DeviceCapabilities, DeviceProperties, Interface, Peripheral};
pub use status::{ComponentStatus, DeploymentStatus, State, StatusBody, StatusError, overall};

/// Media type of the state manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.margo.manifest.v1+json";
/// Media type of a bundle.
pub const BUNDLE_TYPE: &str = "application/vnd.margo.bundle.v1+tar+gzip";
/// Media type of an application deployment.
pub const DEPLOYMENT_TYPE: &str = "application/yaml";
/// Media type of errors (RFC 9457).
pub const PROBLEM_TYPE: &str = "application/problem+json";
/// Our code of a refused `Accept`.
pub const NOT_ACCEPTABLE: &str = "manifest-not-acceptable";
/// Our code of a document with the right JSON and wrong content.
pub const SEMANTIC: &str = "semantic-error";
/// Prefix of Margo's problem types.
pub const PROBLEM_PREFIX: &str = "https://docs.margo.org/specification/problem-types#";
/// Label with which a node says that it runs ONNX apps of Pithead; the value is the version of ONNX Runtime.
pub const RUNTIME_LABEL: &str = "pithead.dev/onnx-runtime";
/// Label with which a node says which formats of `app.yaml` it runs, a list of numbers; without it, format 1 alone.
pub const FORMATS_LABEL: &str = "pithead.dev/app-formats";
/// Extension of the capabilities in which a node says what execution providers it has, and on which of them apps run.
pub const PROVIDERS_EXTENSION: &str = "x-pithead-extensions";
/// Prefix of the pointers of our parameter targets.
const PARAMETER_POINTER: &str = "/parameters/";

/// Other vendors' extensions, by key.
pub type VendorExtensions = BTreeMap<String, Value>;

/// A field of a document and what is wrong with it (the `errors[]` of a 422).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldFault {
    /// Path, for example `properties.cpus[0].architecture`.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl FieldFault {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The desired state of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateManifest {
    /// Version of the manifest: at least 1, strictly increasing per client.
    pub manifest_version: u64,
    /// All deployments in one archive; `null` (never left out) when there is none.
    pub bundle: Option<BundleRef>,
    /// The deployments.
    pub deployments: Vec<DeploymentRef>,
}

/// Where the bundle is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleRef {
    /// Media type, always [`BUNDLE_TYPE`].
    pub media_type: String,
    /// Digest of the exact bytes.
    pub digest: Digest,
    /// Advisory size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// `/api/v1/bundles/{digest}`.
    pub url: String,
}

/// Where one deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentRef {
    /// Id of the deployment; stays the same over updates.
    pub deployment_id: String,
    /// Digest of the exact bytes of the YAML.
    pub digest: Digest,
    /// Advisory size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// `/api/v1/deployments/{deploymentId}/{digest}`.
    pub url: String,
}

/// One app on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationDeployment {
    /// Deployment id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Names.
    pub metadata: DeploymentMetadata,
    /// What to run.
    pub spec: DeploymentSpec,
}

/// Names of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentMetadata {
    /// Name.
    pub name: String,
    /// Namespace; ours is the operator's slug.
    pub namespace: String,
    /// Device, may end in `/*`.
    pub device_id: String,
    /// Required by the `OpenAPI`, may be empty.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// Id of the app, `^[-a-z0-9]{1,200}$`.
    pub application_id: String,
    /// How the app is packed.
    pub deployment_profile: DeploymentProfile,
    /// Values by parameter name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, ParameterValue>,
    /// What Pithead's own agent needs; a foreign agent ignores it.
    #[serde(rename = "x-pithead-extensions", default, skip_serializing_if = "Option::is_none")]
    pub pithead: Option<Extensions>,
    /// Extensions of others.
    #[serde(flatten, deserialize_with = "vendor_extensions", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: VendorExtensions,
}

/// How an app is packed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentProfile {
    /// `custom` for ONNX apps.
    #[serde(rename = "type")]
    pub kind: String,
    /// Components; ours has one.
    pub components: Vec<Component>,
    /// What the device must have; passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_constraints: Option<Value>,
    /// Extensions of others.
    #[serde(flatten, deserialize_with = "vendor_extensions", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: VendorExtensions,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Where the component is.
    pub properties: ComponentProperties,
    /// Extensions of others.
    #[serde(flatten, deserialize_with = "vendor_extensions", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: VendorExtensions,
}

/// Where a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentProperties {
    /// `oci://host/vendor/app`.
    pub repository: String,
    /// Semantic version with `_` for `+`.
    pub revision: String,
    /// Wait for this component before the next; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// Longest wait, for example `5m0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// A parameter's value and where it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterValue {
    /// Any JSON value.
    pub value: Value,
    /// Where the value goes.
    pub targets: Vec<ParameterTarget>,
}

/// Where a parameter's value goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterTarget {
    /// Place in the component's configuration.
    pub pointer: String,
    /// Names of components.
    pub components: Vec<String>,
}

/// The value of `x-pithead-extensions` on a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extensions {
    /// The exact release.
    pub release: ReleaseRef,
    /// Digest of the manifest with the platform's signature on the release; a document from before it was named has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Digest>,
    /// Licence JWT.
    pub license: String,
    /// Parameter values by name.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The app is of safety class: expiry never stops it.
    #[serde(default)]
    pub safety: bool,
    /// Names of site and node, for alarm texts.
    #[serde(default)]
    pub place: String,
    /// Why the platform has recalled the release. A node installs it no more; where it runs, it goes on until the operator decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled: Option<String>,
}

/// A release by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// `vendor/app`.
    pub repository: String,
    /// Digest of the OCI manifest.
    pub digest: Digest,
    /// Version.
    pub version: semver::Version,
}

/// Inputs for [`ApplicationDeployment::onnx`].
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxDeployment<'a> {
    /// Deployment id.
    pub id: &'a str,
    /// Operator's slug.
    pub namespace: &'a str,
    /// Node id.
    pub device_id: &'a str,
    /// Registry host with port.
    pub registry: &'a str,
    /// Extensions, from which repository, version and parameters are taken.
    pub pithead: Extensions,
}

impl ApplicationDeployment {
    /// The deployment of an ONNX app: profile `custom`, one component.
    pub fn onnx(of: OnnxDeployment<'_>) -> Self {
        let repository = of.pithead.release.repository.clone();
        let app = repository.rsplit('/').next().unwrap_or_default().to_owned();
        let parameters = of
            .pithead
            .parameters
            .iter()
            .map(|(name, value)| {
                let target = ParameterTarget { pointer: format!("{PARAMETER_POINTER}{name}"), components: vec![app.clone()] };
                (name.clone(), ParameterValue { value: value.clone(), targets: vec![target] })
            })
            .collect();
        let component = Component {
            name: app.clone(),
            properties: ComponentProperties {
                repository: format!("oci://{}/{repository}", of.registry),
                revision: of.pithead.release.version.to_string().replace('+', "_"),
                wait: None,
                timeout: None,
            },
            extensions: VendorExtensions::new(),
        };
        Self {
            id: Some(of.id.to_owned()),
            metadata: DeploymentMetadata {
                name: app,
                namespace: of.namespace.to_owned(),
                device_id: of.device_id.to_owned(),
                annotations: BTreeMap::new(),
                labels: BTreeMap::new(),
            },
            spec: DeploymentSpec {
                application_id: repository.replace('/', "-"),
                deployment_profile: DeploymentProfile {
                    kind: "custom".to_owned(),
                    components: vec![component],
                    device_constraints: None,
                    extensions: VendorExtensions::new(),
                },
                parameters,
                pithead: Some(of.pithead),
                extensions: VendorExtensions::new(),
            },
        }
    }
}

/// Whether a key is `x-<name>-extensions` with name `[a-z][a-z0-9-]*`.
pub fn is_extension_key(key: &str) -> bool {
    let Some(name) = key.strip_prefix("x-").and_then(|rest| rest.strip_suffix("-extensions")) else { return false };
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Whether a text is a Margo device id, `^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$`, at most 200 bytes.
pub fn is_device_id(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c));
    text.len() <= 200 && text.split('/').all(part)
}

/// Reads a document of a shape; `faults` says what is wrong with it beyond that.
fn read<T: serde::de::DeserializeOwned>(
    shape: &shape::Shape,
    document: Value,
    faults: impl Fn(&T) -> Vec<FieldFault>,
) -> Result<T, Vec<FieldFault>> {
    let wrong = shape.faults(&document);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    // The shape says all that the type asks for; a test holds the two together.
    let read: T = serde_json::from_value(document).map_err(|_| vec![FieldFault::new("", "is no document of this kind")])?;
    let wrong = faults(&read);
    if wrong.is_empty() { Ok(read) } else { Err(wrong) }
}

/// What is left of an object after its known keys: extensions only.
fn vendor_extensions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VendorExtensions, D::Error> {
    let rest = VendorExtensions::deserialize(deserializer)?;
    match rest.keys().find(|key| !is_extension_key(key)) {
        Some(key) => Err(serde::de::Error::custom(format!("unknown field `{}`", key.chars().take(80).collect::<String>()))),
        None => Ok(rest),
    }
}

#[cfg(test)]
mod tests;
