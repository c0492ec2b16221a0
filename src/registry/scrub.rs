//! Reads every blob again and compares it with its digest. Repairs nothing: the bytes come back from a
//! copy, or by an upload of the same bytes, which replaces what is there.

use app_package::digest::Digest;
use futures_util::StreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256, Sha512};

use super::store;
use crate::base::app::App;
use crate::base::error::{Error, Result};

/// Blobs of one page.
const PAGE: i64 = 500;
/// Repositories named with a damaged blob.
const NAMED: i64 = 20;

/// What is wrong with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// The store does not have it.
    Missing,
    /// It has another size than the database says.
    Size,
    /// Its bytes have another digest.
    Content,
    /// The store has it and cannot read it, for example from a failing disk.
    Unreadable,
}

/// A damaged blob.
#[derive(Debug, Clone, Serialize)]
pub struct DamagedBlob {
    pub digest: String,
    /// What is wrong.
    pub damage: Damage,
    /// Repositories that hold it, at most 20.
    pub repositories: Vec<String>,
}

/// What a scrub found.
#[derive(Debug, Default, Serialize)]
pub struct ScrubReport {
    /// Blobs read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    pub damaged: Vec<DamagedBlob>,
}

/// Reads every blob; reports the damaged ones that a repository holds, each to `observe` at once.
pub async fn scrub(app: &App, mut observe: impl FnMut(&DamagedBlob)) -> Result<ScrubReport> {
    let (mut found, mut last) = (ScrubReport::default(), String::new());
    loop {
        let after = last.clone();
        let page = app.db.read(move |conn| Ok(store::blobs_after(conn, &after, PAGE)?)).await?;
        let Some((end, _)) = page.last() else { return Ok(found) };
        last.clone_from(end);
        for (text, size) in page {
            let digest = Digest::parse(&text).map_err(Error::internal)?;
            let size = u64::try_from(size).map_err(Error::internal)?;
            let damage = look(app, &digest, size).await?;
            found.blobs += 1;
            found.bytes += size;
            let Some(damage) = damage else { continue };
            let asked = text.clone();
            let repositories = app.db.read(move |conn| Ok(store::linking(conn, &asked, NAMED)?)).await?;
            // No repository links it, so nobody misses it: it was collected meanwhile, or never finished.
            if repositories.is_empty() {
                continue;
            }
            let damaged = DamagedBlob { digest: text, damage, repositories };
            observe(&damaged);
            found.damaged.push(damaged);
        }
    }
}

async fn look(app: &App, digest: &Digest, size: u64) -> Result<Option<Damage>> {
    match app.blobs.size(digest).await? {
        None => return Ok(Some(Damage::Missing)),
        Some(stored) if stored != size => return Ok(Some(Damage::Size)),
        Some(_) => {}
    }
    let mut stream = app.blobs.read(digest, 0, size).await?;
    let (mut short, mut long) = (Sha256::new(), Sha512::new());
    let is_long = digest.algorithm() == "sha512";
    while let Some(piece) = stream.next().await {
        // A blob that cannot be read must not keep the others from being checked.
        let Ok(piece) = piece else { return Ok(Some(Damage::Unreadable)) };
        (short, long) = tokio::task::spawn_blocking(move || {
            if is_long {
                long.update(&piece);
            } else {
                short.update(&piece);
            }
            (short, long)
        })
        .await
        .map_err(Error::internal)?;
    }
    let actual = if is_long { hex::encode(long.finalize()) } else { hex::encode(short.finalize()) };
    Ok((actual != digest.hex()).then_some(Damage::Content))
}
