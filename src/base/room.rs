//! Room on the disk of the data folder. A reserve is kept for the database: uploads are refused while less is free, so that people can still
//! sign in, order and pay. Where the disk fills up all the same (by another program), a file of some MiB that was laid aside is given up for
//! that, once.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;

use super::config::Storage;
use super::error::{Error, Result};

/// Largest file that is laid aside, in bytes; on a small disk it is a fiftieth of it.
const ASIDE: u64 = 16 << 20;
/// When to try again what found no room: somebody must make some first.
const TRY_AGAIN: TimeDelta = TimeDelta::minutes(5);

/// The disk's reserve. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Room(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    folder: PathBuf,
    /// Bytes, and percent of the disk: the smaller counts.
    reserve: u64,
    percent: u64,
}

/// A disk's bytes.
#[derive(Debug, Clone, Copy)]
struct Disk {
    free: u64,
    size: u64,
}

/// Nothing can be stored now.
pub fn full() -> Error {
    Error::full("disk-full").retry_after(TRY_AGAIN)
}

impl Room {
    /// The room in a folder, with the reserve of the settings.
    pub fn of(folder: &Path, settings: &Storage) -> Self {
        let reserve = settings.reserve_mib.saturating_mul(1 << 20);
        Self(Arc::new(Parts { folder: folder.to_owned(), reserve, percent: settings.reserve_percent }))
    }

    /// None where the system does not tell.
    fn disk(&self) -> Option<Disk> {
        let known = rustix::fs::statvfs(&self.0.folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(known.f_frsize);
        Some(Disk { free: bytes(known.f_bavail), size: bytes(known.f_blocks) }).filter(|disk| disk.size > 0)
    }

    /// Checks that so many bytes can be stored without touching the reserve.
    ///
    /// # Errors
    /// `disk-full`.
    pub fn require(&self, bytes: u64) -> Result<()> {
        let Some(disk) = self.disk() else { return Ok(()) };
        let reserve = self.0.reserve.min(disk.size / 100 * self.0.percent);
        if disk.free >= reserve.saturating_add(bytes) { Ok(()) } else { Err(full()) }
    }

    fn aside(&self) -> PathBuf {
        self.0.folder.join("aside")
    }

    /// Lays the file aside, where there is room for it and it is not there.
    pub fn lay_aside(&self) {
        let Some(disk) = self.disk() else { return };
        let size = ASIDE.min(disk.size / 50);
        if self.aside().exists() || self.require(size).is_err() {
            return;
        }
        let laid =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(self.aside()).and_then(|file| take(&file, size));
        if let Err(e) = laid {
            // The file would only be of use where the disk can be filled to the end.
            tracing::debug!(error = %e, "no room was laid aside");
            let _ = std::fs::remove_file(self.aside());
        }
    }

    /// Gives up what was laid aside; false where nothing was.
    pub fn release(&self) -> bool {
        match std::fs::remove_file(self.aside()) {
            Ok(()) => {
                tracing::error!(folder = %self.0.folder.display(), "the disk is full: room that was laid aside is used up now");
                true
            }
            Err(e) => {
                if e.kind() != ErrorKind::NotFound {
                    tracing::error!(error = %e, "room that was laid aside cannot be used");
                }
                false
            }
        }
    }
}

/// Has the file system set blocks aside for a file.
fn take(file: &File, size: u64) -> std::io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::Settings;

    fn settings(reserve_mib: u64, reserve_percent: u64) -> Storage {
        Storage { reserve_mib, reserve_percent, ..Settings::default().storage }
    }

    #[test]
    fn the_smaller_of_both_reserves_counts() {
        let folder = std::env::temp_dir();
        let huge = Room::of(&folder, &settings(u64::MAX, 100));
        assert_eq!(huge.require(0).unwrap_err().code, "disk-full");
        assert!(Room::of(&folder, &settings(u64::MAX, 0)).require(1).is_ok());
        assert!(Room::of(&folder, &settings(0, 100)).require(1).is_ok());
        assert!(Room::of(&folder, &settings(0, 0)).require(u64::MAX).is_err());
        assert!(Room::of(&folder.join("none-such"), &settings(u64::MAX, 100)).require(0).is_ok(), "what cannot be measured is not refused");
    }

    #[test]
    fn room_is_laid_aside_and_given_up_once() {
        let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-room"));
        std::fs::create_dir_all(&folder).unwrap();
        let room = Room::of(&folder, &settings(0, 5));
        room.lay_aside();
        let laid = std::fs::metadata(folder.join("aside")).unwrap();
        assert!(laid.len() > 0 && std::os::unix::fs::MetadataExt::blocks(&laid) * 512 >= laid.len(), "real blocks, no hole");
        assert_eq!((room.release(), room.release()), (true, false));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
