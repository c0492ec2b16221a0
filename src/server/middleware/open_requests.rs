//! Bounds what one address holds open: its connections, and its requests, each until the last byte of its answer is handed to the connection.
//!
//! Nodes are counted by their certificates, for a mine's may all come from one address; also those that are not accepted any more. Streams
//! of events are counted by account where they begin (`site::events`), for people of a company come from one address, too, and each open
//! page holds one.

use std::any::Any;
use std::net::{IpAddr, Shutdown};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Bytes, Data};

use super::authenticate::PeerCertificate;
use crate::base::app::App;
use crate::base::networks::network_of;
use crate::base::open::{self, Entry, Whose};
use crate::fleet::service::NodeCertificate;
use crate::http::dialect::refused;
use crate::http::extract::{client_address, is_proxy};

/// Connections of an address or of a certificate, for each request that it may have open. A request on one more is refused.
const CONNECTIONS: usize = 2;
/// How many times as many are ended at once: until its first request a connection takes a place among those of all.
const ENDED: usize = 2;

/// Largest piece of an answer that is given to a connection at once, so that a request is open until its client has read nearly all. What
/// is read from a blob comes in pieces of this size; a body that was made whole is held whole until its last piece is given away.
const PIECE: usize = 256 * 1024;

/// A connection that is counted.
struct Connection {
    /// Whether its address or certificate had as many as it may before.
    over: bool,
    _entry: Entry,
}

/// What each listener notes of a new connection: the node's certificate, where it shows one, and that this or else its address has one more.
pub fn connected(app: &App, io: &dyn Any, extensions: &mut Extensions) {
    let tls = io.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref());
    let der = tls.and_then(|(_, tls)| tls.peer_certificates()).and_then(|chain| chain.first());
    let certificate = der.map(|der| NodeCertificate::new(der.to_vec()));
    let stream = tls.map(|(io, _)| io).or_else(|| io.downcast_ref::<TcpStream>());
    let address = || stream.and_then(|io| io.peer_addr().ok()).map(|peer| peer.ip());
    let whose = match &certificate {
        Some(certificate) => Some(Whose::CertificateConnections(certificate.hash())),
        None => address()
            .filter(|address| !is_proxy(*address, &app.settings.server))
            .map(|address| Whose::Connections(network_of(&address.to_string()))),
    };
    if let Some(whose) = whose {
        let (entry, open) = app.open.count(whose);
        let most = app.settings.server.open_per_address.saturating_mul(CONNECTIONS);
        if let Some(stream) = stream.filter(|_| open > most.saturating_mul(ENDED)) {
            end(stream);
        }
        extensions.insert(Connection { over: open > most, _entry: entry });
    }
    extensions.insert(PeerCertificate(certificate));
}

/// Ends a connection that the listener has in its hands.
fn end(stream: &TcpStream) {
    let twin = stream.as_fd().try_clone_to_owned().map(std::net::TcpStream::from);
    if let Err(e) = twin.and_then(|twin| twin.shutdown(Shutdown::Both)) {
        tracing::debug!(error = %e, "a connection too many was not ended");
    }
}

/// The middleware. Probes of the machine itself pass it.
pub async fn open_requests(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<Counted, BoxBody>>, Error> {
    let held = req.app_data::<Data<App>>().map_or(Ok(None), |app| admit(app, &req));
    match held {
        Ok(entry) => {
            let res = next.call(req).await?;
            let counted = |body| Counted { body: BoxBody::new(body), rest: Bytes::new(), _entry: entry };
            Ok(res.map_body(|_, body| EitherBody::left(counted(body))))
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
    let server = &app.settings.server;
    let probe = matches!(req.path(), "/healthz" | "/readyz");
    // Not the peer: it may be a proxy on this machine.
    if probe && client_address(req.request(), server).parse().is_ok_and(|address: IpAddr| address.is_loopback()) {
        return Ok(None);
    }
    if req.conn_data::<Connection>().is_some_and(|connection| connection.over) {
        return Err(open::too_many());
    }
    if req.path() == "/events" && req.method() == Method::GET {
        return Ok(None);
    }
    let whose = match req.conn_data::<PeerCertificate>().and_then(|certificate| certificate.0.as_ref()) {
        Some(certificate) => Whose::Certificate(certificate.hash()),
        None => Whose::Requests(network_of(&client_address(req.request(), server))),
    };
    app.open.enter(whose, server.open_per_address).map(Some)
}

/// An answer's body, which holds the request's entry and goes out in pieces.
pub struct Counted {
    body: BoxBody,
    rest: Bytes,
    _entry: Option<Entry>,
}

impl MessageBody for Counted {
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
    use actix_web::test::TestRequest;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::each_backend_with;

    #[tokio::test]
    async fn connections_far_over_the_bound_are_ended_at_once() {
        let few = |settings: &mut crate::base::config::Settings| settings.server.open_per_address = 1;
        each_backend_with(few, |app| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (mut over, mut kept) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                let mut extensions = Extensions::new();
                connected(&app, &stream, &mut extensions);
                over.push(extensions.get::<Connection>().unwrap().over);
                kept.push((client, stream, extensions));
            }
            assert_eq!(over, [false, false, true, true, true]);
            let mut byte = [0];
            // The server's ends stay open until the end.
            let (mut last, mut refused) = (kept.pop().unwrap(), kept.pop().unwrap());
            assert_eq!(last.0.read(&mut byte).await.unwrap(), 0, "it has ended");
            let waits = tokio::time::timeout(std::time::Duration::from_millis(50), refused.0.read(&mut byte)).await;
            assert!(waits.is_err(), "it is told at its first request");
        })
        .await;
    }

    #[tokio::test]
    async fn only_probes_of_the_machine_itself_and_streams_are_not_counted() {
        let proxied = |settings: &mut crate::base::config::Settings| settings.server.behind_proxy = true;
        each_backend_with(proxied, |app| async move {
            let counted = |method: Method, path: &str, client: Option<&str>| {
                let mut request = TestRequest::with_uri(path).method(method).peer_addr("127.0.0.1:1".parse().unwrap());
                if let Some(client) = client {
                    request = request.insert_header(("x-forwarded-for", client));
                }
                admit(&app, &request.to_srv_request()).unwrap().is_some()
            };
            assert!(!counted(Method::GET, "/readyz", None) && counted(Method::GET, "/readyz", Some("192.0.2.7")));
            assert!(!counted(Method::GET, "/events", Some("192.0.2.7")) && counted(Method::POST, "/events", Some("192.0.2.7")));
            assert!(counted(Method::GET, "/", None));
        })
        .await;
    }

    #[tokio::test]
    async fn a_body_goes_out_in_pieces_and_holds_its_entry_until_the_end() {
        let whole: Vec<u8> = (0..3 * PIECE + 7).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let open = open::Open::default();
        let whose = || Whose::Requests("192.0.2.7".into());
        let held = |entry| Counted { body: BoxBody::new(whole.clone()), rest: Bytes::new(), _entry: Some(entry) };
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
