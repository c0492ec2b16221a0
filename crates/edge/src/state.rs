//! What the node knows over restarts, in one file.
//!
//! Invariant: everything named here by digest is in the store, or is fetched again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use app_package::digest::Digest;
use app_package::manifest::Provider;
use app_package::margo::{ComponentStatus, DeploymentStatus, State, StatusError};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::files;

/// Content of the state file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeState {
    /// Version of the last manifest taken; 0 before the first.
    pub manifest_version: u64,
    /// `ETag` of the last manifest taken.
    pub etag: Option<String>,
    /// Documents wanted, by deployment.
    pub desired: BTreeMap<String, Digest>,
    /// What is installed, by deployment.
    pub installed: BTreeMap<String, Installed>,
    /// Status posts that the server has not yet taken, the last of each deployment.
    pub unsent: BTreeMap<String, DeploymentStatus>,
    /// Digest of the capabilities last told.
    pub capabilities: Option<Digest>,
    /// Providers on which the process of a release ended in service, by release: it is not tried on them again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub crashed: BTreeMap<String, BTreeMap<Provider, Crashed>>,
}

/// How a process ended on a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashed {
    /// Version of the provider: another one is tried.
    pub version: String,
    pub message: String,
}

/// One installed deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    pub document: Digest,
    /// The release's image manifest.
    pub release: Digest,
    /// The envelope that the release was accepted by.
    pub signature: Digest,
    /// Version of the state manifest that asked for this document.
    pub adopted: u64,
}

/// The state in memory and on disk.
pub struct StateFile {
    path: PathBuf,
    state: Mutex<NodeState>,
}

impl StateFile {
    /// Reads the state, or begins an empty one.
    pub fn open(data: &Path) -> Result<Self, Fault> {
        let path = data.join("state.json");
        let state = files::read_json(&path)?.unwrap_or_default();
        Ok(Self { path, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the state.
    pub fn get(&self) -> NodeState {
        self.lock().clone()
    }

    /// Changes the state; it is on disk on return. If it cannot be written, nothing is changed.
    pub fn update<T>(&self, change: impl FnOnce(&mut NodeState) -> T) -> Result<T, Fault> {
        let mut state = self.lock();
        let mut next = state.clone();
        let result = change(&mut next);
        if next != *state {
            files::write_json(&self.path, &next)?;
            *state = next;
        }
        Ok(result)
    }

    /// Changes what may be lost in a crash: it holds in memory at once, and is on disk when the disk takes it. A full disk must not keep the
    /// node from telling what it does.
    pub fn hold<T>(&self, change: impl FnOnce(&mut NodeState) -> T) -> T {
        let mut state = self.lock();
        let before = state.clone();
        let result = change(&mut state);
        if before != *state
            && let Err(fault) = files::write_json(&self.path, &*state)
        {
            tracing::error!(%fault, "the node's state could not be written");
        }
        result
    }
}

/// A status post of a deployment with one component.
pub fn status_of(id: &str, component: &str, adopted: u64, state: State, fault: Option<&Fault>) -> DeploymentStatus {
    let error = fault.map(|f| StatusError {
        code: f.code.to_string(),
        source: f.source.to_owned(),
        message: f.message.chars().take(1000).collect(),
    });
    let component = ComponentStatus { name: component.to_owned(), state, error };
    DeploymentStatus::of(id, adopted, vec![component])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn survives_a_restart() {
        let dir = Scratch::new();
        let file = StateFile::open(dir.path()).unwrap();
        file.update(|s| {
            s.manifest_version = 7;
            s.etag = Some("x".into());
            s.unsent.insert("d".into(), status_of("d", "app", 7, State::Failed, Some(&Fault::new("digest-mismatch", "manifest", "no"))));
        })
        .unwrap();
        assert_eq!(StateFile::open(dir.path()).unwrap().get(), file.get());
    }

    #[test]
    fn what_is_held_goes_to_disk_with_the_next_change_that_can_be_written() {
        let dir = Scratch::new();
        let file = StateFile::open(dir.path()).unwrap();
        // A folder in the place of the temporary file: nothing can be written.
        let temporary = dir.path().join("state.json.tmp");
        std::fs::create_dir(&temporary).unwrap();
        file.hold(|s| s.etag = Some("x".into()));
        assert_eq!(file.get().etag.as_deref(), Some("x"));
        assert!(file.update(|s| s.manifest_version = 7).is_err());
        assert_eq!(file.get().manifest_version, 0, "what must be on disk is not taken");
        std::fs::remove_dir(&temporary).unwrap();
        file.update(|s| s.manifest_version = 7).unwrap();
        assert_eq!(StateFile::open(dir.path()).unwrap().get(), file.get());
    }

    #[test]
    fn damaged_state_is_not_taken_for_none() {
        let dir = Scratch::new();
        std::fs::write(dir.path().join("state.json"), b"{").unwrap();
        assert_eq!(StateFile::open(dir.path()).err().unwrap().code, "state-unreadable");
    }
}
