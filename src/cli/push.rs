//! `pithead push`: a folder into the registry, as the browser does it: check first, skip what the server has, send the rest in chunks,
//! go on after a lost connection, then put the manifest under its version.

use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use app_package::digest::Digest;
use app_package::oci::{CONFIG_TYPE, Descriptor, MANIFEST_TYPE, build_manifest, config_json};
use clap::Args;
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::folder::Folder;
use super::package::{self, AT_FAULT, Output};
use crate::http::page::error_text;
use crate::i18n::Lang;
use crate::release::model;

/// Bytes of one PATCH.
const CHUNK: u64 = 4 * 1024 * 1024;
/// Failures in a row after which it gives up.
const MAX_FAILURES: u32 = 8;
/// Tries of the first call, when nobody answers at the address.
const FIRST_FAILURES: u32 = 3;
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
    #[arg(long)]
    pub token: Option<String>,
    /// File that holds the token, so that it shows in no list of processes.
    #[arg(long, conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// Faults that only the platform knows of.
#[derive(Debug, thiserror::Error)]
#[error("the platform's check found faults")]
struct Faulty(Vec<PlatformFault>);

/// A fault as `/vendor/upload/check` tells it.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct PlatformFault {
    code: String,
    line: Option<u32>,
    key: String,
    message: Both,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Both {
    zh: String,
    en: String,
}

/// The server has refused, for a reason that trying again does not mend.
#[derive(Debug, thiserror::Error)]
#[error("the server refused: {0}")]
struct Refused(String);

/// Pushes a folder.
pub fn push(args: &Push) -> anyhow::Result<ExitCode> {
    let server = &args.server;
    anyhow::ensure!(
        matches!(server.scheme(), "http" | "https") && server.path() == "/" && server.query().is_none() && server.fragment().is_none(),
        "--server is the address of the site alone, such as https://market.example; {server} is not"
    );
    let token = match (&args.token_file, &args.token) {
        (Some(file), _) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?.trim().to_owned(),
        (None, Some(token)) => token.clone(),
        (None, None) => anyhow::bail!(
            "a token is needed: give --token-file FILE, or --token TOKEN; make one with the scope publish on the page API tokens"
        ),
    };
    let folder = match package::open(&args.dir, &args.told)? {
        Ok(folder) => folder,
        Err(code) => return Ok(code),
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
    let remote = Remote { client, server: args.server.clone(), token, lang: package::language(&args.told.lang) };
    let result = runtime.block_on(async {
        let packed = folder.pack()?;
        let vendor = remote.vendor().await?;
        let name = &folder.manifest.name;
        let version = folder.manifest.version.to_string();
        let repository = format!("{vendor}/{name}");
        let manifest = build_manifest(&folder.manifest, &vendor, &packed);
        let digest = Digest::of(&manifest);
        let known = remote.is_known(&repository, &version, &digest).await?;
        remote.check(&folder, known).await?;
        let mut progress = Progress::new(folder.bytes(), args.told.json);
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
        Err(e) => match (e.downcast_ref::<Faulty>(), e.downcast_ref::<Refused>()) {
            (Some(Faulty(faults)), _) => {
                tell(&args.dir, faults, &args.told)?;
                Ok(ExitCode::from(AT_FAULT))
            }
            (None, Some(refused)) => {
                if args.told.json {
                    package::print(&json!({"ok": false, "error": refused.0}))?;
                }
                eprintln!("pithead: {refused}");
                Ok(ExitCode::from(AT_FAULT))
            }
            (None, None) => Err(e),
        },
    }
}

/// Faults of the platform's check, as those of the folder are told.
fn tell(dir: &Path, faults: &[PlatformFault], told: &Output) -> anyhow::Result<()> {
    if told.json {
        return package::print(&json!({"ok": false, "faults": faults}));
    }
    let source = dir.join(app_package::oci::SOURCE_FILE);
    for fault in faults {
        let line = fault.line.map_or_else(String::new, |line| format!(":{line}"));
        let key = if fault.key.is_empty() { String::new() } else { format!(" {}:", fault.key) };
        let message = package::language(&told.lang).pick(&fault.message.zh, &fault.message.en);
        eprintln!("{}{line}:{key} {message} [{}]", source.display(), fault.code);
    }
    Ok(())
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
    lang: Lang,
}

#[derive(Deserialize)]
struct Target {
    vendor: String,
}

impl Remote {
    fn request(&self, method: Method, address: Url) -> RequestBuilder {
        self.client.request(method, address).bearer_auth(&self.token).header("Accept-Language", self.lang.tag())
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

    /// Under which name this token publishes. The first call: an address where nobody answers is given up soon.
    async fn vendor(&self) -> anyhow::Result<String> {
        let mut failures = 0;
        let response = loop {
            match attempt(self.request(Method::GET, self.address("/vendor/upload/target")?)).await {
                Ok(response) => break response,
                Err(e) if failures + 1 >= FIRST_FAILURES && e.downcast_ref::<Lost>().is_some_and(|lost| lost.unreached) => {
                    return Err(e.context(format!("nobody answers at {}", self.server)));
                }
                Err(e) => wait(&mut failures, e).await?,
            }
        };
        let response = self.expect(response, &[StatusCode::OK]).await?;
        let target: Target = response.json().await.context("the server is no Pithead")?;
        Ok(target.vendor)
    }

    /// Before anything is sent: whether the version is there already, just as this; that it is not there otherwise.
    async fn is_known(&self, repository: &str, version: &str, digest: &Digest) -> anyhow::Result<bool> {
        let path = format!("/v2/{repository}/manifests/{version}");
        let head = self.patiently(|| Ok(self.request(Method::HEAD, self.address(&path)?).header(ACCEPT, MANIFEST_TYPE))).await?;
        let there = (head.status() == StatusCode::OK).then(|| head.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()));
        match there.flatten() {
            Some(there) if there == digest.as_str() => Ok(true),
            Some(_) => Err(Refused(error_text(self.lang, "release-version-taken", &[("version", version.to_owned())])).into()),
            None => Ok(false),
        }
    }

    /// What the browser asks before it sends anything: the platform knows of faults that the folder does not show.
    async fn check(&self, folder: &Folder, known: bool) -> anyhow::Result<()> {
        let files: Vec<_> = folder.files.iter().map(|f| json!({"path": f.path, "size": f.size})).collect();
        let body = json!({"yaml": folder.yaml, "files": files});
        let response = self.patiently(|| Ok(self.request(Method::POST, self.address("/vendor/upload/check")?).json(&body))).await?;
        if response.status() != StatusCode::UNPROCESSABLE_ENTITY {
            return self.expect(response, &[StatusCode::OK]).await.map(|_| ());
        }
        let body: serde_json::Value = response.json().await.unwrap_or_default();
        let Some(faults) = body.get("faults").cloned() else { return Err(self.refused(StatusCode::UNPROCESSABLE_ENTITY, &body)) };
        let mut faults: Vec<PlatformFault> = serde_json::from_value(faults).context("the server is no Pithead")?;
        // Sent again, it is no other version.
        faults.retain(|fault| !(known && fault.code == "release-version-taken"));
        if faults.is_empty() { Ok(()) } else { Err(Faulty(faults).into()) }
    }

    async fn put_manifest(&self, repository: &str, version: &str, manifest: Vec<u8>) -> anyhow::Result<()> {
        let path = format!("/v2/{repository}/manifests/{version}");
        let response = self
            .patiently(|| Ok(self.request(Method::PUT, self.address(&path)?).header(CONTENT_TYPE, MANIFEST_TYPE).body(manifest.clone())))
            .await?;
        self.expect(response, &[StatusCode::CREATED]).await.map(|_| ())
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
            progress.done(name, size, self.lang.pick("已存在", "already there"));
            return Ok(());
        }
        if head.status() != StatusCode::NOT_FOUND {
            self.expect(head, &[StatusCode::OK]).await?;
        }
        let mut failures = 0;
        let mut address: Option<Url> = None;
        loop {
            match self.upload(repository, &mut address, digest, size, source, name, progress, &mut failures).await {
                Ok(()) => {
                    progress.done(name, size, "");
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
                return Err(Lost::new("the upload has ended on the server").into());
            }
            let offset = offset_of(&response);
            self.expect(response, &[StatusCode::NO_CONTENT]).await?;
            (known, offset)
        } else {
            let begin = self.address(&format!("/v2/{repository}/blobs/uploads/"))?;
            let response = self.expect(attempt(self.request(Method::POST, begin)).await?, &[StatusCode::ACCEPTED]).await?;
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
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => return Err(Lost::new("out of step with the server").into()),
                _ => {
                    self.expect(response, &[StatusCode::ACCEPTED]).await?;
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
        self.expect(attempt(self.request(Method::PUT, close).header("Content-Length", "0")).await?, &[StatusCode::CREATED]).await?;
        Ok(())
    }

    /// The answer, if its status is one of these; else what the server says against it.
    async fn expect(&self, response: Response, wanted: &[StatusCode]) -> anyhow::Result<Response> {
        if wanted.contains(&response.status()) {
            return Ok(response);
        }
        let status = response.status();
        let body: serde_json::Value = response.json().await.unwrap_or_default();
        Err(self.refused(status, &body))
    }

    /// What a server says with a status.
    fn refused(&self, status: StatusCode, body: &serde_json::Value) -> anyhow::Error {
        let registry = body.pointer("/errors/0/message").and_then(|v| v.as_str()).filter(|m| !m.is_empty());
        let problem = body.get("detail").or_else(|| body.get("title")).and_then(|v| v.as_str());
        let text = match registry.or(problem) {
            // Every 401 here is about the one token that was given.
            _ if status == StatusCode::UNAUTHORIZED => error_text(self.lang, "token-invalid", &[]),
            Some(text) => format!("{text} ({})", status.as_u16()),
            None => status.to_string(),
        };
        Refused(text).into()
    }

    fn location(&self, response: &Response) -> anyhow::Result<Url> {
        let text = response.headers().get(LOCATION).and_then(|v| v.to_str().ok()).context("the server gave no Location")?;
        self.address(text)
    }
}

/// A passing trouble.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Lost {
    text: String,
    /// There was no connection at all.
    unreached: bool,
}

impl Lost {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), unreached: false }
    }
}

/// Sends once; a broken connection, 429 and 5xx are [`Lost`].
async fn attempt(request: RequestBuilder) -> anyhow::Result<Response> {
    let response = request.send().await.map_err(|e| {
        // A request that cannot even be made, such as one with a line break in its token, will not be better next time.
        let (passing, unreached) = (!e.is_builder(), e.is_connect());
        let e = anyhow::Error::from(e);
        if passing {
            Lost { text: e.root_cause().to_string(), unreached }.into()
        } else {
            e.context("the request cannot be made; is the token whole?")
        }
    })?;
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(Lost::new(format!("the server answers {status}")).into());
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
    let fresh = if std::io::stderr().is_terminal() { "\n" } else { "" };
    eprintln!("{fresh}{error}; trying again in {} s", pause.as_secs());
    tokio::time::sleep(pause).await;
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

/// How far it is: on a terminal one line that is written anew, else a line for each file that is done.
struct Progress {
    total: u64,
    done: u64,
    terminal: bool,
}

impl Progress {
    fn new(total: u64, json: bool) -> Self {
        Self { total, done: 0, terminal: !json && std::io::stderr().is_terminal() }
    }

    fn percent(&self, sent: u64) -> u64 {
        self.done.saturating_add(sent).saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100)
    }

    fn show(&self, name: &str, sent: u64, size: u64, note: &str) {
        if self.terminal {
            eprint!("\r\u{1b}[K{:>3} %  {name}  {sent}/{size} {note}", self.percent(sent));
            // Nobody may be looking.
            let _ = std::io::stderr().flush();
        }
    }

    fn done(&mut self, name: &str, size: u64, note: &str) {
        self.show(name, size, size, note);
        self.done = self.done.saturating_add(size);
        if !self.terminal {
            eprintln!("{}", format!("{:>3} %  {name}  {size} {note}", self.percent(0)).trim_end());
        }
    }

    fn end(&self) {
        if self.terminal {
            eprintln!("\r\u{1b}[K100 %  {} bytes", self.total);
        }
    }
}
