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
use crate::base::bodies::{self, Held};
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
        let (payload, req, known) = (payload.take(), req.clone(), is_form(req));
        Box::pin(async move {
            if !known {
                return Err(Error::invalid("form-malformed").into());
            }
            Ok(Self(parse_form(&read_body(&req, payload, FORM_LIMIT).await?)?))
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
        let (payload, req, known) = (payload.take(), req.clone(), is_form(req));
        Box::pin(async move {
            if !known {
                return Err(Error::invalid("form-malformed").into());
            }
            Ok(Self(parse_form(&read_body(&req, payload, FORM_LIMIT).await?)?))
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

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (payload, req) = (payload.take(), req.clone());
        Box::pin(async move {
            let bytes = read_body(&req, payload, LIMIT).await?;
            Ok(Self(serde_json::from_slice(&bytes).map_err(Error::json)?))
        })
    }
}

/// How far a body may be behind its pace, the first bytes too: a mine's line may be slow, and stop for some seconds, but a client that sends
/// a byte a second only holds memory.
const BEHIND: Duration = Duration::from_secs(20);
const BYTES_PER_SECOND: usize = 1024;
/// Longest time of a body that is read whole: four megabytes come by a line of 60 kbit a second.
const LONGEST: Duration = Duration::from_mins(10);
/// Least memory that a body takes, in bytes.
const LEAST: usize = 4096;

/// Time by which the next bytes must be there, after so many have come. What came fast does not let the rest stand still.
fn due(before: Instant, now: Instant, bytes: usize) -> Instant {
    let earned = Duration::from_millis((bytes.saturating_mul(1_000) / BYTES_PER_SECOND) as u64);
    (before + earned).min(now + BEHIND)
}

/// Says in a request's extensions that no memory was left for its body: the rest of that is not read.
#[derive(Debug)]
pub struct GivenUp;

/// Reads a body whole, up to a limit, into memory that the request holds ([`Held`]) where it is counted.
///
/// # Errors
/// `body-too-large`; `body-too-slow`; `body-broken` where the connection ends early; `server-busy` where no memory is left for it, or where it
/// comes too slowly and others find none left.
pub async fn read_body(req: &HttpRequest, mut payload: Payload, limit: usize) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    let begin = Instant::now();
    let mut next_due = begin + BEHIND;
    let given_way = req.extensions().get::<Held>().map(Held::given_way).unwrap_or_default();
    loop {
        let next = tokio::select! {
            biased;
            next = timeout_at(next_due.min(begin + LONGEST), payload.next()) => next,
            () = given_way.notified() => return Err(given_up(req, bodies::none_left())),
        };
        let Some(chunk) = next.map_err(|_| Error::invalid("body-too-slow"))? else { break };
        let chunk = chunk.map_err(|e| Error::invalid("body-broken").source(anyhow::anyhow!("{e}")))?;
        let length = bytes.len() + chunk.len();
        if length > limit {
            return Err(Error::too_large("body-too-large").arg("bytes", limit));
        }
        // As buffers grow, so that what is counted is what is held.
        let room = if length > bytes.capacity() { length.next_power_of_two().max(LEAST) } else { bytes.capacity() };
        counted(req, |held| held.hold(room, chunk.len()))?;
        bytes.reserve(room - bytes.len());
        bytes.extend_from_slice(&chunk);
        next_due = due(next_due, Instant::now(), chunk.len());
    }
    counted(req, Held::whole)?;
    Ok(bytes.freeze())
}

/// Asks what the request's body holds, where that is counted.
fn counted(req: &HttpRequest, ask: impl FnOnce(&mut Held) -> Result<(), Error>) -> Result<(), Error> {
    let asked = req.extensions_mut().get_mut::<Held>().map_or(Ok(()), ask);
    asked.map_err(|e| given_up(req, e))
}

fn given_up(req: &HttpRequest, e: Error) -> Error {
    req.extensions_mut().insert(GivenUp);
    e
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
    use crate::base::bodies::Bodies;
    use crate::base::networks::Networks;
    use crate::base::open::Who;

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

    type Sent = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, actix_web::error::PayloadError>>>>;

    /// A request of a node whose body begins so, and then stands still.
    fn stalled(bodies: &Bodies, node: u8, begin: Bytes) -> (HttpRequest, Payload) {
        let req = TestRequest::post().to_http_request();
        req.extensions_mut().insert(bodies.of(Who::Certificate([node; 32])));
        let body: Sent = Box::pin(futures_util::stream::iter([Ok(begin)]).chain(futures_util::stream::pending()));
        (req, Payload::from(body))
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_stand_still_hold_what_is_theirs_and_not_for_long() {
        let bodies = Bodies::default();
        let (begin, most) = (Instant::now(), Bytes::from(vec![b'x'; JSON_LIMIT - 1]));
        // Ten nodes, 64 bodies each of two megabytes but for a byte.
        let flood: Vec<_> = (0..640u16)
            .map(|n| {
                let (req, payload) = stalled(&bodies, u8::try_from(n % 10).unwrap(), most.clone());
                async move {
                    let code = read_body(&req, payload, JSON_LIMIT).await.unwrap_err().code;
                    (code, begin.elapsed().as_secs())
                }
            })
            .collect();
        let alarm = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (req, payload) = TestRequest::post().set_payload(vec![b'x'; 60_000]).to_http_parts();
            req.extensions_mut().insert(bodies.of(Who::Certificate([99; 32])));
            read_body(&req, payload, JSON_LIMIT).await.map(|bytes| bytes.len())
        };
        let (flood, alarm) = tokio::join!(futures_util::future::join_all(flood), alarm);
        assert_eq!(alarm.unwrap(), 60_000);
        let of = |code, seconds| flood.iter().filter(|told| **told == (code, seconds)).count();
        assert_eq!((of("server-busy", 0), of("body-too-slow", 20)), (528, 112), "224 MiB, and for twenty seconds");
    }

    /// A body of so many pieces, one after each pause.
    fn trickling(pieces: usize, bytes: usize, seconds: u64) -> Payload {
        let sent = futures_util::stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(Bytes::from(vec![b'x'; bytes]))
        });
        let body: Sent = Box::pin(sent);
        Payload::from(body)
    }

    #[tokio::test(start_paused = true)]
    async fn who_trickles_gives_way_to_who_finds_no_memory_and_only_then() {
        let bodies = Bodies::default();
        let begin = Instant::now();
        let request = |node: u8| {
            let req = TestRequest::post().to_http_request();
            req.extensions_mut().insert(bodies.of(Who::Certificate([node; 32])));
            req
        };
        // Four nodes take all: more than a megabyte at once, so that each body has room for two, and then as slowly as may be.
        let flood: Vec<_> = (0..112u8)
            .map(|n| {
                let first: Sent = Box::pin(futures_util::stream::iter([Ok(Bytes::from(vec![b'x'; JSON_LIMIT / 2 + 1]))]));
                let body: Sent = Box::pin(first.chain(trickling(1000, 1024, 1)));
                let req = request(n / 28);
                async move {
                    let code = read_body(&req, Payload::from(body), JSON_LIMIT).await.unwrap_err().code;
                    (code, begin.elapsed().as_secs(), req.extensions().contains::<GivenUp>())
                }
            })
            .collect();
        // Three others, one after the other, of which the first one comes while nobody is too slow yet.
        let others = async {
            let mut told = Vec::new();
            for node in 10..13 {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let (req, body) = (request(node), trickling(8, 128 * 1024, 0));
                told.push((read_body(&req, body, JSON_LIMIT).await.map(|bytes| bytes.len()).map_err(|e| e.code), req));
            }
            told.into_iter().map(|(told, _)| told).collect::<Vec<_>>()
        };
        let (flood, others) = tokio::join!(futures_util::future::join_all(flood), others);
        assert_eq!(others, [Err("server-busy"), Ok(1 << 20), Ok(1 << 20)]);
        let of = |code| flood.iter().filter(|(told, ..)| *told == code).collect::<Vec<_>>();
        assert_eq!(of("body-too-slow").iter().filter(|(_, seconds, _)| *seconds == 600).count(), 111);
        let given_way = of("server-busy");
        assert!(matches!(given_way.as_slice(), [(_, 4, true)]), "one was enough: {given_way:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_keeps_its_pace_to_the_end_and_ends_in_some_minutes() {
        // Pieces of so many bytes, each after so many seconds.
        let told = async |pieces: usize, bytes: usize, seconds: u64| {
            let begin = Instant::now();
            let body = trickling(pieces, bytes, seconds);
            let read = read_body(&TestRequest::post().to_http_request(), body, JSON_LIMIT).await;
            (read.map(|bytes| bytes.len()).map_err(|e| e.code), begin.elapsed().as_secs())
        };
        assert_eq!(told(100, 15 * 1024, 15).await, (Err("body-too-slow"), 600));
        assert_eq!(told(30, 15 * 1024, 15).await, (Ok(30 * 15 * 1024), 450));
        assert_eq!(told(100, 1024, 3).await, (Err("body-too-slow"), 29));
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
