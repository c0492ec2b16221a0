//! Bytes by digest, in a local directory or an S3 store, and uploads that are staged on the local disk.
//!
//! Invariants:
//! - A blob appears after its bytes have been verified and made durable, so it is whole or absent.
//! - Staged uploads grow at their end only; the length on disk after fsync is the durable offset.
//! - The row of a blob is made before its bytes are relied on: whoever links a blob touches its row first, in a transaction, and looks
//!   after that whether the bytes are there. Garbage collection removes bytes while it holds the row. So neither misses the other.

mod directory;
mod s3;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use app_package::digest::Digest;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncSeekExt as _;
use tokio::runtime::Handle;

use self::directory::Directory;
use self::s3::S3;
use crate::base::config::Storage;
use crate::base::error::{Error, Result};

/// Algorithms of digests.
pub const ALGORITHMS: [&str; 2] = ["sha256", "sha512"];

/// Time for one call of the S3 store inside a transaction.
const IN_A_TRANSACTION: Duration = Duration::from_secs(2);

/// The bytes of a blob in pieces.
pub type BlobStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A blob in the store's list.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Digest by the blob's name; the bytes are not verified.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: DateTime<Utc>,
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStore {
    uploads: PathBuf,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Directory(Directory),
    S3(Arc<S3>),
}

fn blob_unknown() -> Error {
    Error::not_found("blob-unknown")
}

/// Waits for a call inside a transaction, which others wait for.
fn briefly<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let limited = async { tokio::time::timeout(IN_A_TRANSACTION, call).await };
    Handle::current().block_on(limited).map_err(|e| Error::unavailable("storage-unavailable").source(e))?
}

impl BlobStore {
    /// Uses a folder for uploads, and the same folder or the bucket of the settings for blobs; makes folders where absent.
    pub fn open(root: &Path, settings: &Storage) -> anyhow::Result<Self> {
        let uploads = root.join("uploads");
        std::fs::create_dir_all(&uploads)?;
        let place = match settings.kind.as_str() {
            "directory" => Place::Directory(Directory::open(root.join("blobs"))?),
            "s3" => Place::S3(Arc::new(S3::open(&settings.s3)?)),
            other => anyhow::bail!("storage.kind must be directory or s3, not \"{other}\""),
        };
        Ok(Self { uploads, place })
    }

    /// Path of a staged upload. The platform made the id, never a client.
    pub fn staged(&self, upload_id: &str) -> PathBuf {
        self.uploads.join(upload_id)
    }

    /// Opens a staged upload for appending at `offset`, cutting off anything beyond it that was never acknowledged.
    pub async fn append_at(&self, upload_id: &str, offset: u64) -> Result<File> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(self.staged(upload_id)).await?;
        file.set_len(offset).await?;
        file.seek(std::io::SeekFrom::Start(offset)).await?;
        Ok(file)
    }

    /// Removes a staged upload, if it is there.
    pub async fn discard(&self, upload_id: &str) -> Result<()> {
        match tokio::fs::remove_file(self.staged(upload_id)).await {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Names of staged uploads, with the time of their last change. Blocks.
    pub fn list_staged(&self) -> Result<Vec<(String, DateTime<Utc>)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.uploads)? {
            let entry = entry?;
            // Skip a file that is removed meanwhile.
            if let (Ok(name), Ok(Ok(modified))) = (entry.file_name().into_string(), entry.metadata().map(|m| m.modified())) {
                found.push((name, modified.into()));
            }
        }
        Ok(found)
    }

    /// Makes a staged file the blob of a digest, which the caller has verified. The file stays until [`Self::discard`].
    pub async fn publish(&self, upload_id: &str, digest: &Digest) -> Result<()> {
        let staged = self.staged(upload_id);
        match &self.place {
            Place::Directory(dir) => {
                let (dir, digest) = (dir.clone(), digest.clone());
                tokio::task::spawn_blocking(move || dir.publish(&staged, &digest)).await.map_err(Error::internal)?
            }
            Place::S3(s3) => s3.publish(&staged, digest).await,
        }
    }

    /// Size of a blob in bytes, or none.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        match &self.place {
            Place::Directory(dir) => {
                let (dir, digest) = (dir.clone(), digest.clone());
                tokio::task::spawn_blocking(move || dir.size(&digest)).await.map_err(Error::internal)?
            }
            Place::S3(s3) => s3.size(digest).await,
        }
    }

    /// A part of a blob: `length` bytes from `first` on.
    ///
    /// # Errors
    /// `blob-unknown`; the stream of a blob that is shorter than asked for ends with an error.
    pub async fn read(&self, digest: &Digest, first: u64, length: u64) -> Result<BlobStream> {
        match &self.place {
            Place::Directory(dir) => dir.read(digest, first, length).await,
            Place::S3(s3) => s3.read(digest, first, length).await,
        }
    }

    /// Reads a small blob whole.
    ///
    /// # Errors
    /// `blob-unknown`; `blob-too-large` where it has more than `max` bytes.
    pub async fn read_small(&self, digest: &Digest, max: u64) -> Result<Vec<u8>> {
        let size = self.size(digest).await?.ok_or_else(blob_unknown)?;
        if size > max {
            return Err(Error::too_large("blob-too-large").arg("bytes", max));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(Error::internal)?);
        let mut stream = self.read(digest, 0, size).await?;
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// Signed address at which a client gets a blob from the S3 store itself, if the settings allow that. It expires.
    pub async fn address(&self, digest: &Digest) -> Result<Option<String>> {
        match &self.place {
            Place::Directory(_) => Ok(None),
            Place::S3(s3) => s3.address(digest).await,
        }
    }

    /// Lays a blob of a size at a path that is free. The file may be shared with the store, so nobody writes to it. Blocks: call it on the
    /// blocking pool.
    pub fn lay_blocking(&self, digest: &Digest, size: u64, target: &Path) -> Result<()> {
        match &self.place {
            Place::Directory(dir) => dir.lay(digest, target)?,
            Place::S3(s3) => Handle::current().block_on(s3.lay(digest, size, target))?,
        }
        let mut permissions = std::fs::metadata(target)?.permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(target, permissions)?;
        Ok(())
    }

    /// Whether the bytes are there, for code inside a transaction.
    pub fn exists_blocking(&self, digest: &Digest) -> Result<bool> {
        match &self.place {
            Place::Directory(dir) => Ok(dir.size(digest)?.is_some()),
            Place::S3(s3) => Ok(briefly(s3.size(digest))?.is_some()),
        }
    }

    /// Stores bytes that are in memory anyway, once the blob's row was touched.
    pub async fn put(&self, digest: &Digest, bytes: Vec<u8>) -> Result<()> {
        if self.size(digest).await?.is_some() {
            return Ok(());
        }
        match &self.place {
            Place::Directory(dir) => {
                let (dir, staged, digest) = (dir.clone(), self.staged(&crate::base::ids::new("put")), digest.clone());
                tokio::task::spawn_blocking(move || dir.put(&staged, &digest, &bytes)).await.map_err(Error::internal)?
            }
            Place::S3(s3) => s3.put(digest, &bytes).await,
        }
    }

    /// Stores bytes that are in memory anyway (configurations, envelopes), for code inside a transaction that has touched the blob's row.
    /// If the transaction is rolled back, the blob stays, unused.
    pub fn put_blocking(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.exists_blocking(digest)? {
            return Ok(());
        }
        match &self.place {
            Place::Directory(dir) => dir.put(&self.staged(&crate::base::ids::new("put")), digest, bytes),
            Place::S3(s3) => briefly(s3.put(digest, bytes)),
        }
    }

    /// Removes a blob, if it is there, for code inside a transaction that holds the blob's row.
    pub fn delete_blocking(&self, digest: &Digest) -> Result<()> {
        match &self.place {
            Place::Directory(dir) => dir.delete(digest),
            // Waited for to its end: one that was cut off here could take the bytes of whoever links the blob next.
            Place::S3(s3) => Handle::current().block_on(s3.delete(digest)),
        }
    }

    /// Blobs of an algorithm whose digest begins with two hex digits.
    pub async fn list(&self, algorithm: &str, prefix: &str) -> Result<Vec<Stored>> {
        match &self.place {
            Place::Directory(dir) => {
                let (dir, algorithm, prefix) = (dir.clone(), algorithm.to_owned(), prefix.to_owned());
                tokio::task::spawn_blocking(move || dir.list(&algorithm, &prefix)).await.map_err(Error::internal)?
            }
            Place::S3(s3) => s3.list(algorithm, prefix).await,
        }
    }

    /// Where a blob lies in the local directory; none in S3. Tests damage blobs there.
    pub fn local_path(&self, digest: &Digest) -> Option<PathBuf> {
        match &self.place {
            Place::Directory(dir) => Some(dir.path(digest)),
            Place::S3(_) => None,
        }
    }
}
