//! `pithead keygen` and `pithead sign`: a vendor's own key, and its signature on a release, attached to it as a referrer.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app_package::digest::Digest;
use app_package::evidence::VendorStatement;
use app_package::keys::{self, KeySet};
use app_package::oci::{ARTIFACT_TYPE, Descriptor, EMPTY_BYTES, ImageManifest, MANIFEST_TYPE, VENDOR_SIGNATURE_TYPE, signature_manifest};
use app_package::public_key;
use clap::Args;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use reqwest::Url;
use serde_json::json;

use super::client::{self, Credentials, Refused, Remote};
use super::package::{self, Output};
use super::progress::Progress;
use super::reference::Reference;
use super::upload::{Source, send};
use super::words::{Cannot as _, shown};
use crate::base::i18n::Lang;

/// Longest file that is taken for a key, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;
/// Annotation with a release's version.
const VERSION: &str = "org.opencontainers.image.version";

/// `pithead keygen -o FILE`.
#[derive(Debug, Args)]
pub struct Keygen {
    /// Where the private key is written; must not be there.
    #[arg(short, long)]
    pub output: PathBuf,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// `pithead sign REF --key FILE`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The release: `[https://host/]vendor/app:version`, or `@digest` instead of `:version`.
    pub reference: String,
    /// The private key, as `pithead keygen` makes it.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Address of the site, where the reference does not name it.
    #[arg(long)]
    pub server: Option<Url>,
    /// Token with the scope `publish`.
    #[command(flatten)]
    pub credentials: Credentials,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// A private key and its id.
pub struct Key {
    signing: SigningKey,
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
}

impl Key {
    /// Reads a PKCS #8 PEM file.
    pub fn read(file: &Path, lang: Lang) -> anyhow::Result<Self> {
        let wrong = || anyhow::anyhow!(lang.format("cli-key-wrong", &[("path", &shown(file))]));
        let known = std::fs::metadata(file).cannot(lang, "read", file)?;
        anyhow::ensure!(known.len() <= MAX_KEY_FILE, wrong());
        let pem = std::fs::read_to_string(file).cannot(lang, "read", file)?;
        let signing = SigningKey::from_pkcs8_pem(pem.trim()).map_err(|_| wrong())?;
        let kid = keys::kid_of(&signing.verifying_key());
        Ok(Self { signing, kid })
    }
}

/// Makes a key pair: the private key into a file that only its owner reads, the public key to standard output.
pub fn keygen(args: &Keygen) -> anyhow::Result<ExitCode> {
    let (lang, path) = (args.told.language(), &args.output);
    let signing = SigningKey::from_bytes(&crate::base::ids::random::<32>());
    // Without the public key in it (RFC 5958 version 0): OpenSSL 3.0 reads no other.
    let plain = KeypairBytes { secret_key: signing.to_bytes(), public_key: None };
    let pem = plain.to_pkcs8_pem(LineEnding::LF).map_err(|e| anyhow::anyhow!("{e}"))?;
    // Never over another key: what it has signed could not be signed again.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).cannot(lang, "write", path)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).cannot(lang, "write", path).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })?;
    let public = signing.verifying_key();
    let (kid, pem) = (keys::kid_of(&public), public_key::to_pem(&public));
    if args.told.json {
        package::print(&json!({"ok": true, "file": path, "kid": kid, "public_key": pem}));
    } else {
        print_line!("{}", pem.trim_end());
        eprintln!("{}", lang.format("cli-key-made", &[("path", &shown(path)), ("kid", &kid)]));
    }
    Ok(ExitCode::SUCCESS)
}

/// Signs a release that the server has.
pub fn sign(args: &Sign) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let reference = Reference::parse(&args.reference, args.server.as_ref(), lang)?;
    let key = Key::read(&args.key, lang)?;
    let token = args.credentials.read(lang)?.ok_or_else(|| anyhow::anyhow!(lang.t("cli-token-needed")))?;
    let remote = Remote::new(reference.server.clone(), Some(token), lang)?;
    let result = client::block_on(async {
        let (bytes, digest) = remote.manifest(&reference.repository(), reference.wanted()).await?;
        let version = version_of(&bytes, &reference, lang)?;
        attach(&remote, &key, (&reference.vendor, &reference.app), &version, &Descriptor::of(MANIFEST_TYPE, &bytes)).await?;
        if args.told.json {
            package::print(&json!({"ok": true, "digest": digest, "version": version, "signed_by": key.kid}));
        } else {
            print_line!("{digest}");
            let named = [("app", reference.repository()), ("version", version.to_string()), ("kid", key.kid.clone())];
            let named: Vec<(&str, &str)> = named.iter().map(|(k, v)| (*k, v.as_str())).collect();
            eprintln!("{}", lang.format("cli-signed", &named));
        }
        Ok(ExitCode::SUCCESS)
    });
    client::conclude(result, &args.told)
}

/// The version that a release's manifest names, which the tag must be where there is one.
pub fn version_of(manifest: &[u8], reference: &Reference, lang: Lang) -> anyhow::Result<semver::Version> {
    let refused = |key: &str| anyhow::Error::from(Refused(lang.format(key, &[("reference", &reference.repository())])));
    let image = ImageManifest::parse(manifest).ok().filter(|m| m.effective_artifact_type() == ARTIFACT_TYPE);
    let image = image.ok_or_else(|| refused("cli-no-release"))?;
    let named = image.annotations.as_ref().and_then(|a| a.get(VERSION));
    let version = match (named, &reference.tag) {
        (Some(named), Some(tag)) if named != tag && semver::Version::parse(tag).is_ok() => return Err(refused("cli-other-version")),
        (Some(named), _) => named,
        (None, Some(tag)) => tag,
        (None, None) => return Err(refused("cli-no-version")),
    };
    semver::Version::parse(version).map_err(|_| refused("cli-no-version"))
}

/// Signs a manifest as the vendor's release and attaches the signature.
pub async fn attach(
    remote: &Remote,
    key: &Key,
    (vendor, app): (&str, &str),
    version: &semver::Version,
    subject: &Descriptor,
) -> anyhow::Result<()> {
    let known = KeySet::from_jwks(&remote.document(&format!("/vendors/{vendor}/keys.json")).await?);
    if !known.is_ok_and(|set| set.get(&key.kid).is_some()) {
        eprintln!("{}", remote.lang.format("cli-key-not-registered", &[("kid", &key.kid)]));
    }
    let (vendor, app) = (vendor.to_owned(), app.to_owned());
    let repository = format!("{vendor}/{app}");
    let statement = VendorStatement { digest: subject.digest.clone(), vendor, app, version: version.clone() };
    let envelope = statement.sign(&key.kid, &key.signing).to_bytes();
    let manifest = signature_manifest(VENDOR_SIGNATURE_TYPE, subject, &envelope);
    let mut progress = Progress::new(envelope.len() as u64, false).briefly();
    for bytes in [EMPTY_BYTES.to_vec(), envelope] {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        send(remote, &repository, &digest, size, &Source::Bytes(bytes), &remote.lang.t("cli-signature"), &mut progress).await?;
    }
    progress.clear();
    remote.put_manifest(&repository, Digest::of(&manifest).as_str(), &manifest).await
}
