//! Turns. Sign-in attempts on one account stand in line ([`Gates`]), so that many at once get no further than one after another. Work that
//! takes much memory or time has a [`Queue`], which is never longer than it can be worked off in a few seconds.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error::{Error, Result};

/// Attempts from one address that run at the same time.
const ABREAST: usize = 4;
/// Gates for accounts, and as many for addresses, for known browsers and for their addresses. A subject's hash chooses its gate, so memory is
/// bounded; subjects may share one, and nobody outside can tell which do.
const GATES: u64 = 1024;

/// A turn; it ends when this is dropped.
pub type Turn = OwnedSemaphorePermit;

/// One sign-in attempt per account at a time, and few per address. A known browser stands in line with itself and with known browsers of its
/// address, behind no stranger. In this process only: with several replicas each lets one through.
#[derive(Debug)]
pub struct Gates {
    accounts: Vec<Arc<Semaphore>>,
    addresses: Vec<Arc<Semaphore>>,
    browsers: Vec<Arc<Semaphore>>,
    browser_addresses: Vec<Arc<Semaphore>>,
    hasher: RandomState,
}

impl Default for Gates {
    fn default() -> Self {
        let gates = |permits| (0..GATES).map(|_| Arc::new(Semaphore::new(permits))).collect();
        Self {
            accounts: gates(1),
            addresses: gates(ABREAST),
            browsers: gates(1),
            browser_addresses: gates(ABREAST),
            hasher: RandomState::new(),
        }
    }
}

impl Gates {
    /// Waits for the turns of an address and of an account; always in this order, so that two attempts cannot deadlock, and who waits for the
    /// gate of an address holds no account.
    pub async fn wait(&self, address: &str, account: &str) -> Result<Vec<Turn>> {
        Ok(vec![self.wait_address(address).await?, self.pass(&self.accounts, account).await?])
    }

    /// Waits for the turn of an address.
    pub async fn wait_address(&self, address: &str) -> Result<Turn> {
        self.pass(&self.addresses, address).await
    }

    /// Waits for the turns of a known browser and of the known browsers of its address: many that belong to one account, whose password is
    /// right each time, must not fill the line of all known browsers.
    pub async fn wait_browser(&self, address: &str, browser: &str) -> Result<Vec<Turn>> {
        Ok(vec![self.pass(&self.browser_addresses, address).await?, self.pass(&self.browsers, browser).await?])
    }

    fn place(&self, subject: &str) -> Result<usize> {
        usize::try_from(self.hasher.hash_one(subject) % GATES).map_err(Error::internal)
    }

    /// The first so many of some subjects whose gates are their own, and not those of `others`: a test in which two meet by chance waits.
    #[cfg(test)]
    #[allow(clippy::missing_panics_doc, reason = "tests")]
    pub fn apart(&self, subjects: impl Iterator<Item = String>, n: usize, others: &[&str]) -> Vec<String> {
        let mut taken: std::collections::BTreeSet<usize> = others.iter().map(|other| self.place(other).unwrap()).collect();
        subjects.filter(|subject| taken.insert(self.place(subject).unwrap())).take(n).collect()
    }

    async fn pass(&self, gates: &[Arc<Semaphore>], subject: &str) -> Result<Turn> {
        let place = self.place(subject)?;
        let gate = gates.get(place).ok_or_else(|| Error::internal(anyhow::anyhow!("no gate {place}")))?;
        gate.clone().acquire_owned().await.map_err(Error::internal)
    }
}

/// When to come again where all places to wait are taken.
const TRY_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// Work of which so much is done at once, while so many more wait for a turn, the first to come first; whoever comes after them is sent
/// away.
#[derive(Debug)]
pub struct Queue {
    turns: Semaphore,
    /// Of those who have a turn and those who wait.
    places: Semaphore,
    all: usize,
}

/// A turn of a [`Queue`] and its place; both end when this is dropped.
pub type QueueTurn<'a> = [SemaphorePermit<'a>; 2];

impl Queue {
    pub const fn new(turns: usize, waiting: usize) -> Self {
        Self { turns: Semaphore::const_new(turns), places: Semaphore::const_new(turns + waiting), all: turns + waiting }
    }

    /// Waits for a turn. Work on another thread takes it along, for it goes on where the caller does not wait for its end.
    ///
    /// # Errors
    /// `server-busy`: all places to wait are taken.
    pub async fn turn(&self) -> Result<QueueTurn<'_>> {
        let place = self.places.try_acquire().map_err(|_| busy())?;
        Ok([self.turns.acquire().await.map_err(Error::internal)?, place])
    }

    /// How many have a turn or wait.
    pub fn held(&self) -> usize {
        self.all.saturating_sub(self.places.available_permits())
    }

    /// A place, if one is free.
    pub fn place(self: &Arc<Self>) -> Option<Place> {
        self.places.try_acquire().ok()?.forget();
        Some(Place(self.clone()))
    }
}

/// A place in a [`Queue`], which it keeps alive, for whoever cannot borrow it; it ends when this is dropped.
#[derive(Debug)]
pub struct Place(Arc<Queue>);

impl Place {
    /// Waits for a turn; whether others were before, and the turn.
    ///
    /// # Errors
    /// `server-busy`: none came within `patience`. Who asked has left by then, or will soon.
    pub async fn turn_within(self, patience: Duration) -> Result<(bool, KeptTurn)> {
        let (waited, turn) = match self.0.turns.try_acquire() {
            Ok(turn) => (false, turn),
            Err(_) => (true, timeout(patience, self.0.turns.acquire()).await.map_err(|_| busy())?.map_err(Error::internal)?),
        };
        turn.forget();
        Ok((waited, KeptTurn(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

/// That all places to wait are taken, or that no turn came in time.
pub fn busy() -> Error {
    Error::unavailable("server-busy").retry_after(TRY_AGAIN)
}

/// A turn with its place; both end when this is dropped.
#[derive(Debug)]
pub struct KeptTurn(Place);

impl Drop for KeptTurn {
    fn drop(&mut self) {
        // Before the place, which is dropped after this: who is given the turn has one already.
        self.0.0.turns.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::base::error::Kind;

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_told_to_come_again() {
        let queue = Queue::new(1, 2);
        let first = queue.turn().await.unwrap();
        let (mut second, mut third) = (Box::pin(queue.turn()), Box::pin(queue.turn()));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none(), "they wait");
        let refused = queue.turn().await.unwrap_err();
        assert_eq!((refused.kind, refused.code, refused.retry_after), (Kind::Unavailable, "server-busy", Some(2)));
        drop(first);
        let second = second.await.unwrap();
        // The place of the first is free, and so is the one of whoever gives up.
        let mut fourth = Box::pin(queue.turn());
        assert!(fourth.as_mut().now_or_never().is_none(), "it waits");
        drop((second, third));
        drop(fourth.await.unwrap());
    }
}
