//! Whom this node believes: the newest root document, the platform's last word on what the node is to run, and the list of revoked releases.
//!
//! Invariants: a root document is taken at enrolment, or once on the word of the keys that the node knew before there were such documents; after
//! that only as the next of the one that is held ([`Root::next`]). The number of the list of releases only grows. Once a root is held, nothing
//! that is not signed under it is begun, whoever answers at the server's address. What runs goes on in any case.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use app_package::digest::Digest;
use app_package::dsse::Envelope;
use app_package::keys::KeySet;
use app_package::orders::{Revocations, StateStatement};
use app_package::root::{Role, Root};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::fault::Fault;
use crate::files;
use crate::model;

/// What is on disk, as the platform signed it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    root: Option<Envelope>,
    revocations: Option<Envelope>,
    state: Option<Envelope>,
}

/// What is believed at a moment.
#[derive(Debug, Clone)]
pub struct Held {
    stored: Stored,
    /// `None` as long as the server never had one.
    pub root: Option<Root>,
    /// Releases that have lost their approval.
    pub revocations: Revocations,
    /// The last statement on the desired state.
    pub state: Option<StateStatement>,
    approve: KeySet,
    license: KeySet,
}

fn fault(code: &'static str, message: impl Into<String>) -> Fault {
    Fault::new(code, "trust", message)
}

fn refused(what: &str, e: &app_package::dsse::DsseError) -> Fault {
    Fault::new(e.code(), "trust", format!("{what}: {e}"))
}

impl Held {
    /// Reads what was stored; `before` are the keys of a node that has no root document.
    fn of(stored: Stored, before: &KeySet) -> Result<Self, Fault> {
        let Some(envelope) = &stored.root else {
            let (approve, license) = (before.clone(), before.clone());
            return Ok(Self { stored: Stored::default(), root: None, revocations: Revocations::default(), state: None, approve, license });
        };
        let root = Root::first(&envelope.to_bytes()).map_err(|e| fault(e.code(), format!("the stored root document: {e}")))?;
        let (approve, license) = (root.set(&[Role::Approve]), root.set(&[Role::License]));
        // What was signed by a key that the root names no longer is asked for anew.
        let list = stored.revocations.as_ref().and_then(|envelope| Revocations::verify(envelope, &approve).ok());
        let state = stored.state.as_ref().and_then(|envelope| StateStatement::verify(envelope, &root.set(&[Role::State])).ok());
        Ok(Self { revocations: list.unwrap_or_default(), root: Some(root), state, approve, license, stored })
    }

    /// Keys of approvals.
    pub fn approve(&self) -> &KeySet {
        &self.approve
    }

    /// Keys of licences.
    pub fn license(&self) -> &KeySet {
        &self.license
    }

    /// Whether a release has lost its approval.
    pub fn revoked(&self, release: &Digest) -> bool {
        self.revocations.releases.contains(release)
    }

    /// Why nothing new may be begun; `None` where it may, or where the server never signed what it wants.
    pub fn stale(&self, now: DateTime<Utc>) -> Option<Fault> {
        let root = self.root.as_ref()?;
        if !root.in_force(now) {
            return Some(fault("root-expired", "the platform's root document has ended; its operator must sign the next one"));
        }
        match &self.state {
            Some(state) if state.in_force(now) && self.lacks_revocations() => {
                Some(fault("revocations-missing", "this node lacks the list of revoked releases that the platform has"))
            }
            Some(state) if state.in_force(now) => None,
            Some(_) => Some(fault("state-expired", "the platform has not confirmed for days what this node is to run")),
            None => Some(fault("state-unsigned", "the platform has not signed what this node is to run")),
        }
    }

    /// Whether the list is older than the one that the last statement names: the key of the one that was held is trusted no longer.
    fn lacks_revocations(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.revocations > self.revocations.version)
    }

    /// Whether the statement should be asked for anew: half of its life is over, there is none, it is from before the root document that is
    /// held, or the list that it names is not held.
    pub fn due(&self, now: DateTime<Utc>) -> bool {
        let (Some(root), Some(state)) = (&self.root, &self.state) else { return true };
        let half = state.issued + (state.expires - state.issued) / 2;
        now.timestamp() >= half || state.root < root.version || self.lacks_revocations()
    }
}

/// What this node asks the platform for a statement with, and what the answer must fit.
pub struct Question<'a> {
    pub spiffe_id: &'a str,
    /// Random, so that only an answer to this question has it.
    pub nonce: &'a str,
    /// Digest of the state that the server has served.
    pub served: &'a str,
    /// Version and tag of the state that was taken before.
    pub taken: (u64, Option<&'a str>),
}

/// What is believed, in memory and on disk.
pub struct Trust {
    path: PathBuf,
    before: KeySet,
    held: RwLock<Arc<Held>>,
    /// Whether the platform has answered for its statement in this run.
    asked: AtomicBool,
}

impl Trust {
    /// Reads the data folder of a node; `before` are the keys that it got at enrolment.
    pub fn open(data: &Path, before: KeySet) -> Result<Self, Fault> {
        let path = Self::file(data);
        let held = Held::of(files::read_json(&path)?.unwrap_or_default(), &before)?;
        Ok(Self { path, before, held: RwLock::new(Arc::new(held)), asked: AtomicBool::new(false) })
    }

    fn file(data: &Path) -> PathBuf {
        data.join("trust.json")
    }

    /// Stores the root document that came with the node's first certificate.
    pub fn enrol(data: &Path, root: &Envelope) -> Result<(), Fault> {
        Root::first(&root.to_bytes()).map_err(|e| fault(e.code(), e.to_string()))?;
        files::write_json(&Self::file(data), &Stored { root: Some(root.clone()), ..Stored::default() })
    }

    /// What is believed now.
    pub fn held(&self) -> Arc<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the platform has answered for its statement.
    pub fn asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether it has in this run.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn store(&self, stored: Stored) -> Result<(), Fault> {
        let next = Held::of(stored, &self.before)?;
        files::write_json(&self.path, &next.stored)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// Reads the next root document, or the first one where there is none.
    ///
    /// # Errors
    /// [`app_package::root::RootError`], as codes.
    pub fn next_root(&self, envelope: &Envelope) -> Result<Root, Fault> {
        let bytes = envelope.to_bytes();
        let next = match &self.held().root {
            Some(root) => root.next(&bytes),
            None => Root::introduced(&bytes, &self.before),
        };
        next.map_err(|e| fault(e.code(), e.to_string()))
    }

    /// Takes what [`Self::next_root`] reads.
    ///
    /// # Errors
    /// The same; the disk.
    pub fn take_root(&self, envelope: &Envelope) -> Result<(), Fault> {
        let root = self.next_root(envelope)?;
        tracing::info!(version = root.version, "root document taken");
        self.store(Stored { root: Some(envelope.clone()), ..self.held().stored.clone() })
    }

    /// Takes a list of revoked releases, which must not be older than the one held.
    ///
    /// # Errors
    /// `signature-*`; `revocations-older`; the disk.
    pub fn take_revocations(&self, envelope: &Envelope) -> Result<(), Fault> {
        let held = self.held();
        let list = Revocations::verify(envelope, held.approve()).map_err(|e| refused("the list of revoked releases", &e))?;
        if list.version < held.revocations.version {
            return Err(fault(
                "revocations-older",
                format!("the list has version {}, this node holds {}", list.version, held.revocations.version),
            ));
        }
        self.store(Stored { revocations: Some(envelope.clone()), ..held.stored.clone() })
    }

    /// Takes a statement on the desired state of this node, which must be an answer to the question, on the state that the server has served, by
    /// its digest, and not on an older one than was taken before. The time at which it was signed is the platform's from now on.
    ///
    /// # Errors
    /// `signature-*`; `state-other-node`, `state-not-fresh`, `state-older`, `state-expired`, `root-expired`, `root-missing`,
    /// `revocations-missing`, `state-not-signed`, `manifest-version-not-higher`; the disk.
    pub fn take_state(&self, envelope: &Envelope, question: &Question<'_>, clock: &Clock) -> Result<StateStatement, Fault> {
        let held = self.held();
        let root = held.root.as_ref().ok_or_else(|| fault("root-missing", "this node holds no root document"))?;
        let state = StateStatement::verify(envelope, &root.set(&[Role::State])).map_err(|e| refused("the desired state", &e))?;
        if state.node != question.spiffe_id {
            return Err(fault("state-other-node", format!("the desired state is that of {}", state.node)));
        }
        match &state.nonce {
            Some(nonce) if nonce == question.nonce => {
                if let Some(issued) = DateTime::from_timestamp(state.issued, 0) {
                    clock.signed(issued);
                }
            }
            // An old answer is kept alive: whoever shows it has not got the key.
            Some(_) => return Err(fault("state-not-fresh", "the platform's word is an answer to an earlier question")),
            // A server of before answers no question. One that did once does not forget how.
            None if held.state.as_ref().is_some_and(|before| before.nonce.is_some() || is_older(&state, before)) => {
                return Err(fault("state-older", "the platform's word is older than the one that this node holds"));
            }
            None => {}
        }
        let now = clock.beginning();
        if !root.in_force(now) {
            return Err(fault("root-expired", "the platform's root document has ended; its operator must sign the next one"));
        }
        if !state.in_force(now) {
            return Err(fault("state-expired", "the platform's word on what this node is to run has ended"));
        }
        if state.root > root.version {
            return Err(fault("root-missing", format!("the platform has root document {}, this node holds {}", state.root, root.version)));
        }
        if state.revocations > held.revocations.version {
            return Err(fault("revocations-missing", "the server keeps the list of revoked releases back"));
        }
        if state.digest.as_str() != question.served {
            // It changed meanwhile, or somebody has changed it or keeps it back: the next poll tells which.
            return Err(fault("state-not-signed", "the platform has signed another desired state than the one served"));
        }
        model::accept_version(question.taken.0, question.taken.1, state.manifest_version, state.digest.as_str())?;
        self.store(Stored { state: Some(envelope.clone()), ..held.stored.clone() })?;
        Ok(state)
    }
}

/// Whether a statement goes behind one that is held. Not by its time: the clock of the platform may have run ahead.
fn is_older(state: &StateStatement, held: &StateStatement) -> bool {
    state.root < held.root || state.revocations < held.revocations
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::testing::Scratch;

    const NODE: &str = "spiffe://a/margo/wfm/main/client/nod_1";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    /// A node with a root document, whose root key is 1, of states 2 and of all else 3.
    fn trust(folder: &Path) -> Trust {
        let mut root = Root::new(1, Utc::now() + chrono::TimeDelta::days(9_000), 1);
        root.add(Role::Root, &key(1).verifying_key(), true);
        for role in Role::ONLINE {
            root.add(role, &key(if role == Role::State { 2 } else { 3 }).verifying_key(), true);
        }
        root.node_ca.push(base64::engine::general_purpose::STANDARD.encode("certificate"));
        let mut envelope = root.unsigned();
        app_package::dsse::countersign(&mut envelope, &key(1)).unwrap();
        Trust::enrol(folder, &envelope).unwrap();
        Trust::open(folder, KeySet::new()).unwrap()
    }

    fn state(issued: DateTime<Utc>, nonce: Option<&str>) -> StateStatement {
        StateStatement {
            node: NODE.into(),
            manifest_version: 1,
            digest: Digest::of(b"m"),
            root: 1,
            revocations: 0,
            issued: issued.timestamp(),
            expires: issued.timestamp() + 600,
            nonce: nonce.map(str::to_owned),
        }
    }

    fn take(trust: &Trust, state: &StateStatement, clock: &Clock) -> Result<StateStatement, Fault> {
        let digest = Digest::of(b"m");
        let question = Question { spiffe_id: NODE, nonce: "n1", served: digest.as_str(), taken: (0, None) };
        trust.take_state(&state.sign(&key(2)), &question, clock)
    }

    #[test]
    fn a_list_of_releases_is_never_older_than_the_one_before() {
        let dir = Scratch::new();
        let trust = trust(dir.path());
        let list = |version| Revocations { version, releases: vec![Digest::of(b"r")], ..Revocations::default() };
        trust.take_revocations(&list(2).sign(&key(3))).unwrap();
        assert_eq!(trust.take_revocations(&list(1).sign(&key(3))).unwrap_err().code, "revocations-older");
        assert_eq!(trust.take_revocations(&list(3).sign(&key(2))).unwrap_err().code, "signature-unknown-key");
        assert_eq!(trust.held().revocations.version, 2);
    }

    #[test]
    fn a_statement_answers_this_question_or_is_from_a_server_of_before_and_goes_ahead() {
        let (dir, now) = (Scratch::new(), Utc::now());
        let (trust, clock) = (trust(dir.path()), Clock::open(dir.path(), None));
        clock.heard(&now.to_rfc2822());
        let minute = chrono::TimeDelta::minutes(1);
        take(&trust, &state(now, None), &clock).unwrap();
        // The platform's clock ran ahead and was set right.
        take(&trust, &state(now - minute, None), &clock).unwrap();
        assert_eq!(take(&trust, &StateStatement { root: 0, ..state(now, None) }, &clock).unwrap_err().code, "state-older");
        assert!(!clock.is_signed());
        assert_eq!(take(&trust, &state(now, Some("n0")), &clock).unwrap_err().code, "state-not-fresh");
        // The platform's clock may have been wrong: what it signs for this question is believed.
        take(&trust, &state(now - minute, Some("n1")), &clock).unwrap();
        assert!(clock.is_signed() && clock.now() < now);
        assert_eq!(take(&trust, &state(now + minute, None), &clock).unwrap_err().code, "state-older");
        // Half of its life is over by the time that was signed, though the line keeps it young.
        assert!(!trust.held().due(clock.beginning()));
        let later = Clock::open(dir.path(), None);
        later.signed(now + minute * 5);
        later.heard(&now.to_rfc2822());
        assert!(trust.held().due(later.beginning()) && trust.held().stale(later.beginning()).is_none());
        later.signed(now + minute * 10);
        later.heard(&now.to_rfc2822());
        assert_eq!(trust.held().stale(later.beginning()).unwrap().code, "state-expired");
    }
}
