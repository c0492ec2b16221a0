//! `DeploymentStatusManifest`: how a deployment fares on its device.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::shape::{Key, Need, Others, Shape};
use super::{FieldFault, is_device_id, read};

/// Longest text of an error and most components that are kept.
const MAX_MESSAGE: usize = 4_000;
const MAX_COMPONENTS: usize = 50;

/// The shape of [`DeploymentStatus`].
static SHAPE: Shape = Shape::Object(
    &[
        Key("deploymentId", Need::Required, Shape::Text),
        Key("deviceId", Need::Nullable, Shape::Text),
        Key("adoptedManifestVersion", Need::Required, Shape::Whole),
        Key("status", Need::Required, Shape::Object(&[STATE, ERROR], Others::Free)),
        Key("components", Need::Required, Shape::List(0, &Shape::Object(&[NAME, STATE, ERROR], Others::Free))),
    ],
    Others::Free,
);
const NAME: Key = Key("name", Need::Required, Shape::Text);
const STATE: Key = Key("state", Need::Required, Shape::Word(&["pending", "installing", "installed", "failed", "removing", "removed"]));
const ERROR: Key = Key("error", Need::Nullable, Shape::Object(&[CODE, SOURCE, MESSAGE], Others::Free));
const CODE: Key = Key("code", Need::Optional, Shape::Text);
const SOURCE: Key = Key("source", Need::Optional, Shape::Text);
const MESSAGE: Key = Key("message", Need::Optional, Shape::Text);

/// State of a deployment or component. The order is severity: the greater is the more severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Running and healthy.
    Installed,
    /// Gone.
    Removed,
    /// Not begun.
    Pending,
    /// Under way.
    Installing,
    /// Being taken away.
    Removing,
    /// Did not work.
    Failed,
}

impl State {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Removed => "removed",
            Self::Pending => "pending",
            Self::Installing => "installing",
            Self::Removing => "removing",
            Self::Failed => "failed",
        }
    }
}

/// The overall state: the most severe (failed > removing > installing > pending > removed > installed); pending where there is none.
pub fn overall(states: impl IntoIterator<Item = State>) -> State {
    states.into_iter().max().unwrap_or(State::Pending)
}

/// A status post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// Id of the deployment.
    pub deployment_id: String,
    /// Id of the device, where the sender is a gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Manifest version that the device has taken; a text of digits is taken too (the conformance runner sends one).
    #[serde(deserialize_with = "number_or_digits")]
    pub adopted_manifest_version: u64,
    /// Overall state.
    pub status: StatusBody,
    /// State of each component.
    pub components: Vec<ComponentStatus>,
}

/// State with its error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusBody {
    /// State.
    pub state: State,
    /// Error of a failed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StatusError>,
}

/// State of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Name as in the deployment.
    pub name: String,
    /// State.
    pub state: State,
    /// Error of a failed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StatusError>,
}

/// Why something failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusError {
    /// Stable code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Part of the device that reports the error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl DeploymentStatus {
    /// A status of a deployment with these components; the overall state and its error follow from them.
    pub fn of(deployment_id: &str, adopted_manifest_version: u64, components: Vec<ComponentStatus>) -> Self {
        let state = overall(components.iter().map(|component| component.state));
        let error = components.iter().find(|component| component.state == state).and_then(|component| component.error.clone());
        Self {
            deployment_id: deployment_id.to_owned(),
            device_id: None,
            adopted_manifest_version,
            status: StatusBody { state, error },
            components,
        }
    }

    /// Reads what a device sent.
    ///
    /// # Errors
    /// What is wrong with it, by field.
    pub fn read(document: Value) -> Result<Self, Vec<FieldFault>> {
        read(&SHAPE, document, Self::faults)
    }

    /// The state that counts, with its error: where the sender says `installed`, that of its components, for what has failed in part, or
    /// names no component, is not installed.
    pub fn counted(&self) -> (State, Option<&StatusError>) {
        match self.status.state {
            State::Installed => {
                let state = overall(self.components.iter().map(|component| component.state));
                (state, self.components.iter().find(|component| component.state == state).and_then(|component| component.error.as_ref()))
            }
            state => (state, self.status.error.as_ref()),
        }
    }

    /// What cannot be accepted though the JSON has the right shape.
    pub fn faults(&self) -> Vec<FieldFault> {
        let mut out = Vec::new();
        if self.deployment_id.is_empty() || self.deployment_id.len() > 200 {
            out.push(FieldFault::new("deploymentId", "must be 1 to 200 bytes"));
        }
        if self.device_id.as_deref().is_some_and(|id| !is_device_id(id)) {
            out.push(FieldFault::new("deviceId", "must be a device id of letters, digits and . _ ~ -"));
        }
        if self.adopted_manifest_version == 0 {
            out.push(FieldFault::new("adoptedManifestVersion", "must be at least 1"));
        }
        if self.components.len() > MAX_COMPONENTS {
            out.push(FieldFault::new("components", format!("must have at most {MAX_COMPONENTS} items")));
        }
        let long = |error: &Option<StatusError>| {
            error.as_ref().is_some_and(|e| e.code.len() > 200 || e.source.len() > 200 || e.message.len() > MAX_MESSAGE)
        };
        if long(&self.status.error) {
            out.push(FieldFault::new("status.error", "is too long"));
        }
        for (i, component) in self.components.iter().take(MAX_COMPONENTS).enumerate() {
            if component.name.is_empty() || component.name.len() > 200 || long(&component.error) {
                out.push(FieldFault::new(format!("components[{i}]"), "name must be 1 to 200 bytes, errors short"));
            }
        }
        out
    }
}

fn number_or_digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Digits(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Digits(digits) => digits.parse().map_err(|_| serde::de::Error::custom("must be a whole number")),
    }
}
