//! `pithead push`: a folder into the registry, as the browser does it: check first, skip what the server has, send the rest in chunks,
//! go on after a lost connection, then put the manifest under its version.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use app_package::digest::Digest;
use app_package::oci::{CONFIG_TYPE, Descriptor, MANIFEST_TYPE, build_manifest, config_json};
use clap::Args;
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use super::package::{self, AT_FAULT, Output};
use crate::http::page::error_text;
use crate::i18n::Lang;
use crate::release::model;

/// Bytes of one PATCH.
const CHUNK: u64 = 4 * 1024 * 1024;
/// Failures in a row after which it gives up.
const MAX_FAILURES: u32 = 8;
/// Longest pause between tries.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// `pithead push DIR --server URL --token T`.
#[derive(Debug, Args)]
pub struct Push {
    /// Folder with app.yaml.
    pub dir: PathBuf,
    /// Address of the site, for example `https://market.example`.
    #[arg(long)]
    pub server: Url,
    /// API token with the scope `publish`.
    #[arg(long, required_unless_present = "token_file")]
    pub token: Option<String>,
    /// File that holds the token, so that it shows in no list of processes.
    #[arg(long, conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// The server has refused, for a reason that trying again does not mend.
#[derive(Debug, thiserror::Error)]
#[error("the server refused: {0}")]
struct Refused(String);

/// Pushes a folder.
pub fn push(args: &Push) -> anyhow::Result<ExitCode> {
    let folder = match package::open(&args.dir, &args.told)? {
        Ok(folder) => folder,
        Err(code) => return Ok(code),
    };
    let token = match &args.token_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?.trim().to_owned(),
        None => args.token.clone().unwrap_or_default(),
    };
    // Another part of this program may have chosen a provider already; it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .connect_timeout(Duration::from_secs(15))
        .timeout(Duration::from_mins(5))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("pithead/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let remote = Remote { client, server: args.server.clone(), token, language: args.told.lang.clone() };
    let result = runtime.block_on(async {
        let packed = folder.pack()?;
        let vendor = remote.vendor().await?;
        let name = &folder.manifest.name;
        let version = folder.manifest.version.to_string();
        let repository = format!("{vendor}/{name}");
        let manifest = build_manifest(&folder.manifest, &vendor, &packed);
        let digest = Digest::of(&manifest);
        remote.is_free(&repository, &version, &digest, &args.told.lang).await?;
        let mut progress = Progress::new(folder.bytes());
        for (file, local) in packed.iter().zip(&folder.files) {
            remote.send(&repository, &file.digest, file.size, &Source::File(local.source.clone()), &local.path, &mut progress).await?;
        }
        let config = config_json(&folder.manifest);
        let of_config = Descriptor::of(CONFIG_TYPE, &config).digest;
        remote.send(&repository, &of_config, config.len() as u64, &Source::Bytes(config), "config", &mut progress).await?;
        progress.end();
        remote.put_manifest(&repository, &version, manifest).await?;
        let address = args.server.join(&model::address(name, &version))?;
        anyhow::Ok((address, digest, version))
    });
    match result {
        Ok((address, digest, version)) => {
            if args.told.json {
                package::print(&json!({"ok": true, "location": address.as_str(), "digest": digest, "version": version}))?;
            } else {
                println!("{address}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(e) => match e.downcast_ref::<Refused>() {
            Some(refused) => {
                if args.told.json {
                    package::print(&json!({"ok": false, "error": refused.0}))?;
                }
                eprintln!("pithead: {refused}");
                Ok(ExitCode::from(AT_FAULT))
            }
            None => Err(e),
        },
    }
}

/// What is sent.
enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Source {
    fn read(&self, offset: u64, length: u64) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => {
                let (from, to) = (usize::try_from(offset)?, usize::try_from(offset + length)?);
                bytes.get(from..to).map(<[u8]>::to_vec).context("beyond the end")
            }
            Self::File(path) => {
                let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                file.seek(SeekFrom::Start(offset))?;
                let mut bytes = Vec::new();
                file.take(length).read_to_end(&mut bytes)?;
                anyhow::ensure!(bytes.len() as u64 == length, "{} changed while it was sent", path.display());
                Ok(bytes)
            }
        }
    }
}

struct Remote {
    client: Client,
    server: Url,
    token: String,
    language: String,
}

#[derive(Deserialize)]
struct Target {
    vendor: String,
}

impl Remote {
    fn request(&self, method: Method, address: Url) -> RequestBuilder {
        self.client.request(method, address).bearer_auth(&self.token).header("Accept-Language", &self.language)
    }

    /// An address on the server: relative ones as they are, absolute ones only of the same origin, for the token goes with them.
    fn address(&self, text: &str) -> anyhow::Result<Url> {
        let address = self.server.join(text)?;
        if address.origin() == self.server.origin() { Ok(address) } else { anyhow::bail!("the server points to another one: {address}") }
    }

    /// Sends a request until there is an answer that is neither a lost connection nor a passing trouble of the server.
    async fn patiently(&self, make: impl Fn() -> anyhow::Result<RequestBuilder>) -> anyhow::Result<Response> {
        let mut failures = 0;
        loop {
            match attempt(make()?).await {
                Ok(response) => return Ok(response),
                Err(e) => wait(&mut failures, e).await?,
            }
        }
    }

    /// Under which name this token publishes.
    async fn vendor(&self) -> anyhow::Result<String> {
        let response = self.patiently(|| Ok(self.request(Method::GET, self.address("/vendor/upload/target")?))).await?;
        let response = expect(response, &[StatusCode::OK]).await?;
        let target: Target = response.json().await.context("the server is no Pithead")?;
        Ok(target.vendor)
    }

    /// Before anything is sent: the version is not there yet, or is just this.
    async fn is_free(&self, repository: &str, version: &str, digest: &Digest, language: &str) -> anyhow::Result<()> {
        let path = format!("/v2/{repository}/manifests/{version}");
        let head = self.patiently(|| Ok(self.request(Method::HEAD, self.address(&path)?).header(ACCEPT, MANIFEST_TYPE))).await?;
        let known = head.headers().get("docker-content-digest").and_then(|v| v.to_str().ok());
        if head.status() == StatusCode::OK && known.is_some_and(|known| known != digest.as_str()) {
            let lang = if language == "zh" { Lang::Zh } else { Lang::En };
            return Err(Refused(error_text(lang, "release-version-taken", &[("version", version.to_owned())])).into());
        }
        Ok(())
    }

    async fn put_manifest(&self, repository: &str, version: &str, manifest: Vec<u8>) -> anyhow::Result<()> {
        let path = format!("/v2/{repository}/manifests/{version}");
        let response = self
            .patiently(|| Ok(self.request(Method::PUT, self.address(&path)?).header(CONTENT_TYPE, MANIFEST_TYPE).body(manifest.clone())))
            .await?;
        expect(response, &[StatusCode::CREATED]).await.map(|_| ())
    }

    /// Sends a blob, unless the repository has it.
    async fn send(
        &self,
        repository: &str,
        digest: &Digest,
        size: u64,
        source: &Source,
        name: &str,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let known = format!("/v2/{repository}/blobs/{digest}");
        let head = self.patiently(|| Ok(self.request(Method::HEAD, self.address(&known)?))).await?;
        if head.status() == StatusCode::OK {
            progress.show(name, size, size, "already there");
            progress.done(size);
            return Ok(());
        }
        if head.status() != StatusCode::NOT_FOUND {
            expect(head, &[StatusCode::OK]).await?;
        }
        let mut failures = 0;
        let mut address: Option<Url> = None;
        loop {
            match self.upload(repository, &mut address, digest, size, source, name, progress, &mut failures).await {
                Ok(()) => {
                    progress.done(size);
                    return Ok(());
                }
                Err(e) => wait(&mut failures, e).await?,
            }
        }
    }

    /// One go at an upload: begins it, or asks how far it came.
    #[expect(clippy::too_many_arguments, reason = "the state of one upload, used here only")]
    async fn upload(
        &self,
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
            let response = attempt(self.request(Method::GET, known.clone())).await?;
            if response.status() == StatusCode::NOT_FOUND {
                *address = None;
                return Err(Lost("the upload has ended on the server".into()).into());
            }
            let offset = offset_of(&response);
            expect(response, &[StatusCode::NO_CONTENT]).await?;
            (known, offset)
        } else {
            let begin = self.address(&format!("/v2/{repository}/blobs/uploads/"))?;
            let response = expect(attempt(self.request(Method::POST, begin)).await?, &[StatusCode::ACCEPTED]).await?;
            (self.location(&response)?, 0)
        };
        *address = Some(at.clone());
        while offset < size {
            let length = CHUNK.min(size - offset);
            let body = source.read(offset, length)?;
            let request = self
                .request(Method::PATCH, at.clone())
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_RANGE, format!("{offset}-{}", offset + length - 1))
                .body(body);
            let response = attempt(request).await?;
            match response.status() {
                StatusCode::ACCEPTED => at = self.location(&response).unwrap_or(at),
                // The server is elsewhere than we thought: ask it.
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => return Err(Lost("out of step with the server".into()).into()),
                _ => {
                    expect(response, &[StatusCode::ACCEPTED]).await?;
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
        expect(attempt(self.request(Method::PUT, close).header("Content-Length", "0")).await?, &[StatusCode::CREATED]).await?;
        progress.show(name, size, size, "");
        Ok(())
    }

    fn location(&self, response: &Response) -> anyhow::Result<Url> {
        let text = response.headers().get(LOCATION).and_then(|v| v.to_str().ok()).context("the server gave no Location")?;
        self.address(text)
    }
}

/// A passing trouble.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Lost(String);

/// Sends once; a broken connection, 429 and 5xx are [`Lost`].
async fn attempt(request: RequestBuilder) -> anyhow::Result<Response> {
    let response = request.send().await.map_err(|e| {
        // A request that cannot even be made, such as one with a line break in its token, will not be better next time.
        let passing = !e.is_builder();
        let e = anyhow::Error::from(e);
        if passing { Lost(e.root_cause().to_string()).into() } else { e.context("the request cannot be made; is the token whole?") }
    })?;
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(Lost(format!("the server answers {status}")).into());
    }
    Ok(response)
}

/// Waits before the next try, longer each time.
async fn wait(failures: &mut u32, error: anyhow::Error) -> anyhow::Result<()> {
    if !error.is::<Lost>() {
        return Err(error);
    }
    *failures += 1;
    if *failures >= MAX_FAILURES {
        return Err(error.context("gave up"));
    }
    let pause = Duration::from_millis(500 << *failures).min(MAX_PAUSE);
    eprintln!("\n{error}; trying again in {} s", pause.as_secs());
    tokio::time::sleep(pause).await;
    Ok(())
}

/// The answer, if its status is one of these; else what the server says against it.
async fn expect(response: Response, wanted: &[StatusCode]) -> anyhow::Result<Response> {
    if wanted.contains(&response.status()) {
        return Ok(response);
    }
    let status = response.status();
    let body: serde_json::Value = response.json().await.unwrap_or_default();
    let registry = body.pointer("/errors/0/message").and_then(|v| v.as_str()).filter(|m| !m.is_empty());
    let problem = body.get("detail").and_then(|v| v.as_str());
    let text = registry.or(problem).map_or_else(|| status.to_string(), |text| format!("{text} ({})", status.as_u16()));
    Err(Refused(text).into())
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

/// One line on standard error that is written anew.
struct Progress {
    total: u64,
    done: u64,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self { total, done: 0 }
    }

    fn show(&self, name: &str, sent: u64, size: u64, note: &str) {
        let all = self.done.saturating_add(sent);
        let percent = all.saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100);
        eprint!("\r\u{1b}[K{percent:>3} %  {name}  {sent}/{size} {note}");
        // Nobody may be looking.
        let _ = std::io::stderr().flush();
    }

    fn done(&mut self, size: u64) {
        self.done = self.done.saturating_add(size);
    }

    fn end(&self) {
        eprintln!("\r\u{1b}[K100 %  {} bytes", self.total);
    }
}
