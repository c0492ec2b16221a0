//! The calls to the server: Margo's management interface, the registry, reports. Wire only, no decisions.
//!
//! Every call is bounded in time and size. Documents are checked against the digest they were asked by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, DATE, ETAG, IF_NONE_MATCH, RANGE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use app_package::digest::Digest;
use app_package::dsse::{Envelope, MAX_ENVELOPE_BYTES};
use app_package::oci;
use app_package::orders::MAX_REVOCATIONS_BYTES;

use crate::clock::Clock;
use crate::fault::Fault;
use crate::outbox::Answer;

/// Largest state manifest, deployment document, image manifest or index, in bytes.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// Limit of an ordinary call.
const CALL: Duration = Duration::from_secs(30);
/// Header with the newest version of the root document.
const ROOT_VERSION: &str = "x-pithead-root";
/// Media type of the desired state.
const STATE_TYPE: &str = "application/vnd.margo.manifest.v1+json";

/// Answer to a poll.
pub enum Poll {
    /// Nothing new.
    Unchanged {
        /// Newest version of the root document, as the server says.
        root: Option<u64>,
    },
    /// A state manifest, not yet judged.
    Manifest {
        /// `ETag` of the manifest, without quotes.
        etag: String,
        /// Exact bytes of the manifest.
        body: Vec<u8>,
    },
}

/// The server as seen by an enrolled node.
pub struct Cloud {
    client: RwLock<Client>,
    base: String,
    tokens: Mutex<HashMap<String, (String, Instant)>>,
    clock: Arc<Clock>,
}

/// Fault of a call without connection, without an answer in time, or with a broken answer.
pub fn unreachable(error: &reqwest::Error) -> Fault {
    // The cause (refused, TLS alert) is two levels below reqwest's error.
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Fault::new("server-unreachable", "server", text)
}

/// Reads a body of at most `limit` bytes.
pub async fn read_body(mut answer: Response, limit: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| unreachable(&e))? {
        if body.len() + chunk.len() > limit {
            return Err(Fault::new("server-answer-too-large", "server", format!("the answer is over {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A fault, with the wait that the server asks for, if any.
pub type Refusal = (Fault, Option<Duration>);

/// The refusal of an unsuccessful answer.
async fn refusal_of(answer: Response) -> Refusal {
    let after = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    (problem_of(answer).await, after.map(|s: u64| Duration::from_secs(s.min(3600))))
}

/// The fault of an unsuccessful answer: the `code` and `detail` of a problem document where there is one.
pub async fn problem_of(answer: Response) -> Fault {
    let status = answer.status();
    let body = read_body(answer, 64 * 1024).await.unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |key: &str| problem.get(key).and_then(serde_json::Value::as_str).filter(|s| s.len() <= 500);
    let code = text("code").filter(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    Fault {
        code: code.map_or("server-refused".into(), |c| c.to_owned().into()),
        source: "server",
        message: text("detail").or_else(|| text("title")).map_or_else(|| format!("HTTP {status}"), |d| format!("HTTP {status}: {d}")),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|e| Fault::new("server-answer-invalid", "server", e.to_string()))
}

/// Fault of bytes whose digest is not the one asked for.
pub fn mismatch(what: &str, expected: &str, found: &Digest) -> Fault {
    Fault::new("digest-mismatch", "manifest", format!("{what}: expected {expected}, the bytes have {found}"))
}

/// Checks bytes against the digest they were asked by. Only sha256 is spoken.
pub fn check_digest(what: &str, expected: &str, bytes: &[u8]) -> Result<(), Fault> {
    if !expected.starts_with("sha256:") {
        return Err(Fault::new("digest-algorithm-unsupported", "manifest", format!("{what}: {expected}")));
    }
    let found = Digest::of(bytes);
    if found.as_str() == expected { Ok(()) } else { Err(mismatch(what, expected, &found)) }
}

impl Cloud {
    /// Talks to `base` with this client, and tells the clock what time the platform's answers say.
    pub fn new(base: &str, client: Client, clock: Arc<Clock>) -> Self {
        Self { client: RwLock::new(client), base: base.trim_end_matches('/').to_owned(), tokens: Mutex::default(), clock }
    }

    /// The answer to a call, whatever its status.
    async fn ask(&self, call: RequestBuilder) -> Result<Response, Fault> {
        let answer = call.send().await.map_err(|e| unreachable(&e))?;
        if let Some(date) = answer.headers().get(DATE).and_then(|value| value.to_str().ok()) {
            self.clock.heard(date);
        }
        Ok(answer)
    }

    /// The answer to an ordinary call; a fault where it was refused.
    async fn send(&self, call: RequestBuilder) -> Result<Response, Fault> {
        let answer = self.ask(call.timeout(CALL)).await?;
        if answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED { Ok(answer) } else { Err(problem_of(answer).await) }
    }

    pub fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses another client (after a renewal).
    pub fn replace(&self, client: Client) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Tells the server what this node is.
    pub async fn put_capabilities<T: Serialize>(&self, node: &str, capabilities: &T) -> Result<(), Fault> {
        self.send(self.client().put(self.url(&format!("/api/v1/capabilities/{node}"))).json(capabilities)).await.map(drop)
    }

    /// Asks for the desired state; the server may hold the answer for `wait` seconds.
    pub async fn poll(&self, etag: Option<&str>, wait: u64) -> Result<Poll, Refusal> {
        let mut call = self.client().get(self.url(&format!("/api/v1/deployments?wait={wait}"))).header(ACCEPT, STATE_TYPE);
        if let Some(etag) = etag {
            call = call.header(IF_NONE_MATCH, format!("\"{etag}\""));
        }
        let answer = self.ask(call.timeout(CALL + Duration::from_secs(wait))).await.map_err(|fault| (fault, None))?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            let root = answer.headers().get(ROOT_VERSION).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
            return Ok(Poll::Unchanged { root });
        }
        if !answer.status().is_success() {
            return Err(refusal_of(answer).await);
        }
        let etag =
            answer.headers().get(ETAG).and_then(|v| v.to_str().ok()).map(|v| v.trim_start_matches("W/").trim_matches('"').to_owned());
        let body = read_body(answer, MAX_DOCUMENT).await.map_err(|f| (f, None))?;
        // Margo: the ETag is the sha256 of the body. An ETag that claims a digest must match the body.
        let etag = etag.unwrap_or_else(|| Digest::of(&body).to_string());
        if etag.starts_with("sha256:") {
            check_digest("state manifest", &etag, &body).map_err(|f| (f, None))?;
        }
        Ok(Poll::Manifest { etag, body })
    }

    /// One deployment document, checked against its digest.
    pub async fn document(&self, id: &str, digest: &Digest) -> Result<Vec<u8>, Fault> {
        let answer = self.send(self.client().get(self.url(&format!("/api/v1/deployments/{id}/{digest}")))).await?;
        let body = read_body(answer, MAX_DOCUMENT).await?;
        check_digest("deployment document", digest.as_str(), &body)?;
        Ok(body)
    }

    /// Reports the state of a deployment. An answer that a repetition would not change (the server does not know the
    /// deployment any more) counts as done.
    pub async fn status<T: Serialize>(&self, id: &str, status: &T) -> Result<(), Refusal> {
        let call = self.client().post(self.url(&format!("/api/v1/deployments/{id}/status"))).json(status).timeout(CALL);
        let answer = self.ask(call).await.map_err(|fault| (fault, None))?;
        let final_word = matches!(answer.status().as_u16(), 400 | 404 | 410 | 422);
        if answer.status().is_success() {
            return Ok(());
        }
        let refusal = refusal_of(answer).await;
        if !final_word {
            return Err(refusal);
        }
        tracing::warn!(deployment = id, fault = %refusal.0, "the server refused a status");
        Ok(())
    }

    /// Sends what the outbox has (JSON text).
    pub async fn reports(&self, body: String) -> Result<Answer, Refusal> {
        let call = self.client().post(self.url("/edge/reports")).header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        let answer = self.ask(call.timeout(CALL)).await.map_err(|fault| (fault, None))?;
        if !answer.status().is_success() {
            return Err(refusal_of(answer).await);
        }
        read_body(answer, 64 * 1024).await.and_then(|body| parse(&body)).map_err(|fault| (fault, None))
    }

    /// Gives a picture of an alarm: the path behind the folder, with its query.
    pub async fn put_picture(&self, path: &str, jpeg: Vec<u8>) -> Result<(), Refusal> {
        let call = self.client().put(self.url(&format!("/edge/pictures/{path}"))).header(reqwest::header::CONTENT_TYPE, "image/jpeg");
        self.done(call.body(jpeg)).await
    }

    /// Says that the whole picture of an episode is not there any more.
    pub async fn picture_gone(&self, episode: &str) -> Result<(), Refusal> {
        self.done(self.client().delete(self.url(&format!("/edge/pictures/{episode}/whole")))).await
    }

    /// A call of which only counts whether it was taken.
    async fn done(&self, call: RequestBuilder) -> Result<(), Refusal> {
        let answer = self.ask(call.timeout(CALL)).await.map_err(|fault| (fault, None))?;
        if answer.status().is_success() { Ok(()) } else { Err(refusal_of(answer).await) }
    }

    /// Something that the platform has signed; `None` where the server has no such thing.
    async fn signed(&self, path: &str, limit: usize) -> Result<Option<Envelope>, Fault> {
        let answer = self.ask(self.client().get(self.url(path)).timeout(CALL)).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(problem_of(answer).await);
        }
        let body = read_body(answer, limit).await?;
        Envelope::parse_within(&body, limit).map(Some).map_err(|e| Fault::new(e.code(), "server", format!("{path}: {e}")))
    }

    /// A version of the root document.
    pub async fn root(&self, version: u64) -> Result<Option<Envelope>, Fault> {
        self.signed(&format!("/.well-known/pithead/roots/{version}"), MAX_ENVELOPE_BYTES).await
    }

    /// The statement on this node's desired state, for a question of this moment.
    pub async fn state(&self, nonce: &str) -> Result<Option<Envelope>, Fault> {
        self.signed(&format!("/edge/state?nonce={nonce}"), MAX_ENVELOPE_BYTES).await
    }

    /// The list of revoked releases.
    pub async fn revocations(&self) -> Result<Option<Envelope>, Fault> {
        self.signed("/.well-known/pithead/revocations", MAX_REVOCATIONS_BYTES).await
    }

    async fn token(&self, repository: &str) -> Result<String, Fault> {
        #[derive(serde::Deserialize)]
        struct Token {
            token: String,
            #[serde(default)]
            expires_in: Option<u64>,
        }
        let now = Instant::now();
        {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((token, until)) = tokens.get(repository)
                && *until > now
            {
                return Ok(token.clone());
            }
        }
        let call = self.client().get(self.url(&format!("/token?service=pithead&scope=repository:{repository}:pull")));
        let token: Token = parse(&read_body(self.send(call).await?, 64 * 1024).await?)?;
        // A token is renewed at half its life; 60 s is the registry convention where no life is given.
        let life = Duration::from_secs(token.expires_in.unwrap_or(60).clamp(1, 86_400)) / 2;
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.to_owned(), (token.token.clone(), now + life));
        Ok(token.token)
    }

    /// A call to the registry; once more with a fresh token when the token was refused. Without `limit` only the
    /// client's limit between two reads holds (downloads).
    async fn registry(&self, repository: &str, path: &str, accept: &str, from: u64, limit: Option<Duration>) -> Result<Response, Fault> {
        for last in [false, true] {
            let token = self.token(repository).await?;
            let mut call = self.client().get(self.url(&format!("/v2/{repository}/{path}"))).bearer_auth(token).header(ACCEPT, accept);
            if from > 0 {
                call = call.header(RANGE, format!("bytes={from}-"));
            }
            if let Some(limit) = limit {
                call = call.timeout(limit);
            }
            let answer = self.ask(call).await?;
            // A token from before the licence came grants too little, and the registry answers "not found" for what a token may not see: a
            // denied call is made again with a fresh token.
            let denied = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
            if denied && !last {
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(repository);
                continue;
            }
            return Ok(answer);
        }
        Err(Fault::new("registry-token-refused", "server", "the registry refused a fresh token"))
    }

    /// An image manifest by digest, checked, of at most `limit` bytes.
    pub async fn manifest(&self, repository: &str, digest: &Digest, limit: usize) -> Result<Vec<u8>, Fault> {
        let answer = self.registry(repository, &format!("manifests/{digest}"), oci::MANIFEST_TYPE, 0, Some(CALL)).await?;
        if !answer.status().is_success() {
            return Err(registry_problem(answer).await);
        }
        let body = read_body(answer, limit).await?;
        check_digest("image manifest", digest.as_str(), &body)?;
        Ok(body)
    }

    /// The signatures that refer to a release.
    pub async fn signatures(&self, repository: &str, digest: &Digest) -> Result<oci::Index, Fault> {
        let path = format!("referrers/{digest}?artifactType={}", oci::SIGNATURE_TYPE.replace('+', "%2B"));
        let answer = self.registry(repository, &path, oci::INDEX_TYPE, 0, Some(CALL)).await?;
        if !answer.status().is_success() {
            return Err(registry_problem(answer).await);
        }
        parse(&read_body(answer, MAX_DOCUMENT).await?)
    }

    /// A blob from byte `from` on. The answer may be 200 (all of it), 206 or 416.
    pub async fn blob(&self, repository: &str, digest: &Digest, from: u64) -> Result<Response, Fault> {
        let answer = self.registry(repository, &format!("blobs/{digest}"), "*/*", from, None).await?;
        let fine = answer.status().is_success() || answer.status() == StatusCode::RANGE_NOT_SATISFIABLE;
        if fine { Ok(answer) } else { Err(registry_problem(answer).await) }
    }
}

/// Fault of a refused registry call, out of its OCI error document: `{"errors":[{"code","message"}]}`.
async fn registry_problem(answer: Response) -> Fault {
    let status = answer.status();
    let body = read_body(answer, 64 * 1024).await.unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let words = value.pointer("/errors/0/message").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
    let words: String = words.chars().take(300).collect();
    let code = if status == StatusCode::NOT_FOUND { "registry-not-found" } else { "registry-refused" };
    Fault::new(code, "server", format!("HTTP {status}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_must_have_their_digest() {
        let digest = Digest::of(b"abc");
        assert!(check_digest("x", digest.as_str(), b"abc").is_ok());
        assert_eq!(check_digest("x", digest.as_str(), b"abd").unwrap_err().code, "digest-mismatch");
        assert_eq!(check_digest("x", "md5:00", b"abc").unwrap_err().code, "digest-algorithm-unsupported");
    }
}
