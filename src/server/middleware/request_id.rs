//! Gives each request an id, returns the id in `X-Request-Id`, logs one line when the head is sent, counts the request.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _};
use tracing::Instrument as _;

use crate::base::app::App;

/// The id of a request, in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

pub async fn request_id(req: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = uuid::Uuid::now_v7().simple().to_string();
    req.extensions_mut().insert(RequestId(id.clone()));
    let app = req.app_data::<Data<App>>().cloned();
    let method = req.method().clone();
    let path = req.path().to_owned();
    let started = Instant::now();
    let span = tracing::info_span!("request", id = %id);
    let mut res = next.call(req).instrument(span.clone()).await?;
    let elapsed = started.elapsed();
    let status = res.status().as_u16();
    if let Ok(value) = HeaderValue::from_str(&id) {
        res.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    if let Some(app) = app {
        let kind = match path.split('/').nth(1) {
            Some("v2") => "registry",
            Some("api" | "edge") => "edge",
            Some("static") => "static",
            _ => "page",
        };
        let class = match status {
            0..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        app.metrics.requests.get_or_create(&[("kind", kind), ("status", class)]).inc();
        app.metrics.seconds.observe(elapsed.as_secs_f64());
    }
    span.in_scope(|| {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a request fit")]
        let ms = elapsed.as_millis() as u64;
        if status >= 500 {
            tracing::error!(%method, path, status, ms, "request");
        } else {
            tracing::debug!(%method, path, status, ms, "request");
        }
    });
    Ok(res)
}
