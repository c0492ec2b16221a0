//! What the next run must know of reports that wait in memory, because the disk is full: the next number, for numbers only grow, how many
//! alarms are lost if the agent ends, and from which number on, for some may have come to the disk before the mark said so.
//!
//! Invariant: the file has its size from the first start that had room, and is written over in place, which takes no room of the disk.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Size of the file, in bytes: one sector, which a disk writes whole or not at all.
const SIZE: usize = 512;

/// What is marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The next number.
    pub(super) next: u64,
    /// Alarms lost so far.
    pub(super) dropped: u64,
    /// Alarms that are in memory only.
    pub(super) held: u64,
    /// The lowest number of those; 0 where there are none.
    #[serde(default)]
    pub(super) since: u64,
}

impl Mark {
    /// Whether the alarm of this number counts in `held`, if it is one of those.
    pub(super) fn holds(self, number: u64) -> bool {
        self.since > 0 && (self.since..self.next).contains(&number)
    }

    fn bytes(self) -> std::io::Result<[u8; SIZE]> {
        let mut bytes = [b' '; SIZE];
        serde_json::to_writer(bytes.as_mut_slice(), &self)?;
        Ok(bytes)
    }
}

/// The file, and what stands in it.
#[derive(Default)]
pub(super) struct MarkFile {
    file: Option<File>,
    written: Mark,
}

impl MarkFile {
    /// Opens the file, or makes it where the disk has room. One that cannot be read says nothing.
    pub(super) fn open(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut found = Self { file: file.ok(), written: Mark::default() };
        let mut bytes = [0; SIZE];
        if let Some(file) = &found.file {
            match file.read_exact_at(&mut bytes, 0).ok().and_then(|()| serde_json::from_slice(&bytes).ok()) {
                Some(mark) => found.written = mark,
                None => found.put(Mark::default()),
            }
        }
        found
    }

    /// What stands in the file.
    pub(super) fn read(&self) -> Mark {
        self.written
    }

    /// Writes a mark over the former one, if it is another.
    pub(super) fn set(&mut self, mark: Mark) {
        if mark != self.written {
            self.put(mark);
        }
    }

    fn put(&mut self, mark: Mark) {
        let Some(file) = &self.file else { return };
        match mark.bytes().and_then(|bytes| file.write_all_at(&bytes, 0)).and_then(|()| file.sync_data()) {
            Ok(()) => self.written = mark,
            Err(e) => tracing::warn!(error = %e, "what waits in memory could not be marked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_mark_is_there_again_and_nonsense_is_none() {
        let dir = Scratch::new();
        let path = dir.path().join("mark");
        let mark = Mark { next: u64::MAX, dropped: u64::MAX, held: u64::MAX, since: u64::MAX };
        MarkFile::open(&path).set(mark);
        assert_eq!((MarkFile::open(&path).read(), std::fs::metadata(&path).unwrap().len()), (mark, SIZE as u64));
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(MarkFile::open(&path).read(), Mark::default());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), SIZE as u64);
    }
}
