//! Whom this machine believes of a platform: its root document (`app_package::root`), which was given, or taken from the server the first time
//! and kept, and after that is followed by the quorum of its own keys alone. So who answers at the server's address later on can put no other
//! keys in its place.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use app_package::dsse::MAX_ENVELOPE_BYTES;
use app_package::root::Root;
use chrono::Utc;
use clap::Args;

use super::client::{Refused, Remote};
use super::words::{Cannot as _, shown};

/// Root documents that are followed at a time.
const MAX_ROOTS: usize = 1000;

/// Where the root document comes from.
#[derive(Debug, Clone, Args)]
pub struct Roots {
    /// A root document of the platform (as its operator gives it out) that is trusted, instead of the one that this machine has kept.
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Folder of the root documents that this machine keeps [default: ~/.config/pithead/roots].
    #[arg(long, env = "PITHEAD_ROOTS", value_name = "DIR")]
    pub roots: Option<PathBuf>,
}

impl Roots {
    /// The newest root document of the server's platform that follows from what is known here; what is new is kept.
    ///
    /// # Errors
    /// A file that is no root document; one of the server's that does not follow, or has ended; the network.
    pub async fn newest(&self, remote: &Remote) -> anyhow::Result<Root> {
        let lang = remote.lang;
        let (path, given) = match &self.root {
            Some(file) => (file.clone(), true),
            None => (self.kept(remote)?, false),
        };
        let stored = match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !given => None,
            Err(e) => return Err(e).cannot(lang, "read", &path),
        };
        let wrong = |_| anyhow::anyhow!(lang.format("cli-root-wrong", &[("path", &shown(&path))]));
        let (mut root, mut fresh) = if let Some(bytes) = stored {
            (Root::first(&bytes).map_err(wrong)?, None)
        } else {
            let bytes = document(remote, 1).await?.ok_or_else(|| anyhow::anyhow!(lang.t("cli-no-pithead")))?;
            let root = Root::first(&bytes).map_err(|e| refused(remote, 1, e.code()))?;
            eprintln!("{}", lang.format("cli-root-taken", &[("server", remote.server.as_str()), ("path", &shown(&path))]));
            (root, Some(bytes))
        };
        for _ in 0..MAX_ROOTS {
            let Some(bytes) = document(remote, root.version.saturating_add(1)).await? else { break };
            root = root.next(&bytes).map_err(|e| refused(remote, root.version.saturating_add(1), e.code()))?;
            fresh = Some(bytes);
        }
        if !root.in_force(Utc::now()) {
            return Err(Refused(lang.t("cli-root-ended")).into());
        }
        if let Some(bytes) = fresh.filter(|_| !given) {
            keep(&path, &bytes).cannot(lang, "write", &path)?;
        }
        Ok(root)
    }

    /// Takes the version of the list of revoked approvals that the server's platform has signed; false where a higher one was seen before: the
    /// server has an old list.
    pub fn is_newest_list(&self, remote: &Remote, version: u64) -> anyhow::Result<bool> {
        let path = self.kept(remote)?.with_extension("revocations");
        let seen = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
        if version > seen {
            keep(&path, version.to_string().as_bytes()).cannot(remote.lang, "write", &path)?;
        }
        Ok(version >= seen)
    }

    /// The file of a server's platform.
    fn kept(&self, remote: &Remote) -> anyhow::Result<PathBuf> {
        let folder = match &self.roots {
            Some(folder) => folder.clone(),
            None => std::env::home_dir()
                .filter(|home| home.is_absolute())
                .map(|home| home.join(".config/pithead/roots"))
                .ok_or_else(|| anyhow::anyhow!(remote.lang.t("cli-root-nowhere")))?,
        };
        // Letters, digits, dots, hyphens and the brackets of a number: nothing that leads elsewhere.
        let host = remote.server.host_str().unwrap_or_default();
        let port = remote.server.port_or_known_default().unwrap_or_default();
        Ok(folder.join(format!("{host}-{port}.json")))
    }
}

async fn document(remote: &Remote, version: u64) -> anyhow::Result<Option<Vec<u8>>> {
    remote.found(&format!("/.well-known/pithead/roots/{version}"), MAX_ENVELOPE_BYTES).await
}

fn refused(remote: &Remote, version: u64, code: &str) -> anyhow::Error {
    let told = [("version", version.to_string()), ("code", code.to_owned())];
    let told: Vec<(&str, &str)> = told.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Refused(remote.lang.format("cli-root-refused", &told)).into()
}

/// Writes a file whole, or not at all.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}
