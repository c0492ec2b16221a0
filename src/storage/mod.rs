//! Bytes by digest, and staged uploads. A local directory: `blobs/sha256/ab/<hex>` and `uploads/<id>`.
//!
//! A blob appears by rename, after its bytes have been verified and made durable, so it is whole or absent. Staged uploads grow at
//! their end only; the length on disk after fsync is the durable offset.

use std::path::{Path, PathBuf};

use app_package::digest::Digest;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::error::{Error, Result};

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStore {
    root: PathBuf,
}

impl BlobStore {
    /// Uses a folder, making it where absent.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        for dir in ["blobs/sha256", "blobs/sha512", "uploads"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Where a blob lies, for reading.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm()).join(hex.get(..2).unwrap_or("00")).join(hex)
    }

    /// Where an upload is staged. The id is ours, never a client's.
    pub fn staged(&self, upload_id: &str) -> PathBuf {
        self.root.join("uploads").join(upload_id)
    }

    /// Size of a blob in bytes, or none.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        match tokio::fs::metadata(self.path(digest)).await {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens a blob at an offset.
    pub async fn read_from(&self, digest: &Digest, offset: u64) -> Result<File> {
        let mut file = File::open(self.path(digest)).await.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found("blob-unknown"),
            _ => e.into(),
        })?;
        if offset > 0 {
            file.seek(std::io::SeekFrom::Start(offset)).await?;
        }
        Ok(file)
    }

    /// Reads a small blob whole; larger than `max` bytes is an error.
    pub async fn read_small(&self, digest: &Digest, max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_from(digest, 0).await?.take(max + 1).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 > max { Err(Error::too_large("blob-too-large")) } else { Ok(bytes) }
    }

    /// Opens a staged upload for appending at `offset`, cutting off anything beyond it that was never acknowledged.
    pub async fn append_at(&self, upload_id: &str, offset: u64) -> Result<File> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(self.staged(upload_id)).await?;
        file.set_len(offset).await?;
        file.seek(std::io::SeekFrom::Start(offset)).await?;
        Ok(file)
    }

    /// Makes a staged file the blob of a digest. The caller has verified the digest.
    pub async fn publish(&self, upload_id: &str, digest: &Digest) -> Result<()> {
        let staged = self.staged(upload_id);
        let target = self.path(digest);
        tokio::task::spawn_blocking(move || {
            let dir = target.parent().ok_or_else(|| Error::internal(anyhow::anyhow!("blob path has no folder")))?;
            std::fs::create_dir_all(dir)?;
            std::fs::File::open(&staged)?.sync_all()?;
            std::fs::rename(&staged, &target)?;
            std::fs::File::open(dir)?.sync_all()?;
            Ok(())
        })
        .await
        .map_err(Error::internal)?
    }

    /// Stores bytes that are in memory anyway (configurations, envelopes); gives the digest.
    pub async fn put_small(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.size(&digest).await?.is_none() {
            let id = crate::ids::new("put");
            let mut file = self.append_at(&id, 0).await?;
            file.write_all(bytes).await?;
            file.flush().await?;
            drop(file);
            self.publish(&id, &digest).await?;
        }
        Ok(digest)
    }

    /// As [`Self::put_small`], for code inside a transaction. The blob stays where the transaction does not; it is only unused then.
    pub fn put_small_blocking(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let target = self.path(&digest);
        if target.try_exists()? {
            return Ok(digest);
        }
        let staged = self.staged(&crate::ids::new("put"));
        let dir = target.parent().ok_or_else(|| Error::internal(anyhow::anyhow!("blob path has no folder")))?;
        std::fs::create_dir_all(dir)?;
        std::fs::write(&staged, bytes)?;
        std::fs::File::open(&staged)?.sync_all()?;
        std::fs::rename(&staged, &target)?;
        std::fs::File::open(dir)?.sync_all()?;
        Ok(digest)
    }

    /// Removes a staged upload, if it is there.
    pub async fn discard(&self, upload_id: &str) -> Result<()> {
        match tokio::fs::remove_file(self.staged(upload_id)).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Removes a blob, if it is there.
    pub async fn delete(&self, digest: &Digest) -> Result<()> {
        match tokio::fs::remove_file(self.path(digest)).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}
