//! The node's content-addressed store: blobs by digest, downloads that resume, and staged release folders.
//!
//! Invariants: a file under `blobs/` has the digest of its name (checked before the rename); a folder under `releases/`
//! is complete (renamed into place after all its files are synced).

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use tokio::io::AsyncWriteExt;
use tokio::time::{Duration, Instant};

use app_package::digest::{Digest, Hasher};
use app_package::oci::{Descriptor, ImageManifest};
use app_package::path::PackagePath;

use crate::cloud::{Cloud, mismatch, unreachable};
use crate::fault::Fault;
use crate::files;

/// Largest file of a release, in bytes (the same bound as at publishing).
pub const MAX_BLOB: u64 = 20 * 1024 * 1024 * 1024;
/// Files in a release at most.
const MAX_FILES: usize = 2_000;
/// Annotation with a layer's path in the release folder.
const TITLE: &str = "org.opencontainers.image.title";

/// Blobs and staged releases under one folder.
pub struct Store {
    root: PathBuf,
    /// One download per digest at a time.
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// One staging at a time: a cancelled job's may still be under way.
    staging: Mutex<()>,
}

fn disk(what: &str) -> impl Fn(std::io::Error) -> Fault + '_ {
    move |e| Fault::disk(what, &e)
}

/// Digest of a file, read in pieces.
fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0u8; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        match buffer.get(..read) {
            None | Some([]) => return Ok(hasher.finish()),
            Some(part) => hasher.update(part),
        }
    }
}

/// The files of a release: path and descriptor. Refuses illegal or doubled paths, and bounds.
pub fn files_of(manifest: &ImageManifest) -> Result<Vec<(PackagePath, &Descriptor)>, Fault> {
    let bad = |why: String| Fault::new("release-manifest-invalid", "release", why);
    if manifest.layers.len() > MAX_FILES {
        return Err(bad(format!("{} layers, at most {MAX_FILES} are allowed", manifest.layers.len())));
    }
    let mut seen = BTreeSet::new();
    let mut files = Vec::with_capacity(manifest.layers.len());
    for layer in &manifest.layers {
        let title = layer.annotations.as_ref().and_then(|a| a.get(TITLE)).ok_or_else(|| bad("a layer has no title".into()))?;
        let path = PackagePath::parse(title).map_err(|e| bad(format!("layer path {title:?}: {}", e.code())))?;
        if layer.size > MAX_BLOB {
            return Err(bad(format!("{title} is over {MAX_BLOB} bytes")));
        }
        // Letter case is folded so that a package means the same on every file system.
        if !seen.insert(path.as_str().to_lowercase()) {
            return Err(bad(format!("two layers are called {title}")));
        }
        files.push((path, layer));
    }
    Ok(files)
}

impl Store {
    /// The store in this folder (made where absent).
    pub fn open(root: &Path) -> Result<Self, Fault> {
        for part in ["blobs", "partial", "releases"] {
            files::private_dir(&root.join(part))?;
        }
        Ok(Self { root: root.to_owned(), locks: Mutex::default(), staging: Mutex::default() })
    }

    /// Where a blob is, if it is here.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    fn partial(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }

    /// Folder of a staged release.
    pub fn release(&self, digest: &Digest) -> PathBuf {
        self.root.join("releases").join(digest.hex())
    }

    /// Keeps bytes under their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Fault> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        if !path.exists() {
            files::write_atomic(&path, bytes)?;
        }
        Ok(digest)
    }

    /// Bytes of a small blob, checked again; `None` where it is absent or damaged (then it is removed).
    pub fn get(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.path(digest);
        let Some(bytes) = files::read_bounded(&path, limit)? else { return Ok(None) };
        if &Digest::of(&bytes) == digest {
            return Ok(Some(bytes));
        }
        tracing::warn!(%digest, "a damaged blob was removed");
        files::remove(&path)?;
        Ok(None)
    }

    /// Makes sure that a blob is here, downloading what is missing of it. Safe to cancel at any point: the next call
    /// goes on where this one stopped.
    pub async fn fetch(&self, cloud: &Cloud, repository: &str, descriptor: &Descriptor) -> Result<(), Fault> {
        let digest = &descriptor.digest;
        if digest.algorithm() != "sha256" || descriptor.size > MAX_BLOB {
            return Err(Fault::new("release-manifest-invalid", "release", format!("blob {digest}: algorithm or size not accepted")));
        }
        let lock = self.locks.lock().unwrap_or_else(PoisonError::into_inner).entry(digest.to_string()).or_default().clone();
        let _guard = lock.lock().await;
        if self.path(digest).exists() {
            return Ok(());
        }
        // A broken line is resumed as long as it brings something; without progress the caller waits and retries. The pace is that of all
        // connections together: whoever breaks each one off after a few bytes is slow, too.
        let mut pace = Pace::new(PACE_WINDOW);
        loop {
            let before = self.partial_size(digest);
            match self.download(cloud, repository, descriptor, &mut pace).await {
                Ok(()) => break,
                Err(fault) if fault.code == "server-unreachable" && self.partial_size(digest) > before => {
                    tracing::info!(%digest, have = self.partial_size(digest), "download broke off, resuming");
                    tokio::time::sleep(RESUME_PAUSE).await;
                    pace.take(0)?;
                }
                Err(fault) => return Err(fault),
            }
        }
        let (partial, blob, expected) = (self.partial(digest), self.path(digest), digest.clone());
        tokio::task::spawn_blocking(move || {
            let found = digest_of(&partial).map_err(disk("cannot read a download"))?;
            if found != expected {
                files::remove(&partial)?;
                return Err(mismatch("blob", expected.as_str(), &found));
            }
            std::fs::rename(&partial, &blob).map_err(disk("cannot keep a download"))?;
            blob.parent().map_or(Ok(()), files::sync_dir).map_err(disk("cannot keep a download"))
        })
        .await
        .map_err(|e| Fault::new("cancelled", "store", e.to_string()))?
    }

    fn partial_size(&self, digest: &Digest) -> u64 {
        std::fs::metadata(self.partial(digest)).map_or(0, |m| m.len())
    }

    async fn download(&self, cloud: &Cloud, repository: &str, descriptor: &Descriptor, pace: &mut Pace) -> Result<(), Fault> {
        let path = self.partial(&descriptor.digest);
        let mut have = self.partial_size(&descriptor.digest);
        if have > descriptor.size {
            files::remove(&path)?;
            have = 0;
        }
        let mut file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .await
            .map_err(disk("cannot open a download"))?;
        if have < descriptor.size {
            let mut answer = cloud.blob(repository, &descriptor.digest, have).await?;
            if have > 0 {
                let start = format!("bytes {have}-");
                let resumed = answer.status() == StatusCode::PARTIAL_CONTENT
                    && answer.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.starts_with(&start));
                if !resumed {
                    // The server cannot resume: the download starts from the beginning.
                    file.set_len(0).await.map_err(disk("cannot empty a download"))?;
                    have = 0;
                    if answer.status() != StatusCode::OK {
                        answer = cloud.blob(repository, &descriptor.digest, 0).await?;
                    }
                }
            }
            while let Some(chunk) = answer.chunk().await.map_err(|e| unreachable(&e))? {
                have += chunk.len() as u64;
                pace.take(chunk.len() as u64)?;
                if have > descriptor.size {
                    drop(file);
                    files::remove(&path)?;
                    return Err(Fault::new("blob-size-mismatch", "release", format!("{} is larger than announced", descriptor.digest)));
                }
                file.write_all(&chunk).await.map_err(disk("cannot write a download"))?;
            }
            file.flush().await.map_err(disk("cannot write a download"))?;
        }
        file.sync_all().await.map_err(disk("cannot write a download"))?;
        if have < descriptor.size {
            return Err(Fault::new(
                "server-unreachable",
                "server",
                format!("{} broke off at {have} of {} bytes", descriptor.digest, descriptor.size),
            ));
        }
        Ok(())
    }

    /// True when the folder of a release has all its files with the right content. Blocking; reads every byte.
    pub fn is_staged(&self, release: &Digest, manifest: &ImageManifest) -> Result<bool, Fault> {
        let folder = self.release(release);
        for (path, layer) in files_of(manifest)? {
            match digest_of(&folder.join(path.as_str())) {
                Ok(found) if found == layer.digest => {}
                Ok(_) => return Ok(false),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(Fault::disk("cannot read a release", &e)),
            }
        }
        Ok(true)
    }

    /// Lays out the folder of a release from its blobs. Files are hard links: no byte is stored twice. Blocking.
    pub fn stage(&self, release: &Digest, manifest: &ImageManifest) -> Result<PathBuf, Fault> {
        let _alone = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.release(release);
        let temporary = folder.with_extension("tmp");
        files::remove(&temporary)?;
        files::private_dir(&temporary)?;
        let mut folders = BTreeSet::from([temporary.clone()]);
        for (path, layer) in files_of(manifest)? {
            let target = temporary.join(path.as_str());
            if let Some(parent) = target.parent() {
                files::private_dir(parent)?;
                folders.extend(parent.ancestors().take_while(|a| a.starts_with(&temporary)).map(Path::to_owned));
            }
            let blob = self.path(&layer.digest);
            if std::fs::hard_link(&blob, &target).is_err() {
                // File systems without hard links (a FAT stick) get copies.
                std::fs::copy(&blob, &target)
                    .and_then(|_| std::fs::File::open(&target)?.sync_all())
                    .map_err(disk("cannot stage a release"))?;
            }
        }
        for folder in folders.iter().rev() {
            files::sync_dir(folder).map_err(disk("cannot stage a release"))?;
        }
        files::remove(&folder)?;
        std::fs::rename(&temporary, &folder).map_err(disk("cannot stage a release"))?;
        files::sync_dir(&self.root.join("releases")).map_err(disk("cannot stage a release"))?;
        Ok(folder)
    }

    /// Removes blobs, half downloads and folders that nobody needs any more. `keep` are hexadecimal digests.
    pub fn collect(&self, keep: &BTreeSet<String>) {
        for part in ["blobs", "partial", "releases"] {
            let Ok(entries) = std::fs::read_dir(self.root.join(part)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !keep.contains(&name)
                    && let Err(fault) = files::remove(&entry.path())
                {
                    tracing::warn!(%fault, "cannot remove what is no longer needed");
                }
            }
        }
    }
}

/// Least bytes in each [`PACE_WINDOW`]: a modem of 9,600 bit/s brings four times that. Whoever answers slower than that keeps a release away (TUF:
/// slow retrieval), which must show as a fault and not as a download that goes on for hours.
const LEAST: u64 = 32 * 1024;
const PACE_WINDOW: Duration = Duration::from_mins(2);
/// Wait before a download that broke off goes on.
const RESUME_PAUSE: Duration = Duration::from_millis(500);

/// How fast a download comes, over all its connections.
struct Pace {
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(window: Duration) -> Self {
        Self { window, since: Instant::now(), bytes: 0 }
    }

    /// Counts what came.
    fn take(&mut self, bytes: u64) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.since.elapsed() < self.window {
            return Ok(());
        }
        let came = std::mem::take(&mut self.bytes);
        self.since = Instant::now();
        if came >= LEAST {
            return Ok(());
        }
        Err(Fault::new("download-too-slow", "server", format!("{came} bytes came in {} s", self.window.as_secs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_drips_is_given_up() {
        // Every call ends a window.
        let mut pace = Pace::new(Duration::ZERO);
        assert!(pace.take(LEAST).is_ok());
        assert_eq!(pace.take(LEAST - 1).unwrap_err().code, "download-too-slow");
        assert!(Pace::new(Duration::from_hours(1)).take(1).is_ok(), "not before a window is over");
    }
}
