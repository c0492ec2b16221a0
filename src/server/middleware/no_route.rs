//! What no route has taken: 405 with the methods of the address (RFC 9110 §15.5.6), the same methods for OPTIONS, else 404; each in the
//! form of whoever asks.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpResponse, web};

use crate::base::error;
use crate::http::dialect::Dialect;

/// The last resource of a table of routes. It has no route of its own: the framework then answers 405, and names the methods of those
/// resources that have the address and not the method.
pub fn rest() -> impl HttpServiceFactory {
    web::resource("/{any:.*}").wrap(from_fn(no_route))
}

async fn no_route(req: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let asked = req.method().clone();
    let res = next.call(req).await?;
    let (req, res) = res.into_parts();
    let methods = methods(res.headers().get(ALLOW).and_then(|value| value.to_str().ok()).unwrap_or_default());
    if methods.is_empty() {
        let error = Dialect::of(&req).error(&req, error::Error::not_found("page"));
        return Ok(ServiceResponse::from_err(error, req));
    }
    let allow = methods.join(", ");
    if asked == Method::OPTIONS {
        return Ok(ServiceResponse::new(req, HttpResponse::NoContent().insert_header((ALLOW, allow)).finish()));
    }
    let error = Dialect::of(&req).error(&req, error::Error::no_method("method-not-allowed").arg("allow", allow));
    Ok(ServiceResponse::from_err(error, req))
}

/// Each method once, with those that come with others.
fn methods(named: &str) -> Vec<&str> {
    let mut methods: Vec<&str> = named.split(',').map(str::trim).filter(|method| !method.is_empty()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    if !methods.is_empty() {
        methods.push("OPTIONS");
    }
    methods.sort_unstable();
    methods.dedup();
    methods
}
