//! Reads every blob and manifest again and compares it with its digest. Repairs nothing: the bytes come back from a copy, or by an upload of
//! the same bytes, which replaces what is there.

use app_package::digest::Digest;
use futures_util::StreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256, Sha512};

use super::{parsed, store};
use crate::base::app::App;
use crate::base::error::{Error, Result};

/// Blobs of one page.
const PAGE: i64 = 500;
/// Manifests of one page, of at most 4 MiB each.
const MANIFESTS: i64 = 8;
/// Repositories named with a damaged blob.
const NAMED: i64 = 20;

/// What is wrong with a blob or manifest.
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

/// A damaged blob or manifest.
#[derive(Debug, Clone, Serialize)]
pub struct DamagedContent {
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
    /// Manifests read.
    pub manifests: u64,
    pub damaged: Vec<DamagedContent>,
}

/// Reads every blob and manifest; reports the damaged ones that a repository holds, each to `observe` at once.
pub async fn scrub(app: &App, mut observe: impl FnMut(&DamagedContent)) -> Result<ScrubReport> {
    let mut found = ScrubReport::default();
    blobs(app, &mut observe, &mut found).await?;
    manifests(app, &mut observe, &mut found).await?;
    Ok(found)
}

async fn manifests(app: &App, observe: &mut impl FnMut(&DamagedContent), found: &mut ScrubReport) -> Result<()> {
    let mut last = (String::new(), String::new());
    loop {
        let (repository_id, digest) = last.clone();
        let (end, read, damaged) = app
            .db
            .read(move |conn| {
                let page = store::contents_after(conn, (&repository_id, &digest), MANIFESTS)?;
                let mut damaged = Vec::new();
                for (repository_id, digest, content) in &page {
                    if !parsed::is_whole(digest, content) {
                        let repositories = vec![store::name_of(conn, repository_id)?];
                        damaged.push(DamagedContent { digest: digest.clone(), damage: Damage::Content, repositories });
                    }
                }
                Ok((page.last().map(|(repository_id, digest, _)| (repository_id.clone(), digest.clone())), page.len(), damaged))
            })
            .await?;
        found.manifests += read as u64;
        damaged.iter().for_each(&mut *observe);
        found.damaged.extend(damaged);
        match end {
            Some(end) => last = end,
            None => return Ok(()),
        }
    }
}

async fn blobs(app: &App, observe: &mut impl FnMut(&DamagedContent), found: &mut ScrubReport) -> Result<()> {
    let mut last = String::new();
    loop {
        let after = last.clone();
        let page = app.db.read(move |conn| Ok(store::blobs_after(conn, &after, PAGE)?)).await?;
        let Some((end, _)) = page.last() else { return Ok(()) };
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
            let damaged = DamagedContent { digest: text, damage, repositories };
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
