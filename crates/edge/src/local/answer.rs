//! Answers to callers who do not read them: a connection that takes nothing is ended, no caller has all connections, and a large answer holds
//! a part of the memory until it is read, and goes out in pieces.

use std::any::Any;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::web;
use bytes::Bytes;
use rustix::net::{Shutdown, shutdown, sockopt::set_tcp_user_timeout};
use tokio::sync::OwnedSemaphorePermit;

use super::body::{Bounds, SMALL};

/// Time for which a connection may take nothing of what is sent to it. The kernel ends it then, for the server knows no such bound.
const TAKES_NOTHING: Duration = Duration::from_secs(10);
/// Largest piece of an answer that is given to a connection at once, in bytes.
const PIECE: usize = 256 * 1024;

/// Connections that are open, by caller.
#[derive(Default)]
pub struct Lines(Mutex<HashMap<IpAddr, usize>>);

/// A connection that is counted, until dropped.
struct Line {
    lines: Arc<Lines>,
    caller: IpAddr,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a new connection, and ends it where its caller has so many.
    pub fn connected(self: &Arc<Self>, io: &dyn Any, extensions: &mut Extensions, most: usize) {
        let Some(stream) = io.downcast_ref::<TcpStream>() else { return };
        let bound = u32::try_from(TAKES_NOTHING.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = set_tcp_user_timeout(stream, bound) {
            tracing::debug!(%error, "a connection has no bound of time");
        }
        let Ok(peer) = stream.peer_addr() else { return };
        let line = Line { lines: self.clone(), caller: peer.ip() };
        let mut lines = self.lock();
        let open = lines.entry(line.caller).or_default();
        *open += 1;
        let over = *open > most;
        drop(lines);
        extensions.insert(line);
        if over && let Err(error) = shutdown(stream, Shutdown::Both) {
            tracing::debug!(%error, "a connection too many was not ended");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        if let Some(open) = lines.get_mut(&self.caller) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                lines.remove(&self.caller);
            }
        }
    }
}

/// A large answer with its part of the memory.
struct Sent {
    body: BoxBody,
    rest: Bytes,
    _memory: OwnedSemaphorePermit,
}

impl MessageBody for Sent {
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

/// Holds memory for a large answer until its last piece is given to the connection; without any, the caller is told to come again.
pub(super) async fn sent(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let bounds = request.app_data::<web::Data<Bounds>>().cloned();
    let response = next.call(request).await?.map_into_boxed_body();
    let length = match response.response().body().size() {
        BodySize::Sized(length) => usize::try_from(length).unwrap_or(usize::MAX),
        _ => 0,
    };
    let Some(bounds) = bounds.filter(|_| length > SMALL) else { return Ok(response) };
    let memory = bounds.hold(length).await?;
    Ok(response.map_body(|_, body| BoxBody::new(Sent { body, rest: Bytes::new(), _memory: memory })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_answer_holds_memory_until_its_last_piece() {
        let bounds = Bounds::default();
        let length = 3 * PIECE + 7;
        let mut held = Vec::new();
        // All of the memory, in answers that nobody reads.
        let refused = loop {
            match bounds.hold(36 << 20).await {
                Ok(memory) => held.push(Sent { body: BoxBody::new(vec![1; length]), rest: Bytes::new(), _memory: memory }),
                Err(refused) => break refused,
            }
        };
        assert!(held.len() == 2 && refused.to_string().contains("api-busy"), "{} {refused}", held.len());
        let mut body = held.pop().unwrap();
        assert!(matches!(body.size(), BodySize::Sized(size) if size == length as u64));
        let mut sizes = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            sizes.push(piece.unwrap().len());
        }
        assert_eq!(sizes, [PIECE, PIECE, PIECE, 7]);
        assert!(bounds.hold(1 << 20).await.is_err());
        drop(body);
        assert!(bounds.hold(1 << 20).await.is_ok());
    }
}
