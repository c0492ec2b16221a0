//! `pithead verify`: fetches a release's manifest and signatures and holds them against the platform's keys and the vendor's, and looks whether
//! the platform has revoked its approval.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app_package::digest::Digest;
use app_package::dsse::MAX_ENVELOPE_BYTES;
use app_package::evidence::{Expected, Judged, Signer, Standing, judge};
use app_package::keys::KeySet;
use app_package::oci::{DSSE_TYPE, Descriptor, ImageManifest, SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE};
use app_package::orders::{MAX_REVOCATIONS_BYTES, Revocations};
use app_package::public_key;
use app_package::root::Role;
use chrono::Utc;
use clap::Args;
use reqwest::Url;
use serde::Serialize;
use serde_json::json;

use super::client::{self, Credentials, Refused, Remote};
use super::package::{self, AT_FAULT, Output};
use super::reference::Reference;
use super::roots::Roots;
use super::sign::version_of;
use super::words::{Cannot as _, shown};
use crate::base::i18n::Lang;

/// Most signatures that are fetched.
const MAX_SIGNATURES: usize = 200;
/// Longest manifest of a signature, in bytes.
const MAX_SIGNATURE_MANIFEST: u64 = 16 * 1024;
/// Longest file of platform keys, in bytes.
const MAX_KEY_FILE: u64 = 1024 * 1024;

/// `pithead verify REF`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The release: `[https://host/]vendor/app:version`, or `@digest` instead of `:version`.
    pub reference: String,
    /// Address of the site, where the reference does not name it.
    #[arg(long)]
    pub server: Option<Url>,
    /// Token with the scope `pull` or `publish`.
    #[command(flatten)]
    pub credentials: Credentials,
    /// Keys of the platform that are trusted (a JWK set, or one key as JWK or PEM), instead of those of its root document.
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    pub key: Option<PathBuf>,
    /// Whom of the platform is believed.
    #[command(flatten)]
    pub roots: Roots,
    /// Not verified without a signature of the vendor.
    #[arg(long)]
    pub require_vendor: bool,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// What one look has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// `manifest`, `platform` or `vendor`.
    check: &'static str,
    /// `ok`, `failed`, or `absent` where something that need not be there is not.
    outcome: &'static str,
    /// Why: `digest`, `none`, `approval-revoked`, `revocations-unsigned`, or the word of a [`Standing`].
    code: &'static str,
    /// Key id of the signature; none where there is no signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

/// Verifies a release.
pub fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let reference = Reference::parse(&args.reference, args.server.as_ref(), lang)?;
    let pinned = args.key.as_deref().map(|file| pinned(file, lang)).transpose()?;
    let remote = Remote::new(reference.server.clone(), args.credentials.read(lang)?, lang)?;
    let result = client::block_on(async {
        let (bytes, digest) = remote.manifest(&reference.repository(), reference.wanted()).await?;
        let version = version_of(&bytes, &reference, lang)?;
        let platform = match pinned {
            Some(keys) => keys,
            None => args.roots.newest(&remote).await?.set(&[Role::Approve]),
        };
        let is_revoked = match revocations(&remote, &platform).await? {
            Some(list) if args.roots.is_newest_list(&remote, list.version)? => Some(list.releases.contains(&digest)),
            _ => None,
        };
        let vendor = key_set(&remote, &format!("/vendors/{}/keys.json", reference.vendor)).await?;
        let expected = Expected { digest: &digest, vendor: &reference.vendor, app: &reference.app, version: Some(&version) };
        let judged = signatures(&remote, &reference.repository(), &expected, &platform, &vendor).await?;
        let findings = findings(&judged, is_revoked, args.require_vendor);
        let ok = findings.iter().all(|finding| finding.outcome != "failed");
        if args.told.json {
            let named = reference.repository();
            package::print(&json!({"ok": ok, "app": named, "version": version, "digest": digest, "findings": findings}));
        } else {
            for finding in &findings {
                tell(finding, &digest, lang);
            }
        }
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) })
    });
    client::conclude(result, &args.told)
}

/// Platform keys of a file.
fn pinned(file: &Path, lang: Lang) -> anyhow::Result<KeySet> {
    let wrong = || anyhow::anyhow!(lang.format("cli-keys-wrong", &[("path", &shown(file))]));
    anyhow::ensure!(std::fs::metadata(file).cannot(lang, "read", file)?.len() <= MAX_KEY_FILE, wrong());
    let text = std::fs::read_to_string(file).cannot(lang, "read", file)?;
    let set = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) if value.get("keys").is_some() => KeySet::from_jwks(&value).map_err(|_| wrong())?,
        _ => {
            let mut set = KeySet::new();
            set.insert(public_key::parse(&text).map_err(|_| wrong())?);
            set
        }
    };
    if set.is_empty() { Err(wrong()) } else { Ok(set) }
}

async fn key_set(remote: &Remote, path: &str) -> anyhow::Result<KeySet> {
    let keys = remote.document(path).await?;
    KeySet::from_jwks(&keys).map_err(|_| anyhow::anyhow!(remote.lang.t("cli-no-pithead")))
}

/// All signatures of the release, judged.
async fn signatures(
    remote: &Remote,
    repository: &str,
    expected: &Expected<'_>,
    platform: &KeySet,
    vendor: &KeySet,
) -> anyhow::Result<Vec<Judged>> {
    let mut judged = Vec::new();
    // An approval that somebody else than the platform has attached is nobody's.
    for (artifact_type, platform) in [(SIGNATURE_TYPE, platform), (VENDOR_SIGNATURE_TYPE, &KeySet::new())] {
        for descriptor in remote.referrers(repository, expected.digest, artifact_type, MAX_SIGNATURES).await? {
            judged.push(match envelope(remote, repository, expected.digest, &descriptor).await {
                Ok(Some(envelope)) => judge(&envelope, expected, platform, vendor),
                // What is damaged on the server, or refers elsewhere, proves nothing; what cannot be asked is an error.
                Ok(None) => unreadable(),
                Err(e) if e.is::<Refused>() => unreadable(),
                Err(e) => return Err(e),
            });
        }
    }
    Ok(judged)
}

/// The platform's signed list of revoked approvals; none where the server keeps it back, has it signed with a key that is not believed, or shows
/// one that has ended.
async fn revocations(remote: &Remote, platform: &KeySet) -> anyhow::Result<Option<Revocations>> {
    let bytes = remote.found("/.well-known/pithead/revocations", MAX_REVOCATIONS_BYTES).await?;
    let list = bytes.and_then(|bytes| Revocations::verify(&serde_json::from_slice(&bytes).ok()?, platform).ok());
    Ok(list.filter(|list| list.in_force(Utc::now())))
}

fn unreadable() -> Judged {
    Judged { signer: None, kid: String::new(), standing: Standing::Malformed, version: None }
}

/// The envelope of a signature's manifest; none where it is no signature of this release.
async fn envelope(remote: &Remote, repository: &str, subject: &Digest, descriptor: &Descriptor) -> anyhow::Result<Option<Vec<u8>>> {
    if descriptor.size > MAX_SIGNATURE_MANIFEST || descriptor.digest.algorithm() != "sha256" {
        return Ok(None);
    }
    let (bytes, _) = remote.manifest(repository, descriptor.digest.as_str()).await?;
    let Ok(manifest) = ImageManifest::parse(&bytes) else { return Ok(None) };
    let layer = manifest.layers.iter().find(|layer| layer.media_type == DSSE_TYPE && layer.digest.algorithm() == "sha256");
    let Some(layer) = layer.filter(|_| manifest.subject.as_ref().is_some_and(|s| s.digest == *subject)) else { return Ok(None) };
    if layer.size > MAX_ENVELOPE_BYTES as u64 {
        return Ok(None);
    }
    Ok(Some(remote.blob(repository, &layer.digest, MAX_ENVELOPE_BYTES).await?))
}

/// One finding of each check: the best signature of each signer. What cannot be read counts as the vendor's, as on the pages: the platform's
/// own is missed then. An approval counts only where it is known not to be revoked.
fn findings(judged: &[Judged], is_revoked: Option<bool>, require_vendor: bool) -> Vec<Finding> {
    let best =
        |signer: Signer| judged.iter().filter(|j| j.signer.unwrap_or(Signer::Vendor) == signer).min_by_key(|j| (j.standing, j.kid.clone()));
    let finding = |check: &'static str, found: Option<&Judged>, required: bool| match found {
        Some(j) => Finding {
            check,
            outcome: if j.standing == Standing::Valid { "ok" } else { "failed" },
            code: j.standing.as_str(),
            kid: Some(j.kid.clone()),
        },
        None => Finding { check, outcome: if required { "failed" } else { "absent" }, code: "none", kid: None },
    };
    let mut platform = finding("platform", best(Signer::Platform), true);
    let trouble = match is_revoked {
        Some(false) => None,
        Some(true) => Some("approval-revoked"),
        None => Some("revocations-unsigned"),
    };
    if let Some(code) = trouble.filter(|_| platform.outcome == "ok") {
        (platform.outcome, platform.code) = ("failed", code);
    }
    vec![
        Finding { check: "manifest", outcome: "ok", code: "digest", kid: None },
        platform,
        finding("vendor", best(Signer::Vendor), require_vendor),
    ]
}

/// A finding as a line.
fn tell(finding: &Finding, digest: &Digest, lang: Lang) {
    let mark = lang.t(&format!("cli-{}", finding.outcome));
    let check = lang.t(&format!("cli-check-{}", finding.check));
    let words = match finding.check {
        "manifest" => digest.to_string(),
        _ => lang.t(&format!("trust-standing-{}", finding.code)),
    };
    // A stranger's text: no control characters on the terminal.
    let kid: String = finding.kid.iter().flat_map(|kid| kid.chars()).filter(|c| !c.is_control()).collect();
    print_line!("{}", format!("{mark}  {check}  {words}  {kid}").trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(signer: Option<Signer>, standing: Standing) -> Judged {
        Judged { signer, kid: "k".into(), standing, version: None }
    }

    fn outcomes(judged: &[Judged], require_vendor: bool) -> Vec<(&'static str, &'static str)> {
        findings(judged, Some(false), require_vendor).into_iter().skip(1).map(|f| (f.outcome, f.code)).collect()
    }

    #[test]
    fn the_platform_must_sign_and_the_vendor_may() {
        let (platform, vendor) = (Some(Signer::Platform), Some(Signer::Vendor));
        let good = judged(platform, Standing::Valid);
        assert_eq!(outcomes(&[], false), [("failed", "none"), ("absent", "none")]);
        assert_eq!(outcomes(std::slice::from_ref(&good), false), [("ok", "valid"), ("absent", "none")]);
        assert_eq!(outcomes(std::slice::from_ref(&good), true), [("ok", "valid"), ("failed", "none")]);
        // A bad signature of the vendor counts where there is no good one.
        let (bad, fine) = (judged(vendor, Standing::UnknownKey), judged(vendor, Standing::Valid));
        assert_eq!(outcomes(&[good.clone(), bad.clone()], false), [("ok", "valid"), ("failed", "unknown-key")]);
        assert_eq!(outcomes(&[bad, good.clone(), fine], false), [("ok", "valid"), ("ok", "valid")]);
        // Approved, and the approval revoked, or nobody known to say that it is not.
        for (is_revoked, code) in [(Some(true), "approval-revoked"), (None, "revocations-unsigned")] {
            let found = &findings(std::slice::from_ref(&good), is_revoked, false)[1];
            assert_eq!((found.outcome, found.code), ("failed", code));
        }
        assert_eq!(outcomes(&[unreadable(), good], false), [("ok", "valid"), ("failed", "malformed")]);
        assert_eq!(outcomes(&[unreadable()], false), [("failed", "none"), ("failed", "malformed")]);
    }
}
