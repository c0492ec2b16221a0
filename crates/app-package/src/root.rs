//! The root document: which keys speak for the platform in which role, signed by `threshold` of its root keys, which lie offline. The form is that
//! of TUF's root role (specification 1.0, §4.3 and §5.3) in a DSSE envelope, so that what is signed are bytes and no canonical form is needed.
//!
//! Invariants: a key's id is its RFC 7638 thumbprint, so that no key counts twice; each [`Root`] was signed by a quorum of its own; a next one has
//! the version after and a quorum of the one before, too. Nobody becomes trusted by another way. What a later version of this program adds (roles,
//! fields) is kept and passed over: the signatures are over the bytes, so that it is no less signed.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::dsse::{self, Envelope};
use crate::keys::{KeySet, kid_of};

/// Payload type of a root document.
pub const ROOT_TYPE: &str = "application/vnd.pithead.root+json";
/// Most keys of a role, and most certificates of the node authority.
const MAX_KEYS: usize = 20;

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Root documents.
    Root,
    /// Release statements and the list of revoked releases.
    Approve,
    /// Licences.
    License,
    /// What a node is to run.
    State,
    /// Tokens of the registry.
    Token,
    /// Seals of the audit log.
    Log,
    /// This platform, towards others.
    Instance,
}

impl Role {
    /// Roles whose keys the server holds.
    pub const ONLINE: [Self; 6] = [Self::Approve, Self::License, Self::State, Self::Token, Self::Log, Self::Instance];

    /// The word in documents, file names and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Approve => "approve",
            Self::License => "license",
            Self::State => "state",
            Self::Token => "token",
            Self::Log => "log",
            Self::Instance => "instance",
        }
    }

    /// The role of a word; none for the root, whose keys are changed in another way.
    pub fn online(word: &str) -> Option<Self> {
        Self::ONLINE.into_iter().find(|role| role.as_str() == word)
    }

    /// The role of a word in a document.
    fn named(word: &str) -> Option<Self> {
        Some(Self::Root).filter(|root| root.as_str() == word).or_else(|| Self::online(word))
    }
}

/// A root document cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not an envelope with a root document, or one out of bounds.
    #[error("not a root document")]
    Malformed,
    /// Fewer root keys than needed have signed.
    #[error("not signed by enough of the root keys")]
    Quorum,
    /// Not the version after the one that is known.
    #[error("not the next version of the root document")]
    Version,
}

impl RootError {
    /// Stable error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "root-malformed",
            Self::Quorum => "root-quorum",
            Self::Version => "root-version",
        }
    }
}

/// What this program does not know of a document.
pub type Unknown = BTreeMap<String, serde_json::Value>;

/// Keys of a role, and how many must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// Key ids; the first is the one that signs, the others verify what was signed before.
    pub keyids: Vec<String>,
    /// Signatures needed; 1 but for the root.
    pub threshold: usize,
    #[serde(flatten)]
    unknown: Unknown,
}

impl RoleKeys {
    fn of(threshold: usize) -> Self {
        Self { keyids: Vec::new(), threshold, unknown: Unknown::new() }
    }
}

/// A root document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Root {
    /// Counts from 1, without gaps.
    pub version: u64,
    /// From then on nothing new is taken by it, Unix seconds. What runs goes on.
    pub expires: i64,
    /// Public keys, base64url, by id.
    pub keys: BTreeMap<String, String>,
    /// Keys by role.
    pub roles: BTreeMap<Role, RoleKeys>,
    /// Certificates (DER, base64) of the authorities of node identities, the one that issues first.
    pub node_ca: Vec<String>,
    /// Roles that this program does not know.
    pub unknown_roles: Unknown,
    /// Fields that this program does not know.
    pub unknown: Unknown,
}

/// A root document as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u64,
    expires: i64,
    keys: BTreeMap<String, String>,
    roles: Unknown,
    #[serde(rename = "nodeCa")]
    node_ca: Vec<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

impl TryFrom<Written> for Root {
    type Error = serde_json::Error;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { version, expires, keys, roles, node_ca, unknown } = written;
        let (mut known, mut unknown_roles) = (BTreeMap::new(), Unknown::new());
        for (word, value) in roles {
            match Role::named(&word) {
                Some(role) => drop(known.insert(role, serde_json::from_value(value)?)),
                None => drop(unknown_roles.insert(word, value)),
            }
        }
        Ok(Self { version, expires, keys, roles: known, node_ca, unknown_roles, unknown })
    }
}

impl From<Root> for Written {
    fn from(root: Root) -> Self {
        let known = root.roles.iter().map(|(role, keys)| (role.as_str().to_owned(), serde_json::json!(keys)));
        let roles = known.chain(root.unknown_roles).collect();
        Self { version: root.version, expires: root.expires, keys: root.keys, roles, node_ca: root.node_ca, unknown: root.unknown }
    }
}

impl Root {
    /// An unsigned document without keys.
    pub fn new(version: u64, expires: DateTime<Utc>, threshold: usize) -> Self {
        let roles = [(Role::Root, RoleKeys::of(threshold))].into();
        let (keys, node_ca, unknown_roles, unknown) = Default::default();
        Self { version, expires: expires.timestamp(), keys, roles, node_ca, unknown_roles, unknown }
    }

    /// Adds a key to a role, as the one that signs where `first`.
    pub fn add(&mut self, role: Role, key: &VerifyingKey, first: bool) {
        let kid = kid_of(key);
        self.keys.insert(kid.clone(), URL_SAFE_NO_PAD.encode(key.as_bytes()));
        let keys = self.roles.entry(role).or_insert(RoleKeys::of(1));
        keys.keyids.retain(|known| *known != kid);
        keys.keyids.insert(if first { 0 } else { keys.keyids.len() }, kid);
    }

    /// Takes a key out of a role, and out of the document where no role needs it.
    pub fn remove(&mut self, role: Role, kid: &str) {
        if let Some(keys) = self.roles.get_mut(&role) {
            keys.keyids.retain(|known| known != kid);
        }
        let known = self.roles.values().flat_map(|keys| &keys.keyids).any(|known| known == kid);
        // A role that this program does not know may name it, too.
        if !known && !self.unknown_roles.values().any(|role| names(role, kid)) {
            self.keys.remove(kid);
        }
    }

    /// The bytes that are signed.
    pub fn to_payload(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// An envelope without signatures, for the holders of the root keys.
    pub fn unsigned(&self) -> Envelope {
        Envelope { payload_type: ROOT_TYPE.to_owned(), payload: STANDARD.encode(self.to_payload()), signatures: Vec::new() }
    }

    /// Reads a document, whoever signed it.
    ///
    /// # Errors
    /// [`RootError::Malformed`].
    pub fn read(envelope: &Envelope) -> Result<Self, RootError> {
        let payload = envelope.decoded().filter(|_| envelope.payload_type == ROOT_TYPE).ok_or(RootError::Malformed)?;
        let root: Self = serde_json::from_slice(&payload).map_err(|_| RootError::Malformed)?;
        if root.fits() { Ok(root) } else { Err(RootError::Malformed) }
    }

    /// Takes a first document: whoever gives it is believed for another reason.
    ///
    /// # Errors
    /// [`RootError::Malformed`], [`RootError::Quorum`].
    pub fn first(envelope: &[u8]) -> Result<Self, RootError> {
        let (envelope, root) = parsed(envelope)?;
        root.signed(&envelope)?;
        Ok(root)
    }

    /// Takes version 1 on the word of a key that was trusted before there were root documents.
    ///
    /// # Errors
    /// Those of [`Self::first`]; [`RootError::Version`].
    pub fn introduced(envelope: &[u8], by: &KeySet) -> Result<Self, RootError> {
        let (envelope, root) = parsed(envelope)?;
        root.signed(&envelope)?;
        dsse::verify(&envelope, by).map_err(|_| RootError::Quorum)?;
        if root.version == 1 { Ok(root) } else { Err(RootError::Version) }
    }

    /// Takes the document after this one.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn next(&self, envelope: &[u8]) -> Result<Self, RootError> {
        let (envelope, root) = parsed(envelope)?;
        if Some(root.version) != self.version.checked_add(1) {
            return Err(RootError::Version);
        }
        self.signed(&envelope)?;
        root.signed(&envelope)?;
        Ok(root)
    }

    /// Whether a quorum of this document's root keys has signed.
    fn signed(&self, envelope: &Envelope) -> Result<(), RootError> {
        let threshold = self.roles.get(&Role::Root).map_or(usize::MAX, |keys| keys.threshold);
        let mut left = self.set(&[Role::Root]);
        let mut signed = 0;
        // Each key that fits is taken out, so that it counts once.
        while let Ok((kid, _)) = dsse::verify_by(envelope, &left) {
            left.remove(&kid);
            signed += 1;
        }
        if signed >= threshold { Ok(()) } else { Err(RootError::Quorum) }
    }

    /// Bounds and shape: all keys of the roles known here are what their ids say, each such role has keys that are there, and a quorum can be
    /// reached. Whether a role is there is asked where it is used; the root always is.
    fn fits(&self) -> bool {
        let named: BTreeSet<&String> = self.roles.values().flat_map(|keys| &keys.keyids).collect();
        let real = |(kid, x): (&String, &String)| !named.contains(kid) || key_of(x).is_some_and(|key| kid_of(&key) == *kid);
        let role_fits = |(role, keys): (&Role, &RoleKeys)| {
            let distinct: BTreeSet<_> = keys.keyids.iter().collect();
            let enough = if *role == Role::Root {
                (1..=keys.keyids.len()).contains(&keys.threshold)
            } else {
                keys.threshold == 1 && !keys.keyids.is_empty()
            };
            enough
                && distinct.len() == keys.keyids.len()
                && distinct.len() <= MAX_KEYS
                && distinct.iter().all(|kid| self.keys.contains_key(*kid))
        };
        let whole = self.roles.contains_key(&Role::Root);
        let apart = self.roles.get(&Role::Root).is_none_or(|root| {
            Role::ONLINE.iter().filter_map(|role| self.roles.get(role)).all(|keys| !keys.keyids.iter().any(|kid| root.keyids.contains(kid)))
        });
        let certificates =
            !self.node_ca.is_empty() && self.node_ca.len() <= MAX_KEYS && self.node_ca.iter().all(|c| STANDARD.decode(c).is_ok());
        self.version >= 1 && self.keys.iter().all(real) && self.roles.iter().all(role_fits) && whole && apart && certificates
    }

    /// The id of the key that signs in a role.
    pub fn kid(&self, role: Role) -> Option<&str> {
        self.roles.get(&role)?.keyids.first().map(String::as_str)
    }

    /// The keys of some roles, as a set that verifies.
    pub fn set(&self, roles: &[Role]) -> KeySet {
        let mut set = KeySet::new();
        for kid in roles.iter().filter_map(|role| self.roles.get(role)).flat_map(|keys| &keys.keyids) {
            if let Some(key) = self.keys.get(kid).and_then(|x| key_of(x)) {
                set.insert(key);
            }
        }
        set
    }

    /// What this program does not know of the document, by name: whoever signs it signs that, too.
    pub fn unknown_parts(&self) -> impl Iterator<Item = (&String, &serde_json::Value)> {
        self.unknown_roles.iter().chain(&self.unknown)
    }

    /// Whether the document still lets new things be taken.
    pub fn in_force(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() < self.expires
    }

    /// Certificates of the authorities of node identities, DER.
    pub fn authorities(&self) -> Vec<Vec<u8>> {
        self.node_ca.iter().filter_map(|c| STANDARD.decode(c).ok()).collect()
    }
}

fn parsed(envelope: &[u8]) -> Result<(Envelope, Root), RootError> {
    let envelope = Envelope::parse(envelope).map_err(|_| RootError::Malformed)?;
    let root = Root::read(&envelope)?;
    Ok((envelope, root))
}

/// Whether a role that this program does not know names a key, in the form of those that it knows.
fn names(role: &serde_json::Value, kid: &str) -> bool {
    role.get("keyids").and_then(serde_json::Value::as_array).is_some_and(|ids| ids.iter().any(|id| id.as_str() == Some(kid)))
}

fn key_of(x: &str) -> Option<VerifyingKey> {
    let bytes = URL_SAFE_NO_PAD.decode(x).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())?;
    VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    /// Version 1 with root keys 1 to 3, of which two must sign, and key 10 in all other roles.
    fn root() -> Root {
        let mut root = Root::new(1, DateTime::from_timestamp(1_000, 0).unwrap(), 2);
        for seed in 1..=3 {
            root.add(Role::Root, &key(seed).verifying_key(), false);
        }
        for role in Role::ONLINE {
            root.add(role, &key(10).verifying_key(), true);
        }
        root.node_ca.push(STANDARD.encode("certificate"));
        root
    }

    fn signed(root: &Root, seeds: &[u8]) -> Vec<u8> {
        let mut envelope = root.unsigned();
        for seed in seeds {
            dsse::countersign(&mut envelope, &key(*seed)).unwrap();
        }
        envelope.to_bytes()
    }

    #[test]
    fn a_root_is_signed_by_its_quorum() {
        let root = root();
        assert_eq!(Root::first(&signed(&root, &[1, 3])).unwrap(), root);
        // One key that signs twice, a key of another role, a stranger's.
        for seeds in [&[][..], &[1], &[1, 1, 1], &[1, 10], &[1, 77]] {
            assert_eq!(Root::first(&signed(&root, seeds)), Err(RootError::Quorum), "{seeds:?}");
        }
        assert_eq!(Root::first(&dsse::sign("text/plain", &root.to_payload(), "a", &key(1)).to_bytes()), Err(RootError::Malformed));
        assert_eq!(Root::first(b"{}"), Err(RootError::Malformed));
    }

    #[test]
    fn the_next_root_needs_both_quorums_and_the_version_after() {
        let one = root();
        let mut two = Root { version: 2, ..one.clone() };
        // Root key 1 is replaced by key 4.
        two.remove(Role::Root, &kid_of(&key(1).verifying_key()));
        two.add(Role::Root, &key(4).verifying_key(), false);
        assert_eq!(one.next(&signed(&two, &[2, 3])).unwrap(), two, "two keys that are in both");
        assert_eq!(one.next(&signed(&two, &[1, 2, 4])).unwrap(), two, "two of each");
        assert_eq!(one.next(&signed(&two, &[3, 4])), Err(RootError::Quorum), "one of the old");
        assert_eq!(one.next(&signed(&two, &[1, 2])), Err(RootError::Quorum), "one of the new");
        for version in [1, 3, u64::MAX] {
            let other = Root { version, ..two.clone() };
            assert_eq!(one.next(&signed(&other, &[1, 2, 3, 4])), Err(RootError::Version), "{version}");
        }
        assert_eq!(Root { version: u64::MAX, ..one.clone() }.next(&signed(&one, &[1, 2])), Err(RootError::Version));
        // What a first one is taken for does not count for a next one.
        assert_eq!(one.next(&signed(&root(), &[1, 2])), Err(RootError::Version));
    }

    #[test]
    fn the_key_from_before_introduces_version_one_alone() {
        let mut before = KeySet::new();
        before.insert(key(50).verifying_key());
        let root = root();
        assert_eq!(Root::introduced(&signed(&root, &[1, 2, 50]), &before).unwrap(), root);
        assert_eq!(Root::introduced(&signed(&root, &[1, 2]), &before), Err(RootError::Quorum));
        assert_eq!(Root::introduced(&signed(&root, &[1, 50]), &before), Err(RootError::Quorum));
        let later = Root { version: 2, ..root };
        assert_eq!(Root::introduced(&signed(&later, &[1, 2, 50]), &before), Err(RootError::Version));
    }

    #[test]
    fn shapes_out_of_bounds_are_refused() {
        let refused = |change: &dyn Fn(&mut Root)| {
            let mut wrong = root();
            change(&mut wrong);
            assert_eq!(Root::first(&signed(&wrong, &[1, 2, 3])), Err(RootError::Malformed), "{wrong:?}");
        };
        refused(&|root| root.version = 0);
        refused(&|root| root.node_ca.clear());
        refused(&|root| root.roles.get_mut(&Role::Root).unwrap().threshold = 0);
        refused(&|root| root.roles.get_mut(&Role::Root).unwrap().threshold = 4);
        refused(&|root| root.roles.get_mut(&Role::State).unwrap().threshold = 0);
        refused(&|root| root.roles.get_mut(&Role::State).unwrap().keyids.clear());
        refused(&|root| {
            root.roles.remove(&Role::Root);
        });
        // An online key that is a root key, too.
        refused(&|root| root.add(Role::Token, &key(1).verifying_key(), true));
        // A key under another name could count twice.
        refused(&|root| {
            let x = root.keys.values().next().cloned().unwrap();
            root.keys.insert("twice".into(), x);
            root.roles.get_mut(&Role::Root).unwrap().keyids.push("twice".into());
        });
        refused(&|root| {
            let kid = root.kid(Role::Root).unwrap().to_owned();
            root.roles.get_mut(&Role::Root).unwrap().keyids.push(kid);
        });
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over_and_kept() {
        let mut written = serde_json::to_value(root()).unwrap();
        let stranger = kid_of(&key(20).verifying_key());
        written["keys"][&stranger] = URL_SAFE_NO_PAD.encode(key(20).verifying_key().as_bytes()).into();
        written["keys"]["of-another-kind"] = "no Ed25519 key".into();
        written["roles"]["courier"] = serde_json::json!({"keyids": [stranger, "of-another-kind"], "threshold": 1, "paths": ["*"]});
        written["roles"]["approve"]["delegated"] = true.into();
        written["regions"] = serde_json::json!({"north": 1});
        let added: Root = serde_json::from_value(written.clone()).unwrap();
        let taken = Root::first(&signed(&added, &[1, 2])).unwrap();
        assert_eq!(serde_json::to_value(&taken).unwrap(), written);
        // The next one, drafted by a program that does not know it, has it, too.
        let mut next = Root { version: 2, ..taken.clone() };
        next.add(Role::Token, &key(20).verifying_key(), true);
        next.remove(Role::Token, &stranger);
        assert_eq!(serde_json::to_value(&next).unwrap()["roles"], written["roles"]);
        assert!(next.keys.contains_key(&stranger) && taken.next(&signed(&next, &[1, 2])).is_ok());
        // A role that is gone gives nobody a right.
        next.roles.remove(&Role::Log);
        assert!(Root::first(&signed(&next, &[1, 2])).unwrap().set(&[Role::Log]).is_empty());
    }

    #[test]
    fn the_first_key_of_a_role_signs_and_the_others_verify() {
        let mut root = root();
        root.add(Role::Approve, &key(11).verifying_key(), true);
        assert_eq!(root.kid(Role::Approve), Some(kid_of(&key(11).verifying_key()).as_str()));
        assert_eq!((root.set(&[Role::Approve]).len(), root.set(&[Role::State]).len()), (2, 1));
        assert_eq!(root.set(&[Role::Approve, Role::License]).len(), 2);
        root.remove(Role::Approve, &kid_of(&key(10).verifying_key()));
        assert_eq!(root.set(&[Role::Approve]).len(), 1);
        assert!(root.keys.contains_key(&kid_of(&key(10).verifying_key())), "other roles need it");
        let now = DateTime::from_timestamp(999, 0).unwrap();
        assert!(root.in_force(now) && !root.in_force(now + chrono::TimeDelta::seconds(1)));
    }
}
