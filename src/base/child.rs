//! What a confined child process is run with: its program, limits and a working folder of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use app_package::oci::Descriptor;
use app_package::path::PackagePath;
use inference::provider::Library;
use inference::sandbox::Limits;

use super::config::{Checks, Settings};
use super::error::{Error, Result};
use super::ids;
use super::storage::BlobStore;

/// Folder of all runs, in the data folder.
const FOLDER: &str = "checks";
/// Open files of the child.
const OPEN_FILES: u64 = 256;

/// What a confined child is run with. It works in `/`, so all paths are absolute.
pub struct Child {
    pub program: PathBuf,
    /// Library of the engine.
    pub lib: PathBuf,
    /// Providers beside it.
    pub providers: Vec<Library>,
    pub limits: Limits,
    /// Time after which it is ended.
    pub wall: Duration,
}

/// The child that the settings describe; `None` where the engine's library does not exist.
pub fn child(settings: &Checks) -> Result<Option<Child>> {
    let Ok(lib) = std::fs::canonicalize(&settings.ort_lib) else { return Ok(None) };
    let program = if settings.program.is_empty() { std::env::current_exe()? } else { PathBuf::from(&settings.program) };
    let limits = Limits {
        memory_bytes: settings.memory_mib.saturating_mul(1 << 20),
        cpu_seconds: settings.cpu_seconds,
        open_files: OPEN_FILES,
        required: settings.require_confinement,
    };
    let providers = settings.libraries().map_err(Error::internal)?;
    Ok(Some(Child { program, lib, providers, limits, wall: Duration::from_secs(settings.wall_seconds) }))
}

/// Working folder of one run; removed on drop.
pub struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
        // The last run under a name removes the name's folder too; while another run lies in it, this fails and it stays.
        if let Some(name) = self.0.parent() {
            let _ = std::fs::remove_dir(name);
        }
    }
}

/// Removes what runs of an earlier server have left, which ended before them. The caller has locked the data folder.
pub fn clear(settings: &Settings) {
    remove(&settings.data_dir.0.join(FOLDER));
}

/// Removes a folder. One that stays only costs space, until the next start.
fn remove(dir: &Path) {
    if let Err(e) = std::fs::remove_dir_all(dir)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %dir.display(), error = %e, "check folder stays");
    }
}

impl Folder {
    /// A folder for this run alone: two runs under one `name` may overlap, where a job is claimed again or queued twice.
    /// [`Self::stage`] makes it.
    pub fn new(settings: &Settings, name: &str) -> Self {
        Self(settings.data_dir.0.join(FOLDER).join(name).join(ids::new("run")))
    }

    /// Makes the folder; gives its path.
    pub fn make(&self) -> Result<&Path> {
        std::fs::create_dir_all(&self.0)?;
        Ok(&self.0)
    }

    /// Path of the folder, which [`Self::stage`] makes.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Lays a package's blobs out by their paths in the subfolder `below` (in this folder itself if that is empty); gives its path.
    pub fn stage(&self, below: &str, blobs: &BlobStore, files: &[(PackagePath, Descriptor)]) -> Result<PathBuf> {
        let own = self.make()?;
        let dir = if below.is_empty() { own.to_owned() } else { own.join(below) };
        std::fs::create_dir_all(&dir)?;
        for (path, layer) in files {
            let target = dir.join(path.as_str());
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            blobs.lay_blocking(&layer.digest, layer.size, &target)?;
        }
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confinement_is_required_unless_the_setting_says_otherwise() {
        let mut checks = Checks { ort_lib: std::env::current_exe().unwrap().display().to_string(), ..Checks::default() };
        assert!(child(&checks).unwrap().unwrap().limits.required);
        checks.require_confinement = false;
        assert!(!child(&checks).unwrap().unwrap().limits.required);
    }

    #[test]
    fn runs_under_one_name_do_not_meet() {
        let data = std::env::temp_dir().join(ids::new("pithead-folders"));
        let mut settings = Settings::default();
        settings.data_dir.0 = data.clone();
        let blobs = BlobStore::open(&data, &settings.storage).unwrap();
        let (one, two) = (Folder::new(&settings, "rel_1"), Folder::new(&settings, "rel_1"));
        let first = one.stage("", &blobs, &[]).unwrap();
        std::fs::write(first.join("app.yaml"), "x").unwrap();
        let second = two.stage("", &blobs, &[]).unwrap();
        assert!(first != second && first.join("app.yaml").exists());
        drop(two);
        assert!(!second.exists() && first.join("app.yaml").exists());
        drop(one);
        assert_eq!(std::fs::read_dir(data.join("checks")).unwrap().count(), 0);
        let left = Folder::new(&settings, "rel_1");
        left.stage("", &blobs, &[]).unwrap();
        clear(&settings);
        assert!(!left.path().exists());
        std::fs::remove_dir_all(data).unwrap();
    }
}
