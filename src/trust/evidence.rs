//! What is attached to a release: its signatures, verified from the stored bytes, and its documents.

use app_package::digest::Digest;
use app_package::evidence::{Expected, Judged, Signer, Standing, judge};
use app_package::keys::KeySet;
use app_package::oci::{DSSE_TYPE, ImageManifest, VENDOR_SIGNATURE_TYPE};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::documents::{self, Document, Fault};
use super::model::{VendorKey, active_set};
use super::service::keys_in;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::open::Whose;
use crate::base::storage::BlobStore;
use crate::base::turns::Queue;
use crate::registry;
use crate::registry::model::{Repository, RepositoryName, parse_digest};
use crate::registry::service::Artifact;

/// Newest signatures of a release that are looked at.
const MAX_SIGNATURES: i64 = 50;
/// Documents of a release that are listed.
const MAX_DOCUMENTS: i64 = 50;
/// Blobs that are read at a time.
const READS: usize = 8;
/// One document is read and parsed at a time: each may have 8 MiB, and what is kept of it comes on top.
static READING: Queue = Queue::new(1, 16);
/// Documents that are read for one organisation, with those that wait, so that none fills the queue.
const OF_AN_ORGANIZATION: usize = 2;
/// Longest envelope in bytes.
const MAX_ENVELOPE: u64 = app_package::dsse::MAX_ENVELOPE_BYTES as u64;

/// A release whose evidence is asked for.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Vendor's organisation id.
    pub organization_id: String,
    pub vendor: String,
    pub app: String,
    pub version: String,
    /// Digest of its manifest.
    pub digest: String,
}

impl Subject {
    /// Name of the repository.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.vendor, self.app)
    }
}

#[derive(Debug, Clone)]
pub struct Signature {
    /// Signer, key and verdict.
    pub judged: Judged,
    /// When it was attached.
    pub at: Timestamp,
    /// What the vendor calls the key, where it is or was the vendor's.
    pub key_name: Option<String>,
    /// The vendor has taken the key out of use.
    pub revoked: bool,
}

/// All that is attached to a release.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Signatures: the platform's before the vendor's, valid ones first, else newest first.
    pub signatures: Vec<Signature>,
    /// SBOM and provenance, newest first.
    pub documents: Vec<Artifact>,
}

impl Evidence {
    /// The best signature of a signer.
    pub fn best(&self, signer: Signer) -> Option<&Signature> {
        self.signatures.iter().find(|s| s.judged.signer == Some(signer))
    }
}

/// Reads and verifies what is attached to a release. The caller has checked that the reader may see the release.
pub async fn of_release(app: &App, subject: &Subject) -> Result<Evidence> {
    let asked = subject.clone();
    let (keys, manifests, documents) = app
        .db
        .read(move |conn| {
            let keys = keys_in(conn, &asked.organization_id)?;
            let Some(repository) = registry::service::repository(conn, &asked.repository())? else {
                return Ok((keys, Vec::new(), Vec::new()));
            };
            let signatures = registry::service::signatures_in(conn, &repository.id, &asked.digest, MAX_SIGNATURES)?;
            let documents = registry::service::attached_in(conn, &repository.id, &asked.digest, documents::TYPES, MAX_DOCUMENTS)?;
            Ok((keys, signatures, documents))
        })
        .await?;
    let (digest, version) = (parse_digest(&subject.digest)?, semver::Version::parse(&subject.version).ok());
    let expected = Expected { digest: &digest, vendor: &subject.vendor, app: &subject.app, version: version.as_ref() };
    let vendor = active_set(&keys);
    let platform = app.keys.get();
    let (expected, vendor, keys, platform) = (&expected, &vendor, &keys, &platform.approve.set);
    let judged = stream::iter(manifests).map(|(at, manifest)| async move {
        let judged = judge_stored(&app.blobs, &manifest, expected, platform, vendor).await?;
        Ok::<_, Error>(of_vendor(judged, at, keys))
    });
    let mut signatures: Vec<Signature> = judged.buffered(READS).try_collect().await?;
    signatures.sort_by_key(|s| (s.judged.signer.unwrap_or(Signer::Vendor), s.judged.standing));
    Ok(Evidence { signatures, documents })
}

/// Adds the key's name and revocation from the vendor's list.
fn of_vendor(judged: Judged, at: Timestamp, keys: &[VendorKey]) -> Signature {
    let key = keys.iter().find(|key| key.kid == judged.kid).filter(|_| judged.signer == Some(Signer::Vendor));
    let revoked = judged.standing == Standing::UnknownKey && key.is_some_and(|key| key.revoked_at.is_some());
    Signature { key_name: key.map(|key| key.name.clone()), revoked, at, judged }
}

/// Judges the envelope that a manifest names. Bytes that are gone or too long are malformed, not an error: the page must still come. An
/// approval that somebody else than the platform has attached is nobody's.
async fn judge_stored(blobs: &BlobStore, manifest: &[u8], expected: &Expected<'_>, platform: &KeySet, vendor: &KeySet) -> Result<Judged> {
    let malformed = Judged { signer: None, kid: String::new(), standing: Standing::Malformed, version: None };
    let manifest = ImageManifest::parse(manifest).ok();
    let Some(layer) = manifest.as_ref().and_then(|m| m.layers.iter().find(|l| l.media_type == DSSE_TYPE)) else { return Ok(malformed) };
    let nobody = KeySet::new();
    let platform = if manifest.as_ref().is_some_and(|m| m.effective_artifact_type() == VENDOR_SIGNATURE_TYPE) { &nobody } else { platform };
    match blobs.read_small(&layer.digest, MAX_ENVELOPE).await {
        // Compare the digest before the signature: bytes that were changed on disk show here.
        Ok(bytes) if layer.digest.algorithm() == "sha256" && Digest::of(&bytes) != layer.digest => Ok(malformed),
        Ok(bytes) => Ok(judge(&bytes, expected, platform, vendor)),
        Err(e) if matches!(e.kind, Kind::NotFound | Kind::TooLarge) => Ok(malformed),
        Err(e) => Err(e),
    }
}

/// A document that a vendor attached to a manifest, read.
#[derive(Debug)]
pub struct AttachedDocument {
    /// Name of its repository.
    pub repository: String,
    /// Digest of the manifest that attaches it.
    pub digest: String,
    /// Digest of the manifest that it is about.
    pub subject: Option<String>,
    /// The artifact's type.
    pub artifact_type: String,
    /// Bytes of the document.
    pub size: u64,
    /// What it says, or why it cannot be shown.
    pub content: std::result::Result<Document, Fault>,
}

/// Reads an attached document, for its vendor and for those who see cases.
///
/// # Errors
/// `document`: there is no such artifact that may be seen; `too-many-connections`: more are read for the reader's organisation;
/// `server-busy`: too many wait for theirs.
pub async fn document(app: &App, actor: &Actor, name: &str, digest: &str) -> Result<AttachedDocument> {
    let missing = || Error::not_found("document");
    let own = policy::require(actor, Action::ViewOwnApps).map(|person| person.organization_id.clone());
    let all = policy::require(actor, Action::ViewCases).is_ok();
    let own = match own {
        Ok(id) => Some(id),
        Err(_) if all => None,
        Err(e) => return Err(e),
    };
    let name = RepositoryName::parse(name).map_err(|_| missing())?;
    let digest = parse_digest(digest).map_err(|_| missing())?;
    let wanted = digest.to_string();
    let (repository, stored) = app
        .db
        .read(move |conn| {
            let seen = |r: &Repository| all || own.as_deref() == Some(r.organization_id.as_str());
            let repository = registry::service::repository(conn, name.as_str())?.filter(seen).ok_or_else(missing)?;
            let stored = registry::service::find_manifest(conn, &repository.id, &wanted)?.ok_or_else(missing)?;
            Ok((repository, stored))
        })
        .await?;
    let artifact_type = stored.artifact_type.unwrap_or_default();
    let manifest = ImageManifest::parse(&stored.content).map_err(|_| missing())?;
    if !documents::TYPES.contains(&artifact_type.as_str()) {
        return Err(missing());
    }
    // Tools attach one file; where there are more, the one of the artifact's own type is meant.
    let layer = manifest.layers.iter().find(|l| l.media_type == artifact_type).or(manifest.layers.first()).ok_or_else(missing)?;
    // The blob of a foreign layer may be somebody else's.
    if registry::service::is_foreign(&layer.media_type) {
        return Err(missing());
    }
    let reader = actor.organization_id().unwrap_or_default().to_owned();
    let entry = app.open.enter(Whose::Documents(reader), OF_AN_ORGANIZATION)?;
    let turn = READING.turn().await?;
    let content = match app.blobs.read_small(&layer.digest, documents::MAX_BYTES).await {
        Ok(bytes) => {
            let kind = artifact_type.clone();
            let parsed = tokio::task::spawn_blocking(move || {
                let _turn = (turn, entry);
                documents::parse(&kind, &bytes)
            });
            parsed.await.map_err(Error::internal)?
        }
        Err(e) if e.kind == Kind::TooLarge => Err(Fault::TooLarge),
        Err(e) if e.kind == Kind::NotFound => Err(Fault::Gone),
        Err(e) => return Err(e),
    };
    Ok(AttachedDocument {
        repository: repository.name,
        digest: digest.to_string(),
        subject: stored.subject,
        artifact_type,
        size: layer.size,
        content,
    })
}
