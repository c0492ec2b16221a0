//! Headers that keep browsers on our side: no foreign or inline script, no framing, no sniffing, nothing of ours in pages of others. HTTPS
//! for a year, for this host only, where people reach the site by it. What sets a cookie is for one browser, and nobody keeps it.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, SET_COOKIE, STRICT_TRANSPORT_SECURITY};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::base::app::App;

const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
];

pub async fn security_headers(req: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let app = req.app_data::<Data<App>>().cloned();
    let mut res = next.call(req).await?;
    let headers = res.headers_mut();
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if headers.contains_key(SET_COOKIE) && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    if app.is_some_and(|app| app.settings.server.public_url.starts_with("https://")) {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    Ok(res)
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App as Actix, HttpResponse, web};

    use super::*;
    use crate::testing::each_backend_with;

    #[tokio::test]
    async fn https_is_asked_for_where_the_site_is_reached_by_it() {
        for (public_url, wanted) in [("https://market.example", Some("max-age=31536000")), ("http://127.0.0.1:8080", None)] {
            let change: fn(&mut crate::base::config::Settings) =
                if wanted.is_some() { |settings| settings.server.public_url = "https://market.example".into() } else { |_| () };
            each_backend_with(change, |app| async move {
                assert_eq!(app.settings.server.public_url, public_url);
                let site = Actix::new()
                    .app_data(Data::new(app))
                    .wrap(from_fn(security_headers))
                    .route("/", web::get().to(|| async { HttpResponse::Ok().finish() }));
                let answer = call_service(&init_service(site).await, TestRequest::get().to_request()).await;
                let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
                assert_eq!(header("strict-transport-security"), wanted);
                assert_eq!(header("cross-origin-resource-policy"), Some("same-origin"));
            })
            .await;
        }
    }
}
