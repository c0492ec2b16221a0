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

/// Topics of an organisation as a whole.
const WHOLE: [&str; 5] = ["alarms", "cases", "fleet", "orders", "releases"];
/// Topics of one thing, before its id.
const SINGLE: [&str; 4] = ["deployment", "draft", "node", "release"];

/// Whether anybody ever pokes a topic of this name.
pub fn known(topic: &str) -> bool {
    let single = |(kind, id): (&str, &str)| SINGLE.contains(&kind) && !id.is_empty() && id.len() <= 80;
    WHOLE.contains(&topic) || topic.split_once(':').is_some_and(single)
}

/// Channel of the pokes of this process.
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
        // `send` fails where nobody listens; that is no error.
        let _ = self.0.send(Poke { organization_id: organization_id.to_owned(), topic: topic.into() });
    }

    /// Receives pokes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Poke> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_topics_that_exist_can_be_listened_to() {
        for topic in ["cases", "fleet", "node:nod_1", "release:rel_1"] {
            assert!(super::known(topic), "{topic}");
        }
        for topic in ["", "bogus", "node", "node:", "desired:nod_1", "release:x".repeat(20).as_str()] {
            assert!(!super::known(topic), "{topic}");
        }
    }
}
