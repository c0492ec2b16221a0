//! Files that survive a power cut: written to a temporary file, synced, renamed, and the folder synced.
//!
//! Invariant: a reader sees the old or the new content, never a part.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;

/// Largest JSON file that is read back, in bytes.
const MAX_JSON: u64 = 64 * 1024 * 1024;

/// Makes renames and new entries in a folder durable.
pub fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a folder (and its parents) that only this user may enter.
pub fn private_dir(dir: &Path) -> Result<(), Fault> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Fault::disk(&format!("cannot make folder {}", dir.display()), &e))
}

/// Replaces a file as a whole; it is readable by this user only.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    replace(path, |file| file.write_all(bytes).map_err(|e| unwritable(path, &e)))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::disk(&format!("cannot write {}", path.display()), error)
}

/// Replaces a file as a whole by what `write` puts into it; it is readable by this user only.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> Result<(), Fault>) -> Result<(), Fault> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    let temporary = temporary_of(path);
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
    let mut file = open.map_err(|e| unwritable(path, &e))?;
    write(&mut file)?;
    file.sync_all().and_then(|()| std::fs::rename(&temporary, path)).and_then(|()| sync_dir(parent)).map_err(|e| unwritable(path, &e))
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Replaces a JSON file as a whole.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Fault> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|e| Fault::new("state-unwritable", "state", e.to_string()))?;
    write_atomic(path, &bytes)
}

/// Reads a JSON file; `None` where there is none. A file that does not parse is an error: state is never silently lost,
/// because the anti-rollback version lives in it.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    let Some(bytes) = read_bounded(path, MAX_JSON)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Fault::new("state-unreadable", "state", format!("{}: {e}", path.display())))
}

/// Reads a file of at most `limit` bytes; `None` where there is none.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Fault::disk(&format!("cannot open {}", path.display()), &e)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Fault::disk(&format!("cannot read {}", path.display()), &e))?;
    if bytes.len() as u64 > limit {
        return Err(Fault::new("file-too-large", "store", format!("{} is over {limit} bytes", path.display())));
    }
    Ok(Some(bytes))
}

/// Removes a file or folder tree that may be absent.
pub fn remove(path: &Path) -> Result<(), Fault> {
    let result = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fault::disk(&format!("cannot remove {}", path.display()), &e)),
        _ => Ok(()),
    }
}
