//! Making root documents: the first one beside new keys, the next ones by those who hold the root keys. A next one is drafted where the server's
//! keys are, signed where the root keys are, and taken where the server's keys are.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app_package::dsse::{self, Envelope};
use app_package::root::{Role, Root};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{TimeDelta, Utc};
use ed25519_dalek::VerifyingKey;

use super::ca;
use super::keys::{self, BEFORE, ROOT_KEYS};
use crate::base::private;

/// Root keys that are made at first, and how many of them must sign.
const ROOT_KEY_COUNT: usize = 3;
const THRESHOLD: usize = 2;
/// Life of a root document in days. Where it has ended, nodes begin nothing new; five years outlive most of what hangs on them.
const LIFE_DAYS: i64 = 5 * 365;

/// Makes the keys of all roles, root keys and the first root document, which lists the key of before where there is one. The document is
/// written last: an attempt that was cut off begins anew with the keys that it has made.
///
/// # Errors
/// A file cannot be written, or one that is there is damaged.
pub fn make_first(folder: &Path, authority: &[u8]) -> anyhow::Result<()> {
    let before = Some(folder.join(BEFORE)).filter(|path| path.exists()).map(|path| keys::read_key(&path)).transpose()?;
    let mut root = Root::new(1, Utc::now() + TimeDelta::days(LIFE_DAYS), THRESHOLD);
    let mut approve = None;
    for role in Role::ONLINE {
        let key = keys::load_or_make(&folder.join(format!("{}.pem", role.as_str())))?;
        root.add(role, &key.verifying_key(), true);
        if role == Role::Approve {
            approve = Some(key);
        }
    }
    if let Some(before) = &before {
        // What it signed before there were roles still holds.
        for role in [Role::Approve, Role::License, Role::Token] {
            root.add(role, &before.verifying_key(), false);
        }
    }
    root.node_ca = vec![STANDARD.encode(authority)];
    let mut signers = Vec::new();
    for n in 1..=ROOT_KEY_COUNT {
        let key = keys::load_or_make(&folder.join(ROOT_KEYS).join(format!("root-{n}.pem")))?;
        root.add(Role::Root, &key.verifying_key(), false);
        signers.push(key);
    }
    let mut envelope = root.unsigned();
    // The key of before signs this one document, so that nodes which know nothing else can take it. Where there is none, that of approvals: an
    // agent from before there were such documents enrols with it, and takes the document when it is replaced by a newer agent.
    for key in signers.iter().chain(before.as_ref().or(approve.as_ref())) {
        dsse::countersign(&mut envelope, key)?;
    }
    let bytes = envelope.to_bytes();
    Root::first(&bytes)?;
    write(&keys::document(folder, 1), &bytes)
}

/// What a next root document changes.
#[derive(Debug)]
pub enum Next {
    /// A new key signs in a role. What the one before signed goes on to hold, or, where it may be in other hands, nothing of it.
    Rotate { role: Role, distrust: bool },
    /// Other root keys, and how many of them must sign.
    RootKeys { keys: Vec<VerifyingKey>, threshold: usize },
    /// Another authority of node identities is trusted beside the one that issues; its certificate names this SPIFFE trust domain.
    AddAuthority { domain: String },
    /// The newest authority issues; the others stay trusted.
    SwitchAuthority,
    /// Only the authority that issues is trusted any longer.
    DropAuthorities,
    /// The same keys for another five years.
    Renew,
}

/// Drafts the next root document, without signatures; a new key is made beside the others, and signs nothing until the document is taken.
///
/// # Errors
/// A key cannot be written.
pub fn draft(folder: &Path, present: &Root, next: &Next) -> anyhow::Result<Envelope> {
    let mut root = present.clone();
    root.version += 1;
    root.expires = (Utc::now() + TimeDelta::days(LIFE_DAYS)).timestamp();
    match next {
        Next::Rotate { role, distrust } => {
            // Each draft makes a key of its own: one that an earlier draft left may be what its thief has got already.
            let key = keys::load_or_make(&folder.join(format!("{}.pem", fresh(role.as_str(), root.version))))?;
            if *distrust {
                for old in present.roles.get(role).into_iter().flat_map(|keys| &keys.keyids) {
                    root.remove(*role, old);
                }
            }
            root.add(*role, &key.verifying_key(), true);
        }
        Next::RootKeys { keys, threshold } => {
            for old in present.roles.get(&Role::Root).into_iter().flat_map(|keys| &keys.keyids) {
                root.remove(Role::Root, old);
            }
            for key in keys {
                root.add(Role::Root, key, false);
            }
            if let Some(role) = root.roles.get_mut(&Role::Root) {
                role.threshold = *threshold;
            }
        }
        Next::AddAuthority { domain } => {
            let (_, certificate) = ca::load_or_make(folder, &fresh(ca::NAME, root.version), domain)?;
            root.node_ca.push(STANDARD.encode(ca::der_of(&certificate)?));
        }
        Next::SwitchAuthority | Next::DropAuthorities if root.node_ca.len() < 2 => {
            anyhow::bail!("there is one authority of node identities: add another one first")
        }
        Next::SwitchAuthority => root.node_ca.rotate_right(1),
        Next::DropAuthorities => root.node_ca.truncate(1),
        Next::Renew => {}
    }
    let envelope = root.unsigned();
    Root::read(&envelope).context("the root document would be out of bounds: too many keys, or fewer than must sign")?;
    Ok(envelope)
}

/// A name of files that are not there yet.
fn fresh(name: &str, version: u64) -> String {
    format!("{name}-{version}-{}", hex::encode(crate::base::ids::random::<8>()))
}

/// The newest root document of a folder, whatever keys are there.
///
/// # Errors
/// A document is damaged.
pub fn newest(folder: &Path) -> anyhow::Result<Option<Root>> {
    keys::first(folder)?.map(|first| keys::newest(folder, first).map(|(root, _)| root)).transpose()
}

/// Takes a signed next document: servers that run read it within seconds. Where several keys are lost, one document after the other mends them.
///
/// # Errors
/// It is not the next one, or too few have signed; it names a key that is not here, and was not missing before.
pub fn take(folder: &Path, envelope: &Envelope) -> anyhow::Result<Root> {
    let bytes = envelope.to_bytes();
    let present = newest(folder)?.context("there is no root document yet: start the server once")?;
    let root = present.next(&bytes)?;
    // No server that goes on now could go on with a key that is not here.
    let before = keys::missing(folder, &present)?;
    if let Some(kid) = keys::missing(folder, &root)?.difference(&before).next() {
        anyhow::bail!("the key {kid} that it names is missing in {}", folder.display());
    }
    let authority = ca::authority(folder, root.authorities()).map(drop);
    if authority.is_err() && ca::authority(folder, present.authorities()).is_ok() {
        authority?;
    }
    write(&keys::document(folder, root.version), &bytes)?;
    Ok(root)
}

/// Writes a document that is not there yet, whole or not at all; of two at once one is refused.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().context("a root document lies in a folder")?;
    private::folder(dir)?;
    let temporary = dir.join(format!("{}.new", crate::base::ids::new("root")));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::hard_link(&temporary, path));
    std::fs::remove_file(&temporary)?;
    written.with_context(|| format!("cannot write {}", path.display()))?;
    File::open(dir)?.sync_all().with_context(|| format!("cannot write {}", path.display()))
}

/// Root keys that lie where the server's keys are, which is where they should not stay.
pub fn keys_here(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join(ROOT_KEYS)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "pem")).collect();
    files.sort();
    files
}
