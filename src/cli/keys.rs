//! `pithead admin keys …`: the platform's signing keys and the root documents that name them. Only the folder of keys is needed, so that a server
//! which lacks a key can be given another one; servers that run take a new root document within seconds. `sign` needs no data at all: it is for the
//! machines where the root keys lie.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use app_package::dsse::{self, Envelope, MAX_ENVELOPE_BYTES};
use app_package::keys::kid_of;
use app_package::public_key;
use app_package::root::{Role, Root, RootError};
use chrono::DateTime;
use clap::Subcommand;

use crate::base::app::App;
use crate::base::config::Settings;
use crate::base::pki::ca;
use crate::base::pki::keys::{self, Keyring};
use crate::base::pki::roots::{self, Next};
use crate::release::signing;

/// Longest file of a public key, in bytes.
const MAX_PUBLIC: u64 = 64 * 1024;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the root document in use: its end, the keys of each role, and where root keys lie.
    Show,
    /// Have a new key sign in a role: approve, license, state, token, log or instance.
    Rotate {
        role: String,
        /// Trust nothing that the keys of before have signed. For a key that may be in other hands; `resign` afterwards.
        #[arg(long)]
        distrust: bool,
        #[command(flatten)]
        signing: Signing,
    },
    /// Put other root keys in the place of the present ones.
    Root {
        /// Public key of a new root key, as `pithead keygen` prints it; once for each.
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// How many of them must sign.
        #[arg(long)]
        threshold: usize,
        #[command(flatten)]
        signing: Signing,
    },
    /// Change the authority of node identities: `add` another one, let it issue (`switch`) when all nodes know it, and then `drop` the one of before,
    /// when all nodes have renewed their certificates.
    Authority {
        #[arg(value_parser = ["add", "switch", "drop"])]
        step: String,
        /// Drop the others though nodes whose certificate is still one of theirs must then be enrolled again.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        signing: Signing,
    },
    /// Make the same keys good for another five years.
    Renew {
        #[command(flatten)]
        signing: Signing,
    },
    /// Sign a draft of a root document with a root key, where that key lies. Neither data nor server is needed.
    Sign {
        /// The draft; the signature is added to it.
        draft: PathBuf,
        /// The root key.
        #[arg(long, value_name = "FILE")]
        root_key: PathBuf,
        /// The root document in use (root/VERSION.json of the folder of keys, or from /.well-known/pithead/roots/VERSION): what differs is shown.
        #[arg(long, value_name = "FILE")]
        before: Option<PathBuf>,
    },
    /// Take a draft that enough root keys have signed.
    Take { draft: PathBuf },
    /// Sign all releases again that may run, and have all nodes told, with licences signed anew: after a key was distrusted.
    Resign,
}

/// How the next root document gets its signatures: here, or elsewhere.
#[derive(Debug, clap::Args)]
pub struct Signing {
    /// A root key that lies here; once for each.
    #[arg(long = "root-key", value_name = "FILE", required_unless_present = "draft")]
    root_keys: Vec<PathBuf>,
    /// Write a draft for `sign` and `take` instead of taking the document at once.
    #[arg(long, value_name = "FILE")]
    draft: Option<PathBuf>,
}

/// Runs a command that needs no database; `resign` is left.
///
/// # Errors
/// Files that cannot be read or written; a document that is not signed as it must be.
pub fn run(settings: &Settings, command: &Command) -> anyhow::Result<ExitCode> {
    let folder = settings.data_dir.0.join("keys");
    match command {
        Command::Show => show(&folder)?,
        Command::Rotate { role, distrust, signing } => {
            let role =
                Role::online(role).with_context(|| format!("there is no role {role}: approve, license, state, token, log or instance"))?;
            next(&folder, &Next::Rotate { role, distrust: *distrust }, signing)?;
        }
        Command::Root { keys, threshold, signing } => {
            let keys = keys.iter().map(|path| public(path)).collect::<anyhow::Result<_>>()?;
            next(&folder, &Next::RootKeys { keys, threshold: *threshold }, signing)?;
        }
        Command::Authority { step, yes, signing } => {
            ensure!(
                step != "drop" || *yes,
                "nodes that have not renewed their certificate since the switch must be enrolled again; their pages say until when it is good. If \
                 that is meant, say --yes"
            );
            let step = match step.as_str() {
                "add" => Next::AddAuthority { domain: settings.trust.domain.clone() },
                "switch" => Next::SwitchAuthority,
                _ => Next::DropAuthorities,
            };
            next(&folder, &step, signing)?;
        }
        Command::Renew { signing } => next(&folder, &Next::Renew, signing)?,
        Command::Sign { draft, root_key, before } => sign(draft, root_key, before.as_deref())?,
        Command::Take { draft } => take(&folder, &read(draft)?)?,
        // Needs the database: run by [`resign`].
        Command::Resign => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Signs all releases again. Can be broken off and begun anew.
///
/// # Errors
/// Those of the database.
pub async fn resign(app: &App) -> anyhow::Result<ExitCode> {
    let mut after = String::new();
    while let Some(last) = signing::sign_again(app, &after).await? {
        after = last;
        print_line!("signed again up to {after}");
    }
    print_line!("all releases are signed by {}; nodes are being told", app.keys.get().approve.kid);
    Ok(ExitCode::SUCCESS)
}

fn ring(folder: &Path) -> anyhow::Result<Root> {
    // Read the documents alone: a key that is missing is what a rotation mends.
    roots::newest(folder)?.with_context(|| format!("there is no root document in {}: start the server once", folder.display()))
}

fn show(folder: &Path) -> anyhow::Result<()> {
    let root = ring(folder)?;
    let until = DateTime::from_timestamp(root.expires, 0).map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string());
    print_line!("root document {}, good until {until}", root.version);
    for (role, keys) in &root.roles {
        let of = if *role == Role::Root { format!("  ({} of {} sign)", keys.threshold, keys.keyids.len()) } else { String::new() };
        print_line!("{:<9} {}{of}", role.as_str(), keys.keyids.join(" "));
    }
    let here = roots::keys_here(folder);
    if here.is_empty() {
        print_line!("root keys  none on this machine");
    } else {
        let files: Vec<String> = here.iter().map(|path| path.display().to_string()).collect();
        print_line!("root keys  ON THIS MACHINE, move them to media that are kept apart: {}", files.join(" "));
    }
    match Keyring::open(folder) {
        Ok(_) => Ok(()),
        Err(e) => Err(e.context("no server can start with these keys")),
    }
}

/// Drafts the next root document, and signs and takes it where the root keys are here.
fn next(folder: &Path, next: &Next, signing: &Signing) -> anyhow::Result<()> {
    let mut envelope = roots::draft(folder, &ring(folder)?, next)?;
    for path in &signing.root_keys {
        dsse::countersign(&mut envelope, &keys::read_key(path)?)?;
    }
    let Some(draft) = &signing.draft else { return take(folder, &envelope) };
    std::fs::write(draft, envelope.to_bytes()).with_context(|| format!("cannot write {}", draft.display()))?;
    print_line!("draft of root document {} in {}", Root::read(&envelope)?.version, draft.display());
    print_line!("sign it where the root keys lie: pithead admin keys sign FILE --root-key KEY");
    print_line!("then here: pithead admin keys take FILE");
    Ok(())
}

fn sign(draft: &Path, root_key: &Path, before: Option<&Path>) -> anyhow::Result<()> {
    let mut envelope = read(draft)?;
    let root = Root::read(&envelope).context("this is no draft of a root document")?;
    let before =
        before.map(|path| Root::read(&read(path)?).with_context(|| format!("{} is no root document", path.display()))).transpose()?;
    if let Some(before) = &before {
        ensure!(
            Some(root.version) == before.version.checked_add(1),
            "the draft has version {}, the one before {}",
            root.version,
            before.version
        );
    }
    let key = keys::read_key(root_key)?;
    dsse::countersign(&mut envelope, &key)?;
    std::fs::write(draft, envelope.to_bytes()).with_context(|| format!("cannot write {}", draft.display()))?;
    if !root.roles.get(&Role::Root).is_some_and(|keys| keys.keyids.contains(&kid_of(&key.verifying_key()))) {
        print_line!("note: this is none of the draft's root keys; it counts only if it is one of those before");
    }
    // What is signed is shown, for whoever signs answers for it.
    print_line!("root document {} signed by {}", root.version, kid_of(&key.verifying_key()));
    let lines = shown(&root);
    let known = before.as_ref().map(shown);
    for line in &lines {
        let mark = if known.as_ref().is_some_and(|known| !known.contains(line)) { '+' } else { ' ' };
        print_line!("{mark} {line}");
    }
    for line in known.iter().flatten().filter(|line| !lines.contains(line)) {
        print_line!("- {line}");
    }
    if known.is_none() {
        print_line!("compare that with the document in use, or have it compared: --before FILE");
    }
    Ok(())
}

/// What a root document says, a fact a line; lines of two documents are the same where the documents agree.
fn shown(root: &Root) -> Vec<String> {
    let until = DateTime::from_timestamp(root.expires, 0).map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string());
    let mut lines = vec![format!("good until {until}")];
    for (role, keys) in &root.roles {
        lines.push(format!("{:<9} {} of {} must sign", role.as_str(), keys.threshold, keys.keyids.len()));
        for (n, kid) in keys.keyids.iter().enumerate() {
            let part = if n == 0 && *role != Role::Root { "signs" } else { "counts" };
            lines.push(format!("{:<9} {kid} {part}", role.as_str()));
        }
    }
    for (n, der) in root.authorities().iter().enumerate() {
        lines.push(format!("node-ca   {} {}", ca::pin_of(der), if n == 0 { "issues" } else { "is trusted" }));
    }
    lines.extend(root.unknown_parts().map(|(name, value)| format!("unknown   {name}: {value}")));
    lines
}

fn take(folder: &Path, envelope: &Envelope) -> anyhow::Result<()> {
    let root = roots::take(folder, envelope).map_err(|e| match e.downcast_ref::<RootError>() {
        Some(RootError::Quorum) => e.context("too few of the root keys have signed"),
        Some(RootError::Version) => e.context("another root document was taken meanwhile, or this one was taken already"),
        _ => e,
    })?;
    print_line!("root document {} is in force; servers that run take it within seconds, nodes when they call", root.version);
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Envelope> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= MAX_ENVELOPE_BYTES as u64, "{} is too long for a root document", path.display());
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Envelope::parse(&bytes).with_context(|| format!("{} is no draft of a root document", path.display()))
}

fn public(path: &Path) -> anyhow::Result<ed25519_dalek::VerifyingKey> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= MAX_PUBLIC, "{} is too long for a public key", path.display());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    public_key::parse(&text).map_err(|e| anyhow::anyhow!("{}: {}", path.display(), e.code()))
}
