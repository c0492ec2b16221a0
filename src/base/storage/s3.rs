//! Blobs in an S3 store: objects `<prefix>blobs/<algorithm>/<first two hex digits>/<hex>` of one bucket.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use app_package::digest::Digest;
use chrono::DateTime;
use futures_util::StreamExt as _;
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::{Bucket, Region};
use tokio::io::AsyncWriteExt as _;

use super::{BlobStream, Stored, blob_unknown};
use crate::base::config::S3 as Settings;
use crate::base::error::{Error, Result};

/// Time for one request other than streaming a body.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Parts of one object that are sent at once; each is 8 MiB in memory.
const PARTS: usize = 2;

/// A bucket, and where clients reach it.
#[derive(Debug)]
pub struct S3 {
    /// For short requests.
    bucket: Box<Bucket>,
    /// For bodies; without a time limit.
    streaming: Box<Bucket>,
    /// Signs addresses for clients; `None` where this server sends them the bytes.
    public: Option<Box<Bucket>>,
    prefix: String,
    redirect_seconds: u32,
}

impl S3 {
    /// Prepares access to a bucket; sends no request yet.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let credentials =
            Credentials::new(Some(&settings.access_key), Some(&settings.secret_key), None, None, None).context("credentials of S3")?;
        let at = |endpoint: &str| -> anyhow::Result<Box<Bucket>> {
            let region = Region::Custom { region: settings.region.clone(), endpoint: endpoint.trim_end_matches('/').to_owned() };
            let mut bucket = Bucket::new(&settings.bucket, region, credentials.clone()).context("storage.s3")?;
            if settings.path_style {
                bucket.set_path_style();
            }
            Ok(bucket)
        };
        let mut bucket = at(&settings.endpoint)?;
        let mut streaming = bucket.clone();
        bucket.set_request_timeout(Some(TIMEOUT));
        streaming.set_request_timeout(None);
        let public = if settings.redirect {
            Some(at(if settings.public_endpoint.is_empty() { &settings.endpoint } else { &settings.public_endpoint })?)
        } else {
            None
        };
        Ok(Self { bucket, streaming, public, prefix: settings.prefix.clone(), redirect_seconds: settings.redirect_seconds })
    }

    fn key(&self, digest: &Digest) -> String {
        self.folder(digest.algorithm(), digest.hex().get(..2).unwrap_or("00")) + digest.hex()
    }

    fn folder(&self, algorithm: &str, prefix: &str) -> String {
        format!("{}blobs/{algorithm}/{prefix}/", self.prefix)
    }

    /// Size in bytes, or none.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        match self.bucket.head_object(self.key(digest)).await {
            Ok((head, _)) => Ok(Some(head.content_length.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(unavailable(e)),
        }
    }

    /// A part of a blob.
    pub async fn read(&self, digest: &Digest, first: u64, length: u64) -> Result<BlobStream> {
        let key = self.key(digest);
        let Some(last) = length.checked_sub(1).map(|n| first + n) else { return Ok(Box::pin(futures_util::stream::empty())) };
        let mut bucket = self.streaming.clone();
        bucket.add_header("range", &format!("bytes={first}-{last}"));
        let response = bucket.get_object_stream(key).await.map_err(|e| if is_missing(&e) { blob_unknown() } else { unavailable(e) })?;
        Ok(Box::pin(response.bytes.map(|piece| piece.map_err(std::io::Error::other))))
    }

    /// Sends a file as the blob of a digest. It appears whole, when all of it has come.
    pub async fn publish(&self, staged: &Path, digest: &Digest) -> Result<()> {
        let mut file = tokio::fs::File::open(staged).await?;
        let request = self.streaming.put_object_stream_builder(self.key(digest)).with_max_concurrent_chunks(PARTS);
        request.execute_stream(&mut file).await.map_err(unavailable)?;
        Ok(())
    }

    /// Stores bytes under their digest.
    pub async fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.bucket.put_object(self.key(digest), bytes).await.map_err(unavailable)?;
        Ok(())
    }

    /// Writes a blob to a new file.
    pub async fn lay(&self, digest: &Digest, size: u64, target: &Path) -> Result<()> {
        let mut file = tokio::fs::File::create_new(target).await?;
        let mut stream = self.read(digest, 0, size).await?;
        while let Some(piece) = stream.next().await {
            file.write_all(&piece?).await?;
        }
        file.flush().await?;
        Ok(())
    }

    /// Removes a blob, if it is there.
    pub async fn delete(&self, digest: &Digest) -> Result<()> {
        match self.bucket.delete_object(self.key(digest)).await {
            Err(e) if !is_missing(&e) => Err(unavailable(e)),
            _ => Ok(()),
        }
    }

    /// Signed address at which a client gets a blob itself, for a while; `None` where this server sends it.
    pub async fn address(&self, digest: &Digest) -> Result<Option<String>> {
        let Some(public) = &self.public else { return Ok(None) };
        Ok(Some(public.presign_get(self.key(digest), self.redirect_seconds, None).await.map_err(unavailable)?))
    }

    /// Blobs whose digest begins with two hex digits.
    pub async fn list(&self, algorithm: &str, prefix: &str) -> Result<Vec<Stored>> {
        let folder = self.folder(algorithm, prefix);
        let pages = self.bucket.list(folder.clone(), None).await.map_err(unavailable)?;
        let objects = pages.into_iter().flat_map(|page| page.contents);
        let stored = objects.filter_map(|object| {
            let digest = Digest::parse(&format!("{algorithm}:{}", object.key.strip_prefix(&folder)?)).ok()?;
            let modified = DateTime::parse_from_rfc3339(&object.last_modified).ok()?.to_utc();
            Some(Stored { digest, size: object.size, modified })
        });
        Ok(stored.collect())
    }
}

fn is_missing(e: &S3Error) -> bool {
    matches!(e, S3Error::HttpFailWithBody(404, _))
}

/// A failing store is a temporary fault of the platform; the store's own words go to the log.
fn unavailable(e: S3Error) -> Error {
    Error::unavailable("storage-unavailable").source(e)
}
