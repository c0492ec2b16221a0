//! Bodies of requests: bounded in size, pace, memory over all callers, and in how many of one caller still arrive.
//!
//! Invariants: programs of this machine share one address, so that a slow sender may be anybody's neighbour. A small body that comes with
//! its head waits for no other one. Of those that still arrive the one that is the furthest behind gives way. What is over a bound is
//! refused at once with 503 and `Retry-After`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::ApiError;
use super::inflate::Packing;

/// Largest request body, in bytes.
pub const MAX_BODY: usize = 20_000_000;
/// Time for a body's first bytes, and how far it may be behind its pace later.
const FIRST_BYTES: Duration = Duration::from_secs(5);
/// Slowest pace after that, in bytes a second.
const BYTES_PER_SECOND: usize = 64 * 1024;
/// Unit in which memory is given out, in bytes.
const UNIT: usize = 64 * 1024;
/// Memory for large or slow bodies of all requests in hand, in units (144 MiB), and for small ones while they come (16 MiB): how many of
/// those are in hand is bounded by the queues of the apps.
const MEMORY: usize = 2_304;
const MEMORY_AT_ONCE: usize = 256;
/// Memory for large answers until they are read, in units (72 MiB). Bodies have their own: who reads slowly must not keep pictures out.
const MEMORY_OF_ANSWERS: usize = 1_152;
/// First part of a body that does not tell its length, in units (a body of 2 MiB); it takes as much again whenever that is used up.
const UNTOLD: u32 = 64;
/// Longest wait for a part of that memory, and for a further one: who waits for that holds the former.
const MEMORY_WAIT: Duration = Duration::from_secs(1);
const MORE_WAIT: Duration = Duration::from_millis(100);
/// Time between two tries to get it, and looks whether somebody can give way.
const LOOK: Duration = Duration::from_millis(20);
/// A body that has not kept its pace for so long gives its memory to one that waits. Wireless lines stop for shorter times.
const STANDS_STILL: Duration = Duration::from_secs(2);
/// Largest body that comes at once, in bytes, and the time that it takes at most.
pub(super) const SMALL: usize = 64 * 1024;
const AT_ONCE: Duration = Duration::from_millis(50);
/// Bodies of one address that still arrive.
const MAX_ARRIVING: usize = 64;

/// A body that still arrives.
struct Arriving {
    number: u64,
    /// When its next bytes must be there.
    due: Instant,
    /// Its part of the memory, in units.
    units: usize,
    gives_way: CancellationToken,
}

#[derive(Default)]
struct Callers {
    next: u64,
    arriving: HashMap<IpAddr, Vec<Arriving>>,
}

/// What all workers of the API share.
pub struct Bounds {
    memory: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
    callers: Mutex<Callers>,
}

impl Default for Bounds {
    fn default() -> Self {
        let (memory, at_once) = (Arc::new(Semaphore::new(MEMORY)), Arc::new(Semaphore::new(MEMORY_AT_ONCE)));
        Self { memory, answers: Arc::new(Semaphore::new(MEMORY_OF_ANSWERS)), at_once, callers: Mutex::default() }
    }
}

/// The place of a body among those that still arrive, until dropped.
struct Place {
    bounds: Arc<Bounds>,
    caller: IpAddr,
    number: u64,
    gives_way: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = self.bounds.lock();
        if let Some(own) = callers.arriving.get_mut(&self.caller) {
            own.retain(|body| body.number != self.number);
            if own.is_empty() {
                callers.arriving.remove(&self.caller);
            }
        }
    }
}

impl Place {
    /// Notes until when the next bytes must be there, and how much memory the body has.
    fn note(&self, due: Instant, units: usize) {
        let mut callers = self.bounds.lock();
        let own = callers.arriving.get_mut(&self.caller).and_then(|own| own.iter_mut().find(|body| body.number == self.number));
        if let Some(own) = own {
            (own.due, own.units) = (due, units);
        }
    }
}

impl Bounds {
    fn lock(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a body that arrives. Where its caller has too many, the one that is the furthest behind gives way; those that wait for memory
    /// are behind by no fault of their own, and come last.
    fn arrive(self: &Arc<Self>, caller: IpAddr, due: Instant) -> Place {
        let mut callers = self.lock();
        callers.next += 1;
        let number = callers.next;
        let own = callers.arriving.entry(caller).or_default();
        if own.len() >= MAX_ARRIVING
            && let Some(last) = own.iter().enumerate().min_by_key(|(_, body)| (body.units == 0, body.due)).map(|(place, _)| place)
        {
            own.swap_remove(last).gives_way.cancel();
        }
        let gives_way = CancellationToken::new();
        own.push(Arriving { number, due, units: 0, gives_way: gives_way.clone() });
        drop(callers);
        Place { bounds: self.clone(), caller, number, gives_way }
    }

    /// The part of an answer. The largest ones have all of it, and no more: what they are made of is there by then.
    pub(super) async fn hold(&self, length: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = u32::try_from(length.div_ceil(UNIT).min(MEMORY_OF_ANSWERS)).unwrap_or(u32::MAX);
        let part = tokio::time::timeout(MEMORY_WAIT, self.answers.clone().acquire_many_owned(units)).await;
        part.ok().and_then(Result::ok).ok_or_else(|| busy("too many large answers are in hand"))
    }

    /// Has bodies that stand still give way, the furthest behind first, until so much memory is free.
    fn make_room(&self, units: usize, now: Instant) {
        let mut missing = units.saturating_sub(self.memory.available_permits());
        let callers = self.lock();
        let still = |body: &&Arriving| body.units > 0 && body.due + STANDS_STILL < now + FIRST_BYTES;
        let mut still: Vec<&Arriving> = callers.arriving.values().flatten().filter(still).collect();
        still.sort_by_key(|body| body.due);
        for body in still {
            if missing == 0 {
                break;
            }
            body.gives_way.cancel();
            missing = missing.saturating_sub(body.units);
        }
    }

    /// A part of the memory for large or slow bodies. There is no queue: one that needs much would hold up all that need little.
    async fn reserve(&self, units: u32, wait: Duration) -> Result<OwnedSemaphorePermit, ApiError> {
        let end = Instant::now() + wait;
        loop {
            if let Ok(part) = self.memory.clone().try_acquire_many_owned(units) {
                return Ok(part);
            }
            let now = Instant::now();
            if now >= end {
                return Err(busy("too many large bodies are in hand"));
            }
            self.make_room(units as usize, now);
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Refusal of what is over a bound.
fn busy(message: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "api-busy", message)
}

/// A body with its part of the memory, if it is large, given back on drop.
pub struct Body {
    pub bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Time by which the next bytes must be there, after so many have come. What came fast does not let the rest stand still.
fn due(before: Instant, now: Instant, bytes: usize) -> Instant {
    let earned = Duration::from_millis((bytes.saturating_mul(1_000) / BYTES_PER_SECOND) as u64);
    (before + earned).min(now + FIRST_BYTES)
}

/// Memory that a request needs, in units, by the length of its body: the body and the tensors read from it.
fn needs(length: usize) -> u32 {
    u32::try_from(length.div_ceil(UNIT) * 2).unwrap_or(u32::MAX)
}

fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", format!("the body is over {MAX_BODY} bytes"))
}

/// Reads the next bytes of a body onto those that are there; false at its end.
async fn read(payload: &mut web::Payload, whole: &mut BytesMut) -> Result<bool, ApiError> {
    let Some(chunk) = payload.next().await else { return Ok(false) };
    let chunk = chunk.map_err(|e| ApiError::bad("body-unreadable", e.to_string()))?;
    if whole.len() + chunk.len() > MAX_BODY {
        return Err(too_large());
    }
    whole.extend_from_slice(&chunk);
    Ok(true)
}

/// The whole body. Content types are not looked at: clients of the protocol send none.
pub async fn body(request: &HttpRequest, mut payload: web::Payload) -> Result<Body, ApiError> {
    let packing = Packing::of(request)?;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    if length.is_some_and(|length: usize| length > MAX_BODY) {
        return Err(too_large());
    }
    let bounds = request.app_data::<web::Data<Bounds>>().ok_or_else(|| busy("not ready"))?.clone().into_inner();
    let at_once = bounds.at_once.clone().acquire_many_owned(2);
    let at_once = tokio::time::timeout(MEMORY_WAIT, at_once).await.ok().and_then(Result::ok).ok_or_else(|| busy("too many requests"))?;
    let begin = Instant::now();
    let mut whole = BytesMut::new();
    while whole.len() <= SMALL {
        let Ok(more) = tokio::time::timeout_at((begin + AT_ONCE).into(), read(&mut payload, &mut whole)).await else { break };
        if !more? {
            return unpacked(packing, whole.freeze(), None, &bounds).await;
        }
    }
    let caller = request.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip());
    let mut next_due = due(begin + FIRST_BYTES, Instant::now(), whole.len());
    let place = bounds.arrive(caller, next_due);
    // The wait for memory must not keep small bodies from coming.
    drop(at_once);
    let rest = async {
        let mut memory = bounds.reserve(length.map_or(UNTOLD, needs), MEMORY_WAIT).await?;
        // What the wait took is not the sender's.
        next_due = Instant::now() + FIRST_BYTES;
        loop {
            while (needs(whole.len()) as usize) > memory.num_permits() {
                let asked = Instant::now();
                let more = memory.num_permits().max(1).min((needs(MAX_BODY) as usize).saturating_sub(memory.num_permits()));
                memory.merge(bounds.reserve(u32::try_from(more).unwrap_or(u32::MAX), MORE_WAIT).await?);
                next_due += asked.elapsed();
            }
            place.note(next_due, memory.num_permits());
            let before = whole.len();
            let slow = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body did not arrive in time");
            if !tokio::time::timeout_at(next_due.into(), read(&mut payload, &mut whole)).await.map_err(slow)?? {
                return Ok::<_, ApiError>(memory);
            }
            next_due = due(next_due, Instant::now(), whole.len() - before);
        }
    };
    let memory = tokio::select! {
        memory = rest => memory?,
        () = place.gives_way.cancelled() => return Err(busy("bodies that arrive faster take the place of this one")),
    };
    drop(place);
    unpacked(packing, whole.freeze(), Some(memory), &bounds).await
}

/// The body as it was before it was packed. What it grows to is memory too, and bounded like a body that was sent so.
async fn unpacked(packing: Option<Packing>, bytes: Bytes, memory: Option<OwnedSemaphorePermit>, bounds: &Bounds) -> Result<Body, ApiError> {
    let Some(packing) = packing else { return Ok(Body { bytes, _memory: memory }) };
    let mut part: Option<OwnedSemaphorePermit> = None;
    let mut whole = BytesMut::new();
    let mut source = packing.reader(&bytes);
    loop {
        let piece = source.next_piece()?;
        if piece.is_empty() {
            return Ok(Body { bytes: whole.freeze(), _memory: part });
        }
        let length = whole.len() + piece.len();
        if length > MAX_BODY {
            return Err(too_large());
        }
        let held = part.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if length > SMALL && needs(length) as usize > held {
            let more = held.max(UNTOLD as usize).min((needs(MAX_BODY) as usize).saturating_sub(held));
            let more = bounds.reserve(u32::try_from(more).unwrap_or(u32::MAX), MORE_WAIT).await?;
            match &mut part {
                Some(part) => part.merge(more),
                none => *none = Some(more),
            }
        }
        whole.extend_from_slice(piece);
        // Other callers of this worker go on between the pieces.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_bodies_of_a_caller_the_one_furthest_behind_gives_way() {
        let bounds = Arc::new(Bounds::default());
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        let after = |seconds: u64| now + Duration::from_secs(seconds);
        let mut held: Vec<Place> = (0..MAX_ARRIVING).map(|n| bounds.arrive(one, after(100 + n as u64))).collect();
        for (n, place) in held.iter().enumerate().skip(1) {
            place.note(after(100 + n as u64), 2);
        }
        held.push(bounds.arrive(one, after(200)));
        held.push(bounds.arrive(two, after(1)));
        let gone: Vec<usize> = held.iter().enumerate().filter(|(_, place)| place.gives_way.is_cancelled()).map(|(n, _)| n).collect();
        assert_eq!(gone, [1], "not the one that waits for memory, not the new one, and nobody else's");
        drop(held);
        assert!(bounds.lock().arriving.is_empty());
    }

    #[tokio::test]
    async fn memory_is_taken_from_bodies_that_stand_still_and_from_no_others() {
        let bounds = Arc::new(Bounds::default());
        let half = u32::try_from(MEMORY / 2).unwrap();
        let hold = async |due| {
            let place = bounds.arrive(IpAddr::from([127, 0, 0, 1]), due);
            place.note(due, MEMORY / 2);
            (bounds.reserve(half, MEMORY_WAIT).await.unwrap(), place)
        };
        let now = Instant::now();
        let (moving, still) = (hold(now + FIRST_BYTES * 2).await, hold((now + FIRST_BYTES).checked_sub(STANDS_STILL).unwrap()).await);
        let others = tokio::join!(bounds.reserve(half, MEMORY_WAIT), async {
            still.1.gives_way.cancelled().await;
            drop(still);
        });
        let part = others.0.unwrap();
        assert!(bounds.reserve(half, MEMORY_WAIT).await.is_err() && !moving.1.gives_way.is_cancelled());
        // One that needs much and waits does not hold up one that needs little.
        drop(part);
        let (whole, little) = tokio::join!(bounds.reserve(half * 2, MEMORY_WAIT), async {
            tokio::time::sleep(LOOK).await;
            let asked = Instant::now();
            drop(bounds.reserve(2, MEMORY_WAIT).await.unwrap());
            asked.elapsed()
        });
        assert!(whole.is_err() && little < MEMORY_WAIT / 2, "{little:?}");
        drop(moving);
    }

    #[tokio::test]
    async fn no_more_bodies_give_way_than_need_be() {
        let bounds = Arc::new(Bounds::default());
        let now = Instant::now();
        let mut held = Vec::new();
        for _ in 0..4 {
            let place = bounds.arrive(IpAddr::from([127, 0, 0, 1]), now);
            place.note(now, MEMORY / 4);
            held.push((bounds.reserve(u32::try_from(MEMORY / 4).unwrap(), MEMORY_WAIT).await.unwrap(), place));
        }
        // Those who give way need some looks to do so, one longer than the other.
        let half = u32::try_from(MEMORY / 2).unwrap();
        let (part, ()) = tokio::join!(bounds.reserve(half, MEMORY_WAIT), async {
            for _ in 0..3 {
                tokio::time::sleep(MEMORY_WAIT / 5).await;
                if let Some(gone) = held.iter().position(|(_, place)| place.gives_way.is_cancelled()) {
                    drop(held.remove(gone));
                }
            }
        });
        assert!(part.is_ok() && held.len() == 2, "{}", held.len());
    }

    #[test]
    fn bodies_have_a_pace_and_a_part_of_the_memory() {
        let begin = Instant::now();
        let (first, second) = (begin + FIRST_BYTES, Duration::from_secs(1));
        assert_eq!(due(first, begin + second, BYTES_PER_SECOND) - begin, FIRST_BYTES + second);
        // A fast start is no credit for a stop.
        assert_eq!(due(first, begin + second, 100 * BYTES_PER_SECOND) - begin, FIRST_BYTES + second);
        assert_eq!(due(first, begin + second * 4, BYTES_PER_SECOND / 2) - begin, FIRST_BYTES + second / 2);
        assert_eq!((needs(0), needs(100), needs(10 << 20)), (0, 2, 320));
        assert!(usize::try_from(needs(MAX_BODY)).unwrap() < MEMORY / 3);
    }
}
