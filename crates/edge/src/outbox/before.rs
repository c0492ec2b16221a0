//! What an agent from before there were streams (until 2026-11-30) left in `outbox.jsonl`: its alarms go on in the streams.

use std::collections::BTreeMap;
use std::path::Path;

use app_package::stream::ClockState;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Kept, Outbox};
use crate::fault::Fault;
use crate::files;

/// Name of the file.
const FILE: &str = "outbox.jsonl";
/// More than an agent let it grow to.
const MAX_FILE: u64 = 256 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Report {
        sequence: u64,
        kind: String,
        body: Map<String, Value>,
    },
    Marker {
        accepted_through: u64,
        #[serde(default)]
        taken: Vec<u64>,
    },
}

/// Takes the alarms of the file over that the platform had not taken, and removes it. A line that is torn is passed over.
pub(super) fn take_over(outbox: &Outbox, data: &Path) -> Result<(), Fault> {
    let path = data.join(FILE);
    let Some(bytes) = files::read_bounded(&path, MAX_FILE)? else { return Ok(()) };
    let mut waiting: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
        match line {
            Line::Report { sequence, kind, body } if kind == "alarm" => drop(waiting.insert(sequence, body)),
            Line::Report { .. } => {}
            Line::Marker { accepted_through, taken } => {
                waiting.retain(|sequence, _| *sequence > accepted_through && !taken.contains(sequence));
            }
        }
    }
    let (alarms, mut whole) = (waiting.len(), true);
    for mut body in waiting.into_values() {
        let at = body.get("at").and_then(Value::as_str).and_then(|at| at.parse::<DateTime<Utc>>().ok()).unwrap_or_else(Utc::now);
        for key in ["sequence", "kind"] {
            body.remove(key);
        }
        // On a full disk the file stays for the next start: once more is better than never.
        whole &= outbox.alarm(at, ClockState::Untrusted, body)? == Kept::OnDisk;
    }
    if alarms > 0 {
        tracing::info!(alarms, "alarms of the agent before this one go on");
    }
    if !whole {
        return Ok(());
    }
    files::remove(&path)?;
    files::remove(&path.with_extension("mark"))
}
