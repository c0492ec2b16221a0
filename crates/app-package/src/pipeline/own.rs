//! A vendor's own step: a WebAssembly module that is given tensors and gives results.

use serde::{Deserialize, Serialize};

use super::{BoxUnit, Label, Of};
use crate::text::Text;

/// Instructions that a run may take, where the app does not say.
pub const DEFAULT_FUEL: u64 = 50_000_000;
/// Memory that a module may have in MiB, where the app does not say.
pub const DEFAULT_MEMORY_MIB: u32 = 64;

/// A module with what it is given and what its answer means. In YAML: `wasm: {…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmStep {
    /// Name in faults, reports and results.
    pub name: String,
    /// Path in the package, for example `step.wasm`.
    pub file: String,
    /// Run once for each object that the steps before found, as of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Of>,
    /// What it is given, in this order.
    #[serde(rename = "in")]
    pub given: Vec<Given>,
    /// What its answer is.
    pub out: Gives,
    /// What boxes of its answer are measured in.
    #[serde(default = "source", skip_serializing_if = "is_source")]
    pub unit: BoxUnit,
    /// The classes; of objects those that no step before has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// The values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<WasmItem>,
    /// Instructions that a run may take; [`DEFAULT_FUEL`] where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Memory that the module may have; [`DEFAULT_MEMORY_MIB`] where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
}

/// A value of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmItem {
    /// Slug used in results and rules.
    pub id: String,
    /// Words shown.
    pub text: Text,
    /// Unit as printed; may be empty.
    #[serde(default)]
    pub unit: String,
}

/// What a module is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// The outputs of the model before, as they are, in the order of its `outputs`.
    Tensors,
    /// The picture, of a step for each object its part: UINT8 `[height, width, 3]`, red, green, blue.
    Frame,
    /// Height and width of the source picture in pixels: FP32 `[2]`.
    SourceSize,
    /// The objects found so far: FP32 `[n, 6]`, number of the label, score, left, top, width, height in pixels of the source picture.
    Objects,
    /// Their points: FP32 `[n, names, 3]`, x, y, score.
    Keypoints,
    /// The values so far: FP64 `[n]`.
    Values,
    /// The texts so far: BYTES `[n]`.
    Texts,
    /// Numbers of the tracks of the objects: INT32 `[n]`, −1 of one that is not followed.
    Tracks,
    /// Seconds since the source began: FP64 `[1]`. Of moving pictures.
    Time,
    /// The tensor `state` of its answer to the frame before; UINT8 `[0]` at the beginning, after a run that failed and after a gap.
    /// Of moving pictures.
    State,
}

/// What a module's answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gives {
    /// New objects, and what becomes of those that were given.
    Objects,
    /// A score for each label.
    Classes,
    /// A number for each item.
    Values,
    /// Texts.
    Texts,
}

fn source() -> BoxUnit {
    BoxUnit::Source
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_source(unit: &BoxUnit) -> bool {
    *unit == BoxUnit::Source
}

impl WasmStep {
    /// Whether it is given this.
    pub fn takes(&self, given: Given) -> bool {
        self.given.contains(&given)
    }
}
