//! Blobs in a local directory: `blobs/<algorithm>/<first two hex digits>/<hex>`.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use app_package::digest::Digest;
use bytes::Bytes;

use super::{BlobStream, Stored, blob_unknown};
use crate::base::error::{Error, Result};

/// Bytes read at once; a pull holds two such pieces.
const READ: u64 = 256 * 1024;

/// A directory of blobs. All functions but [`Self::read`] block; callers run them on the blocking pool.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Uses a folder, making it where absent.
    pub fn open(root: PathBuf) -> std::io::Result<Self> {
        for algorithm in super::ALGORITHMS {
            std::fs::create_dir_all(root.join(algorithm))?;
        }
        Ok(Self { root })
    }

    /// Path of a blob, also of one that does not exist.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder(digest.algorithm(), digest.hex().get(..2).unwrap_or("00")).join(digest.hex())
    }

    fn folder(&self, algorithm: &str, prefix: &str) -> PathBuf {
        self.root.join(algorithm).join(prefix)
    }

    /// Size in bytes, or none.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        match std::fs::metadata(self.path(digest)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// A part of a blob. The next piece is read while the client takes the last one; between pieces no thread is held, so that slow
    /// clients, however many, hold up nobody.
    pub async fn read(&self, digest: &Digest, first: u64, length: u64) -> Result<BlobStream> {
        let path = self.path(digest);
        let opened = tokio::task::spawn_blocking(move || {
            let mut file = File::open(path)?;
            if first > 0 {
                file.seek(SeekFrom::Start(first))?;
            }
            std::io::Result::Ok(file)
        });
        let file = opened.await.map_err(Error::internal)?.map_err(|e| match e.kind() {
            ErrorKind::NotFound => blob_unknown(),
            _ => e.into(),
        })?;
        Ok(Box::pin(futures_util::stream::try_unfold(ahead(file, length), |pending| async {
            let Some(pending) = pending else { return Ok(None) };
            let (piece, file, left) = pending.await.map_err(std::io::Error::other)??;
            Ok(Some((piece, ahead(file, left))))
        })))
    }

    /// Makes a file of the same file system the blob of a digest. The file stays where it is, so that the caller may try again.
    pub fn publish(&self, staged: &Path, digest: &Digest) -> Result<()> {
        let target = self.path(digest);
        let dir = target.parent().ok_or_else(|| Error::internal(anyhow::anyhow!("blob path has no folder")))?;
        std::fs::create_dir_all(dir)?;
        File::open(staged)?.sync_all()?;
        // Link the file under a second name and rename that, so that a damaged blob is replaced whole.
        let mut beside = staged.as_os_str().to_owned();
        beside.push(".publish");
        let beside = PathBuf::from(beside);
        match std::fs::remove_file(&beside) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        std::fs::hard_link(staged, &beside)?;
        std::fs::rename(&beside, &target)?;
        // Renaming one name of a file onto another of the same file does nothing, and leaves the first.
        if beside.try_exists()? {
            std::fs::remove_file(&beside)?;
        }
        File::open(dir)?.sync_all()?;
        Ok(())
    }

    /// Stores bytes under their digest.
    pub fn put(&self, staged: &Path, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let stored = File::create(staged).and_then(|mut file| file.write_all(bytes)).map_err(Error::from);
        let stored = stored.and_then(|()| self.publish(staged, digest));
        // What could not be stored leaves nothing behind: on a full disk its bytes are needed.
        let removed = std::fs::remove_file(staged);
        stored?;
        Ok(removed?)
    }

    /// Lays a blob at a path: a hard link where the file system has them, else a copy.
    pub fn lay(&self, digest: &Digest, target: &Path) -> Result<()> {
        let source = self.path(digest);
        if std::fs::hard_link(&source, target).is_err() {
            std::fs::copy(&source, target)?;
        }
        Ok(())
    }

    /// Removes a blob, if it is there.
    pub fn delete(&self, digest: &Digest) -> Result<()> {
        match std::fs::remove_file(self.path(digest)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Blobs whose digest begins with two hex digits.
    pub fn list(&self, algorithm: &str, prefix: &str) -> Result<Vec<Stored>> {
        let entries = match std::fs::read_dir(self.folder(algorithm, prefix)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|hex| Digest::parse(&format!("{algorithm}:{hex}")).ok()) else { continue };
            let meta = entry.metadata()?;
            found.push(Stored { digest, size: meta.len(), modified: meta.modified()?.into() });
        }
        Ok(found)
    }
}

type Pending = tokio::task::JoinHandle<std::io::Result<(Bytes, File, u64)>>;

/// Begins to read the next piece, if anything is left.
fn ahead(mut file: File, left: u64) -> Option<Pending> {
    (left > 0).then(|| {
        tokio::task::spawn_blocking(move || {
            let wanted = left.min(READ);
            let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
            let read = (&mut file).take(wanted).read_to_end(&mut piece)? as u64;
            // A blob that is shorter than the database says is damaged; the client must not take it for whole.
            if read < wanted { Err(ErrorKind::UnexpectedEof.into()) } else { Ok((Bytes::from(piece), file, left - read)) }
        })
    })
}
