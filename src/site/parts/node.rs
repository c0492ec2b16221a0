//! Nodes as pages show them: last call, faults, hardware, events.

use crate::fleet::model::{DeploymentEvent, Node};
use crate::http::page::{Ago, Page};

/// When a node called last.
pub fn seen(page: &Page, node: &Node) -> Ago {
    node.seen_at.map_or_else(|| Ago::never(page.t("fleet-never-seen")), |at| page.ago(&at))
}

/// A fault that a node has reported, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFault {
    /// Meaning of the fault, in the page's language.
    pub text: String,
    /// Code and words as the node sent them.
    pub raw: String,
}

impl NodeFault {
    /// The fault in the error of a deployment, an event or a node: `code: message`, or one of the two.
    pub fn of(page: &Page, error: Option<&str>) -> Option<Self> {
        let raw = error.filter(|e| !e.is_empty())?;
        let text = fault_code(raw).map_or_else(
            || page.t("node-fault-unnamed"),
            |code| {
                // Faults of the engine at a start have the same codes as in the platform's check: use its texts, too.
                let keys = ["node-fault-", "check-reason-"].map(|prefix| format!("{prefix}{code}"));
                let known = keys.iter().find(|key| page.locale().has(key));
                known.map_or_else(|| page.t1("node-fault-other", "code", code), |key| page.t(key))
            },
        );
        Some(Self { text, raw: raw.to_owned() })
    }
}

/// The code that an error of a node begins with.
pub fn fault_code(error: &str) -> Option<&str> {
    let code = error.split_once(": ").map_or(error, |(code, _)| code);
    let shaped = !code.is_empty() && code.len() <= 60 && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    shaped.then_some(code)
}

/// Model, cores and memory in one line; empty where the node has not reported them.
pub fn hardware_line(page: &Page, node: &Node) -> String {
    let Some(hardware) = node.hardware() else { return String::new() };
    let mut parts = Vec::new();
    if !hardware.architectures.is_empty() {
        parts.push(hardware.architectures.join(", "));
    }
    if hardware.cores > 0.0 {
        parts.push(page.t1("fleet-cores", "n", hardware.cores));
    }
    if let Some(bytes) = hardware.memory_bytes {
        parts.push(page.bytes(&bytes));
    }
    parts.join(" · ")
}

/// An event in a timeline.
pub struct EventItem {
    pub tone: &'static str,
    pub at: String,
    /// State in words.
    pub state: String,
    /// App and version.
    pub what: String,
    /// The changed settings, in words.
    pub note: String,
    /// Why it failed.
    pub fault: Option<NodeFault>,
}

/// Who asked for what an event notes and which settings changed, in words; empty where there is neither.
pub fn note(page: &Page, event: &DeploymentEvent) -> String {
    let changed = event.note.as_ref().map(|note| page.t1("fleet-event-changed", "what", note));
    let by = event.made_by.as_ref().map(|name| page.t1("fleet-event-by", "name", name));
    [by, changed].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Colour of a deployment's state.
pub fn tone(state: &str) -> &'static str {
    match state {
        "installed" => "green",
        "failed" => "red",
        "removed" => "grey",
        "pending" => "amber",
        _ => "steel",
    }
}
