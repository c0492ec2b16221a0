//! What the commands that talk to a server share: addresses, token, patience with bad links, and what a server says against a request.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use app_package::digest::Digest;
use app_package::oci::{INDEX_TYPE, MANIFEST_TYPE, MAX_MANIFEST_BYTES};
use clap::Args;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::json;

use super::package::{self, AT_FAULT, Output};
use super::words::Cannot as _;
use crate::base::i18n::Lang;
use crate::base::i18n::error_text;

/// Failures in a row after which it gives up.
const MAX_FAILURES: u32 = 8;
/// Tries of the first call, when nobody answers at the address.
const FIRST_FAILURES: u32 = 3;
/// Longest pause between tries.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Longest time of a call that is no download.
const CALL: Duration = Duration::from_mins(5);
/// Longest silence in the middle of an answer.
const SILENCE: Duration = Duration::from_mins(1);
/// Longest answer that is read whole where no other limit holds, in bytes.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// How to prove who asks.
#[derive(Debug, Clone, Args)]
pub struct Credentials {
    /// API token.
    #[arg(long, env = "PITHEAD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File that holds the token, so that it shows in no list of processes; goes before --token.
    #[arg(long)]
    pub token_file: Option<PathBuf>,
}

impl Credentials {
    /// The token that was given, if one was.
    pub fn read(&self, lang: Lang) -> anyhow::Result<Option<String>> {
        match &self.token_file {
            Some(file) => {
                Ok(Some(std::fs::read_to_string(file).cannot(lang, "read", file)?.trim_start_matches('\u{feff}').trim().to_owned()))
            }
            None => Ok(self.token.clone().filter(|token| !token.is_empty())),
        }
    }
}

/// The server has refused, for a reason that trying again does not mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A passing trouble.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Lost {
    text: String,
    /// There was no connection at all.
    unreached: bool,
}

impl Lost {
    /// One that a new try may mend.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), unreached: false }
    }
}

/// Runs a command's calls on one thread.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// What a command gives back: a refusal is told here, what could not be done by the caller.
pub fn conclude(result: anyhow::Result<ExitCode>, told: &Output) -> anyhow::Result<ExitCode> {
    match result {
        Err(e) if e.is::<Refused>() => {
            if told.json {
                package::print(&json!({"ok": false, "error": e.to_string()}));
            }
            eprintln!("pithead: {e}");
            Ok(ExitCode::from(AT_FAULT))
        }
        other => other,
    }
}

/// Checks that an address is that of a site alone.
pub fn site(address: &Url, lang: Lang) -> anyhow::Result<Url> {
    let alone = address.path() == "/" && address.query().is_none() && address.fragment().is_none();
    let fits = alone && matches!(address.scheme(), "http" | "https") && address.has_host();
    anyhow::ensure!(fits, lang.format("cli-server-alone", &[("address", address.as_str())]));
    Ok(address.clone())
}

/// A server, and who asks it.
pub struct Remote {
    client: Client,
    /// Its address.
    pub server: Url,
    token: Option<String>,
    /// Language of what is told.
    pub lang: Lang,
}

impl Remote {
    /// Prepares calls; makes none.
    pub fn new(server: Url, token: Option<String>, lang: Lang) -> anyhow::Result<Self> {
        // Another part of this program may have chosen a provider already; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(15))
            // A store's address is another origin, which the token must not reach; see `download`.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pithead/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, server, token, lang })
    }

    /// A call of bounded time.
    pub fn request(&self, method: Method, address: Url) -> RequestBuilder {
        self.unbounded(method, address).timeout(CALL)
    }

    fn unbounded(&self, method: Method, address: Url) -> RequestBuilder {
        let request = self.client.request(method, address).header("Accept-Language", self.lang.tag());
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// An address on the server: relative ones as they are, absolute ones only of the same origin, for the token goes with them.
    pub fn address(&self, text: &str) -> anyhow::Result<Url> {
        let address = self.server.join(text)?;
        anyhow::ensure!(address.origin() == self.server.origin(), self.lang.format("cli-other-origin", &[("address", address.as_str())]));
        Ok(address)
    }

    /// Sends a request until there is an answer that is neither a lost connection nor a passing trouble of the server.
    pub async fn patiently(&self, make: impl Fn() -> anyhow::Result<RequestBuilder>) -> anyhow::Result<Response> {
        let mut failures = 0;
        loop {
            match self.attempt(make()?).await {
                Ok(response) => return Ok(response),
                Err(e) => self.wait(&mut failures, e).await?,
            }
        }
    }

    /// The first call of a command: an address where nobody answers is given up soon.
    pub async fn first(&self, make: impl Fn() -> anyhow::Result<RequestBuilder>) -> anyhow::Result<Response> {
        let mut failures = 0;
        loop {
            match self.attempt(make()?).await {
                Ok(response) => return Ok(response),
                Err(e) if failures + 1 >= FIRST_FAILURES && e.downcast_ref::<Lost>().is_some_and(|lost| lost.unreached) => {
                    return Err(e.context(self.lang.format("cli-nobody-answers", &[("server", self.server.as_str())])));
                }
                Err(e) => self.wait(&mut failures, e).await?,
            }
        }
    }

    /// Sends once; a broken connection, 429 and 5xx are [`Lost`].
    pub async fn attempt(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|e| {
            // A request that cannot even be made, such as one with a line break in its token, will not be better next time.
            if e.is_builder() { anyhow::Error::from(e).context(self.lang.t("cli-request-broken")) } else { self.lost(&e).into() }
        })?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(Lost::new(self.lang.format("cli-server-answers", &[("status", &status.to_string())])).into());
        }
        Ok(response)
    }

    /// A connection's trouble in the reader's language, with the system's own words.
    pub fn lost(&self, e: &reqwest::Error) -> Lost {
        let mut cause: &dyn std::error::Error = e;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let key = if e.is_timeout() {
            "cli-lost-slow"
        } else if e.is_connect() {
            "cli-lost-unreached"
        } else {
            "cli-lost"
        };
        Lost { text: self.lang.format(key, &[("detail", &cause.to_string())]), unreached: e.is_connect() }
    }

    /// Waits before the next try, longer each time. Errors that no try mends, and the last one, are given back.
    pub async fn wait(&self, failures: &mut u32, error: anyhow::Error) -> anyhow::Result<()> {
        if !error.is::<Lost>() {
            return Err(error);
        }
        *failures += 1;
        if *failures >= MAX_FAILURES {
            return Err(error.context(self.lang.t("cli-gave-up")));
        }
        let pause = Duration::from_millis(500 << *failures).min(MAX_PAUSE);
        let fresh = if std::io::stderr().is_terminal() { "\n" } else { "" };
        let said = self.lang.format("cli-trying-again", &[("trouble", &error.to_string()), ("seconds", &pause.as_secs().to_string())]);
        eprintln!("{fresh}{said}");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The answer, if its status is one of these; else what the server says against it.
    pub async fn expect(&self, response: Response, wanted: &[StatusCode]) -> anyhow::Result<Response> {
        if wanted.contains(&response.status()) {
            return Ok(response);
        }
        let status = response.status();
        let body = self.body(response, MAX_ANSWER).await.unwrap_or_default();
        Err(self.refused(status, &serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// What a server says with a status.
    pub fn refused(&self, status: StatusCode, body: &serde_json::Value) -> anyhow::Error {
        let registry = body.pointer("/errors/0/message").and_then(|v| v.as_str()).filter(|m| !m.is_empty());
        let problem = body.get("detail").or_else(|| body.get("title")).and_then(|v| v.as_str());
        let text = match registry.or(problem) {
            // Every 401 here is about the one token that was given, or that none was.
            _ if status == StatusCode::UNAUTHORIZED && self.token.is_none() => self.lang.t("cli-token-needed-here"),
            _ if status == StatusCode::UNAUTHORIZED => error_text(self.lang, "token-invalid", &[]),
            Some(text) => format!("{text} ({})", status.as_u16()),
            None => status.to_string(),
        };
        Refused(self.lang.format("cli-refused", &[("reason", &text)])).into()
    }

    /// Where an answer leads.
    pub fn location(&self, response: &Response) -> anyhow::Result<Url> {
        let text = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        self.address(text.ok_or_else(|| anyhow::anyhow!(self.lang.t("cli-no-location")))?)
    }

    /// An answer's body, up to a limit.
    pub async fn body(&self, mut response: Response, max: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut response).await? {
            anyhow::ensure!(bytes.len() + piece.len() <= max, self.lang.format("cli-answer-too-long", &[("max", &max.to_string())]));
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The next bytes of an answer; a broken or silent connection is [`Lost`].
    pub async fn piece(&self, response: &mut Response) -> anyhow::Result<Option<bytes::Bytes>> {
        match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(e)) => Err(self.lost(&e).into()),
            Err(_) => Err(Lost::new(self.lang.t("cli-lost-silent")).into()),
        }
    }

    /// A manifest's exact bytes and their digest, which is the one asked for, or the one that the server names for the tag. The first
    /// call of a command.
    pub async fn manifest(&self, repository: &str, reference: &str) -> anyhow::Result<(Vec<u8>, Digest)> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let response = self.first(|| Ok(self.request(Method::GET, self.address(&path)?).header(ACCEPT, MANIFEST_TYPE))).await?;
        let response = self.expect(response, &[StatusCode::OK]).await?;
        let named = response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let bytes = self.body(response, MAX_MANIFEST_BYTES).await?;
        let digest = Digest::of(&bytes);
        let wanted = if reference.contains(':') { Some(reference.to_owned()) } else { named.filter(|d| d.starts_with("sha256:")) };
        match wanted {
            Some(wanted) if wanted != digest.as_str() => Err(self.unfit(&wanted)),
            _ => Ok((bytes, digest)),
        }
    }

    /// A small blob whose bytes have their digest.
    pub async fn blob(&self, repository: &str, digest: &Digest, max: usize) -> anyhow::Result<Vec<u8>> {
        let mut failures = 0;
        let bytes = loop {
            let fetched = async { self.body(self.download(repository, digest, 0).await?, max).await };
            match fetched.await {
                Ok(bytes) => break bytes,
                Err(e) => self.wait(&mut failures, e).await?,
            }
        };
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(self.unfit(digest.as_str())) }
    }

    /// That bytes came which do not have their digest.
    pub fn unfit(&self, digest: &str) -> anyhow::Error {
        Refused(self.lang.format("cli-unfit", &[("digest", digest)])).into()
    }

    /// Begins to fetch a blob from a byte on; the answer is 200 (all of it) or 206. Follows one step to a store's own address, without
    /// the token.
    pub async fn download(&self, repository: &str, digest: &Digest, from: u64) -> anyhow::Result<Response> {
        let part = |request: RequestBuilder| if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request };
        let address = self.address(&format!("/v2/{repository}/blobs/{digest}"))?;
        let mut response = self.attempt(part(self.unbounded(Method::GET, address))).await?;
        if response.status().is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|v| v.to_str().ok()).and_then(|to| self.server.join(to).ok());
            let to = to.filter(|to| matches!(to.scheme(), "http" | "https"));
            let to = to.ok_or_else(|| anyhow::anyhow!(self.lang.t("cli-no-location")))?;
            response = self.attempt(part(self.client.get(to))).await?;
        }
        self.expect(response, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT]).await
    }

    /// What of an artifact type refers to a manifest: at most `max` descriptors, over all pages.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
        artifact_type: &str,
        max: usize,
    ) -> anyhow::Result<Vec<app_package::oci::Descriptor>> {
        let escaped = artifact_type.replace('+', "%2B");
        let mut next = Some(self.address(&format!("/v2/{repository}/referrers/{digest}?artifactType={escaped}"))?);
        let mut found = Vec::new();
        while let Some(address) = next.filter(|_| found.len() < max) {
            let response = self.patiently(|| Ok(self.request(Method::GET, address.clone()).header(ACCEPT, INDEX_TYPE))).await?;
            let response = self.expect(response, &[StatusCode::OK]).await?;
            let link = response.headers().get("link").and_then(|v| v.to_str().ok());
            let link = link.and_then(|l| l.strip_prefix('<')).and_then(|l| l.split_once(">; rel=\"next\"")).map(|(to, _)| to);
            next = link.map(|to| self.address(to)).transpose()?;
            let index = app_package::oci::Index::parse(&self.body(response, MAX_MANIFEST_BYTES).await?);
            let index = index.map_err(|_| anyhow::anyhow!(self.lang.t("cli-no-pithead")))?;
            // A server without the filter gives all kinds.
            found.extend(index.manifests.into_iter().filter(|d| d.artifact_type.as_deref() == Some(artifact_type)));
        }
        found.truncate(max);
        Ok(found)
    }

    /// A JSON document of the site that everyone may read.
    pub async fn document(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let response = self.patiently(|| Ok(self.request(Method::GET, self.address(path)?))).await?;
        let response = self.expect(response, &[StatusCode::OK]).await?;
        serde_json::from_slice(&self.body(response, MAX_ANSWER).await?).map_err(|_| anyhow::anyhow!(self.lang.t("cli-no-pithead")))
    }

    /// The bytes of something of the site that everyone may read; none where there is no such thing.
    pub async fn found(&self, path: &str, max: usize) -> anyhow::Result<Option<Vec<u8>>> {
        let response = self.patiently(|| Ok(self.request(Method::GET, self.address(path)?))).await?;
        let response = self.expect(response, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
        if response.status() == StatusCode::NOT_FOUND { Ok(None) } else { self.body(response, max).await.map(Some) }
    }

    /// Puts a manifest under a tag or its digest.
    pub async fn put_manifest(&self, repository: &str, reference: &str, manifest: &[u8]) -> anyhow::Result<()> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let make = || Ok(self.request(Method::PUT, self.address(&path)?).header(CONTENT_TYPE, MANIFEST_TYPE).body(manifest.to_vec()));
        self.expect(self.patiently(make).await?, &[StatusCode::CREATED]).await.map(|_| ())
    }
}
