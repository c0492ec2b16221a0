//! Answers HEAD as GET without the body (RFC 9110 §9.3.2), so that no route has to name it. The registry answers HEAD itself, with headers
//! that cost no read; a stream of events has no end that a HEAD could wait for.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;

/// The middleware. The connection remembers that the request was HEAD and sends no body.
pub async fn head_as_get(mut req: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if req.method() == Method::HEAD && !req.path().starts_with("/v2") && req.path() != "/events" {
        req.head_mut().method = Method::GET;
    }
    next.call(req).await
}
