//! Bounds what one address holds open: its connections, and its requests, each until the last byte of its answer is handed to the connection.
//!
//! Nodes are counted by their certificates, for a mine's may all come from one address. Streams of events are counted by account where they
//! begin (`site::events`), for people of a company come from one address, too, and each open page holds one.

use std::any::Any;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Bytes, Data};
use sha2::{Digest as _, Sha256};

use super::authenticate::PeerCertificate;
use crate::base::app::App;
use crate::base::networks::network_of;
use crate::base::open::{self, Entry, Whose};
use crate::http::api::ApiError;
use crate::http::extract::{client_address, is_proxy};
use crate::http::margo::MargoError;
use crate::http::oci::OciError;
use crate::http::page::{PageError, lang_of};

/// Connections of an address, for each request that it may have open.
const CONNECTIONS: usize = 2;

/// Largest piece of an answer that is given to a connection at once: one whose client does not read holds this much and no whole body.
/// What is read from a blob comes in pieces of this size.
const PIECE: usize = 256 * 1024;

/// A connection from an address that is counted.
struct Connection {
    /// Whether the address had as many as it may before.
    over: bool,
    _entry: Entry,
}

/// What each listener notes of a new connection: the node's certificate, where it shows one, and else that its address has one more.
pub fn connected(app: &App, io: &dyn Any, extensions: &mut Extensions) {
    let tls = io.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref());
    let der = tls.and_then(|(_, tls)| tls.peer_certificates()).and_then(|chain| chain.first()).map(|c| c.to_vec());
    let peer = tls.map(|(io, _)| io).or_else(|| io.downcast_ref::<TcpStream>()).and_then(|io| io.peer_addr().ok());
    let of_one = |address: IpAddr| der.is_none() && !is_proxy(address, &app.settings.server);
    if let Some(address) = peer.map(|peer| peer.ip()).filter(|address| of_one(*address)) {
        let (entry, open) = app.open.count(Whose::Connections(network_of(&address.to_string())));
        let over = open > app.settings.server.open_per_address.saturating_mul(CONNECTIONS);
        extensions.insert(Connection { over, _entry: entry });
    }
    extensions.insert(PeerCertificate(der));
}

/// The middleware. Probes of the machine itself pass it.
pub async fn open_requests(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<Held, BoxBody>>, Error> {
    let held = req.app_data::<Data<App>>().map_or(Ok(None), |app| admit(app, &req));
    match held {
        Ok(entry) => {
            let res = next.call(req).await?;
            let held = |body| Held { body: BoxBody::new(body), rest: Bytes::new(), _entry: entry };
            Ok(res.map_body(|_, body| EitherBody::left(held(body))))
        }
        Err(error) => {
            let mut res = refused(req, error);
            res.response_mut().head_mut().set_connection_type(ConnectionType::Close);
            Ok(res.map_into_right_body())
        }
    }
}

/// Counts a request; none where it is not counted here.
fn admit(app: &App, req: &ServiceRequest) -> crate::base::error::Result<Option<Entry>> {
    let probe = matches!(req.path(), "/healthz" | "/readyz");
    if probe && req.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return Ok(None);
    }
    if req.conn_data::<Connection>().is_some_and(|connection| connection.over) {
        return Err(open::too_many());
    }
    if req.path() == "/events" {
        return Ok(None);
    }
    let server = &app.settings.server;
    let whose = match req.conn_data::<PeerCertificate>().and_then(|certificate| certificate.0.as_ref()) {
        Some(der) => Whose::Certificate(Sha256::digest(der).into()),
        None => Whose::Requests(network_of(&client_address(req.request(), server))),
    };
    app.open.enter(whose, server.open_per_address).map(Some)
}

/// The refusal in the dialect of what was asked for.
fn refused(req: ServiceRequest, error: crate::base::error::Error) -> ServiceResponse<BoxBody> {
    let first = req.path().split('/').nth(1).unwrap_or_default();
    match first {
        "v2" | "token" => {
            let lang = lang_of(req.request());
            req.error_response(OciError { error, challenge: None, lang })
        }
        "api" => req.error_response(MargoError(error)),
        "edge" | "events" | "static" | "healthz" | "readyz" | "metrics" => req.error_response(ApiError(error)),
        _ => req.error_response(PageError(error)),
    }
}

/// An answer's body, which holds the request's entry and goes out in pieces.
pub struct Held {
    body: BoxBody,
    rest: Bytes,
    _entry: Option<Entry>,
}

impl MessageBody for Held {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(this.body.as_pin_mut().poll_next(cx)) {
                Some(Ok(bytes)) => this.rest = bytes,
                other => return Poll::Ready(other),
            }
        }
        Poll::Ready(Some(Ok(this.rest.split_to(PIECE.min(this.rest.len())))))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_body_goes_out_in_pieces_and_holds_its_entry_until_the_end() {
        let whole: Vec<u8> = (0..3 * PIECE + 7).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let open = open::Open::default();
        let whose = || Whose::Requests("192.0.2.7".into());
        let held = |entry| Held { body: BoxBody::new(whole.clone()), rest: Bytes::new(), _entry: Some(entry) };
        let mut body = held(open.enter(whose(), 1).unwrap());
        assert!(matches!(body.size(), BodySize::Sized(size) if size == whole.len() as u64));
        let mut sizes = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            assert!(open.enter(whose(), 1).is_err());
            sizes.push(piece.unwrap().len());
        }
        assert_eq!(sizes, [PIECE, PIECE, PIECE, 7]);
        drop(body);
        let body = held(open.enter(whose(), 1).unwrap());
        assert_eq!(to_bytes(body).await.unwrap(), whole);
        assert!(open.enter(whose(), 1).is_ok());
    }
}
