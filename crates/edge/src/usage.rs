//! Counters of what a deployment has done, cumulative over restarts of agent and app: what licences and bills go by.
//!
//! Invariants: within an epoch a counter only grows, so that the platform, which keeps the highest, counts right whatever is lost, sent again
//! or out of order. A node that has lost its counters begins another epoch. What the last seconds before a power cut counted is lost, never
//! counted twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::files;

/// File with the counters.
const FILE: &str = "usage.json";
/// Time between two records.
const EACH: Duration = Duration::from_mins(5);

/// What each release in each deployment has counted since the start of the agent: deployment and release, and by meter.
pub type Counts = Vec<((String, String), BTreeMap<&'static str, u64>)>;

/// What is on disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Counters {
    /// Random; another one where counting began anew.
    epoch: String,
    /// By deployment, and by meter (`inferences`, `errors`).
    counts: BTreeMap<String, BTreeMap<String, u64>>,
}

struct Inner {
    counters: Counters,
    /// What each source of counts had at the last look.
    last: BTreeMap<(String, String), BTreeMap<&'static str, u64>>,
    /// When the last record was made, and what it said.
    told: Option<Instant>,
    said: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The counters of a node.
pub struct Usage {
    path: PathBuf,
    inner: Mutex<Inner>,
}

impl Usage {
    /// Those of a data folder. Where they cannot be read, another epoch begins.
    pub fn open(data: &Path) -> Self {
        let path = data.join(FILE);
        let kept = files::read_json::<Counters>(&path).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "the counters are lost; counting begins anew");
            None
        });
        let counters = kept
            .filter(|counters| !counters.epoch.is_empty())
            .unwrap_or_else(|| Counters { epoch: uuid::Uuid::new_v4().simple().to_string(), ..Counters::default() });
        Self { path, inner: Mutex::new(Inner { counters, last: BTreeMap::new(), told: None, said: BTreeMap::new() }) }
    }

    /// Adds what was counted since the last look: `present` are counts since the agent's start, by deployment and release. Gives what a
    /// record is to say, at most each five minutes and where something has changed. Blocking.
    pub fn count(&self, present: Counts) -> Option<Map<String, Value>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for (source, counts) in present {
            for (meter, count) in &counts {
                let before = inner.last.get(&source).and_then(|last| last.get(meter)).copied().unwrap_or(0);
                let more = count.saturating_sub(before);
                if more > 0 {
                    let meters = inner.counters.counts.entry(source.0.clone()).or_default();
                    let sum = meters.entry((*meter).to_owned()).or_default();
                    *sum = sum.saturating_add(more);
                    changed = true;
                }
            }
            inner.last.insert(source, counts);
        }
        if changed && let Err(fault) = files::write_json(&self.path, &inner.counters) {
            tracing::debug!(%fault, "the counters could not be noted");
        }
        if inner.said == inner.counters.counts || inner.told.is_some_and(|told| told.elapsed() < EACH) {
            return None;
        }
        (inner.told, inner.said) = (Some(Instant::now()), inner.counters.counts.clone());
        let counters = inner.counters.counts.iter().flat_map(|(deployment, meters)| {
            meters.iter().map(move |(meter, count)| json!({ "deployment_id": deployment, "meter": meter, "count": count }))
        });
        let counters: Vec<Value> = counters.collect();
        Some(Map::from_iter([("epoch".to_owned(), json!(inner.counters.epoch)), ("counters".to_owned(), json!(counters))]))
    }

    /// The counters of a deployment.
    pub fn of(&self, deployment: &str) -> BTreeMap<String, u64> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.counters.counts.get(deployment).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn present(release: &str, inferences: u64) -> Counts {
        vec![(("dep_1".to_owned(), release.to_owned()), BTreeMap::from([("inferences", inferences)]))]
    }

    #[test]
    fn counts_grow_over_restarts_and_releases() {
        let dir = Scratch::new();
        let usage = Usage::open(dir.path());
        let first = usage.count(present("a", 5)).unwrap();
        assert_eq!(first["counters"], json!([{ "deployment_id": "dep_1", "meter": "inferences", "count": 5 }]));
        assert_eq!(usage.count(present("a", 9)), None, "not again within five minutes");
        usage.count(present("b", 2));
        assert_eq!(usage.of("dep_1")["inferences"], 11);
        drop(usage);
        // The agent starts anew, and counts from nothing.
        let again = Usage::open(dir.path());
        let told = again.count(present("b", 1)).unwrap();
        assert_eq!((&told["epoch"], &told["counters"][0]["count"]), (&first["epoch"], &json!(12)));
        drop(again);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let lost = Usage::open(dir.path()).count(present("b", 1)).unwrap();
        assert_eq!(lost["counters"][0]["count"], 1);
        assert_ne!(lost["epoch"], first["epoch"]);
    }
}
