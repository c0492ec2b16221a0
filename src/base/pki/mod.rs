//! The platform's root of trust: root documents whose keys lie offline ([`roots`]), the Ed25519 keys that they name for each role ([`keys`]), and
//! an ECDSA P-256 certificate authority for node identities ([`ca`]). All are made on first start under `<data_dir>/keys`, files of mode 0600;
//! [`pins`] refuses to go on without them.

pub mod ca;
pub mod keys;
pub mod pins;
pub mod roots;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::base::private;

/// Reads a secret file, or makes it with mode 0600 from `make`. Written beside and renamed, so a crash leaves no half key.
fn load_or_make(path: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            private::tighten(path, 0o600)?;
            return Ok(text);
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
    let text = make()?;
    if let Some(dir) = path.parent() {
        private::folder(dir)?;
    }
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    Ok(text)
}
