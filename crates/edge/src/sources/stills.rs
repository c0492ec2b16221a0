//! Single pictures: one that a camera is asked for again and again, and those that are laid into a folder.
//!
//! Pictures are decoded here by the same library as in apps, bounded before any pixel is read, and off the threads that serve.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use http_auth::{PasswordClient, PasswordParams};
use reqwest::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};

use super::bind::{passed_over, waits};
use super::decoder::Pixels;
use super::live::Live;
use crate::agent::Agent;
use crate::fault::Fault;
use crate::files;

/// Time for one answer of a camera.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest picture, in bytes, and the memory that decoding it may take.
const MAX_PICTURE: usize = 16 << 20;
const MAX_DECODED: u64 = 128 << 20;
/// Time for which the size of a file must stand still.
const STILL: Duration = Duration::from_secs(1);
/// Time between two looks at a folder, and files that are looked at each time.
const LOOK: Duration = Duration::from_millis(250);
const MOST_FILES: usize = 1_000;
/// Longest wait until all apps are done with a picture.
const PATIENCE: Duration = Duration::from_mins(1);

fn unreachable(why: impl std::fmt::Display) -> Fault {
    Fault::new("source-unreachable", "source", why.to_string().chars().take(300).collect::<String>())
}

/// Decodes a picture. Code `picture-unreadable`.
async fn decoded(bytes: Vec<u8>) -> Result<Pixels, Fault> {
    let wrong = |why: String| Fault::new("picture-unreadable", "source", why);
    let decode = move || {
        let picture = inference::picture::decode_shown(&bytes, MAX_DECODED).map_err(|e| e.to_string())?.into_rgb8();
        Ok(Pixels { width: picture.width(), height: picture.height(), rgb: picture.into_raw() })
    };
    tokio::task::spawn_blocking(decode).await.map_err(|e| wrong(e.to_string()))?.map_err(wrong)
}

/// Asks a camera for pictures until that fails. Codes `source-unreachable`, `source-unknown`, `credentials-refused`, `picture-unreadable`.
pub async fn snapshot(live: &Arc<Live>) -> Fault {
    let client = match client() {
        Ok(client) => client,
        Err(fault) => return fault,
    };
    let mut asked = Asked { client, challenge: None, tag: None };
    loop {
        let begun = Instant::now();
        match asked.picture(live).await {
            Ok(Some(bytes)) => match decoded(bytes).await {
                Ok(pixels) => {
                    live.show(pixels, begun);
                }
                Err(fault) => return fault,
            },
            // As before.
            Ok(None) => live.still(begun),
            Err(fault) => return fault,
        }
        tokio::time::sleep(Duration::from_secs_f64(1.0 / live.source.rate).saturating_sub(begun.elapsed())).await;
    }
}

/// A client for cameras in the clear: it trusts no certificate. A redirection would take the password along, or lead to what is no camera.
fn client() -> Result<Client, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unreachable)?;
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let client = Client::builder().tls_backend_preconfigured(tls).no_proxy().http1_only().timeout(ANSWER);
    client.redirect(reqwest::redirect::Policy::none()).build().map_err(unreachable)
}

/// What is kept from one question to the next.
struct Asked {
    client: Client,
    challenge: Option<PasswordClient>,
    tag: Option<HeaderValue>,
}

impl Asked {
    /// One picture; `None` where it is the one of before.
    async fn picture(&mut self, live: &Live) -> Result<Option<Vec<u8>>, Fault> {
        let mut response = self.ask(live).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let told = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
            self.challenge = told.and_then(|told| PasswordClient::try_from(told).ok());
            if self.challenge.is_some() && live.login.is_some() {
                response = self.ask(live).await?;
            }
        }
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Fault::new("credentials-refused", "source", "the camera does not take this name and password"));
            }
            StatusCode::NOT_FOUND => return Err(Fault::new("source-unknown", "source", "the camera has nothing at this address")),
            other => return Err(unreachable(format!("the camera answers {other}"))),
        }
        self.tag = response.headers().get(ETAG).cloned();
        let (mut body, mut bytes) = (response.bytes_stream(), Vec::new());
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(&part.map_err(|e| unreachable(e.without_url()))?);
            if bytes.len() > MAX_PICTURE {
                return Err(Fault::new("picture-unreadable", "source", format!("the picture is over {MAX_PICTURE} bytes")));
            }
        }
        Ok(Some(bytes))
    }

    async fn ask(&mut self, live: &Live) -> Result<Response, Fault> {
        let url = reqwest::Url::parse(&live.source.address).map_err(unreachable)?;
        let uri = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = self.client.get(url.clone());
        if let Some(tag) = &self.tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        if let (Some(challenge), Some(login)) = (&mut self.challenge, &live.login) {
            let params = PasswordParams { username: &login.user, password: &login.password, uri: &uri, method: "GET", body: None };
            let answer = challenge.respond(&params).map_err(unreachable)?;
            let mut answer = HeaderValue::try_from(answer).map_err(unreachable)?;
            answer.set_sensitive(true);
            request = request.header(AUTHORIZATION, answer);
        }
        request.send().await.map_err(|e| unreachable(e.without_url()))
    }
}

/// A picture in a folder: its path, size and time of the last change.
type Laid = (PathBuf, u64, SystemTime);

/// Takes pictures out of a folder, the oldest first, each when its size and time have stood still, and moves them to `done` in it, or to
/// `unreadable`. While not all apps of the source run the pictures stay (`app-not-running`). Codes `source-unreachable`, and those of moving a
/// file.
pub async fn folder(agent: &Arc<Agent>, live: &Arc<Live>) -> Fault {
    let folder = live.source.path(&agent.config.data);
    let mut seen: BTreeMap<PathBuf, (u64, SystemTime, Instant)> = BTreeMap::new();
    loop {
        let place = folder.clone();
        let files = match tokio::task::spawn_blocking(move || pictures(&place)).await {
            Ok(Ok(files)) => files,
            Ok(Err(e)) => return unreachable(format!("{}: {e}", folder.display())),
            Err(e) => return unreachable(e),
        };
        let missing = waits(agent, &live.source);
        let now = Instant::now();
        let mut before = std::mem::take(&mut seen);
        seen.extend(files.iter().map(|(path, size, changed)| {
            let same = before.remove(path).filter(|known| (known.0, known.1) == (*size, *changed));
            (path.clone(), same.unwrap_or((*size, *changed, now)))
        }));
        live.set(|standing| standing.fault.clone_from(&missing));
        if missing.is_none() {
            let still = |path: &Path| seen.get(path).is_some_and(|known| known.2.elapsed() >= STILL);
            for (path, ..) in files.iter().filter(|(path, ..)| still(path)) {
                match one(live, &folder, path).await {
                    Ok(true) if waits(agent, &live.source).is_none() => {}
                    Ok(true) => break,
                    Ok(false) => {
                        // It is shown again, to the other apps, too: not more often than need be.
                        tokio::time::sleep(STILL).await;
                        break;
                    }
                    Err(fault) => return fault,
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Pictures in a folder, the oldest first, no more than [`MOST_FILES`]. Links are not followed. Blocking.
fn pictures(folder: &Path) -> std::io::Result<Vec<Laid>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        if matches!(&*ending, "jpg" | "jpeg" | "png")
            && let Ok(about) = entry.metadata()
            && about.is_file()
        {
            all.push((path, about.len(), about.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
            // What is no picture takes no place of one.
            if all.len() == MOST_FILES {
                break;
            }
        }
    }
    all.sort_by(|a, b| (a.2, &a.0).cmp(&(b.2, &b.0)));
    Ok(all)
}

/// Shows one picture to all apps, and moves it when each of them is done with it. Whether that is so: where an app did not come to it, it stays.
async fn one(live: &Arc<Live>, folder: &Path, path: &Path) -> Result<bool, Fault> {
    let of = path.to_owned();
    let read = tokio::task::spawn_blocking(move || files::read_bounded(&of, MAX_PICTURE as u64)).await;
    let pixels = match read.unwrap_or_else(|e| Err(unreachable(e))) {
        Ok(Some(bytes)) => decoded(bytes).await,
        Ok(None) => return Ok(true),
        Err(fault) => Err(fault),
    };
    let done = match pixels {
        Ok(pixels) => {
            let (number, until) = (live.show(pixels, Instant::now()), Instant::now() + PATIENCE);
            // Here nothing is live: no picture is passed over because an app is busy with the one before.
            let unseen = || live.apps.values().any(|app| app.seen.load(Ordering::Relaxed) < number);
            while Instant::now() < until && unseen() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if unseen() || live.apps.values().any(|app| passed_over(app)) {
                return Ok(false);
            }
            "done"
        }
        Err(fault) => {
            tracing::warn!(source = live.source.id, path = %path.display(), %fault, "a picture cannot be read");
            "unreadable"
        }
    };
    let (from, target) = (path.to_owned(), folder.join(done));
    let moved = tokio::task::spawn_blocking(move || {
        let name = from.file_name().unwrap_or_default();
        std::fs::create_dir_all(&target)?;
        std::fs::rename(&from, target.join(name))
    });
    let moved = moved.await.map_err(unreachable)?;
    moved.map(|()| true).map_err(|e| Fault::disk(&format!("cannot move {}", path.display()), &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn what_is_no_picture_takes_no_place_of_one() {
        let dir = Scratch::new();
        for number in 0..MOST_FILES {
            std::fs::write(dir.path().join(format!("{number}.txt")), b"").unwrap();
        }
        std::fs::create_dir(dir.path().join("folder.jpg")).unwrap();
        std::fs::write(dir.path().join("a.JPG"), b"x").unwrap();
        let found: Vec<_> = pictures(dir.path()).unwrap().into_iter().map(|(path, size, _)| (path, size)).collect();
        assert_eq!(found, [(dir.path().join("a.JPG"), 1)]);
    }
}
