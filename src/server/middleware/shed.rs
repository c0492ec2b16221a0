//! Sheds load: finds the class of a request ([`crate::base::load`]) and waits for its turn, before anything is read from the database.
//!
//! Who asks is told by what they show (certificate, token, session), for to prove it costs a read; who shows a session that is none is
//! moved among the strangers ([`lower`]). A body is read before the turn is taken, so that a slow one holds none; one that is too large for
//! that (of a push, or a test set) ends the turn when the handler begins to read it, which only does so for whom it knows. What is read whole
//! takes memory that is bounded ([`crate::base::bodies`]) until the head of the answer.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage as _, HttpRequest};
use futures_util::{Stream as _, stream};
use sha2::{Digest as _, Sha256};

use super::authenticate::PeerCertificate;
use crate::base::app::App;
use crate::base::load::{Admission, Class};
use crate::base::networks::network_of;
use crate::base::open::Who;
use crate::base::{bodies, error};
use crate::http::cookies;
use crate::http::dialect::refused;
use crate::http::extract::{FORM_LIMIT, SMALL_JSON, bearer_token, client_address, is_form, parse_form, read_body};
use crate::http::held::Held;
use crate::site::market::cached;

/// Largest body of a node that is read before the turn, in bytes; of all others, who have proved nothing yet, it is less.
const AHEAD: usize = 2 * 1024 * 1024;

/// What a request shows of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Stranger,
    /// A session or an API token.
    Person,
    /// Something that only the registry knows to read.
    Registry,
    /// A certificate, which the handshake has proved.
    Node,
}

impl Claim {
    fn of(req: &HttpRequest) -> Self {
        if req.conn_data::<PeerCertificate>().is_some_and(|certificate| certificate.0.is_some()) {
            Self::Node
        } else if bearer_token(req).is_some() || cookies::read(req, cookies::SESSION).is_some() {
            Self::Person
        } else if req.headers().contains_key(AUTHORIZATION) {
            Self::Registry
        } else {
            Self::Stranger
        }
    }
}

/// What is proved of who asks: the node's certificate, else the network.
fn proved(req: &HttpRequest, app: &App) -> Who {
    match req.conn_data::<PeerCertificate>().and_then(|certificate| certificate.0.as_ref()) {
        Some(certificate) => Who::Certificate(certificate.hash()),
        None => Who::Network(network_of(&client_address(req, &app.settings.server))),
    }
}

/// Whose share of a class a request is of: people behind one address have each their own. What only the registry can read is different in
/// each request, so that it tells nobody apart.
fn whose(req: &HttpRequest, claim: Claim, app: &App) -> Who {
    let secret = if claim == Claim::Person { bearer_token(req).or_else(|| cookies::read(req, cookies::SESSION)) } else { None };
    secret.map_or_else(|| proved(req, app), |secret| Who::Secret(Sha256::digest(secret).into()))
}

/// The class of a request; none for what costs next to nothing and is never refused.
fn class_of(req: &HttpRequest, claim: Claim) -> Option<Class> {
    let (path, reads) = (req.path(), matches!(*req.method(), Method::GET | Method::HEAD));
    let class = match (path.split('/').nth(1).unwrap_or_default(), claim) {
        ("healthz" | "readyz" | "metrics" | "static" | "favicon.ico", _) => return None,
        ("v2", Claim::Stranger) | ("token", Claim::Stranger | Claim::Registry) => Class::Strangers,
        ("v2", Claim::Node) if reads => Class::NodePulls,
        ("v2", _) if reads => Class::Pulls,
        ("v2", _) => Class::Pushes,
        (_, Claim::Node) if path == "/api/v1/deployments" => Class::Polls,
        (_, Claim::Node) => Class::Reports,
        ("media", _) => Class::Pictures,
        (_, Claim::Person) if path.ends_with("/export") => Class::Exports,
        (_, Claim::Person) if !reads && is_money(path) => Class::Money,
        (_, Claim::Person) => Class::People,
        _ if matches!(path, "/apps" | "/api/v1/listings") && is_search(req.query_string()) => Class::Searches,
        _ if !reads && is_form(req) => Class::Entry,
        _ => Class::Strangers,
    };
    Some(class)
}

/// Whether a change is one of orders or payments.
fn is_money(path: &str) -> bool {
    path.ends_with("/order") || ["/mine/orders/", "/admin/payments/", "/api/v1/orders"].iter().any(|of| path.starts_with(of))
}

/// Whether a query of the catalogue has a text to look for.
fn is_search(query: &str) -> bool {
    query.split('&').any(|pair| pair.strip_prefix("q=").is_some_and(|text| !text.is_empty()))
}

/// The middleware.
pub async fn shed(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody, BoxBody>>, Error> {
    let Some(app) = req.app_data::<Data<App>>().cloned() else { return next.call(req).await.map(ServiceResponse::map_into_left_body) };
    // Of what has no class too: its body is read all the same.
    let has_body = has_body(&mut req);
    if has_body {
        let held = app.bodies.of(proved(req.request(), &app));
        req.extensions_mut().insert(held);
    }
    let claim = Claim::of(req.request());
    let class = class_of(req.request(), claim).filter(|_| claim != Claim::Stranger || !cached::is_ready(req.request(), &app));
    let Some(class) = class else { return next.call(req).await.map(ServiceResponse::map_into_left_body) };
    // Nor is that of a push without credentials, which some clients send first: it is asked for them, unread.
    let registry = matches!(class, Class::Pulls | Class::NodePulls | Class::Pushes) || req.path().starts_with("/v2/");
    let limit = if registry { None } else { ahead(req.request(), claim) };
    if let Some(limit) = limit
        && let Err(e) = read_ahead(&mut req, limit).await
    {
        return Ok(refusal(req, e).map_into_right_body());
    }
    let who = class.is_shared().then(|| whose(req.request(), claim, &app));
    match app.load.admit(class, who).await {
        Ok(admission) if class == Class::Pushes || (limit.is_none() && !registry) => until_body(&mut req, admission),
        Ok(admission) => {
            req.extensions_mut().insert(admission);
        }
        Err(e) => {
            let old = if claim == Claim::Stranger { cached::allow_old(req.request(), &app, e) } else { Err(e) };
            if let Err(e) = old {
                if claim == Claim::Person && limit.is_some() && is_form(req.request()) {
                    keep_form(&mut req).await;
                }
                let mut res = refusal(req, e);
                if limit.is_none() && has_body {
                    // Close the connection instead of reading a body that nobody wants.
                    res.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                return Ok(res.map_into_right_body());
            }
        }
    }
    let res = next.call(req).await?;
    // The request lives on until its answer is sent.
    res.request().extensions_mut().remove::<Admission>();
    res.request().extensions_mut().remove::<BodyTurn>();
    res.request().extensions_mut().remove::<bodies::Held>();
    Ok(res.map_into_left_body())
}

/// The answer to a request that is not worked on; its body is let go of.
fn refusal(req: ServiceRequest, e: error::Error) -> ServiceResponse {
    req.extensions_mut().remove::<bodies::Held>();
    refused(req, e)
}

/// Whether a body comes with a request.
fn has_body(req: &mut ServiceRequest) -> bool {
    let payload = req.take_payload();
    let has_body = !matches!(payload, Payload::None);
    req.set_payload(payload);
    has_body
}

/// Moves a request that has shown a session which is none among those of strangers, who wait for no page that lies ready, and get an old one
/// where no turn comes.
///
/// # Errors
/// `server-busy`: no turn came in time.
pub async fn lower(req: &ServiceRequest, app: &App) -> error::Result<()> {
    if Claim::of(req.request()) != Claim::Person {
        return Ok(());
    }
    // Its turn goes before it waits for the other one, also where its body has it.
    drop(req.extensions_mut().remove::<Admission>());
    if let Some(BodyTurn(held)) = req.extensions_mut().remove::<BodyTurn>() {
        held.take();
    }
    let class = class_of(req.request(), Claim::Stranger).filter(|_| !cached::is_ready(req.request(), app));
    let Some(class) = class else { return Ok(()) };
    let who = class.is_shared().then(|| proved(req.request(), app));
    match app.load.admit(class, who).await {
        Ok(admission) => {
            req.extensions_mut().insert(admission);
            Ok(())
        }
        Err(e) => cached::allow_old(req.request(), app, e),
    }
}

/// Bytes of the body that may be read before the turn: who sends more is refused. None where the handler reads it: a session or token that
/// is shown may be none, and is not worth the memory that an archive takes.
fn ahead(req: &HttpRequest, claim: Claim) -> Option<usize> {
    match claim {
        Claim::Node => Some(AHEAD),
        Claim::Person => {
            let length = req.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
            // What comes in pieces of untold length may be large only where files come in.
            let told = !req.headers().contains_key(TRANSFER_ENCODING);
            let fits = if told { length.unwrap_or(0) <= FORM_LIMIT } else { is_form(req) || req.path().starts_with("/api/") };
            fits.then_some(FORM_LIMIT)
        }
        Claim::Stranger | Claim::Registry => Some(if is_form(req) { FORM_LIMIT } else { SMALL_JSON }),
    }
}

/// Reads the body, where there is one, up to a limit.
async fn read_ahead(req: &mut ServiceRequest, limit: usize) -> error::Result<()> {
    let payload = req.take_payload();
    if matches!(payload, Payload::None) {
        return Ok(());
    }
    let bytes = read_body(req.request(), payload, limit).await?;
    req.set_payload(Payload::from(bytes));
    Ok(())
}

/// Keeps the form of a person, which was read ahead, for the refusal.
async fn keep_form(req: &mut ServiceRequest) {
    let payload = req.take_payload();
    if let Ok(bytes) = read_body(req.request(), payload, FORM_LIMIT).await
        && let Ok(pairs) = parse_form::<Vec<(String, String)>>(&bytes)
    {
        Held::keep(req.request(), &pairs);
    }
}

/// The turn that a body has.
struct BodyTurn(Rc<Cell<Option<Admission>>>);

/// Gives a turn to the body of a request: it ends when somebody begins to read it, or drops it unread.
fn until_body(req: &mut ServiceRequest, admission: Admission) {
    let mut payload = req.take_payload();
    if matches!(payload, Payload::None) {
        req.extensions_mut().insert(admission);
        return;
    }
    let held = Rc::new(Cell::new(Some(admission)));
    req.extensions_mut().insert(BodyTurn(held.clone()));
    let body = stream::poll_fn(move |cx| {
        held.take();
        Pin::new(&mut payload).poll_next(cx)
    });
    let body: Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, actix_web::error::PayloadError>>>> = Box::pin(body);
    req.set_payload(Payload::from(body));
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn each_has_the_class_of_what_it_has_shown() {
        for (path, claim, class) in [
            ("/v2/acme/belt/manifests/1.0.0", Claim::Node, Class::NodePulls),
            ("/v2/acme/belt/manifests/1.0.0", Claim::Registry, Class::Pulls),
            ("/v2/acme/belt/manifests/1.0.0", Claim::Stranger, Class::Strangers),
            ("/edge/reports", Claim::Node, Class::Reports),
            ("/duty/board/export", Claim::Person, Class::Exports),
            ("/duty/board/export", Claim::Stranger, Class::Strangers),
            ("/mine/orders/ord_1/invoice.pdf", Claim::Person, Class::People),
        ] {
            assert_eq!(class_of(&TestRequest::with_uri(path).to_http_request(), claim), Some(class), "{path} {claim:?}");
        }
    }
}
