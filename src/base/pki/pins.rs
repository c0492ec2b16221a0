//! Which keys a database was used with. A folder of keys that is empty or another one (a volume that is not mounted, a copy that was
//! restored without it) is found at the start, before a new key signs anything: nodes would refuse it, and what is sold would be void.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app_package::keys::kid_of;
use diesel::prelude::*;
use sha2::{Digest as _, Sha256};

use super::ca::NodeCa;
use super::keys::{self, BEFORE, Keyring};
use super::roots;
use crate::base::config::Trust;
use crate::base::db::{Conn, dialect, schema::key_pins};

/// Files of the node authority.
const AUTHORITY: [&str; 2] = ["node-ca.key.pem", "node-ca.pem"];

/// What to do where keys are not those of the database.
const ADVICE: &str = "Put the keys back from their copy (docs/OPERATIONS.md, \"What to keep\"). Only where they are lost for good: start once with \
                      trust.new_keys = true. Published releases are then signed by a key that nothing knows, licences are void, and every node must be \
                      enrolled again";

/// Loads the keys of a folder, or makes them where the database knows none. Files are never made anew in place of others.
///
/// # Errors
/// The keys are missing, or are others than those that the database was used with.
pub fn load(conn: &mut Conn, folder: &Path, trust: &Trust) -> anyhow::Result<(Keyring, NodeCa)> {
    let pins: Vec<(String, String)> = key_pins::table.select((key_pins::name, key_pins::fingerprint)).load(conn)?;
    let pin = |name: &str| pins.iter().find(|(known, _)| known == name).map(|(_, fingerprint)| fingerprint.as_str());
    let first = keys::document(folder, 1);
    if !trust.new_keys {
        // The key of before is needed as long as no root document speaks for it; then it is one of those that verify.
        let needed = [("root", vec![first.clone()]), ("node-ca", AUTHORITY.map(|file| folder.join(file)).to_vec())];
        let before = (pin("root").is_none() && !first.exists()).then(|| ("platform", vec![folder.join(BEFORE)]));
        for (name, files) in needed.into_iter().chain(before) {
            if let (Some(_), Some(path)) = (pin(name), files.iter().find(|path| !path.exists())) {
                anyhow::bail!("{} is missing, and this database was used with it. {ADVICE}", path.display());
            }
        }
    }
    let ca = NodeCa::load_or_make(folder, trust)?;
    // The first authority: later ones are named by root documents.
    let mut found = vec![("node-ca", folder.join("node-ca.key.pem"), ca.pin())];
    let before = folder.join(BEFORE);
    if before.exists() {
        found.push(("platform", before.clone(), kid_of(&keys::read_key(&before)?.verifying_key())));
    }
    let ring = if let Some(ring) = Keyring::open(folder).with_context(|| ADVICE)? {
        ring
    } else {
        check(conn, &found, &pins, trust)?;
        roots::make_first(folder, &ca.present().certificate_der)?;
        Keyring::open(folder)?.context("the root document that was just made is gone")?
    };
    let envelope = std::fs::read(&first).with_context(|| format!("cannot read {}", first.display()))?;
    found.push(("root", first, hex::encode(Sha256::digest(&envelope))));
    check(conn, &found, &pins, trust)?;
    ca.follow(ring.get().root.authorities())?;
    Ok((ring, ca))
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
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("node-ca.key.pem is missing"), "{refused}");
            for file in ["node-ca.key.pem", "node-ca.pem", "approve.pem"] {
                std::fs::copy(aside.join(file), folder.join(file)).unwrap();
            }
            let refused = format!("{:#}", load(conn, &folder, &trust).unwrap_err());
            assert!(refused.contains("of the role license is missing"), "{refused}");
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

    #[tokio::test]
    async fn the_key_of_before_introduces_the_first_root() {
        each_backend(|app| async move {
            let folder = app.settings.data_dir.0.join("keys");
            let trust = app.settings.trust.clone();
            let conn = &mut *app.db.blocking().unwrap();
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
