//! Upload of a set's archive: written to a staged file, inspected, then made a blob.

use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use app_package::digest::Digest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use inference::evaluate::archive::{Archive, Fault, MAX_ARCHIVE};
use inference::evaluate::metrics::Metric;
use inference::evaluate::set;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWriteExt as _, BufWriter};

use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::base::ids;

/// A client that sends nothing for this long counts as gone.
const STALL: Duration = Duration::from_mins(1);
/// Bytes given to the disk at once.
const PIECE: usize = 256 * 1024;

/// An archive that was received whole; its staged file is removed on drop.
pub struct StagedArchive {
    /// Name in the store's staging folder.
    pub id: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    file: StagedFile,
}

struct StagedFile(PathBuf);

impl Drop for StagedFile {
    fn drop(&mut self) {
        // A file that stays only costs space until garbage is collected.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl StagedArchive {
    /// Path of the staged file.
    pub fn path(&self) -> &Path {
        &self.file.0
    }
}

/// Writes a body to a staged file as it comes.
///
/// # Errors
/// `body-too-large`, `body-too-slow`, `body-broken`, `disk-full`.
pub async fn stage<S, E>(app: &App, mut body: S) -> Result<StagedArchive>
where
    S: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    E: Display,
{
    let id = ids::new("set");
    let file = StagedFile(app.blobs.staged(&id));
    let mut writer = BufWriter::with_capacity(PIECE, app.blobs.append_at(&id, 0).await?);
    let (mut hash, mut size) = (Sha256::new(), 0u64);
    loop {
        let next = tokio::time::timeout(STALL, body.next()).await.map_err(|_| Error::invalid("body-too-slow"))?;
        let Some(bytes) = next else { break };
        let bytes = bytes.map_err(|e| Error::invalid("body-broken").source(anyhow::anyhow!("{e}")))?;
        size += bytes.len() as u64;
        if size > MAX_ARCHIVE {
            return Err(Error::too_large("body-too-large").arg("bytes", MAX_ARCHIVE));
        }
        app.room.require(bytes.len() as u64)?;
        hash.update(&bytes);
        writer.write_all(&bytes).await?;
    }
    writer.flush().await?;
    writer.get_ref().sync_all().await?;
    let digest = Digest::parse(&format!("sha256:{}", hex::encode(hash.finalize()))).map_err(Error::internal)?;
    Ok(StagedArchive { id, digest, size, file })
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFacts {
    /// What its inputs are, as in app.yaml.
    pub input: &'static str,
    pub samples: i64,
    /// Unit of its value, or empty.
    pub unit: String,
}

/// Reads a whole archive; gives its facts, or its faults. Blocks.
pub fn inspect(path: &Path, metric: Metric) -> Result<std::result::Result<ArchiveFacts, Vec<Fault>>> {
    let file = File::open(path)?;
    Ok(facts(file, metric))
}

fn facts(file: File, metric: Metric) -> std::result::Result<ArchiveFacts, Vec<Fault>> {
    let mut archive = Archive::open(file)?;
    let set = set::TestSet::read(&mut archive, metric)?;
    let faults = set.check_inputs(&mut archive);
    if !faults.is_empty() {
        return Err(faults);
    }
    let samples = i64::try_from(set.samples.len()).unwrap_or(i64::MAX);
    Ok(ArchiveFacts { input: set.input.as_str(), samples, unit: set.quantity.map(|(_, unit)| unit).unwrap_or_default() })
}
