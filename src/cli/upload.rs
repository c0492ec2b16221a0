//! A blob's way to the registry: in chunks, from where the server says that it is.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::Context as _;
use app_package::digest::Digest;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::client::{Lost, Remote};
use super::progress::Progress;
use super::words::Cannot as _;
use super::words::shown;
use crate::base::i18n::Lang;

/// Bytes of one PATCH.
const CHUNK: u64 = 4 * 1024 * 1024;

/// What is sent.
pub enum Source {
    /// A file on disk.
    File(PathBuf),
    /// Bytes that are in memory anyway.
    Bytes(Vec<u8>),
}

impl Source {
    fn read(&self, offset: u64, length: u64, lang: Lang) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => {
                let (from, to) = (usize::try_from(offset)?, usize::try_from(offset + length)?);
                bytes.get(from..to).map(<[u8]>::to_vec).context("beyond the end")
            }
            Self::File(path) => {
                let mut file = std::fs::File::open(path).cannot(lang, "read", path)?;
                file.seek(SeekFrom::Start(offset))?;
                let mut bytes = Vec::new();
                file.take(length).read_to_end(&mut bytes).cannot(lang, "read", path)?;
                anyhow::ensure!(bytes.len() as u64 == length, lang.format("cli-file-changed", &[("path", &shown(path))]));
                Ok(bytes)
            }
        }
    }
}

/// Sends a blob, unless the repository has it.
pub async fn send(
    remote: &Remote,
    repository: &str,
    digest: &Digest,
    size: u64,
    source: &Source,
    name: &str,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let known = format!("/v2/{repository}/blobs/{digest}");
    let head = remote.patiently(|| Ok(remote.request(Method::HEAD, remote.address(&known)?))).await?;
    if head.status() == StatusCode::OK {
        progress.done(name, size, &remote.lang.t("cli-already-there"));
        return Ok(());
    }
    if head.status() != StatusCode::NOT_FOUND {
        remote.expect(head, &[StatusCode::OK]).await?;
    }
    let mut failures = 0;
    let mut address: Option<Url> = None;
    loop {
        match upload(remote, repository, &mut address, digest, size, source, name, progress, &mut failures).await {
            Ok(()) => {
                progress.done(name, size, "");
                return Ok(());
            }
            Err(e) => remote.wait(&mut failures, e).await?,
        }
    }
}

/// One go at an upload: begins it, or asks how far it came.
#[expect(clippy::too_many_arguments, reason = "the state of one upload, used here only")]
async fn upload(
    remote: &Remote,
    repository: &str,
    address: &mut Option<Url>,
    digest: &Digest,
    size: u64,
    source: &Source,
    name: &str,
    progress: &mut Progress,
    failures: &mut u32,
) -> anyhow::Result<()> {
    let (mut at, mut offset) = if let Some(known) = address.clone() {
        let response = remote.attempt(remote.request(Method::GET, known.clone())).await?;
        if response.status() == StatusCode::NOT_FOUND {
            *address = None;
            return Err(Lost::new(remote.lang.t("cli-upload-ended")).into());
        }
        let offset = offset_of(&response);
        remote.expect(response, &[StatusCode::NO_CONTENT]).await?;
        (known, offset)
    } else {
        let begin = remote.address(&format!("/v2/{repository}/blobs/uploads/"))?;
        let response = remote.expect(remote.attempt(remote.request(Method::POST, begin)).await?, &[StatusCode::ACCEPTED]).await?;
        (remote.location(&response)?, 0)
    };
    *address = Some(at.clone());
    while offset < size {
        let length = CHUNK.min(size - offset);
        let body = source.read(offset, length, remote.lang)?;
        let request = remote
            .request(Method::PATCH, at.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_RANGE, format!("{offset}-{}", offset + length - 1))
            .body(body);
        let response = remote.attempt(request).await?;
        match response.status() {
            StatusCode::ACCEPTED => at = remote.location(&response).unwrap_or(at),
            // The server is elsewhere than we thought: ask it.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => return Err(Lost::new(remote.lang.t("cli-out-of-step")).into()),
            _ => {
                remote.expect(response, &[StatusCode::ACCEPTED]).await?;
            }
        }
        *address = Some(at.clone());
        offset += length;
        // What went through counts as a fresh start.
        *failures = 0;
        progress.show(name, offset, size, "");
    }
    let mut close = at;
    close.query_pairs_mut().append_pair("digest", digest.as_str());
    remote.expect(remote.attempt(remote.request(Method::PUT, close).header("Content-Length", "0")).await?, &[StatusCode::CREATED]).await?;
    Ok(())
}

/// Durable bytes of an upload: plainly, or as the specification's inclusive range.
fn offset_of(response: &Response) -> u64 {
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    if let Some(offset) = header("x-upload-offset").and_then(|v| v.parse().ok()) {
        return offset;
    }
    let last = header(RANGE.as_str()).and_then(|v| v.rsplit('-').next().and_then(|n| n.parse::<u64>().ok())).unwrap_or(0);
    if last > 0 { last + 1 } else { 0 }
}
