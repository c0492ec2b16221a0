//! What the next run must know of a stream beside its file: which records wait in memory, because the disk is full, for they are lost if the
//! agent ends (from which number on, for some may have come to the disk before the mark said so), and up to which number the platform has all.
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
    /// Stands for the stream that it is of.
    pub(super) stream: u64,
    /// The next number.
    pub(super) next: u64,
    /// Records lost so far.
    pub(super) dropped: u64,
    /// Records that are in memory only.
    pub(super) held: u64,
    /// The lowest number of those; 0 where there are none.
    pub(super) since: u64,
    /// The platform has all up to this number.
    pub(super) acked: u64,
}

impl Mark {
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

    /// Writes a mark over the former one, if it is another, and waits for the disk.
    pub(super) fn set(&mut self, mark: Mark) {
        if mark != self.written {
            self.put(mark);
        }
    }

    /// The same without waiting: what is lost with the power is told once more.
    pub(super) fn note(&mut self, mark: Mark) {
        if mark != self.written && self.write(mark).is_ok() {
            self.written = mark;
        }
    }

    fn write(&self, mark: Mark) -> std::io::Result<()> {
        let file = self.file.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
        file.write_all_at(&mark.bytes()?, 0)
    }

    fn put(&mut self, mark: Mark) {
        let Some(file) = &self.file else { return };
        match self.write(mark).and_then(|()| file.sync_data()) {
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
        let mark = Mark { stream: u64::MAX, next: u64::MAX, dropped: u64::MAX, held: u64::MAX, since: u64::MAX, acked: u64::MAX };
        MarkFile::open(&path).set(mark);
        assert_eq!((MarkFile::open(&path).read(), std::fs::metadata(&path).unwrap().len()), (mark, SIZE as u64));
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(MarkFile::open(&path).read(), Mark::default());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), SIZE as u64);
    }
}
