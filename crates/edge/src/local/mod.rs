//! The local API: Open Inference Protocol v2, `/v1/apps`, `/metrics` and a status page, for programs on this machine.
//!
//! Everything is bounded: bodies, the pace of sending them, how many of one caller arrive, the time in which nothing of an answer is read,
//! connections, requests in hand per app. Requests that a browser sends from another site are refused, because this API has no log-in but an
//! optional token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpResponse, HttpServer, ResponseError, guard, web};
use anyhow::Context;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::apps::Running;
use crate::fault::Fault;
use crate::process::Reply;
use crate::wire::Request;

mod answer;
mod body;
mod inflate;
mod metrics;
mod oip;
mod page;
mod predict;
mod question;
mod sources;
mod words;

pub(crate) use predict::raise;
pub(crate) use words::words;

/// Limit of one inference, waiting included.
pub(crate) const INFERENCE: Duration = Duration::from_secs(30);
/// Threads that serve it.
const WORKERS: usize = 2;

/// The agent as every handler gets it.
pub(crate) type Shared = web::Data<Arc<Agent>>;

/// An error as this API says it: `{"error": "...", "code": "..."}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: String,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// Error for an app that the node has, but whose process is not up yet: the caller asks again soon.
    fn starting(name: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "app-starting", format!("{name:?} is being started; ask again"))
    }

    fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        // The rest of a body that is not read must not hold the connection.
        if matches!(&*self.code, "api-busy" | "body-too-slow" | "body-too-large" | "encoding-not-supported" | "token-missing") {
            response.force_close();
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        response.json(json!({ "error": self.message, "code": self.code }))
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let status = match &*fault.code {
            "app-busy" | "app-restarting" => StatusCode::SERVICE_UNAVAILABLE,
            "app-timeout" | "input-too-slow" => StatusCode::GATEWAY_TIMEOUT,
            "engine-failed" | "model-load" => StatusCode::INTERNAL_SERVER_ERROR,
            _ if fault.source == "app" => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, &fault.code, fault.message)
    }
}

/// One inference at the app's process, counted.
async fn infer(running: &Running, request: &Request, body: &[u8]) -> Result<(Reply, Duration), ApiError> {
    let started = Instant::now();
    let result = running.process.call(request, body, INFERENCE).await;
    let took = started.elapsed();
    running.stats.record(result.is_ok(), took);
    Ok((result?, took))
}

/// True for names that nobody outside this network can point at this machine: addresses, names without a point, and the private endings. A
/// web page whose public name was pointed at this address must not reach the API.
fn private_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => return rest.split_once(']').is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.split(':').next().unwrap_or(host).to_ascii_lowercase(),
    };
    let ending = [".local", ".lan", ".internal", ".home.arpa", ".localhost"].iter().any(|end| name.ends_with(end));
    name.parse::<std::net::Ipv4Addr>().is_ok() || !name.contains('.') || ending
}

/// Whether a request shows the token that the API asks for. Digests are compared, so that the time taken tells nothing of the token.
fn shows_token(token: &str, request: &ServiceRequest) -> bool {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    shown.is_some_and(|shown| app_package::digest::Digest::of(shown.as_bytes()) == app_package::digest::Digest::of(token.as_bytes()))
}

/// Refuses callers without the token, where one is set. Health is told to everybody, for watchdogs.
async fn admitted(
    request: ServiceRequest,
    next: Next<impl actix_web::body::MessageBody>,
) -> Result<ServiceResponse<impl actix_web::body::MessageBody>, actix_web::Error> {
    let agent = request.app_data::<Shared>().cloned();
    let token = agent.as_ref().and_then(|agent| agent.config.token.as_deref());
    if token.is_some_and(|token| !request.path().starts_with("/v2/health/") && !shows_token(token, &request)) {
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "token-missing", "send the API's token as Authorization: Bearer").into());
    }
    next.call(request).await
}

/// Refuses what a page of another site makes a browser send.
async fn same_site(
    request: ServiceRequest,
    next: Next<impl actix_web::body::MessageBody>,
) -> Result<ServiceResponse<impl actix_web::body::MessageBody>, actix_web::Error> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("").to_owned();
    let foreign = request.headers().get(header::ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().unwrap_or("");
        origin.split_once("://").is_none_or(|(_, origin)| origin != host)
    });
    if foreign || !private_name(&host) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "cross-origin-refused", "requests from other sites are not served").into());
    }
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A route for reading: HEAD is answered as GET, without the body, for monitors ask so.
fn get() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// What no route has taken: 405 with the methods of the address (RFC 9110 §15.5.6), the same methods for OPTIONS, else 404.
async fn no_route(
    request: ServiceRequest,
    next: Next<impl actix_web::body::MessageBody>,
) -> Result<ServiceResponse<actix_web::body::BoxBody>, actix_web::Error> {
    let asked = request.method().clone();
    let (request, answer) = next.call(request).await?.into_parts();
    let named = answer.headers().get(header::ALLOW).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let methods: BTreeSet<&str> = named.split(',').map(str::trim).filter(|method| !method.is_empty()).chain(["OPTIONS"]).collect();
    let allow = methods.iter().copied().collect::<Vec<_>>().join(", ");
    let response = if named.is_empty() {
        ApiError::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this address").error_response()
    } else if asked == Method::OPTIONS {
        HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish()
    } else {
        let message = format!("this address has no {asked}, but {allow}");
        let mut refusal = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message).error_response();
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_str(&allow).unwrap_or(HeaderValue::from_static("GET")));
        refusal
    };
    Ok(ServiceResponse::new(request, response))
}

fn routes(config: &mut web::ServiceConfig) {
    use web::post;
    config
        .route("/", get().to(page::status))
        .route("/metrics", get().to(metrics::metrics))
        .route("/sources", get().to(sources::page))
        .route("/sources", post().to(sources::save))
        .route("/sources/{id}", get().to(sources::one))
        .route("/sources/{id}/picture", get().to(sources::picture))
        .route("/sources/{id}/remove", post().to(sources::remove))
        .route("/v1/sources", get().to(sources::list))
        .route("/v1/apps", get().to(predict::list))
        .route("/v1/apps/{app:[^/]+(?:/[^/]+)?}/predict", post().to(predict::predict))
        .route("/v2", get().to(oip::server))
        .route("/v2/", get().to(oip::server))
        .route("/v2/health/live", get().to(oip::live))
        .route("/v2/health/ready", get().to(oip::ready))
        .route("/v2/repository/index", post().to(oip::index))
        .route("/v2/models/stats", get().to(oip::all_statistics))
        .route("/v2/models/{model}", get().to(oip::model))
        .route("/v2/models/{model}/ready", get().to(oip::model_ready))
        .route("/v2/models/{model}/stats", get().to(oip::statistics))
        .route("/v2/models/{model}/infer", post().to(oip::infer))
        .route("/v2/models/{model}/versions/{version}", get().to(oip::model))
        .route("/v2/models/{model}/versions/{version}/ready", get().to(oip::model_ready))
        .route("/v2/models/{model}/versions/{version}/stats", get().to(oip::statistics))
        .route("/v2/models/{model}/versions/{version}/infer", post().to(oip::infer))
        // It has no route of its own: the framework then answers 405, with the methods of those that have the address and not the method.
        .service(web::resource("/{any:.*}").wrap(from_fn(no_route)));
}

/// Serves the local API until cancelled.
pub async fn serve(agent: Arc<Agent>, listen: &str, cancel: CancellationToken) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(listen).context("cannot listen")?;
    serve_on(agent, listener, cancel).await
}

/// Serves the local API on a bound socket until cancelled.
pub async fn serve_on(agent: Arc<Agent>, listener: std::net::TcpListener, cancel: CancellationToken) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "local API");
    // Idle ones are cheap; what counts is bounded in [`body`].
    let all = agent.config.connections;
    let connections = all.div_ceil(WORKERS);
    // Programs of this machine are one caller; some are left for others.
    let (lines, of_one) = (Arc::new(answer::Lines::default()), all - all / 4);
    let (data, bounds) = (web::Data::new(agent), web::Data::new(body::Bounds::default()));
    let app = move || {
        let app = App::new().app_data(data.clone()).app_data(bounds.clone());
        app.wrap(from_fn(answer::sent)).wrap(from_fn(admitted)).wrap(from_fn(same_site)).configure(routes)
    };
    let server = HttpServer::new(app)
        .workers(WORKERS)
        .max_connections(connections)
        .on_connect(move |io, extensions| lines.connected(io, extensions, of_one))
        .client_request_timeout(Duration::from_secs(5))
        .disable_signals()
        .shutdown_timeout(5)
        .listen(listener)?
        .run();
    let handle = server.handle();
    tokio::spawn(async move {
        cancel.cancelled().await;
        handle.stop(true).await;
    });
    server.await.context("local API")
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service};

    use super::*;

    #[tokio::test]
    async fn an_address_says_which_methods_it_has() {
        let service = init_service(App::new().configure(routes)).await;
        for (method, path, status, allow) in [
            ("PATCH", "/v2/health/live", 405, Some("GET, HEAD, OPTIONS")),
            ("DELETE", "/metrics", 405, Some("GET, HEAD, OPTIONS")),
            ("GET", "/v2/models/belt/infer", 405, Some("OPTIONS, POST")),
            ("GET", "/v1/apps/acme/belt/predict", 405, Some("OPTIONS, POST")),
            ("OPTIONS", "/v2/models/belt/infer", 204, Some("OPTIONS, POST")),
            ("POST", "/v2/nothing", 404, None),
            ("GET", "/nothing", 404, None),
        ] {
            let request = TestRequest::default().method(method.parse().unwrap()).uri(path).to_request();
            let answer = call_service(&service, request).await;
            let told = answer.headers().get(header::ALLOW).map(|value| value.to_str().unwrap());
            assert_eq!((answer.status().as_u16(), told), (status, allow), "{method} {path}");
        }
    }

    #[test]
    fn names_of_this_network() {
        for name in ["127.0.0.1:9101", "localhost:9101", "[::1]:9101", "10.0.0.7", "edge1", "edge1.local:80", ""] {
            assert!(private_name(name), "{name}");
        }
        for name in ["evil.example:9101", "127.0.0.1.evil.example", "[evil.example]:1"] {
            assert!(!private_name(name), "{name}");
        }
    }
}
