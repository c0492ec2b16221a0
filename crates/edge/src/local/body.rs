//! Bodies of requests, and whom the API serves: bounded in size, pace, memory over all callers, and requests of one caller.
//!
//! Invariant: a caller who sends slowly, or many who send at once, hold up nobody else: what is over a bound is refused at once with 503
//! and `Retry-After`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ApiError;

/// Largest request body, in bytes.
pub const MAX_BODY: usize = 20_000_000;
/// Time for a body's first bytes.
const FIRST_BYTES: Duration = Duration::from_secs(5);
/// Slowest pace after that, in bytes a second.
const BYTES_PER_SECOND: usize = 64 * 1024;
/// Unit in which memory is given out, in bytes.
const UNIT: usize = 64 * 1024;
/// Memory for the bodies of all requests in hand, in units: 160 MiB.
const MEMORY: usize = 2_560;
/// Longest wait for a part of that memory.
const MEMORY_WAIT: Duration = Duration::from_secs(1);
/// Requests of one address in hand; programs of this machine share one address.
const MAX_PER_CALLER: usize = 64;

/// What all workers of the API share.
pub struct Bounds {
    memory: Arc<Semaphore>,
    callers: Mutex<HashMap<IpAddr, usize>>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory: Arc::new(Semaphore::new(MEMORY)), callers: Mutex::default() }
    }
}

/// A request in hand, counted for its caller until dropped.
pub struct InHand {
    bounds: Arc<Bounds>,
    caller: IpAddr,
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut callers = self.bounds.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = callers.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

impl Bounds {
    /// Counts a request; `None` where its caller has too many in hand.
    pub fn enter(self: &Arc<Self>, caller: IpAddr) -> Option<InHand> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = callers.entry(caller).or_default();
        if *count >= MAX_PER_CALLER {
            return None;
        }
        *count += 1;
        drop(callers);
        Some(InHand { bounds: self.clone(), caller })
    }
}

/// Refusal of what is over a bound.
pub fn busy(message: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "api-busy", message)
}

/// A body with its part of the memory, given back on drop.
pub struct Body {
    pub bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

/// Time by which so many bytes of a body must be there.
fn due(begin: Instant, bytes: usize) -> Instant {
    begin + FIRST_BYTES + Duration::from_secs((bytes / BYTES_PER_SECOND) as u64)
}

/// Memory that a request may need, in units, by the length it announces: the body and the tensors read from it.
fn needs(length: Option<usize>) -> Option<u32> {
    let length = length.unwrap_or(MAX_BODY);
    (length <= MAX_BODY).then(|| u32::try_from(length.div_ceil(UNIT) * 2).unwrap_or(u32::MAX))
}

/// The whole body. Content types are not looked at: clients of the protocol send none.
pub async fn body(request: &HttpRequest, mut payload: web::Payload) -> Result<Body, ApiError> {
    if request.headers().get(header::CONTENT_ENCODING).is_some_and(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding-not-supported", "send the body without content encoding"));
    }
    let too_large = || ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", format!("the body is over {MAX_BODY} bytes"));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let needed = needs(length).ok_or_else(too_large)?;
    let bounds = request.app_data::<web::Data<Bounds>>().ok_or_else(|| busy("not ready"))?;
    let memory = tokio::time::timeout(MEMORY_WAIT, bounds.memory.clone().acquire_many_owned(needed)).await;
    let memory = memory.ok().and_then(Result::ok).ok_or_else(|| busy("too many large bodies are in hand"))?;
    let begin = Instant::now();
    let mut whole = web::BytesMut::new();
    loop {
        let next = tokio::time::timeout_at(due(begin, whole.len()).into(), payload.next()).await;
        let slow = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body did not arrive in time");
        let Some(chunk) = next.map_err(slow)? else { break };
        let chunk = chunk.map_err(|e| ApiError::bad("body-unreadable", e.to_string()))?;
        if whole.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Body { bytes: whole.freeze(), _memory: memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_a_bound_and_others_have_their_own() {
        let bounds = Arc::new(Bounds::default());
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held: Vec<InHand> = (0..MAX_PER_CALLER).map(|_| bounds.enter(one).unwrap()).collect();
        assert!(bounds.enter(one).is_none() && bounds.enter(two).is_some());
        held.pop();
        held.push(bounds.enter(one).unwrap());
        drop(held);
        assert!(bounds.callers.lock().unwrap().is_empty());
    }

    #[test]
    fn bodies_have_a_pace_and_a_part_of_the_memory() {
        let begin = Instant::now();
        assert_eq!(due(begin, 0) - begin, FIRST_BYTES);
        assert_eq!(due(begin, 10 * BYTES_PER_SECOND) - begin, FIRST_BYTES + Duration::from_secs(10));
        assert_eq!((needs(Some(100)), needs(Some(10 << 20)), needs(Some(MAX_BODY + 1))), (Some(2), Some(320), None));
        assert!(needs(None).is_some_and(|most| usize::try_from(most).unwrap() < MEMORY / 4));
    }
}
