//! Extractors: the [`Actor`], the client's address, and bodies with size limits and errors in our dialects.

use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::api::ApiError;
use super::page::PageError;
use crate::base::auth::{Actor, token};
use crate::base::config::Server;
use crate::base::error::Error;

/// Largest form in bytes.
pub const FORM_LIMIT: usize = 512 * 1024;
/// Largest JSON body in bytes.
const JSON_LIMIT: usize = 2 * 1024 * 1024;

impl FromRequest for Actor {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(req.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}

/// Whether the Content-Type is that of a form. The CSRF check reads only such bodies, and another site's form can send the same bytes
/// as `text/plain`.
pub fn is_form(req: &HttpRequest) -> bool {
    let kind = req.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = kind.and_then(|v| v.split(';').next()).map(str::trim);
    essence.is_some_and(|v| v.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// A URL-encoded form. The CSRF middleware has checked it already.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = PageError;
    type Future = LocalBoxFuture<'static, Result<Self, PageError>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (payload, known) = (payload.take(), is_form(req));
        Box::pin(async move {
            if !known {
                return Err(Error::invalid("form-malformed").into());
            }
            Ok(Self(parse_form(&read_body(payload, FORM_LIMIT).await?)?))
        })
    }
}

/// Pairs of a form: more than the largest one has, a thousand nodes and an app's parameters. A pair may be two bytes long in the body and
/// takes fifty here.
const MAX_PAIRS: usize = 2_000;

/// Reads the body of a form.
///
/// # Errors
/// `form-malformed`, also for too many pairs.
pub fn parse_form<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    if bytes.split(|byte| *byte == b'&').nth(MAX_PAIRS).is_some() {
        return Err(Error::invalid("form-malformed"));
    }
    serde_urlencoded::from_bytes(bytes).map_err(|e| Error::invalid("form-malformed").source(e))
}

/// A form with repeated or unforeseen fields, as pairs in order.
#[derive(Debug)]
pub struct FormPairs(pub Vec<(String, String)>);

impl FromRequest for FormPairs {
    type Error = PageError;
    type Future = LocalBoxFuture<'static, Result<Self, PageError>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (payload, known) = (payload.take(), is_form(req));
        Box::pin(async move {
            if !known {
                return Err(Error::invalid("form-malformed").into());
            }
            Ok(Self(parse_form(&read_body(payload, FORM_LIMIT).await?)?))
        })
    }
}

impl FormPairs {
    /// First value of a field, or empty.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// All values of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The query of a call for programs: what cannot be read is told in their dialect.
#[derive(Debug)]
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned> FromRequest for ApiQuery<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = serde_urlencoded::from_str(req.query_string());
        ready(read.map(Self).map_err(|e| Error::invalid("query-malformed").source(e).into()))
    }
}

/// Largest JSON body of a call that needs little: strangers enrol nodes.
pub const SMALL_JSON: usize = 16 * 1024;

/// A JSON body of so many bytes at most, whatever its Content-Type says.
#[derive(Debug)]
pub struct ApiJson<T, const LIMIT: usize = JSON_LIMIT>(pub T);

impl<T: DeserializeOwned + 'static, const LIMIT: usize> FromRequest for ApiJson<T, LIMIT> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(_: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        Box::pin(async move {
            let bytes = read_body(payload, LIMIT).await?;
            Ok(Self(
                serde_json::from_slice(&bytes)
                    .map_err(|e| Error::invalid("json-malformed").arg("where", format!("{}:{}", e.line(), e.column())).source(e))?,
            ))
        })
    }
}

/// Time for a body's first bytes, and slowest pace after that: a mine's line may be slow, but a client that sends a byte a second only
/// holds a connection.
const FIRST_BYTES: Duration = Duration::from_secs(20);
const BYTES_PER_SECOND: usize = 1024;

/// Reads a body whole, up to a limit.
///
/// # Errors
/// `body-too-large`; `body-too-slow`; `body-broken` where the connection ends early.
pub async fn read_body(mut payload: Payload, limit: usize) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    let begin = Instant::now();
    loop {
        let pace = Duration::from_secs((bytes.len() / BYTES_PER_SECOND) as u64);
        let next = timeout_at(begin + FIRST_BYTES + pace, payload.next()).await;
        let Some(chunk) = next.map_err(|_| Error::invalid("body-too-slow"))? else { break };
        let chunk = chunk.map_err(|e| Error::invalid("body-broken").source(anyhow::anyhow!("{e}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Error::too_large("body-too-large").arg("bytes", limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// An API token of the request (`Bearer pht_…`, or Basic with the token as password), if any.
pub fn bearer_token(req: &HttpRequest) -> Option<String> {
    let value = req.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        rest.starts_with(token::PREFIX).then(|| rest.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (_, password) = decoded.split_once(':')?;
        password.starts_with(token::PREFIX).then(|| password.to_owned())
    } else {
        None
    }
}

/// The client's address: the peer's, or what proxies of ours say in `X-Forwarded-For`.
pub fn client_address(req: &HttpRequest, server: &Server) -> String {
    let Some(peer) = req.peer_addr() else { return "unknown".into() };
    let lines: Vec<&str> = req.headers().get_all("x-forwarded-for").filter_map(|line| line.to_str().ok()).collect();
    behind_proxies(peer.ip(), &lines, server).to_canonical().to_string()
}

/// Whether a peer may speak for many clients.
pub fn is_proxy(peer: IpAddr, server: &Server) -> bool {
    if server.trusted_proxies.is_empty() { server.behind_proxy } else { server.trusted_proxies.contains(peer) }
}

/// Goes back from the peer over the addresses of all lines, the last first, for as long as whoever added one is believed: each proxy adds
/// the address that it was called from, and what stands before that was written by its caller.
fn behind_proxies(peer: IpAddr, lines: &[&str], server: &Server) -> IpAddr {
    let mut told = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(forwarded);
    if server.trusted_proxies.is_empty() {
        // Nobody knows which of several proxies are ours, so the peer alone is believed.
        return if server.behind_proxy { told.next().flatten().unwrap_or(peer) } else { peer };
    }
    let mut client = peer;
    while server.trusted_proxies.contains(client) {
        let Some(Some(before)) = told.next() else { break };
        client = before;
    }
    client
}

/// An address of `X-Forwarded-For`; some proxies add a port.
fn forwarded(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::base::networks::Networks;

    fn address(server: &Server, peer: &str, lines: &[&str]) -> String {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for line in lines {
            request = request.append_header(("x-forwarded-for", *line));
        }
        client_address(&request.to_http_request(), server)
    }

    fn trusting(networks: &str) -> Server {
        let trusted_proxies: Networks = toml::Value::String(networks.into()).try_into().unwrap();
        Server { trusted_proxies, ..Server::default() }
    }

    #[actix_web::test]
    async fn a_form_has_so_many_pairs() {
        for (pairs, taken) in [(MAX_PAIRS, true), (MAX_PAIRS + 1, false)] {
            let request = || {
                let form = TestRequest::post().insert_header(("content-type", "application/x-www-form-urlencoded"));
                form.set_payload(vec!["a=b"; pairs].join("&")).to_http_parts()
            };
            let (req, mut payload) = request();
            let listed = FormPairs::from_request(&req, &mut payload).await;
            assert_eq!(listed.map(|form| form.0.len()).map_err(|e| e.0.code), if taken { Ok(pairs) } else { Err("form-malformed") });
            let (req, mut payload) = request();
            let typed = Form::<Vec<(String, String)>>::from_request(&req, &mut payload).await;
            assert_eq!(typed.map(|form| form.0.len()).map_err(|e| e.0.code), if taken { Ok(pairs) } else { Err("form-malformed") });
        }
    }

    #[actix_web::test]
    async fn a_small_call_has_a_small_body() {
        let text = format!("\"{}\"", "x".repeat(SMALL_JSON));
        let request = || TestRequest::post().set_payload(text.clone()).to_http_parts();
        let (req, mut payload) = request();
        let small = ApiJson::<String, SMALL_JSON>::from_request(&req, &mut payload).await;
        assert_eq!(small.err().map(|e| e.0.code), Some("body-too-large"));
        let (req, mut payload) = request();
        assert!(ApiJson::<String>::from_request(&req, &mut payload).await.is_ok());
    }

    #[test]
    fn nobody_is_believed_without_a_setting() {
        assert_eq!(address(&Server::default(), "10.0.0.1:1", &["198.51.100.1"]), "10.0.0.1");
        assert_eq!(address(&Server::default(), "[::ffff:10.0.0.1]:1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_last_address_of_all_lines_is_believed_of_a_single_proxy() {
        let server = Server { behind_proxy: true, ..Server::default() };
        assert_eq!(address(&server, "10.0.0.1:1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1");
        // The first line is the client's own; the proxy has added a second one.
        assert_eq!(address(&server, "10.0.0.1:1", &["203.0.113.9", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(address(&server, "10.0.0.1:1", &["198.51.100.1", "nonsense"]), "10.0.0.1");
        assert_eq!(address(&server, "10.0.0.1:1", &[]), "10.0.0.1");
    }

    #[test]
    fn only_what_our_own_proxies_have_added_is_believed() {
        let server = trusting("10.0.0.0/8, fd00::/8");
        // Two proxies of ours, each with a line of its own, after one that the client made up.
        assert_eq!(address(&server, "10.0.0.2:1", &["10.0.0.9, 203.0.113.9", "198.51.100.1", "10.0.0.1"]), "198.51.100.1");
        assert_eq!(address(&server, "[fd00::1]:1", &["203.0.113.9, [2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(address(&server, "10.0.0.2:1", &["198.51.100.1:5060"]), "198.51.100.1");
        // A stranger who comes past the proxy, however much they write.
        assert_eq!(address(&server, "198.51.100.1:1", &["203.0.113.9", "10.0.0.1"]), "198.51.100.1");
        // What cannot be read ends the way back, at the last proxy of ours.
        assert_eq!(address(&server, "10.0.0.2:1", &["203.0.113.9", "unknown, 10.0.0.1"]), "10.0.0.1");
    }
}
