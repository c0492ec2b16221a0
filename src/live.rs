//! Pokes for open pages: "something about this topic has changed, fetch it again". Carries no data, so nothing leaks; a lost poke
//! only delays a refresh.

use tokio::sync::broadcast;

/// A topic of an organisation has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poke {
    /// Whose pages; people of other organisations do not receive it.
    pub organization_id: String,
    /// For example `node:nod_…`, `release:rel_…`, `orders`.
    pub topic: String,
}

/// Where pokes are sent and received.
#[derive(Debug, Clone)]
pub struct Hub(broadcast::Sender<Poke>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl Hub {
    /// Pokes the open pages of an organisation.
    pub fn poke(&self, organization_id: &str, topic: impl Into<String>) {
        // Nobody listening is no error.
        let _ = self.0.send(Poke { organization_id: organization_id.to_owned(), topic: topic.into() });
    }

    /// Receives pokes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Poke> {
        self.0.subscribe()
    }
}
