//! Which keys a database was used with. A folder of keys that is empty or another one (a volume that is not mounted, a copy that was
//! restored without it) is found at the start, before a new key signs anything: nodes would refuse it, and what is sold would be void.

use std::path::Path;

use diesel::prelude::*;

use super::ca::NodeCa;
use super::keys::PlatformKeys;
use crate::base::config::Trust;
use crate::base::db::{Conn, dialect, schema::key_pins};

/// Names of the keys, with the files that hold them.
const KEYS: [(&str, &[&str]); 2] = [("platform", &["platform.pem"]), ("node-ca", &["node-ca.key.pem", "node-ca.pem"])];

/// What to do where keys are not those of the database.
const ADVICE: &str = "Put the keys back from their copy (docs/OPERATIONS.md, \"What to keep\"). Only where they are lost for good: start once with \
                      trust.new_keys = true. Published releases are then signed by a key that nothing knows, licences are void, and every node must be \
                      enrolled again";

/// Loads the keys of a folder, or makes them where the database knows none. `PEM` files are never made anew in place of others.
///
/// # Errors
/// The keys are missing, or are others than those that the database was used with.
pub fn load(conn: &mut Conn, folder: &Path, trust: &Trust) -> anyhow::Result<(PlatformKeys, NodeCa)> {
    let pins: Vec<(String, String)> = key_pins::table.select((key_pins::name, key_pins::fingerprint)).load(conn)?;
    let pin = |name: &str| pins.iter().find(|(known, _)| known == name).map(|(_, fingerprint)| fingerprint.as_str());
    if !trust.new_keys {
        for (name, files) in KEYS {
            let missing = files.iter().map(|file| folder.join(file)).find(|path| !path.exists());
            if let (Some(_), Some(path)) = (pin(name), missing) {
                anyhow::bail!("{} is missing, and this database was used with it. {ADVICE}", path.display());
            }
        }
    }
    let keys = PlatformKeys::load_or_make(folder)?;
    let ca = NodeCa::load_or_make(folder, trust)?;
    for ((name, files), found) in KEYS.into_iter().zip([keys.kid.clone(), ca.pin()]) {
        let other = pin(name).is_some_and(|known| !known.is_empty() && known != found);
        if other && !trust.new_keys {
            let path = folder.join(files.first().copied().unwrap_or(name));
            anyhow::bail!("{} is another key than the one that this database was used with. {ADVICE}", path.display());
        }
        if other {
            tracing::error!(key = name, "a new key takes the place of the one that this database was used with");
        }
        if pin(name) != Some(found.as_str()) {
            dialect::pin_key(conn, name, &found)?;
        }
    }
    Ok((keys, ca))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::each_backend;

    #[tokio::test]
    async fn keys_of_a_database_are_never_made_anew_in_silence() {
        each_backend(|app| async move {
            let folder = app.settings.data_dir.0.join("keys");
            let mut trust = app.settings.trust.clone();
            let conn = &mut *app.db.blocking().unwrap();
            assert_eq!(load(conn, &folder, &trust).unwrap().0.kid, app.keys.kid, "as they are, each start goes on");
            // The folder is gone, or empty.
            let aside = folder.with_extension("aside");
            std::fs::rename(&folder, &aside).unwrap();
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("platform.pem is missing") && refused.contains("trust.new_keys"), "{refused}");
            assert!(!folder.exists(), "nothing was made");
            std::fs::create_dir(&folder).unwrap();
            for file in ["platform.pem", "node-ca.pem"] {
                std::fs::copy(aside.join(file), folder.join(file)).unwrap();
            }
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("node-ca.key.pem is missing"), "{refused}");
            // Another key in its place.
            std::fs::remove_dir_all(&folder).unwrap();
            PlatformKeys::load_or_make(&folder).unwrap();
            NodeCa::load_or_make(&folder, &trust).unwrap();
            let refused = load(conn, &folder, &trust).unwrap_err().to_string();
            assert!(refused.contains("platform.pem is another key"), "{refused}");
            // Lost for good: asked for in so many words, once.
            trust.new_keys = true;
            let (keys, _) = load(conn, &folder, &trust).unwrap();
            assert_ne!(keys.kid, app.keys.kid);
            trust.new_keys = false;
            assert_eq!(load(conn, &folder, &trust).unwrap().0.kid, keys.kid);
            // A database of before that has licences or published releases knows that it had keys.
            diesel::update(key_pins::table).set(key_pins::fingerprint.eq("")).execute(conn).unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            assert!(load(conn, &folder, &trust).is_err());
            std::fs::rename(&aside, &folder).unwrap();
            assert_eq!(load(conn, &folder, &trust).unwrap().0.kid, app.keys.kid);
        })
        .await;
    }
}
