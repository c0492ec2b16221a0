//! Turns: attempts on one subject stand in line, so that many at once get no further than one after another.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Error, Result};

/// Attempts from one address that are looked at together.
const ABREAST: usize = 4;
/// Gates: an account or address has the one of its hash, so that there are never more of them. Two that share one wait for each other.
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
    /// Waits for the turns of an account and of an address; always in this order, so that nobody waits in a circle.
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
