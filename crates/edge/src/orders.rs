//! Asking the server for what it has signed: newer root documents, its statement on the desired state, the list of revoked releases.

use app_package::dsse::Envelope;
use app_package::orders::StateStatement;
use app_package::root::{Role, Root};

use crate::agent::Agent;
use crate::fault::Fault;
use crate::identity;
use crate::trust::Question;

/// Root documents that are followed at a time.
const MAX_ROOTS: usize = 64;

impl Agent {
    /// Takes what is newer than what this node holds, and gives the platform's statement on the desired state that the server has served, by its
    /// digest; `None` from a server of before root documents, as long as this node holds none.
    ///
    /// # Errors
    /// Those of [`crate::trust::Trust`]; `state-unsigned` where the server has no statement though this node holds a root document.
    pub async fn ask_orders(&self, served: &str) -> Result<Option<StateStatement>, Fault> {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let Some(envelope) = self.cloud.state(&nonce).await? else {
            return match self.trust.held().root {
                None => Ok(None),
                Some(_) => Err(Fault::new("state-unsigned", "trust", "the server has not signed what this node is to run")),
            };
        };
        self.follow_roots().await?;
        if self.revocations_behind(&envelope)
            && let Some(list) = self.cloud.revocations().await?
        {
            self.trust.take_revocations(&list)?;
        }
        // After the root documents, of which one may count the versions anew.
        let before = self.state.get();
        let taken = (before.manifest_version, before.etag.as_deref());
        let question = Question { spiffe_id: &self.identity().spiffe_id, nonce: &nonce, served, taken };
        let state = self.trust.take_state(&envelope, &question, &self.clock)?;
        self.trust.asked();
        Ok(Some(state))
    }

    /// Whether the platform should be asked for its statement anew: once in each run, for how long the machine was off is nobody's to say; when
    /// answers tell another time than it has signed; and where [`crate::trust::Held::due`] says so.
    pub fn orders_due(&self) -> bool {
        !self.trust.was_asked() || self.clock.differs() || self.trust.held().due(self.clock.beginning())
    }

    /// Whether a statement that its key has signed names a newer list than the one held. Anything else is refused when it is taken.
    fn revocations_behind(&self, envelope: &Envelope) -> bool {
        let held = self.trust.held();
        let keys = held.root.as_ref().map(|root| root.set(&[Role::State])).unwrap_or_default();
        StateStatement::verify(envelope, &keys).is_ok_and(|state| state.revocations > held.revocations.version)
    }

    /// Takes the root documents after the one held, one by one.
    async fn follow_roots(&self) -> Result<(), Fault> {
        for _ in 0..MAX_ROOTS {
            let held = self.trust.held();
            let version = held.root.as_ref().map_or(1, |root| root.version.saturating_add(1));
            let Some(envelope) = self.cloud.root(version).await? else { break };
            let root = self.trust.next_root(&envelope)?;
            if held.root.as_ref().is_some_and(|before| loses_state_key(before, &root)) {
                // Whoever had that key could have named the highest version there is: the genuine one counts from the beginning again (TUF
                // 1.0 §5.3.11). First, for nobody does it later where this agent ends in between.
                self.state.update(|s| s.manifest_version = 0)?;
            }
            self.trust.take_root(&envelope)?;
            self.use_authorities()?;
        }
        Ok(())
    }

    /// The authorities that the server's certificate may come from are those of the root document that is held. Also at each start, for the
    /// agent may have ended when it had taken the document and not yet this.
    pub fn use_authorities(&self) -> Result<(), Fault> {
        let held = self.trust.held();
        let Some(root) = &held.root else { return Ok(()) };
        let bundle = identity::bundle(&root.authorities());
        let mut next = self.identity();
        if next.trust_bundle_pem == bundle {
            return Ok(());
        }
        next.trust_bundle_pem = bundle;
        self.use_identity(next)?;
        self.authorities.notify_one();
        Ok(())
    }
}

/// Whether a key that signed desired states is trusted no longer.
fn loses_state_key(before: &Root, after: &Root) -> bool {
    let kids = |root: &Root| root.roles.get(&Role::State).map(|keys| keys.keyids.clone()).unwrap_or_default();
    let left = kids(after);
    kids(before).iter().any(|kid| !left.contains(kid))
}
