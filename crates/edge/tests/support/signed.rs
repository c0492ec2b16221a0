//! What the small server signs for its nodes: root documents, statements on desired states, the list of revoked releases.

use app_package::dsse::{self, Envelope};
use app_package::orders::{Revocations, StateStatement};
use app_package::root::{Role, Root};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;

/// A key by its seed.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Seed of the key that signs desired states; releases and licences are signed by the server's own, as before there were roles.
pub const STATE: u8 = 8;
/// Seeds of the root keys, of which two must sign.
pub const ROOTS: [u8; 3] = [1, 2, 3];

pub struct Signed {
    /// Root documents from version 1 on.
    pub roots: Vec<Envelope>,
    pub state: SigningKey,
    pub approve: SigningKey,
    pub revocations: Revocations,
    /// Changes a statement before it is signed.
    pub bend: Option<fn(&mut StateStatement)>,
    /// Answered in the place of the statement; an empty one is a 404.
    pub raw: Option<Vec<u8>>,
    /// The list is kept back.
    pub withheld: bool,
    /// Nothing has changed, says the server whatever is wanted.
    pub frozen: bool,
    /// What the server says of the time.
    pub date: Option<&'static str>,
}

impl Signed {
    /// Version 1, with `own` as the key of approvals and licences.
    pub fn new(own: &SigningKey, authority: &[u8]) -> (Self, Root) {
        let mut root = Root::new(1, chrono::Utc::now() + chrono::TimeDelta::days(1000), 2);
        for seed in ROOTS {
            root.add(Role::Root, &key(seed).verifying_key(), false);
        }
        for role in Role::ONLINE {
            let signer = if role == Role::State { key(STATE) } else { own.clone() };
            root.add(role, &signer.verifying_key(), true);
        }
        root.node_ca.push(STANDARD.encode(authority));
        let signed = Self {
            roots: vec![by(&root, &ROOTS)],
            state: key(STATE),
            approve: own.clone(),
            revocations: Revocations::default(),
            bend: None,
            raw: None,
            withheld: false,
            frozen: false,
            date: None,
        };
        (signed, root)
    }

    pub fn statement(&self, node: String, version: u64, body: &[u8], nonce: Option<String>) -> Vec<u8> {
        let now = chrono::Utc::now().timestamp();
        let mut statement = StateStatement {
            node,
            manifest_version: version,
            digest: app_package::digest::Digest::of(body),
            root: self.roots.len() as u64,
            revocations: self.revocations.version,
            issued: now,
            expires: now + 3600,
            nonce,
        };
        if let Some(bend) = self.bend {
            bend(&mut statement);
        }
        statement.sign(&self.state).to_bytes()
    }
}

/// A root document, signed by some seeds.
pub fn by(root: &Root, seeds: &[u8]) -> Envelope {
    let mut envelope = root.unsigned();
    for seed in seeds {
        dsse::countersign(&mut envelope, &key(*seed)).unwrap();
    }
    envelope
}
