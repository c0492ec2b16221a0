//! Help for this crate's own tests.

use std::path::{Path, PathBuf};

/// Temporary folder of one test; removed on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh folder in the system's temporary folder.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pithead-edge-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
