//! Answers HEAD as GET without the body (RFC 9110 §9.3.2), so that no route has to name it. The registry answers HEAD itself, with headers
//! that cost no read.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{IF_RANGE, RANGE};
use actix_web::middleware::Next;
use actix_web::web::Bytes;

/// The middleware. The connection remembers that the request was HEAD, and writes the length without the bytes.
pub async fn head_as_get<B: MessageBody>(mut req: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<EitherBody<B, NoBytes>>, Error> {
    if req.method() != Method::HEAD || req.path().starts_with("/v2") {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    let head = req.head_mut();
    head.method = Method::GET;
    // Ranges are those of GET (§14.2).
    head.headers.remove(RANGE);
    head.headers.remove(IF_RANGE);
    let res = next.call(req).await?;
    Ok(res.map_body(|_, body| EitherBody::right(NoBytes(body.size()))))
}

/// In place of a body that nobody reads: a stream of events has no end, and an export is long.
pub struct NoBytes(BodySize);

impl MessageBody for NoBytes {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
