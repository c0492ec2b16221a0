//! Turns: sign-in attempts on one account stand in line, so that many at once get no further than one after another.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Error, Result};

/// Attempts from one address that run at the same time.
const ABREAST: usize = 4;
/// Gates for accounts, and as many for addresses. A subject's hash chooses its gate, so memory is bounded; subjects may share one.
const GATES: u64 = 1024;

/// A turn; it ends when this is dropped.
pub type Turn = OwnedSemaphorePermit;

/// One sign-in attempt per account at a time, and few per address. In this process only: with several replicas each lets one through.
#[derive(Debug)]
pub struct Gates {
    accounts: Vec<Arc<Semaphore>>,
    addresses: Vec<Arc<Semaphore>>,
}

impl Default for Gates {
    fn default() -> Self {
        let gates = |permits| (0..GATES).map(|_| Arc::new(Semaphore::new(permits))).collect();
        Self { accounts: gates(1), addresses: gates(ABREAST) }
    }
}

impl Gates {
    /// Waits for the turns of an account and of an address; always in this order, so that two attempts cannot deadlock.
    pub async fn wait(&self, account: &str, address: &str) -> Result<[Turn; 2]> {
        Ok([pass(&self.accounts, account).await?, pass(&self.addresses, address).await?])
    }
}

async fn pass(gates: &[Arc<Semaphore>], subject: &str) -> Result<Turn> {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    let place = usize::try_from(hasher.finish() % GATES).map_err(Error::internal)?;
    let gate = gates.get(place).ok_or_else(|| Error::internal(anyhow::anyhow!("no gate {place}")))?;
    gate.clone().acquire_owned().await.map_err(Error::internal)
}
