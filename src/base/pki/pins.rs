//! Which keys a database was used with. A folder of keys that is empty or another one (a volume that is not mounted, a copy that was
//! restored without it) is found at the start, before a new key signs anything: nodes would refuse it, and what is sold would be void.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app_package::keys::kid_of;
use diesel::prelude::*;
use sha2::{Digest as _, Sha256};

use super::ca::{self, NodeCa};
use super::keys::{self, BEFORE, Keyring, Keys};
use super::roots;
use crate::base::config::Trust;
use crate::base::db::{Conn, dialect, schema::key_pins};

/// Files of the node authority.
const AUTHORITY: [&str; 2] = ["node-ca.key.pem", "node-ca.pem"];

/// The pin of the newest root document: its version and the hash of its envelope.
const NEWEST: &str = "root-newest";

/// What to do where keys are not those of the database.
const ADVICE: &str = "Put the keys back from their copy (docs/OPERATIONS.md, \"What to keep\"). Only where they are lost for good: start once with \
                      trust.new_keys = true. Published releases are then signed by a key that nothing knows, licences are void, and every node must be \
                      enrolled again";
/// What to do where a key is missing that a root document names.
const LOST: &str = "Put the keys back from their copy (docs/OPERATIONS.md, \"What to keep\"). Where the key of a role is lost and the root keys are not, \
                    `pithead admin keys rotate ROLE` gives the role another one, also while no server starts. Only where the root keys are lost, too: \
                    move the folder of keys away and start once with trust.new_keys = true; licences are void then, and every node must be enrolled again";
/// What to do where root documents are missing that the database knows.
const OLDER: &str = "The folder of keys is an older copy. Put the newer root documents back, and the keys that they name, from a newer copy or from \
                     another server of this platform; a root document is public and may come from anywhere. Only where they are lost for good: start \
                     once with trust.new_keys = true. Nodes that took the newer ones must be enrolled again";

/// Loads the keys of a folder, or makes them where the database knows none. Files are never made anew in place of others.
///
/// # Errors
/// The keys are missing, or are others than those that the database was used with, or older.
pub fn load(conn: &mut Conn, folder: &Path, trust: &Trust) -> anyhow::Result<(Keyring, NodeCa)> {
    let pins: Vec<(String, String)> = key_pins::table.select((key_pins::name, key_pins::fingerprint)).load(conn)?;
    let pin = |name: &str| pins.iter().find(|(known, _)| known == name).map(|(_, fingerprint)| fingerprint.as_str());
    let first = keys::document(folder, 1);
    if !trust.new_keys {
        // As long as no root document speaks for the other keys, they are needed themselves; the key of before is one of those that verify then.
        let alone = pin("root").is_none() && !first.exists();
        let needed = [("node-ca", AUTHORITY.map(|file| folder.join(file)).to_vec()), ("platform", vec![folder.join(BEFORE)])];
        let needed = needed.into_iter().filter(|_| alone);
        for (name, files) in std::iter::once(("root", vec![first.clone()])).chain(needed) {
            if let (Some(_), Some(path)) = (pin(name), files.iter().find(|path| !path.exists())) {
                anyhow::bail!("{} is missing, and this database was used with it. {ADVICE}", path.display());
            }
        }
    }
    let ca = match roots::newest(folder)? {
        Some(root) => NodeCa::of(folder, root.authorities(), trust).with_context(|| LOST)?,
        None => NodeCa::load_or_make(folder, trust)?,
    };
    // The first authority: later ones are named by root documents, and it may be gone when one of them has taken its place.
    let named = keys::first(folder)?.and_then(|(root, _)| root.authorities().into_iter().next());
    let authority = named.map_or_else(|| ca.pin(), |der| ca::pin_of(&der));
    let mut found = vec![("node-ca", folder.join("node-ca.key.pem"), authority)];
    let before = folder.join(BEFORE);
    if before.exists() {
        found.push(("platform", before.clone(), kid_of(&keys::read_key(&before)?.verifying_key())));
    }
    let ring = if let Some(ring) = Keyring::open(folder).with_context(|| LOST)? {
        ring
    } else {
        check(conn, &found, &pins, trust)?;
        roots::make_first(folder, &ca.present().certificate_der)?;
        Keyring::open(folder)?.context("the root document that was just made is gone")?
    };
    let envelope = std::fs::read(&first).with_context(|| format!("cannot read {}", first.display()))?;
    found.push(("root", first, hex::encode(Sha256::digest(&envelope))));
    check(conn, &found, &pins, trust)?;
    if let Some((version, hash)) = pin(NEWEST).and_then(newest_of).filter(|_| !trust.new_keys) {
        let envelope = ring.envelope(version)?.with_context(|| {
            format!(
                "this database was used with root document {version}, and {} has none after {}. {OLDER}",
                folder.display(),
                ring.get().root.version
            )
        })?;
        let path = keys::document(folder, version);
        let known = hex::encode(Sha256::digest(&envelope)) == hash;
        anyhow::ensure!(known, "{} is another one than this database was used with. {ADVICE}", path.display());
    }
    Ok((ring, ca))
}

/// Version and hash of a pin of [`NEWEST`].
fn newest_of(fingerprint: &str) -> Option<(u64, &str)> {
    let (version, hash) = fingerprint.split_once(' ')?;
    Some((version.parse().ok()?, hash))
}

/// Pins the newest root document, in place of an older one only, unless others were asked for (`new_keys`). Gives its hash where trust has changed
/// by that: once, of however many servers see it, and not for the first document of a database.
///
/// # Errors
/// Those of the database.
pub fn note_newest(conn: &mut Conn, keys: &Keys, new_keys: bool) -> QueryResult<Option<String>> {
    let hash = hex::encode(Sha256::digest(&keys.envelope));
    let next = format!("{} {hash}", keys.root.version);
    let known: Option<String> = key_pins::table.find(NEWEST).select(key_pins::fingerprint).first(conn).optional()?;
    let Some(known) = known else {
        dialect::pin_key(conn, NEWEST, &next)?;
        return Ok(Some(hash).filter(|_| keys.root.version > 1));
    };
    let newer = newest_of(&known).is_none_or(|(version, _)| version < keys.root.version);
    if known == next || !(newer || new_keys) {
        return Ok(None);
    }
    let own = key_pins::name.eq(NEWEST).and(key_pins::fingerprint.eq(&known));
    let noted = diesel::update(key_pins::table.filter(own)).set(key_pins::fingerprint.eq(&next)).execute(conn)?;
    Ok(Some(hash).filter(|_| noted == 1))
}

/// Compares keys with the pins, and pins those that are not.
fn check(conn: &mut Conn, found: &[(&str, PathBuf, String)], pins: &[(String, String)], trust: &Trust) -> anyhow::Result<()> {
    let pin = |name: &str| pins.iter().find(|(known, _)| known == name).map(|(_, fingerprint)| fingerprint.as_str());
    for (name, path, fingerprint) in found {
        let other = pin(name).is_some_and(|known| !known.is_empty() && known != fingerprint);
        if other && !trust.new_keys {
            anyhow::bail!("{} is another key than the one that this database was used with. {ADVICE}", path.display());
        }
        if other {
            tracing::error!(key = name, "a new key takes the place of the one that this database was used with");
        }
        if pin(name) != Some(fingerprint.as_str()) {
            dialect::pin_key(conn, name, fingerprint)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use app_package::root::{Role, Root};

    use super::*;
    use crate::testing::each_backend;

    #[tokio::test]
    async fn keys_of_a_database_are_never_made_anew_in_silence() {
        each_backend(|app| async move {
            let folder = app.settings.data_dir.0.join("keys");
            let mut trust = app.settings.trust.clone();
            let conn = &mut *app.db.blocking().unwrap();
            let root = app.keys.get().root.clone();
            assert_eq!(load(conn, &folder, &trust).unwrap().0.get().root, root, "as they are, each start goes on");
            // The folder is gone, or empty, or half of it is there.
            let aside = folder.with_extension("aside");
            std::fs::rename(&folder, &aside).unwrap();
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("1.json is missing") && refused.contains("trust.new_keys"), "{refused}");
            assert!(!folder.exists(), "nothing was made");
            std::fs::create_dir_all(folder.join("root")).unwrap();
            std::fs::copy(aside.join("root/1.json"), folder.join("root/1.json")).unwrap();
            let refused = format!("{:#}", load(conn, &folder, &trust).unwrap_err());
            assert!(refused.contains("of the authority of node identities are missing"), "{refused}");
            for file in ["node-ca.key.pem", "node-ca.pem", "approve.pem"] {
                std::fs::copy(aside.join(file), folder.join(file)).unwrap();
            }
            let refused = format!("{:#}", load(conn, &folder, &trust).unwrap_err());
            assert!(refused.contains("of the role license is missing") && refused.contains("keys rotate"), "{refused}");
            // Other keys in their place.
            std::fs::remove_dir_all(&folder).unwrap();
            let ca = NodeCa::load_or_make(&folder, &trust).unwrap();
            roots::make_first(&folder, &ca.present().certificate_der).unwrap();
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("is another key"), "{refused}");
            // Lost for good: asked for in so many words, once.
            trust.new_keys = true;
            let (ring, _) = load(conn, &folder, &trust).unwrap();
            assert_ne!(ring.get().root, root);
            trust.new_keys = false;
            assert_eq!(load(conn, &folder, &trust).unwrap().0.get().root, ring.get().root);
        })
        .await;
    }

    /// The next document, signed by two of the root keys that were made.
    fn signed(folder: &Path, keys: &[ed25519_dalek::SigningKey], next: &roots::Next) -> app_package::dsse::Envelope {
        let mut envelope = roots::draft(folder, &roots::newest(folder).unwrap().unwrap(), next).unwrap();
        for key in &keys[..2] {
            app_package::dsse::countersign(&mut envelope, key).unwrap();
        }
        envelope
    }

    #[tokio::test]
    async fn lost_keys_are_given_up_one_by_one_and_an_older_folder_is_refused() {
        each_backend(|app| async move {
            let folder = app.settings.data_dir.0.join("keys");
            let mut trust = app.settings.trust.clone();
            let conn = &mut *app.db.blocking().unwrap();
            let root_keys: Vec<_> = roots::keys_here(&folder).iter().map(|path| keys::read_key(path).unwrap()).collect();
            std::fs::remove_dir_all(folder.join(keys::ROOT_KEYS)).unwrap();
            assert_eq!(load(conn, &folder, &trust).unwrap().0.get().root.version, 1, "no start needs the root keys");
            assert_eq!(note_newest(conn, &app.keys.get(), false).unwrap(), None, "the first one is no change");
            // Two keys are lost: what the error names helps.
            let lost = [Role::License, Role::Token];
            for role in lost {
                std::fs::remove_file(folder.join(format!("{}.pem", role.as_str()))).unwrap();
            }
            let refused = format!("{:#}", load(conn, &folder, &trust).unwrap_err());
            assert!(refused.contains("pithead admin keys rotate"), "{refused}");
            for role in lost {
                let next = roots::Next::Rotate { role, distrust: false };
                // A draft that was thrown away leaves a key, which the next one does not take.
                let thrown = roots::draft(&folder, &roots::newest(&folder).unwrap().unwrap(), &next).unwrap();
                let envelope = signed(&folder, &root_keys, &next);
                assert_ne!(Root::read(&thrown).unwrap().kid(role), Root::read(&envelope).unwrap().kid(role));
                roots::take(&folder, &envelope).unwrap();
            }
            let (ring, _) = load(conn, &folder, &trust).unwrap();
            assert_eq!(ring.get().root.version, 3);

            // Another authority issues; nothing asks for the key of the one that was dropped.
            for next in
                [roots::Next::AddAuthority { domain: "mine.example".into() }, roots::Next::SwitchAuthority, roots::Next::DropAuthorities]
            {
                roots::take(&folder, &signed(&folder, &root_keys, &next)).unwrap();
            }
            for file in AUTHORITY {
                std::fs::remove_file(folder.join(file)).unwrap();
            }
            let (ring, ca) = load(conn, &folder, &trust).unwrap();
            assert_eq!(ca.present().trusted.len(), 1);

            // The newest document is noted once, and none before it is gone on with.
            assert!(note_newest(conn, &ring.get(), false).unwrap().is_some_and(|hash| hash.len() == 64));
            for keys in [ring.get(), app.keys.get()] {
                assert_eq!(note_newest(conn, &keys, false).unwrap(), None);
            }
            std::fs::rename(keys::document(&folder, 6), folder.join("aside")).unwrap();
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("used with root document 6") && refused.contains("an older copy"), "{refused}");
            std::fs::rename(folder.join("aside"), keys::document(&folder, 6)).unwrap();
            assert!(load(conn, &folder, &trust).is_ok());
            std::fs::remove_file(keys::document(&folder, 6)).unwrap();
            trust.new_keys = true;
            let (ring, _) = load(conn, &folder, &trust).unwrap();
            assert!(note_newest(conn, &ring.get(), true).unwrap().is_some());
        })
        .await;
    }

    #[tokio::test]
    async fn the_key_of_before_introduces_the_first_root() {
        each_backend(|app| async move {
            let folder = app.settings.data_dir.0.join("keys");
            let trust = app.settings.trust.clone();
            let conn = &mut *app.db.blocking().unwrap();
            // An agent of the version before that enrolled here knows the keys of approvals and licences.
            let known = app_package::keys::KeySet::from_jwks(&app.keys.get().jwks()).unwrap();
            assert!(Root::introduced(&app.keys.envelope(1).unwrap().unwrap(), &known).is_ok());
            // A data folder of the version before: one key, and its pin.
            diesel::delete(key_pins::table.filter(key_pins::name.eq("root"))).execute(conn).unwrap();
            for gone in ["root", "root-keys"] {
                std::fs::remove_dir_all(folder.join(gone)).unwrap();
            }
            let before = keys::load_or_make(&folder.join(BEFORE)).unwrap();
            let kid = kid_of(&before.verifying_key());
            dialect::pin_key(conn, "platform", "").unwrap();
            let hidden = folder.with_extension("hidden");
            std::fs::rename(folder.join(BEFORE), &hidden).unwrap();
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("platform.pem is missing"), "{refused}");
            std::fs::rename(&hidden, folder.join(BEFORE)).unwrap();
            let (ring, _) = load(conn, &folder, &trust).unwrap();
            let keys = ring.get();
            assert_ne!(keys.approve.kid, kid, "new things are signed by a new key");
            assert!(keys.approve.set.get(&kid).is_some() && keys.license.set.get(&kid).is_some() && keys.state.set.get(&kid).is_none());
            let mut known = app_package::keys::KeySet::new();
            known.insert(before.verifying_key());
            let envelope = ring.envelope(1).unwrap().unwrap();
            assert_eq!(Root::introduced(&envelope, &known).unwrap(), keys.root);
            // The next start finds all in its place, also without the key of before.
            assert_eq!(load(conn, &folder, &trust).unwrap().0.get().root, keys.root);
            std::fs::remove_file(folder.join(BEFORE)).unwrap();
            assert!(load(conn, &folder, &trust).is_ok());
        })
        .await;
    }

    #[tokio::test]
    async fn a_key_changes_while_the_server_runs_and_only_through_the_quorum() {
        each_backend(|app| async move {
            let folder = app.settings.data_dir.0.join("keys");
            let before = app.keys.get();
            let root_keys: Vec<_> = roots::keys_here(&folder).iter().map(|path| keys::read_key(path).unwrap()).collect();
            let next = roots::Next::Rotate { role: Role::License, distrust: false };
            let mut envelope = roots::draft(&folder, &before.root, &next).unwrap();
            assert!(roots::take(&folder, &envelope).is_err(), "nobody has signed");
            app_package::dsse::countersign(&mut envelope, &root_keys[0]).unwrap();
            app_package::dsse::countersign(&mut envelope, &before.license.key).unwrap();
            assert!(roots::take(&folder, &envelope).is_err(), "one root key, and the server's own");
            assert!(!app.keys.refresh().unwrap());
            app_package::dsse::countersign(&mut envelope, &root_keys[2]).unwrap();
            assert_eq!(roots::take(&folder, &envelope).unwrap().version, 2);
            assert!(app.keys.refresh().unwrap());
            let now = app.keys.get();
            assert_ne!(now.license.kid, before.license.kid);
            assert!(now.license.set.get(&before.license.kid).is_some(), "what was sold still holds");
            assert_eq!((now.approve.kid.as_str(), now.root.version), (before.approve.kid.as_str(), 2));
            assert!(roots::take(&folder, &envelope).is_err(), "once");
            // A key that may be in other hands.
            let next = roots::Next::Rotate { role: Role::License, distrust: true };
            let mut envelope = roots::draft(&folder, &now.root, &next).unwrap();
            for key in &root_keys {
                app_package::dsse::countersign(&mut envelope, key).unwrap();
            }
            roots::take(&folder, &envelope).unwrap();
            app.keys.refresh().unwrap();
            assert_eq!(app.keys.get().license.set.len(), 1);
            // Other root keys: the old ones sign that, too, and are nothing afterwards.
            let fresh = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
            let next = roots::Next::RootKeys { keys: vec![fresh.verifying_key()], threshold: 1 };
            let mut envelope = roots::draft(&folder, &app.keys.get().root, &next).unwrap();
            app_package::dsse::countersign(&mut envelope, &fresh).unwrap();
            assert!(roots::take(&folder, &envelope).is_err(), "only the new one");
            for key in &root_keys[..2] {
                app_package::dsse::countersign(&mut envelope, key).unwrap();
            }
            assert_eq!(roots::take(&folder, &envelope).unwrap().version, 4);
            for step in [roots::Next::SwitchAuthority, roots::Next::DropAuthorities] {
                assert!(roots::draft(&folder, &app.keys.get().root, &step).is_err(), "there is one authority");
            }
            // Only so many root keys as there are may be asked for.
            assert!(roots::draft(&folder, &app.keys.get().root, &roots::Next::RootKeys { keys: vec![], threshold: 1 }).is_err());
            let ring = Keyring::open(&folder).unwrap().unwrap();
            assert_eq!(ring.get().root.version, 4, "a restart comes to the same");
            // A document that was changed on disk is not taken.
            std::fs::write(keys::document(&folder, 3), b"{}").unwrap();
            assert!(Keyring::open(&folder).is_err());
        })
        .await;
    }
}
