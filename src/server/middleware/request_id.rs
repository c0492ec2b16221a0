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
    let secure = req.app_config().secure();
    let started = Instant::now();
    let span = tracing::info_span!("request", id = %id);
    let mut res = next.call(req).instrument(span.clone()).await?;
    let elapsed = started.elapsed();
    let status = res.status().as_u16();
    if let Ok(value) = HeaderValue::from_str(&id) {
        res.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    if let Some(app) = app {
        let kind = kind(&path, secure);
        let class = match status {
            0..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        app.metrics.requests.get_or_create(&[("kind", kind), ("status", class)]).inc();
        app.metrics.seconds.observe(elapsed.as_secs_f64());
    }
    // Never the path itself: it may hold the secret of an invitation.
    let route = res.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    span.in_scope(|| {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a request fit")]
        let ms = elapsed.as_millis() as u64;
        // What else is 5xx (a full disk, a busy database or server) is told by its cause, or made by strangers at will.
        if status == 500 {
            tracing::error!(%method, route, status, ms, "request");
        } else {
            tracing::debug!(%method, route, status, ms, "request");
        }
    });
    Ok(res)
}

/// What a request is counted as. The node listener has TLS of its own; `/api` is Margo there, and on the site the interface for programs.
fn kind(path: &str, secure: bool) -> &'static str {
    match path.split('/').nth(1) {
        Some("v2" | "token") => "registry",
        Some("api") if !secure => "api",
        Some("api" | "edge") => "edge",
        Some("static") => "static",
        _ => "page",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App as Actix, HttpResponse, web};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn requests_are_counted_by_who_makes_them() {
        for (path, site, nodes) in [
            ("/v2/acme/belt/tags/list", "registry", "registry"),
            ("/token", "registry", "registry"),
            ("/api/v1/deployments", "api", "edge"),
            ("/edge/reports", "edge", "edge"),
            ("/static/1/css/app.css", "static", "static"),
            ("/apps", "page", "page"),
        ] {
            assert_eq!((kind(path, false), kind(path, true)), (site, nodes), "{path}");
        }
    }

    #[tokio::test]
    async fn a_secret_in_an_address_is_not_logged() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(log);
        let site = Actix::new()
            .wrap(from_fn(request_id))
            .route("/invitations/{secret}", web::get().to(|| async { HttpResponse::InternalServerError().finish() }));
        let service = init_service(site).await;
        for path in ["/invitations/s3cret", "/invitation/s3cret"] {
            call_service(&service, TestRequest::get().uri(path).to_request()).await;
        }
        let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(told.contains("/invitations/{secret}") && !told.contains("s3cret"), "{told}");
    }
}
