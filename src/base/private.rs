//! What others on the machine may not read: the data folder holds keys, hashes of passwords and the apps of developers.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;

/// Has all files and folders that this process makes be its user's alone.
pub fn by_default() {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
}

/// Makes a folder that is this user's alone, or takes away what others may do in it.
///
/// # Errors
/// Everybody may use the folder, and it belongs to another user. A group may stay where it must: volumes are given to containers so.
pub fn folder(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| format!("cannot make {}", path.display()))?;
    tighten(path, 0o700)
}

/// Makes a file that is this user's alone, or takes away what others may do with it.
pub fn file(path: &Path) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).with_context(|| format!("cannot write {}", path.display()))?;
    tighten(path, 0o600)
}

/// Takes away what others may do with a file that may be absent.
pub fn tighten(path: &Path, mode: u32) -> anyhow::Result<()> {
    let Ok(known) = std::fs::metadata(path) else { return Ok(()) };
    let others = known.mode() & 0o077;
    if others == 0 {
        return Ok(());
    }
    let open = format!("{} is open to others (mode {:o})", path.display(), known.mode() & 0o7777);
    match std::fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => {
            tracing::info!("{open}; it is closed to them now");
            Ok(())
        }
        Err(e) if others % 8 == 0 => {
            tracing::warn!(error = %e, "{open}, and stays so");
            Ok(())
        }
        Err(e) => Err(e)
            .with_context(|| format!("{open}, and cannot be closed to them: give it to the user of the server, or chmod it to {mode:o}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_closed() {
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        let dir = std::env::temp_dir().join(crate::base::ids::new("pithead-private"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        folder(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let (old, new) = (dir.join("old"), dir.join("new"));
        std::fs::write(&old, "x").unwrap();
        std::fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
        file(&old).unwrap();
        file(&new).unwrap();
        assert_eq!((mode(&old), mode(&new), std::fs::read(&old).unwrap().as_slice()), (0o600, 0o600, b"x".as_slice()));
        folder(&dir.join("below/it")).unwrap();
        assert_eq!((mode(&dir.join("below")), mode(&dir.join("below/it"))), (0o700, 0o700));
        tighten(&dir.join("none"), 0o600).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
