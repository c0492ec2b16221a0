//! The machine that a data folder belongs to. A folder copied to another machine may be two nodes under one identity, of which each undoes
//! what the other reports. It is told, and stops nothing: the id of a machine changes with a new system or container, too.

use std::path::Path;

use app_package::digest::Digest;

use crate::fault::Fault;
use crate::files;

/// File with the digest of the machine's id.
const FILE: &str = "machine";
/// Longest content of that file, in bytes.
const MAX_FILE: u64 = 200;

/// What to do about the machine that a folder names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The folder is this machine's, or nothing can be said.
    Own,
    /// The folder names no machine yet, or its owner wants it to belong to this one: this machine is written down.
    Take,
    /// The folder belongs to another machine.
    Copied,
}

/// Judges the machine that is kept in the folder against this one. A machine without an id (a container may have none) proves nothing.
pub fn judge(kept: Option<&str>, here: Option<&str>, adopt: bool) -> Claim {
    match (kept, here) {
        (_, None) => Claim::Own,
        (Some(kept), Some(here)) if kept == here => Claim::Own,
        (Some(_), Some(_)) if !adopt => Claim::Copied,
        _ => Claim::Take,
    }
}

/// Digest of this machine's id, which itself is not to be given away (machine-id(5)).
fn here() -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    (id.len() == 32).then(|| Digest::of(format!("pithead-edge {id}").as_bytes()).to_string())
}

/// Takes the folder for this machine; `data-folder-copied` where it belongs to another one.
pub fn claim(data: &Path, adopt: bool) -> Result<(), Fault> {
    let file = data.join(FILE);
    let kept = files::read_bounded(&file, MAX_FILE)?.and_then(|bytes| String::from_utf8(bytes).ok());
    let here = here();
    match (judge(kept.as_deref().map(str::trim), here.as_deref(), adopt), &here) {
        (Claim::Take, Some(here)) => {
            // On a full disk the folder stays as it is; that is no reason not to run.
            if let Err(fault) = files::write_atomic(&file, here.as_bytes()) {
                tracing::warn!(%fault, "the machine of the data folder could not be noted");
            }
            Ok(())
        }
        (Claim::Copied, _) => Err(Fault::new(
            "data-folder-copied",
            "identity",
            "this data folder comes from another machine; apps run all the same. If the other machine is gone for good, run this one with \
             --adopt once; if it still runs, enrol this one in a folder of its own: two nodes with one identity disturb each other",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_copy_is_told_from_its_own_until_it_is_adopted() {
        assert_eq!(judge(None, Some("a"), false), Claim::Take);
        assert_eq!(judge(Some("a"), Some("a"), false), Claim::Own);
        assert_eq!(judge(Some("a"), Some("b"), false), Claim::Copied);
        assert_eq!(judge(Some("a"), Some("b"), true), Claim::Take);
        assert_eq!(judge(Some("a"), None, false), Claim::Own);
    }

    #[test]
    fn the_folder_remembers_its_machine() {
        let dir = Scratch::new();
        claim(dir.path(), false).unwrap();
        claim(dir.path(), false).unwrap();
        if here().is_some() {
            std::fs::write(dir.path().join(FILE), "sha256:of-another\n").unwrap();
            assert_eq!(claim(dir.path(), false).unwrap_err().code, "data-folder-copied");
            claim(dir.path(), true).unwrap();
            claim(dir.path(), false).unwrap();
        }
    }
}
