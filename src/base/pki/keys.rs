//! The platform's signing keys by role, and the root document that names them ([`app_package::root`]).
//!
//! In the folder of keys, `root/<version>.json` are the root documents from the first on; `*.pem` the online keys, of which the root document
//! tells what each may sign; `root-keys/` the root keys as they were made, until somebody moves them to where no server is: nothing reads them
//! there. Invariant: what is in use was reached from the first document through quorums.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use app_package::keys::{KeySet, kid_of};
use app_package::root::{Role, Root};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};

use super::ca;

/// Folder of the root documents.
const ROOTS: &str = "root";
/// Folder of the root keys, as they are made.
pub const ROOT_KEYS: &str = "root-keys";
/// The key that signed everything before there were roles.
pub const BEFORE: &str = "platform.pem";
/// Most root documents that are followed: one a week for ten years.
const MAX_ROOTS: u64 = 520;

/// The key that signs in a role.
#[derive(Clone)]
pub struct RoleKey {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    pub key: SigningKey,
    /// The keys that verify: this one, and those before it whose signatures still hold.
    pub set: KeySet,
}

/// Keys of one root document. Nothing in it changes.
pub struct Keys {
    pub root: Root,
    /// Envelope of [`Self::root`], JSON.
    pub envelope: Vec<u8>,
    /// Release statements, and the list of revoked releases.
    pub approve: RoleKey,
    pub license: RoleKey,
    /// Desired states of nodes.
    pub state: RoleKey,
    /// Tokens of the registry.
    pub token: RoleKey,
    /// Seals of the audit log.
    pub log: RoleKey,
    /// This platform, towards other instances.
    pub instance: RoleKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("root", &self.root.version).finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys that a root document names, out of a folder.
    ///
    /// # Errors
    /// A key that signs is missing, or a file is damaged.
    fn of((root, envelope): (Root, Vec<u8>), folder: &Path) -> anyhow::Result<Self> {
        let found = online(folder)?;
        let role = |role: Role| {
            let kid = root.kid(role).unwrap_or_default();
            let key = found
                .get(kid)
                .with_context(|| format!("the key {kid} of the role {} is missing in {}", role.as_str(), folder.display()))?;
            anyhow::Ok(RoleKey { kid: kid.to_owned(), key: key.clone(), set: root.set(&[role]) })
        };
        Ok(Self {
            approve: role(Role::Approve)?,
            license: role(Role::License)?,
            state: role(Role::State)?,
            token: role(Role::Token)?,
            log: role(Role::Log)?,
            instance: role(Role::Instance)?,
            root,
            envelope,
        })
    }

    /// The keys that agents from before root documents ask for: those of approvals and licences.
    pub fn jwks(&self) -> serde_json::Value {
        self.root.set(&[Role::Approve, Role::License]).to_jwks()
    }
}

/// The keys in use, which change while the server runs. Clones share them.
#[derive(Debug, Clone)]
pub struct Keyring {
    present: Arc<RwLock<Arc<Keys>>>,
    folder: PathBuf,
}

impl Keyring {
    /// Reads the keys of a folder; none where it has no root document.
    ///
    /// # Errors
    /// A document or a key is damaged or missing.
    pub fn open(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(first) = first(folder)? else { return Ok(None) };
        let keys = Arc::new(Keys::of(newest(folder, first)?, folder)?);
        Ok(Some(Self { present: Arc::new(RwLock::new(keys)), folder: folder.to_owned() }))
    }

    /// The keys of this moment.
    pub fn get(&self) -> Arc<Keys> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes root documents that were added since. Gives whether there was one. Blocking.
    ///
    /// # Errors
    /// The next document is not signed as it must be, or a key that it names is missing: the present ones stay.
    pub fn refresh(&self) -> anyhow::Result<bool> {
        let present = self.get();
        if read(&document(&self.folder, present.root.version + 1))?.is_none() {
            return Ok(false);
        }
        let keys = Arc::new(Keys::of(newest(&self.folder, (present.root.clone(), present.envelope.clone()))?, &self.folder)?);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(true)
    }

    /// The envelope of a version of the root document. Blocking.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn envelope(&self, version: u64) -> anyhow::Result<Option<Vec<u8>>> {
        if version > self.get().root.version {
            return Ok(None);
        }
        read(&document(&self.folder, version))
    }
}

/// Follows the documents of a folder from one that is known.
pub(super) fn newest(folder: &Path, (mut root, mut envelope): (Root, Vec<u8>)) -> anyhow::Result<(Root, Vec<u8>)> {
    while root.version < MAX_ROOTS {
        let path = document(folder, root.version + 1);
        let Some(next) = read(&path)? else { break };
        root = root.next(&next).with_context(|| format!("{} cannot be taken", path.display()))?;
        envelope = next;
    }
    Ok((root, envelope))
}

/// The first document of a folder, with its envelope.
pub(super) fn first(folder: &Path) -> anyhow::Result<Option<(Root, Vec<u8>)>> {
    let path = document(folder, 1);
    let Some(envelope) = read(&path)? else { return Ok(None) };
    let root = Root::first(&envelope).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(Some((root, envelope)))
}

/// Place of a root document.
pub fn document(folder: &Path, version: u64) -> PathBuf {
    folder.join(ROOTS).join(format!("{version}.json"))
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The online keys in a folder, by id.
fn online(folder: &Path) -> anyhow::Result<BTreeMap<String, SigningKey>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let own = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| !name.starts_with(ca::NAME));
        if own && path.extension().is_some_and(|end| end == "pem") {
            let key = read_key(&path)?;
            found.insert(kid_of(&key.verifying_key()), key);
        }
    }
    Ok(found)
}

/// Ids of the keys that sign in a role by a root document and are not in a folder; of a role without a key its name.
pub(super) fn missing(folder: &Path, root: &Root) -> anyhow::Result<BTreeSet<String>> {
    let found = online(folder)?;
    let kids = Role::ONLINE.iter().map(|role| root.kid(*role).unwrap_or(role.as_str()));
    Ok(kids.filter(|kid| !found.contains_key(*kid)).map(str::to_owned).collect())
}

/// Reads an Ed25519 key (PKCS #8 PEM).
pub fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    SigningKey::from_pkcs8_pem(&pem).with_context(|| format!("{} is damaged", path.display()))
}

/// Makes an Ed25519 key in a file, or reads the one that is there.
pub fn load_or_make(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = super::load_or_make(path, || {
        let key = SigningKey::from_bytes(&crate::base::ids::random::<32>());
        Ok(key.to_pkcs8_pem(LineEnding::LF).context("a new key")?.to_string())
    })?;
    SigningKey::from_pkcs8_pem(&pem).with_context(|| format!("{} is damaged", path.display()))
}
